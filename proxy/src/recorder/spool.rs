//! Segments on local disk until they are shipped: one folder, one budget.
//!
//! ```text
//! <spool>/<session>/<number>.hot     being written, no seal yet
//! <spool>/<session>/<number>.fgseg   finished, to be shipped, then removed
//! <spool>/<session>/<number>.broken  damaged on this disk: kept for a human, never shipped
//! ```
//!
//! The volume's limit is kept by counting, not by waiting for the disk to fail: a volume that grows past its limit
//! gets the pod evicted, and the evidence with it.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use prometheus_client::metrics::gauge::Gauge;
use recording::{
    Fact,
    entry::Recovered,
    segment::{Broken, EXTENSION, Finished, Writer},
};

use super::{Unrecorded, journal::Class};

/// Extension of the file that is being written.
pub(super) const HOT: &str = "hot";
/// Extension of a file whose header is not on disk yet.
pub(super) const NEW: &str = "new";
const BROKEN: &str = "broken";

/// The folder and its budget.
#[derive(Clone)]
pub(super) struct Spool {
    dir: Arc<Path>,
    limit: u64,
    used: Arc<AtomicU64>,
    gauge: Gauge<i64>,
    left_behind: Arc<[String]>,
    /// Rows were left out for want of room.
    crowded: Arc<AtomicBool>,
}

impl Spool {
    /// Takes up the folder, ending what a crash left in it, but for sessions that go on.
    pub(super) fn open(
        dir: PathBuf,
        limit: u64,
        gauge: Gauge<i64>,
        living: &HashSet<String>,
    ) -> Result<Self, Unrecorded> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let left_behind = sessions(&dir)?.into();
        let spool = Self {
            dir: dir.into(),
            limit,
            used: Arc::default(),
            gauge,
            left_behind,
            crowded: Arc::default(),
        };
        for (session, path) in spool.files()? {
            match path.extension().and_then(|it| it.to_str()) {
                Some(HOT) if living.contains(&session) && !is_sealed(&path)? => {}
                Some(HOT) => recover(&session, &path)?,
                // A header that was never whole.
                Some(NEW) => fs::remove_file(path)?,
                _ => {}
            }
        }
        let used = spool.files()?.into_iter().filter_map(|(_, path)| path.metadata().ok());
        spool.add(used.map(|it| it.len()).sum());
        Ok(spool)
    }

    /// Sessions whose recording the process before this one did not finish: each has its folder as long as it is open.
    pub(super) fn left_behind(&self) -> &[String] {
        &self.left_behind
    }

    /// Bytes in the folder.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The folder of one session, made if it is not there.
    pub(super) fn session(&self, session: &str) -> Result<PathBuf, Unrecorded> {
        // The operator gives the id; a name that is none must never become a path.
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if session.is_empty() || session.len() > 64 || !session.chars().all(is_name) {
            return Err(Unrecorded::Unwritable("the session's id is no file name".into()));
        }
        let dir = self.dir.join(session);
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error.into()),
            _ => {
                sync_dir(&self.dir)?;
                Ok(dir)
            }
        }
    }

    /// Takes room from the budget. New statements end at three fifths, so that there is room for the rows of those
    /// that run; rows end at four, so that outcomes and the closing of sessions always have a place. Once rows did not
    /// fit, nothing new runs until most of the spool is free again: otherwise small statements would go on fitting in
    /// while their answers do not.
    pub(super) fn reserve(&self, bytes: u64, class: Class) -> bool {
        let limit = match class {
            Class::Statement if self.crowded.load(Ordering::Relaxed) => self.limit / 5,
            Class::Statement => self.limit / 5 * 3,
            Class::Rows => self.limit / 5 * 4,
            Class::Outcome => self.limit / 20 * 19,
            Class::Closing => u64::MAX,
        };
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= limit)
        });
        match class {
            Class::Statement if taken.is_ok() => self.crowded.store(false, Ordering::Relaxed),
            Class::Rows if taken.is_err() => self.crowded.store(true, Ordering::Relaxed),
            _ => {}
        }
        self.show();
        taken.is_ok()
    }

    /// Less than this in one segment does not make the spool crowded.
    pub(super) fn worth_shipping(&self) -> u64 {
        self.limit / 20
    }

    /// Takes room whatever the budget says: seals, which are small and end things.
    pub(super) fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.show();
    }

    /// Gives room back.
    pub(super) fn release(&self, bytes: u64) {
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            Some(used.saturating_sub(bytes))
        });
        self.show();
    }

    fn show(&self) {
        self.gauge.set(i64::try_from(self.used()).unwrap_or(i64::MAX));
    }

    /// Finished segments, by session and in order.
    pub(super) fn segments(&self) -> BTreeMap<String, Vec<PathBuf>> {
        let mut segments: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (session, path) in self.files().unwrap_or_default() {
            if path.extension().is_some_and(|it| it == EXTENSION) {
                segments.entry(session).or_default().push(path);
            }
        }
        segments
    }

    /// Forgets a shipped segment, and the session's folder with its last one. Only then: until it is over, the session
    /// may be about to begin the next segment there.
    pub(super) fn remove(&self, segment: &Path, is_final: bool) -> io::Result<()> {
        let length = segment.metadata().map_or(0, |it| it.len());
        fs::remove_file(segment)?;
        self.release(length);
        if let Some(dir) = segment.parent().filter(|_| is_final) {
            // Fails while anything else is in it, as it should.
            fs::remove_dir(dir).ok();
        }
        Ok(())
    }

    /// Puts a segment aside that this disk has damaged.
    pub(super) fn set_aside(&self, segment: &Path) -> io::Result<()> {
        fs::rename(segment, segment.with_extension(BROKEN))
    }

    /// The segments of one session that are here, in order.
    pub(super) fn files_of(&self, session: &str) -> io::Result<Vec<PathBuf>> {
        let is_segment =
            |path: &PathBuf| path.extension().is_some_and(|it| it == HOT || it == EXTENSION);
        let files = self.files()?.into_iter().filter(|(of, _)| of == session);
        Ok(files.map(|(_, path)| path).filter(is_segment).collect())
    }

    /// Every file of every session, in order.
    fn files(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let mut files = Vec::new();
        for name in sessions(&self.dir)? {
            for file in fs::read_dir(self.dir.join(&name))? {
                let path = file?.path();
                let number = path.file_stem().and_then(|it| it.to_str()?.parse::<u64>().ok());
                if let Some(number) = number {
                    files.push((name.clone(), number, path));
                }
            }
        }
        files.sort();
        Ok(files.into_iter().map(|(session, _, path)| (session, path)).collect())
    }
}

