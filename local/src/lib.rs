//! Runs operator and proxy in one process from a folder, without a cluster.
//!
//! ```text
//! DIR/*.yaml               the three kinds and Secrets, as for kubectl             -> manifests, folder
//! DIR/.frostgate/
//!   control.sock           decisions by `frostgate approve|deny`, owner only       -> decisions
//!   requests/*.json        ApprovalRequests                                        -> requests
//!   ledger/                recordings and the log over them: what `verify` reads
//!   trust/, private/       what clients of the TLS door trust, and the key behind it
//!   spool/                 entries until they are sealed and shipped
//! ```
//!
//! The control API, the enforcement and the evidence are those of a cluster; only where objects come from differs.

pub mod config;
mod decisions;
mod folder;
mod manifests;
mod requests;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use operator::ledger::{Key, Ledger, Settings};
use operator::objects::{Human, Objects, Workload};
use operator::{https, proxies};
use proxy::Proxy;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use config::Config;
pub use manifests::ManifestError;

use folder::{Asker, Folder};
use requests::Requests;

/// What the control API has under way at the end may take this long.
const DRAIN: Duration = Duration::from_secs(5);
/// What clients of the TLS door trust.
const TRUST: &str = "trust";
/// The spool may take this much of the laptop's disk.
const SPOOL_BYTES: u64 = 1 << 30;

/// Why local mode does not run.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// It would be no boundary there.
    #[error(
        "local mode does not run in a pod: any container of the pod could go around it; annotate the pod instead"
    )]
    InPod,
    /// Others could reach it.
    #[error("{0} is not a loopback address: local mode trusts whoever can connect")]
    NotLoopback(SocketAddr),
    /// The folder.
    #[error(transparent)]
    Manifests(#[from] ManifestError),
    /// The folder does not say what to do.
    #[error("{0}")]
    Unclear(String),
    /// A file or socket.
    #[error("{path}: {error}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A part did not start.
    #[error("{part} does not start: {reason}")]
    Part {
        /// Which part.
        part: &'static str,
        /// Why.
        reason: String,
    },
}

/// Runs until `shutdown`, or until a part fails.
///
/// # Errors
/// [`LocalError`] says what to change.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), LocalError> {
    if config.in_pod.is_some() {
        return Err(LocalError::InPod);
    }
    let given = [config.tls, config.prompts, config.admin].into_iter().flatten();
    for address in std::iter::once(config.listen).chain(given) {
        if !address.ip().is_loopback() {
            return Err(LocalError::NotLoopback(address));
        }
    }
    let state = config.state();
    private_folder(&state)?;
    if config.tls.is_some() {
        private_folder(&state.join(TRUST))?;
        private_folder(&state.join("private"))?;
    }
    let token = Zeroizing::new(Uuid::new_v4().to_string());
    let requests = Requests::open(&state.join("requests")).map(Arc::new).map_err(at(&state))?;
    let folder = Arc::new(open(&config, &state, requests.clone(), token.clone())?);
    let connection = folder.connection().map_err(|error| LocalError::Unclear(error.to_string()))?;

    let (listener, control, ca, tls) = control_door().await?;
    let ledger = open_ledger(&state, &control)?;
    // The control API outlives the proxy, which needs it to close its sessions.
    let last = CancellationToken::new();
    let parts = proxies::Parts::new(
        folder.clone() as Arc<dyn Objects>,
        ledger.clone(),
        Arc::default(),
        "local",
        last.clone(),
    );
    let router = proxies::router(parts.clone()).merge(operator::ledger::upload_router(ledger));
    let control_api = async {
        tokio::join!(parts.run(), https::serve(listener, tls, router, last.clone(), DRAIN));
    };
    let proxy =
        Proxy::bind(proxy_config(&config, &state, control, ca, &token, connection.spec.host()))
            .await
            .map_err(|error| LocalError::Part { part: "the proxy", reason: error.to_string() })?;
    let addresses = proxy.addresses();
    if let Some(address) = addresses.first() {
        tracing::info!(
            connection = connection.name_any(),
            host = %address.ip(),
            port = address.port(),
            "drivers connect with protocol=http and this host and port"
        );
    }
    if let Some(address) = addresses.get(1) {
        tracing::info!(
            connection = connection.name_any(),
            host = connection.spec.host(),
            %address,
            trust = %state.join(TRUST).display(),
            "drivers connect as they always do, where that name leads to this address"
        );
    }
    if let Some(address) = proxy.prompt_address() {
        tracing::info!(%address, "model clients connect with ANTHROPIC_BASE_URL=http://ADDRESS");
    }
    let approver = format!("local:{}", user());
    let socket = state.join("control.sock");
    let decisions = decisions::serve(&socket, requests, approver, last.clone());

    tokio::pin!(control_api);
    let ended = tokio::select! {
        () = proxy.serve(shutdown) => Ok(()),
        ended = decisions => ended.map_err(at(&socket)),
        () = folder.follow() => Ok(()),
        () = &mut control_api => return Ok(()),
    };
    last.cancel();
    // What the closed sessions leave in the account goes before this process does.
    if tokio::time::timeout(DRAIN, control_api).await.is_err() {
        tracing::warn!("some users may still be in the account: the next start drops them");
    }
    ended
}

