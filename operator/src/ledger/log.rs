//! The log on disk: promised in the journal, then integrated into tiles, then in a checkpoint.
//!
//! One thread writes. It takes what waits as one batch, journals it with one sync and answers;
//! at most `publish_every` later it writes tiles, bundles and the checkpoint, in this order, and
//! empties the journal. A crash between any two of these leaves files that the journal's leaves
//! would be written to again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use recording::ledger::checkpoint::CheckpointError;
use recording::ledger::tile::{self, Tile};
use recording::ledger::{
    Checkpoint, CopyError, Fact, Leaf, NoteError, Tree, VerifierKey, check, leaf_hash,
};
use tokio::sync::{oneshot, watch};

use super::journal::{Append, Damaged, Journal};
use super::{Error, Key, Settings, file};

/// The longest leaf: ids and hashes are short.
const LEAF_BYTES_MAX: usize = 8 << 10;
/// Appends that may wait for the disk at once.
const WAITING_MAX: usize = 4096;
/// Appends that share one sync.
const BATCH_MAX: usize = 256;
/// How long to wait after a failed publication.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be read or written.
    #[error("the ledger's folder cannot be used: {0}")]
    Folder(#[from] io::Error),
    /// The log is not whole.
    #[error(
        "the ledger is broken and will not be continued: {0}; restore its folder from a backup, or move it away and keep it as evidence"
    )]
    Broken(#[from] CopyError),
    /// Leaves that were promised are gone.
    #[error(
        "the ledger is broken and will not be continued: the journal lost leaf {0}; restore its folder from a backup, or move it away and keep it as evidence"
    )]
    Journal(u64),
    /// The log was signed by another key.
    #[error(
        "the ledger was not signed by the key `{0}`; give the operator the key it had, or name it as the previous one"
    )]
    OtherKey(VerifierKey),
    /// The checkpoint kept elsewhere is none.
    #[error("the known checkpoint of the ledger is not valid: {0}")]
    Known(CheckpointError),
    /// The list of living sessions does not read.
    #[error(
        "the list of living sessions is broken at line {0}; move the file away to start without it"
    )]
    Sessions(usize),
}

/// The handle on the writing thread.
#[derive(Debug)]
pub(super) struct Log {
    /// Gone only while the log ends.
    appends: Option<mpsc::SyncSender<Waiting>>,
    thread: Option<std::thread::JoinHandle<()>>,
    checkpoints: watch::Receiver<Arc<[u8]>>,
    folder: PathBuf,
}

/// A leaf on its way to the disk.
#[derive(Debug)]
struct Waiting {
    leaf: Vec<u8>,
    answer: oneshot::Sender<Result<u64, Error>>,
}

/// What the writing thread works with.
#[derive(Debug)]
struct Writer {
    folder: PathBuf,
    key: Arc<Key>,
    journal: Journal,
    /// The tree that is published.
    tree: Tree,
    /// Leaves of its last bundle while that is not full.
    open_bundle: Vec<Vec<u8>>,
    /// Leaves in the journal that are not in the tree.
    pending: Vec<Vec<u8>>,
    checkpoints: watch::Sender<Arc<[u8]>>,
    /// Why nothing can be appended until a restart.
    lost: Option<String>,
}

impl Log {
    /// Reads the log back and starts its thread.
    pub(super) fn open(
        settings: &Settings,
        key: Arc<Key>,
        lock: file::Lock,
    ) -> Result<(Self, Vec<Leaf>), OpenError> {
        let folder = settings.root.join("ledger");
        file::make_folder(&folder)?;
        let (writer, leaves) = Writer::open(folder.clone(), key, settings)?;
        let checkpoints = writer.checkpoints.subscribe();
        let (appends, waiting) = mpsc::sync_channel(WAITING_MAX);
        let publish_every = settings.publish_every;
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || {
            writer.run(&waiting, publish_every);
            // The folder is free for another operator once nothing writes to it any more.
            drop(lock);
        })?;
        let (appends, thread) = (Some(appends), Some(thread));
        Ok((Self { appends, thread, checkpoints, folder }, leaves))
    }

    /// Appends a leaf; it is on disk when this returns.
    pub(super) async fn append(&self, leaf: &Leaf) -> Result<u64, Error> {
        let leaf = serde_json::to_vec(leaf).map_err(|_| Error::Malformed("leaf"))?;
        if leaf.len() > LEAF_BYTES_MAX {
            return Err(Error::Malformed("leaf: it is too long"));
        }
        let (answer, answered) = oneshot::channel();
        let stopped = || Error::Unwritable("it has stopped".into());
        let appends = self.appends.as_ref().ok_or_else(stopped)?;
        appends.try_send(Waiting { leaf, answer }).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => Error::Unwritable("too many appends wait".into()),
            mpsc::TrySendError::Disconnected(_) => stopped(),
        })?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }

    pub(super) fn checkpoints(&self) -> watch::Receiver<Arc<[u8]>> {
        self.checkpoints.clone()
    }

    /// Where its files lie.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Log {
    /// Waits until everything promised is published and the folder is free.
    fn drop(&mut self) {
        drop(self.appends.take());
        if let Some(Err(_)) = self.thread.take().map(std::thread::JoinHandle::join) {
            tracing::error!("the ledger's thread panicked; what it promised is in the journal");
        }
    }
}

