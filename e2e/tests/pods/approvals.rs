//! Statements that wait for a human.

use std::process::Child;
use std::time::Duration;

use e2e::agent::{Agent, Driver, answer};
use e2e::evidence::Evidence;
use e2e::kubectl::{Answer, apply, get, kubectl_as, token};
use e2e::world::World;
use e2e::{account, eventually};
use serde_json::{Value, json};

/// A world in which these humans may decide, others may only look, and a table that nobody else counts on.
fn world(name: &str, approvers: &[&str]) -> (World, Agent) {
    let world = World::new(name);
    let table = format!("SCRATCH_{}", name.replace('-', "_").to_uppercase());
    account::seed(&format!(
        "CREATE OR REPLACE TABLE DEMO.PUBLIC.{table} AS SELECT ID, NAME FROM DEMO.PUBLIC.CUSTOMERS; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE DEMO.PUBLIC.{table} TO ROLE STEWARD; \
         GRANT REFERENCES ON TABLE DEMO.PUBLIC.{table} TO ROLE FROSTGATE_CATALOG"
    ));
    let rbac = format!(
        r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: approver, namespace: {ns}}}
rules:
- {{apiGroups: [frostgate.dev], resources: [approvalrequests], verbs: [get, list, watch]}}
- {{apiGroups: [frostgate.dev], resources: [approvalrequests/status], verbs: [get, patch]}}
- {{apiGroups: [frostgate.dev], resources: [accesspolicies], resourceNames: [support-agents], verbs: [approve]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: approvers, namespace: {ns}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: approver}}
subjects:SUBJECTS
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: looker, namespace: {ns}}}
rules:
- {{apiGroups: [frostgate.dev], resources: [approvalrequests], verbs: [get, list, watch]}}
- {{apiGroups: [frostgate.dev], resources: [approvalrequests/status], verbs: [get, patch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: lookers, namespace: {ns}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: looker}}
subjects:
- {{kind: Group, apiGroup: rbac.authorization.k8s.io, name: data-stewards}}
- {{kind: Group, apiGroup: rbac.authorization.k8s.io, name: developers}}
- {{kind: ServiceAccount, name: default, namespace: {ns}}}
"#,
        ns = world.namespace
    );
    let rbac = rbac.replace("subjects:SUBJECTS", &format!("subjects:{}", subjects(approvers)));
    assert!(apply(&rbac).ok);
    let agent = world.agent(Driver::Python5);
    (world, agent)
}

fn subjects(humans: &[&str]) -> String {
    let subject = |human| {
        format!(
            "\n- {{kind: User, apiGroup: rbac.authorization.k8s.io, name: {human}@example.com}}"
        )
    };
    humans.iter().map(subject).collect()
}

/// Starts a DELETE without WHERE; returns it with the request that holds it.
fn held(world: &World, agent: &Agent, driver: Driver, mut task: Value) -> (Child, String) {
    let table = format!(
        "SCRATCH_{}",
        world.namespace.trim_start_matches("e2e-").replace('-', "_").to_uppercase()
    );
    task["sql"] = json!(format!("DELETE FROM {table}"));
    let child = agent.start(driver, &task);
    let name = eventually("the request", Duration::from_secs(60), || {
        let pending = get(&[
            "approvalrequests",
            "-n",
            &world.namespace,
            "--field-selector",
            "status.phase=Pending",
        ]);
        pending
            .pointer("/items/0/metadata/name")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .ok_or(pending.to_string())
    });
    (child, name)
}

fn deletes(world: &World) -> usize {
    let table = format!(
        "SCRATCH_{}",
        world.namespace.trim_start_matches("e2e-").replace('-', "_").to_uppercase()
    );
    account::statements(&format!("DELETE FROM {table}")).len()
}

