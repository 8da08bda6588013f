//! The SQL in what a tool is called with: a field that is SQL, or the quoted parts of a command or a program.

use serde_json::Value;

use crate::answer::ToolUse;
use crate::spelling::Spelling;

/// Fields that hold SQL.
const SQL: &[&str] =
    &["sql", "query", "statement", "statements", "queries", "sql_query", "sql_text"];
/// Fields that hold a command or a program, with SQL in quotes.
const CODE: &[&str] = &["command", "cmd", "code", "script", "python", "source"];
/// Texts of one call that are looked at, and their bytes.
const TEXTS_MAX: usize = 512;
const BYTES_MAX: usize = 4 << 20;
/// Quotes within quotes within quotes.
const DEPTH: usize = 3;

/// What a call shows of the SQL behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Every text in it that may be SQL. A text that is none does no harm: no statement is like it.
    pub(crate) spellings: Vec<Spelling>,
    /// It runs a command or a program, which may run SQL that is not shown.
    pub(crate) runs_code: bool,
}

impl Shown {
    /// Of a call.
    pub(crate) fn by(call: &ToolUse) -> Self {
        let mut search = Search { texts: Vec::new(), bytes: 0, runs_code: call.input.is_none() };
        if let Some(Value::Object(input)) = &call.input {
            for (name, value) in input {
                search.field(&name.to_ascii_lowercase(), value);
            }
        }
        let mut spellings: Vec<Spelling> = Vec::new();
        for spelling in search.texts.iter().flat_map(|text| Spelling::all(text)) {
            if !spellings.contains(&spelling) && spellings.len() < TEXTS_MAX {
                spellings.push(spelling);
            }
        }
        Self { spellings, runs_code: search.runs_code }
    }
}

struct Search {
    texts: Vec<String>,
    bytes: usize,
    runs_code: bool,
}

impl Search {
    fn field(&mut self, name: &str, value: &Value) {
        match value {
            Value::String(text) if SQL.contains(&name) => self.add(text.clone()),
            Value::String(text) if CODE.contains(&name) => {
                self.runs_code = true;
                self.add(text.clone());
                self.quoted(text, DEPTH);
            }
            Value::Array(items) => items.iter().for_each(|item| self.field(name, item)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.field(&name.to_ascii_lowercase(), value);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, text: String) {
        if text.trim().is_empty() || self.texts.len() >= TEXTS_MAX {
            return;
        }
        self.bytes += text.len();
        if self.bytes <= BYTES_MAX && !self.texts.contains(&text) {
            self.texts.push(text);
        }
    }

    /// Everything in quotes, as a shell and as Python understand them, and the bodies of here-documents.
    fn quoted(&mut self, text: &str, depth: usize) {
        if depth == 0 || self.bytes > BYTES_MAX {
            return;
        }
        for body in here_documents(text) {
            self.add(body.to_owned());
            self.quoted(body, depth - 1);
        }
        let mut at = 0;
        // Literals with nothing but space between them are one text to Python.
        let mut joined = String::new();
        let mut end = 0;
        while let Some(found) = text[at..].find(['\'', '"', '`']) {
            let start = at + found;
            let Some((body, after)) = literal(text, start) else {
                at = start + 1;
                continue;
            };
            let plain = unescaped(body);
            if !joined.is_empty() && text[end..start].trim().trim_matches('\\').trim().is_empty() {
                joined.push_str(&plain);
                self.add(joined.clone());
            } else {
                joined.clone_from(&plain);
            }
            end = after;
            self.add(body.to_owned());
            if plain != body {
                self.add(plain.clone());
            }
            self.quoted(&plain, depth - 1);
            at = after;
        }
    }
}

/// A literal that begins at `start`: what is in it, and where the text goes on.
fn literal(text: &str, start: usize) -> Option<(&str, usize)> {
    let rest = &text[start..];
    let quote = rest.get(..1)?;
    let triple = quote.repeat(3);
    let quote = if rest.starts_with(&triple) { triple.as_str() } else { quote };
    let body = &rest[quote.len()..];
    let mut at = 0;
    loop {
        let found = at + body.get(at..)?.find([quote.chars().next()?, '\\'])?;
        if body[found..].starts_with('\\') {
            // The escaped character may be of several bytes.
            at = found + 1 + body[found + 1..].chars().next()?.len_utf8();
        } else if body[found..].starts_with(quote) {
            return Some((&body[..found], start + 2 * quote.len() + found));
        } else {
            at = found + 1;
        }
    }
}

/// A literal's text as a program reads it: the few escapes that occur in SQL.
fn unescaped(body: &str) -> String {
    let mut plain = String::with_capacity(body.len());
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('\n') => {}
            Some(quoted @ ('\'' | '"' | '\\' | '`' | '$')) => plain.push(quoted),
            Some(other) => {
                plain.push('\\');
                plain.push(other);
            }
            None => plain.push('\\'),
        }
    }
    plain
}

