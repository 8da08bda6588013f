//! A human's decision: moved from the inbox `status.decision` to `status.decisions[]`, stamped with who it was.
//!
//! Pure but for the question who may approve: the API server calls again when two people decide at once, so nothing
//! may be counted or kept here. What this door lets through, the admission policies of the chart check once more.

use async_trait::async_trait;
use crds::ApprovalRequest;
use crds::approval_request::{Choice, Decision, PolicyRef};
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation};
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{Admitted, Answer, Denial, Review, username};
use crate::telemetry::Metrics;

/// Asks the API server who may do what.
#[async_trait]
pub trait Rights: Send + Sync {
    /// Whether `user` holds verb `approve` on the AccessPolicy.
    ///
    /// # Errors
    /// A sentence for the user when that could not be found out.
    async fn may_approve(
        &self,
        user: &UserInfo,
        namespace: &str,
        policy: &str,
    ) -> Result<bool, String>;
}

/// Answers for one write of a request's status by somebody who is not the operator.
///
/// # Errors
/// Why the write is no decision, or not theirs to make.
pub async fn decide(
    rights: &dyn Rights,
    metrics: &Metrics,
    review: &Review,
    now: Timestamp,
) -> Answer {
    let (Some(object), Some(old)) = (&review.object, &review.old_object) else {
        return Err(Denial::invalid("the review holds no request"));
    };
    if old.metadata.deletion_timestamp.is_some() {
        return Err(Denial::forbidden("the request is being deleted"));
    }
    only_the_inbox(object, old)?;
    let verdict = verdict(object)?;
    let reason = reason(object)?;
    let request: ApprovalRequest = serde_json::to_value(old)
        .and_then(serde_json::from_value)
        .map_err(|error| Denial::invalid(error.to_string()))?;
    let phase = request.phase();
    if phase != crds::approval_request::Phase::Pending {
        return Err(Denial::conflict(format!("the request is {phase:?} already")));
    }
    let expires = request.spec.expires_at.0;
    if now >= expires {
        return Err(Denial::conflict(format!("the request expired at {expires}")));
    }
    let user = username(&review.user_info);
    if user.is_empty() || user.starts_with("system:") {
        return Err(Denial::forbidden(format!(
            "{user:?} may not decide: decisions are made by people, not by service accounts, nodes or \
             the system's own users"
        )));
    }
    let decisions = request.status.map(|status| status.decisions).unwrap_or_default();
    if decisions.iter().any(|decision| decision.approver == user) {
        return Err(Denial::conflict(format!(
            "{user} has decided already, and a decision is final"
        )));
    }
    let namespace = review.namespace.as_deref().unwrap_or_default();
    let human = request.spec.requester.on_behalf_of.as_ref();
    let asker = Asker {
        named: human.is_some(),
        username: human.and_then(|human| human.username.as_deref()),
    };
    let mut satisfies = Vec::new();
    let mut refused = Vec::new();
    for policy in &request.spec.policy_refs {
        match may_decide(rights, &review.user_info, namespace, policy, &asker).await? {
            None => satisfies.push(policy.id()),
            Some(why) => refused.push(format!("{}: {why}", policy.id())),
        }
    }
    if satisfies.is_empty() {
        if asker.username == Some(user) {
            metrics.self_approvals.inc();
        }
        return Err(Denial::forbidden(refused.join("; ")));
    }
    let decision = Decision {
        approver: user.to_owned(),
        groups: review.user_info.groups.clone().unwrap_or_default(),
        verdict,
        reason,
        time: Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
        satisfies,
    };
    patch(object, decisions, decision)
}

/// The human behind the request.
struct Asker<'a> {
    named: bool,
    username: Option<&'a str>,
}

