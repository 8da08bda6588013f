//! The operator's own CA in a Secret, and this replica's serving certificate, signed in memory.
//!
//! ```text
//! age of the CA   0 ........ 1/2 ............ 2/3 ............. 1
//! signs           current    current          next              ..
//! trusted         current    current + next   next + previous   ..
//! ```
//!
//! A new CA is trusted everywhere long before it signs, and an old one after it has signed for the last time: pods
//! that were injected meanwhile, other replicas and the API server never see a certificate they cannot check.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Name of the Secret.
pub const SECRET: &str = "frostgate-operator-ca";
/// Clocks of nodes differ by less.
const SKEW: Duration = Duration::from_secs(300);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Secret could not be read or written.
    #[error("secret {SECRET}: {0}")]
    Secret(#[source] Box<kube::Error>),
    /// The Secret holds no CA.
    #[error("secret {SECRET} holds no CA in {0}: delete it and the operator makes a new one")]
    NotOurs(&'static str),
    /// A certificate could not be made.
    #[error("certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A certificate could not be used.
    #[error("certificate: {0}")]
    Use(#[from] rustls::Error),
    /// A time is out of range.
    #[error("certificate lifetime out of range")]
    Time,
}

/// One CA.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    certificate: String,
    key: String,
    from: Timestamp,
    until: Timestamp,
}

/// The CAs there are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authorities {
    current: Authority,
    next: Option<Authority>,
    /// Trusted until it ends; its key is gone.
    previous: Option<String>,
}

/// This replica's certificate, and what vouches for it.
#[derive(Debug)]
pub struct Certificates {
    names: Vec<String>,
    ca_lifetime: Duration,
    leaf_lifetime: Duration,
    leaf: ArcSwapOption<Leaf>,
    trusted: ArcSwap<String>,
}

#[derive(Debug)]
struct Leaf {
    key: Arc<CertifiedKey>,
    signed_by: String,
    renew: Timestamp,
}

impl Certificates {
    /// For a server that is called by any of `names`. [`Certificates::refresh`] makes the first certificate.
    #[must_use]
    pub fn new(names: Vec<String>, ca_lifetime: Duration, leaf_lifetime: Duration) -> Arc<Self> {
        Arc::new(Self {
            names,
            ca_lifetime,
            leaf_lifetime,
            leaf: ArcSwapOption::empty(),
            trusted: ArcSwap::default(),
        })
    }

    /// The names by which a Service of `namespace` is called.
    #[must_use]
    pub fn names(service: &str, namespace: &str) -> Vec<String> {
        vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}"),
            service.to_owned(),
            "localhost".to_owned(),
        ]
    }

    /// PEM of every CA that may vouch for the operator; empty before the first refresh.
    #[must_use]
    pub fn trusted(&self) -> Arc<String> {
        self.trusted.load_full()
    }

    /// Whether there is a certificate to serve with.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.leaf.load().is_some()
    }

    /// TLS with whatever certificate is the newest when a client connects.
    ///
    /// # Errors
    /// When the provider has no usable protocol version, which would be a defect of the build.
    pub fn tls(self: &Arc<Self>) -> Result<Arc<ServerConfig>, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Newest(Arc::clone(self))));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads the CA, makes or turns it where that is due, and renews this replica's certificate. Polled, not
    /// watched: a deleted Secret raises no event that a fresh watch would see.
    ///
    /// # Errors
    /// When the Secret or the certificate could not be had; what was served before is served on.
    pub async fn refresh(
        &self,
        client: &Client,
        namespace: &str,
        leads: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        let api = Api::<Secret>::namespaced(client.clone(), namespace);
        let stored = api.get_opt(SECRET).await.map_err(|error| Error::Secret(Box::new(error)))?;
        let secret = match stored {
            Some(secret) => secret,
            None => self.create(&api, now).await?,
        };
        let mut authorities = Authorities::read(&secret)?;
        if leads && let Some(turned) = authorities.turned(now, self.ca_lifetime)? {
            let written = Secret { data: Some(turned.write()), ..secret };
            match api.replace(SECRET, &PostParams::default(), &written).await {
                Ok(_) => {
                    tracing::info!("certificate authority turned");
                    authorities = turned;
                }
                // Another replica was quicker; its work is read at the next turn.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(Error::Secret(Box::new(error))),
            }
        }
        self.adopt(&authorities, now)
    }

    async fn create(&self, api: &Api<Secret>, now: Timestamp) -> Result<Secret, Error> {
        let first = Authorities {
            current: Authority::make(now, self.ca_lifetime)?,
            next: None,
            previous: None,
        };
        let secret = Secret {
            metadata: ObjectMeta { name: Some(SECRET.to_owned()), ..Default::default() },
            data: Some(first.write()),
            ..Default::default()
        };
        match api.create(&PostParams::default(), &secret).await {
            Ok(created) => Ok(created),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                api.get(SECRET).await.map_err(|error| Error::Secret(Box::new(error)))
            }
            Err(error) => Err(Error::Secret(Box::new(error))),
        }
    }

    fn adopt(&self, authorities: &Authorities, now: Timestamp) -> Result<(), Error> {
        self.trusted.store(Arc::new(authorities.trusted(now)));
        let fresh = self.leaf.load().as_ref().is_some_and(|leaf| {
            leaf.signed_by == authorities.current.certificate && now < leaf.renew
        });
        if !fresh {
            let leaf = authorities.current.sign(&self.names, now, self.leaf_lifetime)?;
            self.leaf.store(Some(Arc::new(leaf)));
        }
        Ok(())
    }

    /// When the newest CA ends, Unix seconds.
    #[must_use]
    pub fn ends(&self) -> Option<i64> {
        validity(&self.trusted.load()).map(|(_, until)| until.as_second())
    }
}

