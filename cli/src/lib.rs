//! The humans' tool: approve, explain, verify, replay, export.
