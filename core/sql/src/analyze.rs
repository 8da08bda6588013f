//! From text to [`Analysis`]: lex, limit, classify, parse, walk. Each step can only add a problem.

use std::collections::BTreeSet;

use crate::head::{Head, head};
use crate::lexer::{Token, lex};
use crate::lineage::Resolver;
use crate::{
    Analysis, Catalog, Definition, Effect, Form, Lineage, Problem, Reason, Risk, Session, Thing,
    Word, batch, chain, command, dialect, limits, statement,
};

/// The stack that a statement at all limits fits in. It is reserved, not used: pages that are not touched cost nothing.
const STACK_BYTES: usize = 64 << 20;

/// Understands one text. Never fails: what is not understood is in [`Analysis::problem`].
#[must_use]
pub fn analyze(text: &str, session: &Session, catalog: &Catalog) -> Analysis {
    stacker::grow(STACK_BYTES, || {
        let lexed = match limits::size(text) {
            Ok(()) => lex(text),
            Err(problem) => {
                let mut analysis = Analysis::of(Head::unknown());
                analysis.problem = Some(problem);
                return analysis;
            }
        };
        let mut analysis = Analysis::of_text(text, &lexed.tokens);
        let read = match lexed.problem {
            Some(problem) => Err(problem),
            None => understand(text, &lexed.tokens, session, catalog, &mut analysis),
        };
        if let Err(problem) = read {
            analysis.problem = Some(problem);
        }
        if let Some(problem) = &analysis.problem
            && matches!(problem.reason, Reason::Syntax | Reason::Unsupported)
            && crate::secret::holds(text, &analysis)
        {
            // What is said could quote the secret, and would be on record.
            let message = "a statement with a secret in this form is not supported here".into();
            analysis.problem = Some(Problem { message, ..problem.clone() });
        }
        if !analysis.missing.is_empty() {
            let names: Vec<String> = analysis.missing.iter().map(ToString::to_string).collect();
            analysis.problem = Some(Problem {
                reason: Reason::Missing,
                message: format!("{} does not exist or is not known here", names.join(", ")),
                offset: None,
            });
        }
        analysis
    })
}

fn understand(
    text: &str,
    tokens: &[Token],
    session: &Session,
    catalog: &Catalog,
    analysis: &mut Analysis,
) -> Result<(), Problem> {
    let tokens = one_statement(text, tokens, analysis.word)?;
    // What ends the statement is not part of it: the parser sees the same tokens as we do.
    let text = tokens.last().and_then(|last| text.get(..last.end)).unwrap_or(text);
    limits::shape(text, tokens)?;
    if session.ignore_case {
        return Err(Problem {
            reason: Reason::Pinned,
            message: "QUOTED_IDENTIFIERS_IGNORE_CASE is on in this session; names do not mean what they say"
                .into(),
            offset: None,
        });
    }
    if analysis.word == Word::Explain {
        return explain(text, tokens, session, catalog, analysis);
    }
    let mut resolver = Resolver::new(session, catalog);
    let parts = chain::split(text, tokens);
    let read = if parts.len() > 1 {
        chain::read(text, &parts, &mut resolver, analysis)
    } else if command::is_own(analysis.word, text, tokens) {
        let read = command::read(analysis.word, text, tokens, &mut resolver, analysis);
        // A name that means nothing here was read all the same.
        let is_read = |problem: &Problem| matches!(problem.reason, Reason::Name | Reason::Pinned);
        analysis.parsed = read.as_ref().err().is_none_or(is_read);
        read
    } else if let Some(form) = command::form(text, tokens) {
        analysis.form = form;
        analysis.lineage = Lineage::Metadata;
        analysis.parsed = true;
        Ok(())
    } else {
        dialect::parse(text, tokens).and_then(|tree| {
            analysis.parsed = statement::agrees(&tree, analysis.word);
            statement::walk(&tree, &mut resolver, analysis)?;
            if let (Some(made), Word::Create(Thing::View)) = (&mut analysis.made, analysis.word) {
                made.definition = Definition::View(text.to_owned());
            }
            Ok(())
        })
    };
    resolver.finish(analysis);
    read
}

/// The tokens of the only statement, without what ends it.
fn one_statement<'t>(text: &str, tokens: &'t [Token], word: Word) -> Result<&'t [Token], Problem> {
    let is_end = |token: &&Token| token.is_symbol(text, ';');
    let ends = tokens.iter().rev().take_while(is_end).count();
    let body = &tokens[..tokens.len() - ends];
    if body.is_empty() {
        return Err(Problem {
            reason: Reason::Empty,
            message: "there is no statement".into(),
            offset: None,
        });
    }
    match body.iter().find(is_end) {
        Some(end) if word != Word::Scripting => Err(Problem {
            reason: Reason::Several,
            message: format!(
                "Actual statement count {} did not match the desired statement count 1",
                batch::count(text, tokens)
            ),
            offset: Some(end.start),
        }),
        Some(_) | None => Ok(body),
    }
}

