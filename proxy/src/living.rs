//! Living sessions, for a sidecar that starts again: what it takes to go on with them, kept on the pod's memory.
//!
//! ```text
//! change -> line -> file    before the answer that it is about is given    append; rewritten when most of it is history
//! start  -> file -> Kept    one per session, and who brings it back        session::resume, statement::resume
//! ```
//!
//! The file lies on a volume in memory that only the sidecar mounts, and holds what only its memory holds otherwise:
//! tokens of the account, and the key that the session's recording is sealed with. Of the agent's own tokens there are
//! digests. It is not synced: it outlives the process and not the pod, as the sessions do.
//!
//! A sidecar that cannot write it goes on, and empties it: then a restart ends its sessions, as one does that finds a
//! damaged file, or one of another pod.

mod file;
mod kept;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use file::{Corrupt, Link};
use kept::Line;
pub(crate) use kept::{
    Change, Closed, Ended, Identity, Kept, Part, Secret, Ticket, Tokens, UnderWay, Word,
};

/// The file is rewritten when it has grown by so much.
const HISTORY: u64 = 4 << 20;
/// What is kept of all sessions, bytes: answers go first, then the statements that ended longest ago.
const LIVING: usize = 2 << 20;
/// Sessions that are over whose tokens are still known.
const CLOSED: usize = 256;

/// The table. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Living(Option<Arc<Mutex<Table>>>);

/// The table as one session sees it.
#[derive(Clone)]
pub(crate) struct Of {
    living: Living,
    session: String,
}

/// What a sidecar left behind that ended.
#[derive(Default)]
pub(crate) struct Left {
    pub(crate) sessions: Vec<Kept>,
    pub(crate) closed: Vec<Closed>,
}

struct Table {
    path: PathBuf,
    /// Whose it is: nobody else takes it up.
    owner: String,
    file: File,
    link: Link,
    length: u64,
    /// Its length when it was rewritten last.
    rewritten: u64,
    sessions: BTreeMap<String, Kept>,
    closed: VecDeque<Closed>,
    /// It could not be written, and was emptied.
    is_lost: bool,
}

impl Living {
    /// Nothing is kept.
    pub(crate) fn nowhere() -> Self {
        Self(None)
    }

    /// Takes up the table in its file, and gives what was in it.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn open(path: &Path, owner: &str) -> io::Result<(Self, Left)> {
        let (sessions, closed) = match read(path, owner) {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "the sessions of the sidecar before this one end: their table is not believed");
                <_>::default()
            }
        };
        let left = Left {
            sessions: sessions.values().cloned().collect(),
            closed: closed.iter().cloned().collect(),
        };
        let (file, link, length) = write(path, owner, &sessions, &closed)?;
        let table = Table {
            path: path.to_owned(),
            owner: owner.to_owned(),
            file,
            link,
            length,
            rewritten: length,
            sessions,
            closed,
            is_lost: false,
        };
        Ok((Self(Some(Arc::new(Mutex::new(table)))), left))
    }

    /// The table as one session sees it.
    pub(crate) fn of(&self, session: &str) -> Of {
        Of { living: self.clone(), session: session.to_owned() }
    }

    /// A session begins.
    pub(crate) fn keep(&self, kept: Kept) {
        self.note(&kept.id.clone(), Change::Keep(Box::new(kept)));
    }

    /// Whether anything is kept.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    fn note(&self, session: &str, change: Change) {
        let Some(table) = &self.0 else { return };
        let line = Line { session: session.to_owned(), change };
        lock(table).note(line);
    }
}

impl Of {
    /// Keeps what changed. When this returns a sidecar that starts again knows it.
    pub(crate) fn note(&self, change: Change) {
        self.living.note(&self.session, change);
    }

    /// Whether anything is kept.
    pub(crate) fn is_there(&self) -> bool {
        self.living.is_there()
    }
}

