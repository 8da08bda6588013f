//! `a ->> b`: statements in a chain, each reads the results before it as `$1` (the last), `$2` and so on. Only the last
//! result reaches the client. All of them must be reads.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::dialect::{self, ast};
use crate::head::head;
use crate::lexer::{Class, Token, lex};
use crate::lineage::{Ctes, Field, Fields, Provenance, Resolver, unsupported};
use crate::{Analysis, Lineage, Problem, Word, command, name};

/// The statements of a chain; one for a text without `->>`.
pub(crate) fn split<'t>(text: &str, tokens: &'t [Token]) -> Vec<&'t [Token]> {
    let mut parts = Vec::new();
    let mut depth = 0_usize;
    let mut begin = 0;
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        match token.text(text) {
            "(" | "[" | "{" if token.class == Class::Symbol => depth += 1,
            ")" | "]" | "}" if token.class == Class::Symbol => depth = depth.saturating_sub(1),
            _ if depth == 0 && is_arrow(text, &tokens[index..]) => {
                parts.push(&tokens[begin..index]);
                index += 3;
                begin = index;
                continue;
            }
            _ => {}
        }
        index += 1;
    }
    parts.push(&tokens[begin..]);
    parts
}

fn is_arrow(text: &str, tokens: &[Token]) -> bool {
    matches!(tokens, [one, two, three, ..]
        if one.is_symbol(text, '-') && two.is_symbol(text, '>') && three.is_symbol(text, '>')
            && one.end == two.start && two.end == three.start)
}

/// What a statement of the chain left for those behind it.
enum Outcome {
    Rows(Fields),
    /// What SHOW or DESCRIBE lists: names and settings, no data of a table.
    Listing,
}

/// Reads a chain of several statements.
pub(crate) fn read(
    text: &str,
    parts: &[&[Token]],
    resolver: &mut Resolver<'_>,
    analysis: &mut Analysis,
) -> Result<(), Problem> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for part in parts {
        let (Some(first), Some(last)) = (part.first(), part.last()) else {
            return Err(unsupported("`->>` without a statement on each side"));
        };
        let text = text.get(first.start..last.end).unwrap_or_default();
        let tokens = lex(text).tokens;
        let outcome = match head(text, &tokens).word {
            word @ (Word::Show | Word::Describe | Word::ShowAccount) => {
                command::read(word, text, &tokens, resolver, analysis)?;
                Outcome::Listing
            }
            Word::Select => {
                let ast::Statement::Query(query) = dialect::parse_chained(text, &tokens)? else {
                    return Err(unsupported("this statement in a chain"));
                };
                let before = outcomes.iter().rev().enumerate();
                let entries = before.map(|(index, outcome)| {
                    let fields = match outcome {
                        Outcome::Rows(fields) => Rc::clone(fields),
                        Outcome::Listing => listed(text, &tokens),
                    };
                    (format!("${}", index + 1), fields)
                });
                let ctes = Ctes { entries: entries.collect(), parent: None };
                Outcome::Rows(Rc::new(resolver.query(&query, &ctes, None)?))
            }
            _ => {
                return Err(unsupported(
                    "a statement other than SELECT, SHOW and DESCRIBE in a chain",
                ));
            }
        };
        outcomes.push(outcome);
    }
    analysis.parsed = true;
    let lists = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Listing));
    if lists && resolver.reads_rows() {
        return Err(unsupported("a table beside the result of SHOW or DESCRIBE"));
    }
    analysis.lineage = match outcomes.last() {
        Some(Outcome::Rows(fields)) if !lists => resolver.lineage(fields),
        _ => Lineage::Metadata,
    };
    Ok(())
}

/// Columns of a listing as far as the statement names any: which there are, the server alone knows.
fn listed(text: &str, tokens: &[Token]) -> Fields {
    let names: BTreeSet<String> = tokens
        .iter()
        .filter_map(|token| match token.class {
            Class::Word => Some(name::fold(token.text(text))),
            Class::Quoted => Some(token.inner(text).replace("\"\"", "\"")),
            Class::String
            | Class::Hex
            | Class::Dollar
            | Class::Number
            | Class::Placeholder
            | Class::Symbol => None,
        })
        .collect();
    let field = |name| Field { name: Some(name), provenance: Provenance::clean() };
    Rc::new(names.into_iter().map(field).collect())
}
