//! The table that goes into the documentation: one line per client, replaced when that client was tried anew.

use std::fmt::Write as _;

use super::cell::{Cell, Outcome};

/// One client and what came of each cell.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) package: String,
    pub(super) rows: u32,
    pub(super) outcomes: Vec<(Cell, Outcome)>,
}

impl Line {
    fn text(&self) -> String {
        let mut text = format!("{}{} | {} |", key(self.name), self.package, grouped(self.rows));
        for (cell, _, _) in Cell::ALL {
            let outcome = self.outcomes.iter().find(|(which, _)| which == cell);
            let _ = match outcome.map(|(_, outcome)| outcome) {
                Some(Outcome::Pass) => write!(text, " pass |"),
                Some(Outcome::NotApplicable(why)) => write!(text, " n/a: {why} |"),
                Some(Outcome::FailsDirectToo(_)) => write!(text, " fails direct too |"),
                Some(Outcome::Fails(_)) => write!(text, " FAILS |"),
                None => write!(text, " |"),
            };
        }
        text
    }
}

/// The page with these lines, in the order of `names`; what was not tried now stays as `before` has it.
pub(super) fn page(names: &[&'static str], lines: &[Line], before: &str) -> String {
    let mut page = String::from(HEAD);
    for (_, name, promise) in Cell::ALL {
        let _ = writeln!(page, "| {name} | {promise} |");
    }
    page.push_str("\n## What came of it\n\n| client | package | rows |");
    for (_, name, _) in Cell::ALL {
        let _ = write!(page, " {name} |");
    }
    page.push_str("\n|---|---|--:|");
    page.push_str(&"---|".repeat(Cell::ALL.len()));
    page.push('\n');
    for name in names {
        let now = lines.iter().find(|line| line.name == *name).map(Line::text);
        let then = before.lines().find(|line| line.starts_with(&key(name))).map(str::to_owned);
        if let Some(line) = now.or(then) {
            page.push_str(&line);
            page.push('\n');
        }
    }
    page
}

fn key(name: &str) -> String {
    format!("| {name} | ")
}

const HEAD: &str = "\
# Clients

`cargo xtask clients` runs these clients, unmodified and in the versions named here, against `frostgate local`, and writes the lines of this page. As in a pod, the account's
own name leads to Frostgate, which serves TLS there, and the environment has the variables that the injector sets; no client knows of it. Each is compared with itself at the
stand-in account directly. `cargo xtask clients --short` tries login, types, rows, denial and approval alone.

| cell | what is promised |
|---|---|
";

fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_tried_now_stays_as_it_was() {
        let line = |name, rows| Line {
            name,
            package: "p 1".to_owned(),
            rows,
            outcomes: vec![
                (Cell::Login, Outcome::Pass),
                (Cell::Async, Outcome::NotApplicable("it waits")),
            ],
        };
        let names = ["a", "b"];
        let first = page(&names, &[line("a", 1), line("b", 1_000_000)], "");
        assert!(first.contains("| b | p 1 | 1,000,000 | pass |"), "{first}");
        assert!(first.contains("| n/a: it waits |"), "{first}");
        let second = page(&names, &[line("a", 2)], &first);
        assert_eq!(second, first.replace("| a | p 1 | 1 |", "| a | p 1 | 2 |"));
    }
}
