//! Who decides what, as a table.

use std::collections::BTreeSet;

use super::*;

/// May approve the policies listed.
struct Holds(BTreeSet<(&'static str, &'static str)>);

#[async_trait]
impl Rights for Holds {
    async fn may_approve(&self, user: &UserInfo, _: &str, policy: &str) -> Result<bool, String> {
        Ok(self.0.contains(&(username(user), policy)))
    }
}

fn rights() -> Holds {
    Holds(BTreeSet::from([
        ("bob", "support"),
        ("bob", "finance"),
        ("carol", "support"),
        ("alice", "support"),
    ]))
}

fn request(status: Value) -> Value {
    let mut request = json!({
        "apiVersion": "frostgate.dev/v1alpha1", "kind": "ApprovalRequest",
        "metadata": {"name": "apr-1", "namespace": "agents", "generation": 1},
        "spec": {
            "requester": {
                "workload": {"kind": "Deployment", "name": "bot", "pod": "bot-1", "podUID": "u", "serviceAccount": "bot"},
                "onBehalfOf": {"issuer": "https://idp", "subject": "a", "username": "alice"},
            },
            "connectionRef": {"name": "prod"},
            "policyRefs": [
                {"name": "support", "rule": "writes", "generation": 1, "grantSeconds": 600, "approvers": {"groups": ["stewards"], "minApprovals": 1, "distinctFromRequester": true}},
                {"name": "finance", "rule": "ddl", "generation": 1, "grantSeconds": 600},
            ],
            "policyHash": "h", "session": "s", "statementId": "st", "requestId": "r",
            "statement": {"sql": "DELETE FROM T", "digest": "0".repeat(64)},
            "effects": {}, "context": {"role": "R"}, "expiresAt": "2026-01-01T00:10:00Z",
        },
    });
    request["status"] = status;
    request
}

fn review(user: &str, groups: &[&str], old: Value, status: Value) -> Review {
    let mut object = old.clone();
    object["status"] = status;
    let mut review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "1", "operation": "UPDATE", "namespace": "agents", "name": "apr-1", "subResource": "status",
            "kind": {"group": "frostgate.dev", "version": "v1alpha1", "kind": "ApprovalRequest"},
            "resource": {"group": "frostgate.dev", "version": "v1alpha1", "resource": "approvalrequests"},
            "userInfo": {"username": user, "groups": groups}, "object": object, "dryRun": false,
        },
    });
    review["request"]["oldObject"] = old;
    serde_json::from_value::<AdmissionReview<DynamicObject>>(review).unwrap().try_into().unwrap()
}

use kube::core::admission::AdmissionReview;

async fn answer(review: &Review) -> Answer {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    decide(&rights(), &Metrics::default(), review, now).await
}

fn pending() -> Value {
    request(json!({"phase": "Pending"}))
}

