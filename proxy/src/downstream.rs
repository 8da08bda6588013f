//! Facing the agent: sockets, endpoints, sessions, refusals.

pub(crate) mod identity;
pub(crate) mod listener;
pub(crate) mod refusal;
pub(crate) mod rest;
pub(crate) mod router;
pub(crate) mod session;
