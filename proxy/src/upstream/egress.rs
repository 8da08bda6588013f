//! The first metres out of the pod: straight to the host, or through the connection's egress proxy.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::TryFutureExt as _;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::resolver::Resolver;

/// Opens TCP connections to the hosts of URLs.
#[derive(Clone)]
pub(crate) struct Egress {
    way: Way,
    /// How long a connection may take, the proxy's part included.
    within: Duration,
}

#[derive(Clone)]
enum Way {
    Straight {
        tcp: HttpConnector<Resolver>,
        /// An address in place of a name is never resolved, so it is looked at before.
        resolver: Resolver,
    },
    /// By CONNECT. The proxy finds the host's address, and its rules say where it may lie.
    Proxy(Tunnel<HttpConnector<Resolver>>),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EgressError {
    #[error(transparent)]
    Straight(Box<dyn std::error::Error + Send + Sync>),
    #[error("the egress proxy: {0}")]
    Proxy(Box<dyn std::error::Error + Send + Sync>),
    #[error("no connection within {} s", .0.as_secs())]
    Late(Duration),
}

impl Egress {
    /// Finds hosts by `resolver`, where there is no `proxy` that does.
    pub(crate) fn new(resolver: Resolver, proxy: Option<Uri>, within: Duration) -> Self {
        let way = match proxy {
            None => Way::Straight { tcp: tcp(resolver.clone(), within), resolver },
            // Whoever wrote the connection wrote the proxy's address, which is a private one as a rule.
            Some(proxy) => Way::Proxy(Tunnel::new(proxy, tcp(Resolver::unguarded(), within))),
        };
        Self { way, within }
    }
}

impl Service<Uri> for Egress {
    type Response = TokioIo<TcpStream>;
    type Error = EgressError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, EgressError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), EgressError>> {
        match &mut self.way {
            Way::Straight { tcp, .. } => tcp.poll_ready(context).map_err(straight),
            Way::Proxy(tunnel) => tunnel.poll_ready(context).map_err(proxied),
        }
    }

    fn call(&mut self, host: Uri) -> Self::Future {
        let within = self.within;
        let connecting: Self::Future = match &mut self.way {
            Way::Straight { tcp, resolver } => {
                let admitted = resolver.look_at(host.host().unwrap_or_default()).map_err(straight);
                let connecting = tcp.call(host).map_err(straight);
                Box::pin(async {
                    admitted?;
                    connecting.await
                })
            }
            Way::Proxy(tunnel) => Box::pin(tunnel.call(host).map_err(proxied)),
        };
        Box::pin(async move {
            let connected = tokio::time::timeout(within, connecting).await;
            connected.unwrap_or(Err(EgressError::Late(within)))
        })
    }
}

fn straight(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EgressError {
    EgressError::Straight(error.into())
}

fn proxied(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EgressError {
    EgressError::Proxy(error.into())
}

fn tcp(resolver: Resolver, connect: Duration) -> HttpConnector<Resolver> {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(connect));
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    tcp
}
