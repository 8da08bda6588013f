//! How files are named, how they open, and that the map names files that exist.

use std::path::Path;

use anyhow::Result;

use crate::process::{self, command};
use crate::workspace;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "misc", "util", "utils"];

pub(super) fn complaints(map: &str) -> Result<Vec<String>> {
    let list = process::read(
        command("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
            .current_dir(workspace::root()),
    )?;
    let mut complaints = Vec::new();
    for name in list.lines() {
        // A file may be deleted and not yet committed.
        if let Ok(text) = std::fs::read_to_string(workspace::root().join(name)) {
            complaints.extend(of_file(name, &text));
        }
    }
    complaints
        .extend(of_map(map, |name| std::fs::read_to_string(workspace::root().join(name)).ok()));
    Ok(complaints)
}

fn of_file(name: &str, text: &str) -> Vec<String> {
    let path = Path::new(name);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut complaints = Vec::new();
    if !text.starts_with("//!") {
        complaints.push(format!("{name}: opens without a `//!` that says what it is for"));
    }
    if stem == "mod" {
        complaints.push(format!("{name}: a module lies in `foo.rs` beside its folder `foo/`"));
    }
    if EMPTY_NAMES.contains(&stem.as_ref()) {
        complaints.push(format!("{name}: name it by what it holds"));
    }
    complaints
}

/// Every `path/to/file.rs` and `path/to/file.rs::name` between backticks is there.
fn of_map(map: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    // Between backticks is every second part of a line; fences hold no code of ours.
    for quoted in map.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
        let (file, item) = match quoted.split_once("::") {
            Some((file, item)) => (file, Some(item)),
            None => (quoted, None),
        };
        if !file.contains('/') || !file.ends_with(".rs") || file.contains(' ') {
            continue;
        }
        match (read(file), item) {
            (None, _) => complaints.push(format!("ARCHITECTURE.md: {file} does not exist")),
            (Some(text), Some(item)) if !defines(&text, item) => {
                complaints.push(format!("ARCHITECTURE.md: {file} defines no {item}"));
            }
            _ => {}
        }
    }
    complaints
}

fn defines(text: &str, item: &str) -> bool {
    let name = item.trim_end_matches("()");
    ["fn", "struct", "enum", "trait", "type", "const"].iter().any(|kind| {
        text.match_indices(&format!("{kind} {name}")).any(|(at, found)| {
            let next = text.get(at + found.len()..).and_then(|rest| rest.chars().next());
            !next.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_purpose_or_with_an_empty_name_is_named() {
        insta::assert_snapshot!(of_file("proxy/src/utils.rs", "use std;").join("\n"), @r"
        proxy/src/utils.rs: opens without a `//!` that says what it is for
        proxy/src/utils.rs: name it by what it holds
        ");
        assert_eq!(of_file("proxy/src/rows.rs", "//! Rows."), [""; 0]);
    }

    #[test]
    fn the_map_names_only_what_exists() {
        let map = "`a/b.rs` and `a/b.rs::run` and `a/b.rs::walk`\nsee `a/c.rs`, not `a b/c.rs`";
        let read = |name: &str| (name == "a/b.rs").then(|| "fn run() {}\nfn walks() {}".to_owned());
        insta::assert_snapshot!(of_map(map, read).join("\n"), @r"
        ARCHITECTURE.md: a/b.rs defines no walk
        ARCHITECTURE.md: a/c.rs does not exist
        ");
    }
}
