//! Puts every step of a statement on record, before it matters.
//!
//! ```text
//! Recorder::open_session -> Session -> attempt -> Attempt -> held, approved, sent, rows -> complete | refuse | fail
//!                              |                     |
//!                              +------- journal -----+   one per session: chain, group commit, fdatasync, seal
//!                                          |
//!                                        spool           one folder, one budget
//!                                          |
//!                                         ship           ticket -> PUT -> notice, never on the way of a statement
//! ```
//!
//! `attempt` returns only when the attempt is on disk: no record, no statement. What cannot be written is refused with
//! [`Unrecorded`], which names its code; what was lost is counted and becomes an entry of its own.

pub mod chunk;
mod journal;
pub mod resume;
pub mod ship;
pub mod spool;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use recording::{
    Digest, Fact, Signed, SigningKey,
    entry::{
        Approved, Attempted, Completed, Denied, Failed, Format, Held, Payload, Prompted, Refused,
        Sent, SessionOpened, Undecided,
    },
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
};

pub use self::chunk::Chunk;
use self::{
    journal::{Class, Command, Journal, Message, Need, Part},
    resume::{Interrupted, Resumed},
    ship::Shipper,
    spool::Spool,
};

/// How the recorder works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the spool.
    pub dir: PathBuf,
    /// Size of the volume: new statements end at four fifths of it.
    pub limit_bytes: u64,
    /// Kept of one statement's rows; the rest is digested only.
    pub rows_max_bytes: u64,
    /// A segment is sealed at this size.
    pub segment_max_bytes: u64,
    /// A segment is sealed at this age.
    pub segment_max_age: Duration,
    /// A disk that takes longer than this to commit counts as not writable.
    pub commit_deadline: Duration,
    /// Entries that nobody waits for are on disk after this time.
    pub sync_interval: Duration,
}

impl Config {
    /// The defaults, over a folder and the size of its volume.
    #[must_use]
    pub fn new(dir: PathBuf, limit_bytes: u64) -> Self {
        Self {
            dir,
            limit_bytes,
            rows_max_bytes: 64 << 20,
            segment_max_bytes: 8 << 20,
            segment_max_age: Duration::from_secs(300),
            // A busy disk takes tens of milliseconds, now and then a second; one that takes longer hangs. An error
            // of the disk is answered at once, and so is everybody who comes while it hangs.
            commit_deadline: Duration::from_secs(2),
            sync_interval: Duration::from_millis(100),
        }
    }
}

/// Keeps the evidence of all sessions of the pod.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
    shipping: Arc<ship::Shipping>,
}

struct Shared {
    config: Config,
    spool: Spool,
    metrics: Metrics,
}

/// What is known when a session opens.
#[derive(Debug)]
pub struct Opening {
    /// The session's id.
    pub session: String,
    /// The session's recording key.
    pub key: SigningKey,
    /// The operator's certificate over that key.
    pub certificate: Signed,
    /// Entry 0.
    pub opened: SessionOpened,
}

/// The recording of one session. Clones write to the same one; when the last is dropped it is closed.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    id: String,
    messages: mpsc::Sender<Message>,
    /// A commit is overdue: whoever comes is refused at once instead of waiting too.
    stalled: Arc<AtomicBool>,
    /// Prompts that are on record.
    prompts: Mutex<HashSet<Digest>>,
    shared: Arc<Shared>,
}

/// A statement on record, without its outcome yet. Dropped without one, it is recorded as lost.
pub struct Attempt {
    session: Session,
    statement: String,
    sent: u32,
    rows: Arc<AtomicU64>,
    open: bool,
}

/// Why something could not be recorded. Whatever waited for it must not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrecorded {
    /// The spool cannot be written.
    #[error("the recording cannot be written ({0}), so nothing runs: check the sidecar's spool")]
    Unwritable(String),
    /// The spool is as full as it may become.
    #[error("the recording's spool is full, so nothing runs until segments have been shipped")]
    Full,
    /// The disk does not answer.
    #[error("the recording's disk does not answer, so nothing runs until it does")]
    Stalled,
    /// The session's recording has ended.
    #[error("the recording of this session has ended: log in again")]
    Ended,
}

