//! Statements that differ only in how they are written are one: cut apart, without comments, layout and letter case.
//!
//! For comparing texts, never for judging them: what a text means is [`crate::analyze`]'s to say.

use std::fmt::Write as _;

use crate::lexer::{Class, Token, lex};

/// One statement of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<'a> {
    /// As it stands there, comments included, without the `;` behind it.
    pub text: &'a str,
    /// Its tokens.
    pub tokens: Vec<Normal>,
}

/// One token in normal form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Normal {
    /// Its text; words in upper case.
    pub text: String,
    /// Whether it is a number or a string.
    pub literal: bool,
}

impl Written<'_> {
    /// The tokens as one text.
    #[must_use]
    pub fn normal(&self) -> String {
        let mut text = String::with_capacity(self.text.len());
        for token in &self.tokens {
            let _ = write!(text, "{} ", token.text);
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// The statements of a text; nothing where lexers could disagree about it.
#[must_use]
pub fn statements(text: &str) -> Option<Vec<Written<'_>>> {
    let lexed = lex(text);
    if lexed.problem.is_some() {
        return None;
    }
    let mut statements = Vec::new();
    let mut start = 0;
    let mut tokens = Vec::new();
    let mut end_at = |start: usize, end: usize, tokens: &mut Vec<Normal>| {
        let tokens = std::mem::take(tokens);
        if !tokens.is_empty() {
            let text = text.get(start..end).unwrap_or_default().trim();
            statements.push(Written { text, tokens });
        }
    };
    for token in &lexed.tokens {
        if token.is_symbol(text, ';') {
            end_at(start, token.start, &mut tokens);
            start = token.end;
        } else {
            tokens.push(normal(token, text));
        }
    }
    end_at(start, text.len(), &mut tokens);
    Some(statements)
}

fn normal(token: &Token, source: &str) -> Normal {
    let text = token.text(source);
    match token.class {
        Class::Word | Class::Hex => {
            Normal { text: text.to_ascii_uppercase(), literal: token.class == Class::Hex }
        }
        Class::Quoted | Class::Placeholder | Class::Symbol => {
            Normal { text: text.to_owned(), literal: false }
        }
        Class::String | Class::Dollar | Class::Number => {
            Normal { text: text.to_owned(), literal: true }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(text: &str) -> Vec<String> {
        statements(text).unwrap().iter().map(Written::normal).collect()
    }

    #[test]
    fn layout_comments_and_letter_case_make_no_difference() {
        let plain = forms("select A, 'x -- y' from \"t\" where b = 1");
        for text in [
            "SELECT a,'x -- y' FROM \"t\"\n\twhere B=1;",
            "/* why */ select a , 'x -- y' -- the rest\n from \"t\" where b = 1 ;;",
        ] {
            assert_eq!(forms(text), plain, "{text}");
        }
        for other in [
            "select a, 'X -- y' from \"t\" where b = 1",
            "select a, 'x -- y' from \"T\" where b = 1",
            "select a, 'x -- y' from \"t\" where b = 2",
        ] {
            assert_ne!(forms(other), plain, "{other}");
        }
    }

    #[test]
    fn a_text_is_cut_where_statements_end() {
        let text = "use schema a; select ';' ; -- done\n insert into t values ($$;$$)";
        let found: Vec<_> = statements(text).unwrap().iter().map(|it| it.text).collect();
        assert_eq!(found, ["use schema a", "select ';'", "-- done\n insert into t values ($$;$$)"]);
        assert_eq!(statements(" ; -- nothing").unwrap(), []);
        assert_eq!(statements("select 'open"), None);
    }
}
