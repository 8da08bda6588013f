//! `cargo xtask tidy`: the rules of `ARCHITECTURE.md` that a compiler does not know.

mod arrows;
mod files;
mod purity;

use anyhow::{Result, bail};
use cargo_metadata::MetadataCommand;

use crate::generate;
use crate::progress::say;
use crate::workspace;

/// Runs `cargo xtask tidy`: every complaint at once.
pub(crate) fn run() -> Result<()> {
    let metadata = MetadataCommand::new().current_dir(workspace::root()).exec()?;
    let map = std::fs::read_to_string(workspace::root().join("ARCHITECTURE.md"))?;
    let mut complaints = Vec::new();
    complaints.extend(arrows::complaints(&map, &metadata));
    complaints.extend(purity::complaints(&metadata));
    complaints.extend(files::complaints(&map)?);
    complaints.extend(generate::complaints()?);
    for complaint in &complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => say("tidy"),
        count => bail!("{count} things are not tidy"),
    }
    Ok(())
}
