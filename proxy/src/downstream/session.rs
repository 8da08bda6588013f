//! Sessions: found by their tokens, followed as they go, renewed, closed.
//!
//! An agent holds two random tokens per session and nothing else; everything they stand for stays here.

mod open;
mod resume;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use recording::Fact;
use recording::entry::{self, CredentialDropped};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use snowflake::Malformed;
use snowflake::decode::UrlParameters;
use snowflake::login::SessionInfo;
use snowflake::parameters::{Fate, Parameter, fate};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::refusal::{Form, Refusal};
use crate::Parts;
use crate::living;
use crate::recorder;
use crate::statement::Statement;
use crate::upstream;

/// Results of a session that other statements of it may read.
const RESULTS: usize = 256;

/// Digest of a token: what is kept of it.
type TokenDigest = [u8; 32];

/// Every session of the pod.
#[derive(Default)]
pub(crate) struct Sessions {
    tokens: RwLock<HashMap<TokenDigest, Ticket>>,
    open: RwLock<HashMap<String, Arc<Session>>>,
}

/// What a token stands for.
#[derive(Clone)]
struct Ticket {
    /// Nothing of a closed session stays in memory but why it was closed.
    session: Weak<Session>,
    closing: Arc<OnceLock<String>>,
    use_for: Use,
    ends: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Statements,
    Renewal,
}

/// One login of a driver, until it ends.
pub(crate) struct Session {
    /// Its id; it names the recording.
    pub(crate) id: String,
    /// Who asks, as policies see it.
    pub(crate) principal: policy::Principal,
    /// Its session at the account.
    pub(crate) upstream: upstream::Session,
    /// Its recording.
    pub(crate) recording: recorder::Session,
    /// What a restart must know of it.
    pub(crate) kept: living::Of,
    /// The connection that its session at the account belongs to.
    connection: control::Connection,
    /// The sidecar before this one opened it.
    resumed: bool,
    /// The role it was given; nothing changes it.
    pub(crate) role: String,
    /// It serves requests that know no session: nothing that they do may outlive them.
    pub(crate) stateless: bool,
    /// How many statements a text holds unless it says so itself; 0 for any number.
    pub(crate) count: u32,
    /// The account's number of the session.
    number: Option<Box<RawValue>>,
    /// The query tag that its driver gave all its statements.
    pub(crate) tag: Option<String>,
    /// When it opened, Unix milliseconds.
    pub(crate) opened_ms: i64,
    opened: Instant,
    /// What gives statements their meaning, from the account's answers.
    state: Mutex<sql::Session>,
    statements: Mutex<Statements>,
    used: Mutex<Instant>,
    /// When the operator wants to hear of it again, Unix milliseconds.
    renew_by: Mutex<i64>,
    /// Set once, with the reason.
    closing: Arc<OnceLock<String>>,
    /// Cancelled when it ends.
    pub(crate) ended: CancellationToken,
}

/// The statements of a session, by the ids a driver may name.
#[derive(Default)]
struct Statements {
    by_request: HashMap<String, Arc<Statement>>,
    by_id: HashMap<Uuid, Arc<Statement>>,
}

/// The tokens of a login or a renewal, for the agent alone.
pub(crate) struct Tokens {
    pub(crate) session: String,
    pub(crate) master: String,
}

impl Sessions {
    /// The session that a token speaks for. `polling` accepts a token whose hour ended during a wait.
    pub(crate) fn find(&self, token: Option<&str>, polling: bool) -> Result<Arc<Session>, Refusal> {
        let token = token.ok_or_else(gone)?;
        let ticket = self.ticket(token).filter(|ticket| ticket.use_for == Use::Statements);
        let ticket = ticket.ok_or_else(gone)?;
        if let Some(reason) = ticket.closing.get() {
            return Err(Refusal::new(
                Form::SessionGone,
                "FG-1004",
                format_args!("the session was closed ({reason}): log in again"),
            ));
        }
        if !polling && ticket.ends < Instant::now() {
            return Err(Refusal::new(Form::SessionExpired, "FG-1004", "the session token expired"));
        }
        let session = ticket.session.upgrade().ok_or_else(gone)?;
        session.touch();
        Ok(session)
    }

