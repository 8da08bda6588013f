//! What the cluster takes from Debian.

use anyhow::{Result, bail};

use crate::process::{self, command};
use crate::progress::say;

/// A program or file that tells whether a package is there, and the package.
const NEEDED: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
];

/// Installs what is missing.
pub(crate) fn install() -> Result<()> {
    add(NEEDED)
}

/// Installs those packages whose program or file is missing.
pub(crate) fn add(needed: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> = needed
        .iter()
        .filter(|(sign, _)| match sign.strip_prefix('/') {
            Some(_) => !std::path::Path::new(sign).exists(),
            None => !process::installed(sign),
        })
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !process::installed("apt-get") {
        bail!("install these packages first: {}", missing.join(" "));
    }
    say(format!("installing {}", missing.join(", ")));
    process::read(&mut command("apt-get", ["update", "-q"]))?;
    process::read(
        command("apt-get", ["install", "-q", "-y", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive")
            // Debian starts a daemon with its package; ours runs apart from the host's.
            .env("RUNLEVEL", "1"),
    )?;
    Ok(())
}
