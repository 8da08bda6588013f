//! Layers that take long to build, kept by a digest of what they are made from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::progress::say;
use crate::workspace;

use super::layer::Layer;

/// What a layer is made from.
pub(super) struct Inputs(Sha256);

impl Inputs {
    /// Starts with the recipe's name and version: raise it when the recipe changes.
    pub(super) fn new(recipe: &str) -> Self {
        Self(Sha256::new_with_prefix(recipe))
    }

    /// A word that changes the result.
    pub(super) fn word(mut self, word: &str) -> Self {
        self.0.update([0]);
        self.0.update(word);
        self
    }

    /// A file, or everything below a folder, that changes the result.
    pub(super) fn path(mut self, path: &Path) -> Result<Self> {
        if path.is_dir() {
            let mut entries: Vec<PathBuf> =
                fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
            entries.sort();
            for entry in entries {
                self = self.word(&entry.file_name().unwrap_or_default().to_string_lossy());
                self = self.path(&entry)?;
            }
        } else {
            self.0.update([1]);
            self.0.update(fs::read(path).with_context(|| format!("read {}", path.display()))?);
        }
        Ok(self)
    }
}

/// The layer made from these inputs: an earlier one, or a new one from `build`, which gets an
/// empty folder to work in.
pub(super) fn layer(
    name: &str,
    inputs: Inputs,
    build: impl FnOnce(&Path) -> Result<Layer>,
) -> Result<Layer> {
    let hash = inputs.0.finalize();
    let key: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = workspace::cache()?.join("layers");
    let blob = folder.join(format!("{name}-{key}.tar.gz"));
    let digests = folder.join(format!("{name}-{key}.digests"));
    if let (Ok(text), Ok(blob)) = (fs::read_to_string(&digests), fs::read(&blob))
        && let Some((digest, diff_id)) = text.trim().split_once(' ')
    {
        return Ok(Layer { blob, digest: digest.to_owned(), diff_id: diff_id.to_owned() });
    }
    say(format!("building layer {name} (once)"));
    fs::create_dir_all(&folder)?;
    let work = tempfile::Builder::new().prefix(name).tempdir_in(&folder)?;
    let layer = build(work.path()).with_context(|| format!("build layer {name}"))?;
    fs::write(&blob, &layer.blob)?;
    // Written last: a layer without it is not finished.
    fs::write(&digests, format!("{} {}\n", layer.digest, layer.diff_id))?;
    Ok(layer)
}