impl Writer {
    fn open(
        folder: PathBuf,
        key: Arc<Key>,
        settings: &Settings,
    ) -> Result<(Self, Vec<Leaf>), OpenError> {
        let verifier = key.verifier_key();
        let known = match &settings.known {
            Some(note) => Some(open_known(note, &verifier, settings.previous.as_ref())?),
            None => None,
        };
        let (journal, lines) = Journal::open(&folder.join("journal"))?
            .map_err(|Damaged(index)| OpenError::Journal(index))?;
        // A new log has its first checkpoint before its first leaf.
        let has_begun = !lines.is_empty()
            || folder.join("tile").exists()
            || folder.join(tile::CHECKPOINT_PATH).exists();
        let (tree, mut leaves, mut rotated) = if has_begun {
            read_back(&folder, &verifier, known.as_ref(), settings.previous.as_ref())?
        } else if let Some(known) = known.filter(|known| known.size > 0) {
            return Err(OpenError::Broken(CopyError::Forked(known.size)));
        } else {
            (Tree::default(), Vec::new(), None)
        };

        // A crash may have left leaves in the journal that are in the checkpoint.
        let size = tree.size();
        let mut pending = Vec::new();
        for (index, line) in lines {
            let leaf: Leaf = serde_json::from_slice(&line)
                .map_err(|_| OpenError::Broken(CopyError::Foreign(index)))?;
            match usize::try_from(index).ok().and_then(|index| leaves.get(index)) {
                Some(same) if *same == leaf => {}
                None if index == leaves.len() as u64 => {
                    leaves.push(leaf);
                    pending.push(line);
                }
                _ => return Err(OpenError::Journal(size)),
            }
        }
        let open_bundle = read_open_bundle(&folder, size)?;
        let (checkpoints, _) = watch::channel(Arc::from([]));
        let mut writer =
            Self { folder, key, journal, tree, open_bundle, pending, checkpoints, lost: None };
        if let Some(rotation) = rotated.take() {
            let leaf = Leaf::new(jiff::Timestamp::now().as_millisecond(), rotation);
            let line = serde_json::to_vec(&leaf).map_err(io::Error::other)?;
            writer.journal_all([line.as_slice()].into_iter()).map_err(|error| match error {
                Append::Refused(error) | Append::Lost(error) => OpenError::Folder(error),
            })?;
            writer.pending.push(line);
            leaves.push(leaf);
        }
        writer.publish()?;
        Ok((writer, leaves))
    }

