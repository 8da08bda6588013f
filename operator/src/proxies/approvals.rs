//! A held statement becomes an ApprovalRequest, and a human's decision a verdict.
//!
//! The request's name follows from pod, session and request id, so that asking again, by a retry or after a restart,
//! finds the same request. Each request is settled once: whoever writes its phase first has settled it, the ledger
//! holds it before the sidecar hears of it, and hearing twice is the same verdict.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use control::approval::Demand;
use control::{ApprovalAsk, ApprovalState, Outcome, Update, Verdict, Workload};
use crds::access_policy::{Approvers, ConnectionRef};
use crds::approval_request::{
    ApprovalRequest, ApprovalRequestSpec, Context, Effects, Intent, OnBehalfOf, Phase, PolicyRef,
    Requester, Statement, Workload as Pod,
};
use crds::conditions::{self, Saying, reason};
use futures::StreamExt as _;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use policy::document::ApprovalRule;
use recording::ledger::Fact;
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use super::Parts;
use super::authenticate::Caller;
use super::refusal::{Body, Refusal};
use crate::grants::{self, Standing};
use crate::ledger::KeptSession;
use crate::objects::Error;

/// Requests of one session that wait at the same time.
const PENDING_MAX: usize = 10;
/// The longest statement that an approver can be expected to read.
const SQL_BYTES_MAX: usize = 131_072;
/// The largest request that is put into the cluster's store.
const OBJECT_BYTES_MAX: usize = 256 * 1024;
/// Rules that one statement may wait for.
const DEMANDS_MAX: usize = 16;
/// How often it is looked for requests whose time is over.
const LOOK: Duration = Duration::from_secs(1);
/// Tries to write against others who write.
const CONFLICTS_MAX: usize = 5;

/// The requests as they were last seen.
#[derive(Default)]
pub struct Approvals {
    known: Mutex<BTreeMap<String, Known>>,
}

/// A request, and what was made of it.
struct Known {
    request: ApprovalRequest,
    /// Set once the ledger holds how it ended.
    verdict: Option<Verdict>,
    /// How it ended is in the ledger, though the request may not say so yet.
    recorded: bool,
}

impl Approvals {
    /// Verdicts on open sessions of the pod.
    pub(super) fn verdicts_of(&self, parts: &Parts, pod_uid: &str) -> Vec<Update> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .values()
            .filter(|known| known.request.spec.requester.workload.pod_uid == pod_uid)
            .filter(|known| parts.sessions.is_open(&known.request.spec.session))
            .filter_map(|known| Some(told(&known.request, known.verdict.clone()?)))
            .collect()
    }

    /// How many requests wait.
    #[must_use]
    pub fn pending(&self) -> usize {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|known| known.request.phase() == Phase::Pending).count()
    }

    fn verdict(&self, name: &str) -> Option<Verdict> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name)?.verdict.clone()
    }

    fn recorded(&self, name: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).is_some_and(|known| known.recorded)
    }

    fn waiting_in(&self, session: &str) -> usize {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |known: &&Known| {
            known.request.spec.session == session && known.request.phase() == Phase::Pending
        };
        known.values().filter(waiting).count()
    }

    fn remember(&self, request: &ApprovalRequest) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_mut(&full_name(request)) {
            Some(known) => known.request = request.clone(),
            None => {
                let request = request.clone();
                known
                    .insert(full_name(&request), Known { request, verdict: None, recorded: false });
            }
        }
    }

    fn settle(&self, name: &str, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(name) {
            change(known);
        }
    }

    fn forget(&self, name: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Those whose time is over, whose session is, or whose end could not be written when it came.
    fn due(&self, parts: &Parts, now: Timestamp) -> Vec<ApprovalRequest> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Closed requests of sessions that are over are nobody's business here.
        known.retain(|_, known| {
            known.verdict.is_none() || parts.sessions.is_open(&known.request.spec.session)
        });
        let due = |known: &&Known| match known.request.phase() {
            Phase::Pending => {
                now >= known.request.spec.expires_at.0
                    || !parts.sessions.is_open(&known.request.spec.session)
            }
            _ => known.verdict.is_none(),
        };
        known.values().filter(due).map(|known| known.request.clone()).collect()
    }
}

