//! The product's own images: one static binary each, on nothing.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::process::{self, command};
use crate::progress::say;
use crate::workspace;

use super::Name;
use super::layer::Writer;
use super::registry::Image;

/// An image of ours is pulled by every agent's node; it must stay small.
const LIMIT: usize = 20 << 20;

/// The unprivileged user of both images, the one that the injector writes into pods.
const USER: &str = "64535:64535";

/// Compiles the binaries of the named images, in one run of cargo.
pub(super) fn compile(names: &[Name]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    say("compiling the static binaries (release)");
    let mut cargo = command("cargo", ["build", "--release", "--quiet", "--target", target()?]);
    for name in names {
        let (package, binary) = match name {
            Name::Operator => ("frostgate-operator", "frostgate-operator"),
            _ => ("frostgate-proxy", "frostgate-proxy"),
        };
        cargo.args(["--package", package, "--bin", binary]);
    }
    process::run(
        cargo
            .current_dir(workspace::root())
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env("CARGO_TARGET_DIR", folder()?),
    )
}

pub(super) fn operator() -> Result<Image> {
    image("frostgate-operator")
}

pub(super) fn proxy() -> Result<Image> {
    image("frostgate-proxy")
}

fn image(name: &str) -> Result<Image> {
    let path = folder()?.join(target()?).join("release").join(name);
    let binary = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let mut writer = Writer::new();
    writer.file(name, 0o755, &binary)?;
    // Programs expect a place for temporary files even where the rest is read-only.
    writer.folder("tmp", 0o1777)?;
    let image = Image {
        name: name.to_owned(),
        tag: "latest".to_owned(),
        layers: vec![writer.finish()?],
        config: json!({ "Entrypoint": [format!("/{name}")], "User": USER, "WorkingDir": "/" }),
    };
    if image.size() > LIMIT {
        bail!("{name} is {} MiB, more than the {} MiB it may be", image.size() >> 20, LIMIT >> 20);
    }
    Ok(image)
}

/// Beside the ordinary target folder, so that other flags do not rebuild everything there.
fn folder() -> Result<PathBuf> {
    let base = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => std::path::absolute(folder)?,
        None => workspace::root().join("target"),
    };
    Ok(base.join("image"))
}

fn target() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("x86_64-unknown-linux-gnu"),
        "aarch64" => Ok("aarch64-unknown-linux-gnu"),
        other => bail!("no static target is known for {other}"),
    }
}