    /// Runs until the last handle is gone; then everything promised is published.
    fn run(mut self, waiting: &mpsc::Receiver<Waiting>, publish_every: Duration) {
        let mut publish_at: Option<Instant> = None;
        loop {
            let first = match publish_at {
                None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => waiting.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match first {
                Ok(first) => {
                    let batch: Vec<_> =
                        std::iter::once(first).chain(waiting.try_iter().take(BATCH_MAX)).collect();
                    self.append(batch);
                    if !self.pending.is_empty() && publish_at.is_none() {
                        publish_at = Some(Instant::now() + publish_every);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if publish_at.is_some_and(|at| at <= Instant::now()) {
                publish_at = match self.publish() {
                    Ok(()) => None,
                    Err(error) => {
                        tracing::error!(%error, "the ledger's checkpoint could not be published");
                        Some(Instant::now() + RETRY_AFTER)
                    }
                };
            }
        }
        if let Err(error) = self.publish() {
            tracing::error!(%error, "the ledger's last checkpoint could not be published; its leaves are in the journal");
        }
    }

    fn append(&mut self, batch: Vec<Waiting>) {
        let result = match &self.lost {
            Some(lost) => Err(lost.clone()),
            None => self.journal_all(batch.iter().map(|waiting| waiting.leaf.as_slice())).map_err(
                |error| match error {
                    Append::Refused(error) => error.to_string(),
                    Append::Lost(error) => {
                        let lost = format!("{error}; the operator must be restarted");
                        tracing::error!(%error, "the ledger's journal is in an unknown state");
                        self.lost = Some(lost.clone());
                        lost
                    }
                },
            ),
        };
        let first = self.size();
        for (index, Waiting { leaf, answer }) in (first..).zip(batch) {
            // Nobody may be listening any more; the leaf counts all the same.
            let _ = answer.send(match &result {
                Ok(()) => Ok(index),
                Err(error) => Err(Error::Unwritable(error.clone())),
            });
            if result.is_ok() {
                self.pending.push(leaf);
            }
        }
    }

    fn journal_all<'a>(&mut self, leaves: impl Iterator<Item = &'a [u8]>) -> Result<(), Append> {
        self.journal.append(self.size(), leaves)
    }

    /// Leaves in the tree and in the journal.
    fn size(&self) -> u64 {
        self.tree.size() + self.pending.len() as u64
    }

    /// Writes tiles, bundles and the checkpoint of all leaves, then empties the journal.
    fn publish(&mut self) -> io::Result<()> {
        if self.lost.is_some() {
            return Ok(());
        }
        let mut tree = self.tree.clone();
        let mut bundle = self.open_bundle.clone();
        let mut filled = Vec::new();
        for leaf in &self.pending {
            bundle.push(leaf.clone());
            for (tile, hashes) in tree.push(leaf_hash(leaf)) {
                if tile.level == 0 {
                    self.write_bundle(tile, &std::mem::take(&mut bundle))?;
                }
                self.write(&tile.path(), &tile::encode(&hashes))?;
                filled.push(tile);
            }
        }
        for (tile, hashes) in tree.partial_tiles() {
            if tile.level == 0 {
                self.write_bundle(tile, &bundle)?;
            }
            self.write(&tile.path(), &tile::encode(hashes))?;
        }
        let origin = self.key.verifier_key().name().to_owned();
        let checkpoint = Checkpoint { origin, size: tree.size(), root: tree.root() };
        let note = self.key.sign(&checkpoint).map_err(io::Error::other)?;
        file::replace(&self.folder.join(tile::CHECKPOINT_PATH), &note)?;

        self.tree = tree;
        self.open_bundle = bundle;
        self.pending.clear();
        self.checkpoints.send_replace(note.into());
        for tile in filled {
            self.drop_partials(tile);
        }
        self.journal.clear()
    }

    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        file::replace(&self.folder.join(path), bytes)
    }

    fn write_bundle(&self, tile: Tile, leaves: &[Vec<u8>]) -> io::Result<()> {
        let bundle = tile::encode_bundle(leaves.iter().map(Vec::as_slice))
            .ok_or_else(|| io::Error::other("a leaf is too long for its bundle"))?;
        self.write(&tile.bundle_path(), &bundle)
    }

    /// Drops the partial tiles that a full one replaced; readers fall back to the full one.
    fn drop_partials(&self, tile: Tile) {
        let mut paths = BTreeSet::from([tile.path()]);
        if tile.level == 0 {
            paths.insert(tile.bundle_path());
        }
        for path in paths {
            // What stays costs space, nothing else.
            let _ = fs::remove_dir_all(self.folder.join(format!("{path}.p")));
        }
    }
}

/// A checkpoint kept elsewhere may be by the key before this one.
fn open_known(
    note: &[u8],
    key: &VerifierKey,
    previous: Option<&VerifierKey>,
) -> Result<Checkpoint, OpenError> {
    Checkpoint::open(note, key)
        .or_else(|error| previous.map_or(Err(error), |previous| Checkpoint::open(note, previous)))
        .map_err(OpenError::Known)
}

/// Checks the published log; also the rotation to write where it is still under the previous key.
fn read_back(
    folder: &Path,
    key: &VerifierKey,
    known: Option<&Checkpoint>,
    previous: Option<&VerifierKey>,
) -> Result<(Tree, Vec<Leaf>, Option<Fact>), OpenError> {
    // The caller reads only paths that the layout makes.
    let read = |path: &str| fs::read(folder.join(path)).ok();
    let is_of_other_key = |error: &CopyError| {
        matches!(error, CopyError::Checkpoint(CheckpointError::Note(NoteError::NotSigned(_))))
    };
    match check(read, key, known) {
        Ok(checked) => Ok((checked.tree, checked.leaves, None)),
        Err(error) if is_of_other_key(&error) => {
            let Some(previous) = previous else { return Err(OpenError::OtherKey(key.clone())) };
            let checked = check(read, previous, known)?;
            let rotation = Fact::KeyRotated { old: previous.to_string(), new: key.to_string() };
            Ok((checked.tree, checked.leaves, Some(rotation)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The leaves of the last bundle, which was checked before, if it is not full.
fn read_open_bundle(folder: &Path, size: u64) -> Result<Vec<Vec<u8>>, OpenError> {
    let width = (size % u64::from(tile::WIDTH)) as u16;
    if width == 0 {
        return Ok(Vec::new());
    }
    let tile = Tile { level: 0, index: size / u64::from(tile::WIDTH), width };
    let path = tile.bundle_path();
    let bundle = fs::read(folder.join(&path))
        .or_else(|_| fs::read(folder.join(tile.full().bundle_path())))?;
    let leaves = tile::decode_bundle(&bundle).ok_or(CopyError::Bundle { path, expected: width })?;
    Ok(leaves.into_iter().take(usize::from(width)).map(<[u8]>::to_vec).collect())
}
