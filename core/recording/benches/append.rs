//! What it costs to append to a recording, as a ratio in the same run to compressing and digesting the same bytes.

#![expect(clippy::expect_used, reason = "a program that ends where its own input is wrong")]

#[path = "../../measure.rs"]
mod measure;

use std::hint::black_box;

use recording::entry::{Attempted, Decision, Fact, Format, Payload, Rows};
use recording::segment::Writer;
use recording::{Certificate, Digest, Signed, SigningKey, seal::CERTIFICATE_CONTEXT};
use sha2::{Digest as _, Sha256};

use measure::measure;

/// The level at which recordings are compressed.
const LEVEL: i32 = 1;

fn main() {
    let writer = writer();
    let attempt = attempt();
    let text = serde_json::to_vec(&attempt).expect("an entry");
    measure(
        "append 100 entries",
        "zstd and SHA-256 of them",
        [attempt],
        |attempt| {
            let (mut writer, mut out) = (writer.clone(), Vec::new());
            for _ in 0..100 {
                writer.entry(attempt.clone(), 1_763_726_400_000, &mut out).expect("an entry");
            }
            black_box(out);
        },
        |_| {
            for _ in 0..100 {
                seal(&text);
            }
        },
    );
    let rows = rows();
    measure(
        "append 4 MB of rows",
        "zstd and SHA-256 of them",
        [rows],
        |rows| {
            let (mut writer, mut out) = (writer.clone(), Vec::new());
            let payload = Payload { length: rows.len() as u64, sha256: Digest::of(rows) };
            let fact = Fact::Rows(Rows {
                statement: "0".into(),
                chunk: 0,
                part: 0,
                format: Format::default(),
                payload,
                whole: Some(payload),
                hidden: Vec::new(),
            });
            writer.entry(fact, 1_763_726_400_000, &mut out).expect("an entry");
            writer.payload(rows, &mut out).expect("rows");
            black_box(out);
        },
        |rows| seal(rows),
    );
}

/// The least that a compressed record with a digest costs.
fn seal(bytes: &[u8]) {
    let compressed = zstd::bulk::compress(bytes, LEVEL).expect("memory");
    black_box(Sha256::digest(&compressed));
    black_box(Sha256::digest(bytes));
}

fn writer() -> Writer {
    let operator = SigningKey::from_seed(&[1; 32]).expect("a key");
    let recorder = SigningKey::from_seed(&[2; 32]).expect("a key");
    let certificate = Certificate {
        v: 1,
        session: "bench".into(),
        key: recorder.public(),
        pod_uid: "bench".into(),
        issued_at_ms: 0,
        not_after_ms: i64::MAX,
    };
    let signed = Signed::sign(CERTIFICATE_CONTEXT, &certificate, &operator).expect("a signature");
    Writer::first("bench", signed, &mut Vec::new()).expect("a header")
}

fn attempt() -> Fact {
    Fact::Attempted(Box::new(Attempted {
        statement: "01932c07-5a10-7c3e-9f58-0d7c5e1f2a44".into(),
        request_id: "01932c07-5a10-7c3e-9f58-0d7c5e1f2a45".into(),
        sql: "SELECT id, name, email FROM customers WHERE id IN (1, 2, 3) ORDER BY name".into(),
        digest: Digest::of(b"bench"),
        decision: Decision {
            reason: "RuleMatched".into(),
            policy: Some("shop/agents".into()),
            policy_hash: "0".repeat(64),
            kinds: vec!["Select".into()],
            reads: vec!["SHOP.PUBLIC.CUSTOMERS".into()],
            ..Decision::default()
        },
        ..Attempted::default()
    }))
}

fn rows() -> Vec<u8> {
    let mut rows = String::from("[");
    let mut row = 0;
    while rows.len() < 4 << 20 {
        rows.push_str(&format!(r#"["{row}","somebody.{row}@example.com","{}"],"#, row * 7919));
        row += 1;
    }
    rows.into_bytes()
}
