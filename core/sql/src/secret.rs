//! Secrets in statements: what is shown of a text in place of its passwords, keys and tokens.

use std::borrow::Cow;

use crate::lexer::{Class, Token, lex};
use crate::{Analysis, Effect, Word};

/// What stands in place of a secret.
const HIDDEN: &str = "'****'";

/// How names end whose values are secrets: `PASSWORD`, `ADMIN_PASSWORD`, `AWS_SECRET_KEY`, `AZURE_SAS_TOKEN`.
const NAMES: &[&str] = &[
    "PASSWORD",
    "PASSPHRASE",
    "SECRET",
    "SECRET_STRING",
    "SECRET_KEY",
    "ACCESS_KEY",
    "ACCOUNT_KEY",
    "API_KEY",
    "MASTER_KEY",
    "PRIVATE_KEY",
    "TOKEN",
];

/// The text with `'****'` in place of each literal that is a secret; as it is where there is none.
///
/// Reads and changes of rows are shown as they are: what they compare with is evidence. Of all others the literals
/// behind such names are hidden, in statements inside of literals too, and whatever follows what cannot be read.
#[must_use]
pub fn without_secrets<'t>(text: &'t str, analysis: &Analysis) -> Cow<'t, str> {
    if analysis.words.iter().any(|word| can_hold(*word)) {
        hide(text, 0)
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether a secret stands in the text.
pub(crate) fn holds(text: &str, analysis: &Analysis) -> bool {
    matches!(without_secrets(text, analysis), Cow::Owned(_))
}

/// Whether statements of the kind have clauses for secrets.
fn can_hold(word: Word) -> bool {
    matches!(word, Word::Explain | Word::CopyIntoTable | Word::CopyIntoLocation)
        || matches!(word.effect(), Effect::Define | Effect::Administer | Effect::Opaque)
}

/// Literals inside of literals that are looked into.
const LEVELS: usize = 4;

fn hide(text: &str, level: usize) -> Cow<'_, str> {
    let lexed = lex(text);
    let mut shown = String::new();
    let mut copied = 0;
    // The name, or what may stand between it and its value, came last.
    let mut is_value = false;
    // Brackets that are open in `CREDENTIALS = (...)`.
    let mut credentials = 0_usize;
    for token in &lexed.tokens {
        match token.class {
            Class::String | Class::Dollar | Class::Hex => {
                let instead = if is_value || credentials > 0 {
                    Some(HIDDEN.to_owned())
                } else {
                    inside(token, text, level)
                };
                if let Some(instead) = instead {
                    shown.push_str(text.get(copied..token.start).unwrap_or_default());
                    shown.push_str(&instead);
                    copied = token.end;
                }
                is_value = false;
            }
            Class::Symbol if token.is_symbol(text, '(') => {
                let opens = credentials > 0 || is_value;
                credentials += usize::from(opens);
                is_value = false;
            }
            Class::Symbol if token.is_symbol(text, ')') => {
                credentials = credentials.saturating_sub(1);
                is_value = false;
            }
            Class::Symbol => {
                is_value &= token.is_symbol(text, '=') || token.is_symbol(text, '>');
            }
            Class::Word | Class::Quoted => {
                let name = match token.class {
                    Class::Quoted => token.inner(text),
                    _ => token.text(text),
                };
                is_value = is_secret(name) || is_value && token.is(text, "BY");
            }
            Class::Number | Class::Placeholder => is_value = false,
        }
    }
    if lexed.problem.is_some() {
        let end = lexed.tokens.last().map_or(0, |last| last.end);
        shown.push_str(text.get(copied..end).unwrap_or_default());
        shown.push_str(" ****");
        return Cow::Owned(shown);
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    shown.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(shown)
}

/// What is shown of a literal that is no secret itself, but may be a statement that holds one.
fn inside(literal: &Token, text: &str, level: usize) -> Option<String> {
    let written = literal.inner(text);
    if !NAMES.iter().any(|name| contains(written, name))
        && !contains(written, "IDENTIFIED")
        && !contains(written, "CREDENTIALS")
    {
        return None;
    }
    if level >= LEVELS {
        return Some(HIDDEN.to_owned());
    }
    if literal.class == Class::Dollar {
        return match hide(written, level + 1) {
            Cow::Borrowed(_) => None,
            Cow::Owned(shown) => Some(format!("$${shown}$$")),
        };
    }
    let meant = written.replace("''", "'").replace("\\'", "'").replace("\\\\", "\\");
    matches!(hide(&meant, level + 1), Cow::Owned(_)).then(|| HIDDEN.to_owned())
}

fn is_secret(name: &str) -> bool {
    let ends = |ending: &str| {
        name.len()
            .checked_sub(ending.len())
            .and_then(|begin| name.get(begin..))
            .is_some_and(|end| end.eq_ignore_ascii_case(ending))
    };
    NAMES.iter().any(|ending| ends(ending)) || ends("CREDENTIALS") || ends("IDENTIFIED")
}

fn contains(text: &str, word: &str) -> bool {
    text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}
