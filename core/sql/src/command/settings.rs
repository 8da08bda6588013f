//! Rights, files, and things that are a name with settings: statements that hold no query, so that their tokens say all.
//! What could hold one, or could carry rows somewhere, is refused here whatever its kind.

use std::sync::Arc;

use super::Reader;
use crate::lexer::Class;
use crate::lineage::{Resolver, unsupported};
use crate::{Access, Name, Problem, Reason, Sink, Thing, Word};

/// Words of clauses that hold a query or carry rows: none of them is a setting.
const CARRIERS: &[&str] = &[
    "SELECT", "WITH", "AS", "CLONE", "FROM", "LIKE", "USING", "SWAP", "EXECUTE", "CALL", "COPY",
    "SHARE", "SHARES",
];

/// Words between the head and the name.
const MODIFIERS: &[&str] =
    &["OR", "REPLACE", "ALTER", "TEMP", "TEMPORARY", "TRANSIENT", "IF", "NOT", "EXISTS"];

/// Where the names of such things live.
enum Home {
    Account,
    Database,
    Schema,
}

/// Whether a statement about this thing is a name with settings.
fn home(thing: Thing) -> Option<Home> {
    match thing {
        Thing::Role
        | Thing::User
        | Thing::Warehouse
        | Thing::ResourceMonitor
        | Thing::Integration
        | Thing::Connection
        | Thing::Group
        | Thing::ComputePool
        | Thing::Volume => Some(Home::Account),
        Thing::Database => Some(Home::Database),
        Thing::Sequence
        | Thing::Stage
        | Thing::FileFormat
        | Thing::Tag
        | Thing::NetworkRule
        | Thing::Secret => Some(Home::Schema),
        _ => None,
    }
}

/// Whether this module reads the kind.
pub(super) fn is_own(word: Word) -> bool {
    match word {
        Word::Grant
        | Word::Revoke
        | Word::Undrop
        | Word::List
        | Word::Remove
        | Word::Put
        | Word::Get
        | Word::Execute => true,
        Word::Create(thing) | Word::Alter(thing) => home(thing).is_some(),
        Word::Drop(thing) => {
            home(thing).is_some()
                || matches!(
                    thing,
                    Thing::IcebergTable
                        | Thing::HybridTable
                        | Thing::EventTable
                        | Thing::Stream
                        | Thing::Task
                        | Thing::Pipe
                        | Thing::Alert
                        | Thing::Function
                        | Thing::Procedure
                )
        }
        _ => false,
    }
}

/// Reads one of them completely.
pub(super) fn read(
    word: Word,
    reader: &mut Reader<'_>,
    resolver: &mut Resolver<'_>,
) -> Result<(), Problem> {
    reader.skip();
    match word {
        Word::Grant | Word::Revoke => rights(reader),
        Word::List | Word::Remove => files(reader),
        Word::Put | Word::Get => Err(Problem {
            reason: Reason::Unsupported,
            message: "PUT and GET would hand the stage's credentials to the client".into(),
            offset: None,
        }),
        Word::Undrop => undrop(reader, resolver),
        Word::Execute => execute(reader),
        Word::Create(thing) => about(thing, Access::Create, reader, resolver),
        Word::Alter(thing) => about(thing, Access::Alter, reader, resolver),
        Word::Drop(thing) => drop(thing, reader, resolver),
        _ => Err(unsupported("this statement")),
    }
}

/// `GRANT privileges ON thing name TO ROLE name`: words and names only.
fn rights(reader: &mut Reader<'_>) -> Result<(), Problem> {
    while let Some(token) = reader.tokens.get(reader.at) {
        if reader.is("SHARE") {
            return Err(unsupported("giving rights to a share"));
        }
        let is_name = match token.class {
            Class::Word | Class::Quoted | Class::Number => true,
            Class::Symbol => ".,()*".contains(token.text(reader.text)),
            Class::String | Class::Hex | Class::Dollar | Class::Placeholder => false,
        };
        if !is_name || reader.is("SELECT") && reader.follows_bracket() {
            return reader.missing("a privilege or a name");
        }
        reader.skip();
    }
    Ok(())
}

/// `LIST @stage/path [PATTERN = 're']`.
fn files(reader: &mut Reader<'_>) -> Result<(), Problem> {
    let is_quoted = reader.take_class(Class::String);
    if !is_quoted && !reader.take_symbol('@') {
        return reader.missing("a stage");
    }
    while let Some(token) = reader.tokens.get(reader.at) {
        if reader.is("PATTERN") {
            break;
        }
        let is_path = !is_quoted
            && match token.class {
                Class::Word | Class::Quoted | Class::Number => true,
                Class::Symbol => "~%./-=+:&*".contains(token.text(reader.text)),
                Class::String | Class::Hex | Class::Dollar | Class::Placeholder => false,
            };
        if !is_path {
            return reader.missing("a path");
        }
        reader.skip();
    }
    if reader.take("PATTERN") && !(reader.take_symbol('=') && reader.take_class(Class::String)) {
        return reader.missing("a pattern");
    }
    Ok(())
}

