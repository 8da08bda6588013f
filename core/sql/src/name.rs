//! Names as Snowflake stores them: folded, unquoted, fully qualified.

use std::fmt;

use crate::lexer::{Class, lex};

/// A fully qualified object: each part as Snowflake stores it (unquoted identifiers folded to upper case).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Database.
    pub database: String,
    /// Schema; empty where the object is a database.
    pub schema: String,
    /// Table, view or other object; empty where the object is a schema or database.
    pub object: String,
}

impl Name {
    /// A name from its parts, taken as stored.
    pub fn new(
        database: impl Into<String>,
        schema: impl Into<String>,
        object: impl Into<String>,
    ) -> Self {
        Self { database: database.into(), schema: schema.into(), object: object.into() }
    }

    /// A full name as it is written in SQL: three parts, unquoted ones are folded.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match read(text)?.as_slice() {
            [database, schema, object] => {
                Some(Self::new(database.clone(), schema.clone(), object.clone()))
            }
            _ => None,
        }
    }

    /// Whether it is the object, or the schema or database that the object is in.
    #[must_use]
    pub fn holds(&self, object: &Self) -> bool {
        let Self { database, schema, object: name } = self;
        *database == object.database
            && (schema.is_empty() || *schema == object.schema)
            && (name.is_empty() || *name == object.object)
    }

    /// The parts that are there.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        [&self.database, &self.schema, &self.object]
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
    }
}

impl fmt::Display for Name {
    /// Quotes a part only where Snowflake would need it, so that what is shown can be pasted back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            if is_plain(part) {
                f.write_str(part)?;
            } else {
                write!(f, "\"{}\"", part.replace('"', "\"\""))?;
            }
        }
        Ok(())
    }
}

/// The stored parts of a dotted name in a string.
pub(crate) fn read(text: &str) -> Option<Vec<String>> {
    let lexed = lex(text);
    if lexed.problem.is_some() {
        return None;
    }
    let mut parts = Vec::new();
    let mut expects_part = true;
    for token in &lexed.tokens {
        match (token.class, expects_part) {
            (Class::Word, true) => parts.push(fold(token.text(text))),
            (Class::Quoted, true) => parts.push(token.inner(text).replace("\"\"", "\"")),
            (Class::Symbol, false) if token.is_symbol(text, '.') => {}
            _ => return None,
        }
        expects_part = !expects_part;
    }
    (!expects_part).then_some(parts)
}

/// Folds an unquoted identifier as Snowflake does: ASCII upper case.
pub(crate) fn fold(identifier: &str) -> String {
    identifier.to_ascii_uppercase()
}

/// Whether an identifier can be written without quotes and stays itself.
fn is_plain(part: &str) -> bool {
    let mut characters = part.chars();
    characters.next().is_some_and(|first| first.is_ascii_uppercase() || first == '_')
        && characters.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '$')
}
