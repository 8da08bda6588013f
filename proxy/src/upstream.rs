//! Facing Snowflake: log in, send, wait, and be sure what happened.
//!
//! A statement is sent again only under its own request id, by which the account executes it once. What was sent and
//! never answered ends as *outcome unknown*, never as a second execution.

pub(crate) mod credentials;
pub(crate) mod egress;
pub(crate) mod resolver;
pub(crate) mod transport;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use control::{Credential, OpenedSession};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::value::RawValue;
use snowflake::login::{self, LoginRequest, UpstreamLogin, UpstreamSession};
use snowflake::query::{Answer, Progress};
use snowflake::session::{Abort, Renewal, Renewed};
use snowflake::{Endpoint, error};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::{Limits, Timings};
use crate::living::{self, Change, Secret};
use crate::telemetry::Metrics;
use credentials::SessionKey;
pub(crate) use transport::{Coming, TransportError};
use transport::{Reply, Transport};

/// Upstream, a result comes in chunks of at most this many MB: what one chunk may cost in memory.
const CHUNK_MB: &str = "16";

/// One session at the account, with its tokens. They never leave this process.
pub(crate) struct Session {
    transport: Arc<Transport>,
    /// The user it is logged in as.
    pub(crate) user: String,
    user_agent: HeaderValue,
    tokens: Mutex<Tokens>,
    /// Held while tokens are renewed, so that it is done once.
    renewing: tokio::sync::Mutex<()>,
    limits: Limits,
    timings: Timings,
    metrics: Metrics,
    /// What a restart must know of it.
    kept: living::Of,
}

struct Tokens {
    session: Arc<str>,
    master: Option<Arc<str>>,
    taken: Instant,
    validity: Duration,
    master_validity: Duration,
}

/// The right to send one statement: the session token of the moment.
#[derive(Clone)]
pub(crate) struct Lease {
    token: Arc<str>,
}

/// Why there is no answer from the account.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// Nothing reached the account.
    #[error("the account cannot be reached: {0}")]
    Unreachable(String),
    /// The account refused the login.
    #[error("the account refused the session's login: {code} {message}")]
    Login { code: String, message: String },
    /// The session at the account is over.
    #[error("the session at the account ended ({0})")]
    SessionLost(String),
    /// It answered something that is not understood.
    #[error("the account's answer is not understood: {0}")]
    NotUnderstood(String),
    /// It was sent, and no answer came.
    #[error("the statement was sent and its outcome is unknown: {0}")]
    OutcomeUnknown(String),
    /// The agent gave up.
    #[error("cancelled")]
    Cancelled,
}

/// A statement as it is sent.
pub(crate) struct Dispatch<'a> {
    /// Our id of it.
    pub(crate) id: Uuid,
    /// The driver's request id: by it the account executes once.
    pub(crate) request_id: &'a str,
    /// The SQL, for the abort.
    pub(crate) sql: &'a str,
    /// The body.
    pub(crate) body: Bytes,
    /// `Accept` of the driver: the account chooses formats by it.
    pub(crate) accept: HeaderValue,
    /// It runs, or ran, already: only its result is asked for, by the account's id of it.
    pub(crate) result: Option<Uuid>,
    /// It may have been sent before, under the same request id.
    pub(crate) sent: bool,
}

/// What every session at the account is set up with.
pub(crate) struct Setup {
    pub(crate) transport: Arc<Transport>,
    pub(crate) settings: (Limits, Timings),
    pub(crate) metrics: Metrics,
    pub(crate) kept: living::Of,
}

/// What logging in takes besides the credential.
pub(crate) struct Login<'a> {
    pub(crate) opened: &'a OpenedSession,
    pub(crate) request: &'a LoginRequest,
    /// Parameters that may be passed on.
    pub(crate) parameters: Vec<snowflake::parameters::Parameter>,
    pub(crate) user_agent: Option<HeaderValue>,
}

