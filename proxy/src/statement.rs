//! The life of one statement: [`run`], top to bottom.
//!
//! It runs as a task of its own, one per session and request id. The request that brought it, its retries and the
//! polls only watch; a statement ends when it is done, is cancelled, or its client has been away for too long.

pub(crate) mod approval;
pub(crate) mod batch;
pub(crate) mod chunks;
pub(crate) mod judge;
pub(crate) mod origin;
pub(crate) mod outcome;
pub(crate) mod record;
pub(crate) mod resume;
pub(crate) mod rows;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::HeaderValue;
use recording::Digest;
use snowflake::query::QueryRequest;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Parts;
use crate::downstream::body::Taken;
use crate::downstream::refusal::Refusal;
use crate::downstream::session::Session;
use crate::living::Identity;
use crate::recorder::Attempt;
use crate::upstream::Dispatch;
use judge::{Judged, Verdict};
use origin::Origin;
use outcome::{End, Outcome};
use resume::Resumed;

/// A statement that a driver asked to run.
pub(crate) struct Ask {
    /// Our id of it, a UUIDv7: refusals and records name it, and the driver knows it until the account's is known.
    pub(crate) id: Uuid,
    /// The driver's id of the request.
    pub(crate) request_id: String,
    /// What it asks.
    pub(crate) request: QueryRequest,
    /// How many statements its text is to hold; 0 for any number.
    pub(crate) count: u32,
    /// It ran already, together with others in one request.
    pub(crate) part: Option<batch::Part>,
    /// The sidecar before this one began it.
    pub(crate) resumed: Option<resume::Resumed>,
    /// Parameters that were left out.
    pub(crate) stripped: Vec<String>,
    /// `Accept` of the driver.
    pub(crate) accept: HeaderValue,
    /// Where this driver reaches the proxy, for links: `https://host`.
    pub(crate) base: String,
    /// The trace it belongs to, as its request says.
    pub(crate) traceparent: Option<String>,
    /// The memory that its body takes.
    pub(crate) room: Taken,
    /// When it came.
    pub(crate) since: Instant,
    /// It is to end.
    pub(crate) cancel: CancellationToken,
}

impl Ask {
    /// How far it had come, where the sidecar before this one had sent it.
    fn sent_before(&self) -> Option<&Resumed> {
        self.resumed.as_ref().filter(|resumed| resumed.sent() > 0)
    }
}

/// Takes one statement from the agent's request to the recorded answer.
///
/// Each step's result is the next step's input; no step knows another. Whatever goes wrong ends in an [`Outcome`] that
/// is recorded and answered like any other.
async fn run(ask: &Ask, meaning: &[u8; 32], session: &Arc<Session>, parts: &Arc<Parts>) -> Outcome {
    if let Some(resumed) = &ask.resumed {
        return run_on(ask, resumed, meaning, session, parts).await;
    }
    let judged = judge::judge(ask, session, parts).await;
    if ask.part.is_none() {
        judged.analyses().for_each(|analysis| parts.metrics.understood(analysis));
    }

    let origin = origin::of(ask, session, parts);

    // On record before anything leaves the pod: a crash from here on shows as an attempt without an outcome, never as
    // a gap.
    let attempted = record::attempted(ask, &judged, origin.as_ref());
    let prompted = origin.as_ref().and_then(origin::Origin::prompted);
    let mut attempt = match session.recording.attempt(attempted, prompted).await {
        Ok(attempt) => attempt,
        Err(error) => {
            parts.metrics.decided(judged.counted(), false);
            return Outcome::refused(ask, &Refusal::unrecorded(&error));
        }
    };
    resume::began(ask, meaning, &judged, session);
    let ended = carry_out(ask, judged, origin, &mut attempt, session, parts).await;
    settle(ask, meaning, attempt, ended, session).await
}

/// [`run`], from where the sidecar before this one had come: the attempt is on record.
async fn run_on(
    ask: &Ask,
    resumed: &Resumed,
    meaning: &[u8; 32],
    session: &Arc<Session>,
    parts: &Arc<Parts>,
) -> Outcome {
    let mut attempt = session.recording.under_way(ask.id.to_string(), resumed.sent());
    resume::wait(ask, parts).await;
    let judged = judge::judge(ask, session, parts).await;
    let ended = match resumed.end(ask, &judged, parts.timings.upstream_retry) {
        None => carry_out(ask, judged, None, &mut attempt, session, parts).await,
        Some(end) => {
            if resumed.is_to_be_followed() {
                batch::give_up(ask, &judged, None, &end, session, parts).await;
            }
            Err(end)
        }
    };
    settle(ask, meaning, attempt, ended, session).await
}

