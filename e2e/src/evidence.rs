//! What is on record, as an auditor fetches it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::kubectl::{Answer, kubectl};
use crate::{eventually, stage};

/// Runs `kubectl frostgate`.
///
/// # Panics
/// When it cannot be started.
pub fn frostgate(words: &[&str]) -> Answer {
    Command::new(&stage().frostgate).args(words).output().unwrap().into()
}

/// Downloaded recordings.
#[derive(Debug)]
pub struct Evidence {
    folder: TempDir,
}

impl Evidence {
    /// Downloads until a statement with the marker is among them.
    ///
    /// # Panics
    /// When it does not get there.
    #[must_use]
    pub fn of(marker: &str) -> Self {
        let evidence = Self { folder: tempfile::tempdir().unwrap() };
        eventually("the recording", Duration::from_secs(90), || {
            evidence.fetch()?;
            let csv = evidence.export("csv");
            if csv.contains(marker) {
                Ok(())
            } else {
                Err(frostgate(&["sessions", &evidence.path()]).out)
            }
        });
        evidence
    }

    /// Downloads what came since.
    ///
    /// # Errors
    /// What the command said.
    pub fn fetch(&self) -> Result<(), String> {
        let answer = frostgate(&["fetch", &self.path()]);
        if answer.ok { Ok(()) } else { Err(answer.out + &answer.err) }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Everything as `csv` or `json`.
    #[must_use]
    pub fn export(&self, format: &str) -> String {
        frostgate(&["export", &self.path(), "--format", format]).out
    }

    /// The exported line of the statement with the marker.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn line(&self, marker: &str) -> Value {
        let json = self.export("json");
        let line = json.lines().find(|line| line.contains(marker));
        serde_json::from_str(line.unwrap_or_else(|| panic!("{marker}: {json}"))).unwrap()
    }

    /// Verifies one session.
    #[must_use]
    pub fn verify(&self, session: &str) -> Answer {
        frostgate(&["verify", &self.path(), "--key", &key(), "--session", session])
    }

    /// The segments of a session, in order.
    ///
    /// # Panics
    /// When the folder cannot be read.
    #[must_use]
    pub fn segments(&self, session: &str) -> Vec<PathBuf> {
        let mut found = files(self.folder.path());
        found.retain(|path| {
            path.extension().is_some_and(|end| end == "fgseg")
                && path.to_string_lossy().contains(session)
        });
        found.sort();
        found
    }
}

/// The ledger's public key, as published in the cluster.
fn key() -> String {
    let path = "jsonpath={.data.key}";
    let words = ["get", "configmap", "-n", "frostgate-system", "frostgate-ledger-key", "-o", path];
    let answer = kubectl(&words);
    assert!(answer.ok, "{}", answer.err);
    answer.out.trim().to_owned()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
