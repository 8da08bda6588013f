//! Sessions: open, renew, close. A session's credential lives inside it.
//!
//! ```text
//! Opening --minted--> Open --close, expiry, pod gone--> Closing --dropped--> Closed --pod gone--> forgotten
//!    |                                                     ^
//!    +------------------ anything fails ------------------+
//! ```
//!
//! The ledger knows of a session before its credential exists, and of the credential before its user does. The kept
//! state there is what a restart goes on with. A closed session is still known until its pod is gone: its recording
//! may have segments to ship.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use control::{
    CloseSession, Credential, Human, OpenSession, OpenedSession, Principal, RenewedSession, Update,
    Workload,
};
use crds::SnowflakeConnection;
use crds::snowflake_connection::CredentialMode;
use http::StatusCode;
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use recording::PublicKey;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Parts;
use super::authenticate::Caller;
use super::refusal::{Body, Refusal};
use crate::broker::{self, Broker, Mint};
use crate::identity::{self, Issuer, KeySource, UsernameMapping};
use crate::ledger::{KeptSession, Ledger};
use crate::objects::Attachment;
use crate::telemetry::{MintLabel, ReasonLabel};

/// Open sessions of one pod.
const PER_POD_MAX: usize = 64;
/// How long a session may take to open. Sidecars wait a little longer, so that the reason reaches the driver.
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// How often it is looked for sessions that are over.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is asked whether the pods of sessions live.
const POD_LOOK: Duration = Duration::from_secs(10);
/// A session may be renewed this much after the policy lease: its sidecar refuses by itself before.
const LEASE_MARGIN: Duration = Duration::from_secs(60);
/// Pauses between tries to drop a user.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));
/// A certificate outlives its session by this, for the last seal.
const CERTIFICATE_MARGIN_MS: i64 = 3_600_000;
/// A session without an end of its own has its certificate for this long.
const CERTIFICATE_MAX_MS: i64 = 30 * 24 * 3_600_000;

/// The sessions there are.
#[derive(Default)]
pub struct Sessions {
    table: Mutex<HashMap<String, Entry>>,
}

/// One session.
#[derive(Clone, Debug)]
struct Entry {
    kept: KeptSession,
    phase: Phase,
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Open,
    Closing,
    Closed,
}

impl Sessions {
    /// The sessions that the ledger kept. All of them get one more lease: while there was no operator nobody could
    /// renew.
    pub(super) fn of(ledger: &Ledger) -> Self {
        let now = Timestamp::now().as_millisecond();
        let table = ledger.living().into_iter().map(|mut kept| {
            let phase = match (ledger.is_closed(&kept.session), &kept.user) {
                (Some(true), None) => Phase::Closed,
                (Some(true), Some(_)) if !kept.is_ephemeral => Phase::Closed,
                (Some(true), Some(_)) => Phase::Closing,
                // Nothing was minted for it, so nobody can have been given it.
                (_, None) => Phase::Opening,
                (_, Some(_)) => Phase::Open,
            };
            let lease = kept.expires_at_ms.saturating_sub(kept.opened_at_ms).clamp(0, 900_000);
            kept.expires_at_ms = kept.expires_at_ms.max(bounded(now + lease, kept.ends_at_ms));
            (kept.session.clone(), Entry { kept, phase })
        });
        Self { table: Mutex::new(table.collect()) }
    }

    /// The session, if it is open and the pod's own.
    pub(super) fn open_session(
        &self,
        session: &str,
        workload: &Workload,
    ) -> Result<KeptSession, Refusal> {
        let entry = self.find(session, workload)?;
        if entry.phase == Phase::Open { Ok(entry.kept) } else { Err(gone()) }
    }

    /// The session, if it is the pod's own, open or over.
    pub(super) fn known(&self, session: &str, workload: &Workload) -> Result<KeptSession, Refusal> {
        self.find(session, workload).map(|entry| entry.kept)
    }

    /// Whether the session is open.
    pub(super) fn is_open(&self, session: &str) -> bool {
        self.lock().get(session).is_some_and(|entry| entry.phase == Phase::Open)
    }

    /// The open sessions of the pod.
    pub(super) fn open_of(&self, pod_uid: &str) -> Vec<String> {
        let table = self.lock();
        let open = table.values().filter(|entry| {
            entry.phase == Phase::Open && entry.kept.principal.workload.pod_uid == pod_uid
        });
        open.map(|entry| entry.kept.session.clone()).collect()
    }

