//! Sessions and a restart of the sidecar: what is kept of one, and how it is brought back.
//!
//! A session comes back whole or it ends: at the account where its tokens are known, on its recording where that goes
//! on, and at the operator.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use recording::Fact;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::open::{RecordingKey, principal};
use super::{Session, Sessions, Ticket, Use};
use crate::living::{self, Change, Ended, Kept, Left, Secret, UnderWay};
use crate::operator::standing;
use crate::recorder::resume::{Interrupted, Resumed};
use crate::statement::{self, Statement};
use crate::telemetry::OutcomeLabels;
use crate::{Parts, RESTARTED, upstream};

impl Session {
    /// What a restart must know of it, from its beginning.
    pub(super) fn to_keep(&self, human: Option<control::Human>, recording_key: Secret) -> Kept {
        let (user_agent, upstream) = self.upstream.to_keep();
        Kept {
            id: self.id.clone(),
            connection: self.connection.clone(),
            human,
            role: self.role.clone(),
            stateless: self.stateless,
            count: self.count,
            number: self.number.as_ref().map(|number| number.get().to_owned()),
            tag: self.tag.clone(),
            opened_ms: self.opened_ms,
            renew_by_ms: self.renew_by(),
            recording_key,
            user: self.upstream.user.clone(),
            user_agent,
            upstream,
            state: (&self.state()).into(),
            tickets: VecDeque::new(),
            attempted: 0,
            given_up: Vec::new(),
            under_way: Vec::new(),
            ended: VecDeque::new(),
            ending: None,
        }
    }

    /// The recording of a session that was kept.
    pub(crate) fn interrupted(kept: &Kept) -> Option<Interrupted> {
        Some(Interrupted {
            session: kept.id.clone(),
            key: RecordingKey::of(kept.recording_key.clone())?.signing,
            attempted: kept.attempted,
            under_way: kept.under_way.iter().map(|it| it.identity.id.to_string()).collect(),
            given_up: kept.given_up.iter().cloned().collect(),
        })
    }

    /// Whether its session at the account belongs to this connection. What happened while the sidecar was away nobody
    /// told it, so one that was brought back is compared.
    pub(crate) fn belongs_to(&self, connection: &control::Connection) -> bool {
        let of = |it: &control::Connection| {
            (it.name.clone(), it.account.clone(), it.host.clone(), it.port)
        };
        !self.resumed || of(&self.connection) == of(connection)
    }

    fn take_back(&self, ended: &Ended) {
        let statement = Statement::of(ended);
        self.know(ended.identity.part.as_ref(), &statement);
        if let Some(query_id) = ended.query_id {
            self.also_known_as(query_id, &statement);
        }
    }

    fn know(&self, part: Option<&living::Part>, statement: &Arc<Statement>) {
        if let Some(query_id) = part.and_then(|part| part.query_id) {
            self.adopt(query_id, statement);
            return;
        }
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if part.is_none() {
            statements.by_request.insert(statement.request_id.clone(), Arc::clone(statement));
        }
        statements.by_id.insert(statement.id, Arc::clone(statement));
    }
}

impl Sessions {
    /// Brings back the sessions that the sidecar before this one left, and ends those that cannot go on.
    pub(crate) fn resume(left: Left, recordings: Vec<Resumed>, parts: &Arc<Parts>) {
        let sessions = &parts.sessions;
        for closed in left.closed {
            let closing = Arc::new(OnceLock::from(closed.reason));
            sessions.admit(closed.tickets, &Weak::new(), &closing);
        }
        let recordings = recordings.into_iter().map(|it| (it.recording.id().to_owned(), it));
        let mut recordings: HashMap<String, Resumed> = recordings.collect();
        for kept in left.sessions {
            let (id, ending) = (kept.id.clone(), kept.ending.clone());
            let recording = recordings.remove(&id);
            let outcome = match (sessions.bring_back(kept, recording, parts), ending) {
                (true, None) => "resumed",
                (true, Some(reason)) => {
                    if let Some(session) = sessions.by_id(&id) {
                        parts.close_later(&session, &reason);
                    }
                    "ended"
                }
                (false, ending) => {
                    let reason = ending.unwrap_or_else(|| RESTARTED.to_owned());
                    parts.untold().insert(id.clone(), reason);
                    "ended"
                }
            };
            tracing::info!(session = id, outcome, "a session of the sidecar before this one");
            parts.metrics.resumed.get_or_create(&OutcomeLabels { outcome }).inc();
        }
        parts.metrics.sessions.set(i64::try_from(sessions.all().len()).unwrap_or(i64::MAX));
    }

