//! Folders that take long to fill, made once per set of inputs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::progress::say;
use crate::workspace;

/// The folder that was filled for these files and words, now or earlier.
pub(crate) fn folder(
    name: &str,
    files: &[PathBuf],
    words: &[&str],
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(std::fs::read(file).with_context(|| format!("read {}", file.display()))?);
    }
    for word in words {
        hash.update(word);
    }
    let key: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = workspace::cache()?.join(format!("{name}-{key}"));
    let finished = folder.join("finished");
    if !finished.exists() {
        say(format!("installing {name} (once)"));
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        fill(&folder)?;
        std::fs::write(finished, "")?;
    }
    Ok(folder)
}
