//! Runs in the cluster: controllers, webhooks, control server, ledger.
//!
//! ```text
//! API server -- watch --> directory <-- webhooks   inject, validate, decide        (every replica)
//!                             ^   ^---- proxies    streams, sessions, approvals
//!                             |         broker     users and logins at Snowflake
//!                        controllers    ledger     what auditors can check         (the leader)
//! ```
//!
//! [`run`] names the parts, connects them, waits, and drains.

pub mod admin;
pub mod announce;
pub mod broker;
pub mod certificates;
pub mod config;
pub mod controllers;
pub mod directory;
pub mod grants;
pub mod https;
pub mod identity;
pub mod lease;
pub mod ledger;
pub mod objects;
pub mod outbound;
pub mod proxies;
pub mod secrets;
pub mod sidecar;
pub mod telemetry;
pub mod webhooks;

#[cfg(test)]
mod scripted;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::{Client, ResourceExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::Readiness;
use crate::certificates::Certificates;
use crate::config::Config;
use crate::directory::Directory;
use crate::ledger::{Key, Ledger, ReaderKey};
use crate::objects::cluster::Cluster;
use crate::proxies::Parts;
use crate::telemetry::Metrics;
use crate::webhooks::Webhooks;

/// How often certificates and announcements are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Between being told to stop and accepting no more, so that no new connection finds the door shut.
const NOTICE: Duration = Duration::from_secs(3);
/// How long what is under way may take after that.
const DRAIN: Duration = Duration::from_secs(10);
/// The trust anchor of auditors.
const LEDGER_KEY: &str = "frostgate-ledger-key";
/// The newest checkpoint, kept where a restored volume cannot take it back.
const LEDGER_CHECKPOINT: &str = "frostgate-ledger-checkpoint";

/// Why the operator stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server cannot be spoken to.
    #[error("the API server: {0}")]
    Api(#[source] Box<kube::Error>),
    /// There is no certificate to serve with.
    #[error(transparent)]
    Certificates(#[from] certificates::Error),
    /// A key of the operator is missing.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// Something could not be announced.
    #[error(transparent)]
    Announce(#[from] announce::Error),
    /// The ledger's key is none.
    #[error("the ledger's key: {0}")]
    LedgerKey(#[from] ledger::KeyError),
    /// The readers' key is none.
    #[error("the readers' key: {0}")]
    ReaderKey(#[source] recording::ledger::reader::NotAReaderKey),
    /// The ledger cannot be opened.
    #[error("the ledger: {0}")]
    Ledger(#[from] ledger::OpenError),
    /// The address under which sidecars find the operator is none.
    #[error("--operator-url: {0}")]
    Url(#[from] url::ParseError),
    /// A port is taken.
    #[error("{0} cannot be listened on: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// A part that must run for ever ended.
    #[error("a part of the operator ended: {0}")]
    Ended(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// Runs the operator until `shutdown`, then drains.
///
/// # Errors
/// When it cannot start, or a part of it ended: whoever started the process starts it again.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let client = Client::try_default().await?;
    let metrics = Arc::new(Metrics::default());
    let directory = Arc::new(Directory::default());
    let cluster = Cluster::new(client.clone(), directory.clone(), config.proxy_digests.clone());
    let certificates = Certificates::new(
        Certificates::names(&config.service, &config.namespace),
        config.ca_lifetime,
        config.leaf_lifetime,
    );
    certificates.refresh(&client, &config.namespace, false, Timestamp::now()).await?;

    let stop = CancellationToken::new();
    let cluster_uid = Api::<Namespace>::all(client.clone()).get("kube-system").await?;
    let cluster_uid = cluster_uid.uid().unwrap_or_default();
    let ledger = open_ledger(&client, &config, &cluster_uid).await?;
    let reader = reader_key(&client, &config).await?;
    let parts =
        Parts::new(cluster.clone(), ledger.clone(), metrics.clone(), &cluster_uid, stop.clone());

    let webhooks = Arc::new(Webhooks {
        directory: directory.clone(),
        config: config.clone(),
        certificates: certificates.clone(),
        rights: cluster.clone(),
        metrics: metrics.clone(),
    });
    let context = controllers::Context::new(
        client.clone(),
        directory,
        parts.clone(),
        config.clone(),
        metrics.clone(),
    );
    let readiness = Readiness::new(cluster.clone(), certificates.clone(), shutdown.clone());
    let (leading_sender, leading) = watch::channel(false);
    let lease = lease::Settings {
        namespace: config.namespace.clone(),
        name: "frostgate-operator".to_owned(),
        identity: config.identity.clone(),
        duration: config.lease,
    };
    let control = proxies::router(parts.clone()).merge(ledger::upload_router(ledger.clone()));
    let recordings = ledger::serve_router(ledger.clone(), reader);
    let tls = certificates.tls()?;
    let webhook_listener = listen(config.webhook_address).await?;
    let control_listener = listen(config.control_address).await?;
    let recordings_listener = listen(config.recordings_address).await?;
    let admin_listener = listen(config.admin_address).await?;

    // The lease is given up last, when nothing is under way any more.
    let released = CancellationToken::new();
    let holder = tokio::spawn(lease::hold(client.clone(), lease, leading_sender, released.clone()));

    let mut running = JoinSet::new();
    running.spawn(named("watches", {
        let cluster = cluster.clone();
        let stop = stop.clone();
        async move {
            // Every controller's future in one: too large for the stack of whoever awaits it.
            let watch = Box::pin(cluster.watch());
            stop.run_until_cancelled(watch).await.unwrap_or_default();
        }
    }));
    running.spawn(named(
        "control server",
        https::serve(control_listener, tls.clone(), control, stop.clone(), DRAIN),
    ));
    running.spawn(named(
        "webhooks",
        https::serve(
            webhook_listener,
            tls.clone(),
            webhooks::router(webhooks),
            stop.clone(),
            DRAIN,
        ),
    ));
    running.spawn(named(
        "recordings",
        https::serve(recordings_listener, tls, recordings, stop.clone(), DRAIN),
    ));
    running.spawn(named(
        "admin",
        admin::serve(admin_listener, readiness.clone(), metrics.clone(), stop.clone()),
    ));
    running.spawn(named("sessions", parts.run()));
    running.spawn(named("controllers", while_leading(leading.clone(), stop.clone(), context)));
    running.spawn(named(
        "announcements",
        announce_for_ever(
            client.clone(),
            config.clone(),
            certificates,
            readiness,
            leading,
            metrics,
            stop.clone(),
        ),
    ));
    running.spawn(named(
        "checkpoints",
        publish_checkpoints(client, config.namespace, ledger, stop.clone()),
    ));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "operator runs");

    let ended = tokio::select! {
        ended = running.join_next() => Some(match ended {
            Some(Ok(name)) => name.to_owned(),
            Some(Err(error)) => error.to_string(),
            None => "all".to_owned(),
        }),
        () = shutdown.cancelled() => None,
    };
    if ended.is_none() {
        tokio::time::sleep(NOTICE).await;
    }
    stop.cancel();
    let drained = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN * 2, drained).await.is_err() {
        tracing::warn!("the drain was cut short");
    }
    released.cancel();
    if let Err(error) = holder.await {
        tracing::warn!(%error, "the lease's task failed");
    }
    match ended {
        Some(name) => Err(Error::Ended(name)),
        None => Ok(()),
    }
}

async fn named(name: &'static str, work: impl Future<Output = ()>) -> &'static str {
    work.await;
    name
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| Error::Listen(address, error))
}

/// The ledger on the operator's volume, and its public key where auditors find it.
async fn open_ledger(
    client: &Client,
    config: &Config,
    cluster_uid: &str,
) -> Result<Arc<Ledger>, Error> {
    let namespace = &config.namespace;
    let make = || Key::generate().map_err(|error| error.to_string());
    let pkcs8 = secrets::kept(client, namespace, secrets::LEDGER, "key.p8", make).await?;
    let key = Key::from_pkcs8(&format!("frostgate.dev/ledger/{cluster_uid}"), &pkcs8)?;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let known = maps.get_opt(LEDGER_CHECKPOINT).await?.and_then(|map| map.data);
    let known = known.and_then(|mut data| data.remove("checkpoint")).map(String::into_bytes);
    let settings = ledger::Settings {
        known,
        ..ledger::Settings::new(&config.data, config.operator_url.parse()?)
    };
    let ledger = tokio::task::spawn_blocking(move || Ledger::open(settings, key))
        .await
        .map_err(|error| Error::Ended(error.to_string()))??;
    let published = BTreeMap::from([("key".to_owned(), ledger.verifier_key().to_string())]);
    announce::map(client, namespace, LEDGER_KEY, published).await?;
    Ok(ledger)
}

async fn reader_key(client: &Client, config: &Config) -> Result<ReaderKey, Error> {
    let make = || {
        let text = ledger::new_reader_key().map_err(|error| error.to_string())?;
        Ok(zeroize::Zeroizing::new(text.as_bytes().to_vec()))
    };
    let text = secrets::kept(client, &config.namespace, secrets::READER, "key", make).await?;
    ReaderKey::parse(&String::from_utf8_lossy(&text)).map_err(Error::ReaderKey)
}

/// Starts the controllers when this replica begins to lead, and stops them when it no longer does.
async fn while_leading(
    mut leading: watch::Receiver<bool>,
    stop: CancellationToken,
    context: Arc<controllers::Context>,
) {
    loop {
        tokio::select! {
            led = leading.wait_for(|leads| *leads) => if led.is_err() { return },
            () = stop.cancelled() => return,
        }
        let term = stop.child_token();
        tokio::select! {
            () = controllers::run(context.clone(), term.clone()) => {
                // A controller that ends by itself while leading would leave everything as it is, unnoticed.
                return;
            }
            _ = leading.wait_for(|leads| !*leads) => term.cancel(),
        }
    }
}

/// Keeps certificates fresh and the API server told.
async fn announce_for_ever(
    client: Client,
    config: Config,
    certificates: Arc<Certificates>,
    readiness: Arc<Readiness>,
    leading: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut changed = leading.clone();
    loop {
        let leads = *leading.borrow();
        metrics.leader.set(i64::from(leads));
        if let Err(error) =
            certificates.refresh(&client, &config.namespace, leads, Timestamp::now()).await
        {
            tracing::warn!(%error, "certificates not refreshed");
        }
        metrics.ca_expires.set(certificates.ends().unwrap_or_default());
        let ca = certificates.trusted();
        match announce::trust(&client, &ca, leads).await {
            Ok(trusted) => readiness.trusted(trusted),
            Err(error) => tracing::warn!(%error, "not announced"),
        }
        if leads && let Err(error) = announce::parameters(&client, &config, &ca).await {
            tracing::warn!(%error, "not announced");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = changed.changed() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Keeps the newest checkpoint outside of the ledger's own volume.
async fn publish_checkpoints(
    client: Client,
    namespace: String,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
) {
    let mut checkpoints = ledger.checkpoints();
    loop {
        let newest = checkpoints.borrow_and_update().clone();
        let text = String::from_utf8_lossy(&newest).into_owned();
        if !text.is_empty() {
            let data = BTreeMap::from([("checkpoint".to_owned(), text)]);
            if let Err(error) = announce::map(&client, &namespace, LEDGER_CHECKPOINT, data).await {
                tracing::warn!(%error, "checkpoint not published");
            }
        }
        tokio::select! {
            changed = checkpoints.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
        // At most one write per look, whatever happens in the ledger.
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}
