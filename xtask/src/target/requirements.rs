//! What a cluster of the user's must have: everything that is missing is said at once, before anything is changed.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{LABEL, Target};

/// Native sidecars are stable from this minor version on.
const OLDEST: u64 = 33;

/// The namespaces of a stage.
const NAMESPACES: [&str; 4] = ["agents", "frostgate-system", "idp", "snowflake"];

/// Looks, and refuses with what is missing.
pub(super) fn check(target: &Target) -> Result<()> {
    target.describe()?;
    // First: without them, nothing else can be looked at.
    rights(target)?;
    let version = json(target, &["version", "-o", "json"])?;
    let nodes = json(target, &["get", "nodes", "-o", "json"])?;
    let mut missing = Vec::new();
    missing.extend(version_of("the API server", &version["serverVersion"]["gitVersion"]));
    missing.extend(nodes_of(&nodes, architecture()));
    missing.extend(policies(target));
    missing.extend(storage(target)?);
    missing.extend(registry(target));
    missing.extend(strangers(target)?);
    if missing.is_empty() {
        return Ok(());
    }
    bail!("this cluster cannot be used:\n- {}", missing.join("\n- "))
}

fn json(target: &Target, words: &[&str]) -> Result<Value> {
    serde_json::from_str(&target.kubectl(words)?).context("kubectl's JSON")
}

/// `v1.34.4`, `v1.33.1+k3s1`, `v1.33.5-eks-3025e55`.
fn version_of(who: &str, version: &Value) -> Option<String> {
    let version = version.as_str().unwrap_or_default();
    let mut parts = version.trim_start_matches('v').split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(1)), Some(Ok(minor))) if minor >= OLDEST => None,
        _ => Some(format!(
            "{who} is Kubernetes {version}: 1.{OLDEST} or later has the native sidecars that are needed"
        )),
    }
}

fn nodes_of(nodes: &Value, architecture: &str) -> Vec<String> {
    let nodes: Vec<&Value> = nodes["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|node| node["status"]["nodeInfo"]["operatingSystem"] == "linux")
        .collect();
    let ready = |node: &&&Value| {
        let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        node["spec"]["unschedulable"] != true
            && conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    let mut missing = Vec::new();
    if !nodes.iter().any(|node| ready(&node)) {
        missing.push("no Linux node is ready to run pods".to_owned());
    }
    for node in nodes {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let info = &node["status"]["nodeInfo"];
        missing.extend(version_of(&format!("node {name}"), &info["kubeletVersion"]));
        if info["architecture"] != architecture {
            missing.push(format!(
                "node {name} is {}, and images are built here for {architecture}",
                info["architecture"].as_str().unwrap_or("of another architecture")
            ));
        }
    }
    missing
}

/// As Kubernetes names this machine's.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn rights(target: &Target) -> Result<()> {
    let asked = target.kubectl(&["auth", "can-i", "*", "*", "--all-namespaces"]);
    asked.map(drop).context(
        "installing and acting for test users takes an administrator, and a cluster that answers",
    )
}

fn policies(target: &Target) -> Option<String> {
    let served = target.kubectl(&["get", "--raw", "/apis/admissionregistration.k8s.io/v1"]);
    let served = served.is_ok_and(|list| list.contains("\"validatingadmissionpolicies\""));
    (!served).then(|| {
        "the API server does not serve ValidatingAdmissionPolicies of admissionregistration.k8s.io/v1".to_owned()
    })
}

/// The operator claims one volume without naming a class.
fn storage(target: &Target) -> Result<Option<String>> {
    let default = "storageclass.kubernetes.io/is-default-class";
    let classes = json(target, &["get", "storageclasses", "-o", "json"])?;
    let classes = classes["items"].as_array().cloned().unwrap_or_default();
    let volumes = json(target, &["get", "persistentvolumes", "-o", "json"])?;
    let volumes = volumes["items"].as_array().cloned().unwrap_or_default();
    let claimed = |volume: &Value| volume["spec"]["claimRef"]["namespace"] == "frostgate-system";
    let free = |volume: &Value| {
        volume["status"]["phase"] == "Available"
            && volume["spec"]["storageClassName"].as_str().unwrap_or_default().is_empty()
    };
    let there = classes.iter().any(|class| class["metadata"]["annotations"][default] == "true")
        || volumes.iter().any(|volume| claimed(volume) || free(volume));
    Ok((!there).then(|| {
        "there is no default StorageClass and no free PersistentVolume without one: the operator keeps its ledger on a \
         volume of 20 GiB"
            .to_owned()
    }))
}

fn registry(target: &Target) -> Option<String> {
    let address = &target.registry.address;
    (!target.registry.answers())
        .then(|| format!("no registry answers at http://{address}: name yours with --registry"))
}

/// Namespaces of the same names that somebody else made.
fn strangers(target: &Target) -> Result<Vec<String>> {
    let mut strangers = Vec::new();
    for name in NAMESPACES {
        let words = ["get", "namespace", name, "--ignore-not-found", "-o", "json"];
        let text = target.kubectl(&words)?;
        if text.trim().is_empty() {
            continue;
        }
        let namespace: Value = serde_json::from_str(&text)?;
        if namespace["metadata"]["labels"][LABEL] != "true" {
            strangers.push(format!(
                "namespace {name} is there and was not made by this tool: use another cluster, or allow it with \
                 `kubectl label namespace {name} {LABEL}=true`"
            ));
        }
    }
    Ok(strangers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_of_every_distribution_are_read() {
        for good in ["v1.33.0", "v1.34.4", "v1.33.1+k3s1", "v1.35.0-rc.1", "v1.40.2-eks-3025e55"] {
            assert_eq!(version_of("x", &json!(good)), None, "{good}");
        }
        for bad in ["v1.32.9", "v1.29.4+k3s1", "v0.40.0", "", "new"] {
            assert!(version_of("x", &json!(bad)).is_some(), "{bad}");
        }
    }

    #[test]
    fn nodes_that_cannot_run_the_images_are_named() {
        let node = |name: &str, os: &str, architecture: &str, version: &str, ready: &str| {
            json!({
                "metadata": {"name": name}, "spec": {},
                "status": {
                    "conditions": [{"type": "Ready", "status": ready}],
                    "nodeInfo": {"operatingSystem": os, "architecture": architecture, "kubeletVersion": version},
                },
            })
        };
        let good = node("good", "linux", "amd64", "v1.34.0", "True");
        assert_eq!(nodes_of(&json!({"items": [good]}), "amd64"), [] as [String; 0]);
        let items = json!([
            node("old", "linux", "amd64", "v1.30.0", "False"),
            node("arm", "linux", "arm64", "v1.34.0", "False"),
            node("other", "windows", "amd64", "v1.20.0", "True"),
        ]);
        let missing = nodes_of(&json!({"items": items}), "amd64").join("\n");
        for part in ["no Linux node is ready", "node old", "v1.30.0", "node arm is arm64"] {
            assert!(missing.contains(part), "{part}: {missing}");
        }
        assert!(!missing.contains("other"), "{missing}");
    }
}
