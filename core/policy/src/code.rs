//! The codes of refusals: the stable part of every "no" that a policy says.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal),+ $(,)?) => {
        /// The code of a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $variant),+ }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code as it is written, such as `FG-2003`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The reason as one word, for records and metrics.
            #[must_use]
            pub fn reason(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }
    };
}

codes! {
    /// No policy maps the session to a role, or several to different ones.
    NoRole = "FG-1002",
    /// No AccessPolicy selects the session.
    NoPolicy = "FG-1003",
    /// The statement is not understood.
    NotUnderstood = "FG-2001",
    /// The kind of statement is not allowed.
    KindNotAllowed = "FG-2002",
    /// An object is denied, or no rule allows it.
    ObjectDenied = "FG-2003",
    /// The source of an output column cannot be told.
    LineageUnknown = "FG-2004",
    /// A masked column steers the statement.
    MaskedUse = "FG-2005",
    /// Masked data would flow out of sight.
    MaskedFlow = "FG-2006",
    /// A function is not allowed.
    FunctionNotAllowed = "FG-2007",
    /// Session state is pinned.
    SessionPinned = "FG-2008",
    /// More than one statement in a request.
    SeveralStatements = "FG-2011",
    /// An object does not exist for this connection.
    UnknownObject = "FG-2012",
    /// A policy does not compile.
    PolicyInvalid = "FG-2013",
    /// A human must approve, and no rule says which.
    ApprovalNeeded = "FG-3001",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
