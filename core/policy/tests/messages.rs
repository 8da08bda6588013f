//! What a refused agent reads, word by word; and what admission says of a policy that can never work.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

use policy::{Ceiling, Document, Human, Policy, Principal, Request, check};
use sql::{Catalog, CatalogColumn, Definition, Name, Object, Session, analyze};

const POLICY: &str = r#"
name: shop/agents
generation: 4
statements:
  allow: [Select, Insert, Delete, CreateTable]
  deny: [Truncate]
objects:
  - {effect: Allow, tables: ["SHOP.PUBLIC.*", "SHOP.WORK.*"]}
  - effect: Deny
    tables: ["SHOP.PUBLIC.PAYROLL"]
    message: payroll is for people
    hint: use SHOP.PUBLIC.HEADCOUNT
masking:
  - {columns: ["SHOP.PUBLIC.CUSTOMERS.EMAIL"], method: {type: Email}}
approvals:
  - name: unbounded
    when: {risks: [DeleteWithoutWhere]}
    pendingTtlSeconds: 600
    grantTtlSeconds: 600
"#;

fn say(sql: &str) -> String {
    let column = |name: &str| CatalogColumn { name: name.into(), data_type: "TEXT".into() };
    let table = |schema: &str, name: &str, columns: &[&str]| Object {
        name: Name::new("SHOP", schema, name),
        columns: columns.iter().map(|name| column(name)).collect(),
        definition: Definition::Table,
    };
    let catalog = Catalog::new([
        table("PUBLIC", "CUSTOMERS", &["ID", "EMAIL"]),
        table("PUBLIC", "PAYROLL", &["ID"]),
        table("HR", "PEOPLE", &["ID"]),
        table("WORK", "T", &["A"]),
    ]);
    let session = Session {
        database: Some("SHOP".into()),
        schema: Some("PUBLIC".into()),
        ..Session::default()
    };
    let document = serde_yaml::from_str(POLICY).expect("the policy is valid");
    let policy = Policy::compile(&[document], &Ceiling::default());
    let analysis = analyze(sql, &session, &catalog);
    let decision = policy.decide(&Request {
        principal: &Principal::default(),
        analysis: &analysis,
        session: &session,
        describe_only: false,
    });
    let text = decision.refusal.map_or_else(|| "allowed".into(), |refusal| refusal.to_string());
    format!("{sql}\n    {text}")
}

#[test]
fn every_refusal_says_what_is_wrong_and_what_to_do() {
    let said: Vec<String> = [
        "SELECT id FROM payroll",
        "SELECT id FROM hr.people",
        "SELECT id FROM nowhere",
        "SELECT nothing FROM customers",
        "SELECT id FROM customers WHERE email = 'a'",
        "INSERT INTO work.t SELECT email FROM customers",
        "DELETE FROM work.t",
        "TRUNCATE TABLE work.t",
        "DROP TABLE work.t",
        "CREATE OR REPLACE TABLE work.t (a INT)",
        "SELECT my_function(id) FROM customers",
        "SELECT * FROM customers MATCH_RECOGNIZE (PATTERN (a) DEFINE a AS TRUE)",
        "SELEC 1",
        "SELECT 1 FROM",
        "SELECT 1; SELECT 2",
        "SELECT id # x",
        "USE ROLE accountadmin",
        "ALTER SESSION SET SEARCH_PATH = 'x'",
        "CREATE TEMPORARY TABLE work.t (a INT)",
    ]
    .map(say)
    .to_vec();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn admission_lists_every_error_with_its_path() {
    let document: Document = serde_yaml::from_str(
        r#"
name: shop/wrong
generation: 1
statements: {allow: [Selekt, Select], deny: [Everything]}
objects:
  - {effect: Allow, tables: []}
  - {effect: Allow, tables: ["SHOP.PUBLIC", "A.B.C.D", "SHOP.*X*.T", "SHOP.\"PUBLIC.T"], except: ["x y.z.w"]}
masking:
  - {columns: ["SHOP.PUBLIC.T"], method: {type: Bucket, width: 0}, exceptSubjects: [{}]}
functions: {allow: [F]}
guards: {requireWhereOn: [Removal]}
approvals:
  - {name: "", when: {risks: [Danger], statements: [X], tables: [Y]}, pendingTtlSeconds: 0, grantTtlSeconds: 0, approvers: {minApprovals: 0, distinctFromRequester: true}}
"#,
    )
    .unwrap();
    let problems: Vec<String> = check(&document)
        .into_iter()
        .map(|problem| format!("{}: {}", problem.path, problem.message))
        .collect();
    insta::assert_snapshot!(problems.join("\n"));
}

#[test]
fn roles_come_from_the_mapping_within_the_ceiling() {
    let document = |name: &str, mapping: &str| -> Document {
        serde_yaml::from_str(&format!("{{name: {name}, generation: 1, roleMapping: {mapping}}}"))
            .unwrap()
    };
    let ceiling = Ceiling {
        allowed_roles: vec!["READER".into(), "ANALYST".into()],
        default_role: Some("READER".into()),
        default_warehouse: Some("WH".into()),
    };
    let ann = Principal {
        human: Some(Human {
            issuer: "https://idp.example".into(),
            subject: "ann".into(),
            groups: vec!["analysts".into()],
            username: None,
            verified: true,
        }),
    };
    let claimed =
        Principal { human: ann.human.clone().map(|human| Human { verified: false, ..human }) };
    let role =
        |documents: &[Document], principal: &Principal| match Policy::compile(documents, &ceiling)
            .role(principal)
        {
            Ok(grant) => format!("{} on {}", grant.role, grant.warehouse.unwrap_or_default()),
            Err(refusal) => refusal.to_string(),
        };
    let analysts = document("a/a", "[{when: {groups: [analysts]}, role: ANALYST, warehouse: BIG}]");
    let always = document("b/b", "[{role: READER}]");
    let beyond = document("c/c", "[{role: ACCOUNTADMIN}]");
    let said = [
        role(&[], &ann),
        role(std::slice::from_ref(&analysts), &ann),
        role(std::slice::from_ref(&analysts), &claimed),
        role(std::slice::from_ref(&analysts), &Principal::default()),
        role(&[analysts, always], &ann),
        role(&[beyond], &ann),
    ];
    insta::assert_snapshot!(said.join("\n"));
}
