//! Shipping sealed segments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A sealed segment wants to leave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SegmentAsk {
    /// Number of the segment in its session, from 0.
    pub number: u64,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Length of the file, bytes.
    pub length: u64,
}

/// Where to put one object, once, for minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// HTTP method, `PUT`.
    pub method: String,
    /// Absolute URL; carries its own authorisation.
    pub url: String,
    /// Headers that must be sent as they are.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Not valid after, Unix milliseconds.
    pub expires_at_ms: i64,
}

/// A segment was stored under its ticket: the ledger may remember it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealNotice {
    /// Number of the segment.
    pub number: u64,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Length of the file, bytes.
    pub length: u64,
    /// First and last entry number in it.
    pub first_entry: u64,
    /// See `first_entry`.
    pub last_entry: u64,
    /// Digest of the last link, hex.
    pub head: String,
    /// Whether the session ends with it.
    #[serde(rename = "final")]
    pub is_final: bool,
}
