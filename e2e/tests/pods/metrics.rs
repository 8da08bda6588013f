//! What Prometheus sees.

use std::time::Duration;

use e2e::agent::{Driver, image};
use e2e::kubectl::{apply, kubectl, kubectl_reading};
use e2e::world::World;
use e2e::{eventually, pod_url};
use serde_json::{Value, json};

/// Every series that the page promises.
const PROMISED: &str = include_str!("../../../docs/metrics.md");

#[test]
fn a_real_prometheus_finds_operator_and_sidecar_up_with_every_promised_series() {
    let world = World::new("metrics");
    let agent = world.agent(Driver::Python5);
    assert_eq!(agent.sql("SELECT name, email FROM customers")["ok"], true);
    let sidecar = read(&["-n", &agent.namespace, &agent.pod, "-o", "jsonpath={.status.podIP}"]);
    let label = "app.kubernetes.io/name=frostgate-operator";
    let operator =
        read(&["-n", "frostgate-system", "-l", label, "-o", "jsonpath={.items[0].status.podIP}"]);
    let targets = [format!("{sidecar}:15990"), format!("{operator}:8080")];

    let prometheus = prometheus(&world, &targets);
    eventually("both targets", Duration::from_secs(60), || {
        let page = ask(&prometheus, "/api/v1/targets")?;
        let health = page["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        let up = health.iter().filter(|target| target["health"] == "up").count();
        if up == targets.len() { Ok(()) } else { Err(page.to_string()) }
    });
    let known = eventually("what was scraped", Duration::from_secs(60), || {
        let page = ask(&prometheus, "/api/v1/metadata")?;
        page["data"].as_object().filter(|known| known.len() > 10).cloned().ok_or(page.to_string())
    });
    let missing: Vec<String> =
        promised().into_iter().filter(|name| !known.contains_key(name)).collect();
    assert_eq!(missing, [] as [String; 0], "{:?}", known.keys());
    let operator =
        read(&["-n", "frostgate-system", "-l", label, "-o", "jsonpath={.items[0].metadata.name}"]);
    let pages = [
        pod_url(&agent.namespace, &agent.pod, 15990),
        pod_url("frostgate-system", &operator, 8080),
    ];
    for target in pages {
        let page = ureq::get(format!("{target}/metrics")).call().unwrap();
        let kind = page.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        let page = page.into_body().read_to_string().unwrap();
        let words = ["exec", "-i", "-n", &agent.namespace, &agent.pod, "-c", "agent", "--"];
        let parser = ["/opt/tools/bin/python", "-c", PARSER];
        let parsed = kubectl_reading(&[&words[..], &parser[..]].concat(), &page);
        assert!(
            parsed.ok && parsed.out.contains("families"),
            "{target}: {}{}",
            parsed.out,
            parsed.err
        );
    }
}

/// A strict reader of the format: it refuses what Prometheus itself lets pass.
const PARSER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
print(len(list(parse(sys.stdin.read()))), 'families')
";

/// The families in the tables, as metadata names them: without the suffix of a counter.
fn promised() -> Vec<String> {
    let rows = PROMISED.lines().filter(|line| line.starts_with("| `"));
    let names = rows
        .flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2));
    names
        .map(|name| name.split('{').next().unwrap_or_default())
        .map(|name| name.trim_end_matches("_total").trim_end_matches("_info").to_owned())
        .map(|name| if name.ends_with("policy_generation") { format!("{name}_info") } else { name })
        .collect()
}

fn read(words: &[&str]) -> String {
    kubectl(&[&["get", "pod"], words].concat()).out
}

/// Starts Debian's Prometheus on the targets and returns its address.
fn prometheus(world: &World, targets: &[String]) -> String {
    let config = json!({
        "global": {"scrape_interval": "2s"},
        "scrape_configs": [{"job_name": "frostgate", "static_configs": [{"targets": targets}]}],
    });
    let name = json!({"name": "prometheus", "namespace": world.namespace});
    let objects = [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"prometheus.yml": config.to_string()}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": name, "spec": {
            "terminationGracePeriodSeconds": 2,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "prometheus",
                "image": image("prometheus"),
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/prometheus"}],
            }],
            "volumes": [{"name": "config", "configMap": {"name": "prometheus"}}],
        }}),
    ];
    let text: Vec<String> = objects.iter().map(Value::to_string).collect();
    let answer = apply(&text.join("\n---\n"));
    assert!(answer.ok, "{}", answer.err);
    eventually("Prometheus", Duration::from_secs(60), || {
        let ip = read(&["-n", &world.namespace, "prometheus", "-o", "jsonpath={.status.podIP}"]);
        if ip.is_empty() {
            return Err(world.kubectl(&["describe", "pod", "prometheus"]).out);
        }
        let address = pod_url(&world.namespace, "prometheus", 9090);
        ask(&address, "/api/v1/status/config").map(|_| address)
    })
}

fn ask(address: &str, path: &str) -> Result<Value, String> {
    let text = ureq::get(format!("{address}{path}"))
        .call()
        .and_then(|mut answer| answer.body_mut().read_to_string());
    serde_json::from_str(&text.map_err(|error| error.to_string())?)
        .map_err(|error| error.to_string())
}
