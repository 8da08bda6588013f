//! What the API server must know of the operator: which CA vouches for its webhooks, and the exact sidecar that the
//! admission policy compares pods with.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::config::Config;

/// Field manager of everything the operator writes beside its own objects.
pub const MANAGER: &str = "frostgate-operator";
/// Name of both webhook configurations.
pub const WEBHOOKS: &str = "frostgate";
/// Name of the ConfigMap that the pod-shape policy reads.
pub const PARAMETERS: &str = "frostgate-pod-shape";

/// Why something was not announced.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct Error {
    what: &'static str,
    source: Box<kube::Error>,
}

fn failed(what: &'static str) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error { what, source: Box::new(source) }
}

/// Whether the API server trusts `ca` for every webhook; the leader makes it so.
///
/// # Errors
/// When the configurations cannot be read or written.
pub async fn trust(client: &Client, ca: &str, leads: bool) -> Result<bool, Error> {
    let bundle = k8s_openapi::ByteString(ca.as_bytes().to_vec());
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone());
    let validating = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    let what = "webhook configurations";
    let configured = (
        mutating.get_opt(WEBHOOKS).await.map_err(failed(what))?.and_then(|one| one.webhooks),
        validating.get_opt(WEBHOOKS).await.map_err(failed(what))?.and_then(|one| one.webhooks),
    );
    let (Some(mutating_hooks), Some(validating_hooks)) = configured else {
        tracing::warn!("the webhook configurations named {WEBHOOKS} are not installed");
        return Ok(false);
    };
    let mutating_names: Vec<String> = mutating_hooks
        .iter()
        .filter(|hook| hook.client_config.ca_bundle.as_ref() != Some(&bundle))
        .map(|hook| hook.name.clone())
        .collect();
    let validating_names: Vec<String> = validating_hooks
        .iter()
        .filter(|hook| hook.client_config.ca_bundle.as_ref() != Some(&bundle))
        .map(|hook| hook.name.clone())
        .collect();
    if mutating_names.is_empty() && validating_names.is_empty() {
        return Ok(true);
    }
    if !leads {
        return Ok(false);
    }
    let all = |kind: &str, names: Vec<String>| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": WEBHOOKS},
            "webhooks": names.iter().map(|name| json!({
                "name": name, "clientConfig": {"caBundle": bundle},
            })).collect::<Vec<_>>(),
        })
    };
    // A strategic merge goes by the name of each webhook and leaves the rest of it to whoever installed it.
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
    if !mutating_names.is_empty() {
        let patch = Patch::Strategic(all("MutatingWebhookConfiguration", mutating_names));
        mutating.patch(WEBHOOKS, &params, &patch).await.map_err(failed(what))?;
    }
    if !validating_names.is_empty() {
        let patch = Patch::Strategic(all("ValidatingWebhookConfiguration", validating_names));
        validating.patch(WEBHOOKS, &params, &patch).await.map_err(failed(what))?;
    }
    tracing::info!("webhook configurations trust the operator's CA");
    Ok(true)
}

/// Writes the parameters of the pod-shape policy.
///
/// # Errors
/// When they cannot be written.
pub async fn parameters(client: &Client, config: &Config, ca: &str) -> Result<(), Error> {
    let wanted = BTreeMap::from([
        ("image".to_owned(), config.proxy_image.clone()),
        ("operatorURL".to_owned(), config.operator_url.clone()),
        ("operatorCA".to_owned(), ca.to_owned()),
        ("spoolBytes".to_owned(), config.proxy_spool_bytes.to_string()),
    ]);
    map(client, &config.namespace, PARAMETERS, wanted).await
}

/// Writes a ConfigMap where it is not as wanted already.
///
/// # Errors
/// When it cannot be written.
pub async fn map(
    client: &Client,
    namespace: &str,
    name: &'static str,
    wanted: BTreeMap<String, String>,
) -> Result<(), Error> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let current = api.get_opt(name).await.map_err(failed(name))?;
    if current.and_then(|map| map.data) == Some(wanted.clone()) {
        return Ok(());
    }
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": wanted,
    });
    api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object))
        .await
        .map_err(failed(name))?;
    Ok(())
}
