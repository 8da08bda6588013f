//! Digest: SHA-256, in hex wherever a human or JSON sees it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};

use crate::entry::{Attempted, Bind, State};

/// A SHA-256 digest.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// What stands before the first frame of a session.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of parts, one behind the other.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

/// A digest that grows with a stream.
#[derive(Clone, Default)]
pub struct Digester {
    hasher: Sha256,
    length: u64,
}

impl Digester {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// How many bytes it took.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The digest of all bytes so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(self.hasher.clone().finalize().into())
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Attempted {
    /// What an approval is bound to: the exact SQL, the binds, and the state that gives names their meaning.
    ///
    /// SHA-256 over `frostgate statement v1\n` and then each of SQL, role, warehouse, database, schema and the binds
    /// as JSON, each preceded by its length (8 bytes, big endian); an absent one counts as empty. Lengths keep a
    /// boundary between two fields from being moved.
    #[must_use]
    pub fn digest_of(sql: &str, binds: &[Bind], state: &State) -> Digest {
        // A bind holds strings and JSON values only: serializing cannot fail.
        let binds = serde_json::to_vec(binds).unwrap_or_default();
        let mut hasher = Sha256::new();
        hasher.update(b"frostgate statement v1\n");
        for field in [
            sql.as_bytes(),
            state.role.as_bytes(),
            state.warehouse.as_deref().unwrap_or_default().as_bytes(),
            state.database.as_deref().unwrap_or_default().as_bytes(),
            state.schema.as_deref().unwrap_or_default().as_bytes(),
            &binds,
        ] {
            hasher.update((field.len() as u64).to_be_bytes());
            hasher.update(field);
        }
        Digest(hasher.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Not 64 hexadecimal digits in lower case.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 digest: 64 lower-case hexadecimal digits are expected")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    /// Strict, so that one digest has one spelling.
    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let text = text.as_bytes();
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(NotADigest);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |c: u8| match c {
                b'0'..=b'9' => Ok(c - b'0'),
                b'a'..=b'f' => Ok(c - b'a' + 10),
                _ => Err(NotADigest),
            };
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_as_it_was_written_and_in_no_other_spelling() {
        let digest = Digest::of(b"frostgate");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.to_string().to_uppercase().parse::<Digest>(), Err(NotADigest));
        assert_eq!("00".parse::<Digest>(), Err(NotADigest));
    }

    #[test]
    fn a_statement_digest_changes_with_every_field_and_with_every_boundary() {
        let state = |role: &str, warehouse: Option<&str>| State {
            role: role.into(),
            warehouse: warehouse.map(str::to_owned),
            ..State::default()
        };
        let bind = Bind { name: "1".into(), data_type: "TEXT".into(), value: "x".into() };
        let seen = [
            Attempted::digest_of("SELECT 1", &[], &state("R", None)),
            Attempted::digest_of("SELECT 2", &[], &state("R", None)),
            Attempted::digest_of("SELECT 1", &[bind], &state("R", None)),
            Attempted::digest_of("SELECT 1", &[], &state("RW", None)),
            Attempted::digest_of("SELECT 1", &[], &state("R", Some("W"))),
            Attempted::digest_of("SELECT 1R", &[], &state("", None)),
        ];
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len());
    }
}
