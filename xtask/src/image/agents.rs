//! Agents with real drivers, and the services that stand around them: each a small Debian and, on
//! top of it, what the ecosystem's own package manager installs from a lock file.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::cluster::packages;
use crate::process::{self, command};
use crate::workspace;

use super::cached::{self, Inputs};
use super::debian;
use super::layer::{Layer, Writer};
use super::registry::Image;

/// Python as Debian has it: driver packages are chosen for this version, not for this machine's.
const PYTHON: &str = "3.11";

/// Both generations of the Python driver, each in an environment of its own, `snow`, and what looks at pages.
pub(super) fn python() -> Result<Image> {
    let source = workspace::root().join("e2e/agents/python");
    let mut layers = vec![python_root()?];
    for name in ["connector4", "connector5", "snow", "tools"] {
        layers.push(environment(name, &source.join(format!("{name}.txt")))?);
    }
    layers.push(files(&[
        ("agent/agent.py", &source.join("agent.py")),
        ("agent/task.py", &source.join("task.py")),
        ("agent/raw.py", &source.join("raw.py")),
    ])?);
    Ok(Image {
        name: "agent-python".to_owned(),
        tag: "latest".to_owned(),
        layers,
        config: json!({
            "Env": [
                "PATH=/opt/connector5/bin:/opt/snow/bin:/usr/bin:/bin", "HOME=/tmp",
                "PYTHONDONTWRITEBYTECODE=1",
            ],
            "WorkingDir": "/agent",
            "User": "1000:1000",
        }),
    })
}

/// The Node.js driver, with the runtime that it asks for rather than Debian's older one.
pub(super) fn node() -> Result<Image> {
    let source = workspace::root().join("e2e/agents/node");
    let layers = vec![
        node_root()?,
        modules("node", &source, "agent")?,
        files(&[("agent/agent.js", &source.join("agent.js"))])?,
    ];
    Ok(Image {
        name: "agent-node".to_owned(),
        tag: "latest".to_owned(),
        layers,
        config: json!({
            "Env": ["PATH=/agent/bin:/usr/bin:/bin", "HOME=/tmp"],
            "WorkingDir": "/agent",
            "User": "1000:1000",
        }),
    })
}

/// The JDBC driver with one class that uses it.
pub(super) fn jdbc() -> Result<Image> {
    let source = workspace::root().join("e2e/agents/jdbc");
    let inputs = Inputs::new("maven 1").path(&source)?;
    let program = cached::layer("jdbc", inputs, |work| {
        packages::add(&[("javac", "default-jdk-headless"), ("mvn", "maven")])?;
        for file in ["pom.xml", "Agent.java"] {
            fs::copy(source.join(file), work.join(file))?;
        }
        process::read(
            command("mvn", ["--batch-mode", "--quiet", "compile", "dependency:copy-dependencies"])
                .arg("-DoutputDirectory=lib")
                .current_dir(work),
        )?;
        let mut writer = Writer::new();
        writer.tree(&work.join("target/classes"), "agent/classes")?;
        writer.tree(&work.join("lib"), "agent/lib")?;
        writer.finish()
    })?;
    let root = debian::root("java", &["ca-certificates", "default-jre-headless"])?;
    Ok(Image {
        name: "agent-jdbc".to_owned(),
        tag: "latest".to_owned(),
        layers: vec![root, program],
        config: json!({
            "Env": ["PATH=/usr/bin:/bin", "HOME=/tmp", "CLASSPATH=/agent/classes:/agent/lib/*"],
            "WorkingDir": "/agent",
            "User": "1000:1000",
        }),
    })
}

/// The stand-in for Snowflake.
pub(super) fn warehouse() -> Result<Image> {
    let source = workspace::root().join("e2e/warehouse");
    let mut program = Writer::new();
    program.tree(&source.join("warehouse"), "srv/warehouse")?;
    Ok(Image {
        name: "warehouse".to_owned(),
        tag: "latest".to_owned(),
        layers: vec![
            python_root()?,
            environment("warehouse", &source.join("requirements.txt"))?,
            program.finish()?,
        ],
        config: json!({
            "Env": [
                "PATH=/opt/warehouse/bin:/usr/bin:/bin", "HOME=/tmp", "PYTHONPATH=/srv",
                "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1",
            ],
            "Entrypoint": ["/opt/warehouse/bin/python", "-m", "warehouse"],
            "WorkingDir": "/tmp",
            "User": "1000:1000",
        }),
    })
}

