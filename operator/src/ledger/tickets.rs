//! Upload tickets: a URL that creates one object, with these bytes, within minutes.
//!
//! `PUT /v1/uploads/<session>/<number>?expires=..&sha256=..&length=..&signature=..`, as presigned
//! URLs of object stores are: everything that is allowed stands in it, and nothing is remembered.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use control::{SegmentAsk, Ticket};
use recording::Digest;
use serde::Deserialize;
use url::Url;

use super::Error;
use super::store::{Expected, SEGMENT_BYTES_MAX, is_session};

/// How long a ticket is good for.
const VALID_MS: i64 = 15 * 60 * 1000;

/// Issues and checks tickets.
#[derive(Debug)]
pub(super) struct Tickets {
    key: hmac::Key,
    uploads: Url,
}

/// What stands behind the `?`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Terms {
    expires: i64,
    sha256: String,
    length: u64,
    signature: String,
}

impl Tickets {
    pub(super) fn new(key: hmac::Key, uploads: Url) -> Self {
        Self { key, uploads }
    }

    /// A ticket for one segment.
    pub(super) fn issue(
        &self,
        session: &str,
        ask: &SegmentAsk,
        now_ms: i64,
    ) -> Result<Ticket, Error> {
        if !is_session(session) {
            return Err(Error::Malformed("session id"));
        }
        if !(1..=SEGMENT_BYTES_MAX).contains(&ask.length) {
            return Err(Error::SegmentSize(ask.length));
        }
        let sha256: Digest = ask.sha256.parse().map_err(|_| Error::Malformed("sha256"))?;
        let expected = Expected {
            session: session.to_owned(),
            number: ask.number,
            length: ask.length,
            sha256,
        };
        // Whole seconds, as the URL says them.
        let expires = (now_ms + VALID_MS) / 1000;
        let signature = hmac::sign(&self.key, &signed(&expected, expires));
        let mut url = self.uploads.clone();
        url.set_path(&format!("/v1/uploads/{session}/{}", ask.number));
        url.query_pairs_mut()
            .append_pair("expires", &expires.to_string())
            .append_pair("sha256", &sha256.to_string())
            .append_pair("length", &ask.length.to_string())
            .append_pair("signature", &hex(signature.as_ref()));
        Ok(Ticket {
            method: "PUT".into(),
            url: url.into(),
            headers: BTreeMap::from([
                ("content-length".into(), ask.length.to_string()),
                ("if-none-match".into(), "*".into()),
            ]),
            expires_at_ms: expires * 1000,
        })
    }

    /// What a request with these terms may create.
    pub(super) fn check(
        &self,
        session: &str,
        number: u64,
        terms: &Terms,
        now_ms: i64,
    ) -> Result<Expected, Error> {
        let sha256: Digest = terms.sha256.parse().map_err(|_| Error::Malformed("sha256"))?;
        let expected =
            Expected { session: session.to_owned(), number, length: terms.length, sha256 };
        let signature =
            unhex(&terms.signature).ok_or(Error::Ticket("its signature is malformed"))?;
        hmac::verify(&self.key, &signed(&expected, terms.expires), &signature)
            .map_err(|_| Error::Ticket("its signature is wrong"))?;
        if now_ms >= terms.expires.saturating_mul(1000) {
            return Err(Error::Ticket("it has expired"));
        }
        Ok(expected)
    }
}

