//! Bytes to the account and back: one pool, HTTP/1.1 and 2, bounded bodies, no redirects.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use control::Connection;
use flate2::read::MultiGzDecoder;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::IpNet;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use url::Url;

use super::egress::Egress;
use super::resolver::Resolver;

/// The way to one account.
pub(crate) struct Transport {
    /// To the account.
    account: Pool,
    /// To the stores where the account puts chunks: public ones too, where the account has a CA of its own.
    stores: Pool,
    base: String,
    connect: Duration,
}

/// Connections to one side, for requests with bodies of one kind.
pub(crate) type Pool<B = Full<Bytes>> = Client<HttpsConnector<Egress>, B>;

/// Why no answer came.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// Nothing was sent.
    #[error("{0}")]
    NotSent(String),
    /// It was sent, or may have been.
    #[error("{0}")]
    Broken(String),
    /// The answer is larger than it may be.
    #[error("the answer exceeds {0} bytes")]
    TooLarge(usize),
    /// The answer is compressed in a way that cannot be undone.
    #[error("the answer is not readable: {0}")]
    Unreadable(String),
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// An answer whose body is still to come.
pub(crate) struct Coming {
    pub(crate) status: StatusCode,
    /// Whether the body says that it is gzip. Some stores serve gzip without saying so.
    pub(crate) gzip: bool,
    body: Incoming,
    /// How long the next piece may take.
    patience: Duration,
}

impl Coming {
    /// The next piece of the body, as it was sent; none at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            let frame = tokio::time::timeout(self.patience, self.body.frame()).await;
            let late = |_| TransportError::Broken(slow(self.patience));
            match frame.map_err(late)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(TransportError::Broken(crate::causes(&error))),
                // Trailers say nothing that is needed.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

fn slow(patience: Duration) -> String {
    format!("no answer within {} s", patience.as_secs())
}

/// Why the way to the account cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetUpError {
    #[error("the connection's CA bundle is not readable: {0}")]
    Ca(String),
    #[error("the connection's {0} is not a network")]
    Network(String),
    #[error("the connection's {0} is not an egress proxy")]
    Proxy(String),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Transport {
    /// Sets up the way to the connection's account.
    pub(crate) fn new(
        connection: &Connection,
        networks: Vec<IpNet>,
        given: BTreeMap<String, SocketAddr>,
        connect: Duration,
    ) -> Result<Self, SetUpError> {
        let roots = roots(connection.ca_bundle.as_deref())?;
        let mut store_roots = public();
        store_roots.roots.extend(roots.roots.iter().cloned());
        let aliases = connection.host_aliases.clone();
        let resolver = Resolver::guarded(given, aliases, networks);
        let egress = Egress::new(resolver, proxy(connection.https_proxy.as_deref())?, connect);
        let account = pool(egress.clone(), roots)?;
        let stores = pool(egress, store_roots)?;
        let port =
            if connection.port == 443 { String::new() } else { format!(":{}", connection.port) };
        Ok(Self { account, stores, base: format!("https://{}{port}", connection.host), connect })
    }

    /// Sends a request to the account and reads the whole answer.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        deadline: Duration,
        limit: usize,
    ) -> Result<Reply, TransportError> {
        let url = format!("{}{path}", self.base);
        self.fetch(&self.account, method, &url, headers, body, deadline, limit).await
    }

    /// Asks for a chunk wherever the account put it. `patience` is how long the first and every further piece may take.
    pub(crate) async fn chunk(
        &self,
        url: &str,
        headers: &BTreeMap<String, String>,
        patience: Duration,
    ) -> Result<Coming, TransportError> {
        let not_sent = |text: &str| TransportError::NotSent(text.to_owned());
        let parsed = Url::parse(url).map_err(|_| not_sent("the chunk's URL is not one"))?;
        // The resolver looks at the address of a name; an address in the URL is looked at by it too.
        if parsed.scheme() != "https"
            || !parsed.username().is_empty()
            || parsed.password().is_some()
        {
            return Err(not_sent("the chunk's URL is not a plain https URL"));
        }
        if let Some(url::Host::Ipv4(_) | url::Host::Ipv6(_)) = parsed.host() {
            return Err(not_sent("the chunk's URL names an address instead of a host"));
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name =
                HeaderName::try_from(name).map_err(|_| not_sent("a chunk header is not one"))?;
            let value =
                HeaderValue::try_from(value).map_err(|_| not_sent("a chunk header is not one"))?;
            map.insert(name, value);
        }
        let request = request(Method::GET, parsed.as_str(), map, Bytes::new())?;
        let sent = tokio::time::timeout(patience, send(&self.stores, request)).await;
        let response = sent.unwrap_or_else(|_| Err(TransportError::Broken(slow(patience))))?;
        let (parts, body) = response.into_parts();
        Ok(Coming { status: parts.status, gzip: is_gzip(&parts.headers), body, patience })
    }

