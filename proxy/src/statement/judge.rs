//! Analyze and decide: what a statement is, and what becomes of it under the policy of this moment.

use std::sync::Arc;

use recording::Digest;
use recording::entry::{self, Attempted};
use sql::{Analysis, Effect, Form as SqlForm};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Ask, Statement};
use crate::Parts;
use crate::downstream::refusal::Refusal;
use crate::downstream::session::Session;
use crate::operator::standing::Ruling;

/// Rounds of asking for names: a view brings new ones.
const ROUNDS: usize = 12;
/// Texts above this are analyzed off the threads that serve.
const LONG: usize = 16 << 10;

/// A statement that was judged.
pub(crate) struct Judged {
    /// What it is.
    pub(crate) analysis: Analysis,
    /// What becomes of it.
    pub(crate) verdict: Verdict,
    /// Under which policy; absent where there is none.
    pub(crate) ruling: Option<Arc<Ruling>>,
    /// In which state of the session.
    pub(crate) state: entry::State,
    /// Its binds.
    pub(crate) binds: Vec<entry::Bind>,
    /// What an approval is bound to.
    pub(crate) digest: Digest,
}

/// What becomes of a statement.
pub(crate) enum Verdict {
    /// The policy decided.
    Decided(Box<policy::Decision>),
    /// It asks for the result of this earlier statement of the session, which is answered from here.
    Own(Arc<Statement>),
    /// It is refused whatever the policy says.
    Refused(Refusal),
}

/// Judges a statement now.
pub(crate) async fn judge(ask: &Ask, session: &Arc<Session>, parts: &Arc<Parts>) -> Judged {
    let started = Instant::now();
    let state = session.state();
    let (analysis, learned) = understand(ask, &state, session, parts).await;
    let binds: Vec<entry::Bind> = ask
        .request
        .binds
        .iter()
        .map(|bind| entry::Bind {
            name: bind.name.clone(),
            data_type: bind.data_type.clone(),
            value: bind.value.clone(),
        })
        .collect();
    let ruling = parts.ruling();
    let refused = refused(ask, &analysis, session, ruling.as_deref());
    let verdict = match (refused, &analysis.form, &ruling, learned) {
        (Err(refusal), ..) => Verdict::Refused(refusal),
        (Ok(()), SqlForm::ResultScan { query_id }, ..) => own(query_id, session),
        (Ok(()), _, Some(_), Err(refusal)) => Verdict::Refused(refusal),
        (Ok(()), _, Some(ruling), Ok(())) => {
            Verdict::Decided(Box::new(ruling.policy.decide(&policy::Request {
                principal: &session.principal,
                analysis: &analysis,
                session: &state,
                describe_only: ask.request.describe_only,
            })))
        }
        (Ok(()), _, None, _) => Verdict::Refused(no_policy()),
    };
    parts.metrics.phase("policy", started);
    let state = Session::recorded_state(&state);
    let digest = Attempted::digest_of(&ask.request.sql, &binds, &state);
    Judged { analysis, verdict, ruling, state, binds, digest }
}

/// Analyzes the text, asking for objects that are not known yet.
async fn understand(
    ask: &Ask,
    state: &sql::Session,
    session: &Session,
    parts: &Parts,
) -> (Analysis, Result<(), Refusal>) {
    let mut analysis = analyze(&ask.request.sql, state, parts).await;
    for _ in 0..ROUNDS {
        if analysis.missing.is_empty() {
            break;
        }
        let before = analysis.missing.clone();
        if let Err(error) = parts.catalog.learn(&parts.operator, &session.id, &before).await {
            let refusal = Refusal::denied(
                "FG-2012",
                format_args!(
                    "it cannot be looked up which columns {} has, so the statement cannot be judged: {error}",
                    before.first().map(ToString::to_string).unwrap_or_default()
                ),
            );
            return (analysis, Err(refusal));
        }
        analysis = analyze(&ask.request.sql, state, parts).await;
        if analysis.missing == before {
            break;
        }
    }
    (analysis, Ok(()))
}

async fn analyze(text: &str, state: &sql::Session, parts: &Parts) -> Analysis {
    let catalog = parts.catalog.known();
    if text.len() < LONG {
        return sql::analyze(text, state, &catalog);
    }
    let (owned, owned_state) = (text.to_owned(), state.clone());
    let work = move || sql::analyze(&owned, &owned_state, &catalog);
    match tokio::task::spawn_blocking(work).await {
        Ok(analysis) => analysis,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// What is refused before any policy is asked.
fn refused(
    ask: &Ask,
    analysis: &Analysis,
    session: &Session,
    ruling: Option<&Ruling>,
) -> Result<(), Refusal> {
    if ask.request.bind_stage.is_some() {
        return Err(Refusal::denied(
            "FG-6006",
            "binds on a stage cannot be judged or recorded; send fewer rows at once, so that the driver keeps them in \
             the request",
        ));
    }
    let lasts = matches!(analysis.effect, Effect::Session | Effect::Transaction);
    if session.stateless && (lasts || analysis.temporary) {
        return Err(Refusal::denied(
            "FG-6006",
            "requests to the SQL REST API know no session, so nothing that lasts in one is taken (USE, SET, ALTER SESSION, \
             transactions, temporary objects); name role, warehouse, database and schema in the request, or use a driver",
        ));
    }
    ruling.ok_or_else(no_policy)?.in_force()
}

fn no_policy() -> Refusal {
    Refusal::denied(
        "FG-1005",
        "no policy has come from the operator yet; try again when it is reachable",
    )
}

/// The session's own earlier statement.
fn own(query_id: &str, session: &Session) -> Verdict {
    let found = Uuid::try_parse(query_id).ok().and_then(|id| session.by_id(id));
    match found {
        Some(statement) => Verdict::Own(statement),
        None => Verdict::Refused(Refusal::denied(
            "FG-6005",
            "the query id is not one of this session; use ids that this session returned",
        )),
    }
}