/// The folder and the one workload that asks.
fn open(
    config: &Config,
    state: &Path,
    requests: Arc<Requests>,
    token: Zeroizing<String>,
) -> Result<Folder, LocalError> {
    let namespace = match &config.namespace {
        Some(namespace) => namespace.clone(),
        None => folder::only_namespace(&config.config)?,
    };
    let workload = Workload {
        namespace,
        pod: "local".to_owned(),
        pod_uid: workload_uid(&state.join("workload"))?,
        service_account: config.service_account.clone(),
        kind: "Local".to_owned(),
        name: user(),
        node: String::new(),
    };
    let claimed = config.identity.as_ref().map(|subject| Human {
        issuer: "local".to_owned(),
        subject: subject.clone(),
        groups: Vec::new(),
        // Claimed like the rest: without a name, rules that keep requester and approver apart would refuse all.
        kubernetes_username: config.identity.clone(),
        verified: false,
        expires_at_ms: None,
    });
    let asker = Asker {
        workload,
        labels: config.labels(),
        connection: config.connection.clone(),
        claimed,
        names: config.resolve.iter().cloned().collect(),
        token,
    };
    Ok(Folder::open(&config.config, requests, asker)?)
}

/// Who the workload is, the same in every run: the next one ends and ships what one that was killed left behind.
fn workload_uid(path: &Path) -> Result<String, LocalError> {
    match fs::read_to_string(path) {
        Ok(uid) => Ok(uid.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let uid = Uuid::new_v4().to_string();
            fs::write(path, format!("{uid}\n")).map_err(at(path))?;
            Ok(uid)
        }
        Err(error) => Err(at(path)(error)),
    }
}

/// The control API's listener on a port that nobody else knows, with a certificate made for this run.
async fn control_door() -> Result<(TcpListener, Url, String, Arc<rustls::ServerConfig>), LocalError>
{
    let failed = |reason: String| LocalError::Part { part: "the control API", reason };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let port = listener.local_addr().map_err(|error| failed(error.to_string()))?.port();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])
        .map_err(|error| failed(error.to_string()))?;
    let mut tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der())),
        )
        .map_err(|error| failed(error.to_string()))?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let url = Url::parse(&format!("https://localhost:{port}"))
        .map_err(|error| failed(error.to_string()))?;
    Ok((listener, url, cert.pem(), Arc::new(tls)))
}

fn open_ledger(state: &Path, uploads: &Url) -> Result<Arc<Ledger>, LocalError> {
    let failed = |reason: String| LocalError::Part { part: "the ledger", reason };
    let key =
        Key::in_folder(state, "local.frostgate.dev").map_err(|error| failed(error.to_string()))?;
    let ledger = Ledger::open(Settings::new(state.join("ledger"), uploads.clone()), key)
        .map_err(|error| failed(error.to_string()))?;
    // What `frostgate verify --key` wants; published in a ConfigMap in a cluster.
    let path = state.join("ledger.pub");
    fs::write(&path, format!("{}\n", ledger.verifier_key())).map_err(at(&path))?;
    Ok(ledger)
}

fn proxy_config(
    config: &Config,
    state: &Path,
    control: Url,
    ca: String,
    token: &str,
    host: String,
) -> proxy::config::Config {
    let address = control.port().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let mut doors = vec![proxy::config::Door { listen: config.listen, tls: false }];
    doors.extend(config.tls.map(|listen| proxy::config::Door { listen, tls: true }));
    let trust = config.tls.map(|_| proxy::config::Trust {
        places: proxy::trust::Places { public: state.join(TRUST), private: state.join("private") },
        ocsp: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    });
    proxy::config::Config {
        doors,
        host: trust.is_some().then_some(host),
        operator: proxy::config::Operator {
            url: control,
            ca: Some(ca),
            token: proxy::config::Token::Given(token.to_owned()),
            address,
        },
        trust,
        prompts: config.prompts,
        admin: config.admin,
        recorder: proxy::recorder::Config::new(state.join("spool"), SPOOL_BYTES),
        // The operator ends with the same process.
        living: None,
        resolve: config.resolve.iter().cloned().collect(),
        limits: proxy::config::Limits::default(),
        timings: proxy::config::Timings {
            session_token: Duration::from_secs(config.session_token),
            ..proxy::config::Timings::default()
        },
    }
}

/// The name of whoever runs this.
fn user() -> String {
    uzers::get_current_username().map_or_else(
        || uzers::get_current_uid().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn private_folder(path: &Path) -> Result<(), LocalError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> LocalError {
    let path = path.to_owned();
    move |error| LocalError::Io { path: path.clone(), error }
}
