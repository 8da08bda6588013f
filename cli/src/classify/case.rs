//! One case: a statement with the catalog, the session and the policy it is judged under, in a form that fits on a
//! line; and the one function by which the form becomes an [`AccessPolicySpec`].

use crds::{
    Duration,
    access_policy::{
        AccessPolicy, AccessPolicySpec, ApprovalMatch, ApprovalRule, Approvers, ConnectionRef,
        Functions, Guards, MaskMethod, MaskRule, MaskType, Mode, ObjectRule, PredicateUse,
        Privilege, RuleEffect, Statements, Subject,
    },
};
use indexmap::IndexMap;
use policy::{Ceiling, Policy, Principal};
use serde::Deserialize;
use sql::{Catalog, CatalogColumn, Definition, Name, Object, Risk, Session, Words};

use crate::scene::Scene;

/// What every case may do beside what its policy names: the reads, harmless session state, and changes of rows, whose
/// tables the policy limits.
const ALLOWED: &[&str] = &[
    "Select",
    "Explain",
    "Show",
    "Describe",
    "Use",
    "Set",
    "Unset",
    "AlterSession",
    "Transaction",
    "Insert",
    "Update",
    "Delete",
    "Merge",
];

/// A statement and all that is needed to judge it. Fields that are not of the form say nothing about the judgement
/// and are passed over; in policy and session, where they could, they make it no case.
#[derive(Debug, Deserialize)]
pub(super) struct Case {
    /// Columns with their types by table, in order.
    #[serde(default, deserialize_with = "given")]
    schema: IndexMap<String, IndexMap<String, String>>,
    #[serde(default, deserialize_with = "given")]
    views: IndexMap<String, View>,
    #[serde(default, deserialize_with = "given")]
    session: State,
    #[serde(default, deserialize_with = "given")]
    policy: PolicyForm,
    /// Statements that the session ran before, in order.
    #[serde(default, deserialize_with = "given")]
    pub(super) prior: Vec<String>,
    /// Values of the placeholders. They come after the decision: a placeholder is a constant, and none may name an
    /// object.
    #[serde(default, rename = "binds")]
    _binds: Option<serde_json::Map<String, serde_json::Value>>,
    /// The statement.
    pub(super) sql: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct View {
    /// Absent for a view whose text nobody may read.
    sql: Option<String>,
    columns: Vec<String>,
    /// Nobody but its owner may read its text.
    #[serde(default)]
    secure: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    database: Option<String>,
    schema: Option<String>,
    role: Option<String>,
    warehouse: Option<String>,
}

/// A policy in short: kinds and risks by their words in capitals, such as `COPY_INTO_LOCATION` and `DELETE_NO_WHERE`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyForm {
    /// Columns that are masked.
    #[serde(default)]
    mask: Vec<String>,
    /// Those of them that may be compared with constants.
    #[serde(default)]
    filterable: Vec<String>,
    /// Kinds that may run beside [`ALLOWED`].
    #[serde(default)]
    allow: Vec<String>,
    /// Kinds and risks that never run.
    #[serde(default)]
    deny: Vec<String>,
    /// Kinds and risks that wait for a human.
    #[serde(default)]
    approve: Vec<String>,
    /// Where rows and objects may change; absent means everywhere.
    writable_schemas: Option<Vec<String>>,
    /// Qualified names of functions that may be called.
    #[serde(default)]
    functions_allow: Vec<String>,
}

/// Why a line is no case.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadCase {
    #[error("it is no JSON object")]
    Form,
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0:?} is no full name; write DATABASE.SCHEMA.NAME")]
    Name(String),
    #[error("{0:?} is neither a kind of statement nor a risk")]
    Word(String),
    #[error("the policy can never work: {path}: {message}", path = .0.path, message = .0.message)]
    Policy(policy::Problem),
}

impl Case {
    /// Reads a line.
    pub(super) fn read(line: &[u8]) -> Result<Self, BadCase> {
        // The fields have names: a bare list of them is none.
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err(BadCase::Form);
        }
        Ok(serde_json::from_slice(line)?)
    }

    /// What the statement is judged under.
    pub(super) fn scene(&self) -> Result<Scene, BadCase> {
        let mut policy = AccessPolicy::new("case", self.policy.lower()?);
        policy.metadata.namespace = Some("default".to_owned());
        let document = crds::lower::document(&policy);
        if let Some(problem) = policy::check(&document).into_iter().next() {
            return Err(BadCase::Policy(problem));
        }
        let State { database, schema, role, warehouse } = &self.session;
        Ok(Scene {
            policy: Policy::compile(&[document], &Ceiling::default()),
            principal: Principal::default(),
            session: Session {
                database: database.clone(),
                schema: schema.clone(),
                role: role.clone(),
                warehouse: warehouse.clone(),
                ..Session::default()
            },
            catalog: self.catalog()?,
        })
    }

    fn catalog(&self) -> Result<Catalog, BadCase> {
        let full = |name: &String| Name::parse(name).ok_or_else(|| BadCase::Name(name.clone()));
        let column = |name: &String, data_type: &str| CatalogColumn {
            name: name.clone(),
            data_type: data_type.to_owned(),
        };
        let mut objects = Vec::new();
        for (name, columns) in &self.schema {
            objects.push(Object {
                name: full(name)?,
                columns: columns.iter().map(|(name, of)| column(name, of)).collect(),
                definition: Definition::Table,
            });
        }
        for (name, View { sql, columns, secure }) in &self.views {
            objects.push(Object {
                name: full(name)?,
                columns: columns.iter().map(|name| column(name, "")).collect(),
                definition: match sql {
                    Some(sql) if !secure => Definition::View(sql.clone()),
                    Some(_) | None => Definition::Opaque,
                },
            });
        }
        Ok(Catalog::new(objects))
    }
}

