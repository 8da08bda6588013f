//! Recordings on disk, as the operator's store keeps them or as somebody copied them.
//!
//! ```text
//! <dir>/recordings/<session>/<number>.fgseg   <dir>/ledger/...      a whole store
//! <dir>/<session>/<number>.fgseg              <dir>/ledger/...      a copy without that folder
//! <dir>/<number>.fgseg                                              one session
//! <number>.fgseg                                                    one segment
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use recording::{
    ledger::{self, Leaf},
    segment::{EXTENSION, Header},
};

use crate::key::Key;

/// Recordings and, if it is there, the ledger beside them.
#[derive(Debug)]
pub(crate) struct Folder {
    sessions: BTreeMap<String, PathBuf>,
    ledger: Option<PathBuf>,
    /// One session or less was asked for: what else the ledger knows is no question.
    is_part: bool,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if path.is_file() {
            let session = session_of(path)?;
            let sessions = [(session, path.to_owned())].into();
            return Ok(Self { sessions, ledger: None, is_part: true });
        }
        if !path.is_dir() {
            bail!("{shown} is neither a folder nor a file");
        }
        let path = path.canonicalize().with_context(|| format!("cannot read {shown}"))?;
        if let Some(first) = segments(&path)?.values().next() {
            let sessions = [(session_of(first)?, path.clone())].into();
            return Ok(Self { sessions, ledger: path.parent().and_then(ledger_of), is_part: true });
        }
        let inner = path.join("recordings");
        let root = if inner.is_dir() { inner } else { path };
        let mut sessions = BTreeMap::new();
        for entry in fs::read_dir(&root).with_context(|| format!("cannot read {shown}"))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_ours = entry.file_type()?.is_dir() && !name.starts_with('.') && name != "ledger";
            // A session without segments is one whose evidence is gone, or has not come yet.
            if is_ours {
                sessions.insert(name, entry.path());
            }
        }
        Ok(Self { sessions, ledger: ledger_of(&root), is_part: false })
    }

    /// The sessions, by id; with `only`, just that one.
    pub(crate) fn sessions(&self, only: Option<&str>) -> anyhow::Result<Vec<String>> {
        match only {
            None => Ok(self.sessions.keys().cloned().collect()),
            Some(id) if self.sessions.contains_key(id) => Ok(vec![id.to_owned()]),
            Some(prefix) => {
                let mut fits = self.sessions.keys().filter(|id| id.starts_with(prefix));
                match (fits.next(), fits.next()) {
                    (Some(id), None) => Ok(vec![id.clone()]),
                    (Some(_), Some(_)) => bail!("`{prefix}` begins the ids of several sessions"),
                    (None, _) => bail!("there is no session `{prefix}` here"),
                }
            }
        }
    }

    /// The segment files of a session, by number.
    pub(crate) fn files(&self, session: &str) -> anyhow::Result<BTreeMap<u64, Vec<u8>>> {
        let Some(path) = self.sessions.get(session) else { return Ok(BTreeMap::new()) };
        let read =
            |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        if path.is_file() {
            let bytes = read(path)?;
            let number = Header::of(&bytes).map_or(0, |header| header.segment);
            return Ok([(number, bytes)].into());
        }
        segments(path)?.iter().map(|(number, path)| Ok((*number, read(path)?))).collect()
    }

    /// The leaves of the ledger, every byte checked; `None` where there is no ledger.
    pub(crate) fn ledger(
        &self,
        key: &Key,
    ) -> anyhow::Result<Option<Result<Vec<Leaf>, ledger::CopyError>>> {
        let Some(dir) = &self.ledger else { return Ok(None) };
        let read = |path: &str| fs::read(dir.join(path)).ok();
        let checkpoint = read("checkpoint").unwrap_or_default();
        let origin = String::from_utf8_lossy(&checkpoint);
        let verifier = key.verifier(origin.lines().next().unwrap_or_default())?;
        Ok(Some(ledger::check(read, &verifier, None).map(|checked| checked.leaves)))
    }

    /// Whether all sessions of the ledger should be here.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_part
    }
}

/// The ledger that lies in the folder of all sessions, or beside it where that one is `recordings`.
fn ledger_of(root: &Path) -> Option<PathBuf> {
    let beside = root.parent().filter(|_| root.file_name().is_some_and(|it| it == "recordings"));
    let mut dirs = [Some(root), beside].into_iter().flatten().map(|dir| dir.join("ledger"));
    dirs.find(|dir| dir.join("checkpoint").is_file())
}

fn segments(dir: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut segments = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|it| it.to_str()?.parse().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|it| it == EXTENSION)) {
            segments.insert(number, path);
        }
    }
    Ok(segments)
}

/// The session's id: the folder's name, or what the segment itself says where the folder was renamed.
fn session_of(segment: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(segment).with_context(|| format!("cannot read {}", segment.display()))?;
    match Header::of(&bytes) {
        Ok(header) => Ok(header.session),
        // Damaged at its very start: the folder's name must do.
        Err(_) => Ok(segment
            .parent()
            .and_then(|dir| dir.file_name()?.to_str())
            .unwrap_or("unknown")
            .to_owned()),
    }
}
