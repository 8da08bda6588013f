//! Who gets a sidecar, and who does not.

use std::time::Duration;

use e2e::agent::{Agent, Driver};
use e2e::eventually;
use e2e::kubectl::{apply, get};
use e2e::world::World;
use serde_json::{Value, json};

#[test]
fn an_annotated_deployment_gets_the_sidecar_and_another_is_untouched() {
    let world = World::new("injected");
    let agent = world.agent(Driver::Python5);
    let pod = get(&["pod", "-n", &agent.namespace, &agent.pod]);
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "frostgate-proxy");
    assert_eq!(pod["spec"]["initContainers"][0]["restartPolicy"], "Always");

    let mut plain = world.template(Driver::Python5, None);
    plain["metadata"]["labels"]["app"] = json!("plain");
    assert!(world.apply_deployment(&plain).ok);
    let agent = Agent::of_deployment(&world.namespace, "plain");
    let pod = get(&["pod", "-n", &agent.namespace, &agent.pod]);
    assert_eq!(pod["spec"]["initContainers"], Value::Null);
    assert_eq!(pod["spec"]["hostAliases"], Value::Null);
}

#[test]
fn a_job_with_the_sidecar_completes() {
    let world = World::new("job");
    let mut template = world.template(Driver::Python5, Some("agents/demo"));
    template["spec"]["restartPolicy"] = json!("Never");
    let task = json!({"sql": "SELECT count(*) FROM customers"}).to_string();
    template["spec"]["containers"][0]["command"] =
        json!(["/opt/connector5/bin/python", "/agent/agent.py", task]);
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "report", "namespace": world.namespace},
        "spec": {"backoffLimit": 0, "template": template},
    });
    let answer = apply(&job.to_string());
    assert!(answer.ok, "{}", answer.err);
    eventually("the job's completion", Duration::from_secs(120), || {
        let job = get(&["job", "-n", &world.namespace, "report"]);
        (job["status"]["succeeded"] == 1).then_some(()).ok_or_else(|| {
            let log = world.kubectl(&["logs", "job/report", "--all-containers", "--tail=20"]);
            format!("{}\n{}{}", job["status"], log.out, log.err)
        })
    });
    let log = world.kubectl(&["logs", "job/report", "-c", "agent"]).out;
    assert!(log.contains("\"ok\": true"), "{log}");
}

#[test]
fn a_pod_that_names_a_missing_connection_is_refused_with_the_reason() {
    let world = World::new("missing");
    let mut template = world.template(Driver::Python5, Some("agents/nowhere"));
    template["metadata"]["name"] = json!("lost");
    template["metadata"]["namespace"] = json!(world.namespace);
    template["apiVersion"] = json!("v1");
    template["kind"] = json!("Pod");
    let answer = apply(&template.to_string());
    assert!(!answer.ok);
    assert!(
        answer.err.contains("agents/nowhere")
            && answer.err.contains("there is no SnowflakeConnection"),
        "{}",
        answer.err
    );
}
