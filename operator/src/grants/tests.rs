//! Decisions and what they come to, as a table.

use crds::access_policy::{Approvers, ConnectionRef};
use crds::approval_request::{
    ApprovalRequestSpec, ApprovalRequestStatus, Context, Effects, OnBehalfOf, Requester, Statement,
    Workload,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;

const CREATED: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(CREATED + second).unwrap()
}

fn rule(name: &str, approvers: Approvers) -> PolicyRef {
    PolicyRef {
        name: name.into(),
        rule: "deletes".into(),
        generation: 1,
        approvers,
        grant_seconds: 300,
    }
}

fn request(rules: Vec<PolicyRef>, human: Option<&str>) -> ApprovalRequest {
    let mut request = ApprovalRequest::new(
        "apr-x",
        ApprovalRequestSpec {
            requester: Requester {
                workload: Workload::default(),
                on_behalf_of: human.map(|name| OnBehalfOf {
                    username: (!name.is_empty()).then(|| name.to_owned()),
                    ..OnBehalfOf::default()
                }),
            },
            connection_ref: ConnectionRef { name: "c".into(), namespace: None },
            policy_refs: rules,
            policy_hash: String::new(),
            session: "s".into(),
            statement_id: "t".into(),
            request_id: "r".into(),
            statement: Statement { digest: "d".into(), ..Statement::default() },
            effects: Effects::default(),
            context: Context::default(),
            intent: None,
            expires_at: Time(at(600)),
        },
    );
    request.metadata.namespace = Some("agents".into());
    request.metadata.uid = Some("uid".into());
    request.status = Some(ApprovalRequestStatus::default());
    request
}

/// `+bob` approves and `-bob` denies, in group `stewards` with `bob/stewards`, a second apart.
fn decided(mut request: ApprovalRequest, decisions: &[&str], begin: i64) -> ApprovalRequest {
    let satisfies: Vec<String> = request.spec.policy_refs.iter().map(PolicyRef::id).collect();
    let status = request.status.as_mut().unwrap();
    for (index, text) in decisions.iter().enumerate() {
        let (verdict, name) = match text.split_at(1) {
            ("+", name) => (Choice::Approved, name),
            (_, name) => (Choice::Denied, name),
        };
        let (approver, group) = name.split_once('/').unwrap_or((name, ""));
        status.decisions.push(Decision {
            approver: approver.into(),
            groups: vec![group.into()],
            verdict,
            reason: "because".into(),
            time: Time(at(begin + i64::try_from(index).unwrap())),
            satisfies: satisfies.clone(),
        });
    }
    request
}

fn word(standing: &Standing) -> String {
    match standing {
        Standing::Pending { votes } => format!("pending {votes}"),
        Standing::Approved { votes, grant } => {
            let names: Vec<_> = grant.approvers.iter().map(|a| a.name.as_str()).collect();
            format!("approved {votes} by {}", names.join(","))
        }
        Standing::Denied { by, .. } => format!("denied by {}", by.name),
        Standing::Expired => "expired".into(),
        Standing::Withdrawn => "withdrawn".into(),
    }
}

fn approvers(groups: &[&str], min_approvals: u32, distinct_from_requester: bool) -> Approvers {
    Approvers {
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        min_approvals,
        distinct_from_requester,
    }
}