impl Session {
    /// Logs in with the session's key pair, or with the JWT that the operator signed.
    pub(crate) async fn login(
        setup: Setup,
        key: &SessionKey,
        login: Login<'_>,
    ) -> Result<(Self, UpstreamSession), UpstreamError> {
        let Setup { transport, settings: (limits, timings), metrics, kept } = setup;
        let Login { opened, request, parameters, user_agent } = login;
        let user = match &opened.credential {
            Credential::EphemeralUser { user, .. } | Credential::KeyPair { user, .. } => user,
        };
        let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
        let mut sent: BTreeMap<String, Box<RawValue>> =
            parameters.into_iter().map(|parameter| (parameter.name, parameter.value)).collect();
        if let Some(size) = raw(CHUNK_MB) {
            sent.insert("CLIENT_RESULT_CHUNK_SIZE".to_owned(), size);
        }
        let user_agent = user_agent.unwrap_or_else(|| HeaderValue::from_static("Frostgate"));
        let started = Instant::now();
        let mut wait = Duration::from_millis(200);
        loop {
            // A JWT is signed for each try: it lives two minutes.
            let jwt = match &opened.credential {
                Credential::KeyPair { jwt, .. } => jwt.clone(),
                Credential::EphemeralUser { .. } => key
                    .jwt(&opened.account, user, jiff::Timestamp::now().as_second())
                    .map_err(|error| UpstreamError::NotUnderstood(error.to_string()))?,
            };
            let login = UpstreamLogin {
                account: &opened.account,
                user,
                jwt: &jwt,
                app_id: &request.app_id,
                app_version: &request.app_version,
                environment: &request.environment,
                capabilities: request.capabilities.as_deref(),
                parameters: sent.clone(),
                role: &opened.role,
                warehouse: opened.warehouse.as_deref(),
                database: request.database.as_deref().or(opened.database.as_deref()),
                schema: request.schema.as_deref().or(opened.schema.as_deref()),
            };
            let (path, body) = login.encode(Uuid::now_v7());
            let headers = headers(None, &HeaderValue::from_static("application/json"), &user_agent);
            let deadline = timings.upstream;
            let tried = transport
                .exchange(Method::POST, &path, headers, body.into(), deadline, limits.answer)
                .await;
            let retry = match tried {
                Ok(reply) if reply.status == StatusCode::OK => {
                    let answer = login::decode_answer(&reply.body)
                        .map_err(|error| UpstreamError::NotUnderstood(error.to_string()))?;
                    match answer {
                        Ok(session) => {
                            let tokens = Tokens::of(&session);
                            let this = Self {
                                transport,
                                user: user.clone(),
                                user_agent,
                                tokens: Mutex::new(tokens),
                                renewing: tokio::sync::Mutex::default(),
                                limits,
                                timings,
                                metrics,
                                kept,
                            };
                            return Ok((this, session));
                        }
                        // A user that was made a moment ago may not be known everywhere yet.
                        Err(refused)
                            if matches!(refused.code.as_str(), "390100" | "390144")
                                && started.elapsed() < Duration::from_secs(5) =>
                        {
                            UpstreamError::Login { code: refused.code, message: refused.message }
                        }
                        Err(refused) => {
                            return Err(UpstreamError::Login {
                                code: refused.code,
                                message: refused.message,
                            });
                        }
                    }
                }
                Ok(reply) if is_retryable(reply.status) => status_error(&reply),
                Ok(reply) => return Err(status_error(&reply)),
                Err(error) => UpstreamError::Unreachable(error.to_string()),
            };
            if started.elapsed() + wait > timings.upstream {
                return Err(retry);
            }
            metrics.upstream_retries.inc();
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(2));
        }
    }

    /// The session at the account that the sidecar before this one had.
    pub(crate) fn resume(
        setup: Setup,
        user: String,
        user_agent: &str,
        tokens: &living::Tokens,
    ) -> Self {
        let Setup { transport, settings: (limits, timings), metrics, kept } = setup;
        Self {
            transport,
            user,
            user_agent: HeaderValue::from_str(user_agent)
                .unwrap_or(HeaderValue::from_static("Frostgate")),
            tokens: Mutex::new(Tokens::resume(tokens)),
            renewing: tokio::sync::Mutex::default(),
            limits,
            timings,
            metrics,
            kept,
        }
    }

    /// What goes on with the session at the account.
    pub(crate) fn to_keep(&self) -> (String, living::Tokens) {
        let user_agent = self.user_agent.to_str().unwrap_or_default().to_owned();
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        (user_agent, tokens.to_keep())
    }

    /// The token to send with: renewed first when its time is nearly over.
    pub(crate) async fn lease(&self) -> Result<Lease, UpstreamError> {
        let (lease, due) = self.current();
        if due { self.renew(&lease).await } else { Ok(lease) }
    }

    /// Renews when due; keeps a quiet session alive.
    pub(crate) async fn keep(&self) -> Result<(), UpstreamError> {
        self.lease().await.map(drop)
    }

    fn current(&self) -> (Lease, bool) {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let age = tokens.taken.elapsed();
        let due = age > tokens.validity * 3 / 4 || age > tokens.master_validity / 2;
        (Lease { token: Arc::clone(&tokens.session) }, due)
    }

    /// Renews the token that `old` holds, unless somebody has done so meanwhile.
    async fn renew(&self, old: &Lease) -> Result<Lease, UpstreamError> {
        let _once = self.renewing.lock().await;
        let (session, master) = {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            if tokens.session != old.token {
                return Ok(Lease { token: Arc::clone(&tokens.session) });
            }
            (Arc::clone(&tokens.session), tokens.master.clone())
        };
        let Some(master) = master else {
            return Err(UpstreamError::SessionLost("there is no master token".to_owned()));
        };
        let path = format!("/session/token-request?requestId={}", Uuid::now_v7());
        let json = HeaderValue::from_static("application/json");
        let headers = headers(Some(&master), &json, &self.user_agent);
        let body = Bytes::from(Renewal::encode(&session));
        let deadline = self.timings.upstream;
        let reply = self
            .transport
            .exchange(Method::POST, &path, headers, body, deadline, self.limits.answer)
            .await
            .map_err(|error| UpstreamError::Unreachable(error.to_string()))?;
        if reply.status != StatusCode::OK {
            return Err(status_error(&reply));
        }
        let renewed = Renewed::decode(&reply.body)
            .map_err(|error| UpstreamError::NotUnderstood(error.to_string()))?
            .map_err(|code| UpstreamError::SessionLost(format!("renewal refused: {code}")))?;
        self.metrics.renewals.inc();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.session = renewed.session_token.into();
        if let Some(master) = renewed.master_token {
            tokens.master = Some(master.into());
        }
        tokens.taken = Instant::now();
        tokens.validity = renewed.validity.map_or(tokens.validity, Duration::from_secs);
        tokens.master_validity =
            renewed.master_validity.map_or(tokens.master_validity, Duration::from_secs);
        self.kept.note(Change::Upstream(tokens.to_keep()));
        Ok(Lease { token: Arc::clone(&tokens.session) })
    }

    /// A statement to be sent with [`Sending::go`].
    pub(crate) fn sending<'a>(
        &'a self,
        lease: Lease,
        dispatch: Dispatch<'a>,
        cancel: &'a CancellationToken,
    ) -> Sending<'a> {
        let mut call = Call::statement(dispatch.request_id);
        if dispatch.sent {
            call.sent = true;
            call.retry(0);
        }
        if let Some(query_id) = dispatch.result {
            call.poll = Some(format!("/queries/{query_id}/result"));
            call.sent = true;
        }
        Sending {
            session: self,
            lease,
            dispatch,
            cancel,
            call,
            aborted: false,
            trouble: Trouble::default(),
        }
    }

    async fn attempt(
        &self,
        lease: &Lease,
        call: &Call,
        dispatch: &Dispatch<'_>,
    ) -> Result<Reply, TransportError> {
        let (method, body) = if call.is_statement() {
            (Method::POST, dispatch.body.clone())
        } else {
            (Method::GET, Bytes::new())
        };
        let headers = headers(Some(&lease.token), &dispatch.accept, &self.user_agent);
        let deadline = self.timings.upstream_statement;
        self.transport
            .exchange(method, &call.path(), headers, body, deadline, self.limits.answer)
            .await
    }

    async fn abort(&self, lease: &Lease, dispatch: &Dispatch<'_>) {
        let path = format!("/queries/v1/abort-request?requestId={}", Uuid::now_v7());
        let headers = headers(Some(&lease.token), &dispatch.accept, &self.user_agent);
        let body = Bytes::from(Abort::encode(dispatch.request_id, dispatch.sql));
        let deadline = self.timings.upstream;
        let told = self
            .transport
            .exchange(Method::POST, &path, headers, body, deadline, self.limits.answer)
            .await;
        if let Err(error) = told {
            tracing::warn!(%error, "the abort did not reach the account");
        }
    }

    /// Fetches a result anew, in the format that the driver chose by `accept`.
    pub(crate) async fn result(
        &self,
        query_id: Uuid,
        accept: HeaderValue,
    ) -> Result<Bytes, UpstreamError> {
        let lease = self.lease().await?;
        let path = format!("/queries/{query_id}/result?requestId={}", Uuid::now_v7());
        let headers = headers(Some(&lease.token), &accept, &self.user_agent);
        let deadline = self.timings.upstream_statement;
        let reply = self
            .transport
            .exchange(Method::GET, &path, headers, Bytes::new(), deadline, self.limits.answer)
            .await
            .map_err(|error| UpstreamError::Unreachable(error.to_string()))?;
        if reply.status == StatusCode::OK { Ok(reply.body) } else { Err(status_error(&reply)) }
    }

    /// Asks for a chunk; its body is still to come.
    pub(crate) async fn chunk(
        &self,
        url: &str,
        headers: &BTreeMap<String, String>,
    ) -> Result<Coming, TransportError> {
        let mut wait = Duration::from_millis(100);
        let mut tries = 0;
        loop {
            let tried = self.transport.chunk(url, headers, self.timings.upstream).await;
            tries += 1;
            match tried {
                Ok(coming) if is_retryable(coming.status) && tries < 4 => {}
                Err(TransportError::NotSent(_) | TransportError::Broken(_)) if tries < 4 => {}
                done => return done,
            }
            self.metrics.upstream_retries.inc();
            tokio::time::sleep(wait + jitter(wait)).await;
            wait *= 3;
        }
    }

    /// Ends the session at the account, as well as that can be done.
    pub(crate) async fn logout(&self) {
        let (lease, _) = self.current();
        let path = format!("/session?delete=true&requestId={}", Uuid::now_v7());
        let accept = HeaderValue::from_static("application/json");
        let headers = headers(Some(&lease.token), &accept, &self.user_agent);
        let deadline = Duration::from_secs(5);
        let body = Bytes::from_static(b"{}");
        let told =
            self.transport.exchange(Method::POST, &path, headers, body, deadline, 1 << 20).await;
        if let Err(error) = told {
            tracing::info!(%error, "the logout did not reach the account");
        }
    }
}

