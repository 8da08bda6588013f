//! Which call a statement comes from, and how sure that is.

use std::fmt;
use std::sync::Arc;

use crate::memory::Exchange;

/// How sure a link is, the surest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Nothing was found, or more than one that fits.
    #[default]
    None,
    /// The only call that was open, and a program it ran could have sent it: a coincidence in time, no more.
    Time,
    /// The text of one open call with values filled in.
    Shape,
    /// The text of one open call but for layout, comments and letter case.
    HashNormalised,
    /// The text of one open call.
    Hash,
    /// It names the trace or the conversation of an open call.
    Trace,
    /// The statement names the call, and nothing contradicts it.
    Exact,
}

/// What a statement is linked to.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// How sure it is.
    pub confidence: Confidence,
    /// Where the link was found: `Messages` by the text alone, `QueryTag`, `Comment`, `Traceparent`.
    pub source: &'static str,
    /// What it is linked to; nothing where nothing is sure enough.
    pub linked: Option<Linked>,
    /// Calls that fit as well as each other, where there is more than one.
    pub candidates: Vec<String>,
}

/// The request whose answer asked for the call, and the call.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The request and its answer.
    pub exchange: Arc<Exchange>,
    /// Id and tool of the call; nothing where several calls of this one answer fit.
    pub call: Option<(String, String)>,
}

impl Confidence {
    /// Every one, the surest last.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Time,
        Self::Shape,
        Self::HashNormalised,
        Self::Hash,
        Self::Trace,
        Self::Exact,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Time => "Time",
            Self::Shape => "Shape",
            Self::HashNormalised => "HashNormalised",
            Self::Hash => "Hash",
            Self::Trace => "Trace",
            Self::Exact => "Exact",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
