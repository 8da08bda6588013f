//! One admin session at an account: logs in when needed, runs a statement, gives its rows as text.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use control::Problem;
use crds::SnowflakeConnection;
use crds::snowflake_connection::CredentialMode;
use flate2::read::GzDecoder;
use jiff::Timestamp;
use serde_json::value::RawValue;
use snowflake::login::{self as wire, UpstreamLogin};
use snowflake::query::{Answer, Progress, QueryRequest};
use snowflake::table::Table;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use super::login::Key;
use super::source;
use crate::objects::{Objects, Source};
use crate::outbound;

/// Accounts let a request wait for 45 s before they answer that it goes on.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// A statement of the broker that takes longer went wrong.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// No answer to a statement of the broker is longer.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A session token is replaced this long before its end.
const MARGIN: Duration = Duration::from_secs(60);

/// What an admin session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Making and dropping users.
    Provision,
    /// Reading the catalog.
    Catalog,
}

/// With what an admin session logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    host: String,
    port: u16,
    ca_bundle: Option<String>,
    aliases: BTreeMap<String, IpAddr>,
    proxy: Option<String>,
    account: String,
    user: String,
    role: String,
    warehouse: Option<String>,
    key: Source,
}

/// Why the account did not do as it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The connection cannot work as it is.
    #[error("{0}")]
    Configuration(String),
    /// No answer.
    #[error("the account cannot be reached: {0}")]
    Unreachable(String),
    /// The login was refused.
    #[error("the account refused the login of {user}: {code} {message}")]
    Login {
        /// Who tried.
        user: String,
        /// The account's code.
        code: String,
        /// The account's words.
        message: String,
    },
    /// The statement was refused.
    #[error("the account refused the statement: {code} {message}")]
    Statement {
        /// The account's code.
        code: String,
        /// The account's words.
        message: String,
    },
    /// The answer is none that is known.
    #[error("the account's answer was not understood: {0}")]
    NotUnderstood(String),
}

impl Error {
    pub(super) fn key(error: &dyn std::error::Error) -> Self {
        Self::Configuration(format!("the private key cannot be used: {error}"))
    }

    /// Whether the account says that what the statement is about does not exist.
    pub(super) fn says_missing(&self) -> bool {
        matches!(self, Self::Statement { code, message }
            if code == "002003" && message.contains("does not exist"))
    }

    fn session_is_over(&self) -> bool {
        matches!(self, Self::Statement { code, .. }
            if ["390104", "390110", "390111", "390112", "390114"].contains(&code.as_str()))
    }
}

impl From<Error> for Problem {
    /// The words of the account stay in the operator's log: they could name things that are no business of an agent.
    fn from(error: Error) -> Self {
        tracing::warn!(%error, "account");
        let (code, message, retryable) = match error {
            Error::Configuration(_) => {
                ("FG-4002", "the SnowflakeConnection cannot work as it is", false)
            }
            Error::Unreachable(_) => ("FG-4001", "the Snowflake account cannot be reached", true),
            Error::Login { .. } => ("FG-4002", "Snowflake refused the operator's own login", false),
            Error::Statement { .. } => {
                ("FG-4002", "Snowflake refused what the session needs", false)
            }
            Error::NotUnderstood(_) => ("FG-4003", "Snowflake's answer was not understood", true),
        };
        let message = format!("{message}; the reason is in the operator's log");
        Self { code: code.to_owned(), message, retryable }
    }
}

impl From<snowflake::Malformed> for Error {
    fn from(malformed: snowflake::Malformed) -> Self {
        Self::NotUnderstood(malformed.to_string())
    }
}

impl Login {
    pub(super) fn of(connection: &SnowflakeConnection, purpose: Purpose) -> Result<Self, Error> {
        let spec = &connection.spec;
        let missing = |what: &str| Error::Configuration(format!("the connection has no {what}"));
        let (user, reference, role, warehouse) = match spec.credentials.mode {
            CredentialMode::EphemeralUser => {
                let ephemeral = spec.credentials.ephemeral_user.as_ref();
                let provisioner = &ephemeral.ok_or_else(|| missing("ephemeralUser"))?.provisioner;
                let role = Some(provisioner.role.clone());
                (&provisioner.user, &provisioner.private_key_ref, role, &provisioner.warehouse)
            }
            CredentialMode::KeyPair => {
                let pair = spec.credentials.key_pair.as_ref().ok_or_else(|| missing("keyPair"))?;
                let role = spec.allowed_roles.first().cloned();
                (&pair.user, &pair.private_key_ref, role, &spec.session.warehouse)
            }
        };
        let (role, warehouse) = match purpose {
            Purpose::Provision => (role, warehouse),
            Purpose::Catalog => {
                let catalog = spec.catalog.as_ref().ok_or_else(|| missing("catalog"))?;
                (Some(catalog.role.clone()), &catalog.warehouse)
            }
        };
        Ok(Self {
            host: spec.host(),
            port: spec.port(),
            ca_bundle: spec.endpoint.as_ref().and_then(|endpoint| endpoint.ca_bundle.clone()),
            aliases: spec.aliases(),
            proxy: spec.endpoint.as_ref().and_then(|endpoint| endpoint.https_proxy.clone()),
            account: spec.account.clone(),
            user: user.clone(),
            role: role.ok_or_else(|| missing("allowed role"))?,
            warehouse: warehouse.clone(),
            key: source(connection, reference),
        })
    }
}