    /// The Snowflake users that are accounted for.
    pub(crate) fn users(&self) -> HashSet<String> {
        self.lock()
            .values()
            .filter(|entry| entry.phase != Phase::Closed)
            .filter_map(|entry| entry.kept.user.clone())
            .collect()
    }

    /// How many credentials are out, for the connection (`namespace/name`) or all of them.
    #[must_use]
    pub fn active(&self, connection: Option<&str>) -> usize {
        self.lock()
            .values()
            .filter(|entry| entry.phase != Phase::Closed)
            .filter(|entry| connection.is_none_or(|name| name == entry.kept.connection))
            .count()
    }

    fn find(&self, session: &str, workload: &Workload) -> Result<Entry, Refusal> {
        let table = self.lock();
        let entry = table.get(session);
        entry
            .filter(|entry| entry.kept.principal.workload.pod_uid == workload.pod_uid)
            .cloned()
            .ok_or_else(gone)
    }

    /// Takes the session in unless the pod has too many.
    fn enter(&self, kept: KeptSession) -> Result<(), Refusal> {
        let mut table = self.lock();
        let pod = &kept.principal.workload.pod_uid;
        let open = table.values().filter(|entry| {
            entry.phase != Phase::Closed && entry.kept.principal.workload.pod_uid == *pod
        });
        if open.count() >= PER_POD_MAX {
            return Err(Refusal::later(
                "FG-1008",
                format!(
                    "this pod has {PER_POD_MAX} sessions already; close some, or use a connection pool"
                ),
            ));
        }
        table.insert(kept.session.clone(), Entry { kept, phase: Phase::Opening });
        Ok(())
    }

    /// Moves the session on; `None` if it is not (any more) in one of `from`.
    fn advance(&self, session: &str, from: &[Phase], to: Phase) -> Option<KeptSession> {
        let mut table = self.lock();
        let entry = table.get_mut(session).filter(|entry| from.contains(&entry.phase))?;
        entry.phase = to;
        Some(entry.kept.clone())
    }

    fn update(&self, session: &str, change: impl FnOnce(&mut KeptSession)) -> Option<KeptSession> {
        let mut table = self.lock();
        let entry = table.get_mut(session)?;
        change(&mut entry.kept);
        Some(entry.kept.clone())
    }

