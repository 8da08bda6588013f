//! `cargo xtask demo`: the whole story on this machine, told step by step.

pub(crate) mod account;
mod local;
mod story;

use anyhow::Result;

/// What to show.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Without a cluster: operator and sidecar in one process, from a folder
    #[arg(long)]
    local: bool,
    /// Leave everything running at the end, to look around
    #[arg(long)]
    keep: bool,
}

/// Runs `cargo xtask demo`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !arguments.local {
        anyhow::bail!("the cluster's demonstration is not here yet: use --local");
    }
    local::run(arguments.keep)
}
