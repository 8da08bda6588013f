//! A statement and a restart of the sidecar: what is kept of it on its way, and how it goes on.
//!
//! ```text
//! not sent          judged and held as any other, under the attempt that is on record
//! sent              asked for under its own request id, by which the account executes it once; or by the account's id
//! cannot be asked   ends as *outcome unknown*
//! ended             known, so that its request id never runs again
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use recording::{Digest, Fact};
use snowflake::monitoring::State;
use snowflake::query::QueryRequest;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::judge::{Judged, Verdict};
use super::outcome::{End, Outcome};
use super::{Ask, Statement};
use crate::Parts;
use crate::downstream::refusal::{Form, Refusal};
use crate::downstream::session::Session;
use crate::living::{self, Change, Ended, Identity, UnderWay, Word};

/// A request above this is not kept: a statement that was under way with it ends with the restart.
const REQUEST: usize = 64 << 10;
/// An answer above this is not kept.
const ANSWER: usize = 32 << 10;

/// How far a statement had come when the sidecar before this one ended.
pub(crate) struct Resumed {
    started_ms: i64,
    meaning: [u8; 32],
    /// What its attempt says.
    digest: Digest,
    /// Why it is not known well enough to go on, where it is not.
    cut: Option<&'static str>,
    /// It ran already, together with others.
    is_part: bool,
    /// The statements that were sent in it are on record, each by itself.
    is_followed: bool,
    /// How often it was sent, and when last.
    sent: u32,
    sent_ms: i64,
    /// In which state it was judged before it was sent.
    stood: Option<sql::Session>,
    query_id: Option<Uuid>,
}

impl Resumed {
    /// How often it was sent.
    pub(super) fn sent(&self) -> u32 {
        self.sent
    }

    /// When it came, Unix milliseconds.
    pub(super) fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// The account's id of it, where it said that it runs.
    pub(super) fn query_id(&self) -> Option<Uuid> {
        self.query_id
    }

    /// The state in which it is to be judged, where that is not the session's of this moment.
    pub(super) fn stood(&self) -> Option<&sql::Session> {
        self.stood.as_ref().filter(|_| self.sent > 0)
    }

    /// Whether the statements that were sent in it have not been told what became of them.
    pub(super) fn is_to_be_followed(&self) -> bool {
        self.sent > 0 && !self.is_followed
    }

    /// Why it cannot go on under what is judged now, if it cannot.
    pub(super) fn end(&self, ask: &Ask, judged: &Judged, within: Duration) -> Option<End> {
        let is_same = judged.digest == self.digest;
        if self.sent == 0 && !self.is_part {
            return (self.cut.is_some() || !is_same).then(|| End::Refused(given_up()));
        }
        let age = crate::now_ms().saturating_sub(self.sent_ms);
        let is_late = u128::try_from(age).is_ok_and(|age| age > within.as_millis());
        let may_pass = matches!(
            &judged.verdict, Verdict::Decided(decision) if decision.effect != policy::Effect::Deny
        );
        let why = if let Some(why) = self.cut {
            why
        } else if ask.count != 1 {
            "it held several statements"
        } else if self.query_id.is_none() && is_late {
            "the account may no longer know its request id"
        } else if !is_same || !may_pass {
            "the policy of now does not let its answer pass"
        } else {
            return None;
        };
        Some(End::Unknown(unknown(why)))
    }
}

fn given_up() -> Refusal {
    let text =
        "the sidecar restarted before the statement was sent; run it again under a new request id";
    Refusal::denied("FG-9001", text)
}

fn unknown(why: &str) -> Refusal {
    let text = format_args!(
        "the sidecar restarted after the statement was sent, and its outcome is unknown: {why}. Look into the query \
         history before running it again."
    );
    Refusal::new(Form::Failed, "FG-4004", text)
}

/// Keeps that it is on record: from now on its request id means this statement.
pub(super) fn began(ask: &Ask, meaning: &[u8; 32], judged: &Judged, session: &Session) {
    if !session.kept.is_there() {
        return;
    }
    let request = String::from_utf8(ask.request.keep()).ok();
    let statement = UnderWay {
        identity: identity(ask, *meaning, crate::now_ms()),
        request: request.filter(|request| request.len() <= REQUEST),
        count: ask.count,
        stripped: ask.stripped.clone(),
        accept: ask.accept.to_str().unwrap_or_default().to_owned(),
        base: ask.base.clone(),
        traceparent: ask.traceparent.clone(),
        digest: judged.digest,
        sent: 0,
        sent_ms: 0,
        stood: None,
        query_id: None,
        answer: None,
    };
    session.kept.note(Change::Began(Box::new(statement)));
}

/// Keeps that it is about to leave the pod.
pub(super) fn sent(ask: &Ask, times: u32, judged: &Judged, session: &Session) {
    let at_ms = crate::now_ms();
    let stood = (times == 1).then(|| (&judged.stood).into());
    session.kept.note(Change::Sent { statement: ask.id, times, at_ms, stood });
}

/// Keeps what its answer is going to be, before its outcome is on record.
pub(super) fn answers(ask: &Ask, meaning: &[u8; 32], outcome: &mut Outcome, session: &Session) {
    if !session.kept.is_there() {
        return;
    }
    let started_ms = ask.resumed.as_ref().map_or(outcome.ended_ms, Resumed::started_ms);
    session.kept.note(Change::Answers(Box::new(to_keep(ask, *meaning, started_ms, outcome))));
    outcome.is_kept = true;
}

