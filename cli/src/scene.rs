//! What a policy is tried on without a cluster: AccessPolicies from files, and a catalog, session and human from a file
//! of cases.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, bail};
use crds::access_policy::AccessPolicy;
use crds::snowflake_connection::SnowflakeConnection;
use policy::{Ceiling, Decision, Document, Effect, Human, Policy, Principal, Request};
use serde::Deserialize;
use sql::{Analysis, Catalog, CatalogColumn, Definition, Name, Object, Session};

/// A file of cases.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cases {
    /// Current database and schema.
    #[serde(default)]
    session: State,
    /// The human behind the agent; absent for a session without one.
    #[serde(default)]
    human: Option<Person>,
    /// Columns by table, in order.
    #[serde(default)]
    tables: BTreeMap<String, serde_yaml::Mapping>,
    /// Views by name.
    #[serde(default)]
    views: BTreeMap<String, View>,
    /// What is expected of which statement.
    #[serde(default)]
    pub(crate) cases: Vec<Case>,
}

/// One line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The statement.
    pub(crate) sql: String,
    /// `allow`, `mask:[0,2]`, `approve`, `deny` or `deny FG-2003`.
    pub(crate) expect: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    database: Option<String>,
    schema: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    subject: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    issuer: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct View {
    /// Absent for a view whose text nobody may read.
    sql: Option<String>,
    columns: Vec<String>,
}

/// Policies, and what they are tried on.
pub(crate) struct Scene {
    pub(crate) policy: Policy,
    pub(crate) principal: Principal,
    pub(crate) session: Session,
    pub(crate) catalog: Catalog,
}

impl Cases {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_yaml::from_str(&text)
            .with_context(|| format!("{} is not a file of cases", path.display()))
    }
}

impl Scene {
    /// # Errors
    /// When a name of the catalog is not a full one.
    pub(crate) fn new(documents: &[Document], cases: &Cases) -> anyhow::Result<Self> {
        let mut objects = Vec::new();
        for (name, columns) in &cases.tables {
            let column = |(column, data_type): (&serde_yaml::Value, &serde_yaml::Value)| {
                Some(CatalogColumn {
                    name: column.as_str()?.to_owned(),
                    data_type: data_type.as_str()?.to_owned(),
                })
            };
            let columns: Option<Vec<CatalogColumn>> = columns.iter().map(column).collect();
            objects.push(Object {
                columns: columns
                    .with_context(|| format!("the columns of {name} are not names with types"))?,
                name: full(name)?,
                definition: Definition::Table,
            });
        }
        for (name, view) in &cases.views {
            let column =
                |name: &String| CatalogColumn { name: name.clone(), data_type: String::new() };
            objects.push(Object {
                name: full(name)?,
                columns: view.columns.iter().map(column).collect(),
                definition: view.sql.clone().map_or(Definition::Opaque, Definition::View),
            });
        }
        let human = cases.human.as_ref().map(|person| Human {
            issuer: person.issuer.clone(),
            subject: person.subject.clone(),
            groups: person.groups.clone(),
            username: None,
            verified: true,
        });
        Ok(Self {
            policy: Policy::compile(documents, &Ceiling::default()),
            principal: Principal { human },
            session: Session {
                database: cases.session.database.clone(),
                schema: cases.session.schema.clone(),
                ..Session::default()
            },
            catalog: Catalog::new(objects),
        })
    }

    /// The same analysis and decision as in the sidecar.
    pub(crate) fn judge(&self, sql: &str) -> (Analysis, Decision) {
        let analysis = sql::analyze(sql, &self.session, &self.catalog);
        let decision = self.policy.decide(&Request {
            principal: &self.principal,
            analysis: &analysis,
            session: &self.session,
            describe_only: false,
        });
        (analysis, decision)
    }
}

/// A decision in one or two words, as cases expect it.
pub(crate) fn verdict(decision: &Decision) -> String {
    match decision.effect {
        Effect::Deny => format!("deny {}", decision.code()),
        Effect::Hold => "approve".to_owned(),
        Effect::Allow if decision.masks.is_empty() => "allow".to_owned(),
        Effect::Allow => {
            let positions: Vec<String> =
                decision.masks.iter().map(|mask| mask.position.to_string()).collect();
            format!("mask:[{}]", positions.join(","))
        }
    }
}

/// The policies in files of YAML, as they are sent to a pod that all of them select. A connection in them brings its
/// baseline.
///
/// # Errors
/// When a file cannot be read, or holds no policy.
pub(crate) fn documents(paths: &[impl AsRef<Path>]) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        for part in serde_yaml::Deserializer::from_str(&text) {
            let value = serde_yaml::Value::deserialize(part)
                .with_context(|| format!("{} is not YAML", path.display()))?;
            let wrong = || format!("{} does not hold what its kind says", path.display());
            match value.get("kind").and_then(serde_yaml::Value::as_str) {
                Some("AccessPolicy") => {
                    let policy: AccessPolicy = serde_yaml::from_value(value).with_context(wrong)?;
                    documents.push(selecting(&policy));
                }
                Some("SnowflakeConnection") => {
                    let connection: SnowflakeConnection =
                        serde_yaml::from_value(value).with_context(wrong)?;
                    documents.extend(crds::lower::baseline(&connection));
                }
                Some(_) | None => {}
            }
        }
    }
    if documents.is_empty() {
        bail!("there is no AccessPolicy in the given files");
    }
    Ok(documents)
}

/// The document with the conditions on the human that its subjects make.
fn selecting(policy: &AccessPolicy) -> Document {
    let subjects: Vec<policy::document::Subject> = policy
        .spec
        .subjects
        .iter()
        .map(|subject| policy::document::Subject {
            groups: subject.groups.clone(),
            users: subject.users.clone(),
            issuer: subject.issuer.clone(),
        })
        .collect();
    let everyone = subjects.contains(&policy::document::Subject::default());
    Document {
        subjects: if everyone { Vec::new() } else { subjects },
        ..crds::lower::document(policy)
    }
}

fn full(name: &str) -> anyhow::Result<Name> {
    Name::parse(name)
        .with_context(|| format!("{name:?} is no full name; write DATABASE.SCHEMA.NAME"))
}