impl PolicyForm {
    /// The policy as it is written for a cluster.
    fn lower(&self) -> Result<AccessPolicySpec, BadCase> {
        let Self { mask, filterable, allow, deny, approve, writable_schemas, functions_allow } =
            self;
        let mut allowed: Vec<String> = ALLOWED.iter().map(ToString::to_string).collect();
        for word in allow {
            allowed.push(kind(word)?);
        }
        let mut approvals = vec![approval("masked-use", &[], &[Risk::MaskedUse.to_string()])];
        for word in approve {
            let name = word.to_ascii_lowercase().replace('_', "-");
            // What may be approved is allowed once it is; of a risk the kind is allowed by other words.
            if let Ok(kind) = kind(word) {
                approvals.push(approval(&name, std::slice::from_ref(&kind), &[]));
                allowed.push(kind);
            } else {
                approvals.push(approval(&name, &[], &[risk(word)?]));
            }
        }
        let denied: Result<Vec<String>, BadCase> =
            deny.iter().map(|word| kind(word).or_else(|_| risk(word))).collect();
        let writable = match writable_schemas {
            Some(schemas) => schemas.iter().map(|schema| format!("{schema}.*")).collect(),
            None => vec!["*.*.*".to_owned()],
        };
        let mut objects = vec![rule(&[Privilege::Read], vec!["*.*.*".to_owned()])];
        if !writable.is_empty() {
            let changes = [Privilege::Write, Privilege::Create, Privilege::Alter, Privilege::Drop];
            objects.push(rule(&changes, writable));
        }
        Ok(AccessPolicySpec {
            connection_ref: ConnectionRef { name: "case".to_owned(), namespace: None },
            subjects: vec![Subject::default()],
            mode: Mode::Enforce,
            role_mapping: Vec::new(),
            statements: Statements { allow: allowed, deny: denied? },
            objects,
            masking: mask.iter().map(|column| masked(column, filterable)).collect(),
            functions: Functions { allow: functions_allow.clone() },
            detectors: Vec::new(),
            guards: Guards::default(),
            approvals,
        })
    }
}

/// A field that is null is one that is not there.
fn given<'de, D, T>(field: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(field)?.unwrap_or_default())
}

fn masked(column: &str, filterable: &[String]) -> MaskRule {
    MaskRule {
        columns: vec![column.to_owned()],
        method: MaskMethod {
            type_: MaskType::Full,
            keep_first: None,
            keep_last: None,
            domain: None,
            unit: None,
            width: None,
        },
        filterable: filterable.iter().any(|other| other == column),
        predicate_use: PredicateUse::RequireApproval,
        except_subjects: Vec::new(),
    }
}

fn rule(privileges: &[Privilege], tables: Vec<String>) -> ObjectRule {
    ObjectRule {
        effect: RuleEffect::Allow,
        privileges: privileges.to_vec(),
        tables,
        except: Vec::new(),
        message: None,
        hint: None,
    }
}

fn approval(name: &str, statements: &[String], risks: &[String]) -> ApprovalRule {
    ApprovalRule {
        name: name.to_owned(),
        when: ApprovalMatch {
            statements: statements.to_vec(),
            risks: risks.to_vec(),
            tables: Vec::new(),
        },
        approvers: Approvers::default(),
        pending_ttl: Duration::from_secs(600),
        grant_ttl: Duration::from_secs(600),
    }
}

/// `COPY_INTO_LOCATION` is the kind `CopyIntoLocation`.
fn kind(word: &str) -> Result<String, BadCase> {
    let word = camel(word);
    if Words::parse(&word).is_some() { Ok(word) } else { Err(BadCase::Word(word)) }
}

/// `EXTERNAL_SINK` is the risk `ExternalSink`.
fn risk(word: &str) -> Result<String, BadCase> {
    let word = camel(word).replace("NoWhere", "WithoutWhere");
    if Risk::parse(&word).is_some() { Ok(word) } else { Err(BadCase::Word(word)) }
}

fn camel(word: &str) -> String {
    word.split('_')
        .map(|part| {
            let mut letters = part.chars();
            let first: String = letters.next().iter().map(char::to_ascii_uppercase).collect();
            first + &letters.as_str().to_ascii_lowercase()
        })
        .collect()
}
