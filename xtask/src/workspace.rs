//! Where things are: this repository, and the folders outside it that outlive a build.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of this repository.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// What takes long to build and never changes for the same input. It lies outside `target`, so
/// that `cargo clean` does not cost a quarter of an hour.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => {
            PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME set")?)
                .join(".cache")
        }
    };
    let folder = base.join("frostgate");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}
