//! The kind of a statement by its first keywords.
//!
//! It works on tokens, so that statements which no parser reads still have a kind: a policy can name them, a record
//! shows them, and none of them can pass for a read.

use crate::lexer::{Class, Token};
use crate::{Thing, Word, command};

/// A kind, and what the head of the statement says besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) word: Word,
    /// `OR REPLACE`, `OR ALTER`, `OVERWRITE`: what was there before is gone.
    pub(crate) replaces: bool,
    /// ALTER that takes something away.
    pub(crate) drops: bool,
}

/// Words before the thing in CREATE, that do not change what it is.
const MODIFIERS: &[&str] = &[
    "OR",
    "REPLACE",
    "ALTER",
    "TEMP",
    "TEMPORARY",
    "VOLATILE",
    "TRANSIENT",
    "SCOPED",
    "LOCAL",
    "GLOBAL",
    "SECURE",
    "RECURSIVE",
    "IF",
    "NOT",
    "EXISTS",
    "MANAGED",
    "VERSIONED",
];

/// Things by the words that name them; the longer come first.
const THINGS: &[(&[&str], Thing)] = &[
    (&["EXTERNAL", "TABLE"], Thing::ExternalTable),
    (&["EXTERNAL", "FUNCTION"], Thing::Function),
    (&["EXTERNAL", "VOLUME"], Thing::Volume),
    (&["EXTERNAL", "ACCESS", "INTEGRATION"], Thing::Integration),
    (&["EXTERNAL", "AGENT"], Thing::Cortex),
    (&["DYNAMIC", "ICEBERG", "TABLE"], Thing::DynamicTable),
    (&["DYNAMIC", "TABLE"], Thing::DynamicTable),
    (&["INTERACTIVE", "TABLE"], Thing::Table),
    (&["INTERACTIVE", "WAREHOUSE"], Thing::Warehouse),
    (&["ADAPTIVE", "WAREHOUSE"], Thing::Warehouse),
    (&["ICEBERG", "TABLE"], Thing::IcebergTable),
    (&["HYBRID", "TABLE"], Thing::HybridTable),
    (&["EVENT", "TABLE"], Thing::EventTable),
    (&["MATERIALIZED", "VIEW"], Thing::MaterializedView),
    (&["SEMANTIC", "VIEW"], Thing::SemanticView),
    (&["AGGREGATE", "FUNCTION"], Thing::Function),
    (&["TABLE", "FUNCTION"], Thing::Function),
    (&["DATA", "METRIC", "FUNCTION"], Thing::Function),
    (&["FILE", "FORMAT"], Thing::FileFormat),
    (&["MASKING", "POLICY"], Thing::MaskingPolicy),
    (&["ROW", "ACCESS", "POLICY"], Thing::RowAccessPolicy),
    (&["AGGREGATION", "POLICY"], Thing::Policy),
    (&["PROJECTION", "POLICY"], Thing::Policy),
    (&["JOIN", "POLICY"], Thing::Policy),
    (&["PRIVACY", "POLICY"], Thing::Policy),
    (&["PASSWORD", "POLICY"], Thing::Policy),
    (&["SESSION", "POLICY"], Thing::Policy),
    (&["NETWORK", "POLICY"], Thing::Policy),
    (&["AUTHENTICATION", "POLICY"], Thing::Policy),
    (&["PACKAGES", "POLICY"], Thing::Policy),
    (&["FEATURE", "POLICY"], Thing::Policy),
    (&["BACKUP", "POLICY"], Thing::Policy),
    (&["SNAPSHOT", "POLICY"], Thing::Policy),
    (&["STORAGE", "LIFECYCLE", "POLICY"], Thing::Policy),
    (&["CORTEX", "SEARCH", "SERVICE"], Thing::Cortex),
    (&["CORTEX", "AGENT"], Thing::Cortex),
    (&["AGENT"], Thing::Cortex),
    (&["MCP", "SERVER"], Thing::Cortex),
    (&["NETWORK", "RULE"], Thing::NetworkRule),
    (&["API", "INTEGRATION"], Thing::Integration),
    (&["CATALOG", "INTEGRATION"], Thing::Integration),
    (&["NOTIFICATION", "INTEGRATION"], Thing::Integration),
    (&["SECURITY", "INTEGRATION"], Thing::Integration),
    (&["STORAGE", "INTEGRATION"], Thing::Integration),
    (&["INTEGRATION"], Thing::Integration),
    (&["DATABASE", "ROLE"], Thing::Role),
    (&["APPLICATION", "ROLE"], Thing::Role),
    (&["APPLICATION", "PACKAGE"], Thing::Application),
    (&["APPLICATION"], Thing::Application),
    (&["RESOURCE", "MONITOR"], Thing::ResourceMonitor),
    (&["FAILOVER", "GROUP"], Thing::Group),
    (&["REPLICATION", "GROUP"], Thing::Group),
    (&["ORGANIZATION", "ACCOUNT"], Thing::Account),
    (&["ORGANIZATION", "PROFILE"], Thing::Account),
    (&["ORGANIZATION", "USER"], Thing::User),
    (&["ACCOUNT"], Thing::Account),
    (&["COMPUTE", "POOL"], Thing::ComputePool),
    (&["IMAGE", "REPOSITORY"], Thing::Repository),
    (&["ARTIFACT", "REPOSITORY"], Thing::Repository),
    (&["GIT", "REPOSITORY"], Thing::Repository),
    (&["MODEL", "MONITOR"], Thing::Model),
    (&["DATA", "EXCHANGE"], Thing::Listing),
    (&["PROVISIONED", "THROUGHPUT"], Thing::Cortex),
    (&["ONLINE", "FEATURE", "TABLE"], Thing::DynamicTable),
    (&["ORGANIZATION", "LISTING"], Thing::Listing),
    (&["BACKUP", "SET"], Thing::Backup),
    (&["SNAPSHOT", "SET"], Thing::Backup),
    (&["SNAPSHOT"], Thing::Backup),
    (&["DBT", "PROJECT"], Thing::Project),
    (&["DCM", "PROJECT"], Thing::Project),
    (&["NOTEBOOK", "PROJECT"], Thing::Project),
    (&["WORKSPACE"], Thing::Project),
    (&["DATASET"], Thing::Dataset),
    (&["EXPERIMENT"], Thing::Model),
    (&["CONTACT"], Thing::Contact),
    (&["GATEWAY"], Thing::Gateway),
    (&["TYPE"], Thing::Type),
    (&["TABLE"], Thing::Table),
    (&["VIEW"], Thing::View),
    (&["SCHEMA"], Thing::Schema),
    (&["DATABASE"], Thing::Database),
    (&["SEQUENCE"], Thing::Sequence),
    (&["FUNCTION"], Thing::Function),
    (&["PROCEDURE"], Thing::Procedure),
    (&["STAGE"], Thing::Stage),
    (&["STREAM"], Thing::Stream),
    (&["TASK"], Thing::Task),
    (&["PIPE"], Thing::Pipe),
    (&["ALERT"], Thing::Alert),
    (&["TAG"], Thing::Tag),
    (&["ROLE"], Thing::Role),
    (&["USER"], Thing::User),
    (&["WAREHOUSE"], Thing::Warehouse),
    (&["SHARE"], Thing::Share),
    (&["SECRET"], Thing::Secret),
    (&["CONNECTION"], Thing::Connection),
    (&["SERVICE"], Thing::Service),
    (&["JOB", "SERVICE"], Thing::Service),
    (&["STREAMLIT"], Thing::Streamlit),
    (&["NOTEBOOK"], Thing::Notebook),
    (&["MODEL"], Thing::Model),
    (&["LISTING"], Thing::Listing),
    (&["INDEX"], Thing::Index),
];

