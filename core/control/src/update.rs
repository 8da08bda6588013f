//! What the operator pushes on `GET /v1/stream`, one JSON object per line.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Verdict;

/// One line of the stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Update {
    /// Everything the sidecar decides with; the first line, on every change, and at least every third of the lease.
    Snapshot(Box<Snapshot>),
    /// A human decided, or nobody did in time.
    Verdict {
        /// The session that asked.
        session: String,
        /// The statement that waits.
        statement: String,
        /// What was decided.
        verdict: Verdict,
    },
    /// The session is over; the sidecar ends it at once.
    CloseSession {
        /// The session.
        session: String,
        /// Why, safe for the agent to read.
        reason: String,
    },
    /// Objects of the account changed: what the sidecar knows of the catalog is stale.
    CatalogChanged,
}

/// Everything the sidecar decides with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The lease in seconds from receipt: without a newer snapshot the sidecar refuses after it. Relative, so that
    /// clocks need not agree.
    pub lease_seconds: u64,
    /// The connection the pod is attached to.
    pub connection: Connection,
    /// The AccessPolicies that select the pod.
    pub documents: Vec<policy::Document>,
    /// `policy::document::hash` over the documents.
    pub policy_hash: String,
    /// Set when an administrator suspended the connection or the pod: statements are refused with this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
    /// Raw Ed25519 public key, base64, that signs grants and certificates.
    pub grant_key: String,
    /// Key of `Hash` masks, base64; held in memory only.
    pub mask_key: String,
}

/// What a sidecar must know of its SnowflakeConnection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// `namespace/name`.
    pub name: String,
    /// Account identifier.
    pub account: String,
    /// Host of the account, as drivers know it.
    pub host: String,
    /// Port of the account, 443 unless the connection says otherwise.
    pub port: u16,
    /// PEM roots for the account's host instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// Networks (CIDR) with private addresses that the account's and chunk hosts may resolve to.
    #[serde(default)]
    pub private_networks: Vec<String>,
    /// Addresses that stand in for name resolution, by host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub host_aliases: BTreeMap<String, IpAddr>,
    /// The egress proxy on the way to the account, `http://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_proxy: Option<String>,
    /// How durable the attempt must be before a statement leaves.
    pub durability: Durability,
    /// Idle sessions end after this, seconds.
    pub session_idle_seconds: u64,
    /// The door for model traffic; absent where the connection has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Prompts>,
}

/// The door for model traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompts {
    /// What is kept.
    pub capture: PromptCapture,
    /// Where the traffic goes: an `https` URL that `/v1/...` is appended to.
    pub upstream: String,
    /// PEM roots for the upstream's host instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// Networks (CIDR) with private addresses that the upstream's host may resolve to.
    #[serde(default)]
    pub private_networks: Vec<String>,
    /// The egress proxy on the way there, `http://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_proxy: Option<String>,
}

/// What is kept of prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PromptCapture {
    /// Nothing is read.
    #[default]
    Off,
    /// The text is masked before it is kept.
    Masked,
    /// The text is kept as it was.
    Full,
}

/// How durable an attempt must be before the statement leaves the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// fdatasync on the sidecar's spool.
    #[default]
    Spool,
}
