//! Facing the operator: calls, and the stream of what the sidecar decides with.
//!
//! ```text
//! watch   GET /v1/stream -> Standing (policy with a lease) | verdicts -> who waits | events
//! calls   open, renew, close, ask, withdraw, catalog, ticket, seal
//! ```

pub(crate) mod shipping;
pub(crate) mod standing;
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use control::{
    ApprovalAsk, ApprovalState, CatalogAnswer, CatalogAsk, CloseSession, OpenSession,
    OpenedSession, Problem, RenewedSession, SealNotice, SegmentAsk, Ticket, Verdict,
};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use url::Url;

use crate::config::{self, Token};
use crate::upstream::resolver::Resolver;
use standing::Standing;

/// Largest answer of the operator to a call.
const ANSWER: usize = 16 << 20;

/// The operator, as the sidecar sees it.
#[derive(Clone)]
pub(crate) struct Operator(Arc<Inner>);

struct Inner {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    base: Url,
    token: Token,
    deadline: Duration,
    /// Who waits for a human, by statement.
    waiting: Mutex<HashMap<String, watch::Sender<Option<Verdict>>>>,
    standing: watch::Sender<Standing>,
    events: mpsc::UnboundedSender<Event>,
}

/// What comes of the operator's stream besides policies and verdicts.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A session ends.
    Session {
        /// Its id.
        session: String,
        /// Why, safe for the agent to read.
        reason: String,
    },
    /// What is known of the catalog is stale.
    Catalog,
    /// The operator is there, or there again.
    Connected,
}

/// Why a call gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The operator said no.
    #[error("{0}")]
    Refused(Problem),
    /// The operator could not be reached or its answer not be read.
    #[error("the operator cannot be reached: {0}")]
    Unreachable(String),
}

impl CallError {
    /// Whether the same call may succeed later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.retryable,
            Self::Unreachable(_) => true,
        }
    }
}

/// Why the way to the operator cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The URL is not one the sidecar may use.
    #[error("the operator's URL must be https, or http on loopback: {0}")]
    Url(Url),
    /// The CA is not PEM.
    #[error("the operator's CA is not readable: {0}")]
    Ca(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A wait for a human's verdict; it ends with the value.
pub(crate) struct Waiting {
    operator: Operator,
    statement: String,
    verdict: watch::Receiver<Option<Verdict>>,
}

impl Waiting {
    /// The verdict, once it is pushed.
    pub(crate) async fn verdict(&mut self) -> Option<Verdict> {
        let verdict = self.verdict.wait_for(Option::is_some).await.ok()?;
        verdict.clone()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waiting = &self.operator.0.waiting;
        waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.statement);
    }
}

impl Operator {
    /// Sets up the way to the operator. `standing` and `events` get what it pushes.
    pub(crate) fn new(
        config: &config::Operator,
        deadline: Duration,
        standing: watch::Sender<Standing>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<Self, OperatorError> {
        let host = config.url.host_str().unwrap_or_default();
        let loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        match config.url.scheme() {
            "https" => {}
            "http" if loopback => {}
            _ => return Err(OperatorError::Url(config.url.clone())),
        }
        let mut roots = rustls::RootCertStore::empty();
        for certificate in
            CertificateDer::pem_slice_iter(config.ca.as_deref().unwrap_or_default().as_bytes())
        {
            let certificate = certificate.map_err(|error| OperatorError::Ca(error.to_string()))?;
            roots.add(certificate)?;
        }
        if roots.is_empty() && config.url.scheme() == "https" {
            return Err(OperatorError::Ca("it holds no certificate".to_owned()));
        }
        let tls = crate::tls::client_config(roots)?;
        let resolver = Resolver::for_operator(host, config.address);
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(Duration::from_secs(5)));
        tcp.set_nodelay(true);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http2()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_only(true)
            .http2_keep_alive_interval(Duration::from_secs(15))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .http2_keep_alive_while_idle(true)
            .build(connector);
        Ok(Self(Arc::new(Inner {
            client,
            base: config.url.clone(),
            token: config.token.clone(),
            deadline,
            waiting: Mutex::default(),
            standing,
            events,
        })))
    }

    /// Opens a session.
    pub(crate) async fn open_session(
        &self,
        open: &OpenSession,
    ) -> Result<OpenedSession, CallError> {
        self.call(Method::POST, "v1/sessions", Some(open)).await
    }