    /// New tokens for an open session, by its master token.
    pub(crate) fn renew(
        &self,
        master: Option<&str>,
        old: &str,
        parts: &Parts,
    ) -> Result<(Tokens, Option<Box<RawValue>>), Refusal> {
        let gone = || {
            Refusal::new(
                Form::MasterExpired,
                "FG-1004",
                "the session is closed, expired or unknown: log in again",
            )
        };
        let ticket = self.ticket(master.ok_or_else(gone)?).ok_or_else(gone)?;
        let open = ticket.use_for == Use::Renewal && ticket.closing.get().is_none();
        let same = self.ticket(old).is_some_and(|old| old.session.ptr_eq(&ticket.session));
        if !open || !same || ticket.ends < Instant::now() {
            return Err(gone());
        }
        let session = ticket.session.upgrade().ok_or_else(gone)?;
        session.touch();
        let left = parts.timings.session.saturating_sub(session.opened.elapsed());
        let tokens = self.issue(&session, parts.timings.session_token, left)?;
        Ok((tokens, session.number.clone()))
    }

    /// Forgets a session; gives false where somebody else is doing so.
    pub(crate) fn remove(&self, session: &Session) -> bool {
        let removed = self.write_open().remove(&session.id).is_some();
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        // Tokens of closed sessions are kept for a while, so that who uses them hears why; in bounded number.
        if tokens.len() > 10_000 {
            tokens.retain(|_, ticket| ticket.closing.get().is_none());
        }
        removed
    }

    /// Every open session.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().cloned().collect()
    }

    /// The open session of that id.
    pub(crate) fn by_id(&self, id: &str) -> Option<Arc<Session>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn write_open(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Arc<Session>>> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticket(&self, token: &str) -> Option<Ticket> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.get(&digest(token)).cloned()
    }

    fn issue(
        &self,
        session: &Arc<Session>,
        session_life: Duration,
        master_life: Duration,
    ) -> Result<Tokens, Refusal> {
        let issued = Tokens { session: random_token()?, master: random_token()? };
        let (now, now_ms) = (Instant::now(), crate::now_ms());
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        // A token that ended long ago needs no answer of its own any more.
        let day = Duration::from_secs(24 * 3600);
        tokens.retain(|_, ticket| now.saturating_duration_since(ticket.ends) < day);
        for (token, use_for, life) in [
            (&issued.session, Use::Statements, session_life),
            (&issued.master, Use::Renewal, master_life),
        ] {
            let ticket = Ticket {
                session: Arc::downgrade(session),
                closing: Arc::clone(&session.closing),
                use_for,
                ends: now + life,
            };
            let digest = digest(token);
            session.kept.note(living::Change::Ticket(living::Ticket {
                digest: recording::Digest(digest),
                renews: use_for == Use::Renewal,
                ends_ms: now_ms.saturating_add(milliseconds(life)),
            }));
            tokens.insert(digest, ticket);
        }
        Ok(issued)
    }
}

