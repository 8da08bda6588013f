//! Several statements in one text: where each stands, and what they are together.

use std::collections::BTreeSet;

use crate::head::head;
use crate::lexer::{Token, lex};
use crate::{Analysis, Effect, Form, Lineage, Problem, Reason, Word, limits};

/// Statements in one text.
const STATEMENTS: usize = 100;

/// The statements of a text in order, each without what ends it. A scripting block is one statement, and stands alone:
/// what separates the statements around it and those inside it looks the same.
///
/// # Errors
/// When it cannot be told where they begin and end.
pub fn split(text: &str) -> Result<Vec<&str>, Problem> {
    limits::size(text)?;
    let lexed = lex(text);
    if let Some(problem) = lexed.problem {
        return Err(problem);
    }
    let written = |tokens: &[Token]| match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => text.get(first.start..last.end).unwrap_or_default(),
        _ => "",
    };
    let mut parts = parts(text, &lexed.tokens);
    if parts.first().is_some_and(|first| head(text, first).word == Word::Scripting) {
        return Ok(vec![written(&lexed.tokens)]);
    }
    if parts.len() > STATEMENTS {
        return Err(Problem {
            reason: Reason::Limit,
            message: format!("more than {STATEMENTS} statements in one request; send fewer"),
            offset: None,
        });
    }
    // What ends the last one leaves nothing behind it.
    parts.truncate(parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1));
    let is_lone = parts.len() < 2;
    let parts = parts.into_iter().map(|part| {
        let refused = match head(text, part).word {
            _ if part.is_empty() => "nothing between two `;`",
            Word::Scripting if !is_lone => "a scripting block beside other statements",
            _ => return Ok(written(part)),
        };
        Err(Problem {
            reason: Reason::Unsupported,
            message: format!("{refused}; send each statement on its own"),
            offset: part.first().map(|token| token.start),
        })
    });
    parts.collect()
}

/// How many statements a text holds, counted as the account counts them.
pub(crate) fn count(text: &str, tokens: &[Token]) -> usize {
    parts(text, tokens).iter().filter(|part| !part.is_empty()).count()
}

fn parts<'t>(text: &str, tokens: &'t [Token]) -> Vec<&'t [Token]> {
    tokens.split(|token| token.is_symbol(text, ';')).collect()
}

impl Analysis {
    /// What several statements do together, as far as it can be said of all of them; nothing of none.
    #[must_use]
    pub fn together(parts: &[Self]) -> Option<Self> {
        let (first, others) = parts.split_first()?;
        let mut all = first.clone();
        for other in others {
            if all.effect == Effect::Read && other.effect != Effect::Read {
                (all.word, all.effect) = (other.word, other.effect);
            }
            all.words.extend(other.words.iter().copied());
            all.parsed &= other.parsed;
            all.problem = all.problem.or_else(|| other.problem.clone());
            all.objects.extend(other.objects.iter().cloned());
            all.tables.extend(other.tables.iter().cloned());
            all.others.extend(other.others.iter().cloned());
            all.temporary |= other.temporary;
            all.takes.extend(other.takes.iter().cloned());
            all.risks.extend(other.risks.iter().copied());
            all.functions.extend(other.functions.iter().cloned());
            all.variables.extend(other.variables.iter().cloned());
            all.sets.extend(other.sets.iter().cloned());
            all.uses.extend(other.uses.iter().cloned());
            all.flows.extend(other.flows.iter().cloned());
            all.missing.extend(other.missing.iter().cloned());
        }
        let mut seen = BTreeSet::new();
        all.words.retain(|word| seen.insert(*word));
        all.objects.sort();
        all.objects.dedup();
        // What one of them alone says is not said of all.
        all.form = Form::Ordinary;
        all.lineage = Lineage::Metadata;
        all.switches_to = Vec::new();
        all.made = None;
        Some(all)
    }

    /// Whether the names in a statement behind it could mean something else than before it.
    #[must_use]
    pub fn changes_names(&self) -> bool {
        let keeps = matches!(self.effect, Effect::Read | Effect::Write | Effect::Transaction);
        !keeps || self.temporary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_its_statements_end() {
        for (text, expected) in [
            ("select 1", vec!["select 1"]),
            (" select 1 ; -- done", vec!["select 1"]),
            (
                "select 1;select ';' ; select $$;$$;;",
                vec!["select 1", "select ';'", "select $$;$$"],
            ),
            (
                "select 1 /* ; */; -- ;\nselect \";\" from t",
                vec!["select 1", "select \";\" from t"],
            ),
            ("begin select 1; end;", vec!["begin select 1; end;"]),
            ("begin; select 1; commit", vec!["begin", "select 1", "commit"]),
            (";", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn where_statements_end_is_never_guessed() {
        let many = "select 1;".repeat(STATEMENTS + 2);
        for text in [
            "select 1;; select 2",
            "; select 1",
            "select 1; begin select 2; end",
            "select 1; declare x int; begin return x; end",
            "select 'a; select 2",
            "select 1; # select 2",
            many.as_str(),
        ] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