/// Puts the outcome on record. What a restart is to answer is kept before: it would not ask again then.
async fn settle(
    ask: &Ask,
    meaning: &[u8; 32],
    attempt: Attempt,
    ended: Result<rows::Relayed, End>,
    session: &Session,
) -> Outcome {
    let (ended, mut outcome) = record::ended(ask, ended);
    resume::answers(ask, meaning, &mut outcome, session);
    record::complete(ask, attempt, ended, outcome).await
}

/// Everything between the attempt and the answer.
async fn carry_out(
    ask: &Ask,
    judged: Judged,
    origin: Option<Origin>,
    attempt: &mut Attempt,
    session: &Arc<Session>,
    parts: &Arc<Parts>,
) -> Result<rows::Relayed, End> {
    let counted = judged.counted();
    let judged = match ask.sent_before() {
        // It was let through then, and nobody is asked twice.
        Some(_) => Ok(judged),
        // A hold can last for hours: what was decided before it is decided again after it.
        None => approval::wait(ask, judged, origin, attempt, session, parts).await,
    };
    // Counted once, when it is settled whether it runs.
    parts.metrics.decided(counted, judged.is_ok());
    let judged = judged?;
    match &judged.verdict {
        Verdict::Own(statement) => {
            return rows::relay_again(ask, statement, attempt, session).await;
        }
        Verdict::Cancel(earlier) => return rows::cancel(ask, earlier, attempt, &judged).await,
        Verdict::Decided(_) | Verdict::Refused(_) => {}
    }
    session.about_to_run(judged.analyses());
    let answer = match send(ask, &judged, attempt, session, parts).await {
        Ok(answer) => answer,
        Err(end) => {
            batch::give_up(ask, &judged, None, &end, session, parts).await;
            return Err(end);
        }
    };
    match rows::relay(ask, answer.clone(), &judged, attempt, session, parts).await {
        Ok(relayed) => {
            batch::follow(ask, &judged, &relayed.results, session, parts).await;
            Ok(relayed)
        }
        Err(end) => {
            batch::give_up(ask, &judged, Some(&answer), &end, session, parts).await;
            Err(end)
        }
    }
}

/// To the account and back. What was sent together with others is not sent again: its result is fetched.
async fn send(
    ask: &Ask,
    judged: &Judged,
    attempt: &mut Attempt,
    session: &Arc<Session>,
    parts: &Parts,
) -> Result<Bytes, End> {
    let result = match ask.part.as_ref().map(|part| &part.fate) {
        None => None,
        Some(batch::Fate::Result(query_id)) => Some(*query_id),
        Some(batch::Fate::NotRun(refusal)) => return Err(End::Refused(refusal.clone())),
        Some(batch::Fate::Sent(end)) => {
            attempt.sent(&session.upstream.user).await.map_err(End::unrecorded)?;
            return Err(end.clone());
        }
    };
    let lease = session.upstream.lease().await.map_err(End::upstream)?;
    let before = ask.sent_before();
    let running = before.and_then(Resumed::query_id);
    let dispatch = Dispatch {
        id: ask.id,
        request_id: &ask.request_id,
        sql: &ask.request.sql,
        body: ask.request.encode(judged.statements()).into(),
        accept: ask.accept.clone(),
        result: result.or(running),
        sent: before.is_some(),
    };
    let started = Instant::now();
    let mut sending = session.upstream.sending(lease, dispatch, &ask.cancel);
    loop {
        // Every try is on record before it is made.
        if running.is_none() {
            let times = attempt.sent(&session.upstream.user).await.map_err(End::unrecorded)?;
            resume::sent(ask, times, judged, session);
        }
        if let Some(answer) = sending.go().await.map_err(End::upstream)? {
            parts.metrics.phase("upstream", started);
            return Ok(answer);
        }
    }
}

/// A statement and whoever watches it.
pub(crate) struct Statement {
    /// Our id of it.
    pub(crate) id: Uuid,
    /// The driver's id of the request.
    pub(crate) request_id: String,
    /// SHA-256 of what the request means: the same id with another meaning is another request.
    pub(crate) meaning: [u8; 32],
    /// The driver comes back later.
    pub(crate) asynchronous: bool,
    /// When it came, Unix milliseconds.
    pub(crate) started_ms: i64,
    /// Ends it.
    pub(crate) cancel: CancellationToken,
    outcome: watch::Receiver<Option<Arc<Outcome>>>,
    body: Mutex<Body>,
    watchers: AtomicU32,
    delivered: AtomicBool,
    left: Mutex<Instant>,
}

/// The bytes of the answer, kept for retries within bounds.
enum Body {
    Running,
    Kept(Bytes),
    /// It can be fetched again, and then has these rows.
    Dropped(Option<Digest>),
}

