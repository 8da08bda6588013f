//! What fuzzing begins with: the statements of our own tables of cases, and the words of the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_yaml::Value;

use crate::process::{self, command};
use crate::workspace;

/// Writes each statement of `core/policy/tests/cases` into a file of its own.
pub(super) fn statements(folder: &Path) -> Result<()> {
    let cases = workspace::root().join("core/policy/tests/cases");
    for file in fs::read_dir(&cases)? {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let table: Value = serde_yaml::from_str(&fs::read_to_string(&path)?)
            .with_context(|| format!("read {}", path.display()))?;
        let lines = table["cases"].as_sequence().context("a table without cases")?;
        for (number, line) in lines.iter().enumerate() {
            let sql = line["sql"].as_str().context("a case without a statement")?;
            fs::write(folder.join(format!("{name}-{number}")), sql)?;
        }
    }
    Ok(())
}

/// A dictionary of the short literals in the sources of a folder.
pub(super) fn words(folder: &Path) -> Result<String> {
    let list = process::read(command("git", ["ls-files", "*.rs"]).current_dir(folder))?;
    let mut words = BTreeSet::new();
    for name in list.lines() {
        // A file may be deleted and not yet committed.
        let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
        words.extend(text.lines().flat_map(literals).map(str::to_owned));
    }
    Ok(words.iter().map(|word| format!("\"{word}\"\n")).collect())
}

/// What stands in quotes on one line, where it is a word or a sign.
fn literals(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2).filter(|word| {
        (2..=24).contains(&word.len())
            && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_literals_are_words() {
        let line = r#"    "SELECT", "a b", "x", "->>", "\n", "MATCH_RECOGNIZE" => "#;
        assert_eq!(literals(line).collect::<Vec<_>>(), ["SELECT", "->>", "MATCH_RECOGNIZE"]);
    }
}
