//! A pod that asks for a connection gets the sidecar, or is refused with the reason: never admitted bare.

use crds::annotations;
use serde_json::Value;

use super::{Admitted, Answer, Denial, Review, Webhooks};
use crate::sidecar::{self, Target};
use crate::telemetry::ResultLabel;

/// Answers for one pod.
///
/// # Errors
/// Every reason why the pod cannot run as it is.
pub fn inject(webhooks: &Webhooks, review: &Review) -> Answer {
    let answer = answer(webhooks, review);
    let result = match &answer {
        Ok(admitted) if admitted.patch.is_empty() => "unchanged",
        Ok(_) => "injected",
        Err(_) => "refused",
    };
    webhooks.metrics.injections.get_or_create(&ResultLabel { result }).inc();
    answer
}

fn answer(webhooks: &Webhooks, review: &Review) -> Answer {
    let Some(object) = &review.object else {
        return Err(Denial::invalid("the review holds no pod"));
    };
    // Pods of controllers have no namespace of their own yet.
    let Some(namespace) = review.namespace.as_deref() else {
        return Err(Denial::invalid("the review names no namespace"));
    };
    let annotations = object.metadata.annotations.clone().unwrap_or_default();
    if !annotations.contains_key(annotations::CONNECTION) {
        return Ok(Admitted::default());
    }
    if !webhooks.certificates.ready() {
        return Err(Denial::unavailable("the operator is still starting: try again in a moment"));
    }
    match annotations.get(annotations::CAPTURE).map(String::as_str) {
        None | Some("Hosts") => {}
        Some(other) => {
            return Err(Denial::invalid(format!(
                "annotation {}: {other:?} is no way to capture: write Hosts or leave it out",
                annotations::CAPTURE
            )));
        }
    }
    match annotations.get(annotations::ENV_CONFLICT).map(String::as_str) {
        None | Some("override") => {}
        Some(other) => {
            return Err(Denial::invalid(format!(
                "annotation {}: {other:?} is not understood: write override or leave it out",
                annotations::ENV_CONFLICT
            )));
        }
    }
    let connection = webhooks
        .directory
        .snapshot()
        .admit(namespace, &annotations)
        .map_err(|refused| Denial::forbidden(refused.to_string()))?;
    let pod = raw(object)?;
    let target = Target { host: connection.spec.host(), prompts: connection.spec.reads_prompts() };
    sidecar::inject(&pod, &webhooks.sidecar(), &target)
        .map(|patch| Admitted { patch, warnings: Vec::new() })
        .map_err(|refusals| {
            let listed: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            Denial::forbidden(format!(
                "the pod cannot have the Frostgate sidecar as it is: {}",
                listed.join("; ")
            ))
        })
}

/// The pod as JSON: what the typed metadata does not know is not patched, so its loss here loses nothing.
fn raw(object: &kube::core::DynamicObject) -> Result<Value, Denial> {
    serde_json::to_value(object).map_err(|error| Denial::invalid(error.to_string()))
}
