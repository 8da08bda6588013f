//! The keys of issuers: given in the connection, or fetched, cached and refreshed within bounds.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::token::Token;
use super::{Invalid, Issuer};
use crate::outbound;

/// Fetched keys are used for this long without asking again.
const FRESH: Duration = Duration::from_hours(1);
/// And for this much longer while the issuer does not answer.
const STALE: Duration = Duration::from_hours(1);
/// Unknown key ids cause one fetch in this time, however many tokens bring them.
const REFRESH_PAUSE: Duration = Duration::from_secs(30);
/// A failed first fetch is not repeated sooner.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// An issuer that answers slower does not answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// No key set or discovery document is larger.
const BYTES_MAX: usize = 256 * 1024;
/// No key set has more keys.
const KEYS_MAX: usize = 64;
/// Shorter RSA moduli are not worth checking a signature with.
const RSA_BYTES_MIN: usize = 256;

/// Where the keys of an issuer come from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// JWKS text in the connection.
    Static(String),
    /// Fetched from the issuer.
    Fetched {
        /// Where the key set is; absent means the issuer's discovery document says it.
        address: Option<String>,
        /// PEM roots instead of the public ones.
        ca_bundle: Option<String>,
    },
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Static(_) => "Static",
            Self::Fetched { .. } => "Fetched",
        })
    }
}

/// The keys of all issuers that were asked for.
#[derive(Default)]
pub struct Keys {
    /// By issuer and source: two connections may trust one issuer through different roots.
    known: Mutex<HashMap<(String, KeySource), Slot>>,
}

/// What is known of one issuer, held while it is asked.
type Slot = Arc<tokio::sync::Mutex<Cached>>;

/// What is known of one issuer.
#[derive(Default)]
struct Cached {
    keys: Arc<[Key]>,
    /// When `keys` were fetched.
    fetched: Option<Instant>,
    /// When a fetch was last tried, and what went wrong.
    tried: Option<(Instant, Option<String>)>,
}

/// One key that may verify.
#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl Keys {
    /// Checks the signature of a token of the issuer.
    pub(super) async fn verify(&self, issuer: &Issuer, token: &Token<'_>) -> Result<(), Invalid> {
        let keys = self.of(issuer, token.key_id.as_deref()).await?;
        let named: Vec<&Key> =
            keys.iter().filter(|key| token.key_id.is_none() || key.id == token.key_id).collect();
        if named.is_empty() {
            return Err(Invalid::Key);
        }
        let mut fitting = named.iter().filter(|key| key.algorithms.contains(&token.algorithm));
        let first = fitting.next().ok_or(Invalid::Algorithm)?;
        // A token that does not say which of several keys signed it, or whose key id two keys share, names no key.
        if fitting.next().is_some() {
            return Err(Invalid::Key);
        }
        let message = token.signed.as_bytes();
        match jsonwebtoken::crypto::verify(token.signature, message, &first.key, token.algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Invalid::Signature),
        }
    }

    /// The keys of the issuer, fetched anew where age or an unknown key id asks for it and the pause allows it.
    async fn of(&self, issuer: &Issuer, key_id: Option<&str>) -> Result<Arc<[Key]>, Invalid> {
        let (address, ca_bundle) = match &issuer.keys {
            KeySource::Static(text) => return parse(text.as_bytes()).map_err(Invalid::Unreachable),
            KeySource::Fetched { address, ca_bundle } => (address.as_deref(), ca_bundle.as_deref()),
        };
        let slot = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry((issuer.issuer.clone(), issuer.keys.clone())).or_default().clone()
        };
        // Held while fetching: whoever needs the same keys waits for this one fetch.
        let mut cached = slot.lock().await;
        if cached.wants_fetch(key_id) {
            let outcome = fetch(&issuer.issuer, address, ca_bundle).await;
            let now = Instant::now();
            match outcome {
                Ok(keys) => {
                    *cached = Cached { keys, fetched: Some(now), tried: Some((now, None)) };
                }
                Err(reason) => {
                    tracing::warn!(issuer = issuer.issuer, reason, "keys of the issuer not read");
                    cached.tried = Some((now, Some(reason)));
                }
            }
        }
        let usable = cached.fetched.is_some_and(|at| at.elapsed() < FRESH + STALE);
        if usable {
            return Ok(cached.keys.clone());
        }
        let reason = cached.tried.as_ref().and_then(|(_, reason)| reason.clone());
        Err(Invalid::Unreachable(reason.unwrap_or_else(|| "no answer".to_owned())))
    }
}

