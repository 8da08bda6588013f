//! From a request to its handler: the closed list of endpoints, each with a deliberate answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use recording::Fact;
use recording::entry;
use sha2::{Digest as _, Sha256};
use snowflake::Endpoint;
use snowflake::decode::UrlParameters;
use snowflake::endpoint::{Refused, Unknown};
use snowflake::login::LoginRequest;
use snowflake::monitoring::{State, Status};
use snowflake::query::QueryRequest;
use snowflake::session::{Abort, Renewal, Renewed, fine};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Body;
use super::body::{self, Received, Unread};
use super::refusal::{Form, Refusal};
use super::rest;
use super::session::{self, Filtered, Session};
use crate::Parts;
use crate::statement::chunks::Served;
use crate::statement::{Ask, Statement, rows};
use crate::telemetry::{Away, DirectionLabels, EndpointLabels, PathLabels};

/// Answers one request.
pub(crate) async fn route(
    request: Request<Incoming>,
    tls: bool,
    parts: Arc<Parts>,
) -> Response<Body> {
    let method = request.method().clone();
    let (endpoint, word) = match Endpoint::of(method.as_str(), request.uri().path()) {
        Ok(found) if request.uri().authority().is_none() => found,
        Ok(_) | Err(Unknown::NotPlain) => return unknown("NotPlain", &parts),
        Err(Unknown::Path) => return unknown("other", &parts),
        Err(Unknown::Method) => return unknown("Method", &parts),
    };
    if request.version() != Version::HTTP_11 {
        return broken(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    }
    if let Endpoint::Refused(form) = endpoint {
        parts.metrics.unhandled.get_or_create(&PathLabels { path_class: word }).inc();
        return refused(form);
    }
    parts.metrics.requests.get_or_create(&EndpointLabels { endpoint: word }).inc();
    let url = match UrlParameters::decode(request.uri().query()) {
        Ok(url) => url,
        Err(error) => return turned_away(&endpoint, &Refusal::malformed(&error), &parts),
    };
    if !is_our_name(request.headers(), &parts) {
        return broken(StatusCode::MISDIRECTED_REQUEST);
    }
    // Of two of them one reader takes the first and another the last.
    let twice = |name| request.headers().get_all(name).iter().nth(1).is_some();
    if twice(header::AUTHORIZATION) || twice(header::CONTENT_ENCODING) || twice(header::ACCEPT) {
        return broken(StatusCode::BAD_REQUEST);
    }
    let (head, body) = request.into_parts();
    let Received { bytes: body, room } = if method == Method::POST {
        match body::read(&head.headers, body, &parts).await {
            Ok(received) => received,
            Err(Unread::Refused(refusal)) => return turned_away(&endpoint, &refusal, &parts),
            Err(Unread::Broken(status)) => {
                parts.metrics.turned_away(Away::Broken);
                return broken(status);
            }
        }
    } else {
        Received { bytes: Bytes::new(), room: None }
    };
    let up = DirectionLabels { direction: "upstream" };
    parts.metrics.bytes.get_or_create(&up).inc_by(body.len() as u64);
    let from = From { headers: head.headers, url, tls, room };
    let answered = match endpoint {
        Endpoint::Login => login(&from, &body, &parts).await,
        Endpoint::Renew => renew(&from, &body, &parts),
        Endpoint::Logout => logout(&from, &parts).await,
        Endpoint::Heartbeat => from.session(&parts, false).map(|_| fine().into()),
        Endpoint::Query => query(&from, &body, &parts).await,
        Endpoint::Abort => abort(&from, &body, &parts),
        Endpoint::AbortQuery(id) => abort_query(&from, id, &parts),
        Endpoint::QueryResult(id) => result(&from, id, &parts).await,
        Endpoint::Monitoring(id) => monitoring(&from, id, &parts),
        // What a driver tells about itself and its statements stays in the pod.
        Endpoint::Telemetry => Ok(fine().into()),
        Endpoint::Chunk(name) => return chunk(&name, &parts).await,
        Endpoint::Statements | Endpoint::Statement(_) | Endpoint::CancelStatement(_) => {
            let From { headers, url, room, .. } = &from;
            let request = rest::Request { headers, url, body: &body, room };
            let (status, body) = match endpoint {
                Endpoint::Statement(handle) => rest::status(&request, handle, &parts).await,
                Endpoint::CancelStatement(handle) => rest::cancel(&request, handle, &parts).await,
                _ => rest::submit(&request, &parts).await,
            };
            return respond(status, "application/json", body);
        }
        Endpoint::Refused(form) => return refused(form),
    };
    match answered {
        Ok(body) => ok(body),
        Err(refusal) => ok(refusal.render_bare()),
    }
}

/// Whether the request is meant for us: by the account's host, or by loopback. A page in a browser that lets its own
/// name point to loopback is not.
fn is_our_name(headers: &HeaderMap, parts: &Parts) -> bool {
    let Some(host) = host(headers) else { return false };
    let account = parts.ruling().map(|ruling| ruling.connection.host.clone());
    is_loopback(&host)
        || [parts.host.as_deref(), account.as_deref()]
            .into_iter()
            .flatten()
            .any(|ours| host.host().eq_ignore_ascii_case(ours))
}

/// The one host that a request names.
pub(crate) fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    let host = host.to_str().ok()?.parse::<Authority>().ok()?;
    Some(host).filter(|host| !host.as_str().contains('@'))
}