/// What the signature covers: one line each, none of which can hold a line end.
fn signed(expected: &Expected, expires: i64) -> Vec<u8> {
    let Expected { session, number, length, sha256 } = expected;
    format!("PUT\n{session}\n{number}\n{expires}\n{sha256}\n{length}\n").into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const NOW_MS: i64 = 1_700_000_000_123;

    fn tickets(key: u8) -> Tickets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[key; 32]);
        Tickets::new(key, "https://frostgate.example:8443".parse().unwrap())
    }

    fn ask() -> SegmentAsk {
        SegmentAsk { number: 3, sha256: Digest::of(b"segment").to_string(), length: 7 }
    }

    fn terms(ticket: &Ticket) -> Terms {
        let url: Url = ticket.url.parse().unwrap();
        let pairs: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        Terms {
            expires: pairs["expires"].parse().unwrap(),
            sha256: pairs["sha256"].clone(),
            length: pairs["length"].parse().unwrap(),
            signature: pairs["signature"].clone(),
        }
    }

    #[test]
    fn a_ticket_says_everything_in_its_url() {
        let ticket = tickets(1).issue(SESSION, &ask(), NOW_MS).unwrap();
        insta::assert_snapshot!(ticket.url, @"https://frostgate.example:8443/v1/uploads/01890a5d-ac96-774b-bcce-b302099a8057/3?expires=1700000900&sha256=03e71c6d7dc6bd4e89ceaf32f6488ca0aa69b0de784b706cac5818d680e9d97f&length=7&signature=ff282f7bed9f29d7e0c609d185c835b8005be85e93a34024bf87527fa3369b7d");
        assert_eq!(ticket.headers["if-none-match"], "*");
        assert_eq!(ticket.expires_at_ms, 1_700_000_900_000);
        let expected = tickets(1).check(SESSION, 3, &terms(&ticket), NOW_MS).unwrap();
        assert_eq!((expected.length, expected.sha256), (7, Digest::of(b"segment")));
    }

    #[test]
    fn a_ticket_is_good_for_nothing_else() {
        let ticket = tickets(1).issue(SESSION, &ask(), NOW_MS).unwrap();
        let good = terms(&ticket);
        let wrong = Err(Error::Ticket("its signature is wrong"));
        let other = "01890a5d-ac96-774b-bcce-b302099a8058";
        let end_ms = ticket.expires_at_ms;
        let altered = |alter: fn(&mut Terms)| {
            let mut terms = good.clone();
            alter(&mut terms);
            tickets(1).check(SESSION, 3, &terms, NOW_MS)
        };
        let cases = [
            ("other session", tickets(1).check(other, 3, &good, NOW_MS), wrong.clone()),
            ("other number", tickets(1).check(SESSION, 4, &good, NOW_MS), wrong.clone()),
            ("other key", tickets(2).check(SESSION, 3, &good, NOW_MS), wrong.clone()),
            ("longer", altered(|terms| terms.length += 1), wrong.clone()),
            ("prolonged", altered(|terms| terms.expires += 1), wrong.clone()),
            ("other bytes", altered(|terms| terms.sha256 = "0".repeat(64)), wrong.clone()),
            ("cut", altered(|terms| terms.signature.truncate(62)), wrong),
            (
                "no hex",
                altered(|terms| terms.signature = "é".repeat(32)),
                Err(Error::Ticket("its signature is malformed")),
            ),
            (
                "expired",
                tickets(1).check(SESSION, 3, &good, end_ms),
                Err(Error::Ticket("it has expired")),
            ),
        ];
        for (what, result, expected) in cases {
            assert_eq!(result, expected, "{what}");
        }
        assert!(tickets(1).check(SESSION, 3, &good, end_ms - 1).is_ok());
    }

    #[test]
    fn no_ticket_is_issued_for_what_cannot_be_stored() {
        let issue =
            |session: &str, ask: SegmentAsk| tickets(1).issue(session, &ask, NOW_MS).unwrap_err();
        assert_eq!(issue("../../etc", ask()), Error::Malformed("session id"));
        assert_eq!(issue(SESSION, SegmentAsk { length: 0, ..ask() }), Error::SegmentSize(0));
        let length = SEGMENT_BYTES_MAX + 1;
        assert_eq!(issue(SESSION, SegmentAsk { length, ..ask() }), Error::SegmentSize(length));
        let sha256 = "A".repeat(64);
        assert_eq!(issue(SESSION, SegmentAsk { sha256, ..ask() }), Error::Malformed("sha256"));
    }
}
