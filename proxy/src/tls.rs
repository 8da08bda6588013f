//! The one TLS provider, and the client's side of it.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// Makes the one provider the process's own. With two in the tree the first use of either would panic.
pub(crate) fn install_provider() {
    // Installed already is what is wanted: local mode and tests start several proxies.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client that trusts these roots, from TLS 1.2 on.
pub(crate) fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