/// What an instrumented client says of its trace.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<String> {
    headers.get("traceparent")?.to_str().ok().map(str::to_owned)
}

pub(crate) fn is_loopback(host: &Authority) -> bool {
    matches!(host.host(), "localhost" | "127.0.0.1" | "[::1]")
}

/// Where a request comes from.
struct From {
    headers: HeaderMap,
    url: UrlParameters,
    tls: bool,
    room: body::Taken,
}

impl From {
    /// The token of `Authorization: Snowflake Token="..."`.
    fn token(&self) -> Option<&str> {
        let value = self.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        value.strip_prefix("Snowflake Token=\"")?.strip_suffix('"')
    }

    fn session(&self, parts: &Parts, polling: bool) -> Result<Arc<Session>, Refusal> {
        parts.sessions.find(self.token(), polling)
    }

    /// Where this driver reaches the proxy: by the name that it used.
    fn base(&self) -> String {
        let named = self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = named.unwrap_or("localhost");
        format!("{}://{host}", if self.tls { "https" } else { "http" })
    }

    fn accept(&self) -> HeaderValue {
        let known = |value: &&HeaderValue| {
            matches!(value.as_bytes(), b"application/json" | b"application/snowflake" | b"*/*")
        };
        let accept = self.headers.get(header::ACCEPT).filter(known).cloned();
        accept.unwrap_or_else(|| HeaderValue::from_static("application/snowflake"))
    }
}

async fn login(from: &From, body: &[u8], parts: &Arc<Parts>) -> Result<Bytes, Refusal> {
    let request = LoginRequest::decode(&from.url, body, &parts.limits.message)
        .map_err(|error| Refusal::malformed(&error).for_login())?;
    let user_agent = from.headers.get(header::USER_AGENT).cloned();
    let opened = parts.sessions.log_in(&request, user_agent, parts).await;
    if let Err(refusal) = &opened {
        tracing::warn!(refusal = refusal.message, "a login was refused");
    }
    opened.map(Bytes::from)
}

fn renew(from: &From, body: &[u8], parts: &Parts) -> Result<Bytes, Refusal> {
    let renewal =
        Renewal::decode(body, &parts.limits.message).map_err(|error| Refusal::malformed(&error))?;
    let (tokens, number) = parts.sessions.renew(from.token(), &renewal.old_session_token, parts)?;
    Ok(Renewed::encode(&tokens.session, &tokens.master, number.as_deref()).into())
}

async fn logout(from: &From, parts: &Arc<Parts>) -> Result<Bytes, Refusal> {
    if from.url.get("delete") != Some("true") {
        return Err(Refusal::denied("FG-6003", "this endpoint only closes sessions"));
    }
    // A session that is gone already is what the driver wants.
    if let Ok(session) = from.session(parts, true) {
        parts.close_later(&session, "Logout");
    }
    Ok(fine().into())
}

async fn query(from: &From, body: &[u8], parts: &Arc<Parts>) -> Result<Bytes, Refusal> {
    let since = Instant::now();
    let session = from.session(parts, false)?;
    let decoded = QueryRequest::decode(body, &parts.limits.message)
        .map_err(|error| Refusal::malformed(&error))
        .and_then(|request| {
            let filtered = session::filter(&request.parameters)?;
            Ok((request, filtered))
        });
    let (request, filtered) = match decoded {
        Ok(decoded) => decoded,
        Err(refusal) => return Err(noted(&session, refusal).await),
    };
    let brought = Brought {
        request,
        filtered,
        request_id: session::request_id(&from.url)?,
        accept: from.accept(),
        base: from.base(),
        traceparent: traceparent(&from.headers),
        room: from.room.clone(),
        since,
    };
    let Some((statement, within)) = brought.start(&session, parts)? else {
        return Err(noted(&session, session::reused()).await);
    };
    Ok(answer(&statement, statement.id, within, &session, parts).await)
}