impl Unrecorded {
    /// The stable code of the refusal.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full => "FG-5002",
            Self::Unwritable(_) | Self::Stalled | Self::Ended => "FG-5001",
        }
    }
}

/// What the recorder counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    events: Family<Kind, Counter>,
    refused: Counter,
    dropped: Counter,
    spool_bytes: Gauge<i64>,
    spool_limit_bytes: Gauge<i64>,
    shipped: Counter,
    sink_errors: Counter,
    sink_last_success: Gauge<i64>,
    commit: CommitSeconds,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    r#type: &'static str,
}

#[derive(Clone, Debug)]
struct CommitSeconds(Histogram);

impl Default for CommitSeconds {
    fn default() -> Self {
        Self(Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5]))
    }
}

impl Metrics {
    /// Names the series; once per process.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("frostgate_record");
        registry.register("events", "Entries written, by kind", self.events.clone());
        registry.register(
            "refused",
            "Statements refused because they could not be recorded",
            self.refused.clone(),
        );
        registry.register("dropped", "Entries that could not be written", self.dropped.clone());
        registry.register("spool_bytes", "Bytes in the spool", self.spool_bytes.clone());
        registry.register(
            "spool_limit_bytes",
            "Bytes the spool may hold",
            self.spool_limit_bytes.clone(),
        );
        registry.register("segments_shipped", "Segments shipped", self.shipped.clone());
        registry.register("sink_errors", "Failed tries to ship", self.sink_errors.clone());
        registry.register(
            "sink_last_success_timestamp_seconds",
            "When a segment was last shipped",
            self.sink_last_success.clone(),
        );
        registry.register(
            "commit_seconds",
            "Time of a group commit with its fdatasync",
            self.commit.0.clone(),
        );
    }
}

// === impl Recorder ===