/// `EXECUTE TASK name`: what it runs was defined by somebody else, and shows no rows.
fn execute(reader: &mut Reader<'_>) -> Result<(), Problem> {
    if !reader.take("TASK") && !reader.take("ALERT") {
        return Err(unsupported("EXECUTE of this kind of thing"));
    }
    reader.name()?;
    reader.take_all("RETRY LAST");
    Ok(())
}

/// `UNDROP TABLE name`: what comes back has the name that it had, and the masks of that name.
fn undrop(reader: &mut Reader<'_>, resolver: &mut Resolver<'_>) -> Result<(), Problem> {
    let is_rows = ["TABLE", "DYNAMIC TABLE", "ICEBERG TABLE", "VIEW", "TAG"]
        .iter()
        .any(|kind| reader.take_all(kind));
    let name = if is_rows {
        resolver.qualify(&reader.name()?)?
    } else if reader.take("SCHEMA") {
        resolver.schema_of(&reader.name()?)?
    } else if reader.take("DATABASE") {
        match reader.name()?.as_slice() {
            [database] => Name::new(database.clone(), "", ""),
            _ => return reader.missing("the name of a database"),
        }
    } else {
        return Err(unsupported("UNDROP of this kind of thing"));
    };
    resolver.touch(Arc::new(name), Access::Create);
    Ok(())
}

/// `CREATE | ALTER thing name settings`.
fn about(
    thing: Thing,
    access: Access,
    reader: &mut Reader<'_>,
    resolver: &mut Resolver<'_>,
) -> Result<(), Problem> {
    let replaces = reader.head(thing);
    named(thing, access, replaces, reader, resolver)?;
    settings(reader, "=,.()-/@~%")
}

/// Settings to the end: names and values, with these symbols among them.
fn settings(reader: &mut Reader<'_>, symbols: &str) -> Result<(), Problem> {
    while let Some(token) = reader.tokens.get(reader.at) {
        let is_setting = match token.class {
            Class::Word => !CARRIERS.iter().any(|word| reader.is(word)),
            Class::Quoted | Class::String | Class::Number => true,
            Class::Symbol => symbols.contains(token.text(reader.text)),
            Class::Hex | Class::Dollar | Class::Placeholder => false,
        };
        // `START WITH 1` of a sequence, `WITH TAG (...)`: the word alone begins no query.
        let is_with = reader.is("WITH") && !reader.follows_bracket();
        if !is_setting && !is_with {
            return reader.missing("a setting");
        }
        reader.skip();
    }
    Ok(())
}

/// `DROP thing [IF EXISTS] name [(types)] [CASCADE | RESTRICT]`.
fn drop(thing: Thing, reader: &mut Reader<'_>, resolver: &mut Resolver<'_>) -> Result<(), Problem> {
    reader.head(thing);
    if matches!(thing, Thing::Function | Thing::Procedure) {
        let name = resolver.qualify(&reader.signature()?)?;
        resolver.touch(Arc::new(name), Access::Drop);
        return Ok(());
    }
    named(thing, Access::Drop, false, reader, resolver)?;
    let _rest = reader.take("CASCADE") || reader.take("RESTRICT");
    Ok(())
}

/// The name, which is touched where an object rule can speak of it.
fn named(
    thing: Thing,
    access: Access,
    replaces: bool,
    reader: &mut Reader<'_>,
    resolver: &mut Resolver<'_>,
) -> Result<(), Problem> {
    let parts = reader.name()?;
    let name = match home(thing) {
        Some(Home::Account) => return Ok(()),
        Some(Home::Database) => match parts.as_slice() {
            [database] => Name::new(database.clone(), "", ""),
            _ => return reader.missing("the name of a database"),
        },
        Some(Home::Schema) | None => resolver.qualify(&parts)?,
    };
    let name = Arc::new(name);
    if replaces {
        resolver.touch(Arc::clone(&name), Access::Drop);
    }
    resolver.touch(name, access);
    Ok(())
}

/// `ALTER TABLE name SET | UNSET settings`. Whether masks still fit what the table is then, nobody knows.
pub(super) fn table(reader: &mut Reader<'_>, resolver: &mut Resolver<'_>) -> Result<(), Problem> {
    reader.skip();
    reader.head(Thing::Table);
    let parts = reader.name()?;
    let name = Arc::new(resolver.qualify(&parts)?);
    resolver.touch(Arc::clone(&name), Access::Alter);
    resolver.flow_of_named(&parts, &Sink::Definition(name))?;
    settings(reader, "=,.()-")
}

impl Reader<'_> {
    /// Whether the token before is an open bracket.
    fn follows_bracket(&self) -> bool {
        self.at
            .checked_sub(1)
            .and_then(|before| self.tokens.get(before))
            .is_some_and(|token| token.is_symbol(self.text, '('))
    }

    /// Takes what stands between the first word and the name; says whether something is replaced.
    fn head(&mut self, thing: Thing) -> bool {
        let mut replaces = false;
        let mut take = |reader: &mut Self| {
            while MODIFIERS.iter().any(|word| reader.is(word)) {
                replaces |= reader.is("REPLACE") || reader.is("ALTER");
                reader.skip();
            }
        };
        take(self);
        self.at +=
            crate::head::words_of(thing, self.text, self.tokens.get(self.at..).unwrap_or_default());
        take(self);
        replaces
    }
}
