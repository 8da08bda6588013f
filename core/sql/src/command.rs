//! Statements that the parser reads badly and that cannot hold a query: SHOW, DESCRIBE, USE, SET, ALTER SESSION,
//! transactions, UNSET; rights, files and things with settings in `settings`. Read completely from tokens; anything that is left over is refused.

mod settings;

use std::sync::Arc;

use crate::dialect::{self, ast};
use crate::lexer::{Class, Token, lex};
use crate::lineage::{Resolver, named, unsupported};
use crate::{Access, Analysis, Form, Lineage, Name, Problem, Reason, Sink, Thing, Word};

/// Session parameters that change how values look or how long statements may take, not what they mean.
pub const SETTABLE: &[&str] = &[
    "AUTOCOMMIT",
    "BINARY_OUTPUT_FORMAT",
    "CLIENT_METADATA_REQUEST_USE_CONNECTION_CTX",
    "CLIENT_SESSION_KEEP_ALIVE",
    "CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY",
    "CLIENT_TIMESTAMP_TYPE_MAPPING",
    "DATE_OUTPUT_FORMAT",
    "GEOGRAPHY_OUTPUT_FORMAT",
    "GEOMETRY_OUTPUT_FORMAT",
    "JSON_INDENT",
    "LOCK_TIMEOUT",
    "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT",
    "QUERY_TAG",
    "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS",
    "STATEMENT_TIMEOUT_IN_SECONDS",
    "TIMESTAMP_LTZ_OUTPUT_FORMAT",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT",
    "TIMESTAMP_OUTPUT_FORMAT",
    "TIMESTAMP_TZ_OUTPUT_FORMAT",
    "TIMEZONE",
    "TIME_OUTPUT_FORMAT",
    "USE_CACHED_RESULT",
    "WEEK_OF_YEAR_POLICY",
    "WEEK_START",
];

/// What SHOW may list: names, types and settings, no rights, people or secrets.
const SHOWN: &[&str] = &[
    "TABLES",
    "VIEWS",
    "MATERIALIZED VIEWS",
    "DYNAMIC TABLES",
    "EXTERNAL TABLES",
    "HYBRID TABLES",
    "ICEBERG TABLES",
    "SCHEMAS",
    "DATABASES",
    "COLUMNS",
    "OBJECTS",
    "PRIMARY KEYS",
    "IMPORTED KEYS",
    "EXPORTED KEYS",
    "UNIQUE KEYS",
    "WAREHOUSES",
    "ROLES",
    "FUNCTIONS",
    "USER FUNCTIONS",
    "EXTERNAL FUNCTIONS",
    "PROCEDURES",
    "USER PROCEDURES",
    "SEQUENCES",
    "STAGES",
    "FILE FORMATS",
    "PARAMETERS",
    "STREAMS",
    "TASKS",
    "PIPES",
    "TAGS",
    "TRANSACTIONS",
    "LOCKS",
    "CONSTRAINTS",
    "REGIONS",
    "SEMANTIC VIEWS",
];

/// What DESCRIBE may describe, and whether it is an object whose columns it shows.
const DESCRIBED: &[(&str, bool)] = &[
    ("TABLE", true),
    ("VIEW", true),
    ("MATERIALIZED VIEW", true),
    ("DYNAMIC TABLE", true),
    ("EXTERNAL TABLE", true),
    ("ICEBERG TABLE", true),
    ("HYBRID TABLE", true),
    ("EVENT TABLE", true),
    ("SCHEMA", false),
    ("DATABASE", false),
    ("WAREHOUSE", false),
    ("SEQUENCE", false),
    ("FILE FORMAT", false),
    ("SEMANTIC VIEW", false),
    ("STREAM", false),
    ("TASK", false),
    ("PIPE", false),
    ("FUNCTION", false),
    ("PROCEDURE", false),
];

