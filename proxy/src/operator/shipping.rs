//! The way of sealed segments: ticket from the operator, PUT to where it says, notice to the operator.

use std::time::Duration;

use bytes::Bytes;
use control::{SealNotice, SegmentAsk, Ticket};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{CallError, Operator, OperatorError};
use crate::config;
use crate::recorder::ship::{ShipError, Shipper};
use crate::upstream::resolver::Resolver;

/// Ships segments with the operator's tickets.
pub(crate) struct Courier {
    operator: Operator,
    stores: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
}

impl Courier {
    /// Trusts the operator's CA, as the embedded store is the operator itself, and the public roots.
    pub(crate) fn new(
        operator: Operator,
        config: &config::Operator,
    ) -> Result<Self, OperatorError> {
        let mut roots = rustls::RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for certificate in
            CertificateDer::pem_slice_iter(config.ca.as_deref().unwrap_or_default().as_bytes())
        {
            roots.add(certificate.map_err(|error| OperatorError::Ca(error.to_string()))?)?;
        }
        let host = config.url.host_str().unwrap_or_default();
        let mut tcp =
            HttpConnector::new_with_resolver(Resolver::for_operator(host, config.address));
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(Duration::from_secs(5)));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(crate::tls::client_config(roots)?);
        // Local mode is one process on loopback; everywhere else a segment travels encrypted.
        let connector = if config.url.scheme() == "http" {
            connector.https_or_http()
        } else {
            connector.https_only()
        };
        let connector = connector.enable_all_versions().wrap_connector(tcp);
        let stores = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { operator, stores })
    }
}

impl Shipper for Courier {
    async fn ticket(&self, session: &str, ask: &SegmentAsk) -> Result<Ticket, ShipError> {
        self.operator.ticket(session, ask).await.map_err(|error| ship_error(&error))
    }

    async fn put(&self, ticket: &Ticket, file: Bytes) -> Result<(), ShipError> {
        let method = Method::from_bytes(ticket.method.as_bytes())
            .map_err(|_| ShipError("the ticket's method is not one".to_owned()))?;
        let mut request = Request::builder()
            .method(method)
            .uri(&ticket.url)
            .body(Full::new(file))
            .map_err(|error| ShipError(error.to_string()))?;
        for (name, value) in &ticket.headers {
            let name = HeaderName::try_from(name);
            let value = HeaderValue::try_from(value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(ShipError("a header of the ticket is not one".to_owned()));
            };
            request.headers_mut().insert(name, value);
        }
        let response =
            self.stores.request(request).await.map_err(|error| ShipError(crate::causes(&error)))?;
        let status = response.status();
        // Read to the end, so that the connection can be used again; what it says is for nobody.
        let said = Limited::new(response.into_body(), 64 << 10).collect().await;
        drop(said);
        match status.as_u16() {
            200..=299 | 412 => Ok(()),
            other => Err(ShipError(format!("the store answered HTTP {other}"))),
        }
    }

    async fn sealed(&self, session: &str, notice: &SealNotice) -> Result<(), ShipError> {
        self.operator.seal(session, notice).await.map_err(|error| ship_error(&error))
    }
}

fn ship_error(error: &CallError) -> ShipError {
    ShipError(error.to_string())
}