/// The moment of a time that was kept; one that is still to come counts as now. None where this machine did not run
/// then: nothing that has an age goes on from there.
pub(crate) fn since(at_ms: i64) -> Option<Instant> {
    let age = crate::now_ms().saturating_sub(at_ms);
    Instant::now().checked_sub(Duration::from_millis(u64::try_from(age).unwrap_or(0)))
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    fn note(&mut self, line: Line) {
        let is_new = matches!(line.change, Change::Keep(_));
        if !is_new && !self.sessions.contains_key(&line.session) {
            return;
        }
        let appended = self.append(&line);
        line.apply(&mut self.sessions, &mut self.closed);
        while self.closed.len() > CLOSED {
            self.closed.pop_front();
        }
        let is_long = self.length > self.rewritten + HISTORY;
        if appended.is_err() || is_long {
            self.rewrite();
        }
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        if self.is_lost {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let json = kept::encode(line)?;
        let (bytes, link) = self.link.line(&json);
        self.file.write_all(&bytes)?;
        self.link = link;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn rewrite(&mut self) {
        kept::shorten(&mut self.sessions, LIVING);
        match write(&self.path, &self.owner, &self.sessions, &self.closed) {
            Ok((file, link, length)) => {
                (self.file, self.link) = (file, link);
                (self.length, self.rewritten) = (length, length);
                self.is_lost = false;
            }
            Err(error) => {
                if !self.is_lost {
                    tracing::error!(%error, "living sessions cannot be kept: a restart of the sidecar will end them");
                }
                self.is_lost = true;
                // What is not told the whole truth must not be believed: neither half of a line nor an old table.
                if let Err(error) = self.file.set_len(0) {
                    tracing::error!(%error, "the table of living sessions cannot be emptied");
                }
            }
        }
    }
}

/// Why a table is not believed.
#[derive(Debug, thiserror::Error)]
enum Unbelievable {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    #[error("it is of another pod or another configuration")]
    Foreign,
}

type Read = (BTreeMap<String, Kept>, VecDeque<Closed>);

fn read(path: &Path, owner: &str) -> Result<Read, Unbelievable> {
    let bytes = match fs::read(path) {
        Ok(bytes) => zeroize::Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(<_>::default()),
        Err(error) => return Err(error.into()),
    };
    decode(&bytes, owner)
}

/// Reads the bytes of a file: a last line that a crash cut off never counted.
fn decode(bytes: &[u8], owner: &str) -> Result<Read, Unbelievable> {
    let mut lines = file::lines(bytes);
    let (mut sessions, mut closed) = Read::default();
    match lines.next() {
        None => return Ok((sessions, closed)),
        Some(header) if header? == kept::header(owner)?.as_slice() => {}
        Some(_) => return Err(Unbelievable::Foreign),
    }
    for json in lines {
        Line::decode(json?).ok_or(Corrupt)?.apply(&mut sessions, &mut closed);
    }
    Ok((sessions, closed))
}

/// Writes a table anew, beside the old one until it is whole.
fn write(
    path: &Path,
    owner: &str,
    sessions: &BTreeMap<String, Kept>,
    closed: &VecDeque<Closed>,
) -> io::Result<(File, Link, u64)> {
    let new = path.with_extension("new");
    let mut file = File::options().create(true).append(true).mode(0o600).open(&new)?;
    file.set_len(0)?;
    let (mut link, mut length) = (Link::default(), 0);
    let mut put = |json: &[u8]| {
        let (bytes, next) = link.line(json);
        file.write_all(&bytes)?;
        link = next;
        length += bytes.len() as u64;
        Ok::<_, io::Error>(())
    };
    put(&kept::header(owner)?)?;
    for over in closed {
        put(&kept::closed(over)?)?;
    }
    for session in sessions.values() {
        put(&kept::keep(session)?)?;
    }
    fs::rename(&new, path)?;
    Ok((file, link, length))
}

#[cfg(test)]
mod tests;
