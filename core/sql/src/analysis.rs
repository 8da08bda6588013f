//! What is known about one text: [`Analysis`] and its parts. No behaviour beyond looking things up.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::{Effect, Name, Object, Risk, Word};

/// What one text does, what it touches and where its columns come from.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The kind of the statement.
    pub word: Word,
    /// Everything it counts as, `word` first: `CREATE OR REPLACE TABLE` is also a DROP. A policy must allow each.
    pub words: Vec<Word>,
    /// What it does to the world.
    pub effect: Effect,
    /// Whether the parser (or a complete parser of ours) read all of it. That alone is no understanding: see `problem`.
    pub parsed: bool,
    /// Why it is not understood; then nothing else here may be taken as complete, and it is refused.
    pub problem: Option<Problem>,
    /// A form that the proxy answers itself.
    pub form: Form,
    /// What `USE` names, part by part as stored; empty for every other statement. The state of a session is what the
    /// server says, this is for where no server is.
    pub switches_to: Vec<String>,
    /// The session variables that it sets, as stored, and the columns that can be seen in each.
    pub sets: Vec<(String, Vec<Column>)>,
    /// The session variables that it reads.
    pub variables: BTreeSet<String>,
    /// Every object it touches, and how.
    pub objects: Vec<Touch>,
    /// The catalog's entries of the objects it reads, views and what is behind them.
    pub tables: Vec<Arc<Object>>,
    /// The catalog's entries of the objects that it touches without reading their rows.
    pub others: Vec<Arc<Object>>,
    /// The table or view that it makes, as the catalog will have it; absent where the text does not say its columns.
    pub made: Option<Object>,
    /// It makes a temporary object, which could take the place of a table for the rest of the session.
    pub temporary: bool,
    /// The names that it takes for temporary objects and that the catalog does not have. Whoever can ask whether
    /// something is called that asks, as for what is missing; that nothing is, is as it should be.
    pub takes: BTreeSet<Name>,
    /// Why it deserves a second look.
    pub risks: BTreeSet<Risk>,
    /// Functions that are not pure built-ins, qualified where the text or the session say so, as stored.
    pub functions: BTreeSet<String>,
    /// Where the columns of its result come from.
    pub lineage: Lineage,
    /// Where columns steer which rows, in which order, or whether there is an error.
    pub uses: Vec<Use>,
    /// Where columns go other than into the result.
    pub flows: Vec<Flow>,
    /// Names that the catalog does not have. Whoever can ask for them asks, adds them and analyzes again: a view's
    /// text may bring new ones, so this takes a round per level of views. What stays missing is refused.
    pub missing: BTreeSet<Name>,
}

/// Why a text is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In one word.
    pub reason: Reason,
    /// For the agent: what it is and what to write instead.
    pub message: String,
    /// Byte offset in the text, where there is one.
    pub offset: Option<usize>,
}

/// Why a text is not understood, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// There is no statement.
    Empty,
    /// More than one statement.
    Several,
    /// Characters on whose meaning lexers differ.
    Ambiguous,
    /// Beyond a limit of size, depth or length.
    Limit,
    /// The parser refuses it.
    Syntax,
    /// A form that this crate does not follow.
    Unsupported,
    /// A name that cannot be resolved: no current schema, an unknown column, two candidates.
    Name,
    /// An object that the catalog does not have.
    Missing,
    /// The source of a column cannot be told.
    Lineage,
    /// Session state that changes what names or statements mean.
    Pinned,
}

/// A form of statement that the proxy treats specially.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// None of them.
    #[default]
    Ordinary,
    /// Exactly `SELECT * FROM TABLE(RESULT_SCAN('<id>'))`: the rows of an earlier statement, which the proxy may
    /// answer itself if the id is the session's own. It is never sent upstream.
    ResultScan {
        /// The query id as written.
        query_id: String,
    },
    /// Exactly `SELECT SYSTEM$CANCEL_QUERY('<id>')`: the proxy ends the statement itself if it is the session's own.
    CancelQuery {
        /// The query id as written.
        query_id: String,
    },
    /// Exactly `SELECT SYSTEM$CANCEL_ALL_QUERIES(<number>)`: the proxy ends all that runs if the session is its own.
    CancelAll {
        /// The account's number of a session.
        session: String,
    },
}

