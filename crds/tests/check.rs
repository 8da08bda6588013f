//! What can never work is refused with every error and the path of its field.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use crds::{AccessPolicy, SnowflakeConnection, check};
use serde_json::{Value, json};

fn connection(spec: &Value) -> SnowflakeConnection {
    serde_json::from_value(json!({
        "apiVersion": "frostgate.dev/v1alpha1", "kind": "SnowflakeConnection",
        "metadata": {"namespace": "data", "name": "prod"}, "spec": spec,
    }))
    .unwrap()
}

fn policy(spec: &Value) -> AccessPolicy {
    serde_json::from_value(json!({
        "apiVersion": "frostgate.dev/v1alpha1", "kind": "AccessPolicy",
        "metadata": {"namespace": "agents", "name": "support"}, "spec": spec,
    }))
    .unwrap()
}

fn lines(problems: &[check::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_good_connection_and_a_good_policy_have_no_problem() {
    let good = connection(&json!({
        "account": "myorg-analytics", "allowedRoles": ["ANALYST"],
        "credentials": {"ephemeralUser": {"provisioner": {
            "user": "PROVISIONER", "role": "FROSTGATE_USERADMIN", "privateKeyRef": {"name": "key"},
        }}},
        "baseline": {"denyStatements": ["Grant"]},
    }));
    assert_eq!(check::connection(&good), []);
    let policy = policy(&json!({
        "connectionRef": {"name": "prod"}, "subjects": [{}],
        "roleMapping": [{"role": "ANALYST"}],
        "statements": {"allow": ["Select"]},
        "objects": [{"effect": "Allow", "tables": ["ANALYTICS.PUBLIC.*"]}],
        "masking": [{"columns": ["*.*.*.EMAIL"], "method": {"type": "Email"}}],
        "detectors": [
            {"find": ["CardNumber", "Secret"]},
            {"find": ["EmailAddress"], "mask": "Null", "except": ["*.*.*.CONTACT"], "exceptSubjects": [{"groups": ["support"]}]},
        ],
        "approvals": [{"name": "deletes", "when": {"statements": ["Delete"]}}],
    }));
    assert_eq!(check::policy(&policy), []);
    assert_eq!(check::policy_with_connection(&policy, &good), []);
}

#[test]
fn every_error_of_a_connection_is_listed() {
    let bad = connection(&json!({
        "account": "a", "allowedRoles": ["ACCOUNTADMIN", "MAKER"], "policyLease": "1s",
        "endpoint": {"privateNetworks": ["10.0.0.0/8", "10.0.0.0/40", "x"], "caBundle": "no",
            "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}, {"ip": "account", "hostnames": ["b"]}],
            "httpsProxy": "http://user@egress:3128"},
        "prompts": {"httpsProxy": "http://egress"},
        "credentials": {"mode": "EphemeralUser", "ephemeralUser": {
            "maxTtl": "5s",
            "provisioner": {"user": "P", "role": "MAKER", "privateKeyRef": {"name": "key"}},
        }},
        "identity": {"issuers": [
            {"issuer": "https://idp", "audiences": [], "jwks": "{}"},
            {"issuer": "https://idp", "audiences": ["a"]},
        ]},
        "baseline": {"denyStatements": ["Fly"], "masking": [{"columns": ["A.B"], "method": {"type": "Truncate"}}],
            "detectors": [{"find": ["Iban"], "except": ["*"]}]},
    }));
    insta::assert_snapshot!(lines(&check::connection(&bad)));
}

#[test]
fn every_error_of_a_policy_is_listed() {
    let bad = policy(&json!({
        "connectionRef": {"name": "prod"},
        "subjects": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}],
        "roleMapping": [{"role": "OWNER"}],
        "statements": {"allow": ["Select", "Fly"]},
        "objects": [{"effect": "Allow", "tables": ["A.B", "A.B.C*D"]}],
        "masking": [{"columns": ["A.B.C.D"], "method": {"type": "Full", "width": 3}}],
        "detectors": [{"find": []}, {"find": ["Iban"], "except": ["A.B"]}],
        "approvals": [
            {"name": "x", "when": {"risks": ["Scary"]}, "pendingTTL": "1s"},
            {"name": "x", "when": {"statements": ["Delete"]}, "approvers": {"minApprovals": 0}},
        ],
    }));
    let mut problems = check::policy(&bad);
    problems.extend(check::policy_with_connection(
        &bad,
        &connection(&json!({
            "account": "a", "allowedRoles": ["ANALYST"],
            "credentials": {"mode": "KeyPair", "keyPair": {"user": "U", "privateKeyRef": {"name": "key"}}},
        })),
    ));
    insta::assert_snapshot!(lines(&problems));
}

#[test]
fn the_samples_have_no_problem() {
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples");
    let read = |name: &str| std::fs::read_to_string(samples.join(name)).unwrap();
    let connection: SnowflakeConnection = serde_yaml::from_str(&read("connection.yaml")).unwrap();
    assert_eq!(check::connection(&connection), []);
    let text = read("policy.yaml");
    let (_, document) = text.split_once("\n---\n").unwrap();
    let policy: AccessPolicy = serde_yaml::from_str(document).unwrap();
    assert_eq!(check::policy(&policy), []);
    assert_eq!(check::policy_with_connection(&policy, &connection), []);
}
