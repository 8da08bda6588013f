//! The product's own images: one static binary each, on nothing.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::process::{self, command};
use crate::progress::say;
use crate::workspace;

use super::layer::Writer;
use super::registry::Image;

/// An image of ours is pulled by every agent's node; it must stay small.
const LIMIT: usize = 20 << 20;

/// The unprivileged user of both images, the one that the injector writes into pods.
const USER: &str = "64535:64535";

/// Every program of ours, by package and binary.
const PROGRAMS: [(&str, &str); 3] = [
    ("frostgate-operator", "frostgate-operator"),
    ("frostgate-proxy", "frostgate-proxy"),
    ("frostgate-cli", "kubectl-frostgate"),
];

/// Compiles all of them, always together: which features a shared dependency has depends on what
/// is compiled with it, and half of them now and half of them later would compile it twice.
pub(crate) fn compile() -> Result<()> {
    say("compiling the static binaries (release)");
    let mut cargo = command("cargo", ["build", "--release", "--quiet", "--target", target()?]);
    for (package, binary) in PROGRAMS {
        cargo.args(["--package", package, "--bin", binary]);
    }
    process::run(
        cargo
            .current_dir(workspace::root())
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env("CARGO_TARGET_DIR", folder()),
    )
}

/// Where a compiled program lies.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    Ok(folder().join(target()?).join("release").join(name))
}

pub(super) fn operator() -> Result<Image> {
    image("frostgate-operator")
}

pub(super) fn proxy() -> Result<Image> {
    image("frostgate-proxy")
}

fn image(name: &str) -> Result<Image> {
    let path = program(name)?;
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

/// Beside what cargo builds otherwise, so that other flags do not rebuild everything there.
fn folder() -> PathBuf {
    workspace::target().join("image")
}

fn target() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("x86_64-unknown-linux-gnu"),
        "aarch64" => Ok("aarch64-unknown-linux-gnu"),
        other => bail!("no static target is known for {other}"),
    }
}