#[tokio::test]
async fn a_decision_is_stamped_with_who_it_was_and_what_it_satisfies() {
    let old = pending();
    let status = json!({"phase": "Pending", "decision": "Approved", "reason": "INC-88"});
    let review = review("bob", &["stewards", "devs"], old.clone(), status.clone());
    let admitted = answer(&review).await.unwrap();
    assert!(admitted.warnings.is_empty());
    let mut after = old;
    after["status"] = status;
    json_patch::patch(&mut after, &admitted.patch).unwrap();
    insta::assert_json_snapshot!(after["status"], @r#"
    {
      "decisions": [
        {
          "approver": "bob",
          "groups": [
            "stewards",
            "devs"
          ],
          "reason": "INC-88",
          "satisfies": [
            "support/writes",
            "finance/ddl"
          ],
          "time": "2026-01-01T00:00:00Z",
          "verdict": "Approved"
        }
      ],
      "phase": "Pending"
    }
    "#);
}

#[tokio::test]
async fn who_may_not_decide_is_told_why() {
    let approve = || json!({"phase": "Pending", "decision": "Approved"});
    let decided = json!([{
        "approver": "bob", "groups": [], "verdict": "Approved", "reason": "", "time": "2026-01-01T00:00:00Z",
        "satisfies": ["finance/ddl"],
    }]);
    let mut terminating = pending();
    terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut expired = pending();
    expired["spec"]["expiresAt"] = json!("2026-01-01T00:00:00Z");
    let mut unmapped = pending();
    unmapped["spec"]["requester"]["onBehalfOf"] = json!({"issuer": "https://idp", "subject": "a"});
    let once = request(json!({"phase": "Pending", "decisions": decided}));
    let cases = [
        ("the requester", review("alice", &["stewards"], pending(), approve())),
        ("no right and no group", review("eve", &[], pending(), approve())),
        ("a right but not the group", review("carol", &[], pending(), approve())),
        ("requester not mapped", review("carol", &["stewards"], unmapped, approve())),
        (
            "a service account",
            review("system:serviceaccount:agents:bot", &[], pending(), approve()),
        ),
        ("a node", review("system:node:n1", &[], pending(), approve())),
        ("the system's admin", review("system:admin", &["system:masters"], pending(), approve())),
        ("nobody", review("", &[], pending(), approve())),
        (
            "a forged entry",
            review(
                "bob",
                &["stewards"],
                pending(),
                json!({"phase": "Pending", "decision": "Approved", "decisions": [{"approver": "carol"}]}),
            ),
        ),
        ("a phase alone", review("bob", &["stewards"], pending(), json!({"phase": "Approved"}))),
        (
            "a phase beside a decision",
            review(
                "bob",
                &["stewards"],
                pending(),
                json!({"phase": "Approved", "decision": "Approved"}),
            ),
        ),
        (
            "a condition",
            review(
                "bob",
                &["stewards"],
                pending(),
                json!({"phase": "Pending", "decision": "Approved", "conditions": [{"type": "Approved"}]}),
            ),
        ),
        (
            "erasing decisions",
            review(
                "carol",
                &["stewards"],
                once.clone(),
                json!({"phase": "Pending", "decision": "Denied", "decisions": []}),
            ),
        ),
        ("status null", review("bob", &["stewards"], once.clone(), Value::Null)),
        (
            "twice",
            review(
                "bob",
                &["stewards"],
                once.clone(),
                json!({"phase": "Pending", "decision": "Denied", "decisions": once["status"]["decisions"]}),
            ),
        ),
        (
            "another word",
            review(
                "bob",
                &["stewards"],
                pending(),
                json!({"phase": "Pending", "decision": "Maybe"}),
            ),
        ),
        (
            "an empty word",
            review("bob", &["stewards"], pending(), json!({"phase": "Pending", "decision": ""})),
        ),
        (
            "a reason alone",
            review("bob", &["stewards"], pending(), json!({"phase": "Pending", "reason": "x"})),
        ),
        (
            "a long reason",
            review(
                "bob",
                &["stewards"],
                pending(),
                json!({"phase": "Pending", "decision": "Approved", "reason": "x".repeat(1025)}),
            ),
        ),
        (
            "closed",
            review(
                "bob",
                &["stewards"],
                request(json!({"phase": "Denied"})),
                json!({"phase": "Denied", "decision": "Approved"}),
            ),
        ),
        ("expired", review("bob", &["stewards"], expired, approve())),
        ("being deleted", review("bob", &["stewards"], terminating, approve())),
    ];
    let mut table = Vec::new();
    for (case, review) in cases {
        let denial = answer(&review).await.expect_err(case);
        table.push(format!("{case}: {} {}: {}", denial.code, denial.reason, denial.message));
    }
    insta::assert_snapshot!(table.join("\n"));
}

#[tokio::test]
async fn stamping_twice_gives_the_same() {
    let status = json!({"phase": "Pending", "decision": "Denied"});
    let review = review("bob", &["stewards"], pending(), status);
    assert_eq!(answer(&review).await.unwrap(), answer(&review).await.unwrap());
}