impl Recorder {
    /// Takes up the spool, ends what a crash left in it, and starts shipping.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub async fn start<S: Shipper>(config: Config, shipper: S) -> Result<Self, Unrecorded> {
        Self::resume(config, shipper, Vec::new(), |_, _| {}).await.map(|(recorder, _)| recorder)
    }

    /// [`Recorder::start`], going on with these recordings. Those that cannot go on are not among what it gives, and
    /// end as a crash ends every other. `giving_up` hears of statements that were attempted and that nobody knew of,
    /// before they are on record as ended.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub async fn resume<S: Shipper>(
        config: Config,
        shipper: S,
        interrupted: Vec<Interrupted>,
        giving_up: impl Fn(&str, Vec<String>),
    ) -> Result<(Self, Vec<Resumed>), Unrecorded> {
        let metrics = Metrics::default();
        let (dir, limit) = (config.dir.clone(), config.limit_bytes);
        let gauge = metrics.spool_bytes.clone();
        metrics.spool_limit_bytes.set(i64::try_from(limit).unwrap_or(i64::MAX));
        let living = interrupted.iter().map(|it| it.session.clone()).collect();
        let spool = blocking(move || Spool::open(dir, limit, gauge, &living)).await?;
        let shared = Arc::new(Shared { config, spool: spool.clone(), metrics: metrics.clone() });
        let taking = Arc::clone(&shared);
        // Before anything is shipped: the chain may go on behind a segment that would be gone then.
        let found = blocking(move || {
            let find = |it: Interrupted| (resume::find(&taking.spool, &it), it);
            Ok(interrupted.into_iter().map(find).collect::<Vec<_>>())
        });
        let found = found.await?;
        let shipping = ship::start(spool, metrics, shipper);
        let recorder = Self { shared, shipping: Arc::new(shipping) };
        let mut resumed = Vec::new();
        for (found, Interrupted { session, key, .. }) in found {
            let going_on = match found {
                Ok(mut found) => {
                    giving_up(&session, std::mem::take(&mut found.given_up));
                    recorder.go_on(session.clone(), key, found).await
                }
                Err(error) => Err(error),
            };
            match going_on {
                Ok(one) => resumed.push(one),
                Err(error) => {
                    tracing::warn!(session, %error, "a recording cannot go on");
                    let spool = recorder.shared.spool.clone();
                    blocking(move || resume::abandon(&spool, &session)).await?;
                }
            }
        }
        Ok((recorder, resumed))
    }

    async fn go_on(
        &self,
        session: String,
        key: SigningKey,
        mut found: resume::Found,
    ) -> Result<Resumed, Unrecorded> {
        let outcomes = std::mem::take(&mut found.outcomes);
        let id = session.clone();
        let make = move |shared: &Shared, stalled, wake| {
            Journal::resume(shared, &id, key, found, stalled, wake)
        };
        Ok(Resumed { recording: self.session(session, make).await?, outcomes })
    }

    /// Starts the recording of a session: its first entry is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then the session must not open.
    pub async fn open_session(&self, opening: Opening) -> Result<Session, Unrecorded> {
        let Opening { session, key, certificate, opened } = opening;
        let opened = Fact::SessionOpened(Box::new(opened));
        let id = session.clone();
        let make = move |shared: &Shared, stalled, wake| {
            Journal::new(shared, id, key, certificate, stalled, wake)
        };
        let session = self.session(session, make).await?;
        session.put(Class::Statement, Need::Durable, vec![opened.into()]).await?;
        Ok(session)
    }

    /// A session over the journal that `make` makes.
    async fn session(
        &self,
        id: String,
        make: impl FnOnce(&Shared, Arc<AtomicBool>, Arc<Notify>) -> Result<Journal, Unrecorded>
        + Send
        + 'static,
    ) -> Result<Session, Unrecorded> {
        let stalled = Arc::new(AtomicBool::new(false));
        let shared = self.shared.clone();
        let (messages, inbox) = mpsc::channel(64);
        let journal = {
            let (shared, stalled) = (shared.clone(), stalled.clone());
            let wake = self.shipping.wake();
            blocking(move || make(&shared, stalled, wake)).await?
        };
        self.shipping.track(journal::run(journal, inbox));
        Ok(Session {
            inner: Arc::new(Inner { id, messages, stalled, prompts: Mutex::default(), shared }),
        })
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Sessions that ended with the process before this one, without a word to anybody.
    #[must_use]
    pub fn left_behind(&self) -> &[String] {
        self.shared.spool.left_behind()
    }

    /// Bytes in the spool.
    #[must_use]
    pub fn spool_bytes(&self) -> u64 {
        self.shared.spool.used()
    }

    /// Ships at once what could not be shipped before: the operator is there again.
    pub fn ship_again(&self) {
        self.shipping.again();
    }

    /// Waits until everything that is sealed has been shipped, or the time is over; gives the number of segments left.
    /// Sessions are to be closed before.
    pub async fn drain(&self, within: Duration) -> usize {
        self.shipping.drain(within).await
    }
}

// === impl Session ===

