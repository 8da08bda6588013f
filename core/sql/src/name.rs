//! Names as Snowflake stores them: folded, unquoted, fully qualified.

use std::fmt;

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
