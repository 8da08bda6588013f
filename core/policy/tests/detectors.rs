//! Which columns of a result are searched, and for what: rules over several policies, exceptions, and what Audit leaves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use policy::{
    Ceiling, Decision, Document, Effort, Hints, Human, Kind, Policy, Principal, Request, Value,
};
use sql::{Catalog, CatalogColumn, Definition, Name, Object, Session};

const POLICIES: &str = r#"
- name: shop/agents
  generation: 1
  statements: {allow: [Select]}
  objects: [{effect: Allow, tables: ["SHOP.*.*"]}]
  masking: [{columns: ["SHOP.PUBLIC.T.SSN"], method: {type: Full}}]
  detectors:
    - {find: [CardNumber, EmailAddress], except: ["*.*.*.CONTACT"]}
    - {find: [Secret], exceptSubjects: [{groups: [security]}]}
- name: shop/audit
  generation: 1
  mode: Audit
  detectors: [{find: [CardNumber], mask: "Null", except: ["*.*.*.ID"]}]
"#;

fn decide(policies: &str, groups: &[&str], text: &str) -> Decision {
    let documents: Vec<Document> = serde_yaml::from_str(policies).unwrap();
    let table = Object {
        name: Name::new("SHOP", "PUBLIC", "T"),
        columns: ["ID", "SSN", "CONTACT", "NOTE"]
            .map(|name| CatalogColumn { name: name.into(), data_type: "TEXT".into() })
            .into(),
        definition: Definition::Table,
    };
    let session = Session {
        database: Some("SHOP".into()),
        schema: Some("PUBLIC".into()),
        ..Session::default()
    };
    let human = Human {
        issuer: "https://idp".into(),
        subject: "ann".into(),
        groups: groups.iter().map(ToString::to_string).collect(),
        username: None,
        verified: true,
    };
    Policy::compile(&documents, &Ceiling::default()).decide(&Request {
        principal: &Principal { human: Some(human) },
        analysis: &sql::analyze(text, &session, &Catalog::new([table])),
        session: &session,
        describe_only: false,
    })
}

/// What a column shows of a text with a card, an address and a key.
fn shown(decision: &Decision, position: usize) -> String {
    let detectors = decision.detectors.at(position);
    let text = Value::Text("4111 1111 1111 1111, ann@example.com, AKIAIOSFODNN7EXAMPLE".into());
    let found = detectors.search(Hints::default(), Kind::Text, &text, &mut Effort::default());
    let words: Vec<_> = found.words().collect();
    match (words.join("+"), detectors.hide(found, Kind::Text)) {
        (words, _) if words.is_empty() => "all".into(),
        (words, Value::Null) => format!("{words} NULL"),
        (words, _) => words,
    }
}

#[test]
fn every_rule_of_every_policy_holds_where_it_is_not_excepted() {
    let decision = decide(POLICIES, &[], "SELECT id, contact, note, contact || '', 1 FROM t");
    let columns: Vec<String> = (0..5).map(|position| shown(&decision, position)).collect();
    let everything = "CardNumber+EmailAddress+Secret";
    assert_eq!(columns[0], everything, "ID keeps what another policy says");
    assert_eq!(columns[1], "CardNumber+Secret NULL", "CONTACT is searched by the others");
    assert!(columns[2..].iter().all(|shown| *shown == format!("{everything} NULL")), "{columns:?}");
}

#[test]
fn those_whom_a_rule_excepts_see_what_it_looks_for() {
    let decision = decide(POLICIES, &["security"], "SELECT note FROM t");
    assert_eq!(shown(&decision, 0), "CardNumber+EmailAddress NULL");
}

#[test]
fn what_no_lineage_speaks_of_is_searched_too() {
    let audit = POLICIES.replace("generation: 1", "generation: 1\n  mode: Audit").replacen(
        "  mode: Audit\n  mode: Audit",
        "  mode: Audit",
        1,
    );
    let decision = decide(&audit, &[], "SELEC note FROM t");
    assert!(decision.lifted.is_some());
    assert_eq!(shown(&decision, 0), "CardNumber+EmailAddress+Secret NULL");
}

#[test]
fn a_detector_changes_no_decision() {
    let without: String = POLICIES.split("  detectors:").next().unwrap().to_owned();
    for text in ["SELECT note FROM t", "SELECT ssn FROM t", "DROP TABLE t", "SELEC", "SELECT 1"] {
        let (with, without) = (decide(POLICIES, &[], text), decide(&without, &[], text));
        assert_eq!(
            (with.effect, with.code(), with.masks),
            (without.effect, without.code(), without.masks),
            "{text}"
        );
    }
}

#[test]
fn a_document_without_detectors_is_written_as_before() {
    let document: Document = serde_yaml::from_str("{name: a/b, generation: 1}").unwrap();
    assert!(!serde_json::to_string(&document).unwrap().contains("detectors"));
}
