//! Keeps evidence: entry format, hash chain, verifier, export.
