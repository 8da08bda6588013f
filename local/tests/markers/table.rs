//! The tables of cases of `core/policy`, read for their statements alone: what is expected of each is that nothing shows.

use std::fmt::Write as _;
use std::path::Path;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_yaml::Value;

/// One file: policies, what there is, and statements.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) database: String,
    pub(crate) schema: String,
    pub(crate) relations: Vec<Relation>,
    pub(crate) statements: Vec<String>,
    views: Vec<(String, View)>,
    policies: Vec<Value>,
}

/// A table of the account.
pub(crate) struct Relation {
    /// As it is written in SQL.
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
}

/// A column and whether any policy masks it.
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) data_type: String,
    pub(crate) masked: bool,
}

#[derive(Deserialize)]
struct File {
    policies: Vec<Value>,
    #[serde(default)]
    tables: IndexMap<String, IndexMap<String, String>>,
    #[serde(default)]
    views: IndexMap<String, View>,
    session: Session,
    cases: Vec<Line>,
}

#[derive(Deserialize)]
struct View {
    sql: Option<String>,
    columns: Vec<String>,
}

#[derive(Deserialize)]
struct Session {
    database: Option<String>,
    schema: Option<String>,
}

#[derive(Deserialize)]
struct Line {
    sql: String,
}

impl Table {
    /// Every file of the folder of cases; `setting.yaml` of a folder is what its other files share.
    pub(crate) fn all() -> Vec<Self> {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/policy/tests/cases");
        let mut tables = Vec::new();
        Self::read_folder(&cases, "", &mut tables);
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    fn read_folder(folder: &Path, prefix: &str, tables: &mut Vec<Self>) {
        let setting = std::fs::read_to_string(folder.join("setting.yaml")).unwrap_or_default();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let name = format!("{prefix}{stem}");
            if path.is_dir() {
                Self::read_folder(&path, &format!("{name}/"), tables);
            } else if path.extension().is_some_and(|it| it == "yaml") && stem != "setting" {
                let text = setting.clone() + &std::fs::read_to_string(&path).unwrap();
                tables.push(Self::read(name, &text));
            }
        }
    }

    fn read(name: String, text: &str) -> Self {
        let file: File =
            serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let masked: Vec<String> = file
            .policies
            .iter()
            .flat_map(|policy| list(&policy["masking"]))
            .flat_map(|rule| list(&rule["columns"]))
            .filter_map(|pattern| pattern.as_str().map(str::to_owned))
            .collect();
        let relations = file.tables.iter().map(|(table, columns)| {
            let parts = parts(table);
            let columns = columns.iter().map(|(name, data_type)| {
                let full: Vec<&str> =
                    parts.iter().map(String::as_str).chain([name.as_str()]).collect();
                let masked = masked.iter().any(|pattern| matches(pattern, &full));
                Column { name: name.clone(), data_type: data_type.clone(), masked }
            });
            Relation { name: quoted(&parts), columns: columns.collect() }
        });
        let folded = |column: &Column| column.name.to_ascii_uppercase();
        // The engine does not tell apart columns that differ only in case.
        let is_made = |relation: &Relation| {
            let mut names: Vec<String> = relation.columns.iter().map(folded).collect();
            names.sort();
            names.windows(2).all(|pair| pair[0] != pair[1])
        };
        Self {
            name,
            database: file.session.database.clone().unwrap_or_else(|| "SHOP".to_owned()),
            schema: file.session.schema.clone().unwrap_or_else(|| "PUBLIC".to_owned()),
            relations: relations.filter(is_made).collect(),
            statements: file.cases.into_iter().map(|line| line.sql).collect(),
            views: file.views.into_iter().collect(),
            policies: file.policies,
        }
    }

    /// Databases, schemas, tables and views, made anew.
    pub(crate) fn definitions(&self) -> String {
        let mut script = format!("USE SCHEMA {}.{};\n", self.database, self.schema);
        for relation in &self.relations {
            let columns: Vec<String> = relation
                .columns
                .iter()
                .map(|column| format!("\"{}\" {}", column.name, column.data_type))
                .collect();
            let _ = writeln!(
                script,
                "CREATE OR REPLACE TABLE {} ({});",
                relation.name,
                columns.join(", ")
            );
        }
        script
    }