    /// Renews a session.
    pub(crate) async fn renew(&self, session: &str) -> Result<RenewedSession, CallError> {
        self.call(Method::POST, &format!("v1/sessions/{session}"), None::<&()>).await
    }

    /// Closes a session.
    pub(crate) async fn close(&self, session: &str, reason: &str) -> Result<(), CallError> {
        let close = CloseSession { reason: reason.to_owned() };
        self.tell(Method::DELETE, &format!("v1/sessions/{session}"), Some(&close)).await
    }

    /// Asks a human; asking again is the same request.
    pub(crate) async fn ask_approval(
        &self,
        session: &str,
        statement: &str,
        ask: &ApprovalAsk,
    ) -> Result<ApprovalState, CallError> {
        let path = format!("v1/sessions/{session}/approvals/{statement}");
        self.call(Method::PUT, &path, Some(ask)).await
    }

    /// Takes the question back.
    pub(crate) async fn withdraw(&self, session: &str, statement: &str) -> Result<(), CallError> {
        let path = format!("v1/sessions/{session}/approvals/{statement}");
        self.tell(Method::DELETE, &path, None::<&()>).await
    }

    /// Reads objects of the account.
    pub(crate) async fn catalog(
        &self,
        session: &str,
        ask: &CatalogAsk,
    ) -> Result<CatalogAnswer, CallError> {
        self.call(Method::POST, &format!("v1/sessions/{session}/catalog"), Some(ask)).await
    }

    /// Asks where a segment may be put.
    pub(crate) async fn ticket(
        &self,
        session: &str,
        ask: &SegmentAsk,
    ) -> Result<Ticket, CallError> {
        self.call(Method::POST, &format!("v1/sessions/{session}/segments"), Some(ask)).await
    }

    /// Tells that a segment is stored.
    pub(crate) async fn seal(&self, session: &str, notice: &SealNotice) -> Result<(), CallError> {
        self.tell(Method::POST, &format!("v1/sessions/{session}/seals"), Some(notice)).await
    }

    /// Says that somebody waits for the verdict on a statement; to be said before asking.
    pub(crate) fn wait_for(&self, statement: &str) -> Waiting {
        let (sender, verdict) = watch::channel(None);
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(statement.to_owned(), sender);
        Waiting { operator: self.clone(), statement: statement.to_owned(), verdict }
    }

    fn deliver(&self, statement: &str, verdict: Verdict) {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.get(statement) {
            sender.send_replace(Some(verdict));
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, CallError> {
        decode(&self.exchange(method, path, body).await?)
    }

    async fn tell(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(), CallError> {
        self.exchange(method, path, body).await.map(drop)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Bytes, CallError> {
        let exchange = async {
            let response = self.request(method, path, body).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER);
            let body = body.collect().await.map_err(|error| unreachable(&*error))?.to_bytes();
            if status.is_success() {
                return Ok(body);
            }
            Err(refused(status, &body))
        };
        let late = |_| Err(CallError::Unreachable("it did not answer in time".to_owned()));
        tokio::time::timeout(self.0.deadline, exchange).await.unwrap_or_else(late)
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<http::Response<Incoming>, CallError> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| unreachable(&error))?,
            None => Vec::new(),
        };
        let url = self.0.base.join(path).map_err(|error| unreachable(&error))?;
        // The kubelet rotates the token: read it for every call.
        let token = match &self.0.token {
            Token::Given(token) => token.clone(),
            Token::File(path) => tokio::fs::read_to_string(path)
                .await
                .map_err(|error| CallError::Unreachable(format!("the pod's token: {error}")))?,
        };
        let request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
            .header(header::CONTENT_TYPE, "application/json")
            .header(control::VERSION_HEADER, control::VERSION)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unreachable(&error))?;
        self.0.client.request(request).await.map_err(|error| unreachable(&error))
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body)
        .map_err(|error| CallError::Unreachable(format!("its answer is not readable: {error}")))
}

fn refused(status: StatusCode, body: &[u8]) -> CallError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => CallError::Refused(problem),
        Err(_) => CallError::Unreachable(format!("it answered HTTP {}", status.as_u16())),
    }
}

/// An error with its causes, on one line.
fn unreachable(error: &(impl std::error::Error + ?Sized)) -> CallError {
    CallError::Unreachable(crate::causes(error))
}
