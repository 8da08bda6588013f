//! ApprovalRequest: counts those that wait, and removes the closed ones once the ledger holds how they ended.
//!
//! Deciding, expiring and recording is the work of [`crate::proxies::approvals`], which the laptop shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crds::ApprovalRequest;
use crds::approval_request::Phase;
use crds::conditions;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::runtime::Controller;
use kube::runtime::controller::Action;
use tokio_util::sync::CancellationToken;

use super::{Context, Error, all, drive};
use crate::telemetry::OutcomeLabel;

/// How soon a closed request that is not recorded yet is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Runs the controller until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let api = Api::<ApprovalRequest>::all(context.client.clone());
    let seen = Arc::new(Mutex::new(HashMap::new()));
    drive(Controller::new(api, all()), "ApprovalRequest", context, stop, move |object, context| {
        count(&seen, &object, &context);
        reconcile(object, context)
    })
    .await;
}

/// Counts a request when it is seen to leave `Pending`.
fn count(seen: &Mutex<HashMap<String, Phase>>, request: &ApprovalRequest, context: &Context) {
    let uid = request.uid().unwrap_or_default();
    let phase = request.phase();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.insert(uid.clone(), phase) == Some(Phase::Pending) && phase != Phase::Pending {
        let outcome = match phase {
            Phase::Approved => "Approved",
            Phase::Denied => "Denied",
            Phase::Expired => "Expired",
            Phase::Withdrawn | Phase::Pending => "Withdrawn",
        };
        context.metrics.approvals.get_or_create(&OutcomeLabel { outcome }).inc();
        if let Some(took) = took(request) {
            context.metrics.approval_seconds.observe(took.as_secs_f64());
        }
    }
    if request.metadata.deletion_timestamp.is_some() {
        seen.remove(&uid);
    }
    let pending = seen.values().filter(|phase| **phase == Phase::Pending).count();
    context.metrics.approvals_pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
}

fn took(request: &ApprovalRequest) -> Option<SignedDuration> {
    let closed = request.status.as_ref()?.closed_at.as_ref()?.0;
    Some(closed.duration_since(request.metadata.creation_timestamp.as_ref()?.0))
}

async fn reconcile(request: Arc<ApprovalRequest>, context: Arc<Context>) -> Result<Action, Error> {
    match due(&request, context.config.request_retention, Timestamp::now()) {
        Due::Never => Ok(Action::await_change()),
        Due::In(wait) => Ok(Action::requeue(wait)),
        Due::Now => {
            let api = Api::<ApprovalRequest>::namespaced(
                context.client.clone(),
                &request.namespace().unwrap_or_default(),
            );
            // This very request, not one that has its name since.
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: request.uid(),
                    resource_version: request.resource_version(),
                }),
                ..Default::default()
            };
            match api.delete(&request.name_any(), &params).await {
                Ok(_) => Ok(Action::await_change()),
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    Ok(Action::await_change())
                }
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// When a request may go.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// Not before something changes.
    Never,
    /// Not before that time.
    In(Duration),
    /// Now.
    Now,
}

/// Pure: closed, recorded, and kept as long as asked for.
fn due(request: &ApprovalRequest, retention: Duration, now: Timestamp) -> Due {
    if request.phase() == Phase::Pending || request.metadata.deletion_timestamp.is_some() {
        return Due::Never;
    }
    let status = request.status.as_ref();
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let recorded = conditions::find(conditions, conditions::RECORDED)
        .is_some_and(|condition| condition.status == "True");
    if !recorded {
        return Due::In(LOOK_AGAIN);
    }
    let closed = status.and_then(|status| status.closed_at.as_ref()).map_or(now, |time| time.0);
    let age = Duration::try_from(now.duration_since(closed)).unwrap_or_default();
    match retention.checked_sub(age) {
        Some(left) if !left.is_zero() => Due::In(left),
        _ => Due::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_goes_only_when_it_is_closed_recorded_and_old() {
        let now: Timestamp = "2026-01-08T00:00:00Z".parse().unwrap();
        let week = Duration::from_secs(7 * 24 * 3600);
        let recorded = json!([{"type": "Recorded", "status": "True", "reason": "InLedger", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        for (case, status, expected) in [
            ("pending", json!({"phase": "Pending"}), Due::Never),
            (
                "not recorded",
                json!({"phase": "Denied", "closedAt": "2025-01-01T00:00:00Z"}),
                Due::In(LOOK_AGAIN),
            ),
            (
                "young",
                json!({"phase": "Denied", "closedAt": "2026-01-07T00:00:00Z", "conditions": recorded}),
                Due::In(week - Duration::from_secs(24 * 3600)),
            ),
            (
                "old",
                json!({"phase": "Approved", "closedAt": "2026-01-01T00:00:00Z", "conditions": recorded}),
                Due::Now,
            ),
        ] {
            let request: ApprovalRequest = serde_json::from_value(json!({
                "apiVersion": "frostgate.dev/v1alpha1", "kind": "ApprovalRequest",
                "metadata": {"name": "a", "namespace": "n"},
                "spec": {
                    "requester": {"workload": {"kind": "Pod", "name": "p", "pod": "p", "podUID": "u", "serviceAccount": "s"}},
                    "connectionRef": {"name": "c"}, "policyRefs": [], "policyHash": "", "session": "s",
                    "statementId": "t", "requestId": "r", "statement": {"sql": "", "digest": ""},
                    "effects": {}, "context": {"role": "R"}, "expiresAt": "2026-01-01T00:00:00Z",
                },
                "status": status,
            }))
            .unwrap();
            assert_eq!(due(&request, week, now), expected, "{case}");
        }
    }
}
