//! `/livez`, `/readyz` and `/metrics`, in plain HTTP and read-only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::certificates::Certificates;
use crate::objects::cluster::Cluster;
use crate::telemetry::{CONTENT_TYPE, Metrics};

/// What must hold before anybody is sent here.
pub struct Readiness {
    cluster: Arc<Cluster>,
    certificates: Arc<Certificates>,
    shutdown: CancellationToken,
    trusted: AtomicBool,
}

impl Readiness {
    /// Over the parts that say it.
    #[must_use]
    pub fn new(
        cluster: Arc<Cluster>,
        certificates: Arc<Certificates>,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self { cluster, certificates, shutdown, trusted: AtomicBool::new(false) })
    }

    /// Whether the API server trusts the certificates that are served.
    pub fn trusted(&self, trusted: bool) {
        self.trusted.store(trusted, Ordering::Relaxed);
    }

    /// What is still missing.
    fn missing(&self) -> Vec<&'static str> {
        [
            (self.cluster.ready(), "objects not read yet"),
            (self.certificates.ready(), "no certificate yet"),
            (
                self.trusted.load(Ordering::Relaxed),
                "the webhook configurations do not trust the CA yet",
            ),
            (!self.shutdown.is_cancelled(), "shutting down"),
        ]
        .into_iter()
        .filter_map(|(holds, missing)| (!holds).then_some(missing))
        .collect()
    }
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(page).with_state(metrics));
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "admin server ended");
    }
}

async fn readyz(State(readiness): State<Arc<Readiness>>) -> impl IntoResponse {
    let missing = readiness.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", missing.join("; ")))
    }
}

async fn page(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.page())
}
