//! What judging a statement costs, as a ratio to the SQL parser's own reading of the same text in the same run.
//!
//! `cargo xtask bench` prints TPC's queries from DuckDB's package and names the file in `FROSTGATE_QUERIES`. Prints one
//! JSON line per set of texts, times in microseconds.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program that measures and prints"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use policy::{Ceiling, Document, Policy, Principal, Request};
use serde::Deserialize;
use serde_json::json;
use sql::{Catalog, CatalogColumn, Definition, Name, Object, Session};
use sqlparser::dialect::SnowflakeDialect;
use sqlparser::parser::Parser;

/// Each text is taken so often both ways, in turn; its median counts.
const ROUNDS: usize = 21;

/// One benchmark, as printed: columns by table, and queries.
#[derive(Deserialize)]
struct Benchmark {
    tables: BTreeMap<String, BTreeMap<String, String>>,
    queries: Vec<String>,
}

fn main() {
    let path = std::env::var("FROSTGATE_QUERIES").expect("FROSTGATE_QUERIES names a file");
    let text = std::fs::read_to_string(path).expect("the queries");
    let benchmarks: BTreeMap<String, Benchmark> = serde_json::from_str(&text).expect("benchmarks");
    let policy = policy();
    for (name, benchmark) in benchmarks {
        let schema = name.to_uppercase();
        let objects = benchmark.tables.into_iter().map(|(table, columns)| {
            let columns = columns
                .into_iter()
                .map(|(name, data_type)| CatalogColumn { name, data_type })
                .collect();
            Object {
                name: Name::new("BENCH", &schema, &table),
                columns,
                definition: Definition::Table,
            }
        });
        measure(&name, &benchmark.queries, &schema, &Catalog::new(objects), &policy);
    }
    let columns = ["ID", "NAME"]
        .map(|name| CatalogColumn { name: name.to_owned(), data_type: "TEXT".to_owned() });
    let target = Object {
        name: Name::new("BENCH", "LOAD", "T"),
        columns: columns.into(),
        definition: Definition::Table,
    };
    let catalog = Catalog::new([target]);
    measure("a 138 kB INSERT", &[insert(138_000)], "LOAD", &catalog, &policy);
}

/// An INSERT of literal rows, about this long.
fn insert(bytes: usize) -> String {
    let mut text = "INSERT INTO t (id, name) VALUES (0, 'somebody')".to_owned();
    let mut number = 1;
    while text.len() < bytes {
        text.push_str(&format!(", ({number}, 'somebody {number}')"));
        number += 1;
    }
    text
}

/// Masks that nearly every query meets.
fn policy() -> Policy {
    let document: Document = serde_json::from_value(json!({
        "name": "bench/analysts", "generation": 1,
        "statements": {"allow": ["Select", "Insert"]},
        "objects": [{"effect": "Allow", "privileges": ["Read", "Write"], "tables": ["BENCH.*.*"]}],
        "masking": [{"columns": ["*.*.*.C_*", "*.*.*.CA_*", "*.*.*.S_*"], "method": {"type": "Full"}}],
    }))
    .expect("a policy");
    Policy::compile(&[document], &Ceiling::default())
}

fn measure(what: &str, texts: &[String], schema: &str, catalog: &Catalog, policy: &Policy) {
    let session = Session {
        database: Some("BENCH".into()),
        schema: Some(schema.into()),
        ..Session::default()
    };
    let (mut judged, mut parsed, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for text in texts {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(timed(|| {
                let analysis = sql::analyze(text, &session, catalog);
                let principal = Principal::default();
                let request = Request {
                    principal: &principal,
                    analysis: &analysis,
                    session: &session,
                    describe_only: false,
                };
                black_box(policy.decide(&request));
            }));
            theirs.push(timed(|| {
                black_box(Parser::parse_sql(&SnowflakeDialect {}, black_box(text))).ok();
            }));
        }
        let (ours, theirs) = (quantile(&mut ours, 0.5), quantile(&mut theirs, 0.5));
        judged.push(ours);
        parsed.push(theirs);
        ratios.push(ours / theirs);
    }
    let figures = |values: &mut Vec<f64>| json!({"p50": quantile(values, 0.5), "p99": quantile(values, 0.99)});
    let line = json!({
        "what": what, "texts": texts.len(),
        "judged": figures(&mut judged), "parsed": figures(&mut parsed), "ratio": figures(&mut ratios),
    });
    println!("{line}");
}

/// Microseconds.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e6
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a short list"
)]
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
