//! The story on a real cluster.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::agent::{self, Agent};
use super::story::{answer, chapter, expect, said, typed};
use crate::image::Name;
use crate::process::{self, command};
use crate::progress::{say, wait};
use crate::stage::{self, Stage};
use crate::target;
use crate::workspace;

/// Runs it; the cluster stays up.
pub(super) fn run(arguments: &target::Arguments) -> Result<()> {
    let names = [Name::Operator, Name::Proxy, Name::Python, Name::Warehouse];
    let stage = stage::set(arguments, &names)?;
    say("starting an agent");
    let image = stage.images.get("agent-python").context("no image of an agent was built")?;
    let objects = fs::read_to_string(workspace::root().join("e2e/demo/agent.yaml"))?;
    stage.target.apply(&objects.replace("${IMAGE}", image))?;
    stage.target.rollout("agents", "support-bot")?;
    tell(&stage)?;
    farewell(&stage);
    Ok(())
}

fn tell(stage: &Stage) -> Result<()> {
    chapter("One annotation, and the pod has a sidecar");
    kubectl(
        stage,
        &[
            "get",
            "pods",
            "-n",
            "agents",
            "-o",
            "custom-columns=POD:.metadata.name,SIDECAR:.spec.initContainers[*].name,AGENT:.spec.containers[*].name",
        ],
    )?;

    agent::alone(stage, &format!("{}/history", stage.account))?;

    chapter("A DELETE without WHERE waits for a human");
    stage_table(stage)?;
    let waiting = stage.begin("DELETE FROM demo_scratch")?;
    let name = pending(stage)?;
    kubectl(stage, &["get", "approvalrequests", "-n", "agents"])?;
    let patch = r#"{"status":{"decision":"Approved","reason":"INC-88"}}"#;
    let mut words = stage.target.humans().remove("bob").context("nobody is called bob")?;
    words.extend(["patch", "approvalrequest", &name, "-n", "agents"]);
    words.extend(["--subresource=status", "--type=merge", "-p", patch]);
    kubectl(stage, &words)?;
    let reply = answer(&waiting.wait_with_output()?)?;
    expect(
        reply["ok"] == true,
        "the driver's call returned after bob's approval",
        &reply.to_string(),
    )?;

    chapter("Everything is on record, and the record can be checked");
    evidence(stage)?;

    chapter("Prometheus reads how it went");
    let pod = stage.target.kubectl(&[
        "get",
        "pods",
        "-n",
        "agents",
        "-l",
        "app=support-bot",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ])?;
    let path = format!("/api/v1/namespaces/agents/pods/{pod}:15990/proxy/metrics");
    typed(&format!("kubectl get --raw {path}"));
    let metrics = stage.target.kubectl(&["get", "--raw", &path])?;
    agent::counted(&metrics)
}

fn evidence(stage: &Stage) -> Result<()> {
    let folder = stage.target.state.join("demo-recordings").display().to_string();
    let key = stage.target.kubectl(&[
        "get",
        "configmap",
        "-n",
        "frostgate-system",
        "frostgate-ledger-key",
        "-o",
        "jsonpath={.data.key}",
    ])?;
    let mut csv = String::new();
    // The last session has just closed; its segment is on the way.
    wait("the recordings", Duration::from_secs(60), || {
        frostgate(stage, &["fetch", &folder])?;
        csv = frostgate(stage, &["export", &folder, "--format", "csv"])?;
        Ok(held(&csv).is_none().then(|| "the held statement is not there yet".to_owned()))
    })?;
    typed(&format!("kubectl frostgate fetch {folder}"));
    let line = held(&csv).unwrap_or_default();
    let session = line
        .split(',')
        .find(|cell| cell.len() == 36 && cell.matches('-').count() == 4)
        .unwrap_or_default();
    typed(&format!("kubectl frostgate verify {folder} --session {session} --key '{}'", key.trim()));
    let report = frostgate(stage, &["verify", &folder, "--session", session, "--key", key.trim()])?;
    said(&report);
    expect(report.contains("intact"), "intact", &report)?;
    typed(&format!("kubectl frostgate replay {folder} --session {session}"));
    let replay = frostgate(stage, &["replay", &folder, "--session", session])?;
    said(&replay.lines().take(24).collect::<Vec<_>>().join("\n"));
    expect(replay.contains("INC-88"), "who approved, when and why", &replay)
}

/// The line of the statement that waited.
fn held(csv: &str) -> Option<&str> {
    csv.lines().find(|line| line.contains("demo_scratch") && line.contains("INC-88"))
}

/// A table that nobody misses.
fn stage_table(stage: &Stage) -> Result<()> {
    ureq::post(format!("{}/seed", stage.account)).send(
        "CREATE OR REPLACE TABLE DEMO.PUBLIC.DEMO_SCRATCH AS SELECT ID, NAME FROM DEMO.PUBLIC.CUSTOMERS; \
         GRANT SELECT, DELETE ON TABLE DEMO.PUBLIC.DEMO_SCRATCH TO ROLE STEWARD; \
         GRANT REFERENCES ON TABLE DEMO.PUBLIC.DEMO_SCRATCH TO ROLE FROSTGATE_CATALOG",
    )?;
    Ok(())
}

impl Agent for Stage {
    fn command(&self, task: &Value) -> Command {
        let mut agent = self.target.kubectl_command();
        agent
            .args(["exec", "-n", "agents", "deployment/support-bot", "-c", "agent", "--"])
            .args(["/opt/connector5/bin/python", "/agent/agent.py"])
            .arg(task.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        agent
    }
}

fn kubectl(stage: &Stage, words: &[&str]) -> Result<()> {
    typed(&format!("kubectl {}", words.join(" ")));
    said(&stage.target.kubectl(words)?);
    Ok(())
}

fn frostgate(stage: &Stage, words: &[&str]) -> Result<String> {
    process::read(
        command(&stage.frostgate.display().to_string(), words)
            .env("KUBECONFIG", &stage.target.kubeconfig),
    )
}

fn pending(stage: &Stage) -> Result<String> {
    let mut name = String::new();
    wait("the request", Duration::from_secs(30), || {
        let words = [
            "get",
            "approvalrequests",
            "-n",
            "agents",
            "--field-selector",
            "status.phase=Pending",
            "-o",
            "jsonpath={.items[0].metadata.name}",
        ];
        name = stage.target.kubectl(&words).unwrap_or_default();
        Ok(name.is_empty().then(|| "no request waits".to_owned()))
    })?;
    Ok(name)
}

fn farewell(stage: &Stage) {
    chapter("The end");
    let kubectl = stage.target.by_hand();
    println!("   Everything is still up. Look around with `{kubectl} get frostgate -A`,");
    println!("   change e2e/demo/policy.yaml and apply it, and tear down with");
    for line in stage.target.tear_down() {
        println!("     {line}");
    }
}
