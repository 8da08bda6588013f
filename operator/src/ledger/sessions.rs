//! Living sessions, for an operator that starts again: whose they are and what must be dropped.
//!
//! A file of JSON lines, `{"keep": ...}` and `{"forget": ...}`, each synced before it counts; it is
//! rewritten when most of it is history. Unlike a leaf, a line may name people: it goes with its
//! session.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use control::Principal;
use serde::{Deserialize, Serialize};

use super::{Error, OpenError, file};

/// What the operator must know of a session after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptSession {
    /// Its id.
    pub session: String,
    /// `namespace/name` of its connection.
    pub connection: String,
    /// Whose it is; the pod UID in it is the only one that may use the session.
    pub principal: Principal,
    /// Its Snowflake role.
    pub role: String,
    /// Its Snowflake user, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether that user must be dropped at the end.
    #[serde(default)]
    pub is_ephemeral: bool,
    /// When it was opened, Unix milliseconds.
    pub opened_at_ms: i64,
    /// When it ends unless it is renewed, Unix milliseconds.
    pub expires_at_ms: i64,
    /// When it ends however often it is renewed, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at_ms: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Keep(Box<KeptSession>),
    Forget(String),
}

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Sessions(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    path: PathBuf,
    file: File,
    /// Bytes and lines that are good.
    length: u64,
    lines: usize,
    living: BTreeMap<String, KeptSession>,
    is_lost: bool,
}

impl Sessions {
    /// Reads the table; a last line that a crash cut off never counted.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut living = BTreeMap::new();
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            match serde_json::from_slice(line) {
                Ok(Line::Keep(session)) if line.ends_with(b"\n") => {
                    living.insert(session.session.clone(), *session);
                }
                Ok(Line::Forget(session)) if line.ends_with(b"\n") => {
                    living.remove(&session);
                }
                _ if lines.peek().is_none() => {}
                _ => return Err(OpenError::Sessions(number + 1)),
            }
        }
        file::replace(path, &written(&living)?)?;
        let file = fs::OpenOptions::new().append(true).open(path)?;
        let length = file.metadata()?.len();
        let lines = living.len();
        let path = path.to_owned();
        let table = Table { path, file, length, lines, living, is_lost: false };
        Ok(Self(Arc::new(Mutex::new(table))))
    }

    /// Every session that was not forgotten.
    pub(super) fn all(&self) -> Vec<KeptSession> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).living.values().cloned().collect()
    }

    /// Keeps a session, or what changed of it.
    pub(super) async fn keep(&self, session: &KeptSession) -> Result<(), Error> {
        self.change(Line::Keep(Box::new(session.clone()))).await
    }

    /// Forgets a session.
    pub(super) async fn forget(&self, session: &str) -> Result<(), Error> {
        self.change(Line::Forget(session.to_owned())).await
    }

    async fn change(&self, line: Line) -> Result<(), Error> {
        let table = Arc::clone(&self.0);
        let change = move || table.lock().unwrap_or_else(PoisonError::into_inner).change(line);
        match tokio::task::spawn_blocking(change).await {
            Ok(result) => result.map_err(|error| Error::Unwritable(error.to_string())),
            Err(error) => Err(Error::Unwritable(error.to_string())),
        }
    }
}

impl Table {
    fn change(&mut self, line: Line) -> io::Result<()> {
        if matches!(&line, Line::Forget(session) if !self.living.contains_key(session)) {
            return Ok(());
        }
        if self.is_lost || self.lines > 64 + 4 * self.living.len() {
            self.rewrite()?;
        }
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        if let Err(error) = self.file.write_all(&bytes).and_then(|()| self.file.sync_data()) {
            // What is on disk now is unknown; the next change writes the table anew.
            self.is_lost = true;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.lines += 1;
        match line {
            Line::Keep(session) => {
                self.living.insert(session.session.clone(), *session);
            }
            Line::Forget(session) => {
                self.living.remove(&session);
            }
        }
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let bytes = written(&self.living)?;
        file::replace(&self.path, &bytes)?;
        self.file = fs::OpenOptions::new().append(true).open(&self.path)?;
        self.length = bytes.len() as u64;
        self.lines = self.living.len();
        self.is_lost = false;
        Ok(())
    }
}

fn written(living: &BTreeMap<String, KeptSession>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for session in living.values() {
        serde_json::to_writer(&mut bytes, &Line::Keep(Box::new(session.clone())))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str, expires_at_ms: i64) -> KeptSession {
        KeptSession {
            session: id.into(),
            connection: "data/prod".into(),
            principal: Principal { workload: control::Workload::default(), human: None },
            role: "READER".into(),
            user: None,
            is_ephemeral: true,
            opened_at_ms: 1,
            expires_at_ms,
            ends_at_ms: None,
        }
    }

    fn ids(sessions: &Sessions) -> Vec<String> {
        sessions.all().into_iter().map(|session| session.session).collect()
    }

    #[tokio::test]
    async fn a_restart_knows_every_session_that_was_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions");
        let sessions = Sessions::open(&path).unwrap();
        sessions.keep(&session("a", 1)).await.unwrap();
        sessions.keep(&session("b", 1)).await.unwrap();
        sessions.keep(&session("b", 2)).await.unwrap();
        sessions.forget("a").await.unwrap();
        sessions.forget("never").await.unwrap();
        drop(sessions);
        assert_eq!(Sessions::open(&path).unwrap().all(), [session("b", 2)]);
    }

    #[tokio::test]
    async fn a_last_line_cut_off_is_passed_over_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions");
        let sessions = Sessions::open(&path).unwrap();
        for id in ["a", "b", "c"] {
            sessions.keep(&session(id, 1)).await.unwrap();
        }
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        assert_eq!(ids(&Sessions::open(&path).unwrap()), ["a", "b"]);
        let mut damaged = whole;
        damaged[3] = b'#';
        fs::write(&path, damaged).unwrap();
        assert!(matches!(Sessions::open(&path), Err(OpenError::Sessions(1))));
    }

    #[tokio::test]
    async fn the_file_does_not_grow_with_history() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessions");
        let sessions = Sessions::open(&path).unwrap();
        for number in 0..300 {
            sessions.keep(&session("a", number)).await.unwrap();
        }
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 75, "{lines}");
        assert_eq!(Sessions::open(&path).unwrap().all(), [session("a", 299)]);
    }
}
