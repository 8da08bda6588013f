//! `cargo xtask corpus`: the statements in SQLGlot's own tests are judged, and every verdict compared with the one that is
//! checked in. The statements are not ours to copy: they come from its source package each time.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use crate::process::{self, command};
use crate::progress::say;
use crate::python;
use crate::workspace;

/// The source package; its version is the one in `core/sql/tests/corpus/requirements.txt`.
const SHA256: &str = "b8e344042c85d7baa1d0d827127dfe1611ce9ac59bceab6fe370665baeb14ce7";

/// Runs `cargo xtask corpus`.
pub(crate) fn run() -> Result<()> {
    let tests = workspace::root().join("core/sql/tests/corpus");
    let requirements = tests.join("requirements.txt");
    let python = python::environment("corpus", std::slice::from_ref(&requirements))?;
    let source = source(&requirements, &python)?;
    let statements = process::read(
        command(&python::program(&python, "python"), [tests.join("extract.py"), source])
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )?;
    let file = workspace::target().join("corpus.jsonl");
    std::fs::write(&file, statements).with_context(|| format!("write {}", file.display()))?;
    say(format!("the statements are in {}", file.display()));
    process::run(
        command("cargo", ["test", "-p", "frostgate-sql", "--quiet", "--test", "corpus"])
            .args(["--", "--ignored"])
            .current_dir(workspace::root())
            .env("FROSTGATE_CORPUS", file),
    )
}

/// The folder of the unpacked source package; it alone holds the tests.
fn source(requirements: &std::path::Path, python: &std::path::Path) -> Result<PathBuf> {
    let pinned = std::fs::read_to_string(requirements)?;
    let pinned = pinned.trim();
    let name = pinned.replace("==", "-");
    let folder = workspace::cache()?.join("corpus-source");
    let unpacked = folder.join(&name);
    if unpacked.exists() {
        return Ok(unpacked);
    }
    say(format!("fetching the source package of {pinned} (once)"));
    let fetched = tempfile::tempdir()?;
    process::read(
        command(&python::program(python, "pip"), ["download", "-q", "--no-deps"])
            .args(["--disable-pip-version-check", "--no-binary", ":all:", pinned, "--dest"])
            .arg(fetched.path()),
    )?;
    let archive = std::fs::read(fetched.path().join(format!("{name}.tar.gz")))?;
    let digest: String =
        Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
    if digest != SHA256 {
        bail!("the source package of {pinned} has the digest {digest}, not {SHA256}");
    }
    // Unpacked beside its place, so that a folder of that name is always a whole one.
    std::fs::create_dir_all(&folder)?;
    let beside = tempfile::tempdir_in(&folder)?;
    tar::Archive::new(GzDecoder::new(archive.as_slice())).unpack(beside.path())?;
    std::fs::rename(beside.path().join(&name), &unpacked)?;
    Ok(unpacked)
}
