//! The chart with its defaults and the kustomize base give the same objects.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_yaml::Value;

use crate::cluster;
use crate::process::{self, command};
use crate::workspace;

/// A digest that no image has; the base names its images without one.
const NO_DIGEST: &str = "@sha256:0000000000000000000000000000000000000000000000000000000000000000";
/// The oldest version the chart allows.
const OLDEST: &str = "1.33.0";

/// Renders both and compares them.
pub(crate) fn run() -> Result<()> {
    let differences = differences(&objects(&chart()?)?, &objects(&base()?)?);
    if differences.is_empty() {
        return Ok(());
    }
    bail!("charts/frostgate and config/default differ:\n{}", differences.join("\n"))
}

fn chart() -> Result<String> {
    let chart = workspace::root().join("charts/frostgate");
    let images =
        ["operator", "proxy"].map(|name| format!("image.{name}=frostgate-{name}{NO_DIGEST}"));
    let helm = cluster::helm()?.display().to_string();
    process::run(
        command(&helm, ["lint", "--strict", "--quiet"])
            .arg(&chart)
            .args(images.iter().flat_map(|image| ["--set", image.as_str()])),
    )?;
    process::read(
        command(
            &helm,
            ["template", "frostgate", "--namespace", "frostgate-system", "--include-crds"],
        )
        .args(["--kube-version", OLDEST])
        .arg(&chart)
        .args(images.iter().flat_map(|image| ["--set", image.as_str()])),
    )
}

fn base() -> Result<String> {
    process::read(
        cluster::kubectl_command()?.arg("kustomize").arg(workspace::root().join("config/default")),
    )
}

/// The objects by kind, namespace and name, without what only Helm understands.
fn objects(text: &str) -> Result<BTreeMap<String, Value>> {
    let mut objects = BTreeMap::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut object = Value::deserialize(document).context("read a rendered object")?;
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = word(&object["kind"]);
        // Helm makes the namespace of its release itself.
        if object.is_null() || kind == "Namespace" {
            continue;
        }
        let metadata = &object["metadata"];
        let name = format!("{kind} {}/{}", word(&metadata["namespace"]), word(&metadata["name"]));
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_mapping_mut)
            && let Some(annotations) =
                metadata.get_mut("annotations").and_then(Value::as_mapping_mut)
        {
            annotations.retain(|key, _| !key.as_str().unwrap_or_default().starts_with("helm.sh/"));
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        if objects.insert(name.clone(), object).is_some() {
            bail!("{name} is rendered twice");
        }
    }
    Ok(objects)
}

fn differences(chart: &BTreeMap<String, Value>, base: &BTreeMap<String, Value>) -> Vec<String> {
    let mut differences = Vec::new();
    for name in chart.keys().filter(|name| !base.contains_key(*name)) {
        differences.push(format!("{name}: only in the chart"));
    }
    for (name, wanted) in base {
        match chart.get(name) {
            Some(object) => compare(name, object, wanted, &mut differences),
            None => differences.push(format!("{name}: only in config")),
        }
    }
    differences
}

fn compare(path: &str, chart: &Value, base: &Value, differences: &mut Vec<String>) {
    match (chart, base) {
        (Value::Mapping(chart), Value::Mapping(base)) => {
            for (key, value) in chart {
                let path = format!("{path}.{}", key.as_str().unwrap_or("?"));
                compare(&path, value, base.get(key).unwrap_or(&Value::Null), differences);
            }
            for (key, value) in base.iter().filter(|(key, _)| !chart.contains_key(key)) {
                let path = format!("{path}.{}", key.as_str().unwrap_or("?"));
                compare(&path, &Value::Null, value, differences);
            }
        }
        (Value::Sequence(chart), Value::Sequence(base)) if chart.len() == base.len() => {
            for (index, (chart, base)) in chart.iter().zip(base).enumerate() {
                compare(&format!("{path}[{index}]"), chart, base, differences);
            }
        }
        // The two programs print the same number differently.
        (Value::Number(chart), Value::Number(base)) if chart.as_f64() == base.as_f64() => {}
        (Value::String(chart), Value::String(base))
            if chart.trim_end_matches(NO_DIGEST) == base.trim_end_matches(NO_DIGEST) => {}
        (chart, base) if chart == base => {}
        _ => differences.push(format!("{path}: {chart:?} in the chart, {base:?} in config")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_with_its_path_and_helms_own_annotations_are_not() {
        let chart = "kind: Role\nmetadata: {name: a, annotations: {helm.sh/hook: x}}\nrules: [{verbs: [get]}]\nlimit: 1.0\n";
        let base = "kind: Role\nmetadata: {name: a}\nrules: [{verbs: [list]}]\nlimit: 1\n---\nkind: Service\nmetadata: {name: b}\n";
        let found = differences(&objects(chart).unwrap(), &objects(base).unwrap());
        assert_eq!(
            found,
            [
                "Role /a.rules[0].verbs[0]: String(\"get\") in the chart, String(\"list\") in config",
                "Service /b: only in config",
            ]
        );
    }
}
