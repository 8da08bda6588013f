//! Waiting for a human: hold, ask, and trust nothing but the signed grant.

use std::sync::Arc;
use std::time::Duration;

use control::approval::{Demand, GRANT_CONTEXT};
use control::{ApprovalAsk, Grant, Outcome, SignedGrant, Verdict as Human};
use recording::Signed;
use recording::entry::{Approved, Approver, Denied, Held, Undecided};
use sql::Access;
use tokio::time::Instant;

use super::Ask;
use super::judge::{self, Judged, Verdict};
use super::origin::Origin;
use super::outcome::{End, cancelled};
use crate::Parts;
use crate::downstream::refusal::Refusal;
use crate::downstream::session::Session;
use crate::operator::CallError;
use crate::operator::standing::Ruling;
use crate::recorder::Attempt;

/// How often the question is asked again: a verdict that was pushed while the stream was down is in the answer.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// After its end a request gets this long for the verdict to arrive.
const GRACE_MS: i64 = 30_000;

/// Lets an allowed statement through, refuses a denied one, and holds one that needs a human until there is a verdict.
/// What comes out is judged again: hours may have passed.
pub(crate) async fn wait(
    ask: &Ask,
    judged: Judged,
    origin: Option<Origin>,
    attempt: &Attempt,
    session: &Arc<Session>,
    parts: &Arc<Parts>,
) -> Result<Judged, End> {
    let decision = match &judged.verdict {
        Verdict::Decided(decision) => decision,
        Verdict::Own(_) | Verdict::Cancel(_) => return Ok(judged),
        Verdict::Refused(refusal) => return Err(End::Refused(refusal.clone())),
    };
    match decision.effect {
        policy::Effect::Allow => return Ok(judged),
        policy::Effect::Deny => return Err(End::Refused(denied(decision))),
        policy::Effect::Hold => {}
    }
    parts.metrics.held.inc();
    let started = Instant::now();
    let question = question(ask, &judged, origin.as_ref());
    let verdict = hold(ask, question, attempt, session, parts).await;
    parts.metrics.held.dec();
    parts.metrics.phase("hold", started);
    let grant = verdict?;

    let again = judge::judge(ask, session, parts).await;
    let ruling = again.ruling.clone().or(judged.ruling.clone());
    let opened = ruling.as_deref().and_then(|ruling| open(&grant, ruling));
    let Some(granted) = opened.filter(|granted| fits(granted, ask, session, &again)) else {
        return Err(End::Refused(Refusal::denied(
            "FG-3005",
            "the grant does not fit the statement: it was made for other SQL, another session state or another \
             session, or its time is over",
        )));
    };
    attempt
        .approved(Approved {
            statement: String::new(),
            request: granted.request,
            by: granted.approvers.iter().map(approver).collect(),
            grant: Signed { payload: grant.payload, signature: grant.signature },
        })
        .await
        .map_err(|error| End::Refused(Refusal::unrecorded(&error)))?;
    match &again.verdict {
        Verdict::Decided(decision) if decision.effect != policy::Effect::Deny => Ok(again),
        Verdict::Decided(decision) => Err(End::Refused(denied(decision))),
        Verdict::Refused(refusal) => Err(End::Refused(refusal.clone())),
        Verdict::Own(_) | Verdict::Cancel(_) => {
            Err(End::Refused(Refusal::internal("the statement became another")))
        }
    }
}

fn denied(decision: &policy::Decision) -> Refusal {
    match &decision.refusal {
        Some(refusal) => Refusal::from(refusal),
        None => Refusal::denied("FG-2013", "the policy refuses it without a reason"),
    }
}

/// Asks, and waits for the verdict.
async fn hold(
    ask: &Ask,
    question: ApprovalAsk,
    attempt: &Attempt,
    session: &Arc<Session>,
    parts: &Arc<Parts>,
) -> Result<SignedGrant, End> {
    let statement = ask.id.to_string();
    let mut waiting = parts.operator.wait_for(&statement);
    let mut held: Option<Held> = None;
    let first_asked = Instant::now();
    loop {
        let asked = tokio::select! {
            asked = parts.operator.ask_approval(&session.id, &statement, &question) => asked,
            () = ask.cancel.cancelled() => return Err(give_up(held, attempt, session, parts, ask).await),
        };
        let pushed = match asked {
            Ok(state) => {
                if held.is_none() {
                    let note = Held {
                        statement: statement.clone(),
                        request: state.request.clone(),
                        demands: question
                            .demands
                            .iter()
                            .map(|demand| format!("{} {}", demand.policy, demand.rule))
                            .collect(),
                        expires_at_ms: state.expires_at_ms,
                    };
                    let noted = attempt.held(note.clone()).await;
                    noted.map_err(|error| End::Refused(Refusal::unrecorded(&error)))?;
                    tracing::info!(
                        statement,
                        request = note.request,
                        "a statement waits for a human"
                    );
                    held = Some(note);
                }
                state.verdict
            }
            Err(error) if !error.is_temporary() => {
                let refusal = match error {
                    CallError::Refused(problem) => {
                        Refusal::problem(crate::downstream::refusal::Form::Denied, &problem)
                    }
                    error @ CallError::Unreachable(_) => Refusal::denied("FG-3001", error),
                };
                return Err(End::Refused(refusal));
            }
            // Nobody knows of the question yet: it can be refused as long as it was never asked.
            Err(error) if held.is_none() && first_asked.elapsed() > parts.timings.operator => {
                return Err(End::Refused(Refusal::denied(
                    "FG-3001",
                    format_args!("it needs a human's approval and nobody can be asked: {error}"),
                )));
            }
            Err(error) => {
                tracing::warn!(%error, statement, "the operator could not be asked; asking again");
                None
            }
        };
        let verdict = match pushed {
            Some(verdict) => Some(verdict),
            None => {
                let pause = if held.is_some() { ASK_AGAIN } else { Duration::from_secs(1) };
                tokio::select! {
                    verdict = waiting.verdict() => verdict,
                    () = tokio::time::sleep(pause) => None,
                    () = ask.cancel.cancelled() => return Err(give_up(held, attempt, session, parts, ask).await),
                }
            }
        };
        if let Some(verdict) = verdict {
            return settle(verdict, attempt).await;
        }
        let overdue = |held: &Held| crate::now_ms() > held.expires_at_ms + GRACE_MS;
        if held.as_ref().is_some_and(overdue) {
            let request = held.map(|held| held.request).unwrap_or_default();
            return settle(Human { request, outcome: Outcome::Expired }, attempt).await;
        }
    }
}

