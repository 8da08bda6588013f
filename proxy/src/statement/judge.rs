//! Analyze and decide: what a statement is, and what becomes of it under the policy of this moment.

use std::borrow::Cow;
use std::sync::Arc;

use recording::Digest;
use recording::entry::{self, Attempted};
use sql::{Analysis, Effect, Form as SqlForm};
use tokio::time::Instant;
use uuid::Uuid;

use super::resume::Resumed;
use super::{Ask, Statement};
use crate::Parts;
use crate::downstream::refusal::{Form, Refusal};
use crate::downstream::session::Session;
use crate::operator::standing::Ruling;

/// Rounds of asking for names: a view brings new ones.
const ROUNDS: usize = 12;
/// Texts above this are analyzed off the threads that serve, one at a time.
const LONG: usize = 16 << 10;

/// A statement that was judged.
#[derive(Clone)]
pub(crate) struct Judged {
    /// What it is.
    pub(crate) analysis: Analysis,
    /// What becomes of it.
    pub(crate) verdict: Verdict,
    /// Under which policy; absent where there is none.
    pub(crate) ruling: Option<Arc<Ruling>>,
    /// In which state of the session, as records have it.
    pub(crate) state: entry::State,
    /// And as it was judged.
    pub(crate) stood: sql::Session,
    /// Its binds.
    pub(crate) binds: Vec<entry::Bind>,
    /// What an approval is bound to.
    pub(crate) digest: Digest,
    /// The statements in it and what was decided of each, where there are several.
    pub(crate) parts: Vec<(String, Analysis, policy::Decision)>,
    /// The statement that it was sent in, where that held several.
    pub(crate) part_of: Option<Uuid>,
}

impl Judged {
    /// What each statement in it is.
    pub(crate) fn analyses(&self) -> impl Iterator<Item = &Analysis> {
        let lone = self.parts.is_empty().then_some(&self.analysis);
        self.parts.iter().map(|(_, analysis, _)| analysis).chain(lone)
    }

    /// Its text without the secrets in it: what records and approvers are shown.
    pub(crate) fn shown<'a>(&self, ask: &'a Ask) -> Cow<'a, str> {
        sql::without_secrets(&ask.request.sql, &self.analysis)
    }

    /// The kinds of the statements in it, each to be counted once: what was sent together was counted then.
    pub(crate) fn counted(&self) -> Vec<sql::Word> {
        let kinds = self.analyses().map(|analysis| analysis.word);
        kinds.filter(|_| self.part_of.is_none()).collect()
    }

    /// How many statements there are in it.
    pub(crate) fn statements(&self) -> usize {
        self.parts.len().max(1)
    }
}

/// What becomes of a statement.
#[derive(Clone)]
pub(crate) enum Verdict {
    /// The policy decided.
    Decided(Box<policy::Decision>),
    /// It asks for the result of this earlier statement of the session, which is answered from here.
    Own(Arc<Statement>),
    /// It ends these earlier statements of the session, which is done from here.
    Cancel(Vec<Arc<Statement>>),
    /// It is refused whatever the policy says.
    Refused(Refusal),
}

/// Judges a statement now.
pub(crate) async fn judge(ask: &Ask, session: &Arc<Session>, parts: &Arc<Parts>) -> Judged {
    if let Some(part) = &ask.part {
        return part.judged.clone();
    }
    let started = Instant::now();
    let resumed = ask.resumed.as_ref().and_then(Resumed::stood);
    let stood = resumed.cloned().unwrap_or_else(|| session.state());
    let mut state = stood.clone();
    let texts = texts(ask);
    let (mut analyses, mut learned) = (Vec::new(), Ok(()));
    for text in texts.as_deref().unwrap_or(&[&ask.request.sql]) {
        let (analysis, known) = understand(text, &state, session, parts).await;
        // The next one reads the variables that this one sets.
        state.variables.follow(&analysis);
        analyses.push(analysis);
        learned = learned.and(known);
    }
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
    // After a restart sessions are there before the first policy is.
    let ruling = parts.first_ruling().await.ok();
    let refused = refused(ask, &analyses, session, ruling.as_deref());
    let requests: Vec<policy::Request<'_>> = analyses
        .iter()
        .map(|analysis| policy::Request {
            principal: &session.principal,
            analysis,
            session: &state,
            describe_only: ask.request.describe_only,
        })
        .collect();
    let mut judged_parts = Vec::new();
    let verdict = match (refused, &ruling, &*requests) {
        (Err(refusal), ..) => Verdict::Refused(refusal),
        (Ok(()), None, _) => Verdict::Refused(no_policy()),
        (Ok(()), Some(ruling), requests) => match (&texts, learned, requests) {
            (Err(refusal), ..) => Verdict::Refused(refusal.clone()),
            (_, _, [lone]) if let SqlForm::ResultScan { query_id } = &lone.analysis.form => {
                own(query_id, session, Verdict::Own)
            }
            (_, _, [lone]) if let SqlForm::CancelQuery { query_id } = &lone.analysis.form => {
                own(query_id, session, |statement| Verdict::Cancel(vec![statement]))
            }
            (_, _, [lone]) if let SqlForm::CancelAll { session: number } = &lone.analysis.form => {
                all(number, ask, session)
            }
            (_, Err(refusal), _) => Verdict::Refused(refusal),
            (_, Ok(()), [lone]) => Verdict::Decided(Box::new(ruling.policy.decide(lone))),
            (Ok(texts), Ok(()), several) => {
                let (whole, decisions) = ruling.policy.decide_together(several);
                judged_parts = texts
                    .iter()
                    .zip(&analyses)
                    .zip(decisions)
                    .map(|((text, analysis), decision)| {
                        ((*text).to_owned(), analysis.clone(), decision)
                    })
                    .collect();
                Verdict::Decided(Box::new(whole))
            }
        },
    };
    let analysis = match <[Analysis; 1]>::try_from(analyses) {
        Ok([lone]) => lone,
        Err(several) => Analysis::together(&several)
            .unwrap_or_else(|| sql::analyze("", &state, &parts.catalog.known())),
    };
    parts.metrics.phase("policy", started);
    let state = Session::recorded_state(&state);
    let digest = Attempted::digest_of(&ask.request.sql, &binds, &state);
    Judged {
        analysis,
        verdict,
        ruling,
        state,
        stood,
        binds,
        digest,
        parts: judged_parts,
        part_of: None,
    }
}