/// The kind of the statement that these tokens begin.
pub(crate) fn head(text: &str, tokens: &[Token]) -> Head {
    let open = tokens.iter().take_while(|token| token.is_symbol(text, '(')).count();
    let words = Words { text, tokens: &tokens[open..] };
    let first = words.at(0).to_ascii_uppercase();
    let second = words.at(1).to_ascii_uppercase();
    if open > 0 {
        // Only a query may stand in brackets.
        let is_query = matches!(first.as_str(), "SELECT" | "WITH" | "VALUES");
        return plain(if is_query { query(&words) } else { Word::Unknown });
    }
    match first.as_str() {
        "WITH" if words.any("PROCEDURE") => plain(Word::Call),
        "SELECT" | "VALUES" | "WITH" => plain(query(&words)),
        "EXPLAIN" => plain(Word::Explain),
        "SHOW" if words.begins(usize::from(second == "TERSE") + 1, command::SHOWN_OF_ACCOUNT) => {
            plain(Word::ShowAccount)
        }
        "SHOW" => plain(Word::Show),
        "DESC" | "DESCRIBE" if words.begins(1, command::DESCRIBED_OF_ACCOUNT) => {
            plain(Word::ShowAccount)
        }
        "DESC" | "DESCRIBE" => plain(Word::Describe),
        "LIST" | "LS" => plain(Word::List),
        "INSERT" => Head { word: Word::Insert, replaces: second == "OVERWRITE", drops: false },
        "UPDATE" => plain(Word::Update),
        "DELETE" => plain(Word::Delete),
        "MERGE" => plain(Word::Merge),
        "TRUNCATE" => plain(Word::Truncate),
        "COPY" => plain(copy(&words)),
        "GET" => plain(Word::Get),
        "PUT" => plain(Word::Put),
        "REMOVE" | "RM" => plain(Word::Remove),
        "CALL" => plain(Word::Call),
        "EXECUTE" if second == "IMMEDIATE" => plain(Word::ExecuteImmediate),
        "EXECUTE" => plain(Word::Execute),
        "DECLARE" | "RETURN" | "IF" | "FOR" | "WHILE" | "LOOP" | "REPEAT" | "CASE" | "LET"
        | "RAISE" | "OPEN" | "FETCH" | "CLOSE" | "AWAIT" | "ASYNC" => plain(Word::Scripting),
        "GRANT" => plain(Word::Grant),
        "REVOKE" => plain(Word::Revoke),
        "COMMENT" => plain(Word::Comment),
        "UNDROP" => plain(Word::Undrop),
        "USE" => plain(use_kind(&words)),
        "SET" => plain(Word::Set),
        "UNSET" => plain(Word::Unset),
        "BEGIN" if begins_transaction(&words) => plain(Word::Begin),
        "BEGIN" => plain(Word::Scripting),
        "START" if second == "TRANSACTION" => plain(Word::Begin),
        "COMMIT" => plain(Word::Commit),
        "ROLLBACK" => plain(Word::Rollback),
        "CREATE" => create(&words),
        "ALTER" if second == "SESSION" && !words.is(2, "POLICY") => plain(Word::AlterSession),
        "ALTER" => Head {
            word: Word::Alter(thing(&words, 1).unwrap_or(Thing::Other)),
            replaces: words.any("SWAP"),
            drops: words.any("DROP"),
        },
        "DROP" => Head {
            word: Word::Drop(thing(&words, 1).unwrap_or(Thing::Other)),
            replaces: false,
            drops: true,
        },
        _ => plain(Word::Unknown),
    }
}