/// The agent gave up: the question is taken back, and the statement never runs.
async fn give_up(
    held: Option<Held>,
    attempt: &Attempt,
    session: &Session,
    parts: &Parts,
    ask: &Ask,
) -> End {
    if let Some(held) = held {
        let undecided = Undecided { request: held.request, ..Undecided::default() };
        if let Err(error) = attempt.withdrawn(undecided).await {
            return End::Refused(Refusal::unrecorded(&error));
        }
        if let Err(error) = parts.operator.withdraw(&session.id, &ask.id.to_string()).await {
            tracing::warn!(%error, "the operator was not told that a request is withdrawn");
        }
    }
    End::Cancelled(cancelled())
}

/// A verdict becomes a grant or the one error.
async fn settle(verdict: Human, attempt: &Attempt) -> Result<SignedGrant, End> {
    let Human { request, outcome } = verdict;
    let (noted, refusal) = match outcome {
        Outcome::Approved { grant } => return Ok(grant),
        Outcome::Denied { by } => {
            let refusal = Refusal::denied(
                "FG-3002",
                format_args!("{} denied it: {} (request {request})", by.name, reason(&by.reason)),
            );
            let by = approver(&by);
            (attempt.denied(Denied { statement: String::new(), request, by }).await, refusal)
        }
        Outcome::Expired => {
            let refusal = Refusal::denied(
                "FG-3003",
                format_args!(
                    "nobody decided in time; ask again when an approver is there (request {request})"
                ),
            );
            (attempt.expired(Undecided { request, ..Undecided::default() }).await, refusal)
        }
        Outcome::Withdrawn => {
            let undecided = Undecided { request, ..Undecided::default() };
            (attempt.withdrawn(undecided).await, cancelled())
        }
    };
    match noted {
        Ok(()) => Err(End::Refused(refusal)),
        Err(error) => Err(End::Refused(Refusal::unrecorded(&error))),
    }
}

fn reason(text: &str) -> &str {
    if text.is_empty() { "no reason was given" } else { text }
}

fn approver(by: &control::Approver) -> Approver {
    Approver { name: by.name.clone(), reason: by.reason.clone(), at_ms: by.at_ms }
}

/// What the approvers are shown.
fn question(ask: &Ask, judged: &Judged, origin: Option<&Origin>) -> ApprovalAsk {
    let analysis = &judged.analysis;
    let names = |writes: bool| {
        let names =
            analysis.objects.iter().filter(|touch| (touch.access != Access::Read) == writes);
        let mut names: Vec<String> = names.map(|touch| touch.name.to_string()).collect();
        names.dedup();
        names
    };
    let (demands, policy_hash) = match &judged.verdict {
        Verdict::Decided(decision) => {
            let demands = decision.demands.iter().map(|demand| Demand {
                policy: demand.policy.clone(),
                generation: demand.generation,
                rule: demand.rule.clone(),
                approvers: demand.approvers.clone(),
                pending_ttl_seconds: demand.pending_ttl_seconds,
                grant_ttl_seconds: demand.grant_ttl_seconds,
            });
            (demands.collect(), decision.policy_hash.clone())
        }
        Verdict::Own(_) | Verdict::Cancel(_) | Verdict::Refused(_) => (Vec::new(), String::new()),
    };
    ApprovalAsk {
        request_id: ask.request_id.clone(),
        sql: judged.shown(ask).into_owned(),
        binds: judged
            .binds
            .iter()
            .map(|bind| format!("{}:{}", bind.data_type, bind.value))
            .collect(),
        digest: judged.digest.to_string(),
        policy_hash,
        demands,
        kinds: analysis.words.iter().map(ToString::to_string).collect(),
        writes: names(true),
        reads: names(false),
        risks: analysis.risks.iter().map(ToString::to_string).collect(),
        database: judged.state.database.clone(),
        schema: judged.state.schema.clone(),
        role: judged.state.role.clone(),
        warehouse: judged.state.warehouse.clone(),
        intent: origin.and_then(Origin::intent),
    }
}

/// The grant, if the operator's key signed it.
fn open(grant: &SignedGrant, ruling: &Ruling) -> Option<Grant> {
    let signed = Signed { payload: grant.payload.clone(), signature: grant.signature.clone() };
    signed
        .open(GRANT_CONTEXT, &ruling.grant_key)
        .inspect_err(|error| tracing::error!(%error, "a grant was not signed by the operator"))
        .ok()
}

/// Whether the grant is for this statement, as it stands now, and still holds.
fn fits(grant: &Grant, ask: &Ask, session: &Session, judged: &Judged) -> bool {
    grant.session == session.id
        && grant.statement == ask.id.to_string()
        && grant.digest == judged.digest.to_string()
        && grant.uses > 0
        && grant.expires_at_ms > crate::now_ms()
}