/// Answers every client with the newest certificate.
#[derive(Debug)]
struct Newest(Arc<Certificates>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.leaf.load().as_ref().map(|leaf| Arc::clone(&leaf.key))
    }
}

impl Authority {
    fn make(now: Timestamp, lifetime: Duration) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Frostgate operator CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = period(now, lifetime)?;
        let certificate = params.self_signed(&key)?.pem();
        Self::parse(certificate, key.serialize_pem(), "ca.crt")
    }

    fn parse(certificate: String, key: String, field: &'static str) -> Result<Self, Error> {
        let (from, until) = validity(&certificate).ok_or(Error::NotOurs(field))?;
        Ok(Self { certificate, key, from, until })
    }

    /// How much of its life is over, in sixths.
    fn sixths(&self, now: Timestamp) -> i64 {
        let life = (self.until.as_second() - self.from.as_second()).max(1);
        (now.as_second() - self.from.as_second()).saturating_mul(6) / life
    }

    fn sign(&self, names: &[String], now: Timestamp, lifetime: Duration) -> Result<Leaf, Error> {
        let ca_key = KeyPair::from_pem(&self.key).map_err(|_| Error::NotOurs("ca.key"))?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, ca_key)
            .map_err(|_| Error::NotOurs("ca.crt"))?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "frostgate-operator");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (params.not_before, params.not_after) = period(now, lifetime)?;
        let certificate = params.signed_by(&key, &issuer)?;
        let private = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|error| rustls::Error::General(error.to_owned()))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified =
            CertifiedKey::from_der(vec![certificate.der().clone()], private, &provider)?;
        let renew = now.checked_add(lifetime * 2 / 3).map_err(|_| Error::Time)?;
        Ok(Leaf { key: Arc::new(certified), signed_by: self.certificate.clone(), renew })
    }
}

impl Authorities {
    fn read(secret: &Secret) -> Result<Self, Error> {
        let text = |field: &str| {
            secret
                .data
                .as_ref()
                .and_then(|data| data.get(field))
                .and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
        };
        let certificate = text("ca.crt").ok_or(Error::NotOurs("ca.crt"))?;
        let key = text("ca.key").ok_or(Error::NotOurs("ca.key"))?;
        let next = match (text("next.crt"), text("next.key")) {
            (Some(certificate), Some(key)) => Some(Authority::parse(certificate, key, "next.crt")?),
            _ => None,
        };
        let current = Authority::parse(certificate, key, "ca.crt")?;
        Ok(Self { current, next, previous: text("previous.crt") })
    }

    fn write(&self) -> BTreeMap<String, ByteString> {
        let mut data = BTreeMap::new();
        let mut put = |field: &str, text: &str| {
            data.insert(field.to_owned(), ByteString(text.as_bytes().to_vec()));
        };
        put("ca.crt", &self.current.certificate);
        put("ca.key", &self.current.key);
        if let Some(next) = &self.next {
            put("next.crt", &next.certificate);
            put("next.key", &next.key);
        }
        if let Some(previous) = &self.previous {
            put("previous.crt", previous);
        }
        data
    }

