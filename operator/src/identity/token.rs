//! Decodes a compact JWS strictly: whatever two readers could understand differently is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use snowflake::decode::{self, Limits};

use super::Invalid;

/// The longest token that is looked at.
const BYTES_MAX: usize = 16 * 1024;

/// The algorithms that may sign: asymmetric ones only, so that no public key can serve as a shared secret.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// A token that was decoded and not yet verified.
pub(super) struct Token<'a> {
    /// `alg`.
    pub(super) algorithm: Algorithm,
    /// `kid`.
    pub(super) key_id: Option<String>,
    /// The claims; no name occurs twice at any depth.
    pub(super) claims: Map<String, Value>,
    /// What the signature covers.
    pub(super) signed: &'a str,
    /// The signature, still encoded.
    pub(super) signature: &'a str,
}

impl<'a> Token<'a> {
    /// Decodes; every doubt is an error.
    pub(super) fn decode(raw: &'a str) -> Result<Self, Invalid> {
        if raw.len() > BYTES_MAX {
            return Err(Invalid::Format("longer than 16 KiB"));
        }
        let (signed, signature) = raw.rsplit_once('.').ok_or(Invalid::Format("not three parts"))?;
        let (header, claims) = signed.split_once('.').ok_or(Invalid::Format("not three parts"))?;
        if claims.contains('.') {
            return Err(Invalid::Format("not three parts"));
        }
        if bytes(signature)?.is_empty() {
            return Err(Invalid::Algorithm);
        }
        let header = object(&bytes(header)?)?;
        let algorithm = inspect(&header)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(Invalid::Format("its key id is no text")),
        };
        Ok(Self { algorithm, key_id, claims: object(&bytes(claims)?)?, signed, signature })
    }
}

/// Reads the header. `jwk`, `jku`, `x5u`, `x5c` are never looked at: keys come from the connection alone.
fn inspect(header: &Map<String, Value>) -> Result<Algorithm, Invalid> {
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(Invalid::Format("it demands an extension that is not supported"));
    }
    if header.contains_key("enc") || header.contains_key("cty") {
        return Err(Invalid::Format("it is encrypted or holds another token"));
    }
    let kind = header.get("typ").map_or(Some("JWT"), Value::as_str).unwrap_or_default();
    if !["JWT", "at+jwt", "application/at+jwt"].iter().any(|known| known.eq_ignore_ascii_case(kind))
    {
        return Err(Invalid::Format("it is a token of another kind"));
    }
    let name = header.get("alg").and_then(Value::as_str).ok_or(Invalid::Algorithm)?;
    ALGORITHMS
        .iter()
        .find_map(|(known, algorithm)| (*known == name).then_some(*algorithm))
        .ok_or(Invalid::Algorithm)
}

/// The engine takes canonical text only: no padding, no white space, no stray bits.
fn bytes(text: &str) -> Result<Vec<u8>, Invalid> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Invalid::Format("a part is not base64url"))
}

/// A JSON object that every reader understands alike: no name in it occurs twice.
fn object(bytes: &[u8]) -> Result<Map<String, Value>, Invalid> {
    const LIMITS: Limits =
        Limits { depth: 16, keys: 4096, string: BYTES_MAX, sql: BYTES_MAX, binds: 0 };
    decode::strict(bytes, &LIMITS)
        .map_err(|_| Invalid::Format("a part is not JSON that all readers understand alike"))?;
    serde_json::from_slice(bytes).map_err(|_| Invalid::Format("a part is no JSON object"))
}
