//! The stream from the operator: one update per line, for ever.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use control::Update;
use http::Method;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::standing::Ruling;
use super::{CallError, Event, Operator};
use crate::telemetry::{Metrics, PolicyLabels};

/// Largest line.
const LINE: usize = 16 << 20;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Operator {
    /// Follows the stream until shutdown; reconnects with growing pauses. Policies that are known hold until their
    /// lease ends, whether the stream is up or not.
    pub(crate) async fn watch(self, metrics: Metrics, shutdown: CancellationToken) {
        let mut wait = FIRST_WAIT;
        loop {
            let before = Instant::now();
            let followed = tokio::select! {
                followed = self.follow(&metrics) => followed,
                () = shutdown.cancelled() => return,
            };
            metrics.connected.set(0);
            match followed {
                Ok(()) => tracing::info!("the operator's stream ended"),
                Err(error) => tracing::warn!(%error, "the operator's stream broke"),
            }
            if before.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => return,
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn follow(&self, metrics: &Metrics) -> Result<(), CallError> {
        let connect = self.request(Method::GET, "v1/stream", None::<&()>);
        let response = tokio::time::timeout(self.0.deadline, connect)
            .await
            .map_err(|_| CallError::Unreachable("it did not answer in time".to_owned()))??;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let body = http_body_util::Limited::new(body, LINE).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(super::refused(status, &body));
        }
        metrics.connected.set(1);
        let _ = self.0.events.send(Event::Connected);
        let mut lines = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| super::unreachable(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            lines.extend_from_slice(&data);
            while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
                let line = lines.split_to(end + 1);
                if !line.trim_ascii().is_empty() {
                    self.take(&line, metrics)?;
                }
            }
            if lines.len() > LINE {
                return Err(CallError::Unreachable("its stream has an endless line".to_owned()));
            }
        }
        Ok(())
    }

    fn take(&self, line: &[u8], metrics: &Metrics) -> Result<(), CallError> {
        match super::decode::<Update>(line)? {
            Update::Snapshot(snapshot) => {
                let hash = snapshot.policy_hash.clone();
                match Ruling::of(*snapshot, Instant::now()) {
                    Ok(ruling) => {
                        metrics.policy.clear();
                        for (policy, mode) in &ruling.documents {
                            let labels = PolicyLabels {
                                policy: policy.clone(),
                                hash: hash.clone(),
                                mode: match mode {
                                    policy::document::Mode::Enforce => "Enforce",
                                    policy::document::Mode::Audit => "Audit",
                                },
                            };
                            metrics.policy.get_or_create(&labels).set(1);
                        }
                        self.0.standing.send_replace(Some(Arc::new(ruling)));
                    }
                    // What was known holds until its lease ends; then everything is refused.
                    Err(error) => tracing::error!(%error, "a policy snapshot cannot be used"),
                }
            }
            Update::Verdict { statement, verdict, .. } => self.deliver(&statement, verdict),
            Update::CloseSession { session, reason } => {
                // Nobody listens only while shutting down.
                let _ = self.0.events.send(Event::Session { session, reason });
            }
            Update::CatalogChanged => {
                let _ = self.0.events.send(Event::Catalog);
            }
        }
        Ok(())
    }
}