impl Session {
    /// The session's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Records a fact that belongs to no statement, or to one that never became an attempt; on disk when it returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn record(&self, fact: Fact) -> Result<(), Unrecorded> {
        self.put(Class::Outcome, Need::Durable, vec![fact.into()]).await
    }

    /// Puts a statement on record, after the prompt that it comes from unless that is on record already; both are on
    /// disk when this returns, and only then may anything leave the pod.
    ///
    /// # Errors
    /// When it cannot be written; then the statement must not run.
    pub async fn attempt(
        &self,
        attempted: Attempted,
        prompted: Option<Prompted>,
    ) -> Result<Attempt, Unrecorded> {
        if self.inner.stalled.load(Ordering::Relaxed) {
            self.inner.shared.metrics.refused.inc();
            return Err(Unrecorded::Stalled);
        }
        let statement = attempted.statement.clone();
        let digest = prompted.as_ref().map(|prompted| prompted.digest);
        let prompted = prompted.filter(|prompted| !self.prompts().contains(&prompted.digest));
        let facts = prompted.map(|prompted| Fact::Prompted(Box::new(prompted)));
        let facts = facts.into_iter().chain([Fact::Attempted(Box::new(attempted))]);
        let put = self.put(Class::Statement, Need::Durable, facts.map(Part::from).collect()).await;
        if put.is_ok() {
            self.prompts().extend(digest);
        }
        match put {
            Ok(()) => Ok(self.under_way(statement, 0)),
            Err(error) => {
                self.inner.shared.metrics.refused.inc();
                if error == Unrecorded::Stalled {
                    // The attempt may still reach the disk when it answers again: say there that nothing ran.
                    self.put_later(
                        Fact::Refused(Refused {
                            statement: Some(statement),
                            code: error.code().to_owned(),
                            message: error.to_string(),
                        })
                        .into(),
                    );
                }
                Err(error)
            }
        }
    }

    /// Starts recording one chunk of an answer that is delivered apart from the answer itself, from 1.
    #[must_use]
    pub fn chunk(&self, statement: &str, number: u32, format: Format) -> Chunk {
        Chunk::new(self.clone(), statement.to_owned(), number, format, Arc::default())
    }

    /// Ends the recording: its last segment is sealed when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn close(&self, reason: &str) -> Result<(), Unrecorded> {
        let (done, result) = oneshot::channel();
        let message = Message::Close { reason: reason.to_owned(), done };
        self.inner.messages.send(message).await.map_err(|_| Unrecorded::Ended)?;
        result.await.unwrap_or(Err(Unrecorded::Ended))
    }

    /// The prompts that are on record.
    fn prompts(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.inner.prompts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, class: Class, need: Need, parts: Vec<Part>) -> Result<(), Unrecorded> {
        let (done, result) = oneshot::channel();
        let command = Message::Record(Command { parts, class, need, done: Some(done) });
        let committed = async {
            self.inner.messages.send(command).await.map_err(|_| Unrecorded::Ended)?;
            result.await.unwrap_or(Err(Unrecorded::Ended))
        };
        let deadline = self.inner.shared.config.commit_deadline;
        tokio::time::timeout(deadline, committed).await.unwrap_or_else(|_| {
            self.inner.stalled.store(true, Ordering::Relaxed);
            Err(Unrecorded::Stalled)
        })
    }

    /// The attempt of a statement that is on record, and was sent so many times already.
    #[must_use]
    pub fn under_way(&self, statement: String, sent: u32) -> Attempt {
        Attempt { session: self.clone(), statement, sent, rows: Arc::default(), open: true }
    }

    /// Records without waiting; if even the queue is full, it is counted as lost.
    fn put_later(&self, part: Part) {
        let command =
            Command { parts: vec![part], class: Class::Outcome, need: Need::Written, done: None };
        if self.inner.messages.try_send(Message::Record(command)).is_err() {
            self.inner.shared.metrics.dropped.inc();
        }
    }
}

// === impl Attempt ===

impl Attempt {
    /// The statement's id.
    #[must_use]
    pub fn statement(&self) -> &str {
        &self.statement
    }

    /// It waits for a human.
    ///
    /// # Errors
    /// As all of these: when it cannot be written.
    pub async fn held(&self, mut held: Held) -> Result<(), Unrecorded> {
        held.statement.clone_from(&self.statement);
        self.note(Need::Written, Fact::Held(held)).await
    }

    /// It was approved; on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then the grant must not be used.
    pub async fn approved(&self, mut approved: Approved) -> Result<(), Unrecorded> {
        approved.statement.clone_from(&self.statement);
        self.note(Need::Durable, Fact::Approved(approved)).await
    }

