//! `cargo xtask e2e`: the promises, in real pods.

use anyhow::Result;
use clap::ValueEnum;

use crate::cluster::layout;
use crate::image::Name;
use crate::process::{self, command};
use crate::progress::say;
use crate::stage;
use crate::workspace;

/// Which tests.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Part of a test's name; all of them without one
    filter: Option<String>,
    /// Use the stage as it stands
    #[arg(long)]
    again: bool,
}

/// Sets the stage and runs every test.
pub(crate) fn all() -> Result<()> {
    run(&Arguments { filter: None, again: false })
}

/// Runs `cargo xtask e2e`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let file = if arguments.again {
        layout::state().join("stage.json")
    } else {
        stage::set(Name::value_variants())?.file
    };
    say("running the tests in pods");
    let tools = workspace::cache()?.join("tools");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)))?;
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
            .env("KUBECONFIG", layout::kubeconfig())
            .env("FROSTGATE_E2E_STAGE", file),
    )
}