/// What SHOW lists of the account: people, rights, secrets and settings. A kind of its own, [`Word::ShowAccount`].
pub(crate) const SHOWN_OF_ACCOUNT: &[&str] = &[
    "USERS",
    "USER PROGRAMMATIC ACCESS TOKENS",
    "ORGANIZATION USERS",
    "GRANTS",
    "FUTURE GRANTS",
    "PRIVILEGES",
    "DATABASE ROLES",
    "APPLICATION ROLES",
    "ROLES IN SERVICE",
    "DELEGATED AUTHORIZATIONS",
    "INTEGRATIONS",
    "API INTEGRATIONS",
    "CATALOG INTEGRATIONS",
    "EXTERNAL ACCESS INTEGRATIONS",
    "NOTIFICATION INTEGRATIONS",
    "SECURITY INTEGRATIONS",
    "STORAGE INTEGRATIONS",
    "NETWORK POLICIES",
    "NETWORK RULES",
    "AGGREGATION POLICIES",
    "AUTHENTICATION POLICIES",
    "BACKUP POLICIES",
    "FEATURE POLICIES",
    "JOIN POLICIES",
    "MASKING POLICIES",
    "PACKAGES POLICIES",
    "PASSWORD POLICIES",
    "PRIVACY POLICIES",
    "PROJECTION POLICIES",
    "ROW ACCESS POLICIES",
    "SESSION POLICIES",
    "SNAPSHOT POLICIES",
    "STORAGE LIFECYCLE POLICIES",
    "SECRETS",
    "SHARES",
    "LISTINGS",
    "CONNECTIONS",
    "RESOURCE MONITORS",
    "COMPUTE POOLS",
    "SERVICES",
    "EXTERNAL VOLUMES",
    "ACCOUNTS",
    "ORGANIZATION ACCOUNTS",
    "MANAGED ACCOUNTS",
    "REPLICATION ACCOUNTS",
    "REPLICATION DATABASES",
    "REPLICATION GROUPS",
    "FAILOVER GROUPS",
    "APPLICATIONS",
    "APPLICATION PACKAGES",
    "GIT REPOSITORIES",
    "IMAGE REPOSITORIES",
    "CONTACTS",
];

/// What DESCRIBE describes of the account.
pub(crate) const DESCRIBED_OF_ACCOUNT: &[&str] = &[
    "USER",
    "ROLE",
    "DATABASE ROLE",
    "APPLICATION ROLE",
    "INTEGRATION",
    "API INTEGRATION",
    "CATALOG INTEGRATION",
    "EXTERNAL ACCESS INTEGRATION",
    "NOTIFICATION INTEGRATION",
    "SECURITY INTEGRATION",
    "STORAGE INTEGRATION",
    "NETWORK POLICY",
    "NETWORK RULE",
    "AGGREGATION POLICY",
    "AUTHENTICATION POLICY",
    "BACKUP POLICY",
    "FEATURE POLICY",
    "JOIN POLICY",
    "MASKING POLICY",
    "PACKAGES POLICY",
    "PASSWORD POLICY",
    "PRIVACY POLICY",
    "PROJECTION POLICY",
    "ROW ACCESS POLICY",
    "SESSION POLICY",
    "SNAPSHOT POLICY",
    "STORAGE LIFECYCLE POLICY",
    "SECRET",
    "SHARE",
    "LISTING",
    "CONNECTION",
    "RESOURCE MONITOR",
    "COMPUTE POOL",
    "SERVICE",
    "EXTERNAL VOLUME",
    "APPLICATION",
    "APPLICATION PACKAGE",
    "GIT REPOSITORY",
    "CONTACT",
];

/// Whether this module reads the kind, rather than the parser.
pub(crate) fn is_own(word: Word, text: &str, tokens: &[Token]) -> bool {
    settings::is_own(word)
        || is_table_setting(word, text, tokens)
        || matches!(
            word,
            Word::Show
                | Word::Describe
                | Word::ShowAccount
                | Word::UseRole
                | Word::UseSecondaryRoles
                | Word::UseWarehouse
                | Word::UseDatabase
                | Word::UseSchema
                | Word::Set
                | Word::Unset
                | Word::AlterSession
                | Word::Begin
                | Word::Commit
                | Word::Rollback
        )
}

/// `ALTER TABLE name SET setting`, which the parser does not know; of `ALTER TABLE` it knows the rest.
fn is_table_setting(word: Word, text: &str, tokens: &[Token]) -> bool {
    let mut reader = Reader { text, tokens, at: 2 };
    let _ = reader.take_all("IF EXISTS");
    word == Word::Alter(Thing::Table)
        && reader.name().is_ok()
        && (reader.is("SET") || reader.is("UNSET"))
}

