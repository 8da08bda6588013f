//! The portable form of a case, and how it lowers to a policy: one function, [`Case::document`].

use indexmap::IndexMap;
use policy::document::{
    ApprovalMatch, ApprovalRule, Approvers, Functions, Guards, MaskMethod, MaskRule, Mode,
    ObjectRule, PredicateUse, Privilege, RuleEffect, Statements,
};
use policy::{Ceiling, Decision, Document, Effect, Policy, Principal, Request};
use serde::Deserialize;
use sql::{Catalog, CatalogColumn, Definition, Name, Object, Session};

#[derive(Deserialize)]
pub(crate) struct Case {
    id: String,
    #[serde(default)]
    schema: IndexMap<String, IndexMap<String, String>>,
    #[serde(default)]
    views: IndexMap<String, View>,
    #[serde(default)]
    session: SessionForm,
    #[serde(default)]
    policy: PolicyForm,
    #[serde(default)]
    prior: Vec<String>,
    sql: String,
    expect: String,
    #[serde(default)]
    error_redact: Option<bool>,
}

#[derive(Deserialize)]
struct View {
    sql: String,
    columns: Vec<String>,
}

#[derive(Default, Deserialize)]
struct SessionForm {
    database: Option<String>,
    schema: Option<String>,
    role: Option<String>,
}

#[derive(Default, Deserialize)]
struct PolicyForm {
    #[serde(default)]
    mask: Vec<String>,
    #[serde(default)]
    filterable: Vec<String>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
    #[serde(default)]
    approve: Vec<String>,
    writable_schemas: Option<Vec<String>>,
    #[serde(default)]
    functions_allow: Vec<String>,
}

impl Case {
    /// What is wrong with the decision, if anything.
    pub(crate) fn run(&self) -> Option<String> {
        let session = Session {
            database: self.session.database.clone(),
            schema: self.session.schema.clone(),
            role: self.session.role.clone(),
            ..Session::default()
        };
        let catalog = self.catalog();
        let policy = Policy::compile(&[self.document()], &Ceiling::default());
        let decide = |sql: &str| {
            let analysis = sql::analyze(sql, &session, &catalog);
            policy.decide(&Request {
                principal: &Principal::default(),
                analysis: &analysis,
                session: &session,
                describe_only: false,
            })
        };
        for statement in &self.prior {
            let _ = decide(statement);
        }
        let decision = decide(&self.sql);
        let verdict = verdict(&decision);
        let redacts = self.error_redact.is_none_or(|expected| expected == decision.redact_errors);
        if verdict == self.expect && redacts {
            return None;
        }
        let why = decision.refusal.map(|refusal| refusal.to_string()).unwrap_or_default();
        Some(format!("{}: {} -> {verdict}, not {} {why}", self.id, self.sql, self.expect))
    }

    fn catalog(&self) -> Catalog {
        let tables = self.schema.iter().map(|(name, columns)| Object {
            name: name_of(name),
            columns: columns
                .iter()
                .map(|(name, data_type)| CatalogColumn {
                    name: name.clone(),
                    data_type: data_type.clone(),
                })
                .collect(),
            definition: Definition::Table,
        });
        let views = self.views.iter().map(|(name, view)| Object {
            name: name_of(name),
            columns: view
                .columns
                .iter()
                .map(|name| CatalogColumn { name: name.clone(), data_type: String::new() })
                .collect(),
            definition: Definition::View(view.sql.clone()),
        });
        Catalog::new(tables.chain(views))
    }

    /// The policy that the case means.
    fn document(&self) -> Document {
        let form = &self.policy;
        let mut allow: Vec<String> = [
            "Select",
            "Explain",
            "Show",
            "Describe",
            "Use",
            "Set",
            "AlterSession",
            "Transaction",
            "Insert",
            "Update",
            "Delete",
            "Merge",
        ]
        .map(str::to_owned)
        .to_vec();
        allow.extend(form.allow.iter().map(|word| camel(word)));
        let mut approvals = vec![approval("masked-use", &[], &["MaskedUse"])];
        for word in &form.approve {
            match word.as_str() {
                "DELETE_NO_WHERE" => approvals.push(approval(word, &[], &["DeleteWithoutWhere"])),
                "UPDATE_NO_WHERE" => approvals.push(approval(word, &[], &["UpdateWithoutWhere"])),
                kind => {
                    let kind = camel(kind);
                    approvals.push(approval(word, &[kind.as_str()], &[]));
                    allow.push(kind);
                }
            }
        }
        let writable = match &form.writable_schemas {
            Some(schemas) => schemas.iter().map(|schema| format!("{schema}.*")).collect(),
            None => vec!["*.*.*".to_owned()],
        };
        let mut objects = vec![rule(vec![Privilege::Read], vec!["*.*.*".to_owned()])];
        if !writable.is_empty() {
            objects.push(rule(
                vec![Privilege::Write, Privilege::Create, Privilege::Alter, Privilege::Drop],
                writable,
            ));
        }
        Document {
            name: "cases/case".into(),
            generation: 1,
            mode: Mode::Enforce,
            subjects: Vec::new(),
            role_mapping: Vec::new(),
            statements: Statements {
                allow,
                deny: form.deny.iter().map(|word| camel(word)).collect(),
            },
            objects,
            masking: form
                .mask
                .iter()
                .map(|column| MaskRule {
                    columns: vec![column.clone()],
                    method: MaskMethod::Full,
                    filterable: form.filterable.contains(column),
                    predicate_use: PredicateUse::RequireApproval,
                    except_subjects: Vec::new(),
                })
                .collect(),
            functions: Functions { allow: form.functions_allow.clone() },
            guards: Guards::default(),
            approvals,
        }
    }
}

/// The verdict in the words of the case form.
pub(crate) fn verdict(decision: &Decision) -> String {
    match decision.effect {
        Effect::Deny => "deny".into(),
        Effect::Hold => "approve".into(),
        Effect::Allow if decision.masks.is_empty() => "allow".into(),
        Effect::Allow => {
            let positions: Vec<String> =
                decision.masks.iter().map(|mask| mask.position.to_string()).collect();
            format!("mask:[{}]", positions.join(","))
        }
    }
}

fn name_of(text: &str) -> Name {
    let parts: Vec<&str> = text.split('.').collect();
    Name::new(parts[0], parts[1], parts[2])
}

/// `COPY_INTO_LOCATION` to `CopyIntoLocation`.
fn camel(word: &str) -> String {
    word.split('_')
        .map(|part| {
            let (first, rest) = part.split_at(1.min(part.len()));
            format!("{}{}", first.to_ascii_uppercase(), rest.to_ascii_lowercase())
        })
        .collect()
}

fn rule(privileges: Vec<Privilege>, tables: Vec<String>) -> ObjectRule {
    ObjectRule {
        effect: RuleEffect::Allow,
        privileges,
        tables,
        except: Vec::new(),
        message: None,
        hint: None,
    }
}

fn approval(name: &str, statements: &[&str], risks: &[&str]) -> ApprovalRule {
    ApprovalRule {
        name: name.into(),
        when: ApprovalMatch {
            statements: statements.iter().map(ToString::to_string).collect(),
            risks: risks.iter().map(ToString::to_string).collect(),
            tables: Vec::new(),
        },
        approvers: Approvers::default(),
        pending_ttl_seconds: 600,
        grant_ttl_seconds: 600,
    }
}
