//! `cargo xtask bench`: what Frostgate adds to a small SELECT, as a ratio against the same account without it, in one
//! run with a real driver; and what reading, judging, masking and recording cost, each as a ratio to the least that it
//! could.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::analytics;
use crate::demo::local::{Plan, Stage};
use crate::process::{self, command};
use crate::workspace;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often each way is taken
    #[arg(long, default_value_t = 300)]
    rounds: u32,
}

/// Runs `cargo xtask bench`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    parts()?;
    statements(arguments)
}

/// The parts that do no I/O, each in turn with the least that its work costs.
const PARTS: [(&str, &str); 3] = [
    ("frostgate-sql", "judge"),
    ("frostgate-snowflake", "rows"),
    ("frostgate-recording", "append"),
];

fn parts() -> Result<()> {
    let queries = analytics::queries()?;
    println!("{:<42} {:<32} {:>10}  {:>10}  ratio", "", "compared with", "that", "ours");
    for (package, bench) in PARTS {
        let said = process::read(
            command("cargo", ["bench", "--quiet", "--package", package, "--bench", bench])
                .current_dir(workspace::root())
                .env("FROSTGATE_QUERIES", &queries),
        )?;
        for line in said.lines().filter(|line| line.starts_with('{')) {
            let answer: Value = serde_json::from_str(line)?;
            let text = |name: &str| answer[name].as_str().unwrap_or_default();
            // Of a single input the median says all.
            let shares = if answer["inputs"] == 1 { &["p50"][..] } else { &["p50", "p99"] };
            for share in shares {
                let figure = |name: &str| answer[name][share].as_f64().unwrap_or(f64::NAN);
                println!(
                    "{:<42} {:<32} {:7.0} us  {:7.0} us  {:5.2}",
                    format!("{} {share}", text("what")),
                    text("against"),
                    figure("theirs"),
                    figure("ours"),
                    figure("ratio"),
                );
            }
        }
    }
    Ok(())
}

fn statements(arguments: &Arguments) -> Result<()> {
    let stage = Stage::set(&Plan { optimized: true, ..Plan::demonstration() })?;
    let direct = json!({
        "account": "demo", "user": "ADMIN", "password": Stage::ADMIN_PASSWORD, "host": "127.0.0.1",
        // The certificate is for the account's name, and it is the time that is asked for here.
        "port": stage.account_port, "tls_skip_verify": true, "warehouse": "COMPUTE_WH",
        "database": "DEMO", "schema": "PUBLIC",
    });
    let through = json!({
        "account": "demo", "user": "agent", "password": "placeholder", "host": "127.0.0.1", "port": stage.port,
        "protocol": "http",
    });
    let task = json!({
        "direct": direct, "through": through, "rounds": arguments.rounds,
        "sql": "SELECT name, email FROM customers WHERE id = 1",
    });
    let said = process::read(
        command(&stage.python, [workspace::root().join("e2e/agents/python/bench.py")])
            .arg(task.to_string()),
    )?;
    let line = said.lines().last().context("the benchmark said nothing")?;
    let answer: Value = serde_json::from_str(line)?;
    println!("                 direct   through     added   ratio");
    for share in ["p50", "p99"] {
        let figure = |path: &str| answer.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
        println!(
            "small SELECT {share}  {:6.2} ms {:6.2} ms {:6.2} ms  {:5.2}",
            figure(&format!("/direct/{share}_ms")),
            figure(&format!("/through/{share}_ms")),
            figure(&format!("/added_{share}_ms")),
            figure(&format!("/ratio_{share}")),
        );
    }
    Ok(())
}
