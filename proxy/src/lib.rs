//! Runs in the pod: speaks to the driver, enforces, records.
//!
//! ```text
//! agent's driver -> downstream (listener, router, session) -> statement::run -> upstream -> Snowflake
//!                                                              |    |     |
//!                                                        operator  policy  recorder
//! ```
//!
//! Read [`statement`] first: one statement, from the driver's request to the recorded answer. [`run`] names the parts,
//! connects them, waits, and drains.

mod admin;
mod analyst;
mod catalog;
pub mod config;
mod downstream;
mod living;
mod operator;
mod prompt;
pub mod recorder;
mod revocation;
mod statement;
pub mod telemetry;
mod tls;
pub mod trust;
mod upkeep;
mod upstream;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::prompt::Prompts;
use analyst::Analyst;
use catalog::Catalog;
use config::{Config, Limits, Timings};
use downstream::body::Room;
use downstream::refusal::Refusal;
use downstream::rest::Stateless;
use downstream::session::{Session, Sessions};
use living::{Left, Living};
use operator::standing::{Ruling, Standing};
use operator::{Event, Operator};
use recorder::Recorder;
use statement::chunks::Chunks;
use statement::outcome::Answers;
use telemetry::Metrics;
use upstream::transport::{SetUpError, Transport};

pub use operator::OperatorError;
pub use trust::TrustError;

/// Why a session ended that a restart could not go on with.
pub(crate) const RESTARTED: &str = "SidecarRestarted";

/// Why the proxy does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The way to the operator cannot be set up.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The certificates for drivers cannot be made.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The recorder cannot start.
    #[error(transparent)]
    Recorder(#[from] recorder::Unrecorded),
    /// A door with TLS has no certificates.
    #[error("a listener with TLS needs the account's host and a place for certificates")]
    NoCertificates,
    /// The table of living sessions cannot be made.
    #[error("living sessions cannot be kept in {0}: {1}")]
    Living(PathBuf, std::io::Error),
    /// The thread for long texts cannot be started.
    #[error("no thread can be started for long statements: {0}")]
    Analyst(std::io::Error),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for: {0}")]
    Signals(std::io::Error),
}

/// What every statement needs.
pub(crate) struct Parts {
    pub(crate) limits: Limits,
    pub(crate) timings: Timings,
    pub(crate) host: Option<String>,
    pub(crate) operator: Operator,
    pub(crate) recorder: Recorder,
    pub(crate) catalog: Catalog,
    pub(crate) analyst: Analyst,
    pub(crate) sessions: Sessions,
    pub(crate) living: Living,
    pub(crate) stateless: Stateless,
    pub(crate) chunks: Chunks,
    pub(crate) answers: Answers,
    pub(crate) prompts: Prompts,
    pub(crate) room: Room,
    pub(crate) metrics: Metrics,
    /// Sessions that are over, and why, where the operator has not heard of it yet.
    untold: Mutex<BTreeMap<String, String>>,
    /// Tasks of statements and events: shutting down waits for them.
    pub(crate) statements: TaskTracker,
    standing: watch::Receiver<Standing>,
    resolve: BTreeMap<String, SocketAddr>,
    transport: Mutex<Option<(control::Connection, Arc<Transport>)>>,
    this: std::sync::Weak<Parts>,
}

/// The proxy, listening.
pub struct Proxy {
    parts: Arc<Parts>,
    doors: Vec<(TcpListener, Option<tokio_rustls::TlsAcceptor>)>,
    prompts: Option<TcpListener>,
    admin: Option<TcpListener>,
    ocsp: Option<(TcpListener, trust::ocsp::Responder)>,
    events: mpsc::UnboundedReceiver<Event>,
    registry: Registry,
}

/// Serves until shutdown, then drains.
///
/// # Errors
/// When it cannot start.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    Proxy::bind(config).await?.serve(shutdown).await;
    Ok(())
}

/// Cancels the token at SIGTERM or SIGINT.
///
/// # Errors
/// When signals cannot be waited for.
pub fn stop_on_signal(shutdown: CancellationToken) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

impl Proxy {
    /// Makes certificates, takes up the spool and listens.
    ///
    /// # Errors
    /// When any of it fails.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        tls::install_provider();
        let metrics = Metrics::new();
        let (standing_sender, standing) = watch::channel(None);
        let (event_sender, events) = mpsc::unbounded_channel();
        let operator = Operator::new(
            &config.operator,
            config.timings.operator,
            standing_sender,
            event_sender,
        )?;
        let courier = operator::shipping::Courier::new(operator.clone(), &config.operator)?;
        let (living, left) = match &config.living {
            Some(config::Living { file, owner }) => {
                Living::open(file, owner).map_err(|error| Error::Living(file.clone(), error))?
            }
            None => (Living::nowhere(), Left::default()),
        };
        let interrupted = left.sessions.iter().filter_map(Session::interrupted).collect();
        let (recorder, recordings) =
            Recorder::resume(config.recorder.clone(), courier, interrupted, |session, given_up| {
                living.of(session).note(living::Change::GivenUp(given_up));
            })
            .await?;

