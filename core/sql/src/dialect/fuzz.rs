//! Fuzz target: any text, read by our lexer and by the parser's.
//!
//! It is refused, or both cut it at the same places; and what our lexer makes of it is whole: nothing but spaces and
//! comments lies between its tokens, and each of them is the same token when it stands alone.

use std::collections::BTreeSet;

use sqlparser::dialect::SnowflakeDialect;
use sqlparser::tokenizer::{Token as Theirs, Tokenizer};

use super::agree;
use crate::lexer::{Class, lex};

#[test]
fn no_text_reads_differently_to_two_lexers() {
    bolero::check!().with_iterations(0).for_each(|bytes: &[u8]| {
        check(&String::from_utf8_lossy(bytes));
    });
}

fn check(text: &str) {
    let ours = lex(text);
    let mut end = 0;
    for token in &ours.tokens {
        assert!(end <= token.start && token.start < token.end, "{token:?} in {text}");
        let between = text.get(end..token.start).expect("tokens begin at characters");
        let left = lex(between);
        assert!(left.tokens.is_empty() && left.problem.is_none(), "left out {between:?} of {text}");
        end = token.end;
        let alone = token.text(text);
        // The end of a row pattern is one only in front of something.
        if alone != "$" {
            let lexed = lex(alone);
            let classes: Vec<Class> = lexed.tokens.iter().map(|token| token.class).collect();
            assert_eq!((classes, lexed.problem), (vec![token.class], None), "{alone:?} of {text}");
        }
    }
    if ours.problem.is_some() {
        return;
    }
    let Ok(theirs) =
        Tokenizer::new(&SnowflakeDialect {}, text).with_unescape(false).tokenize_with_location()
    else {
        return;
    };
    if agree(text, &ours.tokens, theirs.iter().map(|token| &token.token)).is_err() {
        return;
    }
    // They say where a token stands by line and column.
    let mut places = std::collections::BTreeMap::new();
    let (mut line, mut column) = (1, 1);
    for (offset, character) in text.char_indices() {
        places.insert((line, column), offset);
        (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    let starts: BTreeSet<usize> = theirs
        .iter()
        .filter(|token| !matches!(token.token, Theirs::Whitespace(_) | Theirs::EOF))
        .map(|token| places[&(token.span.start.line, token.span.start.column)])
        .collect();
    for token in &ours.tokens {
        // Punctuation of several characters is one token there.
        assert!(
            starts.contains(&token.start) || token.class == Class::Symbol,
            "{token:?} begins elsewhere to the parser: {text}"
        );
    }
    let known: BTreeSet<usize> = ours.tokens.iter().map(|token| token.start).collect();
    assert!(starts.is_subset(&known), "{starts:?} and {known:?}: {text}");
}