/// An account and the session there, if there is one.
pub(super) struct Account {
    pub(super) login: Login,
    client: reqwest::Client,
    session: Mutex<Option<Arc<Session>>>,
}

struct Session {
    token: String,
    until: Instant,
}

impl Account {
    pub(super) fn new(login: Login, names: &outbound::Names) -> Result<Self, Error> {
        let configured = |error: outbound::Error| Error::Configuration(error.to_string());
        let roots = login.ca_bundle.as_deref();
        // The port of a URL counts, not that of an address.
        let aliases =
            login.aliases.iter().map(|(host, ip)| (host.clone(), SocketAddr::new(*ip, 0)));
        let names = aliases.chain(names.clone()).collect();
        let proxy = login.proxy.as_deref();
        let client = outbound::client(roots, REQUEST_TIMEOUT, &names, proxy).map_err(configured)?;
        Ok(Self { login, client, session: Mutex::new(None) })
    }

    /// Runs one statement; a session that ended meanwhile is replaced once.
    pub(super) async fn execute(&self, objects: &dyn Objects, sql: &str) -> Result<Table, Error> {
        // One id for both tries: should the first have run after all, the account does not run it again.
        let request = Uuid::new_v4();
        let session = self.session(objects, None).await?;
        match self.run(&session, request, sql).await {
            Err(error) if error.session_is_over() => {
                let session = self.session(objects, Some(&session)).await?;
                self.run(&session, request, sql).await
            }
            other => other,
        }
    }

    /// Logs in, whether or not there is a session.
    pub(super) async fn login_anew(&self, objects: &dyn Objects) -> Result<(), Error> {
        let mut session = self.session.lock().await;
        *session = Some(Arc::new(self.log_in(objects).await?));
        Ok(())
    }

    /// The session; a new one if there is none, it is about to end, or it is `over`.
    async fn session(
        &self,
        objects: &dyn Objects,
        over: Option<&Arc<Session>>,
    ) -> Result<Arc<Session>, Error> {
        // Held while logging in: many sessions that open at once need one login.
        let mut session = self.session.lock().await;
        let good = session.as_ref().filter(|session| {
            Instant::now() < session.until && over.is_none_or(|over| !Arc::ptr_eq(over, session))
        });
        if let Some(good) = good {
            return Ok(good.clone());
        }
        let new = Arc::new(self.log_in(objects).await?);
        *session = Some(new.clone());
        Ok(new)
    }

    async fn log_in(&self, objects: &dyn Objects) -> Result<Session, Error> {
        let Login { account, user, role, warehouse, key, .. } = &self.login;
        // Read each time: a rotated key is used at the next login.
        let pem = objects.value(key).await.map_err(|error| Error::key(&error))?;
        let key = Key::from_pem(&pem).map_err(|error| Error::key(&error))?;
        let jwt = key.sign(account, user, Timestamp::now()).map_err(|error| Error::key(&error))?;
        let environment = BTreeMap::from([("APPLICATION".to_owned(), "Frostgate".to_owned())]);
        let role = super::statement::parameter(role);
        let warehouse = warehouse.as_deref().map(super::statement::parameter);
        let login = UpstreamLogin {
            account,
            user,
            jwt: &jwt.text,
            // The account gives rows as JSON to this client.
            app_id: "JavaScript",
            app_version: "2.0.0",
            environment: &environment,
            capabilities: None,
            parameters: parameters(),
            role: &role,
            warehouse: warehouse.as_deref(),
            database: None,
            schema: None,
        };
        let (path, body) = login.encode(Uuid::new_v4());
        let answer = self.post(&path, body, None).await?;
        match wire::decode_answer(&answer)? {
            Ok(session) => Ok(Session {
                until: Instant::now()
                    + Duration::from_secs(session.validity_in_seconds).saturating_sub(MARGIN),
                token: session.token,
            }),
            Err(refused) => Err(Error::Login {
                user: user.clone(),
                code: refused.code,
                message: refused.message,
            }),
        }
    }