/// The bodies between `<<WORD` and `WORD`.
fn here_documents(text: &str) -> Vec<&str> {
    let mut bodies = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("<<") {
        rest = &rest[at + 2..];
        let word = rest.trim_start_matches(['-', ' ']).trim_start_matches(['\'', '"', '\\']);
        let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(word.len());
        let (word, _) = word.split_at(end);
        let Some(line) = rest.find('\n') else { break };
        let body = &rest[line + 1..];
        let mut offset = 0;
        for line in body.split_inclusive('\n') {
            if !word.is_empty() && line.trim() == word {
                bodies.push(&body[..offset]);
                rest = &body[offset..];
                break;
            }
            offset += line.len();
        }
    }
    bodies
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::spelling::{Fit, Sent};

    fn shown(input: Value) -> Shown {
        Shown::by(&ToolUse { id: "toolu_1".into(), name: "t".into(), input: Some(input) })
    }

    #[test]
    fn sql_is_found_where_tools_and_programs_put_it() {
        for (case, input, sql) in [
            ("a field", json!({"sql": "select 1"}), "select 1"),
            ("a field of an MCP server", json!({"statement": "select 1;", "limit": 5}), "select 1"),
            ("a list", json!({"queries": ["select 2", {"query": "select 1"}]}), "select 1"),
            ("a flag", json!({"command": "snow sql -q \"select 1\" --format json"}), "select 1"),
            ("single quotes", json!({"command": "snowsql -q 'select 1'"}), "select 1"),
            (
                "the shell's quotes in quotes",
                json!({"command": "snow sql -q \"select '1' as \\\"a\\\"\""}),
                "select '1' as \"a\"",
            ),
            (
                "a program in a here-document",
                json!({"command": "python3 - <<'EOF'\nimport x\ncur.execute(\"\"\"\n  select 1\n\"\"\")\nEOF\necho done"}),
                "select 1",
            ),
            (
                "SQL in a here-document",
                json!({"command": "snow sql -i <<EOF\nuse schema s;\nselect 1;\nEOF"}),
                "select 1",
            ),
            (
                "a program in a flag",
                json!({"command": "python -c \"cur.execute('select 1')\""}),
                "select 1",
            ),
            (
                "literals one after another",
                json!({"code": "cur.execute('select a '\n    \"from t\")"}),
                "select a from t",
            ),
            (
                "quotes of the program escaped",
                json!({"code": "cur.execute('select \\'1\\'')"}),
                "select '1'",
            ),
            ("the command itself", json!({"command": "select 1"}), "select 1"),
        ] {
            let sent = Sent::new(sql);
            let best = sent.fit(&shown(input).spellings);
            assert_eq!(best, Some(Fit::Exact), "{case}");
        }
    }

    #[test]
    fn fields_that_hold_no_sql_are_left_alone() {
        let shown = shown(
            json!({"file_path": "/a.py", "content": "cur.execute('select 1')", "prompt": "select 1"}),
        );
        assert_eq!(shown, Shown::default());
    }

    #[test]
    fn what_runs_code_or_cannot_be_read_may_run_sql_that_is_not_shown() {
        assert!(shown(json!({"command": "dbt run"})).runs_code);
        assert!(!shown(json!({"sql": "select 1"})).runs_code);
        let cut = ToolUse { id: "toolu_1".into(), name: "t".into(), input: None };
        assert!(Shown::by(&cut).runs_code);
    }

    #[test]
    fn a_huge_input_is_looked_at_within_bounds() {
        let code = "x('select 1'); ".repeat(20_000);
        assert!(shown(json!({"code": code})).spellings.len() <= 2);
        let many: String = (0..5000).map(|n| format!("x('select {n}'); ")).collect();
        assert!(shown(json!({"code": many})).spellings.len() <= TEXTS_MAX);
    }

    proptest! {
        #[test]
        fn any_code_is_searched_without_harm(code in "(['\"`\\\\\n ü<]|<<EOF\n|EOF\n|'''|\"\"\"|select 1){0,40}") {
            shown(json!({"code": code}));
        }
    }
}
