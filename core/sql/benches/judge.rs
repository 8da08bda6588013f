//! What judging a statement costs, as a ratio to the SQL parser's own reading of the same text in the same run.
//!
//! `cargo xtask bench` prints TPC's queries from DuckDB's package and names the file in `FROSTGATE_QUERIES`.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a program that reads its input and ends where it cannot"
)]

#[path = "../../measure.rs"]
mod measure;

use std::collections::BTreeMap;
use std::hint::black_box;

use policy::{Ceiling, Document, Policy, Principal, Request};
use serde::Deserialize;
use serde_json::json;
use sql::{Analysis, Catalog, CatalogColumn, Definition, Name, Object, Session};
use sqlparser::dialect::SnowflakeDialect;
use sqlparser::parser::Parser;

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
        judge(&name, &benchmark.queries, &schema, &Catalog::new(objects), &policy);
    }
    let columns = ["ID", "NAME"]
        .map(|name| CatalogColumn { name: name.to_owned(), data_type: "TEXT".to_owned() });
    let target = Object {
        name: Name::new("BENCH", "LOAD", "T"),
        columns: columns.into(),
        definition: Definition::Table,
    };
    let catalog = Catalog::new([target]);
    judge("a 138 kB INSERT", &[insert(138_000)], "LOAD", &catalog, &policy);
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

fn judge(what: &str, texts: &[String], schema: &str, catalog: &Catalog, policy: &Policy) {
    let session = Session {
        database: Some("BENCH".into()),
        schema: Some(schema.into()),
        ..Session::default()
    };
    let principal = Principal::default();
    let decide = |analysis: &Analysis| {
        let request =
            Request { principal: &principal, analysis, session: &session, describe_only: false };
        black_box(policy.decide(&request));
    };
    let analyze = |text: &str| sql::analyze(text, &session, catalog);
    measure::measure(
        &format!("judge {what}"),
        "its parsing",
        texts,
        |text| decide(&analyze(text)),
        |text| {
            black_box(Parser::parse_sql(&SnowflakeDialect {}, black_box(text))).ok();
        },
    );
    measure::measure(
        &format!("decide {what}"),
        "its analysis",
        texts.iter().map(|text| (text, analyze(text))),
        |(_, analysis)| decide(analysis),
        |(text, _)| {
            black_box(analyze(text));
        },
    );
}
