//! Our lineage against SQLGlot's, column by column. Every difference stands in `differences.yaml` with its reason: a
//! source that only SQLGlot sees could be a leak of ours. `cargo xtask analytics` traces the queries and names the
//! file in `FROSTGATE_TRACES`.

#![expect(clippy::disallowed_methods, reason = "the traces are in a file")]

#[path = "../written/catalog.rs"]
mod catalog;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use indexmap::IndexMap;
use serde::Deserialize;
use sql::{Lineage, Session};

use catalog::{Tables, View, catalog};

/// The sources of each output column.
type Sources = Vec<BTreeSet<String>>;

/// Statements over one catalog, as `trace.py` prints them.
#[derive(Deserialize)]
struct Group {
    name: String,
    database: String,
    schema: String,
    tables: Tables,
    views: IndexMap<String, View>,
    statements: Vec<Statement>,
}

#[derive(Deserialize)]
struct Statement {
    sql: String,
    /// Of a query the sources of each output column, unless SQLGlot cannot tell.
    columns: Option<Sources>,
    /// Of a statement that puts a query's rows elsewhere the sources of all of them.
    flows: Option<BTreeSet<String>>,
}

/// `differences.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// What each reason means.
    reasons: BTreeMap<String, String>,
    differences: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    of: String,
    #[serde(flatten)]
    difference: Difference,
    because: String,
}

/// How the sources of one output column differ.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    column: usize,
    /// Sources that only we see.
    #[serde(default)]
    ours: BTreeSet<String>,
    /// Sources that only SQLGlot sees.
    #[serde(default)]
    theirs: BTreeSet<String>,
}

#[test]
#[ignore = "needs SQLGlot's lineage: cargo xtask analytics"]
fn every_difference_from_another_lineage_has_a_reason() {
    let path = std::env::var("FROSTGATE_TRACES").expect("FROSTGATE_TRACES names a file");
    let groups: Vec<Group> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lineage/differences.yaml");
    let listed: Listed = serde_yaml::from_str(&std::fs::read_to_string(list).unwrap()).unwrap();
    let mut known = BTreeSet::new();
    let mut unused: BTreeSet<&String> = listed.reasons.keys().collect();
    for Entry { of, difference, because } in &listed.differences {
        assert!(listed.reasons.contains_key(because), "{of}: {because} is no reason");
        unused.remove(because);
        assert!(known.insert((of.clone(), difference.clone())), "{of} is listed twice");
    }
    assert!(unused.is_empty(), "reasons for nothing: {unused:?}");
    let mut compared = 0;
    let mut new = String::new();
    for group in &groups {
        for (index, statement) in group.statements.iter().enumerate() {
            let Some((ours, theirs)) = group.both(statement) else { continue };
            let of = match group.name.as_str() {
                benchmark @ ("tpch" | "tpcds") => format!("{benchmark} {}", index + 1),
                _ => statement.sql.clone(),
            };
            compared += ours.len();
            for difference in differences(&ours, &theirs) {
                if !known.remove(&(of.clone(), difference.clone())) {
                    let line = |name, sources: &BTreeSet<String>| match sources.len() {
                        0 => String::new(),
                        _ => format!(", {name}: {:?}", Vec::from_iter(sources)),
                    };
                    let Difference { column, ours, theirs } = &difference;
                    let sides = line("ours", ours) + &line("theirs", theirs);
                    writeln!(new, "  - {{of: {of:?}, column: {column}{sides}, because: ?}}")
                        .unwrap();
                }
            }
        }
    }
    assert!(new.is_empty(), "differences without a reason:\n{new}");
    assert!(known.is_empty(), "listed, and no longer so: {known:#?}");
    assert!(compared > 2_500, "only {compared} columns were compared");
}

impl Group {
    /// The sources of each output column as we and as SQLGlot see them, where both see any; of what puts them elsewhere,
    /// those of all columns as one.
    fn both(&self, statement: &Statement) -> Option<(Sources, Sources)> {
        let flows = statement.flows.iter().cloned().collect();
        let theirs = statement.columns.clone().unwrap_or(flows);
        if theirs.is_empty() {
            return None;
        }
        let session = Session {
            database: Some(self.database.clone()),
            schema: Some(self.schema.clone()),
            ..Session::default()
        };
        let analysis = sql::analyze(&statement.sql, &session, &catalog(&self.tables, &self.views));
        // Refused: nothing passes unmasked.
        if analysis.problem.is_some() {
            return None;
        }
        let named = |columns: &[sql::Column]| -> BTreeSet<String> {
            columns.iter().map(ToString::to_string).collect()
        };
        if statement.flows.is_some() {
            let flows = analysis.flows.iter().flat_map(|flow| named(&flow.columns));
            return Some((vec![flows.collect()], theirs));
        }
        match &analysis.lineage {
            Lineage::Unknown(_) => None,
            Lineage::Metadata => Some((Sources::new(), theirs)),
            Lineage::Columns(outputs) => {
                Some((outputs.iter().map(|output| named(&output.sources)).collect(), theirs))
            }
        }
    }
}

fn differences(ours: &[BTreeSet<String>], theirs: &[BTreeSet<String>]) -> Vec<Difference> {
    let nothing = BTreeSet::new();
    (0..ours.len().max(theirs.len()))
        .filter_map(|column| {
            let one = ours.get(column).unwrap_or(&nothing);
            let two = theirs.get(column).unwrap_or(&nothing);
            (one != two).then(|| Difference {
                column,
                ours: one.difference(two).cloned().collect(),
                theirs: two.difference(one).cloned().collect(),
            })
        })
        .collect()
}
