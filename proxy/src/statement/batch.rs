//! Several statements in one request: they are judged, approved and sent as one, and then each goes on as a statement
//! of its own, with its own record and its rows under its own masks.

use std::sync::Arc;
use std::time::Duration;

use policy::Effect;
use recording::entry::Attempted;
use sha2::{Digest as _, Sha256};
use snowflake::query::QueryRequest;
use tokio::time::Instant;
use uuid::Uuid;

use super::judge::{Judged, Verdict};
use super::{Ask, Statement};
use crate::Parts;
use crate::downstream::session::Session;

/// A statement that ran already, together with others in one request.
#[derive(Clone)]
pub(crate) struct Part {
    /// The account's id of it, under which its result lies.
    pub(crate) query_id: Uuid,
    /// What was decided before it ran.
    pub(crate) judged: Judged,
    /// It left the session where it stands.
    pub(crate) is_last: bool,
}

/// Lets the statements of a request go on, each by its own result, and waits until all of them are on record: who then
/// asks for one finds it, and the next statement is judged in the state that the last of them left.
pub(crate) async fn follow(
    ask: &Ask,
    whole: Judged,
    results: &[Uuid],
    session: &Arc<Session>,
    parts: &Arc<Parts>,
) {
    let last = results.len();
    let started: Vec<Arc<Statement>> = (1..)
        .zip(results.iter().zip(&whole.parts))
        .map(|(number, (query_id, (sql, analysis, decision)))| {
            let mut decision = decision.clone();
            // Whether it may run was settled for all of them together.
            decision.effect = Effect::Allow;
            let judged = Judged {
                analysis: analysis.clone(),
                verdict: Verdict::Decided(Box::new(decision)),
                ruling: whole.ruling.clone(),
                state: whole.state.clone(),
                binds: Vec::new(),
                digest: Attempted::digest_of(sql, &[], &whole.state),
                parts: Vec::new(),
                part_of: Some(ask.id),
            };
            let part = Part { query_id: *query_id, judged, is_last: number == last };
            let ask = Ask {
                id: Uuid::now_v7(),
                request_id: ask.request_id.clone(),
                request: QueryRequest { sql: sql.clone(), ..QueryRequest::default() },
                count: 1,
                part: Some(part),
                stripped: Vec::new(),
                accept: ask.accept.clone(),
                base: ask.base.clone(),
                traceparent: ask.traceparent.clone(),
                room: ask.room.clone(),
                since: Instant::now(),
                cancel: ask.cancel.child_token(),
            };
            let meaning = Sha256::digest(query_id.as_bytes()).into();
            let statement = Statement::start(ask, meaning, Arc::clone(session), Arc::clone(parts));
            session.adopt(*query_id, &statement);
            statement
        })
        .collect();
    for statement in started {
        // Each of them ends by its own deadlines.
        while statement.watch(Duration::from_secs(60)).await.is_none() {}
    }
}
