//! Ships sealed segments: ticket, PUT, notice. Never on the way of a statement.
//!
//! What is to be shipped is what lies in the spool: there is no queue that a crash could lose. Each session's segments
//! go in order; a session whose shipping fails waits longer each time and never holds up another.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use control::{SealNotice, SegmentAsk, Ticket};
use futures::{StreamExt as _, stream::FuturesUnordered};
use recording::segment::Finished;
use tokio::{sync::Notify, task::JoinHandle, time::Instant};
use tokio_util::task::TaskTracker;

use super::{Metrics, spool::Spool};

/// The way to the operator and to the place that a ticket names.
pub trait Shipper: Send + Sync + 'static {
    /// Asks where to put a segment.
    fn ticket(
        &self,
        session: &str,
        ask: &SegmentAsk,
    ) -> impl Future<Output = Result<Ticket, ShipError>> + Send;

    /// Puts the file where the ticket says. An answer that the object is already there counts as success: its name
    /// and its ticket carry its digest.
    fn put(
        &self,
        ticket: &Ticket,
        file: Bytes,
    ) -> impl Future<Output = Result<(), ShipError>> + Send;

    /// Tells the operator that the segment is stored.
    fn sealed(
        &self,
        session: &str,
        notice: &SealNotice,
    ) -> impl Future<Output = Result<(), ShipError>> + Send;
}

/// Why a segment did not leave. It stays in the spool and is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShipError(pub String);

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A store that takes the connection and then says nothing must not hold a session for ever.
const ONE_TRY: Duration = Duration::from_secs(60);
/// Sessions that ship at the same time.
const AT_ONCE: usize = 4;

/// The task that ships, and the journals that feed it.
pub(super) struct Shipping {
    wake: Arc<Notify>,
    again: Arc<Notify>,
    settled: Arc<Notify>,
    journals: TaskTracker,
    spool: Spool,
    task: JoinHandle<()>,
}

impl Shipping {
    /// What a journal calls when a segment is sealed.
    pub(super) fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// Tries at once what has failed: whoever takes segments is there again.
    pub(super) fn again(&self) {
        self.again.notify_one();
    }

    /// Runs a journal; draining waits for its end.
    pub(super) fn track(&self, journal: impl Future<Output = ()> + Send + 'static) {
        self.journals.spawn(journal);
    }

    pub(super) async fn drain(&self, within: Duration) -> usize {
        let all = async {
            self.journals.close();
            self.journals.wait().await;
            loop {
                let settled = self.settled.notified();
                if self.spool.segments().is_empty() {
                    return;
                }
                self.wake.notify_one();
                settled.await;
            }
        };
        // Out of time: what is left stays in the spool.
        tokio::time::timeout(within, all).await.ok();
        self.spool.segments().values().map(Vec::len).sum()
    }
}

impl Drop for Shipping {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn start<S: Shipper>(spool: Spool, metrics: Metrics, shipper: S) -> Shipping {
    let [wake, again, settled] = std::array::from_fn(|_| Arc::new(Notify::new()));
    let run = run(spool.clone(), metrics, shipper, wake.clone(), again.clone(), settled.clone());
    let task = tokio::spawn(run);
    Shipping { wake, again, settled, journals: TaskTracker::new(), spool, task }
}

/// When a session that failed is tried again.
struct Wait {
    until: Instant,
    longer: Duration,
}

async fn run<S: Shipper>(
    spool: Spool,
    metrics: Metrics,
    shipper: S,
    wake: Arc<Notify>,
    again: Arc<Notify>,
    settled: Arc<Notify>,
) {
    let mut waits: HashMap<String, Wait> = HashMap::new();
    let mut busy: HashSet<String> = HashSet::new();
    let mut flights = FuturesUnordered::new();
    loop {
        let segments = spool.segments();
        waits.retain(|session, _| segments.contains_key(session));
        for (session, files) in segments {
            let is_due = waits.get(&session).is_none_or(|wait| wait.until <= Instant::now());
            if is_due && busy.len() < AT_ONCE && busy.insert(session.clone()) {
                flights.push(ship(&spool, &metrics, &shipper, session, files));
            }
        }
        let idle = |(session, wait): (&String, &Wait)| {
            (!busy.contains(session)).then_some(wait.until.max(Instant::now()))
        };
        let next = waits.iter().filter_map(idle).min();
        tokio::select! {
            () = wake.notified() => {}
            () = again.notified() => waits.clear(),
            () = sleep_until(next) => {}
            Some((session, result)) = flights.next() => {
                busy.remove(&session);
                if let Err(error) = result {
                    metrics.sink_errors.inc();
                    let longer = waits.get(&session).map_or(FIRST_WAIT, |wait| wait.longer);
                    tracing::warn!(session, %error, wait = ?longer, "a segment could not be shipped");
                    let wait = Wait {
                        until: Instant::now() + longer,
                        longer: (longer * 2).min(LONGEST_WAIT),
                    };
                    waits.insert(session, wait);
                } else {
                    waits.remove(&session);
                }
                settled.notify_waiters();
            }
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Ships what one session has, in order, up to the first failure.
async fn ship<S: Shipper>(
    spool: &Spool,
    metrics: &Metrics,
    shipper: &S,
    session: String,
    files: Vec<PathBuf>,
) -> (String, Result<(), ShipError>) {
    for path in files {
        let one = ship_one(spool, shipper, &session, &path);
        match tokio::time::timeout(ONE_TRY, one).await {
            Ok(Ok(())) => {
                metrics.shipped.inc();
                metrics.sink_last_success.set(crate::now_ms() / 1000);
            }
            Ok(Err(error)) => return (session, Err(error)),
            Err(_) => {
                let error = format!("no answer within {} s", ONE_TRY.as_secs());
                return (session, Err(ShipError(error)));
            }
        }
    }
    (session, Ok(()))
}

async fn ship_one<S: Shipper>(
    spool: &Spool,
    shipper: &S,
    session: &str,
    path: &Path,
) -> Result<(), ShipError> {
    let file = tokio::fs::read(path).await.map_err(|error| ShipError(error.to_string()))?;
    let finished = match Finished::read(&file) {
        Ok(finished) => finished,
        Err(error) => {
            // It would fail for ever: it is put aside, loudly, and the others go on.
            tracing::error!(session, path = %path.display(), %error, "a segment was damaged in the spool");
            return spool.set_aside(path).map_err(|error| ShipError(error.to_string()));
        }
    };
    let ask = SegmentAsk {
        number: finished.segment,
        sha256: finished.sha256.to_string(),
        length: finished.length,
    };
    let ticket = shipper.ticket(session, &ask).await?;
    shipper.put(&ticket, file.into()).await?;
    let notice = SealNotice {
        number: ask.number,
        sha256: ask.sha256,
        length: ask.length,
        first_entry: finished.first_entry,
        last_entry: finished.next_entry.saturating_sub(1),
        head: finished.link.to_string(),
        is_final: finished.is_final,
    };
    shipper.sealed(session, &notice).await?;
    spool.remove(path, notice.is_final).map_err(|error| ShipError(error.to_string()))
}
