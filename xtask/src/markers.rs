//! `cargo xtask markers`: every statement of our tables of cases against the stand-in account, whose masked columns hold
//! values that are known again wherever they come out.

use anyhow::Result;

use crate::process::{self, command};
use crate::python;
use crate::workspace;

/// Runs `cargo xtask markers`.
pub(crate) fn run() -> Result<()> {
    process::run(
        command("cargo", ["test", "-p", "frostgate-local", "--quiet", "--test", "markers"])
            .args(["--", "--include-ignored", "--show-output"])
            .current_dir(workspace::root())
            .env("FROSTGATE_WAREHOUSE", python::warehouse()?),
    )
}
