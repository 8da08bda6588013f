//! From the arguments to what runs: the one place where the environment and the files of the pod enter.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use url::Url;

use crate::recorder;
use crate::trust::Places;

/// The sidecar beside an AI agent: speaks to its Snowflake driver, enforces, records.
#[derive(Clone, Debug, Parser)]
#[command(name = "frostgate-proxy", version)]
pub enum Args {
    /// Serves the pod until it is told to stop.
    Run(RunArgs),
}

/// What the injector writes into the container.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The operator's control API.
    #[arg(long, env = "FROSTGATE_OPERATOR_URL")]
    pub operator_url: Url,
    /// The CA of the operator's certificate, PEM.
    #[arg(long, env = "FROSTGATE_OPERATOR_CA")]
    pub operator_ca: String,
    /// The account's host: what the certificate for the driver is made for.
    #[arg(long, env = "FROSTGATE_HOST")]
    pub host: String,
    /// Namespace of the pod.
    #[arg(long, env = "FROSTGATE_POD_NAMESPACE", default_value = "")]
    pub pod_namespace: String,
    /// Name of the pod.
    #[arg(long, env = "FROSTGATE_POD_NAME", default_value = "")]
    pub pod_name: String,
    /// UID of the pod.
    #[arg(long, env = "FROSTGATE_POD_UID", default_value = "")]
    pub pod_uid: String,
    /// How the driver's traffic comes here.
    #[arg(long, env = "FROSTGATE_CAPTURE", default_value = "Hosts")]
    pub capture: String,
    /// Size of the spool's volume, bytes.
    #[arg(long, env = "FROSTGATE_SPOOL_BYTES", default_value_t = 1 << 30)]
    pub spool_bytes: u64,
    /// Level of the log, as `tracing` filters.
    #[arg(long, env = "FROSTGATE_LOG", default_value = "info")]
    pub log: String,
}

/// The token that admits the sidecar to the operator, refreshed by the kubelet.
const TOKEN: &str = "/var/run/secrets/frostgate/token";
/// Certificates that applications trust.
const TRUST: &str = "/frostgate/trust";
/// Memory that only the sidecar mounts.
const PRIVATE: &str = "/frostgate/private";
/// Recordings until they are shipped.
const SPOOL: &str = "/frostgate/spool";

/// Everything the proxy runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where drivers come in.
    pub doors: Vec<Door>,
    /// The account's host, where the certificate for drivers is made here.
    pub host: Option<String>,
    /// The way to the operator.
    pub operator: Operator,
    /// Certificates; needed by doors with TLS.
    pub trust: Option<Trust>,
    /// Where model traffic comes in; whether it passes is the connection's to say.
    pub prompts: Option<SocketAddr>,
    /// Where probes and metrics are served.
    pub admin: Option<SocketAddr>,
    /// The recorder.
    pub recorder: recorder::Config,
    /// What a restart goes on with; without it a restart ends all sessions.
    pub living: Option<Living>,
    /// Addresses that stand in for name resolution, by host: tests and machines without DNS.
    pub resolve: BTreeMap<String, SocketAddr>,
    /// What requests may cost.
    pub limits: Limits,
    /// How long things take.
    pub timings: Timings,
}

/// A listener for drivers.
#[derive(Clone, Debug)]
pub struct Door {
    /// Its address.
    pub listen: SocketAddr,
    /// Whether it speaks TLS with the certificate of [`Trust`].
    pub tls: bool,
}

/// The way to the operator.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Base URL; `http` only on loopback.
    pub url: Url,
    /// PEM of the CA.
    pub ca: Option<String>,
    /// What admits the sidecar.
    pub token: Token,
    /// Where to connect instead of resolving the URL's host.
    pub address: Option<SocketAddr>,
}

/// What admits the sidecar to the operator.
#[derive(Clone, Debug)]
pub enum Token {
    /// A file that is read anew for every call.
    File(PathBuf),
    /// The token itself, in local mode.
    Given(String),
}

/// The certificates for drivers.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Where they are kept.
    pub places: Places,
    /// Where the revocation status of the certificate is answered; its URL stands in the certificate.
    pub ocsp: SocketAddr,
}

/// Where living sessions are kept for a restart.
#[derive(Clone, Debug)]
pub struct Living {
    /// The file, on memory that nobody else mounts.
    pub file: PathBuf,
    /// Whose it is: the file of another owner is not believed.
    pub owner: String,
}