/// Keeps that it ended, and how unless that is kept.
pub(super) fn ended(statement: &Statement, ask: &Ask, outcome: &Outcome, session: &Session) {
    if !session.kept.is_there() {
        return;
    }
    let change = if outcome.is_kept {
        Change::Settled { statement: ask.id, started_ms: statement.started_ms }
    } else {
        let (meaning, started_ms) = (statement.meaning, statement.started_ms);
        Change::Ended(Box::new(to_keep(ask, meaning, started_ms, outcome)))
    };
    session.kept.note(change);
}

fn to_keep(ask: &Ask, meaning: [u8; 32], started_ms: i64, outcome: &Outcome) -> Ended {
    let body = (outcome.body.len() <= ANSWER).then(|| String::from_utf8(outcome.body.to_vec()));
    Ended {
        identity: identity(ask, meaning, started_ms),
        word: match outcome.state {
            State::Success => Word::Success,
            State::Running | State::Failed => Word::Failed,
            State::Aborted => Word::Aborted,
        },
        error: outcome.error.clone(),
        query_id: outcome.query_id,
        ended_ms: outcome.ended_ms,
        body: body.and_then(Result::ok),
    }
}

fn identity(ask: &Ask, meaning: [u8; 32], started_ms: i64) -> Identity {
    Identity {
        id: ask.id,
        request_id: ask.request_id.clone(),
        meaning: Digest(meaning),
        started_ms,
        asynchronous: ask.request.asynchronous,
        part: ask.part.as_ref().map(|part| living::Part { query_id: part.fate.query_id() }),
    }
}

/// Waits until there is a policy to judge with; a statement that was sent is worth waiting for.
pub(super) async fn wait(ask: &Ask, parts: &Parts) {
    let policy = async {
        while parts.ruling().is_none() {
            // Each wait ends by itself.
            let _ = parts.first_ruling().await;
        }
    };
    tokio::select! {
        () = policy => {}
        () = ask.cancel.cancelled() => {}
        () = tokio::time::sleep(parts.timings.detached) => {}
    }
}

/// Goes on with a statement that was under way.
pub(crate) fn go_on(
    kept: UnderWay,
    is_followed: bool,
    session: &Arc<Session>,
    parts: &Arc<Parts>,
) -> Arc<Statement> {
    let limits = &parts.limits.message;
    let request = kept.request.and_then(|it| QueryRequest::decode(it.as_bytes(), limits).ok());
    let Identity { id, request_id, meaning, started_ms, asynchronous, part } = kept.identity;
    let cut = match (&request, &part) {
        (_, Some(_)) => Some("it ran together with others"),
        (None, None) => Some("its request was too large to be kept"),
        (Some(_), None) => None,
    };
    let resumed = Resumed {
        started_ms,
        meaning: meaning.0,
        digest: kept.digest,
        cut,
        is_part: part.is_some(),
        is_followed,
        sent: kept.sent,
        sent_ms: kept.sent_ms,
        stood: kept.stood.map(Into::into),
        query_id: kept.query_id,
    };
    let empty = QueryRequest { asynchronous, ..QueryRequest::default() };
    let meaning = resumed.meaning;
    let ask = Ask {
        id,
        request_id,
        request: request.unwrap_or(empty),
        count: kept.count,
        part: None,
        resumed: Some(resumed),
        stripped: kept.stripped,
        accept: HeaderValue::from_str(&kept.accept)
            .unwrap_or(HeaderValue::from_static("application/snowflake")),
        base: kept.base,
        traceparent: kept.traceparent,
        room: None,
        since: Instant::now(),
        cancel: CancellationToken::new(),
    };
    Statement::start(ask, meaning, Arc::clone(session), Arc::clone(parts))
}

/// A statement that was under way, and whose outcome was on record before the sidecar ended.
pub(crate) fn recorded(was: UnderWay, outcome: &Fact) -> Ended {
    let UnderWay { identity, answer, .. } = was;
    let is_well = matches!(outcome, Fact::Completed(_));
    if let Some(answer) = answer.filter(|answer| (answer.word == Word::Success) == is_well) {
        return answer;
    }
    let (word, error, query_id) = match outcome {
        Fact::Completed(it) => (Word::Success, None, Uuid::try_parse(&it.query_id).ok()),
        Fact::Refused(it) => (Word::Failed, Some((it.code.clone(), it.message.clone())), None),
        Fact::Failed(it) => (
            Word::Failed,
            Some((it.code.clone(), it.message.clone())),
            it.query_id.as_deref().and_then(|id| Uuid::try_parse(id).ok()),
        ),
        _ => (Word::Failed, None, None),
    };
    let ended_ms = crate::now_ms();
    Ended { identity, word, error, query_id, ended_ms, body: None }
}

impl Statement {
    /// A statement that ended before the sidecar started again.
    pub(crate) fn of(ended: &Ended) -> Arc<Self> {
        let Ended { identity, word, error, query_id, ended_ms, body } = ended;
        let outcome = Outcome {
            body: Bytes::new(),
            state: match word {
                Word::Success => State::Success,
                Word::Failed => State::Failed,
                Word::Aborted => State::Aborted,
            },
            error: error.clone(),
            query_id: *query_id,
            ended_ms: *ended_ms,
            again: None,
            is_kept: true,
        };
        let body = body.clone().map(Bytes::from);
        Arc::new(Self::ended(identity, outcome, body))
    }
}
