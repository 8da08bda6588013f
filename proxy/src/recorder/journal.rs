//! The one writer of a session's recording: collects what comes, writes it in one go, syncs once, answers all.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use recording::{
    Fact, Signed, SigningKey,
    entry::{Gap, SessionClosed},
    segment::{EXTENSION, Finished, Writer},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

use super::{
    Kind, Metrics, Shared, Unrecorded,
    resume::{Found, Place},
    spool::{self, Spool},
};

/// Commands and bytes that go into one commit.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 4 << 20;

/// What a session asks of its journal.
pub(super) enum Message {
    Record(Command),
    Close { reason: String, done: Answer },
}

/// Facts that are written together or not at all.
pub(super) struct Command {
    pub(super) parts: Vec<Part>,
    pub(super) class: Class,
    pub(super) need: Need,
    pub(super) done: Option<Answer>,
}

pub(super) type Answer = oneshot::Sender<Result<(), Unrecorded>>;

/// A fact, and the bytes it announces.
pub(super) struct Part {
    pub(super) fact: Fact,
    pub(super) payload: Option<Bytes>,
}

impl From<Fact> for Part {
    fn from(fact: Fact) -> Self {
        Self { fact, payload: None }
    }
}

/// How far into the spool's budget an entry may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Begins something.
    Statement,
    /// What can be left out, with an entry that says so.
    Rows,
    /// Ends something.
    Outcome,
    /// Ends the recording: small, and always has room.
    Closing,
}

/// When the asker goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Survives the end of this process.
    Written,
    /// Survives the end of this machine's power.
    Durable,
}

/// The writer's state. Its methods block.
pub(super) struct Journal {
    dir: PathBuf,
    key: SigningKey,
    spool: Spool,
    metrics: Metrics,
    segment_max_bytes: u64,
    segment_max_age: Duration,
    sync_interval: Duration,
    state: State,
    gap: Gap,
    statements: u64,
    /// Written and not synced since.
    dirty_since: Option<Instant>,
    stalled: Arc<AtomicBool>,
    /// Something had no room: what is open here is to be shipped now, so that there is some again.
    crowded: bool,
    wake: Arc<Notify>,
}

/// Where the chain stands.
enum State {
    /// No segment yet.
    New { session: String, certificate: Signed },
    /// In the middle of one.
    Open(Open),
    /// Between two; the next begins with the next entry.
    Between(Finished),
    /// For ever: nobody knows any more what is on the disk, or the session is over.
    Ended(Unrecorded),
}

struct Open {
    path: PathBuf,
    file: File,
    writer: Writer,
    since: Instant,
}

