//! Asking a human, and the signed answer.

use serde::{Deserialize, Serialize};

/// A statement waits for a human. `PUT` under the statement's id, idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalAsk {
    /// The driver's request id: with pod UID and session it gives the ApprovalRequest its name.
    pub request_id: String,
    /// The exact SQL.
    pub sql: String,
    /// Binds as the driver sent them, rendered `type:value`.
    #[serde(default)]
    pub binds: Vec<String>,
    /// SHA-256 (hex) over SQL, binds, role and session state: what the grant is bound to.
    pub digest: String,
    /// `sha256` hex of the policy documents that held it.
    pub policy_hash: String,
    /// The rules that demand it, each must be satisfied.
    pub demands: Vec<Demand>,
    /// Statement kind words.
    pub kinds: Vec<String>,
    /// Fully qualified objects written.
    pub writes: Vec<String>,
    /// Fully qualified objects read.
    pub reads: Vec<String>,
    /// Risk words.
    pub risks: Vec<String>,
    /// Current database, schema, role, warehouse of the session.
    pub database: Option<String>,
    /// See `database`.
    pub schema: Option<String>,
    /// See `database`.
    pub role: String,
    /// See `database`.
    pub warehouse: Option<String>,
    /// What the agent was asked to do, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
}

/// What led to a statement: the agent's prompt and the model's tool call. For people to read, never to decide by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// How sure the link is: `Exact`, `Trace`, `Hash`, `HashNormalised`, `Shape`, `Time`.
    pub confidence: String,
    /// The beginning of the prompt, as it is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
    /// SHA-256 (hex) of the recorded prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Id of the tool call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_use: Option<String>,
    /// Id of the model provider's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// One approval rule that demands a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// `namespace/name` of the AccessPolicy.
    pub policy: String,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Name of the rule.
    pub rule: String,
    /// Who may decide.
    pub approvers: policy::document::Approvers,
    /// How long the request waits, seconds.
    pub pending_ttl_seconds: u64,
    /// How long the grant lives after the decision, seconds.
    pub grant_ttl_seconds: u64,
}

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalState {
    /// `namespace/name` of the ApprovalRequest.
    pub request: String,
    /// When it expires undecided, Unix milliseconds.
    pub expires_at_ms: i64,
    /// The verdict, once there is one (also pushed on the stream).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// `namespace/name` of the ApprovalRequest.
    pub request: String,
    /// The outcome.
    pub outcome: Outcome,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// The quorum approved; only the signed grant counts.
    Approved {
        /// The grant.
        grant: SignedGrant,
    },
    /// An approver denied.
    Denied {
        /// Who, when and why.
        by: Approver,
    },
    /// Nobody decided in time.
    Expired,
    /// The asker gave up.
    Withdrawn,
}

/// One human's decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approver {
    /// Kubernetes user name (`local:<user>` in local mode).
    pub name: String,
    /// Why, in their words.
    #[serde(default)]
    pub reason: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// A [`Grant`] and its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedGrant {
    /// The exact bytes that were signed: JSON of [`Grant`], base64.
    pub payload: String,
    /// Ed25519 signature over `frostgate grant v1\n` and the payload's bytes, base64.
    pub signature: String,
}

/// The right to run one statement once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// `namespace/name` of the ApprovalRequest.
    pub request: String,
    /// UID of the ApprovalRequest.
    pub request_uid: String,
    /// The session it is for.
    pub session: String,
    /// The statement it is for.
    pub statement: String,
    /// The digest that was approved.
    pub digest: String,
    /// Who approved, when and why.
    pub approvers: Vec<Approver>,
    /// How often it may be used.
    pub uses: u32,
    /// Not valid after, Unix milliseconds.
    pub expires_at_ms: i64,
}

/// What the signature of a grant covers before the payload: no signature of another kind can be taken for one.
pub const GRANT_CONTEXT: &[u8] = b"frostgate grant v1\n";
