//! `cargo xtask check`: everything that a change must pass, the cheapest first.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::chart;
use crate::e2e;
use crate::process::{self, command};
use crate::progress::say;
use crate::python;
use crate::tidy;
use crate::workspace;

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Go on after a failed step and name all that failed
    #[arg(long)]
    keep_going: bool,
    /// Without the promises in real pods: they need root, and most of the time
    #[arg(long)]
    without_pods: bool,
}

type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("formatting", formatting),
    ("lints", lints),
    ("tidiness", tidy::run),
    ("the chart against the kustomize base", chart::run),
    ("tests", tests),
    ("somebody else's statements", crate::corpus::run),
    ("ordinary analytics, and another's lineage", crate::analytics::run),
    ("the stand-in account's own tests", warehouse),
];

/// Comes last, since it takes longest.
const PODS: Step = ("the promises, in real pods", e2e::all);

/// Runs `cargo xtask check`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    let mut failed = Vec::new();
    let pods = (!arguments.without_pods).then_some(&PODS);
    let steps: Vec<&Step> = STEPS.iter().chain(pods).collect();
    for (number, (name, step)) in steps.iter().enumerate() {
        say(format!("({}/{}) {name}", number + 1, steps.len()));
        match step() {
            Ok(()) => {}
            Err(error) if arguments.keep_going => {
                say(format!("FAILED: {name}: {error:#}"));
                failed.push(*name);
            }
            Err(error) => return Err(error.context(format!("{name} failed"))),
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    let seconds = start.elapsed().as_secs();
    say(format!("everything holds ({} min {} s)", seconds / 60, seconds % 60));
    Ok(())
}

fn formatting() -> Result<()> {
    process::run(&mut cargo(&["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    process::run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        "frostgate-e2e/cluster",
        "--quiet",
        "--",
        "-Dwarnings",
    ]))
}

fn tests() -> Result<()> {
    process::run(&mut cargo(&["test", "--workspace", "--quiet", "--no-fail-fast"]))
}

fn warehouse() -> Result<()> {
    process::run(
        command(&python::warehouse()?, ["-m", "pytest", "-q"])
            .current_dir(workspace::root().join("e2e/warehouse"))
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}

fn cargo(words: &[&str]) -> std::process::Command {
    let mut cargo = command("cargo", words);
    cargo.current_dir(workspace::root());
    cargo
}