/// What requests may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages.
    pub message: snowflake::Limits,
    /// Bytes of a request body as sent.
    pub body: usize,
    /// Bytes of a request body after inflating.
    pub body_inflated: usize,
    /// How many times larger a body may become by inflating, beyond the first MiB.
    pub inflate_ratio: usize,
    /// Bytes of all bodies beyond 1 MiB that are in work at the same time.
    pub bodies: usize,
    /// Bytes of an answer of the account.
    pub answer: usize,
    /// Bytes of one chunk after inflating.
    pub chunk: usize,
    /// Connections from drivers.
    pub connections: usize,
    /// Sessions.
    pub sessions: usize,
    /// Statements in flight per session.
    pub statements: usize,
    /// Chunks that are worked on at the same time.
    pub chunks_at_once: usize,
    /// Bytes of answers that are kept for retries, over all sessions.
    pub answers: usize,
    /// Bytes of one answer that are kept after somebody got it.
    pub answer_kept: usize,
    /// Bytes of an identity token.
    pub identity_token: usize,
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// The first answer to a statement comes at the latest after this; then the driver polls.
    pub answer_within: Duration,
    /// A poll is answered at the latest after this.
    pub poll_within: Duration,
    /// A statement whose client is gone ends after this.
    pub detached: Duration,
    /// Life of a session token toward the driver; it renews with its master token.
    pub session_token: Duration,
    /// A session ends after this, whatever it does.
    pub session: Duration,
    /// How long a header may take.
    pub header: Duration,
    /// How long a body may take.
    pub body: Duration,
    /// How long a connection may be idle.
    pub idle: Duration,
    /// How long the account may take to accept a connection and answer small requests.
    pub upstream: Duration,
    /// How long the account may take to answer a statement or poll before it is asked again.
    pub upstream_statement: Duration,
    /// How long a request is sent again to an account that does not answer.
    pub upstream_retry: Duration,
    /// How long a login waits for the first policy.
    pub first_policy: Duration,
    /// How long the operator may take to answer a call.
    pub operator: Duration,
    /// What is known of an object of the account is asked for anew after this.
    pub catalog: Duration,
    /// How often sessions are looked after.
    pub tick: Duration,
    /// How long shutting down may take.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: snowflake::Limits::default(),
            // Array binds of 64 MiB, and what stands around them.
            body: 65 << 20,
            body_inflated: 65 << 20,
            inflate_ratio: 100,
            bodies: 130 << 20,
            answer: 100 << 20,
            chunk: 512 << 20,
            connections: 512,
            sessions: 64,
            statements: 16,
            chunks_at_once: 4,
            answers: 32 << 20,
            answer_kept: 8 << 20,
            identity_token: 16 << 10,
        }
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            // Python's driver gives up reading after 60 s, ODBC after 90: both well above these.
            answer_within: Duration::from_secs(20),
            poll_within: Duration::from_secs(20),
            detached: Duration::from_secs(300),
            session_token: Duration::from_secs(3600),
            session: Duration::from_secs(7 * 24 * 3600),
            header: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            upstream: Duration::from_secs(15),
            // The account itself turns to polling after 45 s.
            upstream_statement: Duration::from_secs(120),
            upstream_retry: Duration::from_secs(60),
            first_policy: Duration::from_secs(5),
            operator: Duration::from_secs(20),
            catalog: Duration::from_secs(60),
            tick: Duration::from_secs(5),
            drain: Duration::from_secs(20),
        }
    }
}

impl Config {
    /// The sidecar's configuration: paths and ports are the pod's contract with the injector.
    #[must_use]
    pub fn sidecar(args: RunArgs) -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let RunArgs { pod_uid, host, operator_url, .. } = &args;
        let owner = format!("{pod_uid} {host} {operator_url}");
        Self {
            doors: vec![Door { listen: loopback(443), tls: true }],
            host: Some(args.host),
            operator: Operator {
                url: args.operator_url,
                ca: Some(args.operator_ca),
                token: Token::File(TOKEN.into()),
                address: None,
            },
            trust: Some(Trust {
                places: Places { public: TRUST.into(), private: PRIVATE.into() },
                ocsp: loopback(15988),
            }),
            prompts: Some(loopback(control::PROMPT_PORT)),
            admin: Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 15990))),
            recorder: recorder::Config::new(SPOOL.into(), args.spool_bytes),
            living: Some(Living { file: PathBuf::from(PRIVATE).join("sessions"), owner }),
            resolve: BTreeMap::new(),
            limits: Limits::default(),
            timings: Timings::default(),
        }
    }
}
