//! Arguments as typed, and the configuration they make: the only place where the environment enters.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Parser;
use serde_json::{Value, json};

/// Arguments of `frostgate-operator`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "frostgate-operator",
    version,
    about = "Runs in the cluster: controllers, webhooks, control server, ledger"
)]
pub struct Args {
    /// Namespace the operator runs in
    #[arg(long, env = "FROSTGATE_NAMESPACE", default_value = "frostgate-system")]
    pub namespace: String,
    /// Name of the operator's pod
    #[arg(long, env = "FROSTGATE_POD_NAME", default_value = "frostgate-operator")]
    pub pod_name: String,
    /// UID of the operator's pod
    #[arg(long, env = "FROSTGATE_POD_UID", default_value = "")]
    pub pod_uid: String,
    /// ServiceAccount the operator runs as
    #[arg(long, env = "FROSTGATE_SERVICE_ACCOUNT", default_value = "frostgate-operator")]
    pub service_account: String,
    /// Name of the Service in front of the operator
    #[arg(long, env = "FROSTGATE_SERVICE", default_value = "frostgate-operator")]
    pub service: String,
    /// Image of the sidecar, by digest
    #[arg(long, env = "FROSTGATE_PROXY_IMAGE")]
    pub proxy_image: String,
    /// Further digests that nodes may report for that image: a manifest of its index, or its configuration
    #[arg(long, env = "FROSTGATE_PROXY_DIGESTS", value_delimiter = ',')]
    pub proxy_digests: Vec<String>,
    /// CPU the sidecar asks for
    #[arg(long, env = "FROSTGATE_PROXY_CPU_REQUEST", default_value = "20m")]
    pub proxy_cpu_request: String,
    /// Memory the sidecar asks for
    #[arg(long, env = "FROSTGATE_PROXY_MEMORY_REQUEST", default_value = "48Mi")]
    pub proxy_memory_request: String,
    /// Most memory the sidecar may have
    #[arg(long, env = "FROSTGATE_PROXY_MEMORY_LIMIT", default_value = "256Mi")]
    pub proxy_memory_limit: String,
    /// Size of the sidecar's spool volume, such as 512Mi
    #[arg(long, env = "FROSTGATE_PROXY_SPOOL_LIMIT", default_value = "1Gi")]
    pub proxy_spool_limit: ByteSize,
    /// Where sidecars find the operator; the Service on port 8443 unless given
    #[arg(long, env = "FROSTGATE_OPERATOR_URL")]
    pub operator_url: Option<String>,
    /// Folder of the ledger and of the recordings
    #[arg(long, env = "FROSTGATE_DATA", default_value = "/var/lib/frostgate")]
    pub data: PathBuf,
    /// Address of the webhooks
    #[arg(long, env = "FROSTGATE_WEBHOOK_ADDRESS", default_value = "0.0.0.0:9443")]
    pub webhook_address: SocketAddr,
    /// Address of the control server that sidecars speak to
    #[arg(long, env = "FROSTGATE_CONTROL_ADDRESS", default_value = "0.0.0.0:8443")]
    pub control_address: SocketAddr,
    /// Address where auditors read recordings, through the API server
    #[arg(long, env = "FROSTGATE_RECORDINGS_ADDRESS", default_value = "0.0.0.0:8081")]
    pub recordings_address: SocketAddr,
    /// Address of /metrics, /livez and /readyz
    #[arg(long, env = "FROSTGATE_ADMIN_ADDRESS", default_value = "0.0.0.0:8080")]
    pub admin_address: SocketAddr,
    /// How long a leader leads without renewing, seconds
    #[arg(long, env = "FROSTGATE_LEASE_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..))]
    pub lease_seconds: u64,
    /// How long a CA of the operator lives, seconds; a new one is announced after half of it
    #[arg(long, env = "FROSTGATE_CA_SECONDS", default_value_t = 10 * 365 * 24 * 3600, value_parser = clap::value_parser!(u64).range(60..))]
    pub ca_seconds: u64,
    /// How long a serving certificate lives, seconds
    #[arg(long, env = "FROSTGATE_LEAF_SECONDS", default_value_t = 24 * 3600, value_parser = clap::value_parser!(u64).range(30..))]
    pub leaf_seconds: u64,
    /// How long a closed ApprovalRequest is kept once the ledger has it, seconds
    #[arg(long, env = "FROSTGATE_REQUEST_RETENTION_SECONDS", default_value_t = 7 * 24 * 3600)]
    pub request_retention_seconds: u64,
    /// What is logged, as `tracing` filters are written
    #[arg(long, env = "FROSTGATE_LOG", default_value = "info")]
    pub log: String,
}