impl Tokens {
    fn of(session: &UpstreamSession) -> Self {
        Self {
            session: session.token.as_str().into(),
            master: session.master_token.as_deref().map(Into::into),
            taken: Instant::now(),
            validity: Duration::from_secs(session.validity_in_seconds.max(1)),
            master_validity: Duration::from_secs(session.master_validity_in_seconds.max(1)),
        }
    }

    fn to_keep(&self) -> living::Tokens {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let age = i64::try_from(self.taken.elapsed().as_millis()).unwrap_or(i64::MAX);
        living::Tokens {
            session: Secret::new(self.session.to_string()),
            master: self.master.as_deref().map(|master| Secret::new(master.to_owned())),
            taken_ms: crate::now_ms().saturating_sub(age),
            validity_ms: milliseconds(self.validity),
            master_validity_ms: milliseconds(self.master_validity),
        }
    }

    fn resume(kept: &living::Tokens) -> Self {
        let taken = living::since(kept.taken_ms);
        Self {
            session: kept.session.as_str().into(),
            master: kept.master.as_ref().map(|master| master.as_str().into()),
            taken: taken.unwrap_or_else(Instant::now),
            // Of unknown age it is renewed before it is used.
            validity: Duration::from_millis(if taken.is_some() { kept.validity_ms } else { 0 }),
            master_validity: Duration::from_millis(kept.master_validity_ms),
        }
    }
}

