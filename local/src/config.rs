//! What `frostgate local` is told.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

/// Enforce policies on this machine, without a cluster: for laptops, trials and measurements. It is no boundary
/// against programs of the same user.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Folder with the YAML of a SnowflakeConnection, its Secret and AccessPolicies; open to nobody else
    #[arg(long, value_name = "DIR")]
    pub config: PathBuf,
    /// Where drivers connect, on loopback, by plain HTTP
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8443)))]
    pub listen: SocketAddr,
    /// Also serve TLS as in a pod, for clients that insist on it: the account's own name must lead to this address,
    /// and the client trust what is in DIR/.frostgate/trust
    #[arg(long, value_name = "ADDRESS")]
    pub tls: Option<SocketAddr>,
    /// How long a driver's session token holds before the driver renews it
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(10..))]
    pub session_token: u64,
    /// Where model traffic comes in, on loopback, by plain HTTP: for the connection's `prompts`
    #[arg(long, value_name = "ADDRESS")]
    pub prompts: Option<SocketAddr>,
    /// Where metrics are served, on loopback
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
    /// The connection, where the folder has several: name or namespace/name
    #[arg(long)]
    pub connection: Option<String>,
    /// Namespace that policies are taken from; needed where they are in several
    #[arg(long)]
    pub namespace: Option<String>,
    /// ServiceAccount that policies select
    #[arg(long, default_value = "agent")]
    pub service_account: String,
    /// Label of the workload that policies select
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair::<String>)]
    pub labels: Vec<(String, String)>,
    /// The human behind the agent, recorded as claimed: no group rule matches it
    #[arg(long, value_name = "SUBJECT")]
    pub identity: Option<String>,
    /// Connect to this address for a host, instead of asking DNS
    #[arg(long = "resolve", value_name = "HOST=ADDRESS", value_parser = pair::<SocketAddr>)]
    pub resolve: Vec<(String, SocketAddr)>,
    /// Set in every pod: local mode is no boundary there and refuses to start.
    #[arg(long, hide = true, env = "KUBERNETES_SERVICE_HOST")]
    pub in_pod: Option<String>,
}

impl Config {
    /// Where everything that local mode writes is kept.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.config.join(".frostgate")
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().cloned().collect()
    }
}

fn pair<T: std::str::FromStr>(text: &str) -> Result<(String, T), String>
where
    T::Err: std::fmt::Display,
{
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    let value = value.parse().map_err(|error: T::Err| error.to_string())?;
    Ok((key.to_owned(), value))
}
