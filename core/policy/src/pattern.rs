//! Patterns over names.
