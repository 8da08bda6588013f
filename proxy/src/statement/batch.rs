//! Several statements in one request: they are judged, approved and sent as one, and then each goes on as a statement
//! of its own, with its own record and its rows under its own masks.

use std::sync::Arc;
use std::time::Duration;

use policy::Effect;
use recording::entry::Attempted;
use sha2::{Digest as _, Sha256};
use snowflake::query::{Answer, QueryRequest};
use snowflake::several;
use tokio::time::Instant;
use uuid::Uuid;

use super::judge::{Judged, Verdict};
use super::outcome::End;
use super::{Ask, Statement};
use crate::Parts;
use crate::downstream::refusal::{Form, Refusal};
use crate::downstream::session::Session;

/// A statement that was sent already, together with others in one request.
#[derive(Clone)]
pub(crate) struct Part {
    /// What became of it.
    pub(crate) fate: Fate,
    /// What was decided before it was sent.
    pub(crate) judged: Judged,
    /// It left the session where it stands.
    pub(crate) is_last: bool,
}

/// What became of a statement that was sent with others.
#[derive(Clone)]
pub(crate) enum Fate {
    /// It ran, and its result lies at the account under this id.
    Result(Uuid),
    /// The account had it, and it gave nothing.
    Sent(End),
    /// It did not run.
    NotRun(Refusal),
}

impl Fate {
    /// The account's id of it, where it has a result.
    pub(crate) fn query_id(&self) -> Option<Uuid> {
        match self {
            Self::Result(query_id) => Some(*query_id),
            Self::Sent(_) | Self::NotRun(_) => None,
        }
    }
}

/// Lets the statements of a request go on, each by its own result, and waits until all of them are on record: who then
/// asks for one finds it, and the next statement is judged in the state that the last of them left.
pub(crate) async fn follow(
    ask: &Ask,
    whole: &Judged,
    results: &[Uuid],
    session: &Arc<Session>,
    parts: &Arc<Parts>,
) {
    let fates = results.iter().map(|query_id| Fate::Result(*query_id)).collect();
    go_on(ask, whole, fates, session, parts).await;
}

/// Puts the statements of a request that failed on record, each with what became of it. The account's answer says how
/// far it came, where there is one.
pub(crate) async fn give_up(
    ask: &Ask,
    whole: &Judged,
    answer: Option<&[u8]>,
    end: &End,
    session: &Arc<Session>,
    parts: &Arc<Parts>,
) {
    let failed = answer.and_then(|answer| failed(ask, whole, answer));
    let fates = (0..whole.parts.len()).map(|number| fate(number, failed, answer.is_some(), end));
    go_on(ask, whole, fates.collect(), session, parts).await;
}

/// Which statement failed, as the account says.
fn failed(ask: &Ask, whole: &Judged, answer: &[u8]) -> Option<usize> {
    let message = Answer::decode(answer).ok()?.message?;
    let texts: Vec<&str> = whole.parts.iter().map(|(text, ..)| text.as_str()).collect();
    several::failed(&message, &ask.request.sql, &texts)
}

fn fate(number: usize, failed: Option<usize>, is_answered: bool, end: &End) -> Fate {
    let sent =
        |code, message: String| Fate::Sent(End::Unknown(Refusal::new(Form::Failed, code, message)));
    match (end, failed) {
        (End::Failed { .. }, Some(failed)) if number == failed => Fate::Sent(end.clone()),
        (End::Failed { .. }, Some(failed)) if number < failed => sent(
            "FG-4006",
            format!(
                "it ran, and statement {} of its request failed: no result is given",
                failed + 1
            ),
        ),
        (End::Failed { .. }, Some(failed)) => Fate::NotRun(Refusal::new(
            Form::Failed,
            "FG-4007",
            format_args!("it did not run, because statement {} of its request failed", failed + 1),
        )),
        (End::Failed { message, .. }, None) => sent(
            "FG-4004",
            format!(
                "its request failed, and the account does not say at which statement: {message}"
            ),
        ),
        // All of them ran; it is Frostgate that keeps the answer back.
        (End::Refused(refusal) | End::Cancelled(refusal), _) if is_answered => sent(
            "FG-4006",
            format!("it ran, and the answer to its request is kept back: {}", refusal.message),
        ),
        (End::Refused(refusal) | End::Cancelled(refusal), _) => Fate::NotRun(refusal.clone()),
        (End::Unknown(_), _) => Fate::Sent(end.clone()),
    }
}

/// Starts a statement for each part, and waits until all have ended.
async fn go_on(
    ask: &Ask,
    whole: &Judged,
    fates: Vec<Fate>,
    session: &Arc<Session>,
    parts: &Arc<Parts>,
) {
    let last = fates.len();
    let started: Vec<Arc<Statement>> = (1..)
        .zip(fates.into_iter().zip(&whole.parts))
        .map(|(number, (fate, (sql, analysis, decision)))| {
            let mut decision = decision.clone();
            // Whether it may run was settled for all of them together.
            decision.effect = Effect::Allow;
            let judged = Judged {
                analysis: analysis.clone(),
                verdict: Verdict::Decided(Box::new(decision)),
                ruling: whole.ruling.clone(),
                state: whole.state.clone(),
                stood: whole.stood.clone(),
                binds: Vec::new(),
                digest: Attempted::digest_of(sql, &[], &whole.state),
                parts: Vec::new(),
                part_of: Some(ask.id),
            };
            let query_id = fate.query_id();
            let part = Part { fate, judged, is_last: number == last };
            let ask = Ask {
                id: Uuid::now_v7(),
                request_id: ask.request_id.clone(),
                request: QueryRequest { sql: sql.clone(), ..QueryRequest::default() },
                count: 1,
                part: Some(part),
                resumed: None,
                stripped: Vec::new(),
                accept: ask.accept.clone(),
                base: ask.base.clone(),
                traceparent: ask.traceparent.clone(),
                room: ask.room.clone(),
                since: Instant::now(),
                cancel: ask.cancel.child_token(),
            };
            let meaning = Sha256::digest(query_id.unwrap_or(ask.id).as_bytes()).into();
            let statement = Statement::start(ask, meaning, Arc::clone(session), Arc::clone(parts));
            if let Some(query_id) = query_id {
                session.adopt(query_id, &statement);
            }
            statement
        })
        .collect();
    for statement in started {
        // Each of them ends by its own deadlines.
        while statement.watch(Duration::from_secs(60)).await.is_none() {}
    }
}