impl Cached {
    fn wants_fetch(&self, key_id: Option<&str>) -> bool {
        let pause = if self.fetched.is_some() { REFRESH_PAUSE } else { RETRY_PAUSE };
        if self.tried.as_ref().is_some_and(|(at, _)| at.elapsed() < pause) {
            return false;
        }
        let fresh = self.fetched.is_some_and(|at| at.elapsed() < FRESH);
        let known =
            key_id.is_none_or(|id| self.keys.iter().any(|key| key.id.as_deref() == Some(id)));
        !fresh || !known
    }
}

/// The part of the discovery document that is used.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

async fn fetch(
    issuer: &str,
    address: Option<&str>,
    ca_bundle: Option<&str>,
) -> Result<Arc<[Key]>, String> {
    let client = outbound::client(ca_bundle, FETCH_TIMEOUT, &outbound::Names::new(), None)
        .map_err(|error| error.to_string())?;
    if let Some(address) = address {
        return parse(&get(&client, address).await?);
    }
    let well_known = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let body = get(&client, &well_known).await?;
    let discovery: Discovery = serde_json::from_slice(&body)
        .map_err(|_| "its discovery document is not understood".to_owned())?;
    if discovery.issuer != issuer {
        return Err("its discovery document names another issuer".to_owned());
    }
    parse(&get(&client, &discovery.jwks_uri).await?)
}

async fn get(client: &reqwest::Client, address: &str) -> Result<Vec<u8>, String> {
    let url = Url::parse(address).map_err(|error| format!("{address:?}: {error}"))?;
    if url.scheme() != "https" {
        return Err(format!("{address} is not https"));
    }
    let response = client.get(url).send().await.map_err(|error| outbound::causes(&error))?;
    if !response.status().is_success() {
        return Err(format!("{address} answered {}", response.status()));
    }
    outbound::body(response, BYTES_MAX).await.map_err(|error| format!("{address}: {error}"))
}

/// Reads a key set; keys of a kind that cannot sign tokens are left out.
fn parse(body: &[u8]) -> Result<Arc<[Key]>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set =
        serde_json::from_slice(body).map_err(|_| "its key set is not understood".to_owned())?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("its key set has more than {KEYS_MAX} keys"));
    }
    let keys: Arc<[Key]> = set
        .keys
        .into_iter()
        .filter_map(|value| serde_json::from_value::<Jwk>(value).ok())
        .filter_map(|jwk| Key::of(&jwk))
        .collect();
    if keys.is_empty() {
        return Err("its key set has no key that can sign tokens".to_owned());
    }
    Ok(keys)
}

impl Key {
    /// The key with the algorithms it may be used for; `None` if there are none.
    fn of(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        if common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature)
        {
            return None;
        }
        let verifies =
            |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
        if !common.key_operations.as_ref().is_none_or(verifies) {
            return None;
        }
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => vec![
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                vec![Algorithm::ES256]
            }
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => {
                vec![Algorithm::ES384]
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                vec![Algorithm::EdDSA]
            }
            _ => return None,
        };
        if let Some(only) = &common.key_algorithm {
            algorithms.retain(|algorithm| format!("{algorithm:?}") == only.to_string());
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        if let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() {
            let length = n.iter().skip_while(|byte| **byte == 0).count();
            if length < RSA_BYTES_MIN || e.as_slice() == [1] {
                return None;
            }
        }
        (!algorithms.is_empty()).then(|| Self { id: common.key_id.clone(), algorithms, key })
    }
}
