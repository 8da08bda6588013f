//! What of the session's state changes the meaning of a text.

/// The state of a session, tracked from the server's answers, never from the text of statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Current database, as stored; unknown makes unqualified names unresolvable.
    pub database: Option<String>,
    /// Current schema, as stored.
    pub schema: Option<String>,
    /// Current role.
    pub role: Option<String>,
    /// Current warehouse.
    pub warehouse: Option<String>,
    /// `QUOTED_IDENTIFIERS_IGNORE_CASE` was seen true: names no longer mean what they say, so nothing is understood.
    pub ignore_case: bool,
    /// `SEARCH_PATH` was seen changed: unqualified names are not resolved.
    pub search_path: bool,
    /// Temporary objects that this session created (they could shadow a name of the catalog).
    pub temporary: Vec<crate::Name>,
}