    fn select(&self, wanted: impl Fn(&KeptSession, Phase) -> bool) -> Vec<KeptSession> {
        let table = self.lock();
        let selected = table.values().filter(|entry| wanted(&entry.kept, entry.phase));
        selected.map(|entry| entry.kept.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone() -> Refusal {
    Refusal::new("FG-1004", "the session is closed, expired or unknown; log in again")
}

fn bounded(expires_at_ms: i64, ends_at_ms: Option<i64>) -> i64 {
    ends_at_ms.map_or(expires_at_ms, |ends| ends.min(expires_at_ms))
}

// === calls ===

/// `POST /v1/sessions`.
pub async fn open(
    State(parts): State<Arc<Parts>>,
    Caller(workload): Caller,
    Body(ask): Body<OpenSession>,
) -> Result<Json<OpenedSession>, Refusal> {
    let (answer, answered) = oneshot::channel();
    let worker = parts.clone();
    // On its own: a caller that leaves must not leave half a session behind.
    parts.tasks.spawn(async move {
        let opened = begin(&worker, workload, ask).await;
        let session = opened.as_ref().ok().map(|opened| opened.session.clone());
        if answer.send(opened).is_err()
            && let Some(session) = session
        {
            end(&worker, &session, "Refused").await;
        }
    });
    let opened = tokio::time::timeout(OPEN_WITHIN, answered).await.map_err(|_| {
        let seconds = OPEN_WITHIN.as_secs();
        Refusal::later("FG-4001", format!("the account did not answer within {seconds} s"))
    })?;
    opened.map_err(|_| Refusal::later("FG-9001", "the session did not open"))?.map(Json)
}

/// `POST /v1/sessions/{s}`.
pub async fn renew(
    State(parts): State<Arc<Parts>>,
    Caller(workload): Caller,
    Path(session): Path<String>,
) -> Result<Json<RenewedSession>, Refusal> {
    let kept = parts.sessions.open_session(&session, &workload)?;
    let attachment = parts.objects.attachment(&workload).await?;
    if broker::full_name(&attachment.connection) != kept.connection {
        return Err(gone());
    }
    let expires_at_ms = bounded(in_a_lease(&attachment.connection), kept.ends_at_ms);
    let renewed = parts.sessions.update(&session, |kept| kept.expires_at_ms = expires_at_ms);
    parts.ledger.keep(&renewed.ok_or_else(gone)?).await?;
    Ok(Json(RenewedSession { expires_at_ms }))
}

/// `DELETE /v1/sessions/{s}`.
pub async fn close(
    State(parts): State<Arc<Parts>>,
    Caller(workload): Caller,
    Path(session): Path<String>,
    Body(ask): Body<CloseSession>,
) -> Result<StatusCode, Refusal> {
    const REASONS: [&str; 8] = [
        "Logout",
        "Idle",
        "Drain",
        "Refused",
        "Expired",
        "UpstreamLost",
        "SidecarRestarted",
        "ConnectionChanged",
    ];
    let kept = parts.sessions.known(&session, &workload)?;
    let reason = REASONS.into_iter().find(|known| *known == ask.reason).unwrap_or("Other");
    end(&parts, &kept.session, reason).await;
    Ok(StatusCode::NO_CONTENT)
}

// === opening ===

async fn begin(
    parts: &Arc<Parts>,
    workload: Workload,
    ask: OpenSession,
) -> Result<OpenedSession, Refusal> {
    let Attachment { connection, documents, suspended } =
        parts.objects.attachment(&workload).await?;
    if let Some(reason) = suspended {
        return Err(Refusal::new("FG-2010", reason));
    }
    if connection.metadata.deletion_timestamp.is_some() {
        return Err(Refusal::new("FG-1003", "the SnowflakeConnection is being deleted"));
    }
    if !documents.iter().any(|document| !document.name.ends_with("#baseline")) {
        let Workload { namespace, pod, .. } = &workload;
        return Err(Refusal::new(
            "FG-1003",
            format!("no AccessPolicy selects pod {namespace}/{pod}; create one in its namespace"),
        ));
    }
    let recording_key = PublicKey::parse(&ask.recording_public_key).map_err(|_| {
        Refusal::new("FG-6001", "recordingPublicKey must be an Ed25519 key, base64")
    })?;
    let session_key = broker::public_key(&ask.session_public_key)?;
    let human = identify(parts, &connection, &workload, ask.identity_token.as_deref()).await?;
    let principal = Principal { workload, human };
    let (role, warehouse) =
        assign(&connection, &documents, &principal, ask.requested_role.as_deref())?;

    let spec = &connection.spec;
    let now = Timestamp::now().as_millisecond();
    let ephemeral = match spec.credentials.mode {
        CredentialMode::EphemeralUser => spec.credentials.ephemeral_user.as_ref(),
        CredentialMode::KeyPair => None,
    };
    let ends_at_ms = ephemeral.map(|spec| now.saturating_add(milliseconds(spec.max_ttl.into())));
    let mut kept = KeptSession {
        session: Uuid::now_v7().to_string(),
        connection: broker::full_name(&connection),
        principal,
        role: role.clone(),
        user: None,
        is_ephemeral: ephemeral.is_some(),
        opened_at_ms: now,
        expires_at_ms: bounded(in_a_lease(&connection), ends_at_ms),
        ends_at_ms,
    };
    parts.sessions.enter(kept.clone())?;
    let policy_hash = policy::document::hash(&documents);
    if let Err(error) = parts.ledger.open_session(&kept, &policy_hash, recording_key).await {
        parts.sessions.lock().remove(&kept.session);
        return Err(error.into());
    }
    let begun = Instant::now();
    let minted = mint(parts, &connection, &mut kept, &session_key, warehouse.as_deref()).await;
    let mode = if kept.is_ephemeral { "EphemeralUser" } else { "KeyPair" };
    let result = if minted.is_ok() { "made" } else { "failed" };
    parts.metrics.mints.get_or_create(&MintLabel { mode, result }).inc();
    parts.metrics.mint_seconds.observe(begun.elapsed().as_secs_f64());
    let credential = match minted {
        Ok(credential) => credential,
        Err(refusal) => {
            end(parts, &kept.session, "Refused").await;
            return Err(refusal);
        }
    };
    let not_after =
        ends_at_ms.map_or(now + CERTIFICATE_MAX_MS, |ends| ends + CERTIFICATE_MARGIN_MS);
    let certificate = parts.ledger.certify(&kept, recording_key, not_after);
    let certificate = certificate.ok().and_then(|signed| serde_json::to_value(signed).ok());
    let opened = parts.sessions.advance(&kept.session, &[Phase::Opening], Phase::Open);
    let (Some(certificate), Some(_)) = (certificate, opened) else {
        end(parts, &kept.session, "Refused").await;
        return Err(Refusal::later("FG-9001", "the session did not open"));
    };
    tracing::info!(
        session = kept.session,
        connection = kept.connection,
        pod = kept.principal.workload.pod,
        role,
        "session opened"
    );
    Ok(OpenedSession {
        session: kept.session,
        principal: kept.principal,
        account: spec.account.clone(),
        role,
        warehouse,
        database: spec.session.database.clone(),
        schema: spec.session.schema.clone(),
        credential,
        certificate,
        expires_at_ms: kept.expires_at_ms,
    })
}

/// Who is behind the agent: by the token it brought, or, in local mode only, by what was claimed at the start. The
/// pod's own token says no more than the pod itself.
async fn identify(
    parts: &Parts,
    connection: &SnowflakeConnection,
    workload: &Workload,
    token: Option<&str>,
) -> Result<Option<Human>, Refusal> {
    let identity = connection.spec.identity.as_ref();
    let nobody = || match identity {
        Some(identity) if identity.required => Err(Refusal::new(
            "FG-1006",
            "this connection needs an identity token; log in with authenticator=oauth and the token",
        )),
        _ => Ok(parts.objects.claimed()),
    };
    let Some(token) = token else { return nobody() };
    let issuers: Vec<Issuer> =
        identity.map(|identity| identity.issuers.iter().map(issuer).collect()).unwrap_or_default();
    match identity::verify(&parts.keys, &issuers, token, Timestamp::now()).await {
        Ok(human) => Ok(Some(human)),
        Err(identity::Invalid::Issuer) if parts.objects.is_own(token, workload).await? => nobody(),
        Err(invalid) => Err(invalid.problem().into()),
    }
}

/// An issuer as the verifier wants it.
fn issuer(written: &crds::snowflake_connection::Issuer) -> Issuer {
    let keys = match &written.jwks {
        Some(keys) => KeySource::Static(keys.clone()),
        None => KeySource::Fetched {
            address: written.jwks_uri.clone(),
            ca_bundle: written.ca_bundle.clone(),
        },
    };
    let mapping = written.kubernetes_username.as_ref();
    Issuer {
        issuer: written.issuer.clone(),
        audiences: written.audiences.clone(),
        keys,
        groups_claim: Some(written.groups_claim.clone()),
        kubernetes_username: mapping.map(|mapping| UsernameMapping {
            claim: mapping.claim.clone(),
            prefix: mapping.prefix.clone(),
        }),
    }
}

/// The one role, within the ceiling; a driver may ask for it by name and for no other.
fn assign(
    connection: &SnowflakeConnection,
    documents: &[policy::Document],
    principal: &Principal,
    requested: Option<&str>,
) -> Result<(String, Option<String>), Refusal> {
    let spec = &connection.spec;
    let ceiling = policy::Ceiling {
        allowed_roles: spec.allowed_roles.clone(),
        default_role: None,
        default_warehouse: spec.session.warehouse.clone(),
    };
    let asker = policy::Principal {
        human: principal.human.as_ref().map(|human| policy::Human {
            issuer: human.issuer.clone(),
            subject: human.subject.clone(),
            groups: human.groups.clone(),
            username: human.kubernetes_username.clone(),
            verified: human.verified,
        }),
    };
    let granted = policy::Policy::compile(documents, &ceiling).role(&asker).map_err(|refusal| {
        let place =
            refusal.rule.map(|rule| format!("AccessPolicy {} {}: ", rule.policy, rule.rule));
        let hint = refusal.hint.map(|hint| format!("; {hint}"));
        let (place, hint) = (place.unwrap_or_default(), hint.unwrap_or_default());
        Refusal::new(refusal.code.as_str(), format!("{place}{}{hint}", refusal.message))
    })?;
    let role = broker::stored_name(&granted.role);
    // Checked here as well: no policy, however it was compiled, leads above the ceiling.
    if !spec.allowed_roles.iter().any(|allowed| broker::stored_name(allowed) == role) {
        return Err(Refusal::new(
            "FG-1002",
            format!("role {role} is not among the allowedRoles of the connection"),
        ));
    }
    if let Some(requested) = requested.filter(|requested| !requested.is_empty())
        && broker::stored_name(requested) != role
    {
        return Err(Refusal::new(
            "FG-1002",
            format!(
                "the driver asks for role {requested}, the policies give {role}; leave the role out of the driver's options"
            ),
        ));
    }
    Ok((role, granted.warehouse.map(|warehouse| broker::stored_name(&warehouse))))
}

/// Makes the way to log in. The ledger knows of it before Snowflake does.
async fn mint(
    parts: &Parts,
    connection: &SnowflakeConnection,
    kept: &mut KeptSession,
    session_key: &str,
    warehouse: Option<&str>,
) -> Result<Credential, Refusal> {
    let Some(ends_at_ms) = kept.ends_at_ms.filter(|_| kept.is_ephemeral) else {
        let credential = parts.broker.login(connection).await?;
        if let Credential::KeyPair { user, expires_at_ms, .. } = &credential {
            kept.user = Some(user.clone());
            parts.ledger.mint(kept, "KeyPair", user, *expires_at_ms).await?;
            parts.sessions.update(&kept.session, |entry| entry.user.clone_from(&kept.user));
        }
        return Ok(credential);
    };
    let user = Broker::user_name(connection)?;
    kept.user = Some(user.clone());
    // In the table first: the sweeper must never meet the user without its session.
    parts.sessions.update(&kept.session, |entry| entry.user = Some(user.clone()));
    parts.ledger.mint(kept, "EphemeralUser", &user, ends_at_ms).await?;
    let mint = Mint {
        session: &kept.session,
        user: &user,
        public_key: session_key,
        role: &kept.role,
        warehouse,
    };
    parts.broker.mint(connection, &mint).await?;
    Ok(Credential::EphemeralUser { user, expires_at_ms: ends_at_ms })
}

fn in_a_lease(connection: &SnowflakeConnection) -> i64 {
    let lease = Duration::from(connection.spec.policy_lease) + LEASE_MARGIN;
    Timestamp::now().as_millisecond().saturating_add(milliseconds(lease))
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

// === ending ===

/// Ends the session: from here on nobody uses it, and its credential goes, however often that must be tried.
pub(super) async fn end(parts: &Arc<Parts>, session: &str, reason: &'static str) {
    let living = [Phase::Opening, Phase::Open];
    let Some(kept) = parts.sessions.advance(session, &living, Phase::Closing) else { return };
    tracing::info!(session, reason, "session closed");
    parts.hub.tell(
        &kept.principal.workload.pod_uid,
        Update::CloseSession { session: session.to_owned(), reason: reason.to_owned() },
    );
    // Logged before anything is dropped; when that fails now, `finish` does it again.
    if let Err(error) = parts.ledger.close_session(session, reason).await {
        tracing::error!(session, %error, "closing is not in the ledger yet");
    }
    parts.tasks.spawn(finish(parts.clone(), kept, reason));
}

/// Drops what the session had, until it is gone or the process ends: the next one goes on.
async fn finish(parts: Arc<Parts>, kept: KeptSession, reason: &'static str) {
    let mut pause = RETRY.0;
    let mut overdue: Option<Overdue> = None;
    while let Err(error) = drop_credential(&parts, &kept, reason).await {
        tracing::warn!(
            session = kept.session,
            user = kept.user,
            error,
            "credential not dropped yet"
        );
        overdue.get_or_insert_with(|| Overdue::new(&parts.metrics.overdue));
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(RETRY.1),
            () = parts.shutdown.cancelled() => return,
        }
    }
    parts.sessions.advance(&kept.session, &[Phase::Closing], Phase::Closed);
}

async fn drop_credential(
    parts: &Parts,
    kept: &KeptSession,
    reason: &'static str,
) -> Result<(), String> {
    let session = &kept.session;
    let text = |error: crate::ledger::Error| error.to_string();
    parts.ledger.close_session(session, reason).await.map_err(text)?;
    if let Some(user) = kept.user.as_deref().filter(|_| kept.is_ephemeral) {
        let connections = parts.objects.connections().await.map_err(|error| error.to_string())?;
        let named = |connection: &&Arc<SnowflakeConnection>| {
            broker::full_name(connection) == kept.connection
        };
        if let Some(connection) = connections.iter().find(named) {
            parts.broker.retire(connection, user).await.map_err(|error| error.to_string())?;
            let why = if reason == "Expired" { "Expired" } else { "Closed" };
            parts.ledger.drop_credential(session, user, why).await.map_err(text)?;
            parts.metrics.drops.get_or_create(&ReasonLabel { reason: why }).inc();
        } else {
            // Its deletion drops the users first; whoever skips that has been told that users stay.
            tracing::warn!(
                session,
                user,
                connection = kept.connection,
                "not dropped: no connection"
            );
        }
    }
    let ended = parts.sessions.update(session, |kept| kept.user = None);
    parts.ledger.keep(&ended.unwrap_or_else(|| kept.clone())).await.map_err(text)
}

/// Counts as long as it lives.
struct Overdue(Gauge);

impl Overdue {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Overdue {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Ends the sessions of a connection that is being deleted; whether none is left.
pub async fn drain(parts: &Arc<Parts>, connection: &str) -> bool {
    for kept in parts.sessions.select(|kept, _| kept.connection == connection) {
        end(parts, &kept.session, "ConnectionDeleted").await;
    }
    parts.sessions.active(Some(connection)) == 0
}

/// Asks whether the pod is gone, and ends its sessions if it is. A stream that ended is the first sign.
pub(super) async fn look_after(parts: Arc<Parts>, workload: Workload) {
    for pause in [1, 4, 10] {
        tokio::select! {
            () = sleep(Duration::from_secs(pause)) => {}
            () = parts.shutdown.cancelled() => return,
        }
        if matches!(parts.objects.lives(&workload).await, Ok(false)) {
            pod_gone(&parts, &workload.pod_uid).await;
            return;
        }
    }
}

async fn pod_gone(parts: &Arc<Parts>, pod_uid: &str) {
    for kept in parts.sessions.select(|kept, _| kept.principal.workload.pod_uid == pod_uid) {
        end(parts, &kept.session, "PodGone").await;
    }
    // Nobody is left who could ship anything for these.
    let over = parts
        .sessions
        .select(|kept, phase| phase == Phase::Closed && kept.principal.workload.pod_uid == pod_uid);
    for kept in over {
        match parts.ledger.forget(&kept.session).await {
            Ok(()) => drop(parts.sessions.lock().remove(&kept.session)),
            Err(error) => tracing::warn!(session = kept.session, %error, "session not forgotten"),
        }
    }
}

/// Ends sessions whose time or pod is over, until the shutdown.
pub(super) async fn run(parts: Arc<Parts>) {
    for kept in parts.sessions.select(|_, phase| phase == Phase::Opening) {
        end(&parts, &kept.session, "Interrupted").await;
    }
    for kept in parts.sessions.select(|_, phase| phase == Phase::Closing) {
        if parts.ledger.is_closed(&kept.session) == Some(true) {
            parts.tasks.spawn(finish(parts.clone(), kept, "Closed"));
        }
    }
    let mut looked = Instant::now();
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = parts.shutdown.cancelled() => return,
        }
        let active = i64::try_from(parts.sessions.active(None)).unwrap_or(i64::MAX);
        parts.metrics.credentials.set(active);
        let now = Timestamp::now().as_millisecond();
        let open = |kept: &KeptSession, phase| phase == Phase::Open && kept.expires_at_ms <= now;
        for kept in parts.sessions.select(open) {
            end(&parts, &kept.session, "Expired").await;
        }
        if looked.elapsed() < POD_LOOK {
            continue;
        }
        looked = Instant::now();
        let pods: BTreeMap<String, Workload> = parts
            .sessions
            .select(|_, _| true)
            .into_iter()
            .map(|kept| kept.principal.workload)
            .map(|workload| (workload.pod_uid.clone(), workload))
            .collect();
        let mut over = BTreeSet::new();
        for (uid, workload) in pods {
            if matches!(parts.objects.lives(&workload).await, Ok(false)) {
                over.insert(uid);
            }
        }
        for uid in over {
            pod_gone(&parts, &uid).await;
        }
    }
}
