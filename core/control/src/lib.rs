//! The conversation between a sidecar and the operator, in order.
//!
//! ```text
//! sidecar                                                        operator
//!   GET    /v1/stream                          <- Update, Update, ...        policy lease, verdicts, closings
//!   POST   /v1/sessions                        OpenSession  -> OpenedSession
//!   POST   /v1/sessions/{s}                                 -> RenewedSession
//!   PUT    /v1/sessions/{s}/approvals/{id}     ApprovalAsk  -> ApprovalState
//!   DELETE /v1/sessions/{s}/approvals/{id}                     withdrawn
//!   POST   /v1/sessions/{s}/catalog            CatalogAsk   -> CatalogAnswer
//!   POST   /v1/sessions/{s}/segments           SegmentAsk   -> Ticket
//!   POST   /v1/sessions/{s}/seals              SealNotice
//!   DELETE /v1/sessions/{s}                    CloseSession
//! ```
//!
//! HTTP/2 with JSON over TLS. Every request carries [`VERSION_HEADER`] and `authorization: Bearer <token>`, the
//! pod's projected ServiceAccount token with audience [`AUDIENCE`]. Errors are [`Problem`].

pub mod approval;
pub mod catalog;
pub mod recording;
pub mod session;
pub mod update;

pub use approval::{
    ApprovalAsk, ApprovalState, Approver, Grant, Intent, Outcome, SignedGrant, Verdict,
};
pub use catalog::{CatalogAnswer, CatalogAsk, CatalogColumn, CatalogName, CatalogObject};
pub use recording::{SealNotice, SegmentAsk, Ticket};
pub use session::{
    Client, CloseSession, Credential, Human, OpenSession, OpenedSession, Principal, RenewedSession,
    Workload,
};
pub use update::{Connection, Snapshot, Update};

use serde::{Deserialize, Serialize};

/// The header that names the version of this conversation.
pub const VERSION_HEADER: &str = "frostgate-control";
/// The only version there is.
pub const VERSION: &str = "1";
/// The audience of the projected token with which a sidecar speaks to the operator.
pub const AUDIENCE: &str = "frostgate";
/// Where the sidecar takes the agent's model traffic, on loopback: the injector points the agent there.
pub const PROMPT_PORT: u16 = 15989;

/// Why the operator refused a call: the body of every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code} {message}")]
pub struct Problem {
    /// The stable `FG-nnnn` code.
    pub code: String,
    /// One sentence that says what to do; safe for the agent to read.
    pub message: String,
    /// Whether the same call may succeed later without anybody changing anything.
    #[serde(default)]
    pub retryable: bool,
}
