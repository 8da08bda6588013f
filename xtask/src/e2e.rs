//! `cargo xtask e2e`: the promises, in real pods.

use anyhow::Result;
use clap::{Parser as _, ValueEnum};

use crate::cluster;
use crate::image::Name;
use crate::process::{self, command};
use crate::progress::say;
use crate::stage;
use crate::target;
use crate::workspace;

/// Which tests.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Part of a test's name; all of them without one
    filter: Option<String>,
    /// Use the stage as it stands
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    target: target::Arguments,
}

/// Sets the stage and runs every test, in the cluster that the environment names or in one of our own.
pub(crate) fn all() -> Result<()> {
    #[derive(clap::Parser)]
    struct Environment {
        #[command(flatten)]
        arguments: Arguments,
    }
    let stood = cluster::stands();
    run(&Environment::parse_from(["e2e"]).arguments)?;
    // What was started for this ends with it; after a failure it stays, to be looked at.
    if !stood && cluster::stands() { cluster::down() } else { Ok(()) }
}

/// Runs `cargo xtask e2e`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let stage = if arguments.again {
        stage::again(&arguments.target)?
    } else {
        stage::set(&arguments.target, Name::value_variants())?
    };
    say("running the tests in pods");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = stage.target.tools().into_iter();
    let path = std::env::join_paths(tools.chain(std::env::split_paths(&path)))?;
    let mut cargo = command(
        "cargo",
        ["test", "--package", "frostgate-e2e", "--features", "cluster", "--test", "pods", "--"],
    );
    if let Some(filter) = &arguments.filter {
        cargo.arg(filter);
    }
    process::run(
        // One at a time: some stop the operator, and two cores are not many.
        cargo
            .arg("--test-threads=1")
            .current_dir(workspace::root())
            .env("PATH", path)
            .env("KUBECONFIG", &stage.target.kubeconfig)
            .env("FROSTGATE_E2E_STAGE", &stage.file),
    )
}
