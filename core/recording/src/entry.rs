//! Entry: one fact of a session, as it is written.
//!
//! An entry is one JSON object: `v` (version of this form), `number` (from 0, without a hole, through all segments),
//! `atMs` (Unix milliseconds of the sidecar's clock), `entry` (the kind) and the kind's own fields. Fields are only
//! ever added, and a reader passes over fields that it does not know.

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, seal::Signed};

/// The version of the entries' form.
pub const VERSION: u32 = 1;

/// One fact, with its place in the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// [`VERSION`].
    pub v: u32,
    /// Number in the session, from 0.
    pub number: u64,
    /// When it was written, Unix milliseconds.
    pub at_ms: i64,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry")]
pub enum Fact {
    /// A driver logged in; always entry 0.
    SessionOpened(Box<SessionOpened>),
    /// The session got a credential for Snowflake.
    CredentialLeased(CredentialLeased),
    /// The credential is gone.
    CredentialDropped(CredentialDropped),
    /// A prompt that statements after it are linked to; once in a session.
    Prompted(Box<Prompted>),
    /// The agent wants to run a statement; on disk before anything leaves the pod.
    Attempted(Box<Attempted>),
    /// The statement waits for a human.
    Held(Held),
    /// Enough humans approved, and the operator signed a grant.
    Approved(Approved),
    /// A human denied.
    Denied(Denied),
    /// Nobody decided in time.
    Expired(Undecided),
    /// The agent gave up waiting.
    Withdrawn(Undecided),
    /// The statement left the pod.
    Sent(Sent),
    /// The answer, as the agent saw it; the payload follows the entry.
    Rows(Rows),
    /// A part of an answer that was delivered but not kept.
    Truncated(Truncated),
    /// The statement ended well.
    Completed(Box<Completed>),
    /// Frostgate said no.
    Refused(Refused),
    /// Snowflake said no, or the answer never came.
    Failed(Failed),
    /// Something could not be written, and is missing here.
    Gap(Gap),
    /// The sidecar died; what follows the last whole entry was cut off.
    Recovered(Recovered),
    /// The session is over; always the last entry.
    SessionClosed(SessionClosed),
}

impl Fact {
    /// The statement it belongs to, if it belongs to one.
    #[must_use]
    pub fn statement(&self) -> Option<&str> {
        match self {
            Self::Attempted(it) => Some(&it.statement),
            Self::Held(it) => Some(&it.statement),
            Self::Approved(it) => Some(&it.statement),
            Self::Denied(it) => Some(&it.statement),
            Self::Expired(it) | Self::Withdrawn(it) => Some(&it.statement),
            Self::Sent(it) => Some(&it.statement),
            Self::Rows(it) => Some(&it.statement),
            Self::Truncated(it) => Some(&it.statement),
            Self::Completed(it) => Some(&it.statement),
            Self::Refused(it) => it.statement.as_deref(),
            Self::Failed(it) => Some(&it.statement),
            Self::SessionOpened(_)
            | Self::CredentialLeased(_)
            | Self::CredentialDropped(_)
            | Self::Prompted(_)
            | Self::Gap(_)
            | Self::Recovered(_)
            | Self::SessionClosed(_) => None,
        }
    }

    /// Its kind, as it stands in the entry.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SessionOpened(_) => "SessionOpened",
            Self::CredentialLeased(_) => "CredentialLeased",
            Self::CredentialDropped(_) => "CredentialDropped",
            Self::Prompted(_) => "Prompted",
            Self::Attempted(_) => "Attempted",
            Self::Held(_) => "Held",
            Self::Approved(_) => "Approved",
            Self::Denied(_) => "Denied",
            Self::Expired(_) => "Expired",
            Self::Withdrawn(_) => "Withdrawn",
            Self::Sent(_) => "Sent",
            Self::Rows(_) => "Rows",
            Self::Truncated(_) => "Truncated",
            Self::Completed(_) => "Completed",
            Self::Refused(_) => "Refused",
            Self::Failed(_) => "Failed",
            Self::Gap(_) => "Gap",
            Self::Recovered(_) => "Recovered",
            Self::SessionClosed(_) => "SessionClosed",
        }
    }
}

/// A driver logged in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionOpened {
    /// The pod.
    pub workload: Workload,
    /// The human or service behind it; absent when the driver brought no identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human: Option<Human>,
    /// What the driver said about itself.
    pub client: Client,
    /// `namespace/name` of the SnowflakeConnection.
    pub connection: String,
    /// Snowflake account.
    pub account: String,
    /// Current role, warehouse, database, schema at the start.
    pub state: State,
    /// The role the driver asked for, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_role: Option<String>,
    /// Session parameters of the login that were taken out before it was passed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stripped: Vec<String>,
    /// SHA-256 of the policy documents in force at the start, hex.
    pub policy_hash: String,
    /// How durable an attempt is before its statement leaves.
    pub durability: String,
    /// Name and version of the sidecar that wrote this.
    pub recorder: String,
}

