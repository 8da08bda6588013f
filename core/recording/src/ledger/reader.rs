//! How a reader of recordings shows, request by request, that it may read.
//!
//! Reader and operator share a key. It never travels: a request carries a MAC over its path and
//! the time, so that what a third party overhears is good for the same bytes, for minutes.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The header with the proof: `<unix seconds>.<base64 of HMAC-SHA256>` over
/// `GET\n<path and query>\n<unix seconds>\n`.
pub const READER_HEADER: &str = "frostgate-reader";
/// How far the clocks of reader and operator may be apart.
const SKEW_SECONDS_MAX: u64 = 5 * 60;
/// The shortest key.
const KEY_BYTES_MIN: usize = 32;

/// The key that readers and the operator share.
#[derive(Clone)]
pub struct ReaderKey(hmac::Key);

/// The text is no reader key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key of the readers is malformed: expected base64 of at least {KEY_BYTES_MIN} bytes")]
pub struct NotAReaderKey;

impl ReaderKey {
    /// Reads the key as it is kept: base64 of at least 32 random bytes.
    ///
    /// # Errors
    /// If it is shorter, or no base64.
    pub fn parse(text: &str) -> Result<Self, NotAReaderKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| NotAReaderKey)?;
        if bytes.len() < KEY_BYTES_MIN {
            return Err(NotAReaderKey);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The value of [`READER_HEADER`] for a request.
    pub fn prove(&self, path_and_query: &str, now_seconds: i64) -> String {
        let mac = hmac::sign(&self.0, &covered(path_and_query, now_seconds));
        format!("{now_seconds}.{}", STANDARD.encode(mac))
    }

    /// Whether the header proves knowledge of the key for this request, now.
    pub fn accepts(&self, header: &str, path_and_query: &str, now_seconds: i64) -> bool {
        let Some((seconds, mac)) = header.split_once('.') else { return false };
        let (Ok(seconds), Ok(mac)) = (seconds.parse::<i64>(), STANDARD.decode(mac)) else {
            return false;
        };
        now_seconds.abs_diff(seconds) <= SKEW_SECONDS_MAX
            && hmac::verify(&self.0, &covered(path_and_query, seconds), &mac).is_ok()
    }
}

impl std::fmt::Debug for ReaderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReaderKey")
    }
}

fn covered(path_and_query: &str, seconds: i64) -> Vec<u8> {
    format!("GET\n{path_and_query}\n{seconds}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn key(byte: u8) -> ReaderKey {
        ReaderKey::parse(&STANDARD.encode([byte; 32])).unwrap()
    }

    #[test]
    fn a_proof_is_good_for_its_request_and_its_minutes() {
        let proof = key(1).prove("/v1/recordings", NOW);
        let moved = proof.replace("1700000000", "1700000300");
        let cases = [
            ("as made", key(1).accepts(&proof, "/v1/recordings", NOW), true),
            ("five minutes on", key(1).accepts(&proof, "/v1/recordings", NOW + 300), true),
            ("clocks apart", key(1).accepts(&proof, "/v1/recordings", NOW - 300), true),
            ("too old", key(1).accepts(&proof, "/v1/recordings", NOW + 301), false),
            ("from the future", key(1).accepts(&proof, "/v1/recordings", NOW - 301), false),
            ("moved in time", key(1).accepts(&moved, "/v1/recordings", NOW + 300), false),
            ("another path", key(1).accepts(&proof, "/v1/recordings?after=", NOW), false),
            ("another key", key(2).accepts(&proof, "/v1/recordings", NOW), false),
            ("cut off", key(1).accepts(&proof[..30], "/v1/recordings", NOW), false),
            ("empty", key(1).accepts("", "/v1/recordings", NOW), false),
        ];
        for (what, accepted, expected) in cases {
            assert_eq!(accepted, expected, "{what}");
        }
    }

    #[test]
    fn a_short_key_is_none() {
        assert!(ReaderKey::parse(&STANDARD.encode([1; 31])).is_err());
        assert!(ReaderKey::parse("key").is_err());
    }
}
