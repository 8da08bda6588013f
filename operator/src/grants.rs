//! From humans' decisions to a grant: counts, and says what is to be signed.
//!
//! Pure: the request and the time come in, what to make of them comes out. Admission has checked every decision
//! already; all of it is checked here again, because whoever can write to the API server's store can write decisions.

use std::collections::BTreeSet;

use control::{Approver, Grant};
use crds::ApprovalRequest;
use crds::approval_request::{Choice, Decision, Phase, PolicyRef};
use jiff::Timestamp;
use kube::ResourceExt as _;

/// Where a request stands by its decisions and the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Too few decided.
    Pending {
        /// Approvals there are and approvals needed, such as `1/2`.
        votes: String,
    },
    /// Every rule has its quorum.
    Approved {
        /// Approvals there are and approvals needed.
        votes: String,
        /// What is to be signed.
        grant: Box<Grant>,
    },
    /// Somebody who may decide said no.
    Denied {
        /// Approvals there are and approvals needed.
        votes: String,
        /// Who.
        by: Approver,
    },
    /// Nobody decided in time.
    Expired,
    /// The asker gave up.
    Withdrawn,
}

/// Counts the decisions, in the order in which they were made, until they settle the request. What came after
/// that, or too late, changes nothing.
#[must_use]
pub fn count(request: &ApprovalRequest, now: Timestamp) -> Standing {
    match request.phase() {
        Phase::Withdrawn => return Standing::Withdrawn,
        Phase::Expired => return Standing::Expired,
        Phase::Pending | Phase::Approved | Phase::Denied => {}
    }
    let decisions = request.status.as_ref().map(|status| status.decisions.as_slice());
    let expires = request.spec.expires_at.0;
    let timely: Vec<&Decision> = decisions
        .unwrap_or_default()
        .iter()
        .filter(|decision| decision.time.0 < expires && may_decide(decision))
        .collect();
    for (index, last) in timely.iter().enumerate() {
        let so_far = &timely[..=index];
        if last.verdict == Choice::Denied {
            return Standing::Denied { votes: votes(request, so_far), by: approver(last) };
        }
        if let Some(grant) = approved(request, so_far) {
            return Standing::Approved { votes: votes(request, so_far), grant: Box::new(grant) };
        }
    }
    if now >= expires {
        return Standing::Expired;
    }
    Standing::Pending { votes: votes(request, &timely) }
}

/// Service accounts, nodes and the system's own users never decide.
fn may_decide(decision: &Decision) -> bool {
    !decision.approver.is_empty()
        && !decision.approver.starts_with("system:")
        && !decision.satisfies.is_empty()
}

/// The grant, once every rule has as many different approvers as it wants.
fn approved(request: &ApprovalRequest, timely: &[&Decision]) -> Option<Grant> {
    let spec = &request.spec;
    if spec.policy_refs.is_empty() {
        return None;
    }
    let satisfied = spec
        .policy_refs
        .iter()
        .all(|rule| approvers_of(request, rule, timely).len() >= needed(rule));
    if !satisfied {
        return None;
    }
    let counted: Vec<&&Decision> = timely
        .iter()
        .filter(|decision| {
            spec.policy_refs.iter().any(|rule| {
                approvers_of(request, rule, timely).contains(decision.approver.as_str())
            })
        })
        .collect();
    let last = counted.iter().map(|decision| decision.time.0).max()?;
    let seconds = spec.policy_refs.iter().map(|rule| rule.grant_seconds).min()?;
    Some(Grant {
        request: format!("{}/{}", request.namespace().unwrap_or_default(), request.name_any()),
        request_uid: request.uid().unwrap_or_default(),
        session: spec.session.clone(),
        statement: spec.statement_id.clone(),
        digest: spec.statement.digest.clone(),
        approvers: counted.into_iter().map(|decision| approver(decision)).collect(),
        uses: 1,
        expires_at_ms: last.as_millisecond().saturating_add(seconds.saturating_mul(1000)),
    })
}

/// The different people whose approval counts for the rule.
fn approvers_of<'a>(
    request: &ApprovalRequest,
    rule: &PolicyRef,
    timely: &[&'a Decision],
) -> BTreeSet<&'a str> {
    let human = request.spec.requester.on_behalf_of.as_ref();
    timely
        .iter()
        .filter(|decision| {
            let asked = match human {
                Some(human) if rule.approvers.distinct_from_requester => {
                    // Without a user name nobody can tell whether the approver is the one who asked.
                    human.username.as_deref().is_none_or(|name| name == decision.approver)
                }
                _ => false,
            };
            let groups = &rule.approvers.groups;
            decision.verdict == Choice::Approved
                && decision.satisfies.contains(&rule.id())
                && !asked
                && (groups.is_empty() || groups.iter().any(|group| decision.groups.contains(group)))
        })
        .map(|decision| decision.approver.as_str())
        .collect()
}

/// Approvals there are of those needed, over all rules: one person may serve several.
fn votes(request: &ApprovalRequest, timely: &[&Decision]) -> String {
    let (mut there, mut wanted) = (0, 0);
    for rule in &request.spec.policy_refs {
        there += approvers_of(request, rule, timely).len().min(needed(rule));
        wanted += needed(rule);
    }
    format!("{there}/{wanted}")
}

fn needed(rule: &PolicyRef) -> usize {
    usize::try_from(rule.approvers.min_approvals.max(1)).unwrap_or(usize::MAX)
}

fn approver(decision: &Decision) -> Approver {
    Approver {
        name: decision.approver.clone(),
        reason: decision.reason.clone(),
        at_ms: decision.time.0.as_millisecond(),
    }
}

#[cfg(test)]
mod tests;