        let mut doors = Vec::new();
        let mut ocsp = None;
        let mut acceptor = None;
        if config.doors.iter().any(|door| door.tls) {
            let (Some(place), Some(host)) = (&config.trust, &config.host) else {
                return Err(Error::NoCertificates);
            };
            let listener = listen(place.ocsp).await?;
            let answered_at = listener.local_addr().map_err(|e| Error::Listen(place.ocsp, e))?;
            let url = format!("http://{answered_at}");
            let trust = trust::establish(host, &url, &place.places, SystemTime::now())?;
            acceptor = Some(tokio_rustls::TlsAcceptor::from(trust.server));
            ocsp = Some((listener, trust.responder));
        }
        for door in &config.doors {
            let tls = if door.tls { acceptor.clone() } else { None };
            doors.push((listen(door.listen).await?, tls));
        }
        let admin = match config.admin {
            Some(address) => Some(listen(address).await?),
            None => None,
        };

        let prompts = match config.prompts {
            Some(address) => Some(listen(address).await?),
            None => None,
        };

        let mut registry = Registry::default();
        metrics.register(&mut registry);
        recorder.metrics().register(&mut registry);
        // Nobody goes on with these: their tokens went with the process that had made them.
        let goes_on =
            |session: &&String| recordings.iter().any(|it| it.recording.id() == **session);
        let untold = recorder.left_behind().iter().filter(|session| !goes_on(session));
        let untold = untold.map(|session| (session.clone(), RESTARTED.to_owned()));
        let untold = Mutex::new(untold.collect());
        let analyst = Analyst::start().map_err(Error::Analyst)?;
        let parts = Arc::new_cyclic(|this| Parts {
            limits: config.limits,
            timings: config.timings,
            host: config.host.clone(),
            operator,
            recorder,
            catalog: Catalog::default(),
            analyst,
            sessions: Sessions::default(),
            living,
            stateless: Stateless::default(),
            chunks: Chunks::new(config.limits.chunks_at_once),
            prompts: Prompts::default(),
            answers: Answers::new(config.limits.answers, config.limits.answer_kept),
            room: Room::new(config.limits.bodies),
            metrics,
            untold,
            statements: TaskTracker::new(),
            standing,
            resolve: config.resolve,
            transport: Mutex::default(),
            this: this.clone(),
        });
        Sessions::resume(left, recordings, &parts);
        Ok(Self { parts, doors, prompts, admin, ocsp, events, registry })
    }

    /// Where drivers come in, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect()
    }

    /// Where model traffic comes in.
    #[must_use]
    pub fn prompt_address(&self) -> Option<SocketAddr> {
        self.prompts.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where probes and metrics are served.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until shutdown; then lets statements end, closes sessions and ships what is recorded.
    pub async fn serve(self, shutdown: CancellationToken) {
        let Self { parts, doors, prompts, admin, ocsp, events, registry } = self;
        let stop = CancellationToken::new();
        let watching =
            tokio::spawn(parts.operator.clone().watch(parts.metrics.clone(), stop.clone()));
        let keeping = tokio::spawn(upkeep::run(Arc::clone(&parts), events, stop.clone()));
        if let Some((listener, responder)) = ocsp {
            tokio::spawn(revocation::serve(listener, responder, stop.clone()));
        }
        if let Some(listener) = prompts {
            // An answer of a model can take minutes: the sessions do not wait for it to close.
            let (parts, stop) = (Arc::clone(&parts), stop.clone());
            let pass = prompt::passage::pass;
            tokio::spawn(downstream::listener::serve(listener, None, pass, parts, stop));
        }
        if let Some(listener) = admin {
            tokio::spawn(admin::serve(listener, registry, Arc::clone(&parts), stop.clone()));
        }
        let mut serving = tokio::task::JoinSet::new();
        for (listener, tls) in doors {
            let parts = Arc::clone(&parts);
            let (route, shutdown) = (downstream::router::route, shutdown.clone());
            serving.spawn(downstream::listener::serve(listener, tls, route, parts, shutdown));
        }
        shutdown.cancelled().await;
        tracing::info!("draining");
        while serving.join_next().await.is_some() {}
        parts.drain().await;
        stop.cancel();
        for task in [watching, keeping] {
            // A task that panicked has nothing left to wait for.
            let _ = task.await;
        }
    }
}

impl Parts {
    /// What is decided with now.
    pub(crate) fn ruling(&self) -> Option<Arc<Ruling>> {
        self.standing.borrow().clone()
    }

