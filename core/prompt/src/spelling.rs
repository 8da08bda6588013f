//! One SQL text, in the three ways in which it can be recognized again.

use sha2::{Digest as _, Sha256};
use sql::Normal;

/// A text, ready to be compared. Nothing but digests is kept, and the tokens where there is something to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spelling {
    /// Of the text itself, without what surrounds it.
    exact: [u8; 32],
    /// Of its normal form.
    normal: Option<[u8; 32]>,
    /// Its tokens, where it has places that a program fills in.
    blanks: Option<Vec<Piece>>,
}

/// How well two texts fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// One fills in the blanks of the other.
    Shape,
    /// They differ in layout, comments and letter case at most.
    Normal,
    /// They are the same.
    Exact,
}

/// A token of a text with blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Fixed(String),
    /// Any one literal.
    Blank,
    /// A string literal that begins and ends so.
    Within(String, String),
}

impl Spelling {
    /// Of one statement.
    pub(crate) fn of(statement: &sql::Written<'_>) -> Self {
        let blanks = pieces(&statement.tokens);
        Self {
            exact: sha256(statement.text),
            normal: Some(sha256(&statement.normal())),
            blanks: blanks.iter().any(|piece| !matches!(piece, Piece::Fixed(_))).then_some(blanks),
        }
    }

    /// Of a text that cannot be cut into statements.
    pub(crate) fn raw(text: &str) -> Self {
        let text = text.trim().trim_end_matches(';').trim_end();
        Self { exact: sha256(text), normal: None, blanks: None }
    }

    /// Of every statement in a text that a tool was called with.
    pub(crate) fn all(text: &str) -> Vec<Self> {
        match sql::statements(text) {
            Some(statements) => statements.iter().map(Self::of).collect(),
            None => vec![Self::raw(text)],
        }
    }
}

/// What a driver sent: one statement, or several at once.
pub(crate) struct Sent(Vec<(Spelling, Vec<Normal>)>);

impl Sent {
    pub(crate) fn new(text: &str) -> Self {
        let statements = sql::statements(text).filter(|statements| !statements.is_empty());
        let Some(statements) = statements else { return Self(vec![(Spelling::raw(text), vec![])]) };
        let one = |statement: sql::Written<'_>| {
            (Spelling { blanks: None, ..Spelling::of(&statement) }, statement.tokens)
        };
        Self(statements.into_iter().map(one).collect())
    }

    /// How well all of it fits what one call shows.
    pub(crate) fn fit(&self, called: &[Spelling]) -> Option<Fit> {
        let best = |(sent, tokens): &(Spelling, Vec<Normal>)| {
            called.iter().filter_map(|called| sent.fit(tokens, called)).max()
        };
        self.0.iter().map(best).min().flatten()
    }
}

impl Spelling {
    fn fit(&self, tokens: &[Normal], called: &Self) -> Option<Fit> {
        if self.exact == called.exact {
            return Some(Fit::Exact);
        }
        if self.normal.is_some() && self.normal == called.normal {
            return Some(Fit::Normal);
        }
        fills(tokens, called.blanks.as_ref()?).then_some(Fit::Shape)
    }
}

fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Finds what a program fills in: `%s`, `%(name)s`, `{name}`, and such places within a string.
fn pieces(tokens: &[Normal]) -> Vec<Piece> {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    let mut pieces = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let length = if is(at, "%") && (is(at + 1, "S") || is(at + 1, "D")) {
            2
        } else if is(at, "%") && is(at + 1, "(") && is(at + 3, ")") && is(at + 4, "S") {
            5
        } else if is(at, "{") && is(at + 2, "}") {
            3
        } else {
            0
        };
        if length > 0 {
            pieces.push(Piece::Blank);
            at += length;
            continue;
        }
        let blank = token.literal.then(|| within(&token.text)).flatten();
        pieces.push(blank.unwrap_or_else(|| Piece::Fixed(token.text.clone())));
        at += 1;
    }
    pieces
}

/// A string literal with places to fill in: what stands before the first and behind the last.
fn within(text: &str) -> Option<Piece> {
    let starts = [text.find('{'), text.find("%s"), text.find("%(")];
    let start = starts.into_iter().flatten().min()?;
    let ends = [
        text.rfind('}').map(|at| at + 1),
        text.rfind("%s").map(|at| at + 2),
        text.rfind(")s").map(|at| at + 2),
    ];
    let end = ends.into_iter().flatten().max()?;
    (text.starts_with('\'') && start < end)
        .then(|| Piece::Within(text[..start].to_owned(), text[end..].to_owned()))
}

/// Whether `tokens` are `pieces` with one literal in each blank.
fn fills(tokens: &[Normal], pieces: &[Piece]) -> bool {
    let mut tokens = tokens.iter().peekable();
    for piece in pieces {
        let Some(mut token) = tokens.next() else { return false };
        let fits = match piece {
            Piece::Fixed(text) => token.text == *text,
            Piece::Blank => {
                if token.text == "-" {
                    match tokens.next() {
                        Some(next) => token = next,
                        None => return false,
                    }
                }
                token.literal || matches!(token.text.as_str(), "NULL" | "TRUE" | "FALSE")
            }
            Piece::Within(before, behind) => {
                token.literal
                    && token.text.len() >= before.len() + behind.len()
                    && token.text.starts_with(before.as_str())
                    && token.text.ends_with(behind.as_str())
            }
        };
        if !fits {
            return false;
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_fits_a_called_text_as_closely_as_it_is_written_alike() {
        for (called, sent, expected) in [
            ("select 1", "select 1", Some(Fit::Exact)),
            ("  select 1;\n", "select 1", Some(Fit::Exact)),
            ("select 1", "select 1 ;", Some(Fit::Exact)),
            ("select 1", "SELECT\n  1", Some(Fit::Normal)),
            ("select 1", "/* app */ select 1", Some(Fit::Normal)),
            ("select 'a'", "select 'A'", None),
            ("select 1", "select 2", None),
            ("select 1", "select 1 limit 10", None),
            ("select 1", "select 1; select 2", None),
            ("select 1; select 2;", "select 2; SELECT 1", Some(Fit::Normal)),
            ("select 1; select 2;", "select 1; select 2", Some(Fit::Exact)),
            ("use schema s; select 1", "select 1", Some(Fit::Exact)),
            (
                "select * from t where a = %s and b = %(b)s",
                "select * from t where a = 'x' and b = -7",
                Some(Fit::Shape),
            ),
            ("select * from t where a = {id}", "SELECT * FROM t WHERE a = NULL", Some(Fit::Shape)),
            (
                "select * from t where a = '{id}-x'",
                "select * from t where a = '7-x'",
                Some(Fit::Shape),
            ),
            ("select * from t where a = '{id}-x'", "select * from t where a = '7-y'", None),
            ("select * from t where a = {id}", "select * from t where a = b", None),
            ("select * from t where a = {id}", "select * from u where a = 1", None),
            ("select * from t where a = {id}", "select * from t where a = 1 or 1 = 1", None),
            ("select 'open", "select 'open", Some(Fit::Exact)),
            ("select 'open", "select 'opened", None),
        ] {
            let spellings = Spelling::all(called);
            let sent = Sent::new(sent);
            assert_eq!(sent.fit(&spellings), expected, "{called}");
        }
    }
}
