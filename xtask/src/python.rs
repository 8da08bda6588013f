//! Virtual environments of Python, made once per list of packages.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cluster::packages;
use crate::kept;
use crate::process::{self, command};
use crate::workspace;

/// The folder of an environment with everything that the lists name; `bin/python` is in it.
pub(crate) fn environment(name: &str, lists: &[PathBuf]) -> Result<PathBuf> {
    packages::add(&[("python3", "python3-venv")])?;
    kept::folder(name, lists, &[], |folder| {
        process::read(command("python3", ["-m", "venv", "--clear"]).arg(folder))?;
        let mut pip =
            command(&program(folder, "pip"), ["install", "-q", "--disable-pip-version-check"]);
        for list in lists {
            pip.arg("--requirement").arg(list);
        }
        process::read(&mut pip).map(drop)
    })
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
