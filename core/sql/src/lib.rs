//! Understands Snowflake SQL: one text becomes what it does, what it touches and where its columns come from.
//!
//! ```text
//! text -> lexer -> limits -> head (kind) -> dialect (parser) -> statement / lineage -> Analysis
//! ```
//!
//! Start at [`analyze`]. It never fails and never guesses: what is not understood ends in
//! [`Analysis::problem`], and whoever decides refuses it. Nothing here does I/O; the names and columns
//! of the account come in as a [`Catalog`], the session's state as a [`Session`].

mod analysis;
mod analyze;
mod batch;
mod builtins;
mod catalog;
mod chain;
mod command;
mod dialect;
mod head;
mod lexer;
mod limits;
mod lineage;
mod name;
mod normal;
mod secret;
mod session;
mod statement;
mod temporary;
mod word;

pub use analysis::{
    Access, Against, Analysis, Column, Flow, Form, Lineage, Output, Place, Problem, Reason, Sink,
    Touch, Use,
};
pub use analyze::analyze;
pub use batch::split;
pub use catalog::{Catalog, CatalogColumn, Definition, Object};
pub use command::SETTABLE;
pub use name::Name;
pub use normal::{Normal, Written, statements};
pub use secret::without_secrets;
pub use session::{Earlier, Session, Variables};
pub use temporary::Temporaries;
pub use word::{Effect, Group, Risk, Thing, Word, Words};