/// An OpenID provider.
pub(super) fn idp() -> Result<Image> {
    let source = workspace::root().join("e2e/idp");
    Ok(Image {
        name: "idp".to_owned(),
        tag: "latest".to_owned(),
        layers: vec![
            node_root()?,
            modules("idp", &source, "idp")?,
            files(&[
                ("idp/provider.mjs", &source.join("provider.mjs")),
                ("idp/token.mjs", &source.join("token.mjs")),
            ])?,
        ],
        config: json!({
            "Env": ["PATH=/idp/bin:/usr/bin:/bin", "HOME=/tmp", "NODE_ENV=production"],
            "Entrypoint": ["/idp/bin/node", "/idp/provider.mjs"],
            "WorkingDir": "/idp",
            "User": "1000:1000",
        }),
    })
}

fn python_root() -> Result<Layer> {
    debian::root("python", &["ca-certificates", "python3"])
}

fn node_root() -> Result<Layer> {
    debian::root("libstdc", &["ca-certificates", "libstdc++6"])
}

/// A virtual environment under `/opt`, filled by this machine's pip for Debian's Python.
fn environment(name: &str, requirements: &Path) -> Result<Layer> {
    let inputs = Inputs::new("environment 1").word(name).word(PYTHON).path(requirements)?;
    cached::layer(name, inputs, |work| {
        packages::add(&[("python3", "python3"), ("pip3", "python3-pip")])?;
        let packages = work.join(format!("lib/python{PYTHON}/site-packages"));
        process::read(
            command("pip3", ["install", "--quiet", "--no-compile", "--only-binary=:all:"])
                .args(["--implementation", "cp", "--python-version", PYTHON])
                .args(platforms())
                .args(["--no-deps", "--requirement"])
                .arg(requirements)
                .arg("--target")
                .arg(&packages),
        )?;
        adopt_programs(&packages.join("bin"), &work.join("bin"), name)?;
        for link in ["python", "python3"] {
            symlink(format!("/usr/bin/python{PYTHON}"), work.join("bin").join(link))?;
        }
        let config =
            format!("home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n");
        fs::write(work.join("pyvenv.cfg"), config)?;
        let mut writer = Writer::new();
        writer.tree(work, &format!("opt/{name}"))?;
        writer.finish()
    })
}

/// The wheels that Debian's C library can load.
fn platforms() -> Vec<String> {
    let machine = std::env::consts::ARCH;
    ["manylinux_2_28", "manylinux_2_17", "manylinux2014"]
        .iter()
        .map(|platform| format!("--platform={platform}_{machine}"))
        .collect()
}

/// Moves installed programs to where an environment has them. Each names its interpreter in the
/// first line, and pip wrote this machine's.
fn adopt_programs(from: &Path, to: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(to)?;
    if !from.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let program = fs::read(entry.path())?;
        let adopted = match program.strip_prefix(b"#!") {
            Some(rest) if rest.split(|byte| *byte == b'\n').next().is_some_and(is_python) => {
                let body = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                let mut text = format!("#!/opt/{name}/bin/python").into_bytes();
                text.extend_from_slice(rest.get(body..).unwrap_or_default());
                text
            }
            _ => program,
        };
        let path = to.join(entry.file_name());
        fs::write(&path, adopted)?;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
    }
    fs::remove_dir_all(from)?;
    Ok(())
}

fn is_python(line: &[u8]) -> bool {
    line.windows(6).any(|part| part == b"python")
}

/// `node_modules` of a lock file, and its Node.js as `bin/node`.
fn modules(name: &str, source: &Path, place: &str) -> Result<Layer> {
    let manifest = source.join("package.json");
    let lock = source.join("package-lock.json");
    let inputs = Inputs::new("modules 1").word(place).path(&manifest)?.path(&lock)?;
    cached::layer(name, inputs, |work| {
        packages::add(&[("npm", "npm")])?;
        fs::copy(&manifest, work.join("package.json"))?;
        fs::copy(&lock, work.join("package-lock.json"))?;
        process::read(
            command("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"])
                .current_dir(work),
        )?;
        let machine = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "x64",
        };
        let runtime = format!("../node_modules/node-linux-{machine}/bin/node");
        fs::create_dir(work.join("bin"))?;
        symlink(&runtime, work.join("bin/node"))?;
        fs::metadata(work.join("bin/node")).context("the lock file names no Node.js")?;
        let mut writer = Writer::new();
        writer.tree(work, place)?;
        writer.finish()
    })
}

/// A layer of a few files of this repository.
fn files(list: &[(&str, &Path)]) -> Result<Layer> {
    let mut writer = Writer::new();
    for (place, path) in list {
        let content = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        writer.file(place, 0o644, &content)?;
    }
    writer.finish()
}