/// A statement as a request brought it, and what its answer needs of the request.
pub(super) struct Brought {
    pub(super) request: QueryRequest,
    pub(super) filtered: Filtered,
    pub(super) request_id: String,
    pub(super) accept: HeaderValue,
    pub(super) base: String,
    pub(super) traceparent: Option<String>,
    pub(super) room: body::Taken,
    pub(super) since: Instant,
}

impl Brought {
    /// Starts it, or finds what the same request id started, and says how long to wait for the answer; none where that
    /// id came before with another meaning.
    pub(super) fn start(
        mut self,
        session: &Arc<Session>,
        parts: &Arc<Parts>,
    ) -> Result<Option<(Arc<Statement>, Duration)>, Refusal> {
        let meaning = Sha256::digest(self.request.identity()).into();
        self.request.parameters = self.filtered.passed;
        // Who comes back later is told so at once, unless it is already over.
        let within = if self.request.asynchronous {
            Duration::from_millis(50)
        } else {
            parts.timings.answer_within
        };
        let request_id = self.request_id.clone();
        let ask = Ask {
            id: Uuid::now_v7(),
            request_id: self.request_id,
            request: self.request,
            count: self.filtered.count.unwrap_or(session.count),
            part: None,
            resumed: None,
            stripped: self.filtered.stripped,
            accept: self.accept,
            base: self.base,
            traceparent: self.traceparent,
            room: self.room,
            since: self.since,
            cancel: CancellationToken::new(),
        };
        let start = || Statement::start(ask, meaning, Arc::clone(session), Arc::clone(parts));
        let statement = session.statement(&request_id, parts.limits.statements, start)?;
        Ok((statement.meaning == meaning).then_some((statement, within)))
    }
}

/// The statement's answer, or that it is not done yet.
async fn answer(
    statement: &Arc<Statement>,
    id: Uuid,
    within: Duration,
    session: &Session,
    parts: &Parts,
) -> Bytes {
    let asynchronous = statement.asynchronous;
    let Some(_) = statement.watch(within).await else {
        return snowflake::error::in_progress(id, asynchronous).into();
    };
    match rows::answer(statement, session).await {
        Ok(body) => {
            parts.answers.delivered(statement);
            body
        }
        Err(refusal) => refusal.render(statement.id).into(),
    }
}

async fn result(from: &From, id: Uuid, parts: &Parts) -> Result<Bytes, Refusal> {
    let session = from.session(parts, true)?;
    let statement = own(&session, id).await?;
    Ok(answer(&statement, id, parts.timings.poll_within, &session, parts).await)
}

fn monitoring(from: &From, id: Uuid, parts: &Parts) -> Result<Bytes, Refusal> {
    let session = from.session(parts, true)?;
    let statement = session.by_id(id).ok_or_else(foreign)?;
    let outcome = statement.outcome();
    let status = Status {
        id,
        state: outcome.as_ref().map_or(State::Running, |outcome| outcome.state),
        error_code: outcome.as_ref().and_then(|it| it.error.as_ref().map(|(code, _)| code.clone())),
        error_message: outcome
            .as_ref()
            .and_then(|it| it.error.as_ref().map(|(_, text)| text.clone())),
        started_ms: statement.started_ms,
        ended_ms: outcome.as_ref().map_or(0, |outcome| outcome.ended_ms),
    };
    // A poll of the status is a sign of life of whoever waits.
    statement.seen();
    Ok(status.encode().into())
}

fn abort(from: &From, body: &[u8], parts: &Parts) -> Result<Bytes, Refusal> {
    let session = from.session(parts, true)?;
    let abort =
        Abort::decode(body, &parts.limits.message).map_err(|error| Refusal::malformed(&error))?;
    cancel(session.by_request(&abort.request_id))
}

fn abort_query(from: &From, id: Uuid, parts: &Parts) -> Result<Bytes, Refusal> {
    let session = from.session(parts, true)?;
    cancel(session.by_id(id))
}

fn cancel(statement: Option<Arc<Statement>>) -> Result<Bytes, Refusal> {
    let statement = statement.ok_or_else(foreign)?;
    tracing::info!(statement = %statement.id, request_id = statement.request_id, "cancelled by its client");
    statement.cancel.cancel();
    Ok(fine().into())
}