/// Runs until the session is closed or nobody is left to write to it.
pub(super) async fn run(mut journal: Journal, mut inbox: mpsc::Receiver<Message>) {
    loop {
        let due = journal.due();
        let first = tokio::select! {
            message = inbox.recv() => match message {
                Some(message) => Some(message),
                None => break,
            },
            () = sleep_until(due) => None,
        };
        let mut batch = Vec::new();
        let mut close = None;
        let mut bytes = 0;
        let mut next = first;
        while let Some(message) = next {
            match message {
                Message::Record(command) => {
                    bytes += command.bytes();
                    batch.push(command);
                }
                Message::Close { reason, done } => {
                    close = Some((reason, done));
                    break;
                }
            }
            let room = batch.len() < BATCH && bytes < BATCH_BYTES;
            next = if room { inbox.try_recv().ok() } else { None };
        }
        let work = tokio::task::spawn_blocking(move || {
            journal.commit(batch);
            let closed = close.is_some();
            if let Some((reason, done)) = close {
                // Whoever asked may have gone.
                done.send(journal.close(&reason)).ok();
            }
            (journal, closed)
        });
        match work.await {
            Ok((returned, false)) => journal = returned,
            Ok((_, true)) => return,
            Err(error) => {
                tracing::error!(%error, "a journal failed; its session is refused from now on");
                return;
            }
        }
    }
    let last = tokio::task::spawn_blocking(move || journal.close("Abandoned"));
    if let Ok(Err(error)) = last.await {
        tracing::error!(%error, "a recording could not be closed");
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Command {
    fn bytes(&self) -> usize {
        self.parts.iter().filter_map(|part| part.payload.as_ref()).map(Bytes::len).sum()
    }

    fn answer(&mut self, result: Result<(), Unrecorded>) {
        if let Some(done) = self.done.take() {
            // Whoever asked may have gone.
            done.send(result).ok();
        }
    }
}

impl Journal {
    pub(super) fn new(
        shared: &Shared,
        session: String,
        key: SigningKey,
        certificate: Signed,
        stalled: Arc<AtomicBool>,
        wake: Arc<Notify>,
    ) -> Result<Self, Unrecorded> {
        let dir = shared.spool.session(&session)?;
        Ok(Self::at(State::New { session, certificate }, dir, shared, key, stalled, wake))
    }

    /// Goes on where another one ended; what is to be said of that is on disk when this returns.
    pub(super) fn resume(
        shared: &Shared,
        session: &str,
        key: SigningKey,
        found: Found,
        stalled: Arc<AtomicBool>,
        wake: Arc<Notify>,
    ) -> Result<Self, Unrecorded> {
        let dir = shared.spool.session(session)?;
        let state = match found.place {
            Place::Within { path, file, writer } => {
                State::Open(Open { path, file, writer: *writer, since: Instant::now() })
            }
            Place::Behind(finished) => State::Between(finished),
        };
        let mut journal = Self::at(state, dir, shared, key, stalled, wake);
        journal.statements = found.attempted;
        journal.write(&mut found.facts.into_iter().map(Command::later).collect())?;
        journal.sync()?;
        Ok(journal)
    }

    fn at(
        state: State,
        dir: PathBuf,
        shared: &Shared,
        key: SigningKey,
        stalled: Arc<AtomicBool>,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            dir,
            key,
            spool: shared.spool.clone(),
            metrics: shared.metrics.clone(),
            segment_max_bytes: shared.config.segment_max_bytes,
            segment_max_age: shared.config.segment_max_age,
            sync_interval: shared.config.sync_interval,
            state,
            gap: Gap::default(),
            statements: 0,
            dirty_since: None,
            stalled,
            crowded: false,
            wake,
        }
    }

    /// When something is to be done although nobody asks.
    fn due(&self) -> Option<Instant> {
        let State::Open(open) = &self.state else { return None };
        let sync = self.dirty_since.map(|since| since + self.sync_interval);
        let seal = open.has_entries().then(|| open.since + self.segment_max_age);
        sync.into_iter().chain(seal).min()
    }

    /// Writes a batch, syncs if anybody needs it or it is time, and answers everybody.
    fn commit(&mut self, mut batch: Vec<Command>) {
        let begun = std::time::Instant::now();
        let result = self.write(&mut batch);
        let durable = batch.iter().any(|it| it.need == Need::Durable && it.done.is_some());
        for command in batch.iter_mut().filter(|it| it.need == Need::Written) {
            command.answer(result.clone());
        }
        let is_time = self.due().is_some_and(|due| due <= Instant::now());
        let synced = if result.is_ok() && (durable || is_time) {
            let synced = self.sync();
            self.metrics.commit.0.observe(begun.elapsed().as_secs_f64());
            synced
        } else {
            result
        };
        for command in &mut batch {
            command.answer(synced.clone());
        }
        self.stalled.store(false, Ordering::Relaxed);
        if synced.is_ok()
            && self.is_ripe()
            && let Err(error) = self.seal(false)
        {
            tracing::error!(%error, "a segment could not be sealed");
        }
    }

    fn is_ripe(&self) -> bool {
        match &self.state {
            State::Open(open) => {
                open.has_entries()
                    && (open.writer.length() >= self.segment_max_bytes
                        || self.crowded && open.writer.length() >= self.spool.worth_shipping()
                        || open.since.elapsed() >= self.segment_max_age)
            }
            _ => false,
        }
    }

    /// Encodes and writes what has room; what has none is answered here, and counted.
    fn write(&mut self, batch: &mut Vec<Command>) -> Result<(), Unrecorded> {
        if batch.is_empty() {
            return Ok(());
        }
        // A segment is opened for whoever may reach furthest.
        let class = batch.iter().map(|it| it.class).max().unwrap_or(Class::Statement);
        let result = self.open_segment(class).and_then(|()| self.append(batch));
        if let Err(error) = &result {
            for command in batch.iter() {
                self.gap.miss(command, error, &self.metrics);
            }
            tracing::error!(%error, "the recording cannot be written");
        }
        result
    }

    fn append(&mut self, batch: &mut Vec<Command>) -> Result<(), Unrecorded> {
        let State::Open(open) = &mut self.state else { return Err(Unrecorded::Ended) };
        if let Err(error) = open.guard() {
            self.spool.release(open.writer.length());
            self.state = State::Ended(error.clone());
            return Err(error);
        }
        let (before, length) = (open.writer.clone(), open.writer.length());
        let mut out = Vec::new();
        let mut kinds = Vec::new();
        let at_ms = crate::now_ms();
        let gap = (!self.gap.is_empty()).then(|| std::mem::take(&mut self.gap));
        if let Some(gap) = &gap {
            let mut command = Command::later(Fact::Gap(gap.clone()));
            if let Err(error) = open.encode(&mut command, at_ms, &self.spool, &mut out) {
                self.gap.merge(gap.clone());
                return Err(error);
            }
            kinds.push("Gap");
        }
        let mut statements = 0;
        batch.retain_mut(|command| {
            let names = command.parts.iter().map(|part| part.fact.kind()).collect::<Vec<_>>();
            match open.encode(command, at_ms, &self.spool, &mut out) {
                Ok(()) => {
                    statements += u64::from(names.contains(&"Attempted"));
                    kinds.extend(names);
                    true
                }
                Err(error) => {
                    self.crowded |= error == Unrecorded::Full;
                    self.gap.miss(command, &error, &self.metrics);
                    command.answer(Err(error));
                    false
                }
            }
        });
        if let Err(error) = open.file.write_all(&out) {
            self.spool.release(out.len() as u64);
            // Nothing of this batch was promised: back to where the file was before it.
            if let Err(lost) = open.file.set_len(length) {
                let error = Unrecorded::Unwritable(format!("{error}, then {lost}"));
                self.state = State::Ended(error.clone());
                return Err(error);
            }
            open.writer = before;
            self.gap.merge(gap.unwrap_or_default());
            return Err(error.into());
        }
        self.statements += statements;
        for r#type in kinds {
            self.metrics.events.get_or_create(&Kind { r#type }).inc();
        }
        self.dirty_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn open_segment(&mut self, class: Class) -> Result<(), Unrecorded> {
        let mut out = Vec::new();
        let writer = match &self.state {
            State::Open(_) => return Ok(()),
            State::Ended(error) => return Err(error.clone()),
            State::New { session, certificate } => {
                Writer::first(session, certificate.clone(), &mut out)
            }
            State::Between(finished) => Writer::next(finished, &mut out),
        };
        let writer = writer.map_err(|error| Unrecorded::Unwritable(error.to_string()))?;
        self.state = State::Open(self.create(writer, &out, class)?);
        Ok(())
    }

    /// Makes the file of a segment. It gets its name when its header is on disk: a hot file always begins whole.
    fn create(&self, writer: Writer, header: &[u8], class: Class) -> Result<Open, Unrecorded> {
        let length = header.len() as u64;
        if !self.spool.reserve(length, class) {
            return Err(Unrecorded::Full);
        }
        let path = self.dir.join(format!("{}.{}", writer.header().segment, spool::HOT));
        let new = path.with_extension(spool::NEW);
        let create = || {
            let mut file = File::options().create(true).append(true).mode(0o600).open(&new)?;
            file.set_len(0)?;
            file.write_all(header)?;
            file.sync_data()?;
            fs::rename(&new, &path)?;
            spool::sync_dir(&self.dir)?;
            Ok(file)
        };
        match create() {
            Ok(file) => Ok(Open { path, file, writer, since: Instant::now() }),
            Err(error) => {
                self.spool.release(length);
                Err(std::io::Error::into(error))
            }
        }
    }

    fn sync(&mut self) -> Result<(), Unrecorded> {
        let State::Open(open) = &self.state else { return Ok(()) };
        if let Err(error) = open.file.sync_data() {
            // After a failed sync the system may have dropped what it could not write and say nothing the next
            // time: what is on the disk is no longer known.
            let error = Unrecorded::Unwritable(format!("the disk lost a write: {error}"));
            self.state = State::Ended(error.clone());
            return Err(error);
        }
        self.dirty_since = None;
        Ok(())
    }

    /// Ends the segment that is open, if one is, and hands it to shipping.
    fn seal(&mut self, is_final: bool) -> Result<(), Unrecorded> {
        let State::Open(open) = &mut self.state else { return Ok(()) };
        let mut out = Vec::new();
        let finished = open
            .writer
            .clone()
            .seal(&self.key, crate::now_ms(), is_final, &mut out)
            .map_err(|error| Unrecorded::Unwritable(error.to_string()))?;
        let length = open.writer.length();
        if let Err(error) = open.file.write_all(&out) {
            if let Err(lost) = open.file.set_len(length) {
                self.state = State::Ended(lost.into());
                return Err(error.into());
            }
            // Try again later, not with every commit.
            open.since = Instant::now();
            return Err(error.into());
        }
        self.spool.add(out.len() as u64);
        self.sync()?;
        self.crowded = false;
        let State::Open(open) = &self.state else { return Ok(()) };
        let path = open.path.clone();
        // The next segment stands before this one gets its final name: after a crash at any point there is a hot file
        // that says that the session had no end.
        let next = if is_final { None } else { self.next(&finished).ok() };
        let named = fs::rename(&path, path.with_extension(EXTENSION))
            .and_then(|()| spool::sync_dir(&self.dir));
        self.state = match (named, next) {
            (Ok(()), Some(open)) => State::Open(open),
            // There was no room for it: it begins with the next entry that has some.
            (Ok(()), None) => State::Between(finished),
            // The seal stands in the file: it must not be written to again.
            (Err(error), _) => State::Ended(error.into()),
        };
        self.wake.notify_one();
        match &self.state {
            State::Ended(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn next(&self, finished: &Finished) -> Result<Open, Unrecorded> {
        let mut out = Vec::new();
        let writer = Writer::next(finished, &mut out)
            .map_err(|error| Unrecorded::Unwritable(error.to_string()))?;
        self.create(writer, &out, Class::Outcome)
    }

    fn close(&mut self, reason: &str) -> Result<(), Unrecorded> {
        let closed = SessionClosed { reason: reason.to_owned(), statements: self.statements };
        let closed =
            Command { class: Class::Closing, ..Command::later(Fact::SessionClosed(closed)) };
        let mut batch = vec![closed];
        let result = self.write(&mut batch).and_then(|()| self.seal(true));
        self.state = State::Ended(Unrecorded::Ended);
        result
    }
}

impl Command {
    /// A fact that nobody waits for.
    fn later(fact: Fact) -> Self {
        Self { parts: vec![fact.into()], class: Class::Outcome, need: Need::Written, done: None }
    }
}

impl Open {
    fn has_entries(&self) -> bool {
        self.writer.next_entry() > self.writer.header().first_entry
    }

    /// A file that was removed or replaced takes every write and keeps none.
    fn guard(&self) -> Result<(), Unrecorded> {
        let (ours, there) = (self.file.metadata()?, fs::metadata(&self.path)?);
        if ours.nlink() == 0 || (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
            return Err(Unrecorded::Unwritable("its file was removed or replaced".into()));
        }
        Ok(())
    }

    /// Encodes all parts of a command, or none of them.
    fn encode(
        &mut self,
        command: &mut Command,
        at_ms: i64,
        spool: &Spool,
        out: &mut Vec<u8>,
    ) -> Result<(), Unrecorded> {
        let (before, start) = (self.writer.clone(), out.len());
        let mut parts = command.parts.drain(..);
        let encoded = parts.try_for_each(|part| {
            self.writer.entry(part.fact, at_ms, out)?;
            part.payload.map_or(Ok(()), |bytes| self.writer.payload(&bytes, out))
        });
        drop(parts);
        let encoded = encoded.map_err(|error| Unrecorded::Unwritable(error.to_string()));
        let fits = encoded.and_then(|()| {
            let room = spool.reserve((out.len() - start) as u64, command.class);
            if room { Ok(()) } else { Err(Unrecorded::Full) }
        });
        if fits.is_err() {
            self.writer = before;
            out.truncate(start);
        }
        fits
    }
}

/// Counts what could not be written.
trait Missing {
    fn is_empty(&self) -> bool;
    fn miss(&mut self, command: &Command, error: &Unrecorded, metrics: &Metrics);
    fn merge(&mut self, other: Gap);
}

impl Missing for Gap {
    fn is_empty(&self) -> bool {
        self.entries == 0 && self.refused == 0
    }

    fn miss(&mut self, command: &Command, error: &Unrecorded, metrics: &Metrics) {
        match command.class {
            Class::Statement => self.refused += 1,
            // Their absence has an entry of its own.
            Class::Rows if *error == Unrecorded::Full => {}
            Class::Rows | Class::Outcome | Class::Closing => {
                self.entries += 1;
                metrics.dropped.inc();
            }
        }
        self.cause = error.to_string();
    }

    fn merge(&mut self, other: Gap) {
        self.entries += other.entries;
        self.refused += other.refused;
        if self.cause.is_empty() {
            self.cause = other.cause;
        }
    }
}
