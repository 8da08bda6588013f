//! Users that no session accounts for: found by prefix, owner and comment, and dropped. Never anybody else's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crds::SnowflakeConnection;
use tokio::time::{Instant, sleep};

use super::{full_name, sweep_interval};
use crate::proxies::Parts;
use crate::telemetry::ReasonLabel;

/// How often it is looked whether a sweep is due.
const LOOK: Duration = Duration::from_secs(1);

/// Sweeps every connection at its interval, until the shutdown.
pub async fn run(parts: Arc<Parts>) {
    let mut swept = HashMap::<String, Instant>::new();
    loop {
        tokio::select! {
            () = sleep(LOOK) => {}
            () = parts.shutdown.cancelled() => return,
        }
        let Ok(connections) = parts.objects.connections().await else { continue };
        swept.retain(|name, _| connections.iter().any(|connection| full_name(connection) == *name));
        let due: Vec<_> = connections
            .into_iter()
            .filter(|connection| {
                let last = swept.get(&full_name(connection));
                sweep_interval(connection)
                    .is_some_and(|interval| last.is_none_or(|at| at.elapsed() >= interval))
            })
            .collect();
        for connection in &due {
            swept.insert(full_name(connection), Instant::now());
        }
        // At once: an account that does not answer must not keep the others waiting.
        futures::future::join_all(due.iter().map(|connection| sweep(&parts, connection))).await;
    }
}

/// Looks once; returns how many users were dropped.
pub async fn sweep(parts: &Parts, connection: &SnowflakeConnection) -> usize {
    // Asked before and after the list: a session that ended meanwhile drops its user itself.
    let before = parts.sessions.users();
    let name = full_name(connection);
    let users = match parts.broker.users(connection).await {
        Ok(users) => users,
        Err(error) => {
            tracing::warn!(connection = name, %error, "users not listed");
            return 0;
        }
    };
    let after = parts.sessions.users();
    let mut dropped = 0;
    for user in users {
        if before.contains(&user.name) || after.contains(&user.name) {
            continue;
        }
        if let Err(error) = parts.broker.retire(connection, &user.name).await {
            tracing::warn!(connection = name, user = user.name, %error, "orphan not dropped");
            continue;
        }
        tracing::info!(
            connection = name,
            user = user.name,
            session = user.session,
            "orphan dropped"
        );
        dropped += 1;
        parts.metrics.drops.get_or_create(&ReasonLabel { reason: "Orphaned" }).inc();
        let logged = parts.ledger.drop_credential(&user.session, &user.name, "Orphaned").await;
        if let Err(error) = logged {
            tracing::error!(%error, user = user.name, "dropped orphan is not in the ledger");
        }
    }
    dropped
}