/// What the operator runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Namespace the operator runs in.
    pub namespace: String,
    /// Who this replica is: pod name and UID.
    pub identity: String,
    /// User name of the operator's ServiceAccount.
    pub username: String,
    /// Name of the Service.
    pub service: String,
    /// The sidecar's image, by digest.
    pub proxy_image: String,
    /// Every digest (`sha256:...`) that a node may report for it.
    pub proxy_digests: Vec<String>,
    /// Requests and limits of the sidecar.
    pub proxy_resources: Value,
    /// Size of its spool.
    pub proxy_spool_bytes: u64,
    /// Where sidecars find the operator.
    pub operator_url: String,
    /// Folder of ledger and recordings.
    pub data: PathBuf,
    /// Address of the webhooks.
    pub webhook_address: SocketAddr,
    /// Address of the control server.
    pub control_address: SocketAddr,
    /// Address where auditors read recordings.
    pub recordings_address: SocketAddr,
    /// Address of metrics and probes.
    pub admin_address: SocketAddr,
    /// How long the leader's lease holds.
    pub lease: Duration,
    /// How long a CA lives.
    pub ca_lifetime: Duration,
    /// How long a serving certificate lives.
    pub leaf_lifetime: Duration,
    /// How long a closed request is kept.
    pub request_retention: Duration,
}

/// The arguments make no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A tag can be moved to another image at any time.
    #[error("--proxy-image {0:?} is no image by digest: write repository@sha256:<64 hex digits>")]
    NoDigest(String),
    /// A digest is none.
    #[error("--proxy-digests: {0:?} is no digest: write sha256:<64 hex digits>")]
    BadDigest(String),
}

impl Args {
    /// The configuration.
    ///
    /// # Errors
    /// When an argument cannot be used.
    pub fn config(self) -> Result<Config, ConfigError> {
        let digest = self
            .proxy_image
            .split_once('@')
            .map(|(_, digest)| digest.to_owned())
            .filter(|digest| is_digest(digest))
            .ok_or_else(|| ConfigError::NoDigest(self.proxy_image.clone()))?;
        let mut proxy_digests = vec![digest];
        for digest in self.proxy_digests.iter().filter(|digest| !digest.is_empty()) {
            if !is_digest(digest) {
                return Err(ConfigError::BadDigest(digest.clone()));
            }
            proxy_digests.push(digest.clone());
        }
        let (namespace, service) = (&self.namespace, &self.service);
        let identity = if self.pod_uid.is_empty() {
            self.pod_name
        } else {
            format!("{}_{}", self.pod_name, self.pod_uid)
        };
        Ok(Config {
            identity,
            username: format!("system:serviceaccount:{namespace}:{}", self.service_account),
            proxy_digests,
            proxy_resources: json!({
                "requests": {"cpu": self.proxy_cpu_request, "memory": self.proxy_memory_request},
                "limits": {"memory": self.proxy_memory_limit},
            }),
            operator_url: self
                .operator_url
                .unwrap_or_else(|| format!("https://{service}.{namespace}.svc:8443")),
            namespace: self.namespace,
            service: self.service,
            proxy_image: self.proxy_image,
            proxy_spool_bytes: self.proxy_spool_limit.as_u64(),
            data: self.data,
            webhook_address: self.webhook_address,
            control_address: self.control_address,
            recordings_address: self.recordings_address,
            admin_address: self.admin_address,
            lease: Duration::from_secs(self.lease_seconds),
            ca_lifetime: Duration::from_secs(self.ca_seconds),
            leaf_lifetime: Duration::from_secs(self.leaf_seconds),
            request_retention: Duration::from_secs(self.request_retention_seconds),
        })
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sidecar_is_pinned_by_digest_or_nothing_starts() {
        for (image, right) in [
            (format!("r.example/p@sha256:{}", "0".repeat(64)), true),
            (format!("r.example/p:v1@sha256:{}", "0".repeat(64)), true),
            ("r.example/p:v1".to_owned(), false),
            (format!("r.example/p@sha256:{}", "0".repeat(63)), false),
            (format!("r.example/p@sha256:{}", "G".repeat(64)), false),
        ] {
            let args = Args::parse_from(["frostgate-operator", "--proxy-image", &image]);
            assert_eq!(args.config().is_ok(), right, "{image}");
        }
    }
}
