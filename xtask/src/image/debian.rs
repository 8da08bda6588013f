//! Roots made from Debian packages, for everything that is not ours.

use std::fs;

use anyhow::Result;
use serde_json::json;

use crate::cluster::packages;
use crate::process::{self, command};

use super::cached::{self, Inputs};
use super::layer::{self, Layer, Writer};
use super::registry::Image;

const RELEASE: &str = "bookworm";

/// A small Debian with these packages.
pub(super) fn root(name: &str, wanted: &[&str]) -> Result<Layer> {
    let list = wanted.join(",");
    let inputs = Inputs::new("debian 1").word(RELEASE).word(&list);
    cached::layer(name, inputs, |work| {
        packages::add(&[("mmdebstrap", "mmdebstrap")])?;
        let archive = work.join("root.tar");
        process::read(
            command("mmdebstrap", ["--quiet", "--variant=minbase"])
                .arg(format!("--include={list}"))
                // Neither manuals nor the lists of packages are read in a test.
                .args(["--dpkgopt=path-exclude=/usr/share/doc/*"])
                .args(["--dpkgopt=path-exclude=/usr/share/man/*"])
                .args(["--dpkgopt=path-exclude=/usr/share/locale/*"])
                // Java's packages link their manuals, and fail where there is no place for them.
                .arg("--essential-hook=mkdir -p \"$1\"/usr/share/man/man1")
                .args(["--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/*"])
                .arg(RELEASE)
                .arg(&archive),
        )?;
        layer::from_archive(&fs::read(archive)?)
    })
}

/// Busybox with a link for each of its tools.
pub(super) fn busybox() -> Result<Image> {
    packages::add(&[("/bin/busybox", "busybox-static")])?;
    let mut writer = Writer::new();
    writer.folder("bin", 0o755)?;
    writer.file("bin/busybox", 0o755, &fs::read("/bin/busybox")?)?;
    for tool in process::read(&mut command("/bin/busybox", ["--list"]))?.split_whitespace() {
        if tool != "busybox" {
            writer.link(&format!("bin/{tool}"), "busybox")?;
        }
    }
    writer.folder("tmp", 0o1777)?;
    writer.file("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\n")?;
    Ok(Image {
        name: "busybox".to_owned(),
        tag: "latest".to_owned(),
        layers: vec![writer.finish()?],
        config: json!({ "Env": ["PATH=/bin"], "Cmd": ["sh"] }),
    })
}

/// Prometheus; its configuration is expected as `/etc/prometheus/prometheus.yml`.
pub(super) fn prometheus() -> Result<Image> {
    Ok(Image {
        name: "prometheus".to_owned(),
        tag: "latest".to_owned(),
        layers: vec![root("prometheus", &["ca-certificates", "prometheus"])?],
        config: json!({
            "Entrypoint": [
                "/usr/bin/prometheus", "--config.file=/etc/prometheus/prometheus.yml",
                "--storage.tsdb.path=/tmp/prometheus",
            ],
            "User": "65534:65534",
        }),
    })
}