/// An object and what is done to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Touch {
    /// The object.
    pub name: Arc<Name>,
    /// What is done to it.
    pub access: Access,
    /// Built in and free of data of the account (`INFORMATION_SCHEMA.TABLES` and the like).
    pub metadata: bool,
    /// A view whose text cannot be read: its columns stand for themselves, and masks could hide behind it.
    pub opaque: bool,
    /// Reached through this view rather than named: a right to read the view is enough, its masks still count.
    pub through: Option<Arc<Name>>,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Rows or metadata are read.
    Read,
    /// Rows are added, changed or removed.
    Write,
    /// The object is made.
    Create,
    /// The object is changed.
    Alter,
    /// The object is removed or replaced.
    Drop,
}

/// Where the columns of a result come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lineage {
    /// The result holds no column of the account's tables (row counts, metadata, status texts).
    Metadata,
    /// One per output column, in order.
    Columns(Vec<Output>),
    /// Cannot be told, and why: refused where a mask applies to anything it touches.
    Unknown(String),
}

/// One column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name as stored, where the text determines it (an unnamed expression is named by the server).
    pub name: Option<String>,
    /// The base columns whose values can be seen in it.
    pub sources: Vec<Column>,
    /// It is its only source, unchanged: not an expression, not a union of several.
    pub plain: bool,
}

/// A base column: of a table, or of a view that cannot be followed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Column {
    /// The table.
    pub object: Arc<Name>,
    /// The column as stored.
    pub name: Arc<str>,
}

/// Columns that steer which rows are seen, in which order, or whether there is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Where.
    pub place: Place,
    /// The columns that steer.
    pub columns: Vec<Column>,
    /// What they are compared with.
    pub against: Against,
}

/// Where columns steer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// WHERE.
    Where,
    /// ON, USING, NATURAL.
    Join,
    /// HAVING.
    Having,
    /// QUALIFY.
    Qualify,
    /// ORDER BY of the result, of a window or of an aggregate.
    Order,
    /// GROUP BY of an expression.
    Group,
    /// DISTINCT over an expression.
    Distinct,
    /// UNION, INTERSECT, EXCEPT that compare rows.
    Set,
    /// LIMIT, OFFSET, SAMPLE.
    Limit,
    /// An operation that can raise over an expression of the column.
    Error,
    /// An argument of a table function other than a bare column.
    TableFunction,
    /// PIVOT's FOR column.
    Pivot,
    /// MATCH_RECOGNIZE, CONNECT BY, START WITH, ASOF.
    Match,
    /// A window frame or a window's ORDER BY with values.
    Window,
    /// The predicate or the ON of an INSERT, UPDATE, DELETE, MERGE.
    Write,
}

/// What the steering columns are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// A constant, a bind or a list of them, and the column is bare; `equality` where it is `=`, `<>` or `IN`.
    Constant {
        /// Equality rather than order or pattern.
        equality: bool,
    },
    /// Another bare column, by equality: harmless where that one is masked too.
    Column(Column),
    /// Anything else.
    Expression,
}

/// Columns that go somewhere other than the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The columns.
    pub columns: Vec<Column>,
    /// Where they go.
    pub sink: Sink,
}

/// Where columns go other than the result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sink {
    /// A table.
    Table(Arc<Name>),
    /// The text of a view or of another object that is made.
    Definition(Arc<Name>),
    /// A session variable.
    Variable,
    /// A stage or a URL.
    Location(String),
    /// A function that is not a pure built-in.
    Function(String),
}

impl Analysis {
    /// The names that the catalog should be asked for before the text is judged.
    #[must_use]
    pub fn asks(&self) -> BTreeSet<Name> {
        self.missing.union(&self.takes).cloned().collect()
    }

    /// Names of the objects that are touched this way, each once.
    pub fn touched(&self, access: Access) -> impl Iterator<Item = &Name> {
        self.objects.iter().filter(move |touch| touch.access == access).map(|touch| &*touch.name)
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.object, self.name)
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name) => write!(f, "table {name}"),
            Self::Definition(name) => write!(f, "the definition of {name}"),
            Self::Variable => f.write_str("a session variable"),
            Self::Location(place) => write!(f, "{place}"),
            Self::Function(name) => write!(f, "function {name}"),
        }
    }
}
