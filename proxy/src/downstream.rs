//! Facing the agent: sockets, endpoints, sessions, refusals.

pub(crate) mod body;
pub(crate) mod identity;
pub(crate) mod listener;
pub(crate) mod refusal;
pub(crate) mod rest;
pub(crate) mod router;
pub(crate) mod session;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};

/// The body of an answer: whole, or rows as they come.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