    /// Makes the session what it was; false where that cannot be, and then it is logged out.
    fn bring_back(&self, kept: Kept, recording: Option<Resumed>, parts: &Arc<Parts>) -> bool {
        let of = parts.living.of(&kept.id);
        let networks = standing::networks(&kept.connection).ok();
        let transport =
            networks.and_then(|networks| parts.transport(&kept.connection, networks).ok());
        let upstream = transport.map(|transport| {
            let setup = upstream::Setup {
                transport,
                settings: (parts.limits, parts.timings),
                metrics: parts.metrics.clone(),
                kept: of.clone(),
            };
            upstream::Session::resume(setup, kept.user.clone(), &kept.user_agent, &kept.upstream)
        });
        let (upstream, recording, opened) =
            match (upstream, recording, living::since(kept.opened_ms)) {
                (Some(upstream), Some(recording), Some(opened)) => (upstream, recording, opened),
                (upstream, _, _) => {
                    let reason = kept.ending.unwrap_or_else(|| RESTARTED.to_owned());
                    of.note(Change::Ending(reason.clone()));
                    self.admit(kept.tickets, &Weak::new(), &Arc::new(OnceLock::from(reason)));
                    if let Some(upstream) = upstream {
                        parts.statements.spawn(async move { upstream.logout().await });
                    }
                    return false;
                }
            };
        let session = Arc::new(Session {
            id: kept.id,
            principal: principal(kept.human.as_ref()),
            upstream,
            recording: recording.recording,
            kept: of,
            connection: kept.connection,
            resumed: true,
            role: kept.role,
            stateless: kept.stateless,
            count: kept.count,
            number: kept.number.and_then(|number| RawValue::from_string(number).ok()),
            tag: kept.tag,
            opened_ms: kept.opened_ms,
            opened,
            state: Mutex::new(kept.state.into()),
            statements: Mutex::default(),
            used: Mutex::new(Instant::now()),
            renew_by: Mutex::new(kept.renew_by_ms),
            closing: Arc::default(),
            ended: CancellationToken::new(),
        });
        self.admit(kept.tickets, &Arc::downgrade(&session), &session.closing);
        kept.ended.iter().for_each(|ended| session.take_back(ended));
        let identities = kept.ended.iter().map(|it| &it.identity);
        let identities = identities.chain(kept.under_way.iter().map(|it| &it.identity));
        let followed = identities.filter(|it| it.part.is_some()).map(|it| it.request_id.clone());
        let followed: HashSet<String> = followed.collect();
        self.write_open().insert(session.id.clone(), Arc::clone(&session));
        go_on(&session, kept.under_way, &followed, &recording.outcomes, parts);
        true
    }

    /// The agent's tokens, as far as their time is not over for long.
    fn admit(
        &self,
        tickets: VecDeque<living::Ticket>,
        session: &Weak<Session>,
        closing: &Arc<OnceLock<String>>,
    ) {
        let (now, now_ms) = (Instant::now(), crate::now_ms());
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        for living::Ticket { digest, renews, ends_ms } in tickets {
            let left = u64::try_from(ends_ms.saturating_sub(now_ms));
            let ends = match left {
                Ok(left) => now + Duration::from_millis(left),
                // It expired; that it was ours still tells its bearer to renew.
                Err(_) => match living::since(ends_ms) {
                    Some(ended) => ended,
                    None => continue,
                },
            };
            let use_for = if renews { Use::Renewal } else { Use::Statements };
            let (session, closing) = (Weak::clone(session), Arc::clone(closing));
            tokens.insert(digest.0, Ticket { session, closing, use_for, ends });
        }
    }
}

/// Goes on with the statements that were under way. One whose outcome is on record has ended.
fn go_on(
    session: &Arc<Session>,
    under_way: Vec<UnderWay>,
    followed: &HashSet<String>,
    outcomes: &BTreeMap<String, Fact>,
    parts: &Arc<Parts>,
) {
    for was in under_way {
        let (part, query_id) = (was.identity.part.clone(), was.query_id);
        if let Some(outcome) = outcomes.get(&was.identity.id.to_string()) {
            let ended = statement::resume::recorded(was, outcome);
            session.take_back(&ended);
            session.kept.note(Change::Ended(Box::new(ended)));
            continue;
        }
        let is_followed = followed.contains(&was.identity.request_id);
        let statement = statement::resume::go_on(was, is_followed, session, parts);
        session.know(part.as_ref(), &statement);
        if let Some(query_id) = query_id {
            session.also_known_as(query_id, &statement);
        }
    }
}
