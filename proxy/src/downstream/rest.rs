//! The SQL REST API: statements without a session of their own.
//!
//! ```text
//! bearer token + place (role, warehouse, database, schema) -> a session, opened once and used while it lasts
//! statement -> the same life as a driver's statement       -> its answer in the REST API's form
//! ```
//!
//! Nothing of a session's state reaches the next request, so what would change it is refused.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use snowflake::decode::UrlParameters;
use snowflake::endpoint::CHUNKS;
use snowflake::login::LoginRequest;
use snowflake::query::Answer;
use snowflake::rest::{self, Place, Reply, StatementRequest};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use uuid::Uuid;

use super::refusal::{Form, Refusal};
use super::router::{self, Brought};
use super::session::{self, Session};
use crate::Parts;
use crate::statement::chunks::Served;
use crate::statement::{Statement, rows};

/// Sessions that are remembered at most; those that are over are forgotten first.
const MOST: usize = 1000;

/// A request to the REST API.
pub(super) struct Request<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) url: &'a UrlParameters,
    pub(super) body: &'a [u8],
    pub(super) room: &'a super::body::Taken,
}

/// An answer: status and JSON.
pub(super) type Reaction = (StatusCode, Bytes);

/// The sessions that answer the REST API.
#[derive(Default)]
pub(crate) struct Stateless(Mutex<HashMap<Key, Slot>>);

/// Who asks, by the digest of the token, and for which place.
type Key = ([u8; 32], Place);
/// Empty while the session opens; nothing of a session that is over stays here.
type Slot = Arc<OnceCell<Weak<Session>>>;

/// Runs a statement.
pub(super) async fn submit(request: &Request<'_>, parts: &Arc<Parts>) -> Reaction {
    let since = Instant::now();
    answered(run(request, since, parts).await)
}

/// Tells how a statement is doing, or gives a part of its result.
pub(super) async fn status(request: &Request<'_>, handle: Uuid, parts: &Arc<Parts>) -> Reaction {
    answered(look(request, handle, parts).await)
}

/// Cancels a statement.
pub(super) async fn cancel(request: &Request<'_>, handle: Uuid, parts: &Arc<Parts>) -> Reaction {
    let cancelled = async {
        let (statement, _) = find(request, handle, parts).await?;
        statement.cancel.cancel();
        Ok((StatusCode::OK, reply(&statement, handle, request.url)?.cancelled().into()))
    };
    answered(cancelled.await)
}

fn answered(result: Result<Reaction, Refusal>) -> Reaction {
    result.unwrap_or_else(|refusal| {
        let status = match refusal.form {
            Form::Login | Form::SessionGone | Form::SessionExpired | Form::MasterExpired => {
                StatusCode::UNAUTHORIZED
            }
            _ if refusal.code == "FG-6005" => StatusCode::NOT_FOUND,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        (status, failed(&refusal, None))
    })
}

async fn run(
    request: &Request<'_>,
    since: Instant,
    parts: &Arc<Parts>,
) -> Result<Reaction, Refusal> {
    // Nothing of a request without a token is looked at.
    bearer(request.headers)?;
    let malformed = |error| Refusal::malformed(&error);
    let asynchronous = flag(request.url, "async", false)?;
    let asked = StatementRequest::decode(request.body, asynchronous, &parts.limits.message)
        .map_err(malformed)?;
    let filtered = session::filter(&asked.query.parameters)?;
    let session = session(request, &asked.place, parts).await?;
    let brought = Brought {
        request: asked.query,
        filtered,
        request_id: session::request_id(request.url)?,
        accept: HeaderValue::from_static("application/json"),
        // The parts of a result are asked for by number here; nobody sees these links.
        base: String::new(),
        traceparent: router::traceparent(request.headers),
        room: request.room.clone(),
        since,
    };
    let started = brought.start(&session, parts)?;
    let (statement, within) = started.ok_or_else(session::reused)?;
    react(&statement, statement.id, within, request.url, &session, parts).await
}

async fn look(
    request: &Request<'_>,
    handle: Uuid,
    parts: &Arc<Parts>,
) -> Result<Reaction, Refusal> {
    let (statement, session) = find(request, handle, parts).await?;
    let part: u32 = match request.url.get("partition").map(str::parse) {
        None => 0,
        Some(Ok(part)) => part,
        Some(Err(_)) => return Err(parameter("partition")),
    };
    if part == 0 {
        let within = parts.timings.poll_within;
        return react(&statement, handle, within, request.url, &session, parts).await;
    }
    let reply = reply(&statement, handle, request.url)?;
    let none = || Refusal::denied("FG-6005", format_args!("the result has no partition {part}"));
    let body = rows::answer(&statement, &session).await?;
    let answer = Answer::decode(&body).map_err(Refusal::internal)?;
    let mut links = answer.chunks().map_err(Refusal::internal)?.into_iter();
    let link = links.nth(part as usize - 1).ok_or_else(none)?;
    let name = link.url.strip_prefix(CHUNKS).ok_or_else(none)?;
    let rows = match parts.chunks.fetch(name, parts).await {
        Served::Rows(rows) => rows.collect(parts.limits.answer).await?,
        Served::Unknown => return Err(none()),
        Served::Failed(refusal) => return Err(refusal),
    };
    session.touch();
    let columns = answer.columns().map_err(Refusal::internal)?;
    let part = reply.partition(&rows, &columns).map_err(Refusal::internal)?;
    Ok((StatusCode::OK, part.into()))
}

/// The statement's answer, or that it is not done yet.
async fn react(
    statement: &Arc<Statement>,
    handle: Uuid,
    within: Duration,
    url: &UrlParameters,
    session: &Session,
    parts: &Parts,
) -> Result<Reaction, Refusal> {
    let reply = reply(statement, handle, url)?;
    let Some(outcome) = statement.watch(within).await else {
        return Ok((StatusCode::ACCEPTED, reply.running().into()));
    };
    let body = match rows::answer(statement, session).await {
        Ok(body) => body,
        Err(refusal) => {
            let body = failed(&refusal, Some(handle));
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, body));
        }
    };
    parts.answers.delivered(statement);
    let answer = Answer::decode(&body).map_err(Refusal::internal)?;
    if let Some((code, message)) = &outcome.error {
        let state: Option<String> = answer.get("sqlState").map_err(Refusal::internal)?;
        let state = state.unwrap_or_default();
        let body = rest::failed(code, &state, message, Some(handle));
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, body.into()));
    }
    let done = reply.done(&answer).map_err(|error| {
        let text =
            format_args!("the result cannot be given as the SQL REST API gives results: {error}");
        Refusal::new(Form::Failed, "FG-4003", text)
    })?;
    Ok((StatusCode::OK, done.into()))
}