/// The pod that asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub pod_uid: String,
    /// Its ServiceAccount.
    pub service_account: String,
    /// Kind of the owner at the top (`Deployment`, `Job`, ...).
    pub kind: String,
    /// Name of that owner.
    pub name: String,
    /// Node that runs it.
    #[serde(default)]
    pub node: String,
}

/// The human or service behind the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Human {
    /// Issuer of the token.
    pub issuer: String,
    /// Subject of the token.
    pub subject: String,
    /// Its groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The user name the API server gives the same token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_username: Option<String>,
    /// False where the identity was only claimed.
    pub verified: bool,
    /// When the token ends, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
}

/// What the driver said about itself; recorded, never trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// `CLIENT_APP_ID`.
    pub app_id: String,
    /// `CLIENT_APP_VERSION`.
    pub app_version: String,
    /// `LOGIN_NAME` of the login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_name: Option<String>,
    /// `CLIENT_ENVIRONMENT`, strings only.
    #[serde(default)]
    pub environment: std::collections::BTreeMap<String, String>,
}

/// The state of the Snowflake session that gives a statement its meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Current role.
    pub role: String,
    /// Current warehouse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warehouse: Option<String>,
    /// Current database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Current schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

/// A credential for Snowflake, never the secret itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialLeased {
    /// `EphemeralUser`, `KeyPair`, ...
    pub mode: String,
    /// Snowflake user.
    pub user: String,
    /// When it ends, Unix milliseconds.
    pub expires_at_ms: i64,
}

/// A credential is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialDropped {
    /// Snowflake user.
    pub user: String,
    /// Why: `Logout`, `Expired`, `Closed`, ...
    pub reason: String,
}

/// The agent wants to run a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempted {
    /// Our id of the statement; refusals name it.
    pub statement: String,
    /// The driver's request id.
    pub request_id: String,
    /// The exact SQL, or what may be shown of it.
    pub sql: String,
    /// The SQL held passwords, keys or tokens, and shows `'****'` in their place; only the digest is of the exact text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
    /// The binds, typed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binds: Vec<Bind>,
    /// The session state in which it would run.
    pub state: State,
    /// [`Attempted::digest_of`]: what an approval is bound to.
    pub digest: Digest,
    /// Only the columns were asked for, nothing is executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub describe_only: bool,
    /// Parameters of the request that were taken out before sending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stripped: Vec<String>,
    /// What was decided.
    pub decision: Decision,
    /// The prompt that led to it, as far as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Prompt>,
}

/// One bind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bind {
    /// Position (`1`) or name.
    pub name: String,
    /// Snowflake type, such as `TEXT` or `FIXED`.
    #[serde(rename = "type")]
    pub data_type: String,
    /// The value as the driver sent it: a string, null, or a list for array binding.
    pub value: serde_json::Value,
}

/// What was decided about a statement, and under which policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// What happens.
    pub effect: Effect,
    /// The `FG-nnnn` code where it was not allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Machine word why.
    pub reason: String,
    /// `namespace/name` of the AccessPolicy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Its rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// SHA-256 of the policy documents, hex.
    pub policy_hash: String,
    /// Which output columns are masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masks: Vec<Mask>,
    /// Statement kinds.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Objects read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// Objects written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
    /// Risk words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<String>,
    /// What audit mode lifted: the decision that would have been, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<String>,
}

impl Decision {
    /// The earlier statement of the session from which it was answered, where the account had no part in it.
    #[must_use]
    pub fn answered_from(&self) -> Option<&str> {
        let reason = &self.reason;
        let earlier = reason.strip_prefix("ResultOf ").or_else(|| reason.strip_prefix("CancelOf "));
        earlier.filter(|_| self.effect == Effect::Allow)
    }
}

/// What happens to a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// It runs.
    Allow,
    /// It waits for a human.
    Hold,
    /// It is refused.
    #[default]
    Deny,
}

/// One masked output column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mask {
    /// Position in the result, from 0.
    pub position: u32,
    /// Name of the output column.
    pub column: String,
    /// How it is masked.
    pub mask: String,
}

/// The model's tool call, and the prompt, that led to a statement. What the agent's own model traffic says: evidence
/// of how it came about, and nothing that a decision was made on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompt {
    /// How sure the link is: `Exact`, `Trace`, `Hash`, `HashNormalised`, `Shape`, `Time`, `None`.
    pub confidence: String,
    /// Where it was found: `Messages` by the text alone, `QueryTag`, `Comment`, `Traceparent`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// SHA-256 of the text of the prompt, as the `Prompted` entry of this session has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Id of the tool call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_use: Option<String>,
    /// The tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The provider's id of the request whose answer asked for the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The conversation, as its client names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// The container of the pod that the request came from, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Tool calls that fit equally well, where none was taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
}

/// A prompt, once in a session however many statements it led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompted {
    /// SHA-256 of `text`.
    pub digest: Digest,
    /// What is kept of it.
    pub text: String,
    /// Bytes of the prompt as the user gave it, where not all of it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// What looked like a secret or personal data was masked before it was kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