/// Reads one such statement completely.
pub(crate) fn read(
    word: Word,
    text: &str,
    tokens: &[Token],
    resolver: &mut Resolver<'_>,
    analysis: &mut Analysis,
) -> Result<(), Problem> {
    let mut reader = Reader { text, tokens, at: 0 };
    analysis.lineage = Lineage::Metadata;
    match word {
        Word::Show => reader.show(resolver)?,
        Word::Describe => reader.describe(resolver)?,
        Word::ShowAccount => reader.names()?,
        Word::UseRole
        | Word::UseSecondaryRoles
        | Word::UseWarehouse
        | Word::UseDatabase
        | Word::UseSchema => analysis.switches_to = reader.switch()?,
        Word::Set => reader.set(resolver, analysis)?,
        Word::Unset => {
            reader.skip();
            reader.name()?;
        }
        Word::AlterSession => reader.alter_session()?,
        // The head has read all of a BEGIN already.
        Word::Begin => reader.at = tokens.len(),
        Word::Commit | Word::Rollback => {
            reader.skip();
            reader.take("WORK");
        }
        Word::Alter(Thing::Table) => settings::table(&mut reader, resolver)?,
        word => settings::read(word, &mut reader, resolver)?,
    }
    if reader.at < tokens.len() {
        let rest = tokens[reader.at];
        return Err(Problem {
            reason: Reason::Unsupported,
            message: format!("`{}` is not expected here", rest.text(text)),
            offset: Some(rest.start),
        });
    }
    Ok(())
}