    /// A human denied it. Its outcome is still to be recorded.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn denied(&self, mut denied: Denied) -> Result<(), Unrecorded> {
        denied.statement.clone_from(&self.statement);
        self.note(Need::Written, Fact::Denied(denied)).await
    }

    /// Nobody decided. Its outcome is still to be recorded.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn expired(&self, mut expired: Undecided) -> Result<(), Unrecorded> {
        expired.statement.clone_from(&self.statement);
        self.note(Need::Written, Fact::Expired(expired)).await
    }

    /// The agent gave up waiting. Its outcome is still to be recorded.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn withdrawn(&self, mut withdrawn: Undecided) -> Result<(), Unrecorded> {
        withdrawn.statement.clone_from(&self.statement);
        self.note(Need::Written, Fact::Withdrawn(withdrawn)).await
    }

    /// It is about to leave the pod, as this Snowflake user; to be called before every try. Gives which one it is.
    ///
    /// # Errors
    /// When it cannot be written; then it must not be sent.
    pub async fn sent(&mut self, user: &str) -> Result<u32, Unrecorded> {
        self.sent += 1;
        let sent =
            Sent { statement: self.statement.clone(), user: user.to_owned(), attempt: self.sent };
        self.note(Need::Written, Fact::Sent(sent)).await.map(|()| self.sent)
    }

    /// The answer as the agent will see it; to be called before it is released. Gives its length and digest, for
    /// [`Completed::answer`].
    ///
    /// # Errors
    /// When it cannot be written; then the answer must not be released.
    pub async fn rows(&self, answer: &[u8]) -> Result<Payload, Unrecorded> {
        self.chunk(0, Format::Response).finish(answer).await
    }

    /// Starts recording one chunk, in the statement's own budget for rows.
    #[must_use]
    pub fn chunk(&self, number: u32, format: Format) -> Chunk {
        Chunk::new(self.session.clone(), self.statement.clone(), number, format, self.rows.clone())
    }

    /// It ended well.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn complete(mut self, mut completed: Completed) -> Result<(), Unrecorded> {
        completed.statement.clone_from(&self.statement);
        self.end(Fact::Completed(Box::new(completed))).await
    }

    /// Frostgate said no.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn refuse(mut self, code: &str, message: &str) -> Result<(), Unrecorded> {
        let refused = Refused {
            statement: Some(self.statement.clone()),
            code: code.to_owned(),
            message: message.to_owned(),
        };
        self.end(Fact::Refused(refused)).await
    }

    /// Snowflake said no, or the answer never came.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn fail(mut self, mut failed: Failed) -> Result<(), Unrecorded> {
        failed.statement.clone_from(&self.statement);
        self.end(Fact::Failed(failed)).await
    }

    async fn note(&self, need: Need, fact: Fact) -> Result<(), Unrecorded> {
        self.session.put(Class::Outcome, need, vec![fact.into()]).await
    }

    async fn end(&mut self, fact: Fact) -> Result<(), Unrecorded> {
        // Cleared only afterwards: a task that is cancelled in between still leaves an outcome.
        let result = self.session.put(Class::Outcome, Need::Written, vec![fact.into()]).await;
        self.open = false;
        result
    }
}

impl Drop for Attempt {
    /// A task that panics or is cancelled must not leave an attempt without an outcome.
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let statement = self.statement.clone();
        let fact = if self.sent == 0 {
            Fact::Refused(Refused {
                statement: Some(statement),
                code: "FG-9001".into(),
                message: "given up before it was sent".into(),
            })
        } else {
            Fact::Failed(Failed {
                statement,
                code: "FG-4004".into(),
                message: "given up after it was sent: the outcome is unknown".into(),
                ..Failed::default()
            })
        };
        self.session.put_later(fact.into());
    }
}

/// Runs file work off the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Unrecorded> + Send + 'static,
) -> Result<T, Unrecorded> {
    let task: JoinHandle<_> = tokio::task::spawn_blocking(work);
    task.await.unwrap_or_else(|error| Err(Unrecorded::Unwritable(error.to_string())))
}

impl From<std::io::Error> for Unrecorded {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Unwritable(error.to_string()),
        }
    }
}
