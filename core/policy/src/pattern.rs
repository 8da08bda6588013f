//! Patterns over names: `DB.SCHEMA.TABLE`, each part an identifier, `*`, or with one `*` at an end.

use sql::{Column, Name};

/// A pattern over objects or columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Any,
    Exactly(String),
    Begins(String),
    Ends(String),
}

impl Pattern {
    /// Reads a pattern over objects: three parts.
    pub(crate) fn object(text: &str) -> Result<Self, String> {
        Self::read(text, 3, "DATABASE.SCHEMA.NAME")
    }

    /// Reads a pattern over columns: four parts.
    pub(crate) fn column(text: &str) -> Result<Self, String> {
        Self::read(text, 4, "DATABASE.SCHEMA.TABLE.COLUMN")
    }

    fn read(text: &str, count: usize, form: &str) -> Result<Self, String> {
        let parts = split(text)?;
        if parts.len() != count {
            return Err(format!(
                "{text:?} has {} parts; write {form}, with * for any",
                parts.len()
            ));
        }
        Ok(Self { parts })
    }

    /// Whether it speaks of the object. Of a schema or database it speaks where its last parts are `*`.
    pub(crate) fn matches(&self, name: &Name) -> bool {
        let Name { database, schema, object } = name;
        self.parts.iter().zip([database, schema, object]).all(|(part, stored)| part.matches(stored))
    }

    /// Whether a pattern over columns speaks of the column.
    pub(crate) fn matches_column(&self, column: &Column) -> bool {
        self.matches_named(&column.object, &column.name)
    }

    /// Whether a pattern over columns speaks of the column of that name.
    pub(crate) fn matches_named(&self, object: &Name, column: &str) -> bool {
        self.matches(object) && self.parts.get(3).is_some_and(|part| part.matches(column))
    }
}

impl Part {
    fn matches(&self, stored: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(name) => stored == name,
            Self::Begins(name) => stored.starts_with(name.as_str()),
            Self::Ends(name) => stored.ends_with(name.as_str()),
        }
    }
}

/// Cuts a dotted pattern into parts; unquoted ones are folded to upper case as Snowflake folds them.
fn split(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, behind) = if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut characters = quoted.char_indices().peekable();
            let end = loop {
                match characters.next() {
                    Some((_, '"')) if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                        characters.next();
                        name.push('"');
                    }
                    Some((index, '"')) => break index,
                    Some((_, character)) => name.push(character),
                    None => return Err(format!("{text:?} has a quote without an end")),
                }
            };
            (Part::Exactly(name), &quoted[end + 1..])
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (unquoted(&rest[..end], text)?, &rest[end..])
        };
        parts.push(part);
        match behind.strip_prefix('.') {
            Some(more) => rest = more,
            None if behind.is_empty() => return Ok(parts),
            None => return Err(format!("{text:?} has something behind a quoted part")),
        }
    }
}

fn unquoted(part: &str, text: &str) -> Result<Part, String> {
    let folded = part.to_ascii_uppercase();
    let is_plain = |name: &str| {
        !name.is_empty()
            && name.chars().all(|character| {
                character.is_ascii_alphanumeric() || matches!(character, '_' | '$')
            })
    };
    let pattern = match (folded.strip_prefix('*'), folded.strip_suffix('*')) {
        (Some(""), _) => return Ok(Part::Any),
        (Some(ending), None) => (ending.to_owned(), Part::Ends(ending.to_owned())),
        (None, Some(beginning)) => (beginning.to_owned(), Part::Begins(beginning.to_owned())),
        (None, None) => (folded.clone(), Part::Exactly(folded.clone())),
        (Some(_), Some(_)) => (String::new(), Part::Any),
    };
    if is_plain(&pattern.0) {
        Ok(pattern.1)
    } else {
        Err(format!(
            "{part:?} in {text:?} is no part of a pattern: write an identifier, a quoted identifier, *, A* or *A"
        ))
    }
}
