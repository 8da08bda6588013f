//! `GET /v1/stream`: what holds for the pod, pushed as it changes.
//!
//! Each line is whole: a snapshot replaces the one before it. A stream that ends costs nothing: the sidecar connects
//! anew and is told everything again.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::update::{Durability, PromptCapture, Prompts};
use control::{Connection, Snapshot, Update, Workload};
use crds::SnowflakeConnection;
use crds::snowflake_connection::PromptCapture as Capture;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::Parts;
use super::authenticate::Caller;
use super::refusal::Refusal;
use super::sessions;
use crate::broker::full_name;
use crate::objects::{Attachment, Error};

/// Several changes at once are one snapshot.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// When it is not known what holds, it is asked again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Lines that a slow sidecar may leave unread before its stream ends.
const UNREAD: usize = 16;
/// A sidecar that takes nothing for so long is gone.
const STUCK: Duration = Duration::from_secs(30);

/// The stream of the calling pod.
pub async fn stream(
    State(parts): State<Arc<Parts>>,
    Caller(workload): Caller,
) -> Result<Response, Refusal> {
    // What cannot begin is refused with the reason; what ends later just ends.
    let first = snapshot(&parts, &workload).await?;
    let (lines, read) = mpsc::channel(UNREAD);
    let worker = parts.clone();
    parts.tasks.spawn(async move {
        let pod = workload.pod.clone();
        tracing::debug!(pod, "stream began");
        worker.metrics.streams.inc();
        push(&worker, &workload, first, &lines).await;
        worker.metrics.streams.dec();
        tracing::debug!(pod, "stream ended");
        worker.tasks.spawn(sessions::look_after(worker.clone(), workload));
    });
    let body = stream::unfold(read, |mut read| async move {
        let line: Bytes = read.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), read))
    });
    let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Pushes until the sidecar, the pod, or this process is gone.
async fn push(
    parts: &Arc<Parts>,
    workload: &Workload,
    first: Snapshot,
    lines: &mpsc::Sender<Bytes>,
) {
    let mut changes = parts.objects.changes();
    let mut events = parts.hub.subscribe(&workload.pod_uid);
    let mut current = first;
    let mut due = Some(current.clone());
    // Decided while nobody listened: told right after the snapshot.
    let mut missed = parts.approvals.verdicts_of(parts, &workload.pod_uid);
    loop {
        if let Some(snapshot) = due.take() {
            current = snapshot;
            if !send(lines, &Update::Snapshot(Box::new(current.clone()))).await {
                return;
            }
        }
        for verdict in missed.drain(..) {
            if !send(lines, &verdict).await {
                return;
            }
        }
        let refresh = Instant::now() + Duration::from_secs(current.lease_seconds) / 3;
        loop {
            let again = tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => {
                        sleep(DEBOUNCE).await;
                        changes.mark_unchanged();
                        false
                    }
                    Err(_) => return,
                },
                () = sleep_until(refresh) => true,
                event = events.recv() => match event {
                    Ok(update) if send(lines, &update).await => continue,
                    // Too far behind, or nobody reads: begin anew with everything.
                    Ok(_) | Err(_) => return,
                },
                () = lines.closed() => return,
                () = parts.shutdown.cancelled() => return,
            };
            if again && matches!(parts.objects.lives(workload).await, Ok(false)) {
                return;
            }
            match snapshot_or_wait(parts, workload).await {
                Ok(next) if again || next != current => {
                    due = Some(next);
                    break;
                }
                Ok(_) => {}
                Err(reason) => {
                    revoke(parts, workload, &reason, lines).await;
                    return;
                }
            }
        }
    }
}

/// What holds now. While nobody knows, the sidecar goes on with what it has, until its lease ends.
async fn snapshot_or_wait(parts: &Parts, workload: &Workload) -> Result<Snapshot, String> {
    loop {
        match parts.objects.attachment(workload).await {
            Ok(attachment) => return Ok(lower(parts, attachment)),
            Err(Error::Unavailable(_) | Error::Conflict(_)) => sleep(AGAIN).await,
            Err(Error::Refused(reason) | Error::Missing(reason)) => return Err(reason),
        }
    }
}

/// The connection no longer admits the pod: its sessions end before the stream does.
async fn revoke(
    parts: &Arc<Parts>,
    workload: &Workload,
    reason: &str,
    lines: &mpsc::Sender<Bytes>,
) {
    tracing::info!(pod = workload.pod, reason, "attachment revoked");
    for session in parts.sessions.open_of(&workload.pod_uid) {
        let closing = Update::CloseSession { session: session.clone(), reason: reason.to_owned() };
        let _ = send(lines, &closing).await;
        sessions::end(parts, &session, "Revoked").await;
    }
}

async fn send(lines: &mpsc::Sender<Bytes>, update: &Update) -> bool {
    let Ok(mut line) = serde_json::to_vec(update) else { return false };
    line.push(b'\n');
    matches!(tokio::time::timeout(STUCK, lines.send(line.into())).await, Ok(Ok(())))
}

async fn snapshot(parts: &Parts, workload: &Workload) -> Result<Snapshot, Refusal> {
    Ok(lower(parts, parts.objects.attachment(workload).await?))
}

/// What holds for the pod, in the words of the conversation.
fn lower(parts: &Parts, attachment: Attachment) -> Snapshot {
    let Attachment { connection, documents, suspended } = attachment;
    let name = full_name(&connection);
    Snapshot {
        lease_seconds: connection.spec.policy_lease.as_secs(),
        policy_hash: policy::document::hash(&documents),
        documents,
        suspended,
        grant_key: parts.ledger.public_key().to_string(),
        mask_key: STANDARD.encode(parts.ledger.mask_key(&name)),
        connection: describe(name, &connection),
    }
}

fn describe(name: String, connection: &SnowflakeConnection) -> Connection {
    let spec = &connection.spec;
    let endpoint = spec.endpoint.as_ref();
    Connection {
        name,
        account: spec.account.clone(),
        host: spec.host(),
        port: spec.port(),
        ca_bundle: endpoint.and_then(|endpoint| endpoint.ca_bundle.clone()),
        private_networks: endpoint
            .map(|endpoint| endpoint.private_networks.clone())
            .unwrap_or_default(),
        host_aliases: spec.aliases(),
        https_proxy: endpoint.and_then(|endpoint| endpoint.https_proxy.clone()),
        durability: Durability::Spool,
        session_idle_seconds: spec.session.idle_timeout.as_secs(),
        prompts: spec.prompts.as_ref().map(|prompts| Prompts {
            capture: match prompts.capture {
                Capture::Off => PromptCapture::Off,
                Capture::Masked => PromptCapture::Masked,
                Capture::Full => PromptCapture::Full,
            },
            upstream: prompts.upstream.clone(),
            ca_bundle: prompts.ca_bundle.clone(),
            private_networks: prompts.private_networks.clone(),
            https_proxy: prompts.https_proxy.clone(),
        }),
    }
}