/// A statement on its way.
pub(crate) struct Sending<'a> {
    session: &'a Session,
    lease: Lease,
    dispatch: Dispatch<'a>,
    cancel: &'a CancellationToken,
    call: Call,
    aborted: bool,
    trouble: Trouble,
}

impl Sending<'_> {
    /// Sends the statement once and waits until it is done, however long that takes. Gives the final answer's bytes
    /// (a result or the account's own failure), or nothing where it has to be sent again under the same request id.
    pub(crate) async fn go(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            match self.once().await? {
                Step::Done(answer) => return Ok(Some(answer)),
                Step::Again if self.call.is_statement() => return Ok(None),
                // From now on it is only asked for.
                Step::Again => {}
            }
        }
    }

    /// One request: the statement, or a poll for its result.
    async fn once(&mut self) -> Result<Step, UpstreamError> {
        let session = self.session;
        if self.cancel.is_cancelled() && !self.aborted {
            if !self.call.sent {
                return Err(UpstreamError::Cancelled);
            }
            session.abort(&self.lease, &self.dispatch).await;
            self.aborted = true;
        }
        // Sent again after its abort it could run after all.
        if self.aborted && self.call.is_statement() {
            return Err(UpstreamError::OutcomeUnknown("it was cancelled on the way".to_owned()));
        }
        let started = Instant::now();
        let reply = match self.exchange().await {
            Ok(reply) if reply.status == StatusCode::OK => reply,
            Ok(reply) if is_retryable(reply.status) => {
                self.call.sent = true;
                let status = reply.status.as_u16();
                return self.pause(status, format!("HTTP {status}")).await;
            }
            Ok(reply) => return Err(status_error(&reply)),
            Err(TransportError::NotSent(error)) => return self.pause(0, error).await,
            Err(TransportError::Broken(error)) => {
                self.call.sent = true;
                return self.pause(0, error).await;
            }
            Err(error @ (TransportError::TooLarge(_) | TransportError::Unreadable(_))) => {
                return Err(UpstreamError::NotUnderstood(error.to_string()));
            }
        };
        self.call.sent = true;
        let answer = Answer::decode(&reply.body)
            .map_err(|error| UpstreamError::NotUnderstood(error.to_string()))?;
        match answer.code.as_deref() {
            Some(error::SESSION_EXPIRED) => {
                self.trouble.count("session expired")?;
                self.lease = session.renew(&self.lease).await?;
                self.call.renewed();
                return Ok(Step::Again);
            }
            Some(
                code @ (error::SESSION_GONE
                | error::MASTER_EXPIRED
                | "390104"
                | "390113"
                | "390115"),
            ) => return Err(UpstreamError::SessionLost(code.to_owned())),
            _ => {}
        }
        match answer.progress() {
            Err(error) => Err(UpstreamError::NotUnderstood(error.to_string())),
            Ok(Progress::Done) => Ok(Step::Done(reply.body)),
            Ok(Progress::Running { path }) => {
                if let Some(query_id) = self.call.poll(&path)? {
                    let statement = self.dispatch.id;
                    session.kept.note(Change::Runs { statement, query_id });
                }
                self.trouble = Trouble::default();
                // The account holds polls itself; one that does not must not be asked in a hot loop.
                let least = Duration::from_millis(if self.aborted { 100 } else { 250 });
                tokio::time::sleep(least.saturating_sub(started.elapsed())).await;
                Ok(Step::Again)
            }
        }
    }

    async fn exchange(&mut self) -> Result<Reply, TransportError> {
        let session = self.session;
        let exchange = session.attempt(&self.lease, &self.call, &self.dispatch);
        tokio::pin!(exchange);
        tokio::select! {
            tried = &mut exchange => tried,
            () = self.cancel.cancelled(), if !self.aborted => {
                // The account is told; its answer to the statement then says how it ended.
                session.abort(&self.lease, &self.dispatch).await;
                self.aborted = true;
                let late =
                    |_| Err(TransportError::Broken("no answer after the abort".to_owned()));
                let patience = session.timings.upstream;
                tokio::time::timeout(patience, exchange).await.unwrap_or_else(late)
            }
        }
    }

    /// Waits before the next try, or gives up.
    async fn pause(&mut self, reason: u16, error: String) -> Result<Step, UpstreamError> {
        let Timings { upstream, upstream_retry, .. } = self.session.timings;
        let budget = if self.aborted { upstream } else { upstream_retry };
        let since = *self.trouble.since.get_or_insert_with(Instant::now);
        let wait = self.trouble.wait;
        if since.elapsed() + wait > budget {
            return Err(if self.call.sent {
                UpstreamError::OutcomeUnknown(error)
            } else {
                UpstreamError::Unreachable(error)
            });
        }
        tracing::warn!(%error, "the account did not answer; asking again under the same request id");
        self.session.metrics.upstream_retries.inc();
        tokio::time::sleep(wait + jitter(wait)).await;
        self.trouble.wait = (wait * 2).min(Duration::from_secs(8));
        self.call.retry(reason);
        Ok(Step::Again)
    }
}