    /// What is decided with; a login that comes before the first policy waits for it.
    pub(crate) async fn first_ruling(&self) -> Result<Arc<Ruling>, Refusal> {
        let mut standing = self.standing.clone();
        let first = standing.wait_for(Option::is_some);
        let first = tokio::time::timeout(self.timings.first_policy, first).await;
        let ruling = first.ok().and_then(Result::ok).and_then(|standing| standing.clone());
        ruling.ok_or_else(|| {
            Refusal::denied(
                "FG-1005",
                "the operator cannot be reached, so no session can open: check its Deployment and the pod's way to it",
            )
        })
    }

    /// The way to a connection's account; made anew when the connection changes.
    pub(crate) fn transport(
        &self,
        connection: &control::Connection,
        networks: Vec<ipnet::IpNet>,
    ) -> Result<Arc<Transport>, SetUpError> {
        let mut made = self.transport.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, transport)) = &*made
            && known == connection
        {
            return Ok(Arc::clone(transport));
        }
        let (resolve, timing) = (self.resolve.clone(), self.timings.upstream);
        let transport = Arc::new(Transport::new(connection, networks, resolve, timing)?);
        *made = Some((connection.clone(), Arc::clone(&transport)));
        Ok(transport)
    }

    /// Closes a session in a task of its own; from here on it takes no statement.
    pub(crate) fn close_later(&self, session: &Arc<Session>, reason: &str) {
        if let Some(parts) = self.this.upgrade()
            && session.end(reason)
        {
            let (session, reason) = (Arc::clone(session), reason.to_owned());
            self.statements.spawn(async move { parts.finish(&session, &reason).await });
        }
    }

    /// Ends a session everywhere: no new statements, the running ones cancelled, logged out, recorded, told to the
    /// operator.
    pub(crate) async fn close(&self, session: &Arc<Session>, reason: &str) {
        if session.end(reason) {
            self.finish(session, reason).await;
        }
    }

    async fn finish(&self, session: &Arc<Session>, reason: &str) {
        let ending = session.running().into_iter().map(async |statement| {
            if statement.watch(self.timings.upstream).await.is_none() {
                tracing::warn!(statement = %statement.id, "a statement did not end with its session");
            }
        });
        futures::future::join_all(ending).await;
        self.sessions.remove(session);
        self.chunks.forget(session);
        session.upstream.logout().await;
        if let Err(error) = session.recording.record(session.dropped(reason)).await {
            tracing::error!(%error, session = session.id, "the end of a credential was not recorded");
        }
        if let Err(error) = session.recording.close(reason).await {
            tracing::error!(%error, session = session.id, "a recording was not closed");
        }
        self.tell_closed(&session.id, reason).await;
        session.ended.cancel();
        self.metrics.sessions.set(i64::try_from(self.sessions.all().len()).unwrap_or(i64::MAX));
        tracing::info!(session = session.id, reason, "session closed");
    }

    /// Tells the operator that a session is over, so that its credential goes; what it cannot hear now it hears later.
    async fn tell_closed(&self, session: &str, reason: &str) {
        match self.operator.close(session, reason).await {
            Ok(()) => {}
            Err(error) if error.is_temporary() => {
                tracing::warn!(%error, session, "the operator was not told of a closed session yet");
                self.untold().insert(session.to_owned(), reason.to_owned());
                return;
            }
            Err(error) => {
                tracing::info!(%error, session, "the operator has closed the session already");
            }
        }
        self.living.of(session).note(living::Change::Over);
    }

    fn untold(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks anew for what has been known of the account for long. Without an answer it stays what it was.
    async fn learn_again(&self) {
        let Some(session) = self.sessions.all().into_iter().next() else { return };
        if let Err(error) =
            self.catalog.renew(&self.operator, &session.id, self.timings.catalog).await
        {
            tracing::debug!(%error, "what is known of the account's objects could not be renewed");
        }
    }

    /// Tells the operator what it has not heard yet.
    async fn tell_again(&self) {
        let untold = std::mem::take(&mut *self.untold());
        for (session, reason) in untold {
            self.tell_closed(&session, &reason).await;
        }
    }

    /// Lets what runs end, closes every session, ships what is recorded; within the time for it.
    async fn drain(&self) {
        let open = self.sessions.all();
        let close =
            futures::future::join_all(open.iter().map(|session| self.close(session, "Drain")));
        if tokio::time::timeout(self.timings.drain, close).await.is_err() {
            tracing::warn!("some sessions could not be closed in time");
        }
        self.statements.close();
        let left = self.recorder.drain(self.timings.drain).await;
        if left > 0 {
            tracing::warn!(
                segments = left,
                "some segments could not be shipped; they stay in the spool"
            );
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| Error::Listen(address, error))
}

/// An error with its causes, on one line.
pub(crate) fn causes(error: &(impl std::error::Error + ?Sized)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = cause.source();
    }
    downstream::refusal::one_line(&text)
}

/// Now, in Unix milliseconds, as the record and the operator write times.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
