//! Decides who may run which statement under which obligations.

pub mod document;

pub use document::Document;