/// What one request led to.
enum Step {
    Done(Bytes),
    Again,
}

/// One request of a statement: the statement itself, or a poll for its result.
struct Call {
    /// Where to poll; absent while the statement itself is sent.
    poll: Option<String>,
    request_id: String,
    retries: u32,
    reason: u16,
    /// When the first try was made, Unix milliseconds.
    started_ms: i64,
    /// Whether the account may have seen the statement.
    sent: bool,
}

impl Call {
    fn statement(request_id: &str) -> Self {
        Self {
            poll: None,
            request_id: request_id.to_owned(),
            retries: 0,
            reason: 0,
            started_ms: crate::now_ms(),
            sent: false,
        }
    }

    /// From now on a poll. The path comes from the account; only the one form it has is followed. Gives the account's
    /// id of the statement where it was not known before.
    fn poll(&mut self, path: &str) -> Result<Option<Uuid>, UpstreamError> {
        let bare = path.split('?').next().unwrap_or_default();
        let Ok((Endpoint::QueryResult(query_id), _)) = Endpoint::of("GET", bare) else {
            let text = "it names another place for the result".to_owned();
            return Err(UpstreamError::NotUnderstood(text));
        };
        let known = self.poll.replace(bare.to_owned()).is_some_and(|known| known == bare);
        Ok((!known).then_some(query_id))
    }

