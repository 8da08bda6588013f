//! Signatures: what is signed, by whom, and how it is told apart from every other signature.
//!
//! Two keys sign. The operator's key signs a [`Certificate`] for the key of each session; the key of the session signs
//! a [`Seal`] for each segment. Both are Ed25519 over a context line and the exact bytes of a JSON object, so that no
//! signature can be taken for one of another kind and no canonical form is needed.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, ParsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::digest::Digest;

/// Before the payload of a [`Certificate`].
pub const CERTIFICATE_CONTEXT: &[u8] = b"frostgate certificate v1\n";
/// Before the payload of a [`Seal`].
pub const SEAL_CONTEXT: &[u8] = b"frostgate seal v1\n";
/// Before the payload of a [`Grant`].
pub const GRANT_CONTEXT: &[u8] = b"frostgate grant v1\n";

/// Bytes and a signature over them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signed {
    /// The exact bytes that were signed, base64: one JSON object.
    pub payload: String,
    /// Ed25519 signature over the context line and these bytes, base64.
    pub signature: String,
}

/// Says that a key may sign the recording of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Version, 1.
    pub v: u32,
    /// The session.
    pub session: String,
    /// The session's key.
    pub key: PublicKey,
    /// UID of the pod that the session belongs to.
    pub pod_uid: String,
    /// When it was given, Unix milliseconds.
    pub issued_at_ms: i64,
    /// Seals after this time are not covered, Unix milliseconds.
    pub not_after_ms: i64,
}

/// Says that a segment is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seal {
    /// Version, 1.
    pub v: u32,
    /// The session.
    pub session: String,
    /// Number of the segment, from 0.
    pub segment: u64,
    /// Number of its first entry.
    pub first_entry: u64,
    /// Number of the entry after its last one.
    pub next_entry: u64,
    /// Link of the frame before the seal.
    pub head: Digest,
    /// SHA-256 of the previous segment's file; absent in segment 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// When, Unix milliseconds.
    pub sealed_at_ms: i64,
    /// Whether the session ends with it.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// What a human's approval became: the right to run one statement. The operator's own word for it stands in
/// `control::Grant`; this is what a verifier reads of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// `namespace/name` of the ApprovalRequest.
    pub request: String,
    /// The session it is for.
    pub session: String,
    /// The statement it is for.
    pub statement: String,
    /// The digest that was approved.
    pub digest: Digest,
    /// Who approved.
    pub approvers: Vec<crate::entry::Approver>,
    /// How often it may be used.
    pub uses: u32,
    /// Not valid after, Unix milliseconds.
    pub expires_at_ms: i64,
}

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// An Ed25519 key that signs. Never serialized, never shown.
pub struct SigningKey(Ed25519KeyPair);

/// Why something signed is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// Not base64, not a key, not 64 bytes of signature.
    #[error("malformed signature")]
    Malformed,
    /// The signature is by another key or over other bytes.
    #[error("the signature does not fit")]
    Invalid,
    /// The signed bytes are not what they should be.
    #[error("the signed bytes are not understood: {0}")]
    NotUnderstood(String),
}

/// A key that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an Ed25519 public key: expected 32 bytes as base64, or a verifier key `name+hash+base64`"
)]
pub struct NotAKey;

/// A seed that cannot be a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 seed of 32 bytes")]
pub struct NotASeed;

impl Signed {
    /// Signs a value.
    ///
    /// # Errors
    /// When the value has no JSON form.
    pub fn sign<T: Serialize>(
        context: &[u8],
        value: &T,
        key: &SigningKey,
    ) -> Result<Self, NotSigned> {
        let payload = serde_json::to_vec(value)
            .map_err(|error| NotSigned::NotUnderstood(error.to_string()))?;
        let signature = key.0.sign(&[context, &payload].concat());
        Ok(Self { payload: STANDARD.encode(payload), signature: STANDARD.encode(signature) })
    }

