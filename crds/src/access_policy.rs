//! AccessPolicy: which workload may do what through a connection.

#![allow(unreachable_pub, reason = "the schema derive copies each type into a function body")]
#![allow(clippy::duplicated_attributes, reason = "each printer column is an attribute of its own")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// What the pods it selects may do through one SnowflakeConnection. Policies combine without order: a refusal beats
/// an approval beats an allowance, the strictest mask wins, limits take the minimum.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "frostgate.dev",
    version = "v1alpha1",
    kind = "AccessPolicy",
    plural = "accesspolicies",
    shortname = "sfap",
    category = "frostgate",
    namespaced,
    derive = "PartialEq",
    status = "AccessPolicyStatus",
    doc = "What the pods it selects may do through one SnowflakeConnection. Policies combine without order: a refusal beats an approval beats an allowance, the strictest mask wins, limits take the minimum.",
    selectable = ".spec.connectionRef.name",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Connection", type_ = "string", json_path = ".spec.connectionRef.name"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicySpec {
    /// The connection it speaks of.
    pub connection_ref: ConnectionRef,
    /// Who it is for: alternatives; all conditions of one entry hold at once. An empty entry `{}` is every pod of
    /// the namespace that is attached to the connection.
    #[schemars(length(min = 1, max = 64))]
    pub subjects: Vec<Subject>,
    /// `Enforce`, or `Audit`: refusals and holds are recorded and lifted; masks stay.
    #[serde(default)]
    pub mode: Mode,
    /// First match gives the Snowflake role; where nothing matches there is no session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub role_mapping: Vec<RoleMapping>,
    /// Statement kinds that may run, and those that may never.
    #[serde(default)]
    pub statements: Statements,
    /// Tables and views that may be used, and those that may never.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub objects: Vec<ObjectRule>,
    /// Columns that are masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub masking: Vec<MaskRule>,
    /// What is looked for in the values of every other column; cells in which it is found are hidden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub detectors: Vec<DetectorRule>,
    /// User-defined functions that may be called.
    #[serde(default)]
    pub functions: Functions,
    /// Limits.
    #[serde(default)]
    pub guards: Guards,
    /// What waits for a human.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub approvals: Vec<ApprovalRule>,
}

/// A SnowflakeConnection by name.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRef {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Its namespace; absent means that of the object which names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// One alternative of who a policy is for.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// The pod runs as one of these ServiceAccounts; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub service_accounts: Vec<String>,
    /// The pod has these labels; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// The human is in one of these groups; empty means no condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub groups: Vec<String>,
    /// The human is one of these: the `sub` claim or the mapped Kubernetes user name; empty means no condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub users: Vec<String>,
    /// The issuer that vouched for the human.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: Option<String>,
}

/// A condition on the human alone.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.groups) || has(self.users) || has(self.issuer)").message("name at least one of groups, users, issuer"))]
pub struct Human {
    /// One of these groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub groups: Vec<String>,
    /// One of these: the `sub` claim or the mapped Kubernetes user name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub users: Vec<String>,
    /// The issuer that vouched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: Option<String>,
}

/// Whether a policy enforces.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Refusals refuse, holds hold.
    #[default]
    Enforce,
    /// Refusals and holds are recorded and lifted.
    Audit,
}

/// One line of the role mapping.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleMapping {
    /// When it applies; absent means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Human>,
    /// The Snowflake role, one of the connection's `allowedRoles`.
    #[schemars(length(min = 1, max = 255))]
    pub role: String,
    /// The warehouse; absent means the connection's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub warehouse: Option<String>,
}

/// Statement kinds by word: `Select`, `Insert`, `Update`, `Delete`, `Merge`, `Drop`, ...
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statements {
    /// Kinds that may run; what is not named is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 64)))]
    pub allow: Vec<String>,
    /// Kinds that never run, whatever allows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 64)))]
    pub deny: Vec<String>,
}

/// A rule over tables and views.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRule {
    /// `Allow` or `Deny`.
    pub effect: RuleEffect,
    /// What it speaks of; empty means every privilege.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub privileges: Vec<Privilege>,
    /// Patterns `DATABASE.SCHEMA.NAME`; a part is an identifier, `*`, or has a `*` at its start or end.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 770)))]
    pub tables: Vec<String>,
    /// Patterns that the rule leaves out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 770)))]
    pub except: Vec<String>,
    /// What the refused agent reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub message: Option<String>,
    /// What the refused agent could do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub hint: Option<String>,
}

/// What an object rule does.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleEffect {
    /// The objects may be used.
    Allow,
    /// The objects may not be used, whatever allows them.
    Deny,
}

/// What can be done to an object.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privilege {
    /// Rows or metadata are read.
    Read,
    /// Rows are added, changed or removed.
    Write,
    /// The object is made.
    Create,
    /// The object is changed.
    Alter,
    /// The object is removed or replaced.
    Drop,
}

/// Columns and their mask.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MaskRule {
    /// Patterns `DATABASE.SCHEMA.TABLE.COLUMN`, parts as in object rules.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 1027)))]
    pub columns: Vec<String>,
    /// How a plain reference is masked; an expression over the column gets `Full`.
    pub method: MaskMethod,
    /// The bare column may be compared with constants.
    #[serde(default)]
    pub filterable: bool,
    /// What happens when the column steers a predicate, sort, join, set operation or error.
    #[serde(default)]
    pub predicate_use: PredicateUse,
    /// Humans who see the column in the clear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub except_subjects: Vec<Human>,
}

