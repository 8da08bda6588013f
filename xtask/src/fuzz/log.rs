//! What was fuzzed, for how long and with what result: a line per run in `docs/fuzzing.md`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::workspace;

/// One run.
pub(super) struct Entry<'a> {
    pub(super) commit: &'a str,
    pub(super) target: &'a str,
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    /// What libFuzzer said.
    pub(super) said: &'a str,
    pub(super) findings: usize,
}

/// Adds a line to the page's table.
pub(super) fn append(line: &str) -> Result<()> {
    let path = workspace::root().join("docs/fuzzing.md");
    let page = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let page = with(&page, line).with_context(|| format!("{} has no table", path.display()))?;
    fs::write(&path, page).with_context(|| format!("write {}", path.display()))
}

/// A page with one line more in its last table.
fn with(page: &str, line: &str) -> Option<String> {
    let last = page.rfind("\n|")? + 1;
    let end = page[last..].find('\n').map_or(page.len(), |length| last + length);
    Some(format!("{}\n{line}{}", &page[..end], &page[end..]))
}

pub(super) fn line(entry: &Entry<'_>) -> String {
    let minutes = |time: Duration| format!("{:.1}", time.as_secs_f64() / 60.0);
    let (edges, corpus) = reached(entry.said);
    format!(
        "| {} | {} | {} | {} | {} | {} | {edges} | {corpus} | {} |",
        jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M"),
        entry.commit,
        entry.target,
        minutes(entry.wall),
        minutes(entry.cpu),
        executions(entry.said),
        entry.findings,
    )
}

fn executions(said: &str) -> &str {
    said.lines()
        .rev()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .map_or("?", str::trim)
}

/// Edges and inputs of the corpus, from the last line that has them: `#9 NEW cov: 93 ft: 120 corp: 7/30b ...`.
fn reached(said: &str) -> (&str, &str) {
    let last = said.lines().rev().find(|line| line.starts_with('#') && line.contains(" cov: "));
    let after = |word: &str| {
        let words: Vec<&str> = last?.split_whitespace().collect();
        words.get(words.iter().position(|other| *other == word)? + 1).copied()
    };
    let corpus = after("corp:").and_then(|corpus| corpus.split('/').next());
    (after("cov:").unwrap_or("?"), corpus.unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_added_to_the_last_table() {
        assert_eq!(
            with("a\n| b |\n| c |\n\nd\n", "| e |").unwrap(),
            "a\n| b |\n| c |\n| e |\n\nd\n"
        );
        assert_eq!(with("a\n| b |\n", "| e |").unwrap(), "a\n| b |\n| e |\n");
        assert_eq!(with("a\n", "| e |"), None);
    }

    #[test]
    fn a_line_says_what_was_reached() {
        let said = "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                    #99\tREDUCE cov: 1093 ft: 2120 corp: 77/30b lim: 4 exec/s: 0 rss: 30Mb L: 3/4\n\
                    stat::number_of_executed_units: 224685\n";
        let entry = Entry {
            commit: "abc",
            target: "lexer",
            wall: Duration::from_secs(90),
            cpu: Duration::from_secs(60),
            said,
            findings: 0,
        };
        let line = line(&entry);
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(columns[2..], ["abc", "lexer", "1.5", "1.0", "224685", "1093", "77", "0", ""]);
    }
}
