//! `cargo xtask demo`: the whole story on this machine, told step by step.

pub(crate) mod account;
mod agent;
pub(crate) mod local;
mod pods;
pub(crate) mod story;

use anyhow::Result;

use crate::target;

/// What to show.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Without a cluster: operator and sidecar in one process, from a folder
    #[arg(long)]
    local: bool,
    /// With --local: leave everything running at the end; a cluster stays up in any case
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    target: target::Arguments,
}

/// Runs `cargo xtask demo`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.local { local::run(arguments.keep) } else { pods::run(&arguments.target) }
}