impl Session {
    /// The state in which a statement would run now.
    pub(crate) fn state(&self) -> sql::Session {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the state, and keeps what it became.
    fn change(&self, change: impl FnOnce(&mut sql::Session)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.kept.is_there().then(|| state.clone());
        change(&mut state);
        if before.is_some_and(|before| before != *state) {
            self.kept.note(living::Change::State((&*state).into()));
        }
    }

    /// Takes over where the account says the session stands.
    pub(crate) fn follow(&self, info: &SessionInfo) {
        let take = |field: &mut Option<String>, value: &Option<String>| {
            if value.is_some() {
                field.clone_from(value);
            }
        };
        self.change(|state| {
            take(&mut state.database, &info.database_name);
            take(&mut state.schema, &info.schema_name);
            take(&mut state.warehouse, &info.warehouse_name);
            take(&mut state.role, &info.role_name);
        });
    }

    /// Takes over parameters that change what names mean. Where one is seen changed, nothing is understood any more.
    pub(crate) fn follow_parameters(&self, parameters: &[Parameter]) {
        self.change(|state| {
            for Parameter { name, value } in parameters {
                let value = value.get().trim_matches('"').to_ascii_lowercase();
                match name.to_ascii_uppercase().as_str() {
                    "QUOTED_IDENTIFIERS_IGNORE_CASE" => state.ignore_case = value == "true",
                    "SEARCH_PATH" => {
                        let path: String = value.chars().filter(|c| !c.is_whitespace()).collect();
                        state.search_path = path != "$current,$public";
                    }
                    _ => {}
                }
            }
        });
    }

    /// Statements are about to run.
    pub(crate) fn about_to_run<'a>(&self, analyses: impl Iterator<Item = &'a sql::Analysis>) {
        self.change(|state| analyses.for_each(|analysis| state.begin(analysis)));
    }