/// The sessions that have a folder.
fn sessions(dir: &Path) -> io::Result<Vec<String>> {
    let mut sessions = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sessions.extend(entry.file_name().into_string());
        }
    }
    Ok(sessions)
}

fn is_sealed(path: &Path) -> io::Result<bool> {
    Ok(Finished::read(&fs::read(path)?).is_ok_and(|finished| finished.is_sealed))
}

/// Ends a segment that a crash left without a seal: cuts off what is not whole, and says so in it.
pub(super) fn recover(session: &str, path: &Path) -> Result<(), Unrecorded> {
    if is_sealed(path)? {
        // Sealed, and the crash came before it got its name.
        fs::rename(path, path.with_extension(EXTENSION))?;
        return Ok(path.parent().map_or(Ok(()), sync_dir)?);
    }
    let bytes = fs::read(path)?;
    let (mut writer, end) = match Writer::recover(&bytes) {
        Ok(recovered) => recovered,
        // Nothing in it was ever whole, so nothing in it was ever promised.
        Err(Broken::Torn) => return Ok(fs::remove_file(path)?),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "a segment in the spool is damaged");
            return Ok(fs::rename(path, path.with_extension(BROKEN))?);
        }
    };
    let dropped_bytes = (bytes.len() - end) as u64;
    let fact = Fact::Recovered(Recovered {
        dropped_bytes,
        cause: "the sidecar ended without sealing".into(),
    });
    let mut tail = Vec::new();
    writer
        .entry(fact, crate::now_ms(), &mut tail)
        .map_err(|error| Unrecorded::Unwritable(error.to_string()))?;
    let mut file = File::options().append(true).open(path)?;
    file.set_len(end as u64)?;
    file.write_all(&tail)?;
    file.sync_data()?;
    fs::rename(path, path.with_extension(EXTENSION))?;
    tracing::warn!(session, dropped_bytes, "took up a recording that ended without a seal");
    Ok(path.parent().map_or(Ok(()), sync_dir)?)
}

/// A new name is durable only when its folder is.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