    /// The CAs after the step that is due, or none.
    fn turned(&self, now: Timestamp, lifetime: Duration) -> Result<Option<Self>, Error> {
        let age = self.current.sixths(now);
        match &self.next {
            None if age >= 3 => {
                let next = Some(Authority::make(now, lifetime)?);
                Ok(Some(Self { next, ..self.clone() }))
            }
            Some(next) if age >= 4 => Ok(Some(Self {
                current: next.clone(),
                next: None,
                previous: Some(self.current.certificate.clone()),
            })),
            _ => Ok(None),
        }
    }

    /// The newest first.
    fn trusted(&self, now: Timestamp) -> String {
        let next = self.next.iter().map(|next| next.certificate.as_str());
        let previous = self
            .previous
            .as_deref()
            .filter(|pem| validity(pem).is_some_and(|(_, until)| now < until));
        next.chain([self.current.certificate.as_str()]).chain(previous).collect()
    }
}

/// From and until of the first certificate in a PEM text.
fn validity(pem: &str) -> Option<(Timestamp, Timestamp)> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    let validity = certificate.validity();
    Some((
        Timestamp::from_second(validity.not_before.timestamp()).ok()?,
        Timestamp::from_second(validity.not_after.timestamp()).ok()?,
    ))
}

fn period(
    now: Timestamp,
    lifetime: Duration,
) -> Result<(time::OffsetDateTime, time::OffsetDateTime), Error> {
    let at =
        |second: i64| time::OffsetDateTime::from_unix_timestamp(second).map_err(|_| Error::Time);
    let lifetime = i64::try_from(lifetime.as_secs()).map_err(|_| Error::Time)?;
    let skew = i64::try_from(SKEW.as_secs()).map_err(|_| Error::Time)?;
    Ok((
        at(now.as_second() - skew.min(lifetime / 10))?,
        at(now.as_second().saturating_add(lifetime))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: Duration = Duration::from_secs(360 * 24 * 3600);

    fn after(days: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + days * 24 * 3600).unwrap()
    }

    fn count(pem: &str) -> usize {
        pem.matches("BEGIN CERTIFICATE").count()
    }

    #[test]
    fn a_new_ca_is_trusted_long_before_it_signs_and_the_old_one_after() {
        let first = Authorities {
            current: Authority::make(after(0), YEAR).unwrap(),
            next: None,
            previous: None,
        };
        assert_eq!(first.turned(after(170), YEAR).unwrap(), None);
        let prepared = first.turned(after(181), YEAR).unwrap().unwrap();
        assert_eq!(prepared.current, first.current);
        assert_eq!(count(&prepared.trusted(after(181))), 2);
        assert_eq!(prepared.turned(after(230), YEAR).unwrap(), None);
        let promoted = prepared.turned(after(241), YEAR).unwrap().unwrap();
        assert_eq!(Some(promoted.current.clone()), prepared.next);
        assert!(promoted.trusted(after(241)).contains(&first.current.certificate));
        assert_eq!(count(&promoted.trusted(after(361))), 1);
    }

    #[test]
    fn the_secret_holds_everything_another_replica_needs() {
        let first = Authorities {
            current: Authority::make(after(0), YEAR).unwrap(),
            next: Some(Authority::make(after(1), YEAR).unwrap()),
            previous: Some("old".to_owned()),
        };
        let secret = Secret { data: Some(first.write()), ..Default::default() };
        assert_eq!(Authorities::read(&secret).unwrap(), first);
        assert!(matches!(Authorities::read(&Secret::default()), Err(Error::NotOurs("ca.crt"))));
    }

    #[test]
    fn a_leaf_is_renewed_when_it_is_old_or_its_ca_was_turned() {
        let day = Duration::from_secs(24 * 3600);
        let certificates = Certificates::new(vec!["a.b.svc".into()], YEAR, day);
        let mut authorities = Authorities {
            current: Authority::make(after(0), YEAR).unwrap(),
            next: None,
            previous: None,
        };
        let leaf = |now| {
            certificates.adopt(&authorities, now).unwrap();
            certificates.leaf.load_full().unwrap()
        };
        let first = leaf(after(0));
        assert!(Arc::ptr_eq(&first, &leaf(after(0))));
        let second = leaf(after(1));
        assert!(!Arc::ptr_eq(&first, &second));
        authorities.current = Authority::make(after(1), YEAR).unwrap();
        certificates.adopt(&authorities, after(1)).unwrap();
        assert!(!Arc::ptr_eq(&second, &certificates.leaf.load_full().unwrap()));
    }
}