/// `EXPLAIN [USING TEXT | JSON | TABULAR] statement` is judged as the statement, and shows only its plan.
fn explain(
    text: &str,
    tokens: &[Token],
    session: &Session,
    catalog: &Catalog,
    analysis: &mut Analysis,
) -> Result<(), Problem> {
    let is = |index: usize, words: &[&str]| {
        tokens.get(index).is_some_and(|token| words.iter().any(|word| token.is(text, word)))
    };
    let skip = if is(1, &["USING"]) && is(2, &["TEXT", "JSON", "TABULAR"]) { 3 } else { 1 };
    let Some(first) = tokens.get(skip) else {
        return Err(crate::lineage::unsupported("EXPLAIN of nothing"));
    };
    let end = tokens.last().map_or(text.len(), |last| last.end);
    let inner = text.get(first.start..end).unwrap_or_default();
    let explained = head(inner, &lex(inner).tokens);
    if !matches!(explained.word.effect(), Effect::Read | Effect::Write | Effect::Define)
        || command::is_own(explained.word, inner, &lex(inner).tokens)
        || explained.word == Word::Explain
    {
        return Err(crate::lineage::unsupported("EXPLAIN of this kind of statement"));
    }
    let mut plan = Analysis::of(explained);
    let read = understand(inner, &lex(inner).tokens, session, catalog, &mut plan);
    analysis.words.extend(plan.words);
    analysis.parsed = plan.parsed;
    analysis.objects = plan.objects;
    analysis.tables = plan.tables;
    analysis.others = plan.others;
    analysis.temporary = plan.temporary;
    analysis.takes = plan.takes;
    analysis.risks = plan.risks;
    analysis.functions = plan.functions;
    analysis.variables = plan.variables;
    analysis.uses = plan.uses;
    analysis.flows = plan.flows;
    analysis.missing = plan.missing;
    analysis.lineage = Lineage::Metadata;
    read
}

impl Head {
    pub(crate) fn unknown() -> Self {
        Self { word: Word::Unknown, replaces: false, drops: false }
    }
}

impl Analysis {
    /// What the heads of a text alone say: of a chain all count, and of several statements the first that is no read.
    /// Such a text is refused, and must not pass for a read in the meantime.
    fn of_text(text: &str, tokens: &[Token]) -> Self {
        let main = head(text, tokens);
        if main.word.effect() != Effect::Read {
            return Self::of(main);
        }
        let parts = chain::split(text, tokens);
        let mut analysis = Self::of(main);
        for part in parts.iter().flat_map(|part| part.split(|token| token.is_symbol(text, ';'))) {
            let other = Self::of(head(text, part));
            if part.is_empty() || analysis.words.contains(&other.word) {
                continue;
            }
            if other.effect != Effect::Read {
                return other;
            }
            if parts.len() > 1 {
                analysis.words.extend(other.words);
                analysis.risks.extend(other.risks);
            }
        }
        analysis
    }

    /// What the head of a statement alone says.
    fn of(head: Head) -> Self {
        let Head { word, replaces, drops } = head;
        let mut words = vec![word];
        let mut risks = BTreeSet::new();
        match word {
            Word::Insert if replaces => {
                words.push(Word::Truncate);
                risks.insert(Risk::Overwrite);
            }
            Word::Create(thing) if replaces => words.push(Word::Drop(thing)),
            Word::Alter(thing) if drops || replaces => words.push(Word::Drop(thing)),
            _ => {}
        }
        for word in &words {
            risks.extend(risks_of(*word));
        }
        Self {
            word,
            words,
            effect: word.effect(),
            parsed: false,
            problem: None,
            form: Form::Ordinary,
            switches_to: Vec::new(),
            sets: Vec::new(),
            variables: BTreeSet::new(),
            objects: Vec::new(),
            tables: Vec::new(),
            others: Vec::new(),
            made: None,
            temporary: false,
            takes: BTreeSet::new(),
            risks,
            functions: BTreeSet::new(),
            lineage: Lineage::Unknown("the statement is not understood".into()),
            uses: Vec::new(),
            flows: Vec::new(),
            missing: BTreeSet::new(),
        }
    }
}

/// The risks that a kind brings by itself.
fn risks_of(word: Word) -> Vec<Risk> {
    let mut risks = Vec::new();
    if crate::Group::Ddl.contains(word) {
        risks.push(Risk::Ddl);
    }
    if crate::Group::Admin.contains(word) {
        risks.push(Risk::Admin);
    }
    match word {
        Word::Drop(_) => risks.push(Risk::Drop),
        Word::Truncate => risks.push(Risk::Overwrite),
        Word::Grant | Word::Revoke => risks.push(Risk::Grant),
        Word::CopyIntoTable => risks.push(Risk::Copy),
        Word::CopyIntoLocation => risks.extend([Risk::Copy, Risk::ExternalSink]),
        Word::Get | Word::Put | Word::Remove | Word::List => risks.push(Risk::Transfer),
        Word::Call | Word::Execute | Word::ExecuteImmediate | Word::Scripting => {
            risks.push(Risk::Scripting);
        }
        Word::Create(thing) | Word::Alter(thing) => {
            if matches!(
                thing,
                Thing::Stage
                    | Thing::Integration
                    | Thing::ExternalTable
                    | Thing::IcebergTable
                    | Thing::Share
                    | Thing::Listing
                    | Thing::Volume
                    | Thing::Pipe
                    | Thing::NetworkRule
            ) {
                risks.push(Risk::ExternalSink);
            }
        }
        _ => {}
    }
    risks
}