    /// Reads a value whose signature fits; there is no way to read one whose signature does not.
    ///
    /// # Errors
    /// When the signature is not by `key` over exactly these bytes.
    pub fn open<T: DeserializeOwned>(
        &self,
        context: &[u8],
        key: &PublicKey,
    ) -> Result<T, NotSigned> {
        let payload = STANDARD.decode(&self.payload).map_err(|_| NotSigned::Malformed)?;
        let signature = STANDARD.decode(&self.signature).map_err(|_| NotSigned::Malformed)?;
        let key = ParsedPublicKey::new(&ED25519, key.0).map_err(|_| NotSigned::Malformed)?;
        key.verify_sig(&[context, &payload].concat(), &signature)
            .map_err(|_| NotSigned::Invalid)?;
        serde_json::from_slice(&payload)
            .map_err(|error| NotSigned::NotUnderstood(error.to_string()))
    }
}

impl Signed {
    /// SHA-256 of the exact bytes that were signed: how the ledger remembers a grant.
    ///
    /// # Errors
    /// When the payload is not base64.
    pub fn payload_digest(&self) -> Result<Digest, NotSigned> {
        let payload = STANDARD.decode(&self.payload).map_err(|_| NotSigned::Malformed)?;
        Ok(Digest::of(&payload))
    }

    /// Reads a value without asking who signed it: for finding out which key to ask.
    pub(crate) fn unverified<T: DeserializeOwned>(&self) -> Result<T, NotSigned> {
        let payload = STANDARD.decode(&self.payload).map_err(|_| NotSigned::Malformed)?;
        serde_json::from_slice(&payload)
            .map_err(|error| NotSigned::NotUnderstood(error.to_string()))
    }
}

impl SigningKey {
    /// A key from 32 random bytes of the caller's.
    ///
    /// # Errors
    /// When the seed is no key.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, NotASeed> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| NotASeed)
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        // An Ed25519 public key has 32 bytes; a shorter copy could never verify.
        for (to, from) in bytes.iter_mut().zip(self.0.public_key().as_ref()) {
            *to = *from;
        }
        PublicKey(bytes)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl PublicKey {
    /// Reads a key in one of the forms in which it is published: 32 bytes as base64, or a signed-note verifier key
    /// (`name+hash+base64` with the algorithm byte 1).
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        // A verifier key holds two plus signs before its base64, which may hold more.
        let text = text.trim();
        if let Ok(bytes) = STANDARD.decode(text)
            && let Ok(bytes) = bytes.try_into()
        {
            return Ok(Self(bytes));
        }
        let encoded = text.splitn(3, '+').nth(2).ok_or(NotAKey)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| NotAKey)?;
        match bytes.split_first() {
            Some((1, key)) => key.try_into().map(Self).map_err(|_| NotAKey),
            _ => Err(NotAKey),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32]).unwrap()
    }

    #[test]
    fn a_signature_is_believed_only_with_its_key_its_context_and_its_bytes() {
        let signed = Signed::sign(SEAL_CONTEXT, &"hello", &key(1)).unwrap();
        assert_eq!(signed.open::<String>(SEAL_CONTEXT, &key(1).public()), Ok("hello".into()));
        assert_eq!(signed.open::<String>(SEAL_CONTEXT, &key(2).public()), Err(NotSigned::Invalid));
        assert_eq!(signed.open::<String>(GRANT_CONTEXT, &key(1).public()), Err(NotSigned::Invalid));
        let other = Signed { payload: STANDARD.encode("\"hullo\""), ..signed };
        assert_eq!(other.open::<String>(SEAL_CONTEXT, &key(1).public()), Err(NotSigned::Invalid));
    }

    #[test]
    fn a_key_is_read_in_both_published_forms() {
        let public = key(7).public();
        let note = format!(
            "frostgate.dev/ledger+0a1b2c3d+{}",
            STANDARD.encode([&[1], public.0.as_slice()].concat())
        );
        assert_eq!(PublicKey::parse(&public.to_string()), Ok(public));
        assert_eq!(PublicKey::parse(&format!("{note}\n")), Ok(public));
        assert_eq!(PublicKey::parse("frostgate"), Err(NotAKey));
    }
}
