//! Where drivers ask whether the certificate was revoked: OCSP over HTTP, on loopback.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::trust::ocsp::{MAX_REQUEST_BYTES, Responder};

/// Connections at the same time.
const CONNECTIONS: usize = 64;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers until the proxy stops.
pub(crate) async fn serve(listener: TcpListener, responder: Responder, stop: CancellationToken) {
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = std::sync::Arc::clone(&permits).try_acquire_owned() else { continue };
        let responder = responder.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request| {
                let responder = responder.clone();
                async move { Ok::<_, Infallible>(answer(request, &responder).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                tracing::debug!(%error, "a status connection ended");
            }
        });
    }
}

async fn answer(request: Request<Incoming>, responder: &Responder) -> Response<Full<Bytes>> {
    // A request in the URL, or as the body.
    let answered = if request.method() == Method::GET {
        responder.answer_path(request.uri().path(), SystemTime::now())
    } else if request.method() == Method::POST {
        let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect();
        match tokio::time::timeout(PATIENCE, body).await {
            Ok(Ok(body)) => responder.answer(&body.to_bytes(), SystemTime::now()),
            _ => return plain(StatusCode::BAD_REQUEST),
        }
    } else {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    };
    let mut response = Response::new(Full::new(Bytes::from(answered)));
    let kind = HeaderValue::from_static("application/ocsp-response");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