/// A statement waits for a human.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The statement.
    pub statement: String,
    /// `namespace/name` of the ApprovalRequest.
    pub request: String,
    /// `policy rule` of all rules that demand it.
    pub demands: Vec<String>,
    /// When it expires undecided, Unix milliseconds.
    pub expires_at_ms: i64,
}

/// One human's decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approver {
    /// Kubernetes user name.
    pub name: String,
    /// Why, in their words.
    #[serde(default)]
    pub reason: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// Enough humans approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    /// The statement.
    pub statement: String,
    /// `namespace/name` of the ApprovalRequest.
    pub request: String,
    /// Who, when, why.
    pub by: Vec<Approver>,
    /// The grant as the operator signed it.
    pub grant: Signed,
}

/// A human denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denied {
    /// The statement.
    pub statement: String,
    /// `namespace/name` of the ApprovalRequest.
    pub request: String,
    /// Who, when, why.
    pub by: Approver,
}

/// A request that ended without a human's decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Undecided {
    /// The statement.
    pub statement: String,
    /// `namespace/name` of the ApprovalRequest.
    pub request: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// A statement left the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The statement.
    pub statement: String,
    /// Snowflake user it ran as.
    pub user: String,
    /// How often it was sent under the same request id, from 1.
    pub attempt: u32,
}

/// A part of an answer, as the agent saw it. The payload stands behind the entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rows {
    /// The statement.
    pub statement: String,
    /// 0 is the answer itself, 1.. the chunks it names.
    pub chunk: u32,
    /// Parts of one chunk, from 0: concatenated they are the chunk's bytes.
    pub part: u32,
    /// What the bytes are.
    pub format: Format,
    /// The bytes of this part.
    pub payload: Payload,
    /// In the last part: the whole chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Payload>,
    /// In the last part of a chunk from 1: what was hidden in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<Hidden>,
}

/// Cells of a column that were hidden because of what a detector found in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hidden {
    /// Position of the column, from 0.
    pub position: u32,
    /// Its name.
    pub column: String,
    /// What was found; `Unsearched` where a cell was too long to search, or its rows too many.
    pub detector: String,
    /// In how many cells.
    pub cells: u64,
}

/// What the bytes of a chunk are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Body of the query response: JSON with `data.rowset` or `data.rowsetBase64`.
    #[default]
    Response,
    /// A JSON chunk: rows as JSON arrays with commas between, without the outer brackets.
    JsonRows,
    /// An Arrow IPC stream.
    ArrowStream,
}

/// Bytes that stand elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// How many.
    pub length: u64,
    /// Their SHA-256.
    pub sha256: Digest,
}

/// A part of an answer that was delivered but not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Truncated {
    /// The statement.
    pub statement: String,
    /// The chunk, as in [`Rows`].
    pub chunk: u32,
    /// Where the missing part starts in the chunk's bytes.
    pub offset: u64,
    /// The missing part.
    pub missing: Payload,
    /// The whole chunk.
    pub whole: Payload,
    /// What was hidden in it, where no entry with its last part says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<Hidden>,
    /// Why: `Limit`, `SpoolFull`, `Unwritable`, `Policy`.
    pub reason: String,
}

/// A statement ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completed {
    /// The statement.
    pub statement: String,
    /// Snowflake's query id.
    pub query_id: String,
    /// Rows of the result, or rows affected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The answer's bytes as the agent saw them.
    pub answer: Payload,
    /// Chunks that the answer names besides itself.
    #[serde(default)]
    pub chunks: u32,
    /// The columns of the result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// What was hidden in the rows that came with the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<Hidden>,
    /// How long it took, from the attempt.
    pub duration_ms: u64,
}

/// One column of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Snowflake type.
    #[serde(rename = "type", default)]
    pub data_type: String,
    /// How it was masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked: Option<String>,
}

/// Frostgate said no.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// The statement, if it came that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// `FG-nnnn`.
    pub code: String,
    /// The message the agent got.
    pub message: String,
}

/// Snowflake said no, or the answer never came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// The statement.
    pub statement: String,
    /// Snowflake's code, or `FG-4nnn`; `FG-4004` means that it may or may not have run, `FG-4006` that it did.
    pub code: String,
    /// SQLSTATE, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql_state: Option<String>,
    /// The message the agent got.
    pub message: String,
    /// Snowflake's query id, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_id: Option<String>,
}

/// Something could not be written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// How many entries are missing.
    pub entries: u64,
    /// Statements that were refused meanwhile.
    pub refused: u64,
    /// Why.
    pub cause: String,
}

/// What a later incarnation of the sidecar found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovered {
    /// Bytes after the last whole entry, which were cut off.
    pub dropped_bytes: u64,
    /// Why.
    pub cause: String,
}

/// The session is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionClosed {
    /// `Logout`, `Idle`, `Drain`, `Refused`, `UpstreamLost`, ...
    pub reason: String,
    /// Statements that were attempted.
    pub statements: u64,
}
