//! The way to the model's provider: one pool, bodies as streams, addresses looked at like the account's.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use control::update::Prompts as Settings;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::Error;

use super::copy::Copied;
use crate::upstream::egress::Egress;
use crate::upstream::resolver::Resolver;
use crate::upstream::transport::{Pool, SetUpError, pool, proxy, roots};

/// The way to one provider.
pub(super) struct Gateway {
    pool: Pool<Copied>,
    /// What paths are appended to.
    base: String,
}

impl Gateway {
    pub(super) fn new(
        settings: &Settings,
        given: BTreeMap<String, SocketAddr>,
        aliases: BTreeMap<String, IpAddr>,
        connect: Duration,
    ) -> Result<Self, SetUpError> {
        let networks = settings
            .private_networks
            .iter()
            .map(|network| network.parse().map_err(|_| SetUpError::Network(network.clone())));
        let resolver = Resolver::guarded(given, aliases, networks.collect::<Result<_, _>>()?);
        let egress = Egress::new(resolver, proxy(settings.https_proxy.as_deref())?, connect);
        Ok(Self {
            pool: pool(egress, roots(settings.ca_bundle.as_deref())?)?,
            base: settings.upstream.trim_end_matches('/').to_owned(),
        })
    }

    /// The URL of a path here at the provider.
    pub(super) fn url(&self, path_and_query: &str) -> Option<Uri> {
        format!("{}{path_and_query}", self.base).parse().ok()
    }

    /// Sends a request; the answer's body is still to come.
    pub(super) async fn send(&self, request: Request<Copied>) -> Result<Response<Incoming>, Error> {
        self.pool.request(request).await
    }
}