    #[allow(clippy::too_many_arguments, reason = "one request, spelled out once")]
    async fn fetch(
        &self,
        pool: &Pool,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
        deadline: Duration,
        limit: usize,
    ) -> Result<Reply, TransportError> {
        let request = request(method, url, headers, body)?;
        let exchange = async {
            let (parts, body) = send(pool, request).await?.into_parts();
            let body = Limited::new(body, limit).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    TransportError::TooLarge(limit)
                } else {
                    TransportError::Broken(crate::causes(&*error))
                }
            })?;
            Ok((parts, body.to_bytes()))
        };
        let (parts, body) = tokio::time::timeout(deadline.max(self.connect), exchange)
            .await
            .unwrap_or_else(|_| Err(TransportError::Broken(slow(deadline))))?;
        let body = if is_gzip(&parts.headers) { inflate(body, limit).await? } else { body };
        Ok(Reply { status: parts.status, body })
    }
}

fn request(
    method: Method,
    url: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, TransportError> {
    let mut request = Request::builder()
        .method(method)
        .uri(url)
        .body(Full::new(body))
        .map_err(|error| TransportError::NotSent(error.to_string()))?;
    *request.headers_mut() = headers;
    // Nothing but gzip is asked for, so nothing else has to be undone.
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(request)
}

async fn send(
    pool: &Pool,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, TransportError> {
    pool.request(request).await.map_err(|error| {
        let text = crate::causes(&error);
        if error.is_connect() {
            TransportError::NotSent(text)
        } else {
            TransportError::Broken(text)
        }
    })
}

fn is_gzip(headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::CONTENT_ENCODING);
    encoding.is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"))
}

fn public() -> rustls::RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// The certificates of a bundle, or the public ones.
pub(crate) fn roots(bundle: Option<&str>) -> Result<rustls::RootCertStore, SetUpError> {
    let Some(bundle) = bundle else { return Ok(public()) };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.map_err(|error| SetUpError::Ca(error.to_string()))?)?;
    }
    if roots.is_empty() {
        return Err(SetUpError::Ca("it holds no certificate".to_owned()));
    }
    Ok(roots)
}

/// The egress proxy of a connection.
pub(crate) fn proxy(url: Option<&str>) -> Result<Option<Uri>, SetUpError> {
    let parsed = url.map(|url| url.parse().map_err(|_| SetUpError::Proxy(url.to_owned())));
    parsed.transpose()
}

/// Makes a pool that trusts these roots.
pub(crate) fn pool<B>(
    egress: Egress,
    roots: rustls::RootCertStore,
) -> Result<Pool<B>, rustls::Error>
where
    B: hyper::body::Body + Send,
    B::Data: Send,
{
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(crate::tls::client_config(roots)?)
        .https_only()
        .enable_all_versions()
        .wrap_connector(egress);
    Ok(Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(60))
        .http2_keep_alive_interval(Duration::from_secs(20))
        // A request whose connection was closed while idle was never sent; the pool may send it again.
        .retry_canceled_requests(true)
        .build(connector))
}

/// Inflates off the threads that serve.
async fn inflate(body: Bytes, limit: usize) -> Result<Bytes, TransportError> {
    let work = move || {
        let mut inflated = Vec::with_capacity(body.len().saturating_mul(3).min(limit));
        let mut reader = MultiGzDecoder::new(&body[..]).take(limit as u64 + 1);
        match reader.read_to_end(&mut inflated) {
            Err(error) => Err(TransportError::Unreadable(error.to_string())),
            Ok(_) if inflated.len() > limit => Err(TransportError::TooLarge(limit)),
            Ok(_) => Ok(Bytes::from(inflated)),
        }
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(TransportError::Unreadable(error.to_string())))
}
