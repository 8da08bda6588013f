//! Several statements in one request: what becomes of all of them, as a table.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

use policy::{Ceiling, Effect, Policy, Principal, Request};
use sql::{Catalog, CatalogColumn, Definition, Name, Object, Session, analyze, split};

const POLICY: &str = r#"
name: shop/agents
generation: 1
mode: MODE
statements: {allow: [Select, Insert, Delete, CreateTable, UseSchema, Set, Transaction, AlterSession]}
objects:
  - {effect: Allow, tables: ["SHOP.PUBLIC.*"]}
  - {effect: Deny, tables: ["SHOP.PUBLIC.PAYROLL"]}
masking:
  - {columns: ["SHOP.PUBLIC.CUSTOMERS.EMAIL"], method: {type: Email}}
approvals:
  - {name: deletes, when: {statements: [Delete]}, pendingTtlSeconds: 60, grantTtlSeconds: 60}
"#;

/// Effect and refusal of the whole, and the masked positions of each statement.
fn decide(text: &str, mode: &str) -> (Effect, String, Vec<Vec<usize>>) {
    let column = |name: &str| CatalogColumn { name: name.into(), data_type: "TEXT".into() };
    let table = |name: &str, columns: &[&str]| Object {
        name: Name::new("SHOP", "PUBLIC", name),
        columns: columns.iter().map(|name| column(name)).collect(),
        definition: Definition::Table,
    };
    let catalog = Catalog::new([table("CUSTOMERS", &["ID", "EMAIL"]), table("PAYROLL", &["ID"])]);
    let session = Session {
        database: Some("SHOP".into()),
        schema: Some("PUBLIC".into()),
        ..Session::default()
    };
    let document = POLICY.replace("MODE", mode);
    let document = serde_yaml::from_str(&document).expect("the policy is valid");
    let policy = Policy::compile(&[document], &Ceiling::default());
    let analyses: Vec<_> = split(text)
        .expect("its statements are told apart")
        .into_iter()
        .map(|text| analyze(text, &session, &catalog))
        .collect();
    let nobody = Principal::default();
    let requests: Vec<_> = analyses
        .iter()
        .map(|analysis| Request {
            principal: &nobody,
            analysis,
            session: &session,
            describe_only: false,
        })
        .collect();
    let (whole, parts) = policy.decide_together(&requests);
    let masks = parts.iter().map(|part| part.masks.iter().map(|mask| mask.position).collect());
    let said = whole.refusal.map_or_else(String::new, |refusal| refusal.to_string());
    (whole.effect, said, masks.collect())
}

#[test]
fn statements_run_together_or_not_at_all() {
    for (text, effect, said) in [
        ("select id from customers; select email from customers", Effect::Allow, ""),
        ("begin; insert into customers select 1, 'a'; commit", Effect::Allow, ""),
        ("select 1; use schema shop.public", Effect::Allow, ""),
        ("select 1; create table shop.public.t (a int)", Effect::Allow, ""),
        (
            "select 1; delete from customers; delete from customers where id = 1",
            Effect::Hold,
            "FG-3001",
        ),
        ("select 1; select id from payroll", Effect::Deny, "FG-2003"),
        ("select id from payroll; delete from customers", Effect::Deny, "FG-2003"),
        ("select 1; drop table customers", Effect::Deny, "FG-2002"),
        ("use schema shop.public; select 1", Effect::Deny, "FG-2011"),
        ("set a = 1; select 1", Effect::Deny, "FG-2011"),
        ("alter session set query_tag = 'a'; select 1", Effect::Deny, "FG-2011"),
        ("create table shop.public.t (a int); select 1", Effect::Deny, "FG-2011"),
        ("select 1; use role accountadmin", Effect::Deny, "FG-2008"),
        ("select 1; selec 2", Effect::Deny, "FG-2001"),
        (
            "select 1; select * from table(result_scan('01b2c3d4-0000-4000-8000-000000000001'))",
            Effect::Deny,
            "FG-2011",
        ),
        (
            "select 1; select system$cancel_query('01b2c3d4-0000-4000-8000-000000000001')",
            Effect::Deny,
            "FG-2011",
        ),
    ] {
        let decided = decide(text, "Enforce");
        assert_eq!(decided.0, effect, "{text}: {}", decided.1);
        assert!(decided.1.starts_with(said), "{text}: {}", decided.1);
        assert_eq!(decided.1.is_empty(), said.is_empty(), "{text}: {}", decided.1);
    }
    let (_, _, masks) =
        decide("select id, email from customers; select email, id from customers", "Enforce");
    assert_eq!(masks, [[1], [0]]);
    let (_, said, _) = decide("select 1; select id from payroll", "Enforce");
    assert!(said.contains("statement 2 of 2: "), "{said}");
}

#[test]
fn audit_lifts_what_a_policy_says_and_nothing_that_the_reading_of_the_text_rests_on() {
    for (text, effect) in [
        ("select 1; select id from payroll", Effect::Allow),
        ("select 1; delete from customers", Effect::Allow),
        ("select 1; selec 2", Effect::Deny),
        ("use schema shop.public; select 1", Effect::Deny),
        ("create table shop.public.t (a int); select 1", Effect::Deny),
        ("create procedure p() returns int as begin return 1; end", Effect::Deny),
    ] {
        assert_eq!(decide(text, "Audit").0, effect, "{text}");
    }
}
