//! What people type.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::stage;

/// What kubectl answered.
#[derive(Debug)]
pub struct Answer {
    /// Whether it went well.
    pub ok: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            ok: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs kubectl as the administrator.
///
/// # Panics
/// When it cannot be started.
pub fn kubectl(words: &[&str]) -> Answer {
    Command::new("kubectl").args(words).stdin(Stdio::null()).output().unwrap().into()
}

/// Runs kubectl as one of the cluster's humans.
///
/// # Panics
/// When it cannot be started, or nobody has that name.
pub fn kubectl_as(human: &str, words: &[&str]) -> Answer {
    let human = stage().humans.get(human).unwrap_or_else(|| panic!("nobody is called {human}"));
    Command::new("kubectl").args(human).args(words).stdin(Stdio::null()).output().unwrap().into()
}

/// An access token of a human, or of a client, from the OpenID provider: `token.mjs`'s own words.
///
/// # Panics
/// When the provider refuses.
pub fn token(words: &[&str]) -> String {
    let idp = ["exec", "-n", "idp", "deployment/idp", "--", "node", "token.mjs"];
    let answer = kubectl(&[&idp[..], words].concat());
    assert!(answer.ok, "{}", answer.err);
    answer.out.trim().to_owned()
}

/// Applies YAML as the administrator.
///
/// # Panics
/// When kubectl cannot be started.
pub fn apply(yaml: &str) -> Answer {
    kubectl_reading(&["apply", "-f", "-"], yaml)
}

/// Runs kubectl with something to read.
///
/// # Panics
/// When it cannot be started.
pub fn kubectl_reading(words: &[&str], input: &str) -> Answer {
    let mut child = Command::new("kubectl")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// Reads objects as JSON.
///
/// # Panics
/// When kubectl refuses.
pub fn get(words: &[&str]) -> Value {
    let answer = kubectl(&[&["get", "-o", "json"], words].concat());
    assert!(answer.ok, "{}", answer.err);
    serde_json::from_str(&answer.out).unwrap()
}