/// How a cell is masked; NULL stays NULL in a plain reference.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'Partial' || !(has(self.keepFirst) || has(self.keepLast))").message("keepFirst and keepLast belong to type Partial"),
    validation = Rule::new("self.type == 'Hash' || !has(self.domain)").message("domain belongs to type Hash"),
    validation = Rule::new("(self.type == 'Truncate') == has(self.unit)").message("type Truncate, and only it, has a unit"),
    validation = Rule::new("(self.type == 'Bucket') == has(self.width)").message("type Bucket, and only it, has a width")
)]
pub struct MaskMethod {
    /// The kind of mask.
    #[serde(rename = "type")]
    pub type_: MaskType,
    /// `Partial`: characters kept at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 64))]
    pub keep_first: Option<u32>,
    /// `Partial`: characters kept at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 64))]
    pub keep_last: Option<u32>,
    /// `Hash`: columns of the same domain give equal tokens; absent means the column's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub domain: Option<String>,
    /// `Truncate`: the unit that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<TruncateUnit>,
    /// `Bucket`: numbers are rounded down to a multiple of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub width: Option<u64>,
}

/// The kinds of masks.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MaskType {
    /// NULL.
    Null,
    /// A fixed value of the column's type.
    Full,
    /// Some characters at the ends stay.
    Partial,
    /// A keyed hash: equal values stay equal.
    Hash,
    /// `a***@d***.tld`.
    Email,
    /// A date or timestamp cut to a unit.
    Truncate,
    /// A number rounded down.
    Bucket,
}

/// What `Truncate` keeps.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TruncateUnit {
    /// The day.
    Day,
    /// The month.
    Month,
    /// The year.
    Year,
    /// Ten years.
    Decade,
}

/// Steering by a masked column.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PredicateUse {
    /// Equality of the bare column with a constant passes, the rest waits for a human.
    AllowEquality,
    /// Waits for a human where an approval rule matches, else refused.
    #[default]
    RequireApproval,
    /// Refused.
    Deny,
}

/// What is looked for in the values of a result, free text and JSON included. It is a second net under `masking`: heuristic, and
/// it only ever hides whole cells.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectorRule {
    /// What is looked for.
    #[schemars(length(min = 1, max = 16))]
    pub find: Vec<Detector>,
    /// What hides the cell.
    #[serde(default)]
    pub mask: DetectorMask,
    /// Patterns `DATABASE.SCHEMA.TABLE.COLUMN`: output columns that plainly are such a column are not searched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1027)))]
    pub except: Vec<String>,
    /// Humans from whom nothing is hidden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub except_subjects: Vec<Human>,
}

/// What can be looked for.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Detector {
    /// Payment cards: issuer, length and check digit.
    CardNumber,
    /// International bank accounts: country, length and check digits.
    Iban,
    /// Social security numbers of the United States: with separators, or nine digits under a name that says so.
    SocialSecurityNumber,
    /// E-mail addresses.
    EmailAddress,
    /// Phone numbers: international, or national with separators, or digits under a name that says so.
    PhoneNumber,
    /// Routing numbers of American banks under a name that says so.
    RoutingNumber,
    /// Keys, tokens and passwords of known shape.
    Secret,
}

/// What hides a cell in which something was found.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DetectorMask {
    /// A fixed value of the column's type (`****`, 0).
    #[default]
    Full,
    /// NULL.
    Null,
}

/// User-defined functions.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Functions {
    /// Qualified names that may be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 770)))]
    pub allow: Vec<String>,
}

/// Limits.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guards {
    /// Statement kinds that are refused without an effective WHERE, where no approval rule holds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub require_where_on: Vec<String>,
}

/// What waits for a human, and which humans may decide.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRule {
    /// Unique in the policy; refusals and requests name it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// When it holds a statement; all given conditions at once.
    pub when: ApprovalMatch,
    /// Who may decide, beside verb `approve` on this AccessPolicy.
    #[serde(default)]
    pub approvers: Approvers,
    /// How long a request waits.
    #[serde(default = "pending_ttl", rename = "pendingTTL")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')").message("must be between 10s and 24h"))]
    pub pending_ttl: Duration,
    /// How long an approval may be used.
    #[serde(default = "grant_ttl", rename = "grantTTL")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')").message("must be between 10s and 24h"))]
    pub grant_ttl: Duration,
}

fn pending_ttl() -> Duration {
    Duration::from_secs(15 * 60)
}

fn grant_ttl() -> Duration {
    Duration::from_secs(10 * 60)
}

/// When an approval rule holds a statement.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.statements) || has(self.risks) || has(self.tables)").message("name at least one of statements, risks, tables"))]
pub struct ApprovalMatch {
    /// Statement kinds; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub statements: Vec<String>,
    /// Risks such as `DeleteWithoutWhere`; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    pub risks: Vec<String>,
    /// Patterns of objects that the statement touches; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 770)))]
    pub tables: Vec<String>,
}

/// Who may decide a request.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approvers {
    /// The approver is in one of these groups of the Kubernetes cluster; empty means RBAC alone decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)))]
    pub groups: Vec<String>,
    /// How many different people must approve.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub min_approvals: u32,
    /// The human who asked may not approve.
    #[serde(default = "yes")]
    pub distinct_from_requester: bool,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

impl Default for Approvers {
    fn default() -> Self {
        Self { groups: Vec::new(), min_approvals: one(), distinct_from_requester: yes() }
    }
}

/// What the operator made of the policy.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicyStatus {
    /// The generation the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `ResolvedRefs`, and the summary `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
