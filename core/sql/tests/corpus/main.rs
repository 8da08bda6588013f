//! Somebody else's statements: what SQLGlot's own tests of its Snowflake dialect hold. They are not ours to copy;
//! `cargo xtask corpus` takes them from the package and names the file in `FROSTGATE_CORPUS`.
//!
//! The snapshot holds the verdict on each, so that an upgrade of the parser shows every verdict that it changes; the
//! text behind an id is in that file.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "the statements are in a file")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;
use sql::{Analysis, Catalog, Effect, Session, analyze};

/// How many of how many queries are read; never fewer.
const READ: (usize, usize) = (1_263, 1_294);

/// A statement, and what SQLGlot takes it for.
#[derive(Deserialize)]
struct Statement {
    id: String,
    tree: String,
    sql: String,
}

fn judged() -> Vec<(Statement, Analysis)> {
    let text = std::fs::read_to_string(std::env::var("FROSTGATE_CORPUS").unwrap()).unwrap();
    let session =
        Session { database: Some("D".into()), schema: Some("S".into()), ..Session::default() };
    let mut judged: Vec<(Statement, Analysis)> = text
        .lines()
        .map(|line| {
            let statement: Statement = serde_json::from_str(line).unwrap();
            let analysis = analyze(&statement.sql, &session, &Catalog::default());
            (statement, analysis)
        })
        .collect();
    assert!(judged.len() > 1_300, "only {} statements were found", judged.len());
    judged.sort_by(|(one, _), (two, _)| one.id.cmp(&two.id));
    judged
}

#[test]
#[ignore = "needs the statements of SQLGlot's package: cargo xtask corpus"]
fn every_verdict_is_the_one_in_the_snapshot() {
    let mut table = String::new();
    for (statement, analysis) in judged() {
        let parsed = if analysis.parsed { "parsed" } else { "missed" };
        let words: Vec<String> = analysis.words.iter().map(ToString::to_string).collect();
        writeln!(table, "{} {} {} {parsed}", statement.id, words.join("+"), analysis.effect)
            .unwrap();
    }
    insta::with_settings!({ snapshot_path => "" }, {
        insta::assert_snapshot!("verdicts", table);
    });
}

#[test]
#[ignore = "needs the statements of SQLGlot's package: cargo xtask corpus"]
fn no_statement_that_changes_anything_is_a_read() {
    let reads = ["Query", "Show", "Describe", "ListStage"];
    let mut wrong = Vec::new();
    let mut changes = 0;
    for (statement, analysis) in judged() {
        // What SQLGlot cannot read either says nothing.
        let is_read = match statement.tree.as_str() {
            "Unread" | "ModelAttribute" => continue,
            tree => reads.contains(&tree),
        };
        changes += usize::from(!is_read);
        if is_read != (analysis.effect == Effect::Read) {
            wrong.push(format!("{} is a {}: {}", statement.tree, analysis.effect, statement.sql));
        }
    }
    assert!(changes > 200, "only {changes} statements change anything");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs the statements of SQLGlot's package: cargo xtask corpus"]
fn each_statement_that_is_not_read_has_its_reason() {
    let reasons: BTreeMap<String, Vec<String>> =
        serde_yaml::from_str(include_str!("missed.yaml")).unwrap();
    let mut listed = BTreeSet::new();
    for id in reasons.values().flatten() {
        assert!(listed.insert(id.clone()), "{id} is listed twice");
    }
    let (mut queries, mut read) = (0, 0);
    let mut wrong = Vec::new();
    for (statement, analysis) in judged() {
        if statement.tree == "Query" {
            queries += 1;
            read += usize::from(analysis.parsed);
        }
        match (analysis.parsed, listed.remove(&statement.id)) {
            (true, false) | (false, true) => {}
            (true, true) => wrong.push(format!("{} is read by now", statement.id)),
            (false, false) => {
                let why = analysis.problem.map(|problem| problem.message).unwrap_or_default();
                wrong.push(format!("{} is not read: {} ({why})", statement.id, statement.sql));
            }
        }
    }
    wrong.extend(listed.iter().map(|id| format!("{id} is in the list, but not in the corpus")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(read * READ.1 >= queries * READ.0, "{read} of {queries} queries are read");
}
