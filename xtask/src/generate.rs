//! `cargo xtask generate`: the YAML of the three kinds, from their types, wherever it is shipped, and the chart's copy
//! of what it shares with the kustomize base.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::{self, command};
use crate::progress::say;
use crate::workspace;

/// Where the definitions lie: beside their types, in the chart, in the kustomize base.
const FOLDERS: [&str; 3] = ["crds/yaml", "charts/frostgate/crds", "config/crd"];

/// Parts of the kustomize base that the chart ships as they are, but for the namespace of its release.
const SHARED: [&str; 3] = ["rbac", "webhook", "policies"];

/// Runs `cargo xtask generate`.
pub(crate) fn run() -> Result<()> {
    let stale = stale()?;
    for (path, text) in &stale {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)?;
        println!("{}", shown(path));
    }
    say(match stale.len() {
        0 => "every generated file was fresh".to_owned(),
        count => format!("{count} files written"),
    });
    Ok(())
}

/// What `generate` would write, as complaints.
pub(crate) fn complaints() -> Result<Vec<String>> {
    let complain = |(path, _): (PathBuf, _)| {
        format!("{}: stale: run `cargo xtask generate` and commit the result", shown(&path))
    };
    Ok(stale()?.into_iter().map(complain).collect())
}

/// The files that differ from what they are generated from, with what they should be.
fn stale() -> Result<Vec<(PathBuf, String)>> {
    let fresh = tempfile::tempdir()?;
    process::read(
        command("cargo", ["run", "--quiet", "--package", "frostgate-crds"])
            .args(["--example", "generate", "--"])
            .arg(fresh.path())
            .current_dir(workspace::root()),
    )?;
    let mut stale = Vec::new();
    for entry in fs::read_dir(fresh.path())? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path()).context("read a generated file")?;
        for folder in FOLDERS {
            let path = workspace::root().join(folder).join(entry.file_name());
            if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
                stale.push((path, text.clone()));
            }
        }
    }
    for folder in SHARED {
        for entry in fs::read_dir(workspace::root().join("config").join(folder))? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            if name == "kustomization.yaml" {
                continue;
            }
            let source = format!("config/{folder}/{name}");
            let text = fs::read_to_string(workspace::root().join(&source))?;
            let text = text.replace("frostgate-system", "{{ .Release.Namespace }}");
            let text = format!("# Generated from {source}: cargo xtask generate\n{text}");
            let path =
                workspace::root().join(format!("charts/frostgate/templates/{folder}_{name}"));
            if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
                stale.push((path, text));
            }
        }
    }
    stale.sort();
    Ok(stale)
}

fn shown(path: &Path) -> String {
    path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string()
}