fn decide(human: &str, world: &World, name: &str, decision: &str, reason: &str) -> Answer {
    let patch = json!({"status": {"decision": decision, "reason": reason}}).to_string();
    let words = [
        "patch",
        "approvalrequest",
        name,
        "-n",
        &world.namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    kubectl_as(human, &words)
}

#[test]
fn a_delete_without_where_waits_and_runs_exactly_once_when_approved() {
    let (world, agent) = world("approved", &["bob", "carol"]);
    let (child, name) = held(&world, &agent, Driver::Python5, json!({}));
    assert_eq!(deletes(&world), 0, "nothing ran yet");
    let listed = kubectl_as("bob", &["get", "approvalrequests", "-n", &world.namespace]).out;
    for part in ["agent", "Delete", "DEMO.PUBLIC.SCRATCH_APPROVED", "Pending"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let request = get(&["approvalrequest", "-n", &world.namespace, &name]);
    assert!(request["spec"]["expiresAt"].is_string(), "{request}");

    let patched = decide("bob", &world, &name, "Approved", "INC-88");
    assert!(patched.ok, "{}", patched.err);
    let reply = answer(child);
    assert_eq!(reply["ok"], true, "{reply}");
    assert_eq!(deletes(&world), 1);
    let request = get(&["approvalrequest", "-n", &world.namespace, &name]);
    let decision = &request["status"]["decisions"][0];
    assert_eq!(decision["approver"], "bob@example.com", "{request}");
    assert_eq!(decision["reason"], "INC-88", "{request}");

    let line = Evidence::of(&name).line(&name);
    assert_eq!(line["decision"], "Hold", "{line}");
    assert_eq!(line["approval"], "Approved", "{line}");
    assert_eq!(line["approvedBy"], json!(["bob@example.com"]), "{line}");
    assert_eq!(line["approvalReason"], json!(["INC-88"]), "{line}");
    assert!(line["approvedAt"][0].is_string(), "{line}");
    assert_eq!(line["approvalRequest"], json!(format!("{}/{name}", world.namespace)), "{line}");
    assert_eq!(line["outcome"], "Completed", "{line}");
}

#[test]
fn denied_and_cancelled_statements_end_in_one_error_and_never_run() {
    let (world, agent) = world("denied", &["bob", "carol"]);
    let (child, name) = held(&world, &agent, Driver::Python5, json!({}));
    assert!(decide("carol", &world, &name, "Denied", "not on a Friday").ok);
    let reply = answer(child);
    let message = reply["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("FG-3002") && message.contains("not on a Friday"), "{reply}");

    // The driver's own limit: it aborts the statement, which withdraws the request.
    let (child, name) = held(&world, &agent, Driver::Python4, json!({"seconds": 5}));
    let reply = answer(child);
    assert_eq!(reply["ok"], false, "{reply}");
    eventually("the withdrawal", Duration::from_secs(20), || {
        let request = get(&["approvalrequest", "-n", &world.namespace, &name]);
        (request["status"]["phase"] == "Withdrawn")
            .then_some(())
            .ok_or(request["status"].to_string())
    });
    assert!(!decide("bob", &world, &name, "Approved", "too late").ok);
    assert_eq!(deletes(&world), 0);
}

#[test]
fn a_request_that_nobody_decides_expires_and_never_runs() {
    let (world, agent) = world("expired", &["bob", "carol"]);
    let short = r#"[{"op":"replace","path":"/spec/approvals/0/pendingTTL","value":"10s"}]"#;
    assert!(
        world.kubectl(&["patch", "accesspolicy", "support-agents", "--type=json", "-p", short]).ok
    );
    std::thread::sleep(Duration::from_secs(5));
    let (child, _) = held(&world, &agent, Driver::Python5, json!({}));
    let reply = answer(child);
    assert!(reply["message"].as_str().unwrap_or_default().contains("FG-3003"), "{reply}");
    assert_eq!(deletes(&world), 0);
}

#[test]
fn a_wait_goes_on_under_the_same_request_when_the_operator_restarts() {
    let (world, agent) = world("restart", &["bob", "carol"]);
    let (child, name) = held(&world, &agent, Driver::Python5, json!({}));
    let restarted = e2e::kubectl::kubectl(&[
        "rollout",
        "restart",
        "-n",
        "frostgate-system",
        "deployment/frostgate-operator",
    ]);
    assert!(restarted.ok, "{}", restarted.err);
    let words = [
        "rollout",
        "status",
        "-n",
        "frostgate-system",
        "deployment/frostgate-operator",
        "--timeout=120s",
    ];
    let status = e2e::kubectl::kubectl(&words);
    assert!(status.ok, "{}{}", status.out, status.err);
    eventually("a decision", Duration::from_secs(30), || {
        let patched = decide("bob", &world, &name, "Approved", "after the restart");
        if patched.ok { Ok(()) } else { Err(patched.err) }
    });
    let reply = answer(child);
    assert_eq!(reply["ok"], true, "{reply}");
    assert_eq!(deletes(&world), 1);
    let all = get(&["approvalrequests", "-n", &world.namespace]);
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "{all}");
}

#[test]
fn only_those_who_may_decide_do_and_nothing_else_opens_the_gate() {
    let (world, agent) = world("forged", &["bob"]);
    let (child, name) = held(&world, &agent, Driver::Python5, json!({}));
    // Not allowed to approve under this policy.
    for (human, why) in [("carol", "approve"), ("dave", "data-stewards")] {
        let refused = decide(human, &world, &name, "Approved", "I may not");
        assert!(!refused.ok && refused.err.contains(why), "{human}: {}", refused.err);
    }
    // A decision that was not stamped.
    let forged = json!({"status": {"decisions": [{
        "approver": "bob@example.com", "groups": ["data-stewards"], "verdict": "Approved", "reason": "",
        "time": "2026-01-01T00:00:00Z", "satisfies": ["support-agents/delete-without-where"],
    }]}})
    .to_string();
    let patch = |human: &str, body: &str, status: bool| {
        let mut words = vec![
            "patch",
            "approvalrequest",
            &name,
            "-n",
            &world.namespace,
            "--type=merge",
            "-p",
            body,
        ];
        if status {
            words.push("--subresource=status");
        }
        kubectl_as(human, &words)
    };
    assert!(!patch("dave", &forged, true).ok);
    assert!(!patch("bob", &forged, true).ok);
    assert!(!patch("bob", r#"{"status":{"phase":"Approved"}}"#, true).ok);
    assert!(!patch("admin", r#"{"spec":{"statement":{"sql":"SELECT 1"}}}"#, false).ok);
    // The agent's own ServiceAccount, which somebody gave the right to patch.
    let account = format!("system:serviceaccount:{}:default", world.namespace);
    let body = json!({"status": {"decision": "Approved"}}).to_string();
    let words = [
        "--as",
        &account,
        "patch",
        "approvalrequest",
        &name,
        "-n",
        &world.namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        &body,
    ];
    assert!(!kubectl_as("admin", &words).ok);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(deletes(&world), 0, "none of it ran the statement");
    assert!(decide("bob", &world, &name, "Denied", "enough").ok);
    assert_eq!(answer(child)["ok"], false);
}

#[test]
fn whoever_asks_through_an_agent_does_not_approve() {
    let (world, agent) = world("own", &["bob", "carol"]);
    let connect =
        json!({"authenticator": "oauth", "token": token(&["carol", "agent"]), "user": "agent"});
    let (child, name) = held(&world, &agent, Driver::Python5, json!({"connect": connect}));
    let refused = decide("carol", &world, &name, "Approved", "it was me who asked");
    assert!(!refused.ok && refused.err.contains("asked"), "{}", refused.err);
    assert_eq!(deletes(&world), 0);
    let decided = decide("bob", &world, &name, "Approved", "somebody else looked");
    assert!(decided.ok, "{}", decided.err);
    let reply = answer(child);
    assert_eq!(reply["ok"], true, "{reply}");
    assert_eq!(deletes(&world), 1);
}