    /// Where things are, and who may use it.
    pub(crate) fn foundations(&self) -> String {
        let mut schemas: Vec<(String, String)> = self
            .relations
            .iter()
            .map(|relation| relation.name.as_str())
            .chain(self.views.iter().map(|(name, _)| name.as_str()))
            .map(parts)
            .map(|parts| (parts[0].clone(), parts[1].clone()))
            .chain([(self.database.clone(), self.schema.clone())])
            .collect();
        schemas.sort();
        schemas.dedup();
        let mut script = String::new();
        for (database, schema) in &schemas {
            let _ = writeln!(
                script,
                "CREATE DATABASE IF NOT EXISTS {database};
                 CREATE SCHEMA IF NOT EXISTS {database}.{schema};
                 GRANT USAGE ON DATABASE {database} TO ROLE PUBLIC;
                 GRANT USAGE ON SCHEMA {database}.{schema} TO ROLE PUBLIC;
                 GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA {database}.{schema} TO ROLE STEWARD;
                 GRANT CREATE TABLE, CREATE VIEW ON SCHEMA {database}.{schema} TO ROLE STEWARD;
                 GRANT REFERENCES ON ALL TABLES IN SCHEMA {database}.{schema} TO ROLE FROSTGATE_CATALOG;"
            );
        }
        script
    }

    /// One script per view: one that the engine cannot make takes no other with it.
    pub(crate) fn views(&self) -> Vec<String> {
        let script = |(name, view): &(String, View)| {
            let parts = parts(name);
            // What nobody may read is full of nothing.
            let nothing = || format!("SELECT {}", vec!["NULL"; view.columns.len()].join(", "));
            let sql = view.sql.clone().unwrap_or_else(nothing);
            let made = if sql.to_ascii_uppercase().starts_with("CREATE") {
                sql
            } else {
                let columns: Vec<String> =
                    view.columns.iter().map(|column| format!("\"{column}\"")).collect();
                let secure = if view.sql.is_none() { "SECURE " } else { "" };
                format!(
                    "CREATE OR REPLACE {secure}VIEW {} ({}) AS {sql}",
                    quoted(&parts),
                    columns.join(", ")
                )
            };
            format!("USE SCHEMA {}.{};\n{made};\n", parts[0], parts[1])
        };
        self.views.iter().map(script).collect()
    }

    /// The policies as a human would write them, `edit`ed.
    pub(crate) fn policies(&self, edit: impl Fn(&mut Value)) -> String {
        let mut written = String::new();
        for (number, document) in self.policies.iter().enumerate() {
            let mut spec = document.clone();
            edit(&mut spec);
            let fields = spec.as_mapping_mut().unwrap();
            fields.remove("name");
            fields.remove("generation");
            fields.entry("subjects".into()).or_insert_with(|| yaml("[{}]"));
            fields.insert("connectionRef".into(), yaml("{name: demo}"));
            fields.insert("roleMapping".into(), yaml("[{role: STEWARD}]"));
            for rule in
                fields.get_mut("approvals").and_then(Value::as_sequence_mut).into_iter().flatten()
            {
                let rule = rule.as_mapping_mut().unwrap();
                for (sent, name) in
                    [("pendingTtlSeconds", "pendingTTL"), ("grantTtlSeconds", "grantTTL")]
                {
                    let seconds = rule.remove(sent).unwrap().as_u64().unwrap();
                    rule.insert(name.into(), format!("{seconds}s").into());
                }
            }
            let spec = serde_yaml::to_string(&spec).unwrap().replace('\n', "\n  ");
            let _ = writeln!(
                written,
                "---\napiVersion: frostgate.dev/v1alpha1\nkind: AccessPolicy\n\
                 metadata: {{name: policy-{number}, namespace: agents}}\nspec:\n  {spec}"
            );
        }
        written
    }
}

impl Column {
    /// The type without its measures.
    pub(crate) fn word(&self) -> &str {
        self.data_type.split('(').next().unwrap_or_default().trim()
    }

    /// Digits behind the point.
    pub(crate) fn scale(&self) -> u32 {
        let scale = self.data_type.split_once(',').map(|(_, rest)| rest.trim_end_matches(')'));
        scale.map_or(0, |scale| scale.trim().parse().unwrap())
    }
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_sequence().cloned().unwrap_or_default()
}

/// The parts of a name; quotes keep what they hold.
fn parts(name: &str) -> Vec<String> {
    name.split('.').map(|part| part.trim_matches('"').to_owned()).collect()
}

fn quoted(parts: &[String]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| format!("\"{part}\"")).collect();
    parts.join(".")
}

/// Whether a pattern of a policy means a column.
fn matches(pattern: &str, name: &[&str]) -> bool {
    let is_quoted = pattern.contains('"');
    let patterns =
        parts(&if is_quoted { pattern.to_owned() } else { pattern.to_ascii_uppercase() });
    patterns.len() == name.len()
        && patterns.iter().zip(name).all(|(pattern, part)| {
            match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
                (Some(""), _) => true,
                (Some(end), _) => part.ends_with(end),
                (_, Some(start)) => part.starts_with(start),
                (None, None) => pattern == part,
            }
        })
}
