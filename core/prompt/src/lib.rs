//! Understands model traffic: which tool call, of which prompt, a statement comes from.
//!
//! ```text
//! request of the Messages API -> Asked      prompt, model, tool calls that were answered --+
//! its answer, JSON or events  -> ToolUse    id, name, input -> the SQL in it --------------+-> Memory
//! statement, with its hints   -> Link       the one call it comes from, and how sure <-----+
//! ```
//!
//! Only this crate knows field names of the Messages API. Whatever cannot be read is passed over: nothing here fails,
//! and nothing is ever guessed from two that fit. Start at [`Memory`].

mod answer;
mod event;
mod hint;
mod link;
mod memory;
mod request;
mod script;
mod spelling;

pub use answer::{Form, Reader, ToolUse};
pub use hint::{Hints, trace_id};
pub use link::{Confidence, Link, Linked};
pub use memory::{Exchange, Memory, Statement};
pub use request::Asked;