/// The statement of the handle, if whoever asks is who ran it.
async fn find(
    request: &Request<'_>,
    handle: Uuid,
    parts: &Arc<Parts>,
) -> Result<(Arc<Statement>, Arc<Session>), Refusal> {
    let token = digest(bearer(request.headers)?);
    let principal = match parts.stateless.of(&token) {
        Some(session) => session.principal.clone(),
        // The token was renewed since: whose it is, the operator says.
        None => session(request, &Place::default(), parts).await?.principal.clone(),
    };
    let theirs = parts.sessions.all().into_iter();
    let theirs = theirs.filter(|session| session.stateless && session.principal == principal);
    let found = theirs.filter_map(|session| Some((session.by_id(handle)?, session))).next();
    let (statement, session) = found.ok_or_else(|| {
        Refusal::denied("FG-6005", "the handle is none of yours; use those that you were given")
    })?;
    session.touch();
    statement.seen();
    Ok((statement, session))
}

/// The session for the token and the place: the one that is open, or a new one.
async fn session(
    request: &Request<'_>,
    place: &Place,
    parts: &Arc<Parts>,
) -> Result<Arc<Session>, Refusal> {
    let token = bearer(request.headers)?;
    let key = (digest(token), place.clone());
    let slot = parts.stateless.slot(&key);
    let open = async || {
        let ruling = parts.first_ruling().await?;
        let login = LoginRequest::by_token(&ruling.connection.account, token, place);
        let user_agent = request.headers.get(header::USER_AGENT).cloned();
        let opened = parts.sessions.open(&login, user_agent, parts).await?;
        Ok::<_, Refusal>(Arc::downgrade(&opened.session))
    };
    let session = slot.get_or_try_init(open).await?.upgrade();
    // It ended between two lines: as if it had ended before the request.
    let session = session.ok_or_else(session::gone)?;
    session.touch();
    Ok(session)
}

impl Stateless {
    /// The slot of a session: empty where there is none, or none any more.
    fn slot(&self, key: &Key) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || open(slot).is_some());
        }
        let slot = slots.entry(key.clone()).or_default();
        if slot.initialized() && open(slot).is_none() {
            *slot = Slot::default();
        }
        Arc::clone(slot)
    }

    /// A session of the token, whatever its place.
    fn of(&self, token: &[u8; 32]) -> Option<Arc<Session>> {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = slots.iter().filter(|((known, _), _)| known == token);
        own.find_map(|(_, slot)| open(slot))
    }
}

/// The session of a slot, if it is open.
fn open(slot: &Slot) -> Option<Arc<Session>> {
    slot.get()?.upgrade().filter(|session| session.closing().is_none())
}

/// The bearer token; a key pair or a programmatic token would be the account's own, and none of those is here.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let refused = |what: fmt::Arguments<'_>| Refusal::new(Form::Login, "FG-1001", what);
    let kind = headers.get("x-snowflake-authorization-token-type").map(HeaderValue::as_bytes);
    if let Some(kind) = kind
        && !kind.eq_ignore_ascii_case(b"OAUTH")
        && !kind.eq_ignore_ascii_case(b"WORKLOAD_IDENTITY")
    {
        return Err(refused(format_args!(
            "send an identity token as the bearer, with X-Snowflake-Authorization-Token-Type: OAUTH; tokens of the \
             account itself are not taken"
        )));
    }
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.split_once(' ')).filter(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()
    });
    token.map(|(_, token)| token.trim()).ok_or_else(|| {
        refused(format_args!(
            "no bearer token: send Authorization: Bearer with a token of one of the connection's issuers, or with the \
             pod's ServiceAccount token"
        ))
    })
}

/// What an answer says of a statement, under the handle that it was asked for by: those that ran together have the
/// account's.
fn reply<'a>(
    statement: &'a Statement,
    handle: Uuid,
    url: &UrlParameters,
) -> Result<Reply<'a>, Refusal> {
    Ok(Reply {
        handle,
        request_id: &statement.request_id,
        created_ms: statement.started_ms,
        nullable: flag(url, "nullable", true)?,
    })
}

fn flag(url: &UrlParameters, name: &'static str, otherwise: bool) -> Result<bool, Refusal> {
    match url.get(name) {
        None => Ok(otherwise),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(parameter(name)),
    }
}

fn parameter(name: &str) -> Refusal {
    Refusal::malformed(&snowflake::Malformed::Parameter(name.to_owned()))
}

fn failed(refusal: &Refusal, handle: Option<Uuid>) -> Bytes {
    let (code, state) = refusal.wire();
    let message = match handle {
        Some(handle) => refusal.text(handle),
        None => super::refusal::one_line(&refusal.message),
    };
    rest::failed(code, state, &message, handle).into()
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