// === calls ===

/// `PUT /v1/sessions/{s}/approvals/{statement}`.
pub async fn ask(
    State(parts): State<Arc<Parts>>,
    Caller(workload): Caller,
    Path((session, statement)): Path<(String, String)>,
    Body(ask): Body<ApprovalAsk>,
) -> Result<Json<ApprovalState>, Refusal> {
    let session = parts.sessions.open_session(&session, &workload)?;
    let name = name(&workload, &session.session, &ask.request_id);
    let existing = parts.objects.request(&workload.namespace, &name).await?;
    let request = match existing {
        Some(request) => request,
        None => {
            if parts.approvals.waiting_in(&session.session) >= PENDING_MAX {
                return Err(Refusal::later(
                    "FG-3001",
                    format!("{PENDING_MAX} statements of this session wait for a decision already"),
                ));
            }
            let request = draft(&parts, &session, &statement, name, &ask).await?;
            let made =
                parts.objects.create_request(request).await.map_err(|error| match error {
                    Error::Unavailable(reason) => Refusal::later("FG-3001", reason),
                    error => Refusal::new("FG-3001", format!("the request was not taken: {error}")),
                })?;
            tracing::info!(
                request = full_name(&made),
                session = made.spec.session,
                statement = made.spec.statement_id,
                "approval asked"
            );
            made
        }
    };
    let spec = &request.spec;
    let same = spec.session == session.session
        && spec.request_id == ask.request_id
        && spec.statement_id == statement
        && spec.statement.digest == ask.digest;
    if !same {
        return Err(Refusal::new(
            "FG-6004",
            "the request id waits for approval with another statement; use a fresh one",
        ));
    }
    parts.approvals.remember(&request);
    let request_name = full_name(&request);
    Ok(Json(ApprovalState {
        verdict: parts.approvals.verdict(&request_name),
        request: request_name,
        expires_at_ms: spec.expires_at.0.as_millisecond(),
    }))
}