impl Statement {
    /// Starts a statement.
    pub(crate) fn start(
        ask: Ask,
        meaning: [u8; 32],
        session: Arc<Session>,
        parts: Arc<Parts>,
    ) -> Arc<Self> {
        let (done, outcome) = watch::channel(None);
        let statement = Arc::new(Self {
            id: ask.id,
            request_id: ask.request_id.clone(),
            meaning,
            asynchronous: ask.request.asynchronous,
            started_ms: ask.resumed.as_ref().map_or_else(crate::now_ms, Resumed::started_ms),
            cancel: ask.cancel.clone(),
            outcome,
            body: Mutex::new(Body::Running),
            watchers: AtomicU32::new(0),
            delivered: AtomicBool::new(false),
            left: Mutex::new(Instant::now()),
        });
        let this = Arc::clone(&statement);
        let tracker = parts.statements.clone();
        tracker.spawn(async move {
            let ran = AssertUnwindSafe(run(&ask, &meaning, &session, &parts)).catch_unwind().await;
            // A panic refuses one statement; its attempt was recorded as lost when it unwound.
            let mut outcome = ran.unwrap_or_else(|_| {
                tracing::error!(statement = %ask.id, "a statement panicked");
                Outcome::refused(&ask, &Refusal::internal("the statement could not be handled"))
            });
            if let Some(query_id) = outcome.query_id {
                session.also_known_as(query_id, &this);
            }
            resume::ended(&this, &ask, &outcome, &session);
            let body = std::mem::take(&mut outcome.body);
            *this.body.lock().unwrap_or_else(PoisonError::into_inner) = Body::Kept(body);
            done.send_replace(Some(Arc::new(outcome)));
            parts.answers.keep(&this);
        });
        statement
    }

    /// One that ended before.
    fn ended(identity: &Identity, outcome: Outcome, body: Option<Bytes>) -> Self {
        Self {
            id: identity.id,
            request_id: identity.request_id.clone(),
            meaning: identity.meaning.0,
            asynchronous: identity.asynchronous,
            started_ms: identity.started_ms,
            cancel: CancellationToken::new(),
            outcome: watch::channel(Some(Arc::new(outcome))).1,
            body: Mutex::new(body.map_or(Body::Dropped(None), Body::Kept)),
            watchers: AtomicU32::new(0),
            delivered: AtomicBool::new(false),
            left: Mutex::new(Instant::now()),
        }
    }

    /// Waits for the outcome, at most this long.
    pub(crate) async fn watch(self: &Arc<Self>, within: Duration) -> Option<Arc<Outcome>> {
        let _watching = Watching::of(self);
        let mut outcome = self.outcome.clone();
        let done = outcome.wait_for(Option::is_some);
        let done = tokio::time::timeout(within, done).await.ok()?.ok()?;
        done.clone()
    }

    /// The outcome, if it is there.
    pub(crate) fn outcome(&self) -> Option<Arc<Outcome>> {
        self.outcome.borrow().clone()
    }

    /// Whether it ended.
    pub(crate) fn is_done(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// The answer's bytes; where they were dropped, the digest of their rows.
    pub(crate) fn body(&self) -> Result<Bytes, Option<Digest>> {
        match &*self.body.lock().unwrap_or_else(PoisonError::into_inner) {
            Body::Kept(bytes) => Ok(bytes.clone()),
            Body::Dropped(rows) => Err(*rows),
            Body::Running => Err(None),
        }
    }

    /// How many bytes of it are kept.
    pub(crate) fn kept(&self) -> usize {
        self.body().map_or(0, |body| body.len())
    }

    /// Whether its bytes could be had again.
    pub(crate) fn can_drop(&self) -> bool {
        self.kept() > 0 && self.outcome().is_some_and(|outcome| outcome.again.is_some())
    }

    /// Somebody got the answer.
    pub(crate) fn delivered(&self) {
        self.delivered.store(true, Ordering::Relaxed);
    }

    /// Whether somebody got the answer.
    pub(crate) fn is_delivered(&self) -> bool {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Gives the answer's memory back; the id keeps its place.
    pub(crate) fn drop_body(&self) {
        if let Ok(body) = self.body() {
            let dropped = Body::Dropped(rows::rows_of(&body));
            *self.body.lock().unwrap_or_else(PoisonError::into_inner) = dropped;
        }
    }

    /// Somebody asked how it is doing: its client is there.
    pub(crate) fn seen(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long nobody has watched it.
    pub(crate) fn deserted(&self) -> Duration {
        if self.watchers.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        self.left.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Counts a watcher for as long as its request lives; a driver that hangs up drops it.
struct Watching(Arc<Statement>);

impl Watching {
    fn of(statement: &Arc<Statement>) -> Self {
        statement.watchers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(statement))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
