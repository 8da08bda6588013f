//! The statements of the broker: templates, with every foreign text through one of two quoting functions.

use std::fmt::Write as _;

/// An ephemeral user about to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct User<'a> {
    /// Its name, of our own making.
    pub(super) name: &'a str,
    /// DER SubjectPublicKeyInfo, base64.
    pub(super) public_key: &'a str,
    /// The one role.
    pub(super) role: &'a str,
    /// Its warehouse.
    pub(super) warehouse: Option<&'a str>,
    /// A network policy of the account.
    pub(super) network_policy: Option<&'a str>,
    /// Whose it is.
    pub(super) comment: &'a str,
}

/// Makes a user that can log in with its key only and expires by itself should nobody drop it.
pub(super) fn create(user: &User<'_>) -> String {
    let mut text = format!(
        "CREATE USER {} TYPE = SERVICE LOGIN_NAME = {} RSA_PUBLIC_KEY = {} DEFAULT_ROLE = {} \
         DEFAULT_SECONDARY_ROLES = () DAYS_TO_EXPIRY = 1",
        identifier(user.name),
        literal(user.name),
        literal(user.public_key),
        role(user.role),
    );
    // Writing to a String cannot fail.
    if let Some(warehouse) = user.warehouse {
        let _ = write!(text, " DEFAULT_WAREHOUSE = {}", role(warehouse));
    }
    if let Some(policy) = user.network_policy {
        let _ = write!(text, " NETWORK_POLICY = {}", role(policy));
    }
    let _ = write!(text, " COMMENT = {}", literal(user.comment));
    text
}

/// Gives the user its one role.
pub(super) fn grant(user: &str, to: &str) -> String {
    format!("GRANT ROLE {} TO USER {}", role(to), identifier(user))
}

/// Ends what the user is doing, in the order in which nothing can begin anew.
pub(super) fn retire(user: &str) -> [String; 3] {
    let user = identifier(user);
    [
        format!("ALTER USER IF EXISTS {user} SET DISABLED = TRUE"),
        format!("ALTER USER IF EXISTS {user} ABORT ALL QUERIES"),
        format!("DROP USER IF EXISTS {user}"),
    ]
}

/// Lists the users with the prefix, and, the underscore being a wildcard, some more.
pub(super) fn list(prefix: &str) -> String {
    format!("SHOW USERS LIKE {}", literal(&format!("{prefix}%")))
}

/// Columns of tables and views of one database, each name as stored.
pub(super) fn columns(database: &str, names: &[(&str, &str)]) -> String {
    format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM {}.INFORMATION_SCHEMA.COLUMNS \
         WHERE {} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION",
        identifier(database),
        among(names)
    )
}

/// View texts of one database.
pub(super) fn views(database: &str, names: &[(&str, &str)]) -> String {
    format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION FROM {}.INFORMATION_SCHEMA.VIEWS WHERE {}",
        identifier(database),
        among(names)
    )
}

/// Kinds of tables of one database.
pub(super) fn tables(database: &str, names: &[(&str, &str)]) -> String {
    format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM {}.INFORMATION_SCHEMA.TABLES WHERE {}",
        identifier(database),
        among(names)
    )
}

fn among(names: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = names
        .iter()
        .map(|(schema, name)| {
            format!("(TABLE_SCHEMA = {} AND TABLE_NAME = {})", literal(schema), literal(name))
        })
        .collect();
    pairs.join(" OR ")
}

/// A role, warehouse or policy as people write it: folded like Snowflake folds an unquoted name, exact otherwise.
pub(super) fn role(written: &str) -> String {
    identifier(&stored(written))
}

/// The name as login parameters take it: quoted only where it must be.
pub(super) fn parameter(written: &str) -> String {
    let name = stored(written);
    if is_plain(&name) && name == name.to_ascii_uppercase() { name } else { identifier(&name) }
}

/// How Snowflake stores a name that people wrote: plain names upper case, quoted ones without their quotes.
pub(super) fn stored(written: &str) -> String {
    let quoted = written
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .map(|inner| inner.replace("\"\"", "\""));
    match quoted {
        Some(inner) => inner,
        None if is_plain(written) => written.to_ascii_uppercase(),
        None => written.to_owned(),
    }
}

/// Whether the name needs no quotes.
fn is_plain(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first == '_' || first.is_ascii_alphabetic())
        && letters.all(|c| c == '_' || c == '$' || c.is_ascii_alphanumeric())
}

/// An identifier that means exactly `name`.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string that means exactly `text`: Snowflake takes the backslash as an escape in ordinary literals.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a literal as Snowflake does; `None` if anything stands after its end.
    fn read_literal(text: &str) -> Option<String> {
        let mut letters = text.strip_prefix('\'')?.chars().peekable();
        let mut value = String::new();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => value.push(letters.next()?),
                '\'' if letters.peek() == Some(&'\'') => {
                    letters.next();
                    value.push('\'');
                }
                '\'' => return letters.next().is_none().then_some(value),
                other => value.push(other),
            }
        }
        None
    }

    fn read_identifier(text: &str) -> Option<String> {
        let mut letters = text.strip_prefix('"')?.chars().peekable();
        let mut value = String::new();
        while let Some(letter) = letters.next() {
            match letter {
                '"' if letters.peek() == Some(&'"') => {
                    letters.next();
                    value.push('"');
                }
                '"' => return letters.next().is_none().then_some(value),
                other => value.push(other),
            }
        }
        None
    }

    proptest! {
        #[test]
        fn a_literal_means_its_text_and_ends_where_it_should(text in r#"(\PC|['"\\;\n-]){0,40}"#) {
            prop_assert_eq!(read_literal(&literal(&text)), Some(text));
        }

        #[test]
        fn an_identifier_means_its_name_and_ends_where_it_should(name in r#"(\PC|['"\\;\n-]){0,40}"#) {
            prop_assert_eq!(read_identifier(&identifier(&name)), Some(name));
        }
    }

    #[test]
    fn names_fold_as_snowflake_folds_them() {
        for (written, expected) in [
            ("analyst_ro", "ANALYST_RO"),
            ("ANALYST$1", "ANALYST$1"),
            ("\"Analyst\"", "Analyst"),
            ("\"a\"\"b\"", "a\"b"),
            ("two words", "two words"),
            ("1st", "1st"),
            ("x; DROP USER y", "x; DROP USER y"),
        ] {
            assert_eq!(stored(written), expected);
        }
    }

    #[test]
    fn the_life_of_a_user_reads_like_this() {
        let user = User {
            name: "FG_ABC",
            public_key: "MIIB+/=",
            role: "analyst_ro",
            warehouse: Some("AGENTS"),
            network_policy: Some("FROSTGATE_EGRESS"),
            comment: "frostgate c1 s1 it's",
        };
        let mut texts = vec![create(&user), grant("FG_ABC", "analyst_ro"), list("FG_")];
        texts.extend(retire("FG_ABC"));
        texts.push(columns("DB", &[("PUBLIC", "T"), ("PUBLIC", "it's")]));
        insta::assert_snapshot!(texts.join("\n"));
    }
}
