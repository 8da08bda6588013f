//! A policy as it is sent: one `AccessPolicy`, lowered, versioned by its hash.
//!
//! The operator selects by namespace, ServiceAccount and pod labels and sends only the documents that select the
//! pod. What is left to match per session are the subjects that speak of a human.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One AccessPolicy in the form that leaves the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// `namespace/name` of the AccessPolicy; the baseline of a connection is `namespace/name#baseline`.
    pub name: String,
    /// `metadata.generation` of the AccessPolicy.
    pub generation: i64,
    /// Whether refusals and holds are carried out or only recorded.
    #[serde(default)]
    pub mode: Mode,
    /// Who the policy is for, alternatives; empty means every session of the pod.
    #[serde(default)]
    pub subjects: Vec<Subject>,
    /// First match gives role and warehouse; several documents must agree.
    #[serde(default)]
    pub role_mapping: Vec<RoleMapping>,
    /// Statement kinds that may run, and those that may never.
    #[serde(default)]
    pub statements: Statements,
    /// Which tables may be read and written.
    #[serde(default)]
    pub objects: Vec<ObjectRule>,
    /// Which columns are masked and how.
    #[serde(default)]
    pub masking: Vec<MaskRule>,
    /// What is looked for in values that no mask covers. Left out where there is none: a sidecar of before can read that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detectors: Vec<DetectorRule>,
    /// User-defined functions that may be called.
    #[serde(default)]
    pub functions: Functions,
    /// Limits; among several documents the smallest holds.
    #[serde(default)]
    pub guards: Guards,
    /// What waits for a human.
    #[serde(default)]
    pub approvals: Vec<ApprovalRule>,
}

/// Whether a policy enforces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Refusals refuse, holds hold.
    #[default]
    Enforce,
    /// Refusals and holds are recorded and lifted; masks, error redaction and pins stay.
    Audit,
}

/// One alternative of who a policy is for; all its conditions hold at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// Any of these groups of the verified human; empty means no condition.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Any of these verified subjects (`sub` claim, or the mapped Kubernetes user name).
    #[serde(default)]
    pub users: Vec<String>,
    /// The issuer that must have vouched for the human.
    #[serde(default)]
    pub issuer: Option<String>,
}

/// One line of the role mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleMapping {
    /// When it applies; absent means always.
    #[serde(default)]
    pub when: Option<Subject>,
    /// The Snowflake role, within the connection's `allowedRoles`.
    pub role: String,
    /// The warehouse; absent means the connection's default.
    #[serde(default)]
    pub warehouse: Option<String>,
}

/// Statement words (`Select`, `Insert`, `Drop`, ...): the words are `sql::Word`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statements {
    /// Kinds that may run; what is not named is refused.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Kinds that never run, whatever allows them.
    #[serde(default)]
    pub deny: Vec<String>,
}

/// A rule over tables and views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRule {
    /// Allow or Deny.
    pub effect: RuleEffect,
    /// What it speaks of; empty means every privilege.
    #[serde(default)]
    pub privileges: Vec<Privilege>,
    /// Patterns `DATABASE.SCHEMA.NAME`; each part is an identifier or `*` or has a leading/trailing `*`.
    pub tables: Vec<String>,
    /// Patterns that the rule leaves out.
    #[serde(default)]
    pub except: Vec<String>,
    /// What the refused agent reads.
    #[serde(default)]
    pub message: Option<String>,
    /// What the refused agent could do instead.
    #[serde(default)]
    pub hint: Option<String>,
}

/// The effect of an [`ObjectRule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleEffect {
    /// The objects may be used.
    Allow,
    /// The objects may not be used, whatever allows them.
    Deny,
}

/// What can be done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaskRule {
    /// Patterns `DATABASE.SCHEMA.TABLE.COLUMN`, parts as in [`ObjectRule::tables`].
    pub columns: Vec<String>,
    /// The mask of a plain reference; an expression over the column gets `Full`.
    pub method: MaskMethod,
    /// The bare column may be compared with constants in WHERE, ON, HAVING, QUALIFY.
    #[serde(default)]
    pub filterable: bool,
    /// What happens when a masked column steers a predicate, sort, join, set operation or error.
    #[serde(default)]
    pub predicate_use: PredicateUse,
    /// Subjects who see the column in the clear.
    #[serde(default)]
    pub except_subjects: Vec<Subject>,
}

