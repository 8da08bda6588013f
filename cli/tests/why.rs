//! `frostgate why` and `frostgate test`, run as they are run: what they say of a policy and a file of cases.

#![expect(clippy::unwrap_used, reason = "a test ends when something is not as it must be")]

use std::{fs, path::Path, process::Command};

const POLICY: &str = r#"
apiVersion: frostgate.dev/v1alpha1
kind: AccessPolicy
metadata: {name: readers, namespace: museum}
spec:
  connectionRef: {name: snowflake}
  subjects: [{}]
  statements: {allow: [Select, Delete], deny: [Truncate]}
  objects:
    - {effect: Allow, privileges: [Read], tables: ["MUSEUM.*.*"]}
    - {effect: Allow, privileges: [Write], tables: ["MUSEUM.DESK.*"]}
    - {effect: Deny, tables: ["MUSEUM.VAULT.*"], message: the vault is closed, hint: use MUSEUM.HALL}
  masking:
    - {columns: ["MUSEUM.HALL.DONORS.EMAIL"], method: {type: Email}}
  approvals:
    - name: unbounded
      when: {risks: [DeleteWithoutWhere]}
      approvers: {groups: [curators], minApprovals: 2}
"#;

const CASES: &str = r#"
session: {database: MUSEUM, schema: HALL}
tables:
  MUSEUM.HALL.DONORS: {ID: NUMBER, NAME: VARCHAR, EMAIL: VARCHAR}
  MUSEUM.DESK.NOTES: {A: VARCHAR}
  MUSEUM.VAULT.LOANS: {ID: NUMBER}
views:
  MUSEUM.HALL.MAIL: {sql: "SELECT name, email AS address FROM donors", columns: [NAME, ADDRESS]}
cases:
  - {sql: SELECT address FROM mail, expect: "mask:[0]"}
  - {sql: SELECT name FROM donors ORDER BY email, expect: deny}
  - {sql: SELECT name FROM donors, expect: "mask:[0]"}
"#;

/// What a command says in a folder with the policy and the cases.
fn said(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("policy.yaml", POLICY);
    write("cases.yaml", CASES);
    run(folder.path(), args)
}

fn run(folder: &Path, args: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_kubectl-frostgate");
    let output = Command::new(program).args(args).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    format!("{}{}", text(output.stdout), text(output.stderr))
}

fn why(sql: &str) -> String {
    let args = ["why", "-f", "policy.yaml", "--catalog", "cases.yaml", "--sql", sql];
    format!("{sql}\n{}", said(&args))
}

#[test]
fn why_says_the_decision_its_rule_and_where_columns_come_from() {
    let statements = [
        "SELECT d.id, m.address, UPPER(d.email) AS loud FROM donors d JOIN mail m USING (name)",
        "SELECT name, CONCAT(address, '!') AS loud FROM mail",
        "SELECT name FROM donors ORDER BY email",
        "SELECT id FROM vault.loans",
        "DELETE FROM desk.notes",
        "TRUNCATE TABLE desk.notes",
        "SELECT nothing FROM donors",
    ];
    insta::assert_snapshot!(statements.map(why).join("\n"));
}

#[test]
fn a_case_that_is_decided_otherwise_is_said_with_what_was_decided() {
    insta::assert_snapshot!(said(&["test", "-f", "policy.yaml", "cases.yaml"]));
}