    async fn run(&self, session: &Session, request: Uuid, sql: &str) -> Result<Table, Error> {
        let query = QueryRequest {
            sql: sql.to_owned(),
            asynchronous: false,
            describe_only: false,
            sequence_id: Some(1),
            submitted_ms: Some(Timestamp::now().as_millisecond()),
            parameters: Vec::new(),
            bindings: None,
            binds: Vec::new(),
            bind_stage: None,
            query_context: None,
            described_job: None,
        };
        let path = format!("/queries/v1/query-request?requestId={request}");
        let mut body = self.post(&path, query.encode(1), Some(session)).await?;
        let deadline = Instant::now() + STATEMENT_TIMEOUT;
        loop {
            let answer = Answer::decode(&body)?;
            if !answer.success {
                return Err(Error::Statement {
                    code: answer.code.unwrap_or_default(),
                    message: answer.message.unwrap_or_default(),
                });
            }
            let Progress::Running { path } = answer.progress()? else {
                return self.table(&answer).await;
            };
            if Instant::now() >= deadline {
                return Err(Error::Unreachable("the statement did not end in time".to_owned()));
            }
            if !path.starts_with("/queries/") {
                return Err(Error::NotUnderstood("a result elsewhere".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            body = self.send(self.client.get(self.address(&path)), Some(session)).await?;
        }
    }

    async fn table(&self, answer: &Answer<'_>) -> Result<Table, Error> {
        let mut table = Table::of(answer)?;
        let headers = answer.chunk_headers()?;
        for chunk in answer.chunks()? {
            if !chunk.url.starts_with("https://") {
                return Err(Error::NotUnderstood("a chunk without https".to_owned()));
            }
            let mut request = self.client.get(&chunk.url);
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            let response = request.send().await.map_err(|error| unreachable(&error))?;
            if !response.status().is_success() {
                return Err(Error::Unreachable(format!("a chunk answered {}", response.status())));
            }
            let bytes = outbound::body(response, BODY_BYTES_MAX)
                .await
                .map_err(|error| Error::Unreachable(error.to_string()))?;
            table.extend(&inflated(bytes)?)?;
        }
        Ok(table)
    }

    async fn post(
        &self,
        path: &str,
        body: Vec<u8>,
        session: Option<&Session>,
    ) -> Result<Vec<u8>, Error> {
        let request = self.client.post(self.address(path));
        let request = request.header("content-type", "application/json").body(body);
        self.send(request, session).await
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        session: Option<&Session>,
    ) -> Result<Vec<u8>, Error> {
        let mut request = request
            .header("accept", "application/json")
            .header("user-agent", concat!("frostgate-operator/", env!("CARGO_PKG_VERSION")));
        if let Some(session) = session {
            let token = format!("Snowflake Token=\"{}\"", session.token);
            request = request.header("authorization", token);
        }
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        if !response.status().is_success() {
            return Err(Error::Unreachable(format!("it answered {}", response.status())));
        }
        let body = outbound::body(response, BODY_BYTES_MAX)
            .await
            .map_err(|error| Error::Unreachable(error.to_string()))?;
        inflated(body)
    }

    fn address(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.login.host, self.login.port)
    }
}

/// The session parameters of an admin session.
fn parameters() -> BTreeMap<String, Box<RawValue>> {
    [("QUERY_TAG", "\"frostgate\""), ("AUTOCOMMIT", "true")]
        .into_iter()
        .filter_map(|(name, value)| {
            Some((name.to_owned(), RawValue::from_string(value.to_owned()).ok()?))
        })
        .collect()
}

/// Stores give chunks compressed, whether or not a header says so.
fn inflated(bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    let limit = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX);
    GzDecoder::new(bytes.as_slice())
        .take(limit + 1)
        .read_to_end(&mut plain)
        .map_err(|error| Error::NotUnderstood(error.to_string()))?;
    if plain.len() > BODY_BYTES_MAX {
        return Err(Error::NotUnderstood("an answer that inflates without end".to_owned()));
    }
    Ok(plain)
}

fn unreachable(error: &reqwest::Error) -> Error {
    // Without the URL: a chunk's carries its own authorisation.
    let bare = std::error::Error::source(error).map(outbound::causes);
    Error::Unreachable(bare.unwrap_or_else(|| "no answer".to_owned()))
}
