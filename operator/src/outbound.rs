//! How the operator speaks to hosts outside the cluster: known roots, a deadline, no redirects, no proxy by accident.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A host that takes no connection within this is away; sidecars wait for an answer about four times as long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses that stand in for name resolution, by host: local mode and tests.
pub type Names = BTreeMap<String, SocketAddr>;

/// Why an answer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The PEM certificates that vouch for the host are no such thing.
    #[error("the CA bundle is not understood: {0}")]
    Roots(String),
    /// No client could be made.
    #[error("{0}")]
    Client(String),
    /// The connection failed or the answer stopped.
    #[error("{0}")]
    Connection(String),
    /// The answer was longer than anything that is expected.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// A client that trusts `ca_bundle`, or the public roots where there is none. The public roots are compiled in: the
/// image has no file system to read them from. Nothing of the environment names a `proxy`.
///
/// # Errors
/// When the bundle holds no certificates, or the proxy is no URL.
pub fn client(
    ca_bundle: Option<&str>,
    timeout: Duration,
    names: &Names,
    proxy: Option<&str>,
) -> Result<reqwest::Client, Error> {
    let roots = match ca_bundle {
        Some(pem) => reqwest::Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|error| Error::Roots(causes(&error)))?,
        None => webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .map(|root| reqwest::Certificate::from_der(root))
            .collect::<Result<_, _>>()
            .map_err(|error| Error::Roots(causes(&error)))?,
    };
    if roots.is_empty() {
        return Err(Error::Roots("it holds no certificate".to_owned()));
    }
    let mut builder = reqwest::Client::builder();
    for (host, address) in names {
        builder = builder.resolve(host, *address);
    }
    builder = match proxy {
        Some(url) => {
            builder.proxy(reqwest::Proxy::all(url).map_err(|error| Error::Client(causes(&error)))?)
        }
        None => builder.no_proxy(),
    };
    builder
        // A static binary on an empty file system has no resolver of the C library.
        .hickory_dns(true)
        .tls_certs_only(roots)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| Error::Client(causes(&error)))
}

/// The body of an answer, never longer than `bytes_max`.
///
/// # Errors
/// When it is longer, or stops before its end.
pub async fn body(mut response: reqwest::Response, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| Error::Connection(causes(&error)))?
    {
        if body.len() + chunk.len() > bytes_max {
            return Err(Error::TooLong(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The error with its causes: "error sending request" alone helps nobody.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