/// How a cell is masked. NULL stays NULL in a plain reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum MaskMethod {
    /// NULL.
    Null,
    /// A fixed value of the column's type (`****`, 0, 1970-01-01).
    Full,
    /// Keeps some characters at the ends; too short values get `Full`.
    Partial {
        /// Characters kept at the start.
        #[serde(default)]
        keep_first: u32,
        /// Characters kept at the end.
        #[serde(default)]
        keep_last: u32,
    },
    /// Keyed HMAC-SHA-256: equal values of one domain stay equal.
    Hash {
        /// Columns of the same domain give equal tokens; absent means the column's own name.
        #[serde(default)]
        domain: Option<String>,
    },
    /// `a***@d***.tld`.
    Email,
    /// A date or timestamp cut to the unit.
    Truncate {
        /// The unit that is kept.
        unit: TruncateUnit,
    },
    /// A number rounded down to a multiple of the width.
    Bucket {
        /// The width, at least 1.
        width: u64,
    },
}

/// What [`MaskMethod::Truncate`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PredicateUse {
    /// Equality of the bare column with a constant passes, the rest waits for a human.
    AllowEquality,
    /// Waits for a human where an approval rule matches, else refused.
    #[default]
    RequireApproval,
    /// Refused.
    Deny,
}

/// What is looked for in the values of a result, wherever they come from; a cell in which it is found is hidden whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DetectorRule {
    /// What is looked for.
    pub find: Vec<Detector>,
    /// What hides the cell.
    #[serde(default)]
    pub mask: DetectorMask,
    /// Patterns `DATABASE.SCHEMA.TABLE.COLUMN`: output columns that plainly are such a column are not searched.
    #[serde(default)]
    pub except: Vec<String>,
    /// Subjects from whom nothing is hidden.
    #[serde(default)]
    pub except_subjects: Vec<Subject>,
}

/// What can be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What hides a cell; of two the later is stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DetectorMask {
    /// A fixed value of the column's type.
    #[default]
    Full,
    /// NULL.
    Null,
}

/// User-defined functions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Functions {
    /// Qualified names that may be called; masked data into them stays refused.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// Limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Guards {
    /// Statement words that are refused without an effective WHERE (where no approval rule holds them).
    #[serde(default)]
    pub require_where_on: Vec<String>,
}

/// What waits for a human, and which humans may decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalRule {
    /// Unique in the policy; refusals and requests name it.
    pub name: String,
    /// When it holds a statement.
    pub when: ApprovalMatch,
    /// Who may decide.
    #[serde(default)]
    pub approvers: Approvers,
    /// How long a request waits, seconds.
    pub pending_ttl_seconds: u64,
    /// How long the grant lives after the decision, seconds.
    pub grant_ttl_seconds: u64,
}

/// When an [`ApprovalRule`] holds a statement: all given conditions at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalMatch {
    /// Statement words; empty means any.
    #[serde(default)]
    pub statements: Vec<String>,
    /// Risk words (`DeleteWithoutWhere`, `UpdateWithoutWhere`, `Ddl`, `MaskedUse`, ...: `sql::Risk`); empty means any.
    #[serde(default)]
    pub risks: Vec<String>,
    /// Patterns of objects that the statement touches; empty means any.
    #[serde(default)]
    pub tables: Vec<String>,
}

/// Who may decide a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approvers {
    /// The approver must be in one of these groups; empty means RBAC alone decides.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Distinct approvers needed, at least 1.
    pub min_approvals: u32,
    /// The human who asked may not approve.
    pub distinct_from_requester: bool,
}

impl Default for Approvers {
    fn default() -> Self {
        Self { groups: Vec::new(), min_approvals: 1, distinct_from_requester: true }
    }
}

/// SHA-256 (hex) over the documents' JSON, sorted by name: what a decision cites as the policy it was made under.
#[must_use]
pub fn hash(documents: &[Document]) -> String {
    let mut sorted: Vec<&Document> = documents.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut hasher = Sha256::new();
    for document in sorted {
        // A Document holds only strings, numbers and lists: serializing cannot fail, and if it ever did the hash
        // would still differ from every valid one.
        hasher.update(serde_json::to_vec(document).unwrap_or_default());
        hasher.update(b"\n");
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