    fn is_statement(&self) -> bool {
        self.poll.is_none()
    }

    fn path(&self) -> String {
        let guid = Uuid::new_v4();
        match &self.poll {
            Some(path) => format!("{path}?requestId={}&request_guid={guid}", Uuid::now_v7()),
            None => {
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                query.append_pair("requestId", &self.request_id);
                query.append_pair("request_guid", &guid.to_string());
                if self.retries > 0 {
                    query.append_pair("clientStartTime", &self.started_ms.to_string());
                    query.append_pair("retryCount", &self.retries.to_string());
                    query.append_pair("retryReason", &self.reason.to_string());
                }
                format!("/queries/v1/query-request?{}", query.finish())
            }
        }
    }

    fn retry(&mut self, reason: u16) {
        self.retries += 1;
        self.reason = reason;
    }

    /// After a renewal drivers send the same request as if for the first time.
    fn renewed(&mut self) {
        self.retries = 0;
    }
}

/// How long the account has not answered.
struct Trouble {
    since: Option<Instant>,
    wait: Duration,
    times: u32,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { since: None, wait: Duration::from_millis(250), times: 0 }
    }
}

impl Trouble {
    /// Something that may happen now and then, not over and over.
    fn count(&mut self, what: &str) -> Result<(), UpstreamError> {
        self.times += 1;
        if self.times > 3 {
            return Err(UpstreamError::SessionLost(format!("{what} again and again")));
        }
        Ok(())
    }
}

fn headers(token: Option<&str>, accept: &HeaderValue, user_agent: &HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, accept.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::USER_AGENT, user_agent.clone());
    if let Some(token) = token
        && let Ok(mut value) = HeaderValue::try_from(format!("Snowflake Token=\"{token}\""))
    {
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    headers
}

fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429) || status.is_server_error()
}

fn status_error(reply: &Reply) -> UpstreamError {
    UpstreamError::NotUnderstood(format!("HTTP {}", reply.status.as_u16()))
}

/// Up to half of `wait`, so that many sidecars do not come back at once.
fn jitter(wait: Duration) -> Duration {
    let mut random = [0_u8; 1];
    // Without randomness there is no jitter; nothing else depends on it.
    let _ = aws_lc_rs::rand::fill(&mut random);
    wait * u32::from(random[0]) / 512
}