/// `DELETE /v1/sessions/{s}/approvals/{statement}`.
pub async fn withdraw(
    State(parts): State<Arc<Parts>>,
    Caller(workload): Caller,
    Path((session, statement)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let session = parts.sessions.known(&session, &workload)?;
    let name = {
        let known = parts.approvals.known.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = known.values().find(|known| {
            known.request.spec.session == session.session
                && known.request.spec.statement_id == statement
        });
        asked.map(|known| known.request.name_any())
    };
    // Never asked, or closed long ago: there is nothing that could still run.
    let Some(name) = name else { return Ok(StatusCode::NO_CONTENT) };
    for _ in 0..CONFLICTS_MAX {
        let Some(request) = parts.objects.request(&workload.namespace, &name).await? else { break };
        if request.phase() != Phase::Pending {
            break;
        }
        match write_phase(&parts, request, Phase::Withdrawn, None).await {
            Ok(request) => {
                parts.approvals.remember(&request);
                break;
            }
            Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

// === asking ===

/// Ten characters that only this pod, session and request id give.
pub(super) fn name(workload: &Workload, session: &str, request_id: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut hasher = Sha256::new();
    for part in [workload.pod_uid.as_str(), session, request_id] {
        // The length first: no two triples run into the same bytes.
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let letters = digest.iter().take(10).map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    format!("apr-{}", letters.collect::<String>())
}

/// The request as it will be put to humans. Who may decide is taken from the policies as they are now, not from
/// what the sidecar says they are.
async fn draft(
    parts: &Parts,
    session: &KeptSession,
    statement: &str,
    name: String,
    ask: &ApprovalAsk,
) -> Result<ApprovalRequest, Refusal> {
    let workload = &session.principal.workload;
    if ask.sql.len() > SQL_BYTES_MAX {
        return Err(Refusal::new("FG-3001", "the statement is too long to be put to a human"));
    }
    if ask.demands.is_empty() || ask.demands.len() > DEMANDS_MAX {
        return Err(Refusal::new(
            "FG-6001",
            format!("an approval names 1 to {DEMANDS_MAX} rules that demand it"),
        ));
    }
    if ask.digest.len() != 64 || !ask.digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Refusal::new("FG-6001", "digest must be SHA-256 in hex"));
    }
    let attachment = parts.objects.attachment(workload).await?;
    let mut policy_refs = Vec::new();
    let mut pending_seconds = u64::MAX;
    for demand in &ask.demands {
        let (policy, generation, rule) = rule(&attachment.documents, demand)?;
        let local = policy.strip_prefix(&format!("{}/", workload.namespace));
        let local =
            local.ok_or_else(|| Refusal::new("FG-3001", "the rule is of another namespace"))?;
        pending_seconds = pending_seconds.min(rule.pending_ttl_seconds);
        policy_refs.push(PolicyRef {
            name: local.to_owned(),
            rule: rule.name.clone(),
            generation,
            approvers: Approvers {
                groups: rule.approvers.groups.clone(),
                min_approvals: rule.approvers.min_approvals,
                distinct_from_requester: rule.approvers.distinct_from_requester,
            },
            grant_seconds: i64::try_from(rule.grant_ttl_seconds).unwrap_or(i64::MAX),
        });
    }
    let human = session.principal.human.as_ref();
    let unnamed = human.is_some_and(|human| human.kubernetes_username.is_none());
    let distinct = policy_refs.iter().find(|rule| rule.approvers.distinct_from_requester);
    if let Some(rule) = distinct.filter(|_| unnamed) {
        return Err(Refusal::new(
            "FG-3001",
            format!(
                "rule {} wants an approver other than the requester, and nothing says which Kubernetes user the \
                 requester is; set kubernetesUsername for the issuer in the SnowflakeConnection",
                rule.id()
            ),
        ));
    }
    let lasting = SignedDuration::from_secs(i64::try_from(pending_seconds).unwrap_or(i64::MAX / 4));
    let now = Timestamp::now();
    let expires_at = now.checked_add(lasting).unwrap_or(Timestamp::MAX);
    let (namespace, connection) = session.connection.split_once('/').unwrap_or_default();
    let mut request = ApprovalRequest::new(
        &name,
        ApprovalRequestSpec {
            requester: Requester {
                workload: Pod {
                    kind: workload.kind.clone(),
                    name: workload.name.clone(),
                    pod: workload.pod.clone(),
                    pod_uid: workload.pod_uid.clone(),
                    service_account: workload.service_account.clone(),
                },
                on_behalf_of: human.map(|human| OnBehalfOf {
                    issuer: human.issuer.clone(),
                    subject: human.subject.clone(),
                    groups: human.groups.clone(),
                    username: human.kubernetes_username.clone(),
                }),
            },
            connection_ref: ConnectionRef {
                name: connection.to_owned(),
                namespace: Some(namespace.to_owned()),
            },
            policy_refs,
            policy_hash: ask.policy_hash.clone(),
            session: session.session.clone(),
            statement_id: statement.to_owned(),
            request_id: ask.request_id.clone(),
            statement: Statement {
                sql: ask.sql.clone(),
                binds: ask.binds.clone(),
                digest: ask.digest.clone(),
            },
            effects: Effects {
                kinds: ask.kinds.clone(),
                writes: ask.writes.clone(),
                reads: ask.reads.clone(),
                risks: ask.risks.clone(),
            },
            context: Context {
                role: ask.role.clone(),
                warehouse: ask.warehouse.clone(),
                database: ask.database.clone(),
                schema: ask.schema.clone(),
            },
            intent: ask.intent.as_ref().map(intent),
            expires_at: Time(Timestamp::from_second(expires_at.as_second()).unwrap_or(expires_at)),
        },
    );
    request.metadata.namespace = Some(workload.namespace.clone());
    let size = serde_json::to_vec(&request).map_or(usize::MAX, |bytes| bytes.len());
    if size > OBJECT_BYTES_MAX {
        return Err(Refusal::new(
            "FG-3001",
            "the statement and its binds are too long to be put to a human",
        ));
    }
    Ok(request)
}

/// What led to the statement, cut to what an object may hold: an agent wrote it.
fn intent(intent: &control::Intent) -> Intent {
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let id = |text: &Option<String>| text.as_deref().map(|text| cut(text, 256));
    Intent {
        confidence: cut(&intent.confidence, 32),
        prompt_excerpt: intent.excerpt.as_deref().map(|text| cut(text, 1024)),
        prompt_digest: intent.prompt.as_deref().map(|text| cut(text, 64)),
        model: id(&intent.model),
        tool: id(&intent.tool),
        tool_use: id(&intent.tool_use),
        request: id(&intent.request),
    }
}

/// The rule that is meant, as it is now.
fn rule<'a>(
    documents: &'a [policy::Document],
    demand: &Demand,
) -> Result<(&'a str, i64, &'a ApprovalRule), Refusal> {
    documents
        .iter()
        .find(|document| document.name == demand.policy)
        .and_then(|document| {
            let rule = document.approvals.iter().find(|rule| rule.name == demand.rule)?;
            Some((document.name.as_str(), document.generation, rule))
        })
        .ok_or_else(|| {
            let Demand { policy, rule, .. } = demand;
            Refusal::later("FG-3001", format!("AccessPolicy {policy} has no approval rule {rule:?} any more; run the statement again"))
        })
}

// === deciding ===

/// Settles requests as they are decided, expire or lose their session, until the shutdown.
pub(super) async fn run(parts: Arc<Parts>) {
    let mut requests = parts.objects.requests();
    // One after the other: a request is never settled by two at once.
    loop {
        let seen = tokio::select! {
            request = requests.next() => match request {
                Some(request) => vec![request],
                None => {
                    sleep(LOOK).await;
                    requests = parts.objects.requests();
                    continue;
                }
            },
            () = sleep(LOOK) => parts.approvals.due(&parts, Timestamp::now()),
            () = parts.shutdown.cancelled() => return,
        };
        for request in seen {
            let name = full_name(&request);
            parts.approvals.remember(&request);
            if let Err(error) = consider(&parts, request).await {
                tracing::warn!(request = name, %error, "request not settled yet");
            }
        }
    }
}

/// What keeps a request from being settled now.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error(transparent)]
    Objects(#[from] Error),
    #[error(transparent)]
    Ledger(#[from] crate::ledger::Error),
}

/// Settles the request if it can be settled.
async fn consider(parts: &Parts, request: ApprovalRequest) -> Result<(), Unsettled> {
    let name = full_name(&request);
    if request.metadata.deletion_timestamp.is_some() || parts.approvals.verdict(&name).is_some() {
        return Ok(());
    }
    let orphan = !parts.sessions.is_open(&request.spec.session);
    if orphan && request.phase() != Phase::Pending && recorded_in(&request) {
        parts.approvals.forget(&name);
        return Ok(());
    }
    let mut standing = grants::count(&request, Timestamp::now());
    if orphan && matches!(standing, Standing::Pending { .. }) {
        // Whoever asked is gone; nobody should be bothered with it.
        standing = Standing::Withdrawn;
    }
    let (phase, votes) = match &standing {
        Standing::Pending { votes } => {
            return Ok(write_votes(parts, request, votes).await?);
        }
        Standing::Approved { votes, .. } => (Phase::Approved, Some(votes.clone())),
        Standing::Denied { votes, .. } => (Phase::Denied, Some(votes.clone())),
        Standing::Expired => (Phase::Expired, None),
        Standing::Withdrawn => (Phase::Withdrawn, None),
    };
    let request = match request.phase() {
        Phase::Pending => match write_phase(parts, request, phase, votes).await {
            Ok(request) => request,
            // Somebody wrote meanwhile: the watch tells what, and then it is counted again.
            Err(Error::Conflict(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        },
        written if written == phase => request,
        written => {
            tracing::error!(request = name, ?written, counted = ?phase, "phase does not follow from the decisions");
            return Ok(());
        }
    };
    parts.approvals.remember(&request);
    let told_before = recorded_in(&request) || parts.approvals.recorded(&name);
    if !told_before {
        parts.ledger.append(decided(&request, phase)).await?;
        parts.approvals.settle(&name, |known| known.recorded = true);
    }
    let request = record(parts, request, &name).await;
    if orphan {
        // Nobody is left who could use a grant or wait for a verdict.
        parts.approvals.forget(&name);
        return Ok(());
    }
    let outcome = match standing {
        Standing::Approved { grant, .. } => {
            Outcome::Approved { grant: parts.ledger.sign_grant(&grant).await? }
        }
        Standing::Denied { by, .. } => Outcome::Denied { by },
        Standing::Expired => Outcome::Expired,
        Standing::Withdrawn | Standing::Pending { .. } => Outcome::Withdrawn,
    };
    let verdict = Verdict { request: name.clone(), outcome };
    parts.approvals.settle(&name, |known| known.verdict = Some(verdict.clone()));
    tracing::info!(request = name, ?phase, "request settled");
    let pod = request.spec.requester.workload.pod_uid.clone();
    parts.hub.tell(&pod, told(&request, verdict));
    Ok(())
}

/// Says on the request that the ledger has it. Only the cleaning up waits for that; should it fail, the next restart
/// says it.
async fn record(parts: &Parts, mut request: ApprovalRequest, name: &str) -> ApprovalRequest {
    if recorded_in(&request) {
        return request;
    }
    let generation = request.metadata.generation;
    let status = request.status.get_or_insert_default();
    let saying =
        Saying::yes(conditions::RECORDED, reason::IN_LEDGER, "the ledger holds how it ended");
    conditions::set(&mut status.conditions, saying, generation, Timestamp::now());
    match parts.objects.write_status(&request).await {
        Ok(written) => {
            parts.approvals.remember(&written);
            written
        }
        Err(error) => {
            tracing::debug!(request = name, %error, "Recorded not written");
            request
        }
    }
}

async fn write_votes(
    parts: &Parts,
    mut request: ApprovalRequest,
    votes: &str,
) -> Result<(), Error> {
    let status = request.status.get_or_insert_default();
    if status.votes.as_deref() == Some(votes) {
        return Ok(());
    }
    status.votes = Some(votes.to_owned());
    match parts.objects.write_status(&request).await {
        Ok(request) => {
            parts.approvals.remember(&request);
            Ok(())
        }
        Err(Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Closes the request with the phase.
async fn write_phase(
    parts: &Parts,
    mut request: ApprovalRequest,
    phase: Phase,
    votes: Option<String>,
) -> Result<ApprovalRequest, Error> {
    let now = Timestamp::now();
    let saying = match phase {
        Phase::Approved => Saying::yes(
            conditions::APPROVED,
            reason::QUORUM_REACHED,
            "every rule has its approvers",
        ),
        Phase::Denied => {
            Saying::yes(conditions::DENIED, reason::APPROVER_DENIED, "an approver denied")
        }
        Phase::Expired => {
            Saying::yes(conditions::EXPIRED, reason::DEADLINE_EXCEEDED, "nobody decided in time")
        }
        Phase::Withdrawn | Phase::Pending => {
            Saying::yes(conditions::WITHDRAWN, reason::ASKER_GAVE_UP, "the asker gave up")
        }
    };
    let generation = request.metadata.generation;
    let status = request.status.get_or_insert_default();
    status.phase = phase;
    status.votes = votes.or_else(|| status.votes.take());
    status.closed_at = Some(Time(Timestamp::from_second(now.as_second()).unwrap_or(now)));
    status.observed_generation = generation;
    conditions::set(&mut status.conditions, saying, generation, now);
    parts.objects.write_status(&request).await
}

fn recorded_in(request: &ApprovalRequest) -> bool {
    let conditions = request.status.as_ref().map(|status| status.conditions.as_slice());
    conditions::find(conditions.unwrap_or_default(), conditions::RECORDED)
        .is_some_and(|condition| condition.status == "True")
}

fn decided(request: &ApprovalRequest, phase: Phase) -> Fact {
    Fact::ApprovalDecided {
        session: request.spec.session.clone(),
        statement: request.spec.statement_id.clone(),
        request: request.uid().unwrap_or_default(),
        digest: request.spec.statement.digest.clone(),
        outcome: format!("{phase:?}"),
    }
}

fn told(request: &ApprovalRequest, verdict: Verdict) -> Update {
    Update::Verdict {
        session: request.spec.session.clone(),
        statement: request.spec.statement_id.clone(),
        verdict,
    }
}

fn full_name(request: &ApprovalRequest) -> String {
    format!("{}/{}", request.namespace().unwrap_or_default(), request.name_any())
}
