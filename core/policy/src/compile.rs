//! From documents to a policy that computes.

use crate::document::Document;

/// What the connection lets policies give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Roles that a mapping may name.
    pub allowed_roles: Vec<String>,
    /// The role of sessions that no mapping speaks of.
    pub default_role: Option<String>,
    /// The warehouse of sessions that no mapping speaks of.
    pub default_warehouse: Option<String>,
}

/// The policies of a session as they compute.
#[derive(Clone, Debug)]
pub struct Policy {}

/// Something in a document that can never work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as in the spec: `masking[0].columns[1]`.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Everything in a document that can never work, all at once.
#[must_use]
pub fn check(document: &Document) -> Vec<Problem> {
    let _ = document;
    Vec::new()
}

impl Policy {
    /// Compiles documents. It cannot fail: a document that is not valid becomes a policy that refuses everything.
    #[must_use]
    pub fn compile(documents: &[Document], ceiling: &Ceiling) -> Self {
        let _ = (documents, ceiling);
        Self {}
    }
}
