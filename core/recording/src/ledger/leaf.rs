//! What the ledger remembers: ids and hashes, never a name of a human or a row.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// One leaf, a small JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leaf {
    /// Version of the form, 1.
    pub v: u32,
    /// When the operator appended it, Unix milliseconds.
    pub at_ms: i64,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What happened. Hashes are SHA-256, hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Fact {
    /// A session begins; appended before any credential exists for it.
    SessionOpened {
        /// The session.
        session: String,
        /// UID of its pod.
        pod_uid: String,
        /// `namespace/name` of the SnowflakeConnection.
        connection: String,
        /// Hash of the policies in force.
        policy_hash: String,
        /// Hash of the raw public key that will sign the recording.
        recording_key: Digest,
    },
    /// A way to log in upstream was made.
    CredentialMinted {
        /// The session it is for.
        session: String,
        /// Credential mode, such as `EphemeralUser`.
        mode: String,
        /// Hash of the Snowflake user's name.
        user: Digest,
        /// When it ends at the latest, Unix milliseconds.
        expires_at_ms: i64,
    },
    /// The credential no longer logs in.
    CredentialDropped {
        /// The session it was for.
        session: String,
        /// Hash of the Snowflake user's name.
        user: Digest,
        /// Why: `Closed`, `Expired`, `Orphaned`.
        reason: String,
    },
    /// A policy was created, changed or deleted.
    PolicyChanged {
        /// `namespace/name` of the AccessPolicy.
        policy: String,
        /// Its generation; 0 once it is deleted.
        generation: i64,
        /// Hash of its document; empty once it is deleted.
        hash: String,
    },
    /// A held statement found its end.
    ApprovalDecided {
        /// The session that waits.
        session: String,
        /// The statement that waits.
        statement: String,
        /// UID of the ApprovalRequest.
        request: String,
        /// The digest that was put to the humans.
        digest: String,
        /// `Approved`, `Denied`, `Expired` or `Withdrawn`.
        outcome: String,
    },
    /// The right to run one statement was signed.
    GrantSigned {
        /// The session it is for.
        session: String,
        /// The statement it is for.
        statement: String,
        /// UID of the ApprovalRequest.
        request: String,
        /// Hash of the grant's payload, which names the approvers.
        grant: Digest,
        /// Not valid after, Unix milliseconds.
        expires_at_ms: i64,
    },
    /// A segment of a recording is stored and will not change.
    SegmentSealed {
        /// The session.
        session: String,
        /// Number of the segment, from 0.
        number: u64,
        /// Hash of the file.
        sha256: Digest,
        /// Length of the file, bytes.
        length: u64,
        /// Number of its first entry.
        first_entry: u64,
        /// Number of its last entry.
        last_entry: u64,
        /// Digest of its last link.
        head: Digest,
        /// Whether the session ends with it.
        #[serde(rename = "final")]
        is_final: bool,
    },
    /// A session is over.
    SessionClosed {
        /// The session.
        session: String,
        /// Why, such as `Logout`.
        reason: String,
        /// Number of the last sealed segment when it closed; none if nothing was sealed yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<u64>,
    },
    /// The ledger goes on under another key, in the same log.
    KeyRotated {
        /// Verifier key until here.
        old: String,
        /// Verifier key from here.
        new: String,
    },
    /// A fact of a later version: it counts as a leaf, nothing more.
    #[serde(other, skip_serializing)]
    Unknown,
}

impl Leaf {
    /// The version this crate writes.
    pub const VERSION: u32 = 1;

    /// A leaf of now.
    pub fn new(at_ms: i64, fact: Fact) -> Self {
        Self { v: Self::VERSION, at_ms, fact }
    }
}

impl Fact {
    /// The session it speaks of, if it speaks of one.
    pub fn session(&self) -> Option<&str> {
        match self {
            Self::SessionOpened { session, .. }
            | Self::CredentialMinted { session, .. }
            | Self::CredentialDropped { session, .. }
            | Self::ApprovalDecided { session, .. }
            | Self::GrantSigned { session, .. }
            | Self::SegmentSealed { session, .. }
            | Self::SessionClosed { session, .. } => Some(session),
            Self::PolicyChanged { .. } | Self::KeyRotated { .. } | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_reads_as_it_was_written() {
        let leaf = Leaf::new(
            1_700_000_000_000,
            Fact::SegmentSealed {
                session: "s".into(),
                number: 0,
                sha256: Digest::of(b"file"),
                length: 9,
                first_entry: 0,
                last_entry: 4,
                head: Digest::of(b"link"),
                is_final: true,
            },
        );
        let json = serde_json::to_string(&leaf).unwrap();
        insta::assert_snapshot!(json, @r#"{"v":1,"atMs":1700000000000,"type":"SegmentSealed","session":"s","number":0,"sha256":"3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80","length":9,"firstEntry":0,"lastEntry":4,"head":"b1b1bdb480c61d075300d9bff7d9cb69cf31695ea048e478facadf426e8d0fb0","final":true}"#);
        assert_eq!(serde_json::from_str::<Leaf>(&json).unwrap(), leaf);
    }

    #[test]
    fn a_leaf_of_a_later_version_is_still_a_leaf() {
        let leaf: Leaf =
            serde_json::from_str(r#"{"v":2,"atMs":5,"type":"Witnessed","by":"x"}"#).unwrap();
        assert_eq!(leaf.fact, Fact::Unknown);
    }
}
