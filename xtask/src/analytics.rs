//! `cargo xtask analytics`: the benchmark queries that DuckDB's package prints are decided, and the lineage of every
//! query at hand is compared with what SQLGlot makes of it.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::process::{self, command};
use crate::python;
use crate::workspace;

/// Runs `cargo xtask analytics`.
pub(crate) fn run() -> Result<()> {
    let queries = queries()?;
    let traces = traces(&queries)?;
    process::run(
        command("cargo", ["test", "-p", "frostgate-policy", "--quiet", "--test", "analytics"])
            .args(["--test", "lineage", "--", "--ignored"])
            .current_dir(workspace::root())
            .env("FROSTGATE_QUERIES", queries)
            .env("FROSTGATE_TRACES", traces),
    )
}

/// The file of the benchmark queries: TPC's texts are not ours to copy, so they come from the package each time.
pub(crate) fn queries() -> Result<PathBuf> {
    print("duckdb", "analytics", "print.py", &[])
}

/// The file of what SQLGlot says of the benchmark queries and of our own tables of cases.
fn traces(queries: &std::path::Path) -> Result<PathBuf> {
    let cases = workspace::root().join("core/policy/tests/cases");
    print("sqlglot", "lineage", "trace.py", &[queries.into(), cases])
}

/// Runs a script of a folder of tests in an environment of its own, and returns the file of what it printed.
fn print(environment: &str, tests: &str, script: &str, arguments: &[PathBuf]) -> Result<PathBuf> {
    let folder = workspace::root().join("core/policy/tests").join(tests);
    let python = python::environment(environment, &[folder.join("requirements.txt")])?;
    let printed = process::read(
        command(&python::program(&python, "python"), [folder.join(script)]).args(arguments),
    )?;
    let file = workspace::target().join(format!("{environment}.json"));
    std::fs::write(&file, printed).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}