async fn chunk(name: &str, parts: &Arc<Parts>) -> Response<Body> {
    match parts.chunks.fetch(name, parts).await {
        // Never JSON by name: a part has no outer brackets, and the Node driver would parse it by its type, fail, and
        // ask again for minutes. Stores give parts as bytes too.
        Served::Rows(rows) => {
            let mut response = respond(StatusCode::OK, "application/octet-stream", Bytes::new());
            *response.body_mut() = rows.into_body();
            response
        }
        Served::Unknown => {
            let refusal = Refusal::denied("FG-6005", "the link is not one of an open session");
            respond(StatusCode::NOT_FOUND, "application/json", refusal.render_bare().into())
        }
        // Drivers ask a store again that failed, a few times: fitting, and bounded by them.
        Served::Failed(refusal) => {
            respond(StatusCode::BAD_GATEWAY, "application/json", refusal.render_bare().into())
        }
    }
}

/// The session's own statement; ids of others are put on record.
async fn own(session: &Arc<Session>, id: Uuid) -> Result<Arc<Statement>, Refusal> {
    match session.by_id(id) {
        Some(statement) => Ok(statement),
        None => Err(noted(session, foreign()).await),
    }
}

fn foreign() -> Refusal {
    Refusal::denied(
        "FG-6005",
        "the query id is not one of this session; use ids that this session returned",
    )
}

/// Puts a refusal on record that belongs to no statement.
async fn noted(session: &Session, refusal: Refusal) -> Refusal {
    let fact = Fact::Refused(entry::Refused {
        statement: None,
        code: refusal.code.clone(),
        message: super::refusal::one_line(&refusal.message),
    });
    match session.recording.record(fact).await {
        Ok(()) => refusal,
        Err(error) => Refusal::unrecorded(&error),
    }
}

fn unknown(path_class: &'static str, parts: &Parts) -> Response<Body> {
    parts.metrics.unhandled.get_or_create(&PathLabels { path_class }).inc();
    refused(Refused::Absent)
}

/// A request that is not even handed to its endpoint, in the form that its callers understand.
fn turned_away(endpoint: &Endpoint, refusal: &Refusal, parts: &Parts) -> Response<Body> {
    let is_large = refusal.code == "FG-6002";
    parts.metrics.turned_away(if is_large { Away::TooLarge } else { Away::Malformed });
    match endpoint {
        Endpoint::Login => ok(refusal.clone().for_login().render_bare()),
        Endpoint::Statements | Endpoint::Statement(_) | Endpoint::CancelStatement(_) => {
            let failure = refusal.failure();
            let (code, state) = (&failure.code, &failure.sql_state);
            let body = snowflake::rest::failed(code, state, &failure.message, None);
            respond(StatusCode::UNPROCESSABLE_ENTITY, "application/json", body.into())
        }
        _ => ok(refusal.render_bare()),
    }
}

/// A known endpoint that is not served, in the form that its callers understand.
fn refused(form: Refused) -> Response<Body> {
    let (what, form_of, status) = match form {
        Refused::Login => (
            "logins that need a browser are not served; log in with any user and password, or with authenticator=oauth \
             and an identity token",
            Form::Login,
            StatusCode::OK,
        ),
        Refused::Statement => (
            "the SQL REST API has no such request; submit, ask for, or cancel a statement",
            Form::Denied,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        Refused::OAuth => (
            "tokens are not issued here; bring one of your own identity provider",
            Form::Denied,
            StatusCode::BAD_REQUEST,
        ),
        Refused::Absent => (
            "this endpoint is not served; use the drivers' protocol",
            Form::Denied,
            StatusCode::NOT_FOUND,
        ),
    };
    let failure = Refusal::new(form_of, "FG-6003", what).failure();
    let body = match form {
        Refused::Statement => {
            let (code, state) = (&failure.code, &failure.sql_state);
            snowflake::rest::failed(code, state, &failure.message, Some(failure.query_id))
        }
        Refused::OAuth => failure.encode_for_oauth(),
        Refused::Login | Refused::Absent => failure.encode(),
    };
    respond(status, "application/json", body.into())
}

/// Broken HTTP: said in HTTP, and the connection ends.
fn broken(status: StatusCode) -> Response<Body> {
    let mut response = respond(status, "text/plain", Bytes::new());
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn ok(body: impl Into<Bytes>) -> Response<Body> {
    respond(StatusCode::OK, "application/json", body.into())
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(super::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
