//! Looks after sessions: idle and absolute limits, renewals at both ends, deserted statements, events from the
//! operator, closings that it has not heard of.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Parts;
use crate::downstream::session::Session;
use crate::operator::Event;
use crate::upstream::UpstreamError;

/// The operator hears of a session when this much is left of its time.
const RENEW_BEFORE_MS: i64 = 120_000;

/// Runs until the proxy stops.
pub(crate) async fn run(
    parts: Arc<Parts>,
    mut events: mpsc::UnboundedReceiver<Event>,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(parts.timings.tick);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => look(&parts),
            event = events.recv() => match event {
                Some(Event::Session { session, reason }) => close(&parts, &session, reason),
                Some(Event::Catalog) => parts.catalog.forget_all(),
                Some(Event::Connected) => parts.recorder.ship_again(),
                None => return,
            },
            () = stop.cancelled() => return,
        }
    }
}

fn close(parts: &Arc<Parts>, session: &str, reason: String) {
    let Some(session) = parts.sessions.by_id(session) else { return };
    let closer = Arc::clone(parts);
    parts.statements.spawn(async move { closer.close(&session, &reason).await });
}

fn look(parts: &Arc<Parts>) {
    let ruling = parts.ruling();
    if let Some(ruling) = &ruling {
        let age = i64::try_from(ruling.received.elapsed().as_secs()).unwrap_or(i64::MAX);
        parts.metrics.staleness.set(age);
    }
    let teller = Arc::clone(parts);
    parts.statements.spawn(async move { teller.tell_again().await });
    let learner = Arc::clone(parts);
    parts.statements.spawn(async move { learner.learn_again().await });
    let connection = ruling.as_ref().map(|ruling| ruling.connection.clone());
    let idle = ruling
        .map(|ruling| ruling.connection.session_idle_seconds)
        .filter(|seconds| *seconds > 0)
        .map_or(Duration::MAX, Duration::from_secs);
    for session in parts.sessions.all() {
        if connection.as_ref().is_some_and(|connection| !session.belongs_to(connection)) {
            parts.close_later(&session, "ConnectionChanged");
            continue;
        }
        if session.age() > parts.timings.session {
            parts.close_later(&session, "Expired");
            continue;
        }
        let running = session.running();
        if running.is_empty() && session.idle() > idle {
            parts.close_later(&session, "Idle");
            continue;
        }
        for statement in running {
            // Who asked for an asynchronous statement said that they would come back.
            if !statement.asynchronous && statement.deserted() > parts.timings.detached {
                tracing::info!(statement = %statement.id, "cancelled: its client has been away for too long");
                statement.cancel.cancel();
            }
        }
        let keeper = Arc::clone(parts);
        parts.statements.spawn(async move { keep(&session, &keeper).await });
    }
}

/// Renews what is due, here and there.
async fn keep(session: &Arc<Session>, parts: &Arc<Parts>) {
    match session.upstream.keep().await {
        Ok(()) => {}
        Err(UpstreamError::SessionLost(why)) => {
            tracing::warn!(session = session.id, why, "the account ended the session");
            parts.close_later(session, "UpstreamLost");
            return;
        }
        Err(error) => {
            tracing::warn!(session = session.id, %error, "the session could not be renewed");
        }
    }
    let left = session.renew_by() - crate::now_ms();
    if left > RENEW_BEFORE_MS {
        return;
    }
    match parts.operator.renew(&session.id).await {
        Ok(renewed) => session.renewed(renewed.expires_at_ms),
        Err(error) if left <= 0 || !error.is_temporary() => {
            tracing::warn!(session = session.id, %error, "the operator ended the session");
            parts.close_later(session, "Expired");
        }
        Err(error) => tracing::warn!(session = session.id, %error, "the operator did not renew"),
    }
}