#[test]
fn decisions_come_to_what_the_rules_say() {
    let one = || vec![rule("p", approvers(&[], 1, true))];
    let two = || vec![rule("p", approvers(&[], 2, true))];
    let steward = || vec![rule("p", approvers(&["stewards"], 1, true))];
    let lenient = || vec![rule("p", approvers(&[], 1, false))];
    let both = || {
        vec![
            rule("p", approvers(&["stewards"], 1, true)),
            rule("q", approvers(&["owners"], 1, true)),
        ]
    };
    for (rules, human, decisions, expected) in [
        (one(), None, vec![], "pending 0/1"),
        (one(), None, vec!["+bob"], "approved 1/1 by bob"),
        (one(), None, vec!["-bob"], "denied by bob"),
        (one(), None, vec!["+bob", "-carol"], "approved 1/1 by bob"),
        (two(), None, vec!["+bob"], "pending 1/2"),
        (two(), None, vec!["+bob", "+bob"], "pending 1/2"),
        (two(), None, vec!["+bob", "+carol"], "approved 2/2 by bob,carol"),
        (two(), None, vec!["+bob", "-carol", "+dan"], "denied by carol"),
        (steward(), None, vec!["+bob"], "pending 0/1"),
        (steward(), None, vec!["+bob/stewards"], "approved 1/1 by bob"),
        (steward(), None, vec!["+eve/Stewards", "+bob/stewards"], "approved 1/1 by bob"),
        (both(), None, vec!["+bob/stewards"], "pending 1/2"),
        (both(), None, vec!["+bob/stewards", "+olga/owners"], "approved 2/2 by bob,olga"),
        (one(), Some("alice"), vec!["+alice"], "pending 0/1"),
        (one(), Some("alice"), vec!["+alice", "+bob"], "approved 1/1 by bob"),
        (one(), Some(""), vec!["+bob"], "pending 0/1"),
        (lenient(), Some("alice"), vec!["+alice"], "approved 1/1 by alice"),
        (one(), None, vec!["+system:serviceaccount:agents:bot"], "pending 0/1"),
        (one(), None, vec!["+system:admin", "-system:node:n"], "pending 0/1"),
        (one(), None, vec!["+"], "pending 0/1"),
        (vec![], None, vec!["+bob"], "pending 0/0"),
    ] {
        let request = decided(request(rules, human), &decisions, 10);
        assert_eq!(word(&count(&request, at(100))), expected, "{human:?} {decisions:?}");
    }
}

#[test]
fn a_decision_counts_only_for_the_rules_it_may_satisfy() {
    let rules = vec![rule("p", approvers(&[], 1, true)), rule("q", approvers(&[], 1, true))];
    let mut request = decided(request(rules, None), &["+bob"], 10);
    let status = request.status.as_mut().unwrap();
    status.decisions[0].satisfies = vec!["p/deletes".into()];
    assert_eq!(word(&count(&request, at(100))), "pending 1/2");
    let status = request.status.as_mut().unwrap();
    status.decisions[0].satisfies = vec![];
    assert_eq!(word(&count(&request, at(100))), "pending 0/2");
}

#[test]
fn what_comes_too_late_does_not_count() {
    let waiting = || request(vec![rule("p", approvers(&[], 1, true))], None);
    assert_eq!(word(&count(&waiting(), at(599))), "pending 0/1");
    assert_eq!(word(&count(&waiting(), at(600))), "expired");
    assert_eq!(word(&count(&decided(waiting(), &["+bob"], 600), at(601))), "expired");
    assert_eq!(word(&count(&decided(waiting(), &["+bob"], 599), at(601))), "approved 1/1 by bob");
}

#[test]
fn what_is_closed_stays_closed() {
    for (phase, expected) in [(Phase::Withdrawn, "withdrawn"), (Phase::Expired, "expired")] {
        let mut request =
            decided(request(vec![rule("p", approvers(&[], 1, true))], None), &["+bob"], 10);
        request.status.as_mut().unwrap().phase = phase;
        assert_eq!(word(&count(&request, at(20))), expected);
    }
    let mut forged = request(vec![rule("p", approvers(&[], 1, true))], None);
    forged.status.as_mut().unwrap().phase = Phase::Approved;
    assert_eq!(word(&count(&forged, at(20))), "pending 0/1", "a phase is no decision");
}

#[test]
fn a_grant_is_bound_and_ends_by_the_shortest_rule() {
    let mut rules = vec![rule("p", approvers(&[], 1, true)), rule("q", approvers(&[], 2, true))];
    rules[1].grant_seconds = 60;
    let request = decided(request(rules, None), &["+bob", "+carol", "+dan"], 10);
    let (first, again) = (count(&request, at(20)), count(&request, at(400)));
    assert_eq!(first, again, "counting again, after a restart, gives the same grant");
    let Standing::Approved { grant, .. } = first else { panic!("{first:?}") };
    assert_eq!(grant.expires_at_ms, (CREATED + 11 + 60) * 1000);
    insta::assert_json_snapshot!(grant);
}
