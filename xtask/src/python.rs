//! Virtual environments of Python, made once per list of packages.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::cluster::packages;
use crate::process::{self, command};
use crate::progress::say;
use crate::workspace;

/// The folder of an environment with everything that the lists name; `bin/python` is in it.
pub(crate) fn environment(name: &str, lists: &[PathBuf]) -> Result<PathBuf> {
    let mut hash = Sha256::new();
    for list in lists {
        hash.update(std::fs::read(list).with_context(|| format!("read {}", list.display()))?);
    }
    let key: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = workspace::cache()?.join(format!("{name}-{key}"));
    let finished = folder.join("finished");
    if !finished.exists() {
        packages::add(&[("python3", "python3-venv")])?;
        say(format!("installing the Python packages of {name} (once)"));
        process::read(command("python3", ["-m", "venv", "--clear"]).arg(&folder))?;
        let mut pip =
            command(&program(&folder, "pip"), ["install", "-q", "--disable-pip-version-check"]);
        for list in lists {
            pip.arg("--requirement").arg(list);
        }
        process::read(&mut pip)?;
        std::fs::write(finished, "")?;
    }
    Ok(folder)
}

/// The Python of the stand-in account and its tests.
pub(crate) fn warehouse() -> Result<String> {
    let source = workspace::root().join("e2e/warehouse");
    let lists = ["requirements.txt", "tests/requirements.txt"].map(|name| source.join(name));
    Ok(program(&environment("warehouse", &lists)?, "python"))
}

/// The path of a program in an environment.
pub(crate) fn program(environment: &Path, name: &str) -> String {
    environment.join("bin").join(name).display().to_string()
}
