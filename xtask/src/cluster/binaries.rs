//! The programs that a cluster consists of, built from the Go modules in `e2e/cluster`.
//!
//! A build is kept under a key of its sources: the first takes minutes, every later one nothing.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::process::{self, command};
use crate::progress::say;
use crate::workspace;

const HELM: &str = "v3.22.0";

/// Kubernetes: every component and kubectl in one program.
pub(crate) fn kubernetes() -> Result<PathBuf> {
    const VERSION: &str = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {VERSION}.gitVersion=v1.34.4 -X {VERSION}.gitMajor=1 -X {VERSION}.gitMinor=34"
    );
    module("kubernetes", &flags, "about 12 minutes of CPU")
}

/// The cluster's DNS server.
pub(crate) fn coredns() -> Result<PathBuf> {
    module("coredns", "-s -w", "about 3 minutes of CPU")
}

/// The registry that nodes pull from.
pub(crate) fn registry() -> Result<PathBuf> {
    module("registry", "-s -w", "about 1 minute of CPU")
}

/// The container that holds a pod's namespaces; also the first process of the cluster.
pub(crate) fn pause() -> Result<PathBuf> {
    module("pause", "-s -w", "seconds")
}

/// Helm, from the module proxy.
pub(crate) fn helm() -> Result<PathBuf> {
    let folder = workspace::cache()?.join("bin").join(format!("helm-{HELM}"));
    let binary = folder.join("helm");
    if !binary.is_file() {
        need_go()?;
        say(format!("building helm {HELM} (once, about 3 minutes of CPU)"));
        let package = format!("helm.sh/helm/v3/cmd/helm@{HELM}");
        process::run(
            command("nice", ["-n", "10", "go", "install", "-trimpath", "-ldflags=-s -w"])
                .arg(package)
                .env("CGO_ENABLED", "0")
                .env("GOBIN", &folder),
        )?;
    }
    Ok(binary)
}

fn module(name: &str, flags: &str, cost: &str) -> Result<PathBuf> {
    let source = workspace::root().join("e2e/cluster").join(name);
    let mut hash = Sha256::new();
    hash.update(flags);
    for file in ["go.mod", "go.sum", "main.go"] {
        let path = source.join(file);
        match std::fs::read(&path) {
            Ok(bytes) => hash.update(bytes),
            // A module without dependencies has no sums.
            Err(_) if file == "go.sum" => {}
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        }
    }
    let key: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();

    let folder = workspace::cache()?.join("bin");
    let binary = folder.join(format!("{name}-{key}"));
    if binary.is_file() {
        return Ok(binary);
    }
    need_go()?;
    say(format!("building {name} (once, {cost})"));
    std::fs::create_dir_all(&folder)?;
    // Built aside and renamed, so that an interrupted build leaves nothing that looks finished.
    let unfinished = folder.join(format!("{name}-{key}.{}", std::process::id()));
    process::run(
        command("nice", ["-n", "10", "go", "build", "-trimpath", "-ldflags", flags, "-o"])
            .arg(&unfinished)
            .arg(".")
            .current_dir(&source)
            .env("CGO_ENABLED", "0"),
    )?;
    std::fs::rename(&unfinished, &binary)?;
    Ok(binary)
}

fn need_go() -> Result<()> {
    if !process::installed("go") {
        bail!(
            "the cluster is built from Go modules: install Go 1.25 or newer (https://go.dev/dl), \
             or name a cluster that runs already with --kubeconfig"
        );
    }
    Ok(())
}
