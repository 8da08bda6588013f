//! Ordinary analytics is not in the way: TPC-H and TPC-DS over masked names and addresses. The queries are not ours to
//! copy; `cargo xtask analytics` prints them from DuckDB's package and names the file in `FROSTGATE_QUERIES`.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the queries are in a file"
)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use indexmap::IndexMap;
use policy::{Ceiling, Decision, Document, Effect, Policy, Principal, Request};
use serde::Deserialize;
use sql::{Against, Analysis, Catalog, CatalogColumn, Definition, Name, Object, Place, Session};

/// Where DuckDB's spelling is not what Snowflake documents.
const NOTES: &[(&str, &str)] = &[
    ("tpch 22", "Snowflake documents SUBSTRING with commas, not FROM and FOR"),
    ("tpcds 72", "a date plus a number adds days in both"),
];

/// One benchmark as `print.py` prints it.
#[derive(Deserialize)]
struct Benchmark {
    /// Its name, which is its schema in lower case.
    #[serde(skip)]
    name: String,
    tables: IndexMap<String, IndexMap<String, String>>,
    queries: Vec<String>,
}

/// The masked columns of the policy, in full.
struct Masked(BTreeSet<String>);

#[test]
#[ignore = "needs the queries of DuckDB's package: cargo xtask analytics"]
fn no_benchmark_query_is_denied_when_every_column_is_masked() {
    let mut document = document();
    document.masking.truncate(1);
    document.masking[0].columns = vec!["*.*.*.*".into()];
    let policy = Policy::compile(&[document], &Ceiling::default());
    let benchmarks = benchmarks();
    let mut count = 0;
    for (title, _, decision) in benchmarks.iter().flat_map(|one| one.decided(&policy)) {
        count += 1;
        assert_ne!(decision.effect, Effect::Deny, "{title}: {:?}", decision.refusal);
        // Neither a mask nor a human would mean that some source was lost on the way.
        assert!(decision.effect == Effect::Hold || !decision.masks.is_empty(), "{title}");
    }
    assert_eq!(count, 121);
}

#[test]
#[ignore = "needs the queries of DuckDB's package: cargo xtask analytics"]
fn no_benchmark_query_is_denied_and_each_that_waits_says_for_what() {
    let document = document();
    let masked = Masked(document.masking.iter().flat_map(|rule| rule.columns.clone()).collect());
    let policy = Policy::compile(&[document], &Ceiling::default());
    let mut table = String::new();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (title, analysis, decision) in benchmarks().iter().flat_map(|one| one.decided(&policy)) {
        count += 1;
        let steering = masked.steering(&analysis);
        let note = NOTES.iter().find(|(noted, _)| *noted == title);
        let note = note.map(|(_, note)| format!("  -- {note}")).unwrap_or_default();
        writeln!(table, "{title:<9} {}{note}", verdict(&decision, &steering)).unwrap();
        match decision.effect {
            Effect::Deny => wrong.push(format!(
                "{title} is denied: {}",
                decision.refusal.map(|refusal| refusal.to_string()).unwrap_or_default()
            )),
            Effect::Hold if steering.is_empty() => {
                wrong.push(format!("{title} waits for nothing that can be named"));
            }
            Effect::Hold | Effect::Allow => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(count, 121);
    insta::assert_snapshot!(table);
}

fn benchmarks() -> Vec<Benchmark> {
    let path = std::env::var("FROSTGATE_QUERIES").expect("FROSTGATE_QUERIES names a file");
    let text = std::fs::read_to_string(path).unwrap();
    let benchmarks: IndexMap<String, Benchmark> = serde_json::from_str(&text).unwrap();
    benchmarks.into_iter().map(|(name, benchmark)| Benchmark { name, ..benchmark }).collect()
}

fn document() -> Document {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/analytics/policy.yaml");
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Benchmark {
    /// Each query by its title, understood and decided.
    fn decided(&self, policy: &Policy) -> Vec<(String, Analysis, Decision)> {
        let schema = self.name.to_uppercase();
        let catalog =
            Catalog::new(self.tables.iter().map(|(name, columns)| object(&schema, name, columns)));
        let session =
            Session { database: Some("BENCH".into()), schema: Some(schema), ..Session::default() };
        let decide = |(index, query): (usize, &String)| {
            let analysis = sql::analyze(query, &session, &catalog);
            let decision = policy.decide(&Request {
                principal: &Principal::default(),
                analysis: &analysis,
                session: &session,
                describe_only: false,
            });
            (format!("{} {:>2}", self.name, index + 1), analysis, decision)
        };
        self.queries.iter().enumerate().map(decide).collect()
    }
}

impl Masked {
    /// Where masked columns steer, in words; against another masked column they tell nothing.
    fn steering(&self, analysis: &Analysis) -> BTreeSet<String> {
        let is_masked = |column: &sql::Column| self.0.contains(&column.to_string());
        let mut steering = BTreeSet::new();
        for used in &analysis.uses {
            if matches!(&used.against, Against::Column(other) if is_masked(other)) {
                continue;
            }
            for column in used.columns.iter().filter(|column| is_masked(column)) {
                steering.insert(format!("{} {}", clause(used.place), column.name));
            }
        }
        steering
    }
}

fn verdict(decision: &Decision, steering: &BTreeSet<String>) -> String {
    let positions: Vec<String> =
        decision.masks.iter().map(|mask| mask.position.to_string()).collect();
    let masks = match positions.as_slice() {
        [] => String::new(),
        some => format!("mask {}", some.join(",")),
    };
    match decision.effect {
        Effect::Deny => "deny".into(),
        Effect::Allow if masks.is_empty() => "allow".into(),
        Effect::Allow => masks,
        Effect::Hold => {
            let reasons: Vec<&str> = steering.iter().map(String::as_str).collect();
            let masks = if masks.is_empty() { masks } else { format!(", {masks}") };
            format!("approve{masks}, for {}", reasons.join(", "))
        }
    }
}

fn clause(place: Place) -> &'static str {
    match place {
        Place::Where => "WHERE",
        Place::Join => "JOIN",
        Place::Having => "HAVING",
        Place::Qualify => "QUALIFY",
        Place::Order => "ORDER BY",
        Place::Group => "GROUP BY an expression of",
        Place::Distinct => "DISTINCT over an expression of",
        Place::Set => "a set operation over",
        Place::Limit => "LIMIT",
        Place::Error => "an operation that can fail over",
        Place::TableFunction => "a table function over",
        Place::Pivot => "PIVOT FOR",
        Place::Match => "a match over",
        Place::Window => "a window over",
        Place::Write => "the predicate of a write over",
    }
}

fn object(schema: &str, table: &str, columns: &IndexMap<String, String>) -> Object {
    Object {
        name: Name::new("BENCH", schema, table),
        columns: columns
            .iter()
            .map(|(name, data_type)| CatalogColumn {
                name: name.clone(),
                data_type: data_type.clone(),
            })
            .collect(),
        definition: Definition::Table,
    }
}