/// The form of a statement that names earlier ones and does nothing else.
pub(crate) fn form(text: &str, tokens: &[Token]) -> Option<Form> {
    let reads = |words: &[&str], tokens: &[Token]| {
        words.len() == tokens.len()
            && words.iter().zip(tokens).all(|(word, token)| {
                matches!(token.class, Class::Word | Class::Symbol)
                    && token.text(text).eq_ignore_ascii_case(word)
            })
    };
    let is_id = |token: &Token| matches!(token.class, Class::String | Class::Number);
    let at = tokens.iter().position(is_id)?;
    let (before, after) = (tokens.get(..at)?, tokens.get(at + 1..)?);
    let named = tokens.get(at)?;
    let query_id = named.inner(text).to_owned();
    if reads(&["SELECT", "SYSTEM$CANCEL_ALL_QUERIES", "("], before)
        && reads(&[")"], after)
        && query_id.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Some(Form::CancelAll { session: query_id });
    }
    if named.class != Class::String {
        return None;
    }
    if !query_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return None;
    }
    let scan = ["SELECT", "*", "FROM", "TABLE", "(", "RESULT_SCAN", "("];
    if reads(&scan, before) && reads(&[")", ")"], after) {
        return Some(Form::ResultScan { query_id });
    }
    if reads(&["SELECT", "SYSTEM$CANCEL_QUERY", "("], before) && reads(&[")"], after) {
        return Some(Form::CancelQuery { query_id });
    }
    None
}

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn skip(&mut self) {
        self.at += 1;
    }

    fn is(&self, keyword: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.is(self.text, keyword))
    }

    /// Takes a keyword if it is there.
    fn take(&mut self, keyword: &str) -> bool {
        let is = self.is(keyword);
        self.at += usize::from(is);
        is
    }

    /// Takes several keywords if all are there.
    fn take_all(&mut self, keywords: &str) -> bool {
        let begin = self.at;
        if keywords.split(' ').all(|keyword| self.take(keyword)) {
            return true;
        }
        self.at = begin;
        false
    }

    fn take_symbol(&mut self, symbol: char) -> bool {
        let is = self.tokens.get(self.at).is_some_and(|token| token.is_symbol(self.text, symbol));
        self.at += usize::from(is);
        is
    }

    fn take_class(&mut self, class: Class) -> bool {
        let is = self.tokens.get(self.at).is_some_and(|token| token.class == class);
        self.at += usize::from(is);
        is
    }

    fn missing<T>(&self, what: &str) -> Result<T, Problem> {
        Err(Problem {
            reason: Reason::Unsupported,
            message: format!("{what} is expected here"),
            offset: self.tokens.get(self.at).map(|token| token.start),
        })
    }

    /// One stored identifier.
    fn identifier(&mut self) -> Option<String> {
        let token = self.tokens.get(self.at)?;
        let stored = match token.class {
            Class::Word => crate::name::fold(token.text(self.text)),
            Class::Quoted => token.inner(self.text).replace("\"\"", "\""),
            Class::String
            | Class::Hex
            | Class::Dollar
            | Class::Number
            | Class::Placeholder
            | Class::Symbol => return None,
        };
        self.at += 1;
        Some(stored)
    }

    /// One to three identifiers with dots; a second dot at once means PUBLIC. `IDENTIFIER('literal')` is read as the
    /// name it holds.
    fn name(&mut self) -> Result<Vec<String>, Problem> {
        if let Some(parts) = self.literal_name() {
            return Ok(parts);
        }
        let Some(first) = self.identifier() else {
            return self.missing("a plain name");
        };
        let mut parts = vec![first];
        while self.take_symbol('.') {
            if parts.len() == 1 && self.take_symbol('.') {
                parts.push(String::new());
            }
            match self.identifier() {
                Some(part) if parts.len() < 3 => parts.push(part),
                _ => return self.missing("a plain name"),
            }
        }
        if self.tokens.get(self.at).is_some_and(|token| token.is_symbol(self.text, '(')) {
            return self.missing("a plain name");
        }
        Ok(parts)
    }

    fn literal_name(&mut self) -> Option<Vec<String>> {
        let begin = self.at;
        if self.take("IDENTIFIER") && self.take_symbol('(') && self.take_class(Class::String) {
            let literal = self.tokens.get(self.at - 1)?.inner(self.text);
            let parts =
                crate::lexer::plain_string(literal).and_then(|text| crate::name::read(&text));
            if parts.is_some() && self.take_symbol(')') {
                return parts;
            }
        }
        self.at = begin;
        None
    }

    /// A literal: a string, a number with its sign, TRUE or FALSE.
    fn literal(&mut self) -> bool {
        if self.take_class(Class::String) || self.take("TRUE") || self.take("FALSE") {
            return true;
        }
        let begin = self.at;
        let _sign = self.take_symbol('-') || self.take_symbol('+');
        if self.take_class(Class::Number) {
            return true;
        }
        self.at = begin;
        false
    }

    fn show(&mut self, resolver: &mut Resolver<'_>) -> Result<(), Problem> {
        self.skip();
        self.take("TERSE");
        let shown = SHOWN.iter().find(|kind| self.take_all(kind));
        let Some(shown) = shown else {
            return Err(unsupported("SHOW of this kind of thing"));
        };
        self.take("HISTORY");
        self.like();
        if self.take("IN") || self.take("FROM") || self.take("FOR") {
            if self.take("ACCOUNT") || self.take("SESSION") {
            } else if self.take("DATABASE") || self.take("SCHEMA") || self.take("WAREHOUSE") {
                // Without a name it is the current one.
                if !self.is("LIKE")
                    && !self.is("STARTS")
                    && !self.is("LIMIT")
                    && !self.is("WITH")
                    && self.at < self.tokens.len()
                {
                    self.name()?;
                }
            } else if self.take_all("APPLICATION PACKAGE")
                || self.take("APPLICATION")
                || self.take("CLASS")
            {
                self.name()?;
            } else {
                let explicit = self.take("TABLE") || self.take("VIEW");
                let parts = self.name()?;
                if explicit || *shown == "COLUMNS" || shown.ends_with("KEYS") {
                    touch(resolver, &parts)?;
                }
            }
        }
        self.like();
        if self.take_all("STARTS WITH") && !self.take_class(Class::String) {
            return self.missing("a string");
        }
        if self.take("LIMIT") {
            if !self.take_class(Class::Number) && !self.take("NULL") {
                return self.missing("a number");
            }
            if self.take("FROM") && !self.take_class(Class::String) {
                return self.missing("a string");
            }
        }
        if self.take_all("WITH PRIVILEGES") {
            loop {
                if self.identifier().is_none() {
                    return self.missing("a privilege");
                }
                if !self.take_symbol(',') {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Words, names and texts to the end: what shows the account holds nothing else.
    fn names(&mut self) -> Result<(), Problem> {
        while let Some(token) = self.tokens.get(self.at) {
            let is_name = match token.class {
                Class::Word | Class::Quoted | Class::String | Class::Number => true,
                Class::Symbol => ".,()".contains(token.text(self.text)),
                Class::Hex | Class::Dollar | Class::Placeholder => false,
            };
            if !is_name || self.is("SELECT") || self.is("IDENTIFIER") {
                return self.missing("a name");
            }
            self.skip();
        }
        Ok(())
    }

    fn like(&mut self) {
        let begin = self.at;
        if self.take("LIKE") && !self.take_class(Class::String) {
            self.at = begin;
        }
    }

    fn describe(&mut self, resolver: &mut Resolver<'_>) -> Result<(), Problem> {
        self.skip();
        let kind = DESCRIBED.iter().find(|(kind, _)| self.take_all(kind));
        if kind.is_none() && self.tokens.len() > 2 {
            // `DESCRIBE name` alone is a table; a word that is followed by more is a kind we do not know.
            let is_dotted = self.tokens.get(2).is_some_and(|token| token.is_symbol(self.text, '.'));
            if !is_dotted {
                return Err(unsupported("DESCRIBE of this kind of thing"));
            }
        }
        if let Some(("FUNCTION" | "PROCEDURE", _)) = kind {
            self.signature()?;
            return Ok(());
        }
        let parts = self.name()?;
        if kind.is_none_or(|(_, shows_columns)| *shows_columns) {
            touch(resolver, &parts)?;
            if self.take("TYPE") {
                let known = self.take_symbol('=') && (self.take("COLUMNS") || self.take("STAGE"));
                if !known {
                    return self.missing("COLUMNS or STAGE");
                }
            }
        }
        Ok(())
    }

    /// `name(type, type)`, as functions are told apart.
    fn signature(&mut self) -> Result<Vec<String>, Problem> {
        let mut parts = Vec::new();
        while let Some(part) = self.identifier() {
            parts.push(part);
            if !self.take_symbol('.') {
                break;
            }
        }
        if !self.take_symbol('(') {
            return self.missing("the types of its arguments");
        }
        let mut depth = 1;
        while depth > 0 {
            if self.take_symbol('(') {
                depth += 1;
            } else if self.take_symbol(')') {
                depth -= 1;
            } else if self.identifier().is_none()
                && !self.take_symbol(',')
                && !self.take_class(Class::Number)
            {
                return self.missing("a type");
            }
        }
        Ok(parts)
    }

    fn switch(&mut self) -> Result<Vec<String>, Problem> {
        self.skip();
        if self.take_all("SECONDARY ROLES") {
            return match self.identifier() {
                Some(which) => Ok(vec![which]),
                None => self.missing("ALL or NONE"),
            };
        }
        let _kind = self.take("ROLE")
            || self.take("WAREHOUSE")
            || self.take("DATABASE")
            || self.take("SCHEMA");
        self.name()
    }

    /// `SET name = value` or `SET (name, name) = (value, value)`; the values are those of a query without FROM.
    fn set(&mut self, resolver: &mut Resolver<'_>, analysis: &mut Analysis) -> Result<(), Problem> {
        self.skip();
        let mut names = Vec::new();
        let several = self.take_symbol('(');
        loop {
            match self.identifier() {
                Some(name) => names.push(name),
                None => return self.missing("the name of a variable"),
            }
            if !several || !self.take_symbol(',') {
                break;
            }
        }
        if several && !self.take_symbol(')') || !self.take_symbol('=') {
            return self.missing("`=`");
        }
        let mut values = self.tokens.get(self.at..).unwrap_or_default();
        self.at = self.tokens.len();
        if several {
            values = match values {
                [open, inner @ .., close]
                    if open.is_symbol(self.text, '(') && close.is_symbol(self.text, ')') =>
                {
                    inner
                }
                _ => return self.missing("a value for each variable, in brackets"),
            };
        }
        let (Some(first), Some(last)) = (values.first(), values.last()) else {
            return self.missing("a value");
        };
        let query = format!("SELECT {}", self.text.get(first.start..last.end).unwrap_or_default());
        let ast::Statement::Query(query) = dialect::parse(&query, &lex(&query).tokens)? else {
            return Err(unsupported("SET to this"));
        };
        let fields = resolver.output(&query)?;
        if fields.len() != names.len() {
            return Err(unsupported("SET to another number of values than there are names"));
        }
        if resolver.reads_rows() {
            analysis.words.push(Word::Select);
        }
        for (name, field) in names.into_iter().zip(fields) {
            analysis.sets.push((name, resolver.named(&field.provenance.sources)));
            resolver.flow(field.provenance.sources, Sink::Variable);
        }
        Ok(())
    }

    fn alter_session(&mut self) -> Result<(), Problem> {
        self.at += 2;
        let sets = self.take("SET");
        if !sets && !self.take("UNSET") {
            return self.missing("SET or UNSET");
        }
        let mut count = 0;
        while let Some(parameter) = self.identifier() {
            count += 1;
            if !SETTABLE.contains(&parameter.as_str()) {
                return Err(Problem {
                    reason: Reason::Pinned,
                    message: format!("session parameter {parameter} is pinned"),
                    offset: None,
                });
            }
            if sets {
                if !self.take_symbol('=') {
                    return self.missing("`=`");
                }
                if !self.literal() && self.identifier().is_none() {
                    return self.missing("a literal");
                }
            }
            self.take_symbol(',');
        }
        if count == 0 { self.missing("a parameter") } else { Ok(()) }
    }
}

/// The statement shows what an object is made of.
fn touch(resolver: &mut Resolver<'_>, parts: &[String]) -> Result<(), Problem> {
    let name: Name = resolver.qualify(parts).map_err(|problem| named(&problem.message))?;
    resolver.touch(Arc::new(name), Access::Read);
    Ok(())
}
