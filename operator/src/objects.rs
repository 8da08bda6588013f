//! How the operator reads its objects and writes ApprovalRequests: the API server in a cluster, a folder on a laptop.
//!
//! Everything the control server, the broker and the approvals want from Kubernetes passes through [`Objects`], so
//! that the same code serves both. Nothing here caches: an implementor answers from what it watches.

pub mod cluster;

use std::sync::Arc;

use async_trait::async_trait;
pub use control::{Human, Workload};
use crds::{ApprovalRequest, SnowflakeConnection};
use futures::stream::BoxStream;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// The objects as the operator sees them.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// Whose token it is: the live pod that holds it, its sidecar as pinned.
    ///
    /// # Errors
    /// [`Error::Refused`] for a token of nobody, of another audience, or of a pod that is gone or has another
    /// sidecar; [`Error::Unavailable`] when that could not be found out.
    async fn authenticate(&self, token: &str) -> Result<Workload, Error>;

    /// Whether the token is one that the pod's own containers hold for the API server. It names no human, but a caller
    /// that must send some token can send this one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when that could not be found out.
    async fn is_own(&self, token: &str, workload: &Workload) -> Result<bool, Error>;

    /// Whether the pod still runs. A pod past its grace period does not: with its node gone nobody else would say so.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when that could not be found out: nothing may be dropped on such an answer.
    async fn lives(&self, workload: &Workload) -> Result<bool, Error>;

    /// What holds for the pod now: its connection, checked to admit it, and the policies that select it.
    ///
    /// # Errors
    /// [`Error::Missing`] when the pod names no connection or one that does not exist, [`Error::Refused`] when the
    /// connection does not admit the pod, [`Error::Unavailable`] before the first full read.
    async fn attachment(&self, workload: &Workload) -> Result<Attachment, Error>;

    /// Ticks whenever an answer of [`Objects::attachment`] or [`Objects::connections`] may have changed.
    fn changes(&self) -> watch::Receiver<u64>;

    /// All connections, for the sweeper.
    ///
    /// # Errors
    /// [`Error::Unavailable`] before the first full read.
    async fn connections(&self) -> Result<Vec<Arc<SnowflakeConnection>>, Error>;

    /// One value of a Secret or ConfigMap.
    ///
    /// # Errors
    /// [`Error::Missing`] names the object or key that is not there.
    async fn value(&self, source: &Source) -> Result<Zeroizing<Vec<u8>>, Error>;

    /// Creates the request, or returns the one that already has its name.
    ///
    /// # Errors
    /// [`Error::Refused`] when the API server does not take it.
    async fn create_request(&self, request: ApprovalRequest) -> Result<ApprovalRequest, Error>;

    /// Reads one request, not from a cache.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; a request that does not exist is `None`.
    async fn request(&self, namespace: &str, name: &str) -> Result<Option<ApprovalRequest>, Error>;

    /// Writes the request's status, except its `decisions`.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody wrote since `request` was read: read it anew and decide again.
    async fn write_status(&self, request: &ApprovalRequest) -> Result<ApprovalRequest, Error>;

    /// Every request there is, then each as it changes. After an interruption all are told again; ends with the
    /// process only.
    fn requests(&self) -> BoxStream<'static, ApprovalRequest>;

    /// Addresses that stand in for name resolution; a cluster has none.
    fn names(&self) -> crate::outbound::Names {
        crate::outbound::Names::new()
    }

    /// The identity that local mode was started with; a cluster has none.
    fn claimed(&self) -> Option<Human> {
        None
    }
}

/// What holds for one pod.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The connection it is attached to.
    pub connection: Arc<SnowflakeConnection>,
    /// The connection's baseline and the AccessPolicies that select the pod.
    pub documents: Vec<policy::Document>,
    /// Set when an administrator suspended the connection or the pod: why, for the agent to read.
    pub suspended: Option<String>,
}

/// Where a value is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// Which kind of object.
    pub kind: SourceKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The key of the value in it.
    pub key: String,
}

/// Kinds of objects that keep values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name, key } = self;
        write!(f, "{kind:?} {namespace}/{name} key {key:?}")
    }
}

/// Why the objects gave no answer. Every text is safe for the agent to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The answer is no.
    #[error("{0}")]
    Refused(String),
    /// What was asked for does not exist.
    #[error("{0}")]
    Missing(String),
    /// Somebody else wrote first.
    #[error("{0} was changed meanwhile")]
    Conflict(String),
    /// Nobody knows right now; asking again may help.
    #[error("{0}")]
    Unavailable(String),
}