fn plain(word: Word) -> Head {
    Head { word, replaces: false, drops: false }
}

struct Words<'a> {
    text: &'a str,
    tokens: &'a [Token],
}

impl<'a> Words<'a> {
    /// The keyword at a position, empty where there is none.
    fn at(&self, index: usize) -> &'a str {
        match self.tokens.get(index) {
            Some(token) if token.class == Class::Word => token.text(self.text),
            _ => "",
        }
    }

    fn is(&self, index: usize, keyword: &str) -> bool {
        self.at(index).eq_ignore_ascii_case(keyword)
    }

    fn is_any(&self, index: usize, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(index, keyword))
    }

    /// Whether one of these, of one or more keywords each, stands at a position, and is no part of a name.
    fn begins(&self, index: usize, things: &[&str]) -> bool {
        things.iter().any(|thing| {
            let words = thing.split(' ');
            let end = index + words.clone().count();
            let is_name = self.tokens.get(end).is_some_and(|next| next.is_symbol(self.text, '.'));
            !is_name && words.enumerate().all(|(offset, word)| self.is(index + offset, word))
        })
    }

    /// Whether a keyword stands anywhere: used only to make a kind stricter, never to make it looser.
    fn any(&self, keyword: &str) -> bool {
        self.tokens.iter().any(|token| token.is(self.text, keyword))
    }
}