/// Why this user's word does not count for this rule, or none if it does.
async fn may_decide(
    rights: &dyn Rights,
    user: &UserInfo,
    namespace: &str,
    policy: &PolicyRef,
    asker: &Asker<'_>,
) -> Result<Option<String>, Denial> {
    let name = username(user);
    if policy.approvers.distinct_from_requester && asker.named {
        match asker.username {
            Some(asked) if asked == name => {
                return Ok(Some("nobody approves what they asked for".to_owned()));
            }
            Some(_) => {}
            None => {
                return Ok(Some(
                    "the requester's Kubernetes user name is not known, so nobody can tell whether \
                     you are the one who asked"
                        .to_owned(),
                ));
            }
        }
    }
    let wanted = &policy.approvers.groups;
    let groups = user.groups.as_deref().unwrap_or_default();
    if !wanted.is_empty() && !wanted.iter().any(|group| groups.contains(group)) {
        return Ok(Some(format!("{name} is in none of the groups {}", wanted.join(", "))));
    }
    let may =
        rights.may_approve(user, namespace, &policy.name).await.map_err(Denial::unavailable)?;
    Ok((!may).then(|| format!("{name} lacks verb approve on accesspolicies/{}", policy.name)))
}

/// Everything in the status but the inbox belongs to the operator.
fn only_the_inbox(object: &DynamicObject, old: &DynamicObject) -> Result<(), Denial> {
    let rest = |object: &DynamicObject| {
        let mut status = object.data.get("status").cloned().unwrap_or_else(|| json!({}));
        if let Some(fields) = status.as_object_mut() {
            fields.remove("decision");
            fields.remove("reason");
            fields.retain(|_, value| !value.is_null());
        }
        status
    };
    let (before, after) = (rest(old), rest(object));
    if before == after {
        return Ok(());
    }
    let fields: Vec<&str> =
        ["decisions", "phase", "votes", "closedAt", "conditions", "observedGeneration"]
            .into_iter()
            .filter(|field| before.get(field) != after.get(field))
            .collect();
    Err(Denial::forbidden(format!(
        "status.{} belongs to the operator: write status.decision and status.reason only",
        if fields.is_empty() { "*".to_owned() } else { fields.join(", status.") }
    )))
}

/// The schema checks the word only after mutation, when the inbox is empty again: so it is checked here.
fn verdict(object: &DynamicObject) -> Result<Choice, Denial> {
    match &object.data["status"]["decision"] {
        Value::String(word) if word == "Approved" => Ok(Choice::Approved),
        Value::String(word) if word == "Denied" => Ok(Choice::Denied),
        Value::Null => Err(Denial::invalid("status.decision: write Approved or Denied")),
        other => {
            Err(Denial::invalid(format!("status.decision: {other} is neither Approved nor Denied")))
        }
    }
}

fn reason(object: &DynamicObject) -> Result<String, Denial> {
    match &object.data["status"]["reason"] {
        Value::Null => Ok(String::new()),
        Value::String(reason) if reason.chars().count() <= 1024 => Ok(reason.clone()),
        Value::String(_) => Err(Denial::invalid("status.reason: write at most 1024 characters")),
        _ => Err(Denial::invalid("status.reason: write text")),
    }
}

fn patch(object: &DynamicObject, mut decisions: Vec<Decision>, decision: Decision) -> Answer {
    decisions.push(decision);
    let value =
        serde_json::to_value(&decisions).map_err(|error| Denial::invalid(error.to_string()))?;
    let pointer = |path: &'static str| {
        PointerBuf::parse(path).map_err(|error| Denial::invalid(error.to_string()))
    };
    let mut patch = vec![
        PatchOperation::Add(AddOperation { path: pointer("/status/decisions")?, value }),
        PatchOperation::Remove(RemoveOperation { path: pointer("/status/decision")? }),
    ];
    if object.data["status"].get("reason").is_some() {
        patch.push(PatchOperation::Remove(RemoveOperation { path: pointer("/status/reason")? }));
    }
    Ok(Admitted { patch, warnings: Vec::new() })
}

#[cfg(test)]
mod tests;
