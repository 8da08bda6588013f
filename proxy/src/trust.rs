//! The trust of one pod: a CA that exists nowhere else, limited to the account's host, and what makes the
//! agent's runtime believe it.
//!
//! ```text
//! private volume (memory, sidecar only)   ca.key ca.crt                      survives a restart of the container,
//!                                                                            so that running applications go on
//! trust volume (agent reads)              ca.crt bundle.pem truststore.p12   public roots + this CA, for OpenSSL and the JVM
//! ```

pub(crate) mod ocsp;

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use p12_keystore::{Certificate as StoreCertificate, KeyStore, KeyStoreEntry};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use ocsp::Responder;

/// Clocks of pod and node may differ by this much before a fresh certificate looks like one of the future.
const BACKDATED: Duration = Duration::from_secs(3600);
/// A pod is gone long before; ending it there costs nothing.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 86400);
/// Every start makes a new leaf.
const LEAF_LIFE: Duration = Duration::from_secs(397 * 86400);
/// Not a secret: a PKCS#12 trust store must have one, and the JVM is told it in the clear.
pub(crate) const TRUST_STORE_PASSWORD: &str = "changeit";

/// What the listener serves with.
pub(crate) struct Trust {
    /// TLS for exactly the account's host.
    pub(crate) server: Arc<ServerConfig>,
    /// Answers for the leaf: some drivers refuse a certificate without an OCSP answer.
    pub(crate) responder: Responder,
}

/// Where the files are.
#[derive(Clone, Debug)]
pub struct Places {
    /// Mounted into nothing but the sidecar, backed by memory.
    pub private: PathBuf,
    /// Read by the agent's containers.
    pub public: PathBuf,
}

/// Why there is no trust to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A volume is missing or full.
    #[error("{path} cannot be written or read: {error}")]
    Volume {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A certificate could not be made or read.
    #[error("the certificate of {subject} cannot be made: {reason}")]
    Certificate {
        /// Whose.
        subject: &'static str,
        /// Why.
        reason: String,
    },
}

/// Makes or finds the pod's CA, makes a leaf for `host`, and writes what the agent's runtimes read.
///
/// # Errors
/// [`TrustError`]: without trust the sidecar is not ready, and the pod does not start.
pub(crate) fn establish(
    host: &str,
    ocsp_url: &str,
    places: &Places,
    now: SystemTime,
) -> Result<Trust, TrustError> {
    let authority = Authority::find_or_make(host, &places.private, now)?;
    publish(&authority.certificate, &places.public)?;

    let failed = |error: &dyn std::fmt::Display| TrustError::Certificate {
        subject: "the account's host",
        reason: error.to_string(),
    };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| failed(&error))?;
    let mut params = CertificateParams::new([host.to_owned()]).map_err(|error| failed(&error))?;
    params.not_before = OffsetDateTime::from(now - BACKDATED);
    params.not_after = OffsetDateTime::from(now + LEAF_LIFE);
    params.distinguished_name.push(DnType::CommonName, "Frostgate sidecar");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.custom_extensions.push(CustomExtension::from_oid_content(
        &[1, 3, 6, 1, 5, 5, 7, 1, 1],
        ocsp::authority_information_access(ocsp_url).map_err(|error| failed(&error))?,
    ));
    // A positive number of 16 bytes: its first bit must be 0.
    let mut serial = *uuid::Uuid::new_v4().as_bytes();
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let issuer = Issuer::from_ca_cert_der(&authority.certificate, &authority.key)
        .map_err(|error| failed(&error))?;
    let leaf = params.signed_by(&key, &issuer).map_err(|error| failed(&error))?;

    let responder = Responder::new(&authority.key, &serial).map_err(|error| failed(&error))?;
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone(), authority.certificate],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .map_err(|error| failed(&error))?;
    // One framing rule for requests: HTTP/1.1, which every driver speaks.
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Trust { server: Arc::new(server), responder })
}

/// The pod's CA.
struct Authority {
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn find_or_make(host: &str, private: &Path, now: SystemTime) -> Result<Self, TrustError> {
        let failed = |reason: String| TrustError::Certificate { subject: "the pod's CA", reason };
        let (key_path, certificate_path) = (private.join("ca.key"), private.join("ca.crt"));
        // Both or none: the certificate is written last.
        if let Some(pem) = read(&certificate_path)? {
            let key = read(&key_path)?
                .ok_or_else(|| failed(format!("{} is gone", key_path.display())))?;
            let key = KeyPair::from_pem(&key).map_err(|error| failed(error.to_string()))?;
            let der = pem::parse(pem).map_err(|error| failed(error.to_string()))?.into_contents();
            return Ok(Self { key, certificate: CertificateDer::from(der) });
        }
        // RSA, since the issuer signs the OCSP answers: JDBC knows no other signature there.
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
            .map_err(|error| failed(error.to_string()))?;
        let certificate =
            limited_to(host, now).self_signed(&key).map_err(|error| failed(error.to_string()))?;
        write(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
        write(&certificate_path, certificate.pem().as_bytes(), 0o600)?;
        Ok(Self { key, certificate: certificate.der().clone() })
    }
}

/// A CA that can vouch for `host` and for nothing else, and for no other CA.
fn limited_to(host: &str, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from(now - BACKDATED);
    params.not_after = OffsetDateTime::from(now + CA_LIFE);
    params.distinguished_name.push(DnType::CommonName, "Frostgate pod CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.name_constraints = Some(NameConstraints {
        // A form of name that is not listed is not limited: so addresses are listed too, and only loopback.
        permitted_subtrees: vec![
            GeneralSubtree::DnsName(host.to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 1], [255; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6(
                std::net::Ipv6Addr::LOCALHOST.octets(),
                [255; 16],
            )),
        ],
        excluded_subtrees: Vec::new(),
    });
    params
}

/// Writes what the agent's runtimes read. Variables such as `SSL_CERT_FILE` replace a runtime's own roots, so the
/// public ones are in the bundle too.
fn publish(authority: &CertificateDer<'_>, public: &Path) -> Result<(), TrustError> {
    let own = pem::encode(&pem::Pem::new("CERTIFICATE", authority.to_vec()));
    let mut bundle = own.clone();
    let mut store = KeyStore::new();
    let failed = |error: p12_keystore::error::Error| TrustError::Certificate {
        subject: "the JVM's trust store",
        reason: error.to_string(),
    };
    let all =
        std::iter::once(authority.as_ref()).chain(TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref));
    for (index, der) in all.enumerate() {
        if index > 0 {
            bundle.push_str(&pem::encode(&pem::Pem::new("CERTIFICATE", der)));
        }
        let certificate = StoreCertificate::from_der(der).map_err(failed)?;
        let alias = if index == 0 { "frostgate".to_owned() } else { format!("public-{index}") };
        store.add_entry(&alias, KeyStoreEntry::Certificate(certificate));
    }
    let store = store.writer(TRUST_STORE_PASSWORD).write().map_err(failed)?;
    write(&public.join("ca.crt"), own.as_bytes(), 0o644)?;
    write(&public.join("bundle.pem"), bundle.as_bytes(), 0o644)?;
    write(&public.join("truststore.p12"), &store, 0o644)
}

fn read(path: &Path) -> Result<Option<String>, TrustError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TrustError::Volume { path: path.to_owned(), error }),
    }
}

/// Replaces the file as a whole: a reader sees the old one or the new one.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TrustError> {
    let draft = path.with_extension("draft");
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&draft)
        .and_then(|mut file| io::Write::write_all(&mut file, bytes))
        .and_then(|()| fs::rename(&draft, path));
    written.map_err(|error| TrustError::Volume { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests;
