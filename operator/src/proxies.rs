//! Facing the sidecars: the control server.
//!
//! ```text
//! authenticate   bearer -> the live pod
//! stream         what holds for the pod, pushed: snapshots, verdicts, closings       <- hub
//! sessions       open, renew, close; the credential lives inside the session         -> ledger, broker
//! approvals      a held statement -> ApprovalRequest -> verdict                      -> grants, hub
//! catalog        columns and views of the account                                    -> broker
//! segments       upload tickets and seals                                            -> ledger
//! ```
//!
//! A session belongs to the UID of the pod that opened it. To every other pod it does not exist.

pub mod approvals;
pub mod authenticate;
pub mod catalog;
pub mod hub;
pub mod refusal;
pub mod segments;
pub mod sessions;
pub mod stream;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::approvals::Approvals;
use self::hub::Hub;
use self::sessions::Sessions;
use crate::broker::Broker;
use crate::identity::Keys;
use crate::ledger::Ledger;
use crate::objects::Objects;
use crate::telemetry::Metrics;

/// No request of a sidecar is larger: the longest statement, escaped, with its binds.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the control server works with.
pub struct Parts {
    /// Objects of the cluster or the folder.
    pub objects: Arc<dyn Objects>,
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// Snowflake.
    pub broker: Broker,
    /// The sessions there are.
    pub sessions: Sessions,
    /// The requests there are.
    pub approvals: Approvals,
    /// What is pushed to streams.
    pub hub: Hub,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Keys of identity issuers.
    pub keys: Keys,
    /// Work that outlives its request.
    pub tasks: TaskTracker,
    /// Ends everything.
    pub shutdown: CancellationToken,
}

impl Parts {
    /// Puts the parts together; sessions go on from the ledger.
    ///
    /// `cluster` is what tells users made here from those of another Frostgate in the same account.
    #[must_use]
    pub fn new(
        objects: Arc<dyn Objects>,
        ledger: Arc<Ledger>,
        metrics: Arc<Metrics>,
        cluster: &str,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            broker: Broker::new(objects.clone(), cluster),
            sessions: Sessions::of(&ledger),
            objects,
            ledger,
            approvals: Approvals::default(),
            hub: Hub::default(),
            metrics,
            keys: Keys::default(),
            tasks: TaskTracker::new(),
            shutdown,
        })
    }

    /// Runs what nobody calls for: sessions that end, requests that are decided, users that are left over.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(
            sessions::run(self.clone()),
            approvals::run(self.clone()),
            crate::broker::sweeper::run(self.clone()),
        );
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The control API, to be served by [`crate::https::serve`].
pub fn router(parts: Arc<Parts>) -> Router {
    Router::new()
        .route("/v1/stream", get(stream::stream))
        .route("/v1/sessions", post(sessions::open))
        .route("/v1/sessions/{session}", post(sessions::renew).delete(sessions::close))
        .route(
            "/v1/sessions/{session}/approvals/{statement}",
            put(approvals::ask).delete(approvals::withdraw),
        )
        .route("/v1/sessions/{session}/catalog", post(catalog::catalog))
        .route("/v1/sessions/{session}/segments", post(segments::ticket))
        .route("/v1/sessions/{session}/seals", post(segments::seal))
        .fallback(refusal::unknown)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(parts)
}

#[cfg(test)]
mod tests;
