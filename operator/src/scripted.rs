//! Scripted neighbours for the tests: objects in memory, an account that speaks Snowflake's protocol over TLS.

pub(crate) mod account;
pub(crate) mod objects;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A server on loopback, and the root that vouches for it.
pub(crate) struct Served {
    pub(crate) port: u16,
    pub(crate) ca: String,
    shutdown: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Serves the router over TLS as 127.0.0.1.
pub(crate) async fn serve(router: Router) -> Served {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shutdown = CancellationToken::new();
    let drain = Duration::from_millis(10);
    tokio::spawn(crate::https::serve(listener, Arc::new(tls), router, shutdown.clone(), drain));
    Served { port, ca: ca.pem(), shutdown }
}

/// A connection to the account behind `served`.
pub(crate) fn connection(served: &Served) -> crds::SnowflakeConnection {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "frostgate.dev/v1alpha1",
        "kind": "SnowflakeConnection",
        "metadata": { "name": "prod", "namespace": "data" },
        "spec": {
            "account": "myorg-analytics",
            "endpoint": { "host": "127.0.0.1", "port": served.port, "caBundle": served.ca },
            "credentials": { "mode": "EphemeralUser", "ephemeralUser": {
                "provisioner": { "user": "broker", "role": "provisioner",
                    "privateKeyRef": { "name": "key" } },
                "sweepInterval": "10s", "maxTTL": "1h", "networkPolicy": "egress",
            }},
            "session": { "warehouse": "wh", "database": "DB", "schema": "PUBLIC" },
            "allowedRoles": ["ANALYST", "STEWARD"],
            "catalog": { "role": "CATALOG_READER", "refresh": "5m" },
        },
    }))
    .unwrap()
}

/// A private key as a Secret keeps it.
pub(crate) fn private_key() -> String {
    static KEY: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem()
    });
    KEY.clone()
}

/// A session's public key as its sidecar sends it.
pub(crate) fn session_key() -> String {
    use base64::Engine as _;
    use rcgen::PublicKeyData as _;
    let pair = KeyPair::from_pem(&private_key()).unwrap();
    base64::engine::general_purpose::STANDARD.encode(pair.subject_public_key_info())
}