fn create(words: &Words<'_>) -> Head {
    let mut index = 1;
    let mut replaces = false;
    while words.is_any(index, MODIFIERS) {
        // OR ALTER changes an object in place and can take columns away.
        replaces |= words.is_any(index, &["REPLACE", "ALTER"]);
        index += 1;
    }
    Head { word: Word::Create(thing(words, index).unwrap_or(Thing::Other)), replaces, drops: false }
}

/// How many words name the thing at the start of these tokens.
pub(crate) fn words_of(thing: Thing, text: &str, tokens: &[Token]) -> usize {
    let words = Words { text, tokens };
    let is = |names: &[&str]| names.iter().enumerate().all(|(index, name)| words.is(index, name));
    let names = THINGS.iter().find(|(names, other)| *other == thing && is(names));
    names.map_or(0, |(names, _)| names.len())
}

fn thing(words: &Words<'_>, from: usize) -> Option<Thing> {
    let from = (from..from + 4).find(|index| !words.is_any(*index, MODIFIERS)).unwrap_or(from);
    THINGS
        .iter()
        .find(|(names, _)| names.iter().enumerate().all(|(i, name)| words.is(from + i, name)))
        .map(|(_, thing)| *thing)
}

/// A query, unless a change of rows hides in it: the server has none inside of a query or behind WITH, and whatever is
/// written there must not pass for a read.
fn query(words: &Words<'_>) -> Word {
    let is_symbol = |index: usize, symbols: &str| {
        words.tokens.get(index).is_some_and(|token| {
            token.class == Class::Symbol && symbols.contains(token.text(words.text))
        })
    };
    let mut depth = 0_usize;
    for index in 1..words.tokens.len() {
        if is_symbol(index, "(") {
            depth += 1;
        } else if is_symbol(index, ")") {
            depth = depth.saturating_sub(1);
        } else if is_symbol(index - 1, "()") && !is_symbol(index + 1, "(),.=") {
            let hidden = match words.at(index).to_ascii_uppercase().as_str() {
                "INSERT" => Word::Insert,
                "UPDATE" => Word::Update,
                "DELETE" => Word::Delete,
                "MERGE" if words.is(index + 1, "INTO") => Word::Merge,
                _ => continue,
            };
            return if depth == 0 { hidden } else { Word::Unknown };
        }
    }
    Word::Select
}

fn copy(words: &Words<'_>) -> Word {
    let is_location = words.tokens.get(2).is_none_or(|target| {
        target.is_symbol(words.text, '@') || matches!(target.class, Class::String | Class::Dollar)
    });
    match words.at(1).to_ascii_uppercase().as_str() {
        "INTO" if is_location => Word::CopyIntoLocation,
        "INTO" => Word::CopyIntoTable,
        "FILES" => Word::CopyIntoLocation,
        _ => Word::Unknown,
    }
}

fn use_kind(words: &Words<'_>) -> Word {
    match words.at(1).to_ascii_uppercase().as_str() {
        "ROLE" => Word::UseRole,
        "SECONDARY" => Word::UseSecondaryRoles,
        "WAREHOUSE" => Word::UseWarehouse,
        "DATABASE" => Word::UseDatabase,
        "SCHEMA" => Word::UseSchema,
        "CATALOG" => Word::Unknown,
        _ if words.tokens.len() > 2 => Word::UseSchema,
        _ => Word::UseDatabase,
    }
}

/// `BEGIN` alone, or `BEGIN [WORK | TRANSACTION] [NAME x]`: anything else is a scripting block.
fn begins_transaction(words: &Words<'_>) -> bool {
    let mut index = 1;
    if words.is_any(index, &["WORK", "TRANSACTION"]) {
        index += 1;
    }
    if words.is(index, "NAME") {
        index += 2;
    }
    words.tokens.get(index).is_none_or(|token| token.is_symbol(words.text, ';'))
        && words.tokens.len() <= index + 1
}
