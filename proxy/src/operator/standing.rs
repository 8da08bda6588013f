//! What the sidecar decides with, and for how long.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::{Connection, Snapshot};
use ipnet::IpNet;
use recording::PublicKey;
use tokio::time::Instant;

use crate::downstream::refusal::Refusal;

/// Where the sidecar stands with the operator; nothing until the first snapshot.
pub(crate) type Standing = Option<Arc<Ruling>>;

/// One snapshot, compiled.
pub(crate) struct Ruling {
    /// The policies as they compute.
    pub(crate) policy: policy::Policy,
    /// Digest of the documents they were made of.
    pub(crate) policy_hash: String,
    /// Name, hash of all and mode per document, for metrics.
    pub(crate) documents: Vec<(String, policy::document::Mode)>,
    /// The connection.
    pub(crate) connection: Connection,
    /// Networks with private addresses that the account's hosts may have.
    pub(crate) networks: Vec<IpNet>,
    /// Why nothing may run.
    suspended: Option<String>,
    /// Verifies grants.
    pub(crate) grant_key: PublicKey,
    /// Key of `Hash` masks.
    pub(crate) mask_key: policy::MaskKey,
    /// When it came.
    pub(crate) received: Instant,
    /// How long it holds. Measured here, so that clocks need not agree.
    lease: Duration,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadSnapshot {
    #[error("the grant key is not a key")]
    GrantKey,
    #[error("the mask key is not base64")]
    MaskKey,
    #[error("`{0}` is not a network")]
    Network(String),
}

impl Ruling {
    /// Compiles a snapshot.
    pub(crate) fn of(snapshot: Snapshot, received: Instant) -> Result<Self, BadSnapshot> {
        let key = STANDARD.decode(&snapshot.grant_key).map_err(|_| BadSnapshot::GrantKey)?;
        let key: [u8; 32] = key.try_into().map_err(|_| BadSnapshot::GrantKey)?;
        let mask_key = STANDARD.decode(&snapshot.mask_key).map_err(|_| BadSnapshot::MaskKey)?;
        Ok(Self {
            networks: networks(&snapshot.connection)?,
            // The role of a session was decided by the operator, within the connection's ceiling.
            policy: policy::Policy::compile(&snapshot.documents, &policy::Ceiling::default()),
            documents: snapshot
                .documents
                .iter()
                .map(|document| (document.name.clone(), document.mode))
                .collect(),
            policy_hash: snapshot.policy_hash,
            connection: snapshot.connection,
            suspended: snapshot.suspended,
            grant_key: PublicKey(key),
            mask_key: policy::MaskKey::new(&mask_key),
            received,
            lease: Duration::from_secs(snapshot.lease_seconds),
        })
    }

    /// Whether anything may be decided with it now.
    pub(crate) fn in_force(&self) -> Result<(), Refusal> {
        if self.received.elapsed() > self.lease {
            return Err(Refusal::denied(
                "FG-2009",
                "the policy lease ran out: the operator has not been heard for too long, and nothing runs on an old \
                 policy. Try again when the operator is back.",
            ));
        }
        match &self.suspended {
            None => Ok(()),
            Some(reason) => Err(Refusal::denied(
                "FG-2010",
                format_args!("an administrator suspended this: {reason}"),
            )),
        }
    }
}

/// Networks with private addresses that the account's hosts may have.
pub(crate) fn networks(connection: &Connection) -> Result<Vec<IpNet>, BadSnapshot> {
    let networks = connection
        .private_networks
        .iter()
        .map(|network| network.parse::<IpNet>().map_err(|_| BadSnapshot::Network(network.clone())));
    networks.collect()
}
