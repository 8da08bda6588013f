//! Probes and metrics, read-only.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Parts;

/// Connections at the same time.
const CONNECTIONS: usize = 16;

/// Serves until the proxy stops.
pub(crate) async fn serve(
    listener: TcpListener,
    registry: Registry,
    parts: Arc<Parts>,
    stop: CancellationToken,
) {
    let registry = Arc::new(registry);
    let permits = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
        let (registry, parts) = (Arc::clone(&registry), Arc::clone(&parts));
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request| {
                let response = answer(&request, &registry, &parts);
                async move { Ok::<_, Infallible>(response) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                tracing::debug!(%error, "an admin connection ended");
            }
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    registry: &Registry,
    parts: &Parts,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return respond(StatusCode::METHOD_NOT_ALLOWED, "read only\n");
    }
    match request.uri().path() {
        "/livez" => respond(StatusCode::OK, "ok\n"),
        // Without a policy nothing could be decided: the pod's containers start once there is one.
        "/readyz" if parts.ruling().is_some() => respond(StatusCode::OK, "ok\n"),
        "/readyz" => {
            respond(StatusCode::SERVICE_UNAVAILABLE, "no policy has come from the operator yet\n")
        }
        "/metrics" => {
            let mut text = String::new();
            if encode(&mut text, registry).is_err() {
                return respond(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written\n");
            }
            let mut response = Response::new(Full::new(Bytes::from(text)));
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        }
        _ => respond(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn respond(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
