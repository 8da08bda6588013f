//! ApprovalRequest: a statement that waits for a human, and the answer.

#![allow(unreachable_pub, reason = "the schema derive copies each type into a function body")]
#![allow(clippy::duplicated_attributes, reason = "each printer column is an attribute of its own")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access_policy::{Approvers, ConnectionRef};

/// A statement that waits for a human. Made by the operator when a sidecar asks; decided by a status patch
/// `{"status":{"decision":"Approved","reason":"..."}}` of somebody with verb `approve` on the AccessPolicies named.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "frostgate.dev",
    version = "v1alpha1",
    kind = "ApprovalRequest",
    plural = "approvalrequests",
    shortname = "apr",
    category = "frostgate",
    namespaced,
    derive = "PartialEq",
    status = "ApprovalRequestStatus",
    doc = "A statement that waits for a human. Made by the operator when a sidecar asks; decided by a status patch {\"status\":{\"decision\":\"Approved\",\"reason\":\"...\"}} of somebody with verb approve on the AccessPolicies named.",
    selectable = ".status.phase",
    selectable = ".spec.connectionRef.name",
    printcolumn(name = "Agent", type_ = "string", json_path = ".spec.requester.workload.name"),
    printcolumn(name = "For", type_ = "string", json_path = ".spec.requester.onBehalfOf.subject"),
    printcolumn(name = "Effect", type_ = "string", json_path = ".spec.effects.kinds[0]"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.effects.writes[0]"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Votes", type_ = "string", json_path = ".status.votes"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "SQL", type_ = "string", json_path = ".spec.statement.sql", priority = "1"),
    printcolumn(
        name = "Prompt",
        type_ = "string",
        json_path = ".spec.intent.promptExcerpt",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec is immutable: a decision is about exactly this statement"))]
pub struct ApprovalRequestSpec {
    /// Who asks.
    pub requester: Requester,
    /// The connection the statement would run through.
    pub connection_ref: ConnectionRef,
    /// The approval rules that demand a decision; each must be satisfied. Their policies are in this namespace.
    #[schemars(length(min = 1, max = 16))]
    pub policy_refs: Vec<PolicyRef>,
    /// SHA-256 (hex) of the policies that held the statement.
    #[schemars(length(max = 64))]
    pub policy_hash: String,
    /// The session, which names the recording.
    #[schemars(length(min = 1, max = 64))]
    pub session: String,
    /// The statement in it.
    #[schemars(length(min = 1, max = 64))]
    pub statement_id: String,
    /// The driver's request id.
    #[schemars(length(min = 1, max = 64))]
    pub request_id: String,
    /// What would run.
    pub statement: Statement,
    /// What it would do, as Frostgate understands it.
    pub effects: Effects,
    /// Where it would run.
    pub context: Context,
    /// What the agent was asked to do, where its model traffic is seen; evidence for people, nothing decides by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// When it expires undecided.
    pub expires_at: Time,
}

/// Who asks: always a workload, and the human behind it where one is verified.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requester {
    /// The pod, in the namespace of this request.
    pub workload: Workload,
    /// The human.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<OnBehalfOf>,
}

/// A pod and what owns it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Kind of the owner at the top, `Pod` if there is none.
    pub kind: String,
    /// Name of that owner.
    pub name: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
    /// Its ServiceAccount.
    pub service_account: String,
}

/// A verified human.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnBehalfOf {
    /// Who vouched.
    pub issuer: String,
    /// For whom.
    pub subject: String,
    /// Their groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Their user name in this cluster; without it nobody knows whether an approver is the requester, and rules
    /// with `distinctFromRequester` refuse the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// One approval rule that demands a decision.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRef {
    /// The AccessPolicy.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its rule.
    #[schemars(length(min = 1, max = 63))]
    pub rule: String,
    /// Its generation.
    pub generation: i64,
    /// Who may decide.
    #[serde(default)]
    pub approvers: Approvers,
    /// How long the grant lives after the decision, seconds.
    #[schemars(range(min = 1))]
    pub grant_seconds: i64,
}

/// What would run.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// The exact text.
    #[schemars(length(max = 131_072))]
    pub sql: String,
    /// Binds, rendered `type:value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binds: Vec<String>,
    /// SHA-256 (hex) over text, binds, role and session state: what a grant is bound to.
    #[schemars(length(min = 64, max = 64))]
    pub digest: String,
}

/// What the statement would do.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Effects {
    /// Statement kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Objects written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
    /// Objects read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// Risks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risks: Vec<String>,
}

/// Where the statement would run.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// Role of the session.
    pub role: String,
    /// Warehouse of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warehouse: Option<String>,
    /// Current database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Current schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

/// The prompt and the tool call that led to the statement.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// How sure the link is: `Exact`, `Trace`, `Hash`, `HashNormalised`, `Shape` or `Time`.
    #[schemars(length(max = 32))]
    pub confidence: String,
    /// The beginning of the prompt, as it is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub prompt_excerpt: Option<String>,
    /// SHA-256 (hex) of the recorded prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub prompt_digest: Option<String>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub model: Option<String>,
    /// The tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub tool: Option<String>,
    /// Id of the tool call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub tool_use: Option<String>,
    /// Id of the model provider's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub request: Option<String>,
}

/// Where a request stands. Humans write `decision` and `reason`, the rest belongs to the operator.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRequestStatus {
    /// One word for columns and field selectors; the conditions say more.
    #[serde(default)]
    pub phase: Phase,
    /// The inbox of a human's decision; admission moves it to `decisions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Choice>,
    /// Why, in the human's words; moves with `decision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Who decided what, as admission saw it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["approver".to_string()]))]
    pub decisions: Vec<Decision>,
    /// Approvals there are and approvals needed, such as `1/2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<String>,
    /// When the request left `Pending`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Time>,
    /// The generation the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Approved`, `Denied`, `Expired`, `Withdrawn`, and `Recorded` once the ledger holds how it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}

/// Where a request stands.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Nobody decided yet, or not enough people.
    #[default]
    Pending,
    /// The quorum approved.
    Approved,
    /// An approver denied.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// The asker gave up.
    Withdrawn,
}

/// What a human says.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choice {
    /// It may run.
    Approved,
    /// It may not run.
    Denied,
}

/// One human's decision, stamped at admission.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Kubernetes user name (`local:<user>` in local mode).
    #[schemars(length(min = 1, max = 1024))]
    pub approver: String,
    /// Their groups as the API server knew them.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What they said.
    pub verdict: Choice,
    /// Why.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// When.
    pub time: Time,
    /// The `policy/rule` entries of `spec.policyRefs` that they may decide.
    #[schemars(length(min = 1, max = 16))]
    pub satisfies: Vec<String>,
}

impl PolicyRef {
    /// `policy/rule`, as [`Decision::satisfies`] names it.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.name, self.rule)
    }
}

impl ApprovalRequest {
    /// The phase, `Pending` where there is no status yet.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.status.as_ref().map(|status| status.phase).unwrap_or_default()
    }
}
