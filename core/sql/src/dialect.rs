//! The only door to the SQL parser: everything else takes its syntax tree from here.
//!
//! The parser is used for what it is good at, queries and DML. It must agree with our own lexer token by token and
//! find exactly one statement. Its `Display`, `Clone`, `PartialEq` and `visit_relations` are never used: they
//! recurse without a limit, or miss objects.

#[cfg(test)]
mod fuzz;
mod spelling;

pub(crate) use sqlparser::ast;

use sqlparser::dialect::SnowflakeDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token as Theirs, Tokenizer};

use crate::lexer::{Class, Token, lex};
use crate::{Problem, Reason};

/// The quote of words that `spelling` makes up: no text can hold it, because the lexer refuses it.
pub(crate) const OWN: char = '`';

/// How deep expressions and queries may nest.
const RECURSION: usize = 50;

/// Reads exactly one statement.
pub(crate) fn parse(text: &str, tokens: &[Token]) -> Result<ast::Statement, Problem> {
    read(text, tokens, false)
}

/// Reads one statement of a chain, which may name the results before it in FROM.
pub(crate) fn parse_chained(text: &str, tokens: &[Token]) -> Result<ast::Statement, Problem> {
    read(text, tokens, true)
}

fn read(text: &str, tokens: &[Token], chained: bool) -> Result<ast::Statement, Problem> {
    let dialect = SnowflakeDialect {};
    let theirs = Tokenizer::new(&dialect, text)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|error| problem(Reason::Ambiguous, &error.message))?;
    agree(text, tokens, theirs.iter().map(|token| &token.token))?;
    let theirs = spelling::plain(theirs, chained);
    let mut parser =
        Parser::new(&dialect).with_tokens_with_locations(theirs).with_recursion_limit(RECURSION);
    let mut statements =
        parser.parse_statements().map_err(|error| problem(Reason::Syntax, &error.to_string()))?;
    // The parser takes the word END for the end of a list of statements, and leaves what follows unread.
    let rest = parser.peek_token();
    if rest.token != Theirs::EOF {
        return Err(problem(Reason::Syntax, &format!("the statement ends before `{rest}`")));
    }
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (None, _) => Err(problem(Reason::Empty, "there is no statement")),
        (Some(_), false) => Err(problem(Reason::Several, "more than one statement")),
    }
}

/// Reads the text of a view: its query, or the whole CREATE VIEW.
pub(crate) fn parse_view(text: &str) -> Result<ast::Statement, Problem> {
    crate::limits::size(text)?;
    let lexed = lex(text);
    if let Some(problem) = lexed.problem {
        return Err(problem);
    }
    crate::limits::shape(text, &lexed.tokens)?;
    parse(text, &lexed.tokens)
}

fn problem(reason: Reason, message: &str) -> Problem {
    let message = message.strip_prefix("sql parser error: ").unwrap_or(message);
    Problem { reason, message: message.to_owned(), offset: None }
}

/// Compares the parser's tokens with ours. Punctuation is compared character by character: how it is grouped is
/// the parser's affair, where it stands is not, so the characters of a group stand side by side.
fn agree<'a>(
    text: &str,
    ours: &[Token],
    theirs: impl Iterator<Item = &'a Theirs>,
) -> Result<(), Problem> {
    let mut ours = ours.iter();
    for token in theirs {
        let same = match token {
            Theirs::Whitespace(_) | Theirs::EOF => true,
            Theirs::Word(word) => {
                ours.next().is_some_and(|own| match (own.class, word.quote_style) {
                    (Class::Word, None) => own.text(text) == word.value,
                    (Class::Quoted, Some('"')) => own.inner(text) == word.value,
                    _ => false,
                })
            }
            Theirs::SingleQuotedString(raw) => {
                ours.next().is_some_and(|own| own.class == Class::String && own.inner(text) == raw)
            }
            Theirs::HexStringLiteral(digits) => {
                ours.next().is_some_and(|own| own.class == Class::Hex && own.inner(text) == digits)
            }
            Theirs::DollarQuotedString(raw) => ours.next().is_some_and(|own| {
                own.class == Class::Dollar && raw.tag.is_none() && own.inner(text) == raw.value
            }),
            Theirs::Number(digits, long) => {
                !long
                    && ours
                        .next()
                        .is_some_and(|own| own.class == Class::Number && own.text(text) == digits)
            }
            Theirs::Placeholder(name) => ours
                .next()
                .is_some_and(|own| own.class == Class::Placeholder && own.text(text) == name),
            Theirs::Neq => {
                let (first, second) = (ours.next(), ours.next());
                matches!(
                    (first.map(|own| own.text(text)), second.map(|own| own.text(text))),
                    (Some("<"), Some(">")) | (Some("!"), Some("="))
                )
            }
            punctuation => {
                let mut end = None;
                punctuation.to_string().chars().all(|character| {
                    ours.next().is_some_and(|own| {
                        let adjoins = end.replace(own.end).is_none_or(|end| end == own.start);
                        adjoins && own.is_symbol(text, character)
                    })
                })
            }
        };
        if !same {
            return Err(problem(
                Reason::Ambiguous,
                "the statement reads differently to two lexers; write it more plainly",
            ));
        }
    }
    match ours.next() {
        None => Ok(()),
        Some(_) => Err(problem(Reason::Ambiguous, "the parser did not see all of the statement")),
    }
}
