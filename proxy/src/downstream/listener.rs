//! Sockets: accept, TLS, HTTP/1.1, within limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::Parts;
use crate::telemetry::Away;

/// What answers the requests of a listener; whether they came over TLS is told.
pub(crate) trait Service<B>: Clone + Send + Sync + 'static {
    /// Answers one request.
    fn answer(
        &self,
        request: Request<Incoming>,
        tls: bool,
        parts: Arc<Parts>,
    ) -> impl Future<Output = Response<B>> + Send;
}

impl<B, F, A> Service<B> for F
where
    F: Fn(Request<Incoming>, bool, Arc<Parts>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send,
{
    fn answer(
        &self,
        request: Request<Incoming>,
        tls: bool,
        parts: Arc<Parts>,
    ) -> impl Future<Output = Response<B>> + Send {
        self(request, tls, parts)
    }
}

/// Headers of a request, and their bytes.
const HEADERS: usize = 100;
const HEADER_BYTES: usize = 32 << 10;

/// Serves until shutdown; then lets the requests in flight end.
pub(crate) async fn serve<B>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: impl Service<B>,
    parts: Arc<Parts>,
    shutdown: CancellationToken,
) where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(parts.limits.connections));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, mostly: a pause lets some close.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            // Beyond the cap a connection is dropped at once: the others stay served.
            parts.metrics.turned_away(Away::Connection);
            continue;
        };
        let (tls, service) = (tls.clone(), service.clone());
        let (parts, watcher) = (Arc::clone(&parts), graceful.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            connection(stream, tls, service, parts, watcher).await;
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(parts.timings.drain) => {}
    }
}

async fn connection<B>(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    service: impl Service<B>,
    parts: Arc<Parts>,
    watcher: hyper_util::server::graceful::Watcher,
) where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    // Answers are whole; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return http(stream, false, service, parts, watcher).await };
    match tokio::time::timeout(parts.timings.header, tls.accept(stream)).await {
        Ok(Ok(stream)) => http(stream, true, service, parts, watcher).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn http<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: bool,
    service: impl Service<B>,
    parts: Arc<Parts>,
    watcher: hyper_util::server::graceful::Watcher,
) where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    // The time for a header runs while a connection is idle too, so idle connections need the longer one.
    let header = parts.timings.header.max(parts.timings.idle);
    let service = service_fn(move |request| {
        let (service, parts) = (service.clone(), Arc::clone(&parts));
        async move { Ok::<_, Infallible>(service.answer(request, tls, parts).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header)
        .max_headers(HEADERS)
        .max_header_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "a connection ended");
    }
}
