//! Tries Frostgate as its users would: real pods, real drivers, a real API server.
//!
//! ```text
//! kubectl   what an administrator, an approver or an attacker types
//! world     a namespace of a test's own, with policy and agents
//! agent     a pod with a driver that knows nothing of Frostgate
//! account   what the stand-in account saw
//! evidence  what is on record
//! operator  taken away for a while
//! ```
//!
//! `cargo xtask e2e` sets the stage and names it in the environment variable [`STAGE`].

#![allow(clippy::unwrap_used, clippy::panic, reason = "a stage that does not work fails the test")]

pub mod account;
pub mod agent;
pub mod evidence;
pub mod kubectl;
pub mod operator;
pub mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Names the file that describes the stage.
pub const STAGE: &str = "FROSTGATE_E2E_STAGE";

/// What is there to test against.
#[derive(Debug)]
pub struct Stage {
    /// References of images by name, each by digest.
    pub images: BTreeMap<String, String>,
    /// Base URL of the stand-in account's own listener for tests.
    pub account: String,
    /// What the URL of a pod begins with, up to and without its namespace.
    pub namespaces: String,
    /// What makes kubectl speak as each of the test humans.
    pub humans: BTreeMap<String, Vec<String>>,
    /// `kubectl frostgate` as built.
    pub frostgate: PathBuf,
}

/// The stage that `cargo xtask e2e` set.
///
/// # Panics
/// Without it: there is nothing to test against.
pub fn stage() -> &'static Stage {
    static STAGE_READ: OnceLock<Stage> = OnceLock::new();
    STAGE_READ.get_or_init(|| {
        let path = std::env::var_os(STAGE)
            .unwrap_or_else(|| panic!("{STAGE} is not set: run `cargo xtask e2e`"));
        let text = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.to_string_lossy()));
        let value: Value = serde_json::from_slice(&text).unwrap();
        let text = |key: &str| value[key].as_str().unwrap().to_owned();
        Stage {
            images: serde_json::from_value(value["images"].clone()).unwrap(),
            account: text("account"),
            namespaces: text("namespaces"),
            humans: serde_json::from_value(value["humans"].clone()).unwrap(),
            frostgate: text("frostgate").into(),
        }
    })
}

/// Where this machine reaches a port of a pod: through the API server, which is near every cluster's pods.
#[must_use]
pub fn pod_url(namespace: &str, pod: &str, port: u16) -> String {
    format!("{}/{namespace}/pods/{pod}:{port}/proxy", stage().namespaces)
}

/// Asks until the answer is there; a test that waits says for what.
///
/// # Panics
/// When it is not there in time, with the last thing that was missing.
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(missing) if start.elapsed() > limit => {
                panic!("{what}: not within {} s: {missing}", limit.as_secs())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}