/// The statements of the text, as many as the driver says. One that says nothing of several brings one, and what is
/// read of it then says whether it is.
fn texts(ask: &Ask) -> Result<Vec<&str>, Refusal> {
    let whole = ask.request.sql.as_str();
    if ask.count == 1 {
        return Ok(vec![whole]);
    }
    let texts = sql::split(whole).map_err(|problem| {
        Refusal::denied(
            "FG-2001",
            format_args!("the statements are not understood: {}", problem.message),
        )
    })?;
    match (texts.len(), ask.count as usize) {
        (0 | 1, 0) => Ok(vec![whole]),
        (counted, wanted) if counted == wanted || wanted == 0 => Ok(texts),
        (counted, wanted) => Err(Refusal::new(
            Form::StatementCount,
            "FG-2011",
            format_args!(
                "Actual statement count {counted} did not match the desired statement count {wanted}."
            ),
        )),
    }
}

/// Analyzes the text, asking for objects that are not known yet.
async fn understand(
    text: &str,
    state: &sql::Session,
    session: &Session,
    parts: &Parts,
) -> (Analysis, Result<(), Refusal>) {
    let mut analysis = analyze(text, state, parts).await;
    for _ in 0..ROUNDS {
        let before = analysis.asks();
        if before.is_empty() {
            break;
        }
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
        analysis = analyze(text, state, parts).await;
        if analysis.asks() == before {
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
    let known = catalog.clone();
    match parts.analyst.run(move || sql::analyze(&owned, &owned_state, &known)).await {
        Ok(analysis) => analysis,
        Err(error) => {
            tracing::error!(%error, "a long text is analyzed on a thread that serves");
            sql::analyze(text, state, &catalog)
        }
    }
}

/// What is refused before any policy is asked.
fn refused(
    ask: &Ask,
    analyses: &[Analysis],
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
    let lasts = |analysis: &Analysis| {
        analysis.temporary || matches!(analysis.effect, Effect::Session | Effect::Transaction)
    };
    if session.stateless && analyses.iter().any(lasts) {
        return Err(Refusal::denied(
            "FG-6006",
            "requests to the SQL REST API know no session, so nothing that lasts in one is taken (USE, SET, ALTER SESSION, \
             transactions, temporary objects); name role, warehouse, database and schema in the request, or use a driver",
        ));
    }
    let ruling = ruling.ok_or_else(no_policy)?;
    if !session.belongs_to(&ruling.connection) {
        return Err(Refusal::new(
            Form::SessionGone,
            "FG-1004",
            "the SnowflakeConnection has changed since the session opened: log in again",
        ));
    }
    ruling.in_force()
}

fn no_policy() -> Refusal {
    Refusal::denied(
        "FG-1005",
        "no policy has come from the operator yet; try again when it is reachable",
    )
}

/// What is done with the session's own earlier statement.
fn all(number: &str, ask: &Ask, session: &Session) -> Verdict {
    if !session.is_number(number) {
        return Verdict::Refused(Refusal::denied(
            "FG-6005",
            "the number is not that of this session; only its own statements can be ended",
        ));
    }
    let others = session.running().into_iter().filter(|statement| statement.id != ask.id);
    Verdict::Cancel(others.collect())
}

fn own(query_id: &str, session: &Session, then: fn(Arc<Statement>) -> Verdict) -> Verdict {
    let found = Uuid::try_parse(query_id).ok().and_then(|id| session.by_id(id));
    match found {
        Some(statement) => then(statement),
        None => Verdict::Refused(Refusal::denied(
            "FG-6005",
            "the query id is not one of this session; use ids that this session returned",
        )),
    }
}