    /// They ran.
    pub(crate) fn ran<'a>(&self, analyses: impl Iterator<Item = &'a sql::Analysis>) {
        self.change(|state| analyses.for_each(|analysis| state.end(analysis)));
    }

    /// From now on other statements may read the result of this one.
    pub(crate) fn read_by(&self, query_id: Uuid, earlier: Option<sql::Earlier>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let results = Arc::make_mut(&mut state.results);
        if let Some(earlier) = earlier {
            results.insert(query_id.to_string(), Arc::new(earlier));
        }
        // The account's ids begin with a time, so the first is the oldest.
        if results.len() > RESULTS {
            results.pop_first();
        }
    }

    /// Its state as records have it.
    pub(crate) fn recorded_state(state: &sql::Session) -> entry::State {
        entry::State {
            role: state.role.clone().unwrap_or_default(),
            warehouse: state.warehouse.clone(),
            database: state.database.clone(),
            schema: state.schema.clone(),
        }
    }

    /// The statement of a request id: the one that runs or ran, or the new one that `make` starts.
    pub(crate) fn statement(
        &self,
        request_id: &str,
        most: usize,
        make: impl FnOnce() -> Arc<Statement>,
    ) -> Result<Arc<Statement>, Refusal> {
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = statements.by_request.get(request_id) {
            return Ok(Arc::clone(known));
        }
        let running = statements.by_request.values().filter(|known| !known.is_done()).count();
        if running >= most {
            return Err(Refusal::denied(
                "FG-6002",
                format_args!(
                    "this session has {running} statements in flight; wait for some to end"
                ),
            ));
        }
        let statement = make();
        statements.by_request.insert(request_id.to_owned(), Arc::clone(&statement));
        statements.by_id.insert(statement.id, Arc::clone(&statement));
        Ok(statement)
    }

    /// A statement that no request of its own brought: the account calls it by this id, and so does the driver.
    pub(crate) fn adopt(&self, query_id: Uuid, statement: &Arc<Statement>) {
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        statements.by_request.insert(query_id.to_string(), Arc::clone(statement));
        statements.by_id.insert(statement.id, Arc::clone(statement));
        statements.by_id.insert(query_id, Arc::clone(statement));
    }

    /// The statement of this session with that request id.
    pub(crate) fn by_request(&self, request_id: &str) -> Option<Arc<Statement>> {
        let statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        statements.by_request.get(request_id).cloned()
    }

    /// The statement of this session with that id, ours or the account's.
    pub(crate) fn by_id(&self, id: Uuid) -> Option<Arc<Statement>> {
        let statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        statements.by_id.get(&id).cloned()
    }

    /// The account calls the statement by this id.
    pub(crate) fn also_known_as(&self, query_id: Uuid, statement: &Arc<Statement>) {
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        statements.by_id.entry(query_id).or_insert_with(|| Arc::clone(statement));
    }

    /// Whether the account calls it by this number.
    pub(crate) fn is_number(&self, number: &str) -> bool {
        self.number.as_ref().is_some_and(|own| own.get().trim_matches('"') == number)
    }

    /// Statements that are not done.
    pub(crate) fn running(&self) -> Vec<Arc<Statement>> {
        let statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        statements.by_request.values().filter(|known| !known.is_done()).cloned().collect()
    }

    /// Somebody used it.
    pub(crate) fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long nobody used it.
    pub(crate) fn idle(&self) -> Duration {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// How long it is open.
    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// When the operator must have heard of it, Unix milliseconds.
    pub(crate) fn renew_by(&self) -> i64 {
        *self.renew_by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operator has heard of it.
    pub(crate) fn renewed(&self, until_ms: i64) {
        *self.renew_by.lock().unwrap_or_else(PoisonError::into_inner) = until_ms;
    }

    /// Why it ends, if it does.
    pub(crate) fn closing(&self) -> Option<String> {
        self.closing.get().cloned()
    }

    /// Ends it for new requests; false where it is ending already.
    pub(crate) fn end(&self, reason: &str) -> bool {
        if self.closing.set(reason.to_owned()).is_err() {
            return false;
        }
        self.kept.note(living::Change::Ending(reason.to_owned()));
        for statement in self.running() {
            statement.cancel.cancel();
        }
        true
    }

    /// The entry that says its credential is gone.
    pub(crate) fn dropped(&self, reason: &str) -> Fact {
        Fact::CredentialDropped(CredentialDropped {
            user: self.upstream.user.clone(),
            reason: reason.to_owned(),
        })
    }
}

/// The refusal of whoever speaks for no open session.
pub(super) fn gone() -> Refusal {
    let text = "the session is closed, expired or unknown: log in again";
    Refusal::new(Form::SessionGone, "FG-1004", text)
}

/// The id that a request brought, or one of our own.
pub(super) fn request_id(url: &UrlParameters) -> Result<String, Refusal> {
    match url.get("requestId") {
        Some(id) if id.len() <= 128 => Ok(id.to_owned()),
        Some(_) => Err(Refusal::malformed(&Malformed::Parameter("requestId".into()))),
        None => Ok(Uuid::new_v4().to_string()),
    }
}

/// The refusal of a request id that came before with another meaning.
pub(super) fn reused() -> Refusal {
    let text = "the request id came before with another statement; use a fresh request id for each statement";
    Refusal::denied("FG-6004", text)
}

/// What becomes of the parameters that a client set.
pub(crate) struct Filtered {
    /// Those to pass on.
    pub(crate) passed: Vec<Parameter>,
    /// The names of those left out.
    pub(crate) stripped: Vec<String>,
    /// How many statements a text is to hold, 0 for any number, where the client says so.
    pub(crate) count: Option<u32>,
}

/// Sorts parameters. One that changes what a statement means is refused.
pub(crate) fn filter(parameters: &[Parameter]) -> Result<Filtered, Refusal> {
    let mut filtered = Filtered { passed: Vec::new(), stripped: Vec::new(), count: None };
    for parameter in parameters {
        match fate(&parameter.name, &parameter.value) {
            Fate::Passed => filtered.passed.push(parameter.clone()),
            Fate::Stripped => filtered.stripped.push(parameter.name.chars().take(128).collect()),
            Fate::Count(count) => filtered.count = Some(count),
            Fate::Refused => {
                return Err(Refusal::denied(
                    "FG-2008",
                    format_args!(
                        "the parameter {} changes what statements mean and is pinned; leave it out",
                        parameter.name
                    ),
                ));
            }
        }
    }
    Ok(filtered)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// 256 random bits, hexadecimal.
pub(crate) fn random_token() -> Result<String, Refusal> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Refusal::internal("there is no randomness"))?;
    Ok(bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}
