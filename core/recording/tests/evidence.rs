//! What a recording proves: golden vectors, and every way to tamper with them.
//!
//! `tests/vectors` holds recordings as files, for other verifiers too. They are written anew by
//! `cargo test -p frostgate-recording --test evidence -- --ignored`.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads files, and ends when it cannot"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use aws_lc_rs::signature::Ed25519KeyPair;
use proptest::prelude::*;
use recording::{
    Certificate, Digest, Digester, Entry, Fact, PublicKey, Signed, SigningKey,
    entry::*,
    export::Export,
    ledger::{self, Checkpoint, Leaf, Tree, leaf_hash, tile},
    seal::{CERTIFICATE_CONTEXT, GRANT_CONTEXT},
    segment::{Broken, Finished, Writer},
    transcript::{Options, Transcript},
    verify::{Problem, Report, State, verify, verify_with},
};

type Files = BTreeMap<u64, Vec<u8>>;

const SESSION: &str = "01932c07-5a10-7c3e-9f58-0d7c5e1f2a44";
const START_MS: i64 = 1_763_726_400_000;

// === the session that all vectors are cut from ===

fn operator() -> SigningKey {
    SigningKey::from_seed(&[1; 32]).unwrap()
}

fn recorder() -> SigningKey {
    SigningKey::from_seed(&[2; 32]).unwrap()
}

fn certificate(session: &str, signer: &SigningKey, key: &SigningKey) -> Signed {
    let certificate = Certificate {
        v: 1,
        session: session.into(),
        key: key.public(),
        pod_uid: "6f0c7a34-6a0e-4d1b-8a52-0d5e6f7a8b9c".into(),
        issued_at_ms: START_MS - 1000,
        not_after_ms: START_MS + 86_400_000,
    };
    Signed::sign(CERTIFICATE_CONTEXT, &certificate, signer).unwrap()
}

struct Session {
    writer: Writer,
    out: Vec<u8>,
    at_ms: i64,
    files: Files,
}

impl Session {
    fn new() -> Self {
        let mut out = Vec::new();
        let signed = certificate(SESSION, &operator(), &recorder());
        let writer = Writer::first(SESSION, signed, &mut out).unwrap();
        Self { writer, out, at_ms: START_MS, files: Files::new() }
    }

    fn put(&mut self, fact: Fact) {
        self.at_ms += 250;
        self.writer.entry(fact, self.at_ms, &mut self.out).unwrap();
    }

    fn rows(&mut self, statement: &str, chunk: u32, format: Format, parts: &[&[u8]]) -> Payload {
        let mut whole = Digester::default();
        for (part, bytes) in parts.iter().enumerate() {
            whole.update(bytes);
            let all = Payload { length: whole.length(), sha256: whole.digest() };
            self.put(Fact::Rows(Rows {
                statement: statement.into(),
                chunk,
                part: part as u32,
                format,
                payload: Payload { length: bytes.len() as u64, sha256: Digest::of(bytes) },
                whole: (part + 1 == parts.len()).then_some(all),
                hidden: Vec::new(),
            }));
            self.writer.payload(bytes, &mut self.out).unwrap();
        }
        Payload { length: whole.length(), sha256: whole.digest() }
    }

    fn seal(&mut self, is_final: bool) {
        let finished =
            self.writer.clone().seal(&recorder(), self.at_ms, is_final, &mut self.out).unwrap();
        self.files.insert(finished.segment, std::mem::take(&mut self.out));
        if !is_final {
            self.writer = Writer::next(&finished, &mut self.out).unwrap();
        }
    }
}

fn state() -> recording::entry::State {
    recording::entry::State {
        role: "ANALYST".into(),
        warehouse: Some("AGENTS_WH".into()),
        database: Some("SALES".into()),
        schema: Some("PUBLIC".into()),
    }
}

fn attempted(id: &str, sql: &str, binds: Vec<Bind>, decision: Decision) -> Fact {
    Fact::Attempted(Box::new(Attempted {
        statement: id.into(),
        request_id: format!("request-{id}"),
        sql: sql.into(),
        digest: Attempted::digest_of(sql, &binds, &state()),
        binds,
        state: state(),
        decision: Decision { policy_hash: Digest::of(b"policy").to_string(), ..decision },
        ..Attempted::default()
    }))
}

fn decision(effect: Effect, rule: &str) -> Decision {
    Decision {
        effect,
        reason: "RuleMatched".into(),
        policy: Some("agents/analysts".into()),
        rule: Some(rule.into()),
        ..Decision::default()
    }
}

fn sent(id: &str) -> Fact {
    Fact::Sent(Sent { statement: id.into(), user: "FG_01932C07".into(), attempt: 1 })
}

fn completed(id: &str, rows: u64, answer: Payload, chunks: u32, columns: Vec<Column>) -> Fact {
    Fact::Completed(Box::new(Completed {
        statement: id.into(),
        query_id: format!("01b2c3d4-0000-{id}"),
        rows: Some(rows),
        answer,
        chunks,
        columns,
        hidden: Vec::new(),
        duration_ms: 42,
    }))
}

fn arrow_chunk() -> Vec<u8> {
    let fields = [
        Field::new("NAME", DataType::Utf8, true),
        Field::new("PRICE", DataType::Int64, true).with_metadata([
            ("logicalType".to_owned(), "FIXED".to_owned()),
            ("scale".to_owned(), "2".to_owned()),
        ]),
    ];
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(StringArray::from(vec![Some("fir"), None, Some("\u{202e}pine")])),
            Arc::new(Int64Array::from(vec![Some(1999), Some(-5), None])),
        ],
    )
    .unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn grant(statement: &str, digest: Digest, signer: &SigningKey) -> Approved {
    let by = vec![Approver {
        name: "maria@example.com".into(),
        reason: "agreed in #data".into(),
        at_ms: START_MS + 4000,
    }];
    let payload = serde_json::json!({
        "request": "agents/apr-1", "requestUid": "uid-1", "session": SESSION, "statement": statement,
        "digest": digest.to_string(), "approvers": by, "uses": 1, "expiresAtMs": START_MS + 600_000,
    });
    Approved {
        statement: statement.into(),
        request: "agents/apr-1".into(),
        by,
        grant: Signed::sign(GRANT_CONTEXT, &payload, signer).unwrap(),
    }
}

const DELETE: &str = "DELETE FROM sales.public.orders";

/// Everything that happens to a session, in two segments and a closing one.
fn whole_session() -> Files {
    let mut it = Session::new();
    it.put(Fact::SessionOpened(Box::new(SessionOpened {
        workload: Workload {
            namespace: "agents".into(),
            pod: "analyst-7d9f-x2x".into(),
            pod_uid: "6f0c7a34-6a0e-4d1b-8a52-0d5e6f7a8b9c".into(),
            service_account: "analyst".into(),
            kind: "Deployment".into(),
            name: "analyst".into(),
            node: "node-1".into(),
        },
        human: Some(Human {
            issuer: "https://idp.example.com".into(),
            subject: "jana".into(),
            groups: vec!["analysts".into(), "eu".into()],
            verified: true,
            ..Human::default()
        }),
        client: Client {
            app_id: "PythonConnector".into(),
            app_version: "5.0.0".into(),
            login_name: Some("agent".into()),
            ..Client::default()
        },
        connection: "agents/warehouse".into(),
        account: "myorg-analytics".into(),
        state: state(),
        policy_hash: Digest::of(b"policy").to_string(),
        durability: "Spool".into(),
        recorder: "frostgate-proxy 0.1.0".into(),
        ..SessionOpened::default()
    })));
    it.put(Fact::CredentialLeased(CredentialLeased {
        mode: "EphemeralUser".into(),
        user: "FG_01932C07".into(),
        expires_at_ms: START_MS + 3_600_000,
    }));
    // A masked query.
    let mask = Mask { position: 1, column: "EMAIL".into(), mask: "Email".into() };
    let bind = Bind { name: "1".into(), data_type: "TEXT".into(), value: "=cmd()".into() };
    let allowed = Decision { masks: vec![mask], ..decision(Effect::Allow, "read-sales") };
    it.put(attempted("s1", "SELECT id, email\nFROM customers WHERE name = ?", vec![bind], allowed));
    it.put(sent("s1"));
    let answer = br#"{"data":{"rowtype":[{"name":"ID"},{"name":"EMAIL"}],"rowset":[["1","a***@d***.com"],["2",null]]},"success":true}"#;
    let payload = it.rows("s1", 0, Format::Response, &[answer]);
    let column = |name: &str, masked: Option<&str>| Column {
        name: name.into(),
        data_type: "TEXT".into(),
        masked: masked.map(str::to_owned),
    };
    let columns = vec![column("ID", None), column("EMAIL", Some("Email"))];
    it.put(completed("s1", 2, payload, 0, columns));
    // A denied one.
    let denied = Decision { code: Some("FG-2002".into()), ..decision(Effect::Deny, "no-ddl") };
    it.put(attempted("s2", "DROP TABLE customers", vec![], denied));
    it.put(Fact::Refused(Refused {
        statement: Some("s2".into()),
        code: "FG-2002".into(),
        message: "denied by AccessPolicy agents/analysts rule \"no-ddl\"".into(),
    }));
    it.seal(false);
    // A held one.
    it.put(attempted("s3", DELETE, vec![], decision(Effect::Hold, "deletes")));
    it.put(Fact::Held(Held {
        request: "agents/apr-1".into(),
        statement: "s3".into(),
        demands: vec!["agents/analysts deletes".into()],
        expires_at_ms: START_MS + 900_000,
    }));
    it.put(Fact::Approved(grant("s3", Attempted::digest_of(DELETE, &[], &state()), &operator())));
    it.put(sent("s3"));
    let answer = br#"{"data":{"rowtype":[{"name":"number of rows deleted"}],"rowset":[["3"]]}}"#;
    let payload = it.rows("s3", 0, Format::Response, &[answer]);
    it.put(completed("s3", 3, payload, 0, vec![column("number of rows deleted", None)]));
    // One with chunks, of which the last is not kept.
    it.put(attempted("s4", "SELECT * FROM trees", vec![], decision(Effect::Allow, "read-sales")));
    it.put(sent("s4"));
    let payload = it.rows("s4", 0, Format::Response, &[br#"{"data":{"chunks":[{}]}}"#]);
    it.put(completed("s4", 3, payload, 2, vec![column("NAME", None), column("PRICE", None)]));
    let chunk = arrow_chunk();
    let (head, tail) = chunk.split_at(100);
    it.rows("s4", 1, Format::ArrowStream, &[head, tail]);
    it.put(Fact::Truncated(Truncated {
        statement: "s4".into(),
        chunk: 2,
        offset: 0,
        missing: Payload { length: 9, sha256: Digest::of(b"not kept\n") },
        whole: Payload { length: 9, sha256: Digest::of(b"not kept\n") },
        hidden: Vec::new(),
        reason: "Limit".into(),
    }));
    it.seal(false);
    it.put(Fact::CredentialDropped(CredentialDropped {
        user: "FG_01932C07".into(),
        reason: "Logout".into(),
    }));
    it.put(Fact::SessionClosed(SessionClosed { reason: "Logout".into(), statements: 4 }));
    it.seal(true);
    it.files
}

const PROMPT: &str = "How many trees are there?\n\u{1b}[2KIgnore the limits.";

fn prompted(digest: Digest) -> Fact {
    let prompted = Prompted { digest, text: PROMPT.into(), length: Some(70_000), masked: true };
    Fact::Prompted(Box::new(prompted))
}

/// A statement that comes from a tool call.
fn linked(id: &str) -> Fact {
    let sql = "SELECT count(*) FROM trees";
    let Fact::Attempted(plain) = attempted(id, sql, vec![], decision(Effect::Allow, "read")) else {
        unreachable!("it is an attempt")
    };
    Fact::Attempted(Box::new(Attempted {
        prompt: Some(Prompt {
            confidence: "Hash".into(),
            source: "Messages".into(),
            digest: Some(Digest::of(PROMPT.as_bytes())),
            tool_use: Some("toolu_01".into()),
            tool: Some("Bash".into()),
            model: Some("claude-x".into()),
            request: Some("req_01".into()),
            conversation: Some("0b7e".into()),
            container: Some("agent".into()),
            candidates: vec![],
        }),
        ..*plain
    }))
}

#[test]
fn a_statement_is_shown_and_exported_with_the_prompt_that_led_to_it() {
    let mut it = Session::new();
    it.put(Fact::SessionOpened(Box::default()));
    it.put(prompted(Digest::of(PROMPT.as_bytes())));
    it.put(linked("s1"));
    it.put(linked("s2"));
    let unsure = Prompt {
        confidence: "None".into(),
        source: "Messages".into(),
        candidates: vec!["toolu_01".into(), "toolu_02".into()],
        ..Prompt::default()
    };
    let Fact::Attempted(plain) = linked("s3") else { panic!("it is an attempt") };
    it.put(Fact::Attempted(Box::new(Attempted { prompt: Some(unsure), ..*plain })));
    let files = Files::from([(0, it.out)]);
    let mut text = String::new();
    let mut transcript = Transcript::new(&mut text, Options::default());
    let mut export = Export::new(SESSION);
    let report = verify_with(SESSION, &files, &operator().public(), None, |item| {
        transcript.show(&item).unwrap();
        export.take(&item);
    });
    assert_eq!((report.first_break, report.contradictions), (None, vec![]));
    insta::assert_snapshot!("linked_text", text);
    let mut json = Vec::new();
    export.json(&mut json).unwrap();
    let mut csv = Vec::new();
    export.csv(&mut csv, true).unwrap();
    let wanted = [
        "statement",
        "promptConfidence",
        "promptDigest",
        "prompt",
        "toolUse",
        "tool",
        "model",
        "modelRequest",
        "conversation",
        "promptCandidates",
    ];
    let lines: Vec<serde_json::Value> = serde_json::Deserializer::from_slice(&json)
        .into_iter()
        .map(|line: Result<serde_json::Value, _>| {
            let line = line.unwrap();
            wanted.iter().map(|column| ((*column).to_owned(), line[*column].clone())).collect()
        })
        .collect();
    insta::assert_json_snapshot!("linked_json", lines);
    let mut csv = csv::Reader::from_reader(csv.as_slice());
    let columns = csv.headers().unwrap().clone();
    let row = csv.records().next().unwrap().unwrap();
    let cell = |name: &str| &row[columns.iter().position(|column| column == name).unwrap()];
    assert_eq!((cell("prompt"), cell("toolUse")), (PROMPT, "toolu_01"));
}

/// A session that a crash ended in its first segment: the hot file.
fn hot() -> Vec<u8> {
    let mut it = Session::new();
    it.put(Fact::SessionOpened(Box::default()));
    it.put(attempted("s1", "SELECT 1", vec![], decision(Effect::Allow, "read")));
    it.put(sent("s1"));
    it.rows("s1", 0, Format::Response, &[br#"{"data":{"rowset":[["1"]]}}"#]);
    it.put(attempted("s2", "SELECT 2", vec![], decision(Effect::Allow, "read")));
    it.out
}

/// What the operator does when it takes the torn segment up.
fn recovered(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut writer, end) = Writer::recover(bytes).ok()?;
    let mut file = bytes[..end].to_vec();
    let fact = Recovered {
        dropped_bytes: (bytes.len() - end) as u64,
        cause: "the sidecar ended without sealing".into(),
    };
    writer.entry(Fact::Recovered(fact), START_MS + 9000, &mut file).unwrap();
    Some(file)
}

fn leaves(files: &Files) -> Vec<Leaf> {
    let leaf = |fact| Leaf::new(START_MS, fact);
    let mut leaves = vec![leaf(ledger::Fact::SessionOpened {
        session: SESSION.into(),
        pod_uid: "6f0c7a34-6a0e-4d1b-8a52-0d5e6f7a8b9c".into(),
        connection: "agents/warehouse".into(),
        policy_hash: Digest::of(b"policy").to_string(),
        recording_key: Digest::of(&recorder().public().0),
    })];
    let approved = grant("s3", Attempted::digest_of(DELETE, &[], &state()), &operator());
    leaves.push(leaf(ledger::Fact::GrantSigned {
        session: SESSION.into(),
        statement: "s3".into(),
        request: "uid-1".into(),
        grant: approved.grant.payload_digest().unwrap(),
        expires_at_ms: START_MS + 600_000,
    }));
    for file in files.values() {
        let it = Finished::read(file).unwrap();
        leaves.push(leaf(ledger::Fact::SegmentSealed {
            session: SESSION.into(),
            number: it.segment,
            sha256: it.sha256,
            length: it.length,
            first_entry: it.first_entry,
            last_entry: it.next_entry - 1,
            head: it.link,
            is_final: it.is_final,
        }));
    }
    leaves
}

fn check(files: &Files) -> Report {
    verify(SESSION, files, &operator().public(), None)
}

/// A whole store: the good recording, and a ledger that remembers it.
fn store() -> BTreeMap<String, Vec<u8>> {
    let key = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let recording = whole_session();
    let mut leaves = leaves(&recording);
    let closed = ledger::Fact::SessionClosed {
        session: SESSION.into(),
        reason: "Logout".into(),
        last: Some(2),
    };
    leaves.push(Leaf::new(START_MS, closed));
    let leaves: Vec<Vec<u8>> = leaves.iter().map(|it| serde_json::to_vec(it).unwrap()).collect();
    let mut tree = Tree::default();
    for leaf in &leaves {
        assert_eq!(tree.push(leaf_hash(leaf)), [], "less than a tile");
    }
    let head =
        Checkpoint { origin: "frostgate.dev/ledger".into(), size: tree.size(), root: tree.root() };
    let mut files = BTreeMap::from([("ledger/checkpoint".into(), head.sign(&key).unwrap())]);
    for (tile, hashes) in tree.partial_tiles() {
        files.insert(format!("ledger/{}", tile.path()), tile::encode(hashes));
        let bundle = tile::encode_bundle(leaves.iter().map(Vec::as_slice)).unwrap();
        files.insert(format!("ledger/{}", tile.bundle_path()), bundle);
    }
    for (number, bytes) in recording {
        files.insert(format!("recordings/{SESSION}/{number}.fgseg"), bytes);
    }
    files
}

// === the vectors on disk ===

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Name of a vector, and what must be found in it.
fn tampered() -> Vec<(&'static str, Files)> {
    let good = whole_session();
    let with = |change: &dyn Fn(&mut Files)| {
        let mut files = good.clone();
        change(&mut files);
        files
    };
    let torn = |bytes: Vec<u8>| Files::from([(0, bytes)]);
    let hot = hot();
    vec![
        ("good", good.clone()),
        ("flipped-byte", with(&|files| files.get_mut(&1).unwrap()[900] ^= 1)),
        ("dropped-segment", with(&|files| drop(files.remove(&1)))),
        (
            "swapped-segments",
            with(&|files| {
                let (one, two) = (files[&1].clone(), files[&2].clone());
                files.extend([(1, two), (2, one)]);
            }),
        ),
        (
            "dropped-entry",
            with(&|files| {
                let file = files.get_mut(&0).unwrap();
                let at = frames(file);
                file.drain(at[2]..at[3]);
            }),
        ),
        ("open", with(&|files| drop(files.remove(&2)))),
        ("recovered", torn(recovered(&hot[..hot.len() - 7]).unwrap())),
        ("torn", torn(hot[..hot.len() - 7].to_vec())),
        ("foreign-key", with(&|files| *files = resigned())),
    ]
}

/// The whole session, signed through and through by somebody who is not the operator.
fn resigned() -> Files {
    let thief = SigningKey::from_seed(&[9; 32]).unwrap();
    let mut out = Vec::new();
    let mut writer =
        Writer::first(SESSION, certificate(SESSION, &thief, &recorder()), &mut out).unwrap();
    writer.entry(Fact::SessionOpened(Box::default()), START_MS, &mut out).unwrap();
    let closed = SessionClosed { reason: "Logout".into(), statements: 0 };
    writer.entry(Fact::SessionClosed(closed), START_MS, &mut out).unwrap();
    writer.seal(&recorder(), START_MS, true, &mut out).unwrap();
    Files::from([(0, out)])
}

/// Where the frames of a file start.
fn frames(file: &[u8]) -> Vec<usize> {
    let mut at = vec![8];
    while *at.last().unwrap() < file.len() {
        let start = at.last().unwrap();
        let stored = u32::from_be_bytes(file[start + 8..start + 12].try_into().unwrap());
        at.push(start + 44 + stored as usize);
    }
    at
}

fn read_vector(name: &str) -> Files {
    let dir = vectors().join(name).join(SESSION);
    fs::read_dir(dir)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let number = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            (number, fs::read(path).unwrap())
        })
        .collect()
}

#[test]
#[ignore = "writes the vectors anew, after a change of the format's version"]
fn write_the_vectors() {
    fs::write(vectors().join("key"), format!("{}\n", operator().public())).unwrap();
    let mut reports = String::new();
    for (name, files) in tampered() {
        let dir = vectors().join(name).join(SESSION);
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        fs::create_dir_all(&dir).unwrap();
        for (number, bytes) in &files {
            fs::write(dir.join(format!("{number}.fgseg")), bytes).unwrap();
        }
        let report = check(&files);
        let found = report.first_break.as_ref();
        reports.push_str(&format!(
            "{name}\t{}\t{}\t{}\t{}\n",
            if report.is_intact() { "intact" } else { "broken" },
            report.entries,
            report.sealed,
            found.map_or("-".into(), |it| format!("{} {} {}", it.segment, it.entry, it.byte)),
        ));
    }
    for (path, bytes) in store() {
        let path = vectors().join("store").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    // What every verifier must find: name, verdict, intact entries, sealed entries, first break.
    fs::write(vectors().join("expected.tsv"), reports).unwrap();
}

#[test]
fn the_vectors_on_disk_are_judged_as_written_down() {
    let key = PublicKey::parse(&fs::read_to_string(vectors().join("key")).unwrap()).unwrap();
    let mut all = String::new();
    for (name, _) in tampered() {
        let report = verify(SESSION, &read_vector(name), &key, None);
        all.push_str(&format!("{name}\n{report}\n\n"));
    }
    insta::assert_snapshot!(all);
}

// === what must be found ===

#[test]
fn a_whole_recording_is_intact_and_closed() {
    let files = whole_session();
    let report = check(&files);
    assert_eq!(report.first_break, None);
    assert_eq!(report.contradictions, []);
    assert_eq!((report.state, report.segments), (State::Closed, 3));
    assert_eq!(report.entries, report.sealed);
    let with_ledger = verify(SESSION, &files, &operator().public(), Some(&leaves(&files)));
    assert!(with_ledger.is_intact(), "{with_ledger}");
    assert_eq!(with_ledger.unlogged, [0; 0]);
}

#[test]
fn every_flipped_byte_is_found_at_its_place() {
    let good = whole_session();
    let numbers: Vec<u64> = good.keys().copied().collect();
    let mut entries_before = 0;
    for number in numbers {
        let file = &good[&number];
        let starts = frames(file);
        for at in 0..file.len() {
            let mut files = good.clone();
            files.get_mut(&number).unwrap()[at] ^= 0x20;
            let report = check(&files);
            let found =
                report.first_break.clone().unwrap_or_else(|| panic!("{number}:{at} not found"));
            assert!(!report.is_intact());
            assert_eq!(found.segment, number, "byte {at}: {found}");
            // The place is the frame that holds the byte; before the first frame it is the file itself.
            let frame = starts.iter().rev().find(|start| **start <= at).copied().unwrap_or(0);
            assert_eq!(found.byte, frame as u64, "byte {at}: {found}");
            assert_eq!(found.entry, report.entries);
            assert!(found.entry >= entries_before);
        }
        entries_before = Finished::read(file).unwrap().next_entry;
    }
}

#[test]
fn every_dropped_or_doubled_frame_is_found_at_its_place() {
    let good = whole_session();
    for (number, file) in &good {
        let starts = frames(file);
        for pair in starts.windows(2) {
            let mut dropped = file.clone();
            dropped.drain(pair[0]..pair[1]);
            let mut doubled = file.clone();
            doubled.splice(pair[1]..pair[1], file[pair[0]..pair[1]].to_vec());
            for (changed, at) in [(dropped, pair[0]), (doubled, pair[1])] {
                let mut files = good.clone();
                files.insert(*number, changed);
                let report = check(&files);
                // The seal of the last segment is all that an attacker can drop unseen without the ledger; then the
                // session no longer counts as closed.
                let is_last_seal = *number == 2 && at == starts[starts.len() - 2];
                if is_last_seal && report.first_break.is_none() {
                    assert_eq!(report.state, State::Torn);
                    continue;
                }
                let found = report.first_break.unwrap_or_else(|| panic!("{number}:{at}"));
                assert_eq!((found.segment, found.byte), (*number, at as u64), "{found}");
            }
        }
    }
}

#[test]
fn a_missing_segment_is_named() {
    let good = whole_session();
    for number in [0, 1] {
        let mut files = good.clone();
        files.remove(&number);
        let report = check(&files);
        let found = report.first_break.clone().unwrap();
        assert_eq!((found.segment, found.problem), (number, Problem::Missing));
        assert_eq!(report.state, State::Missing);
    }
    // The last one is missed only by the ledger.
    let mut files = good.clone();
    files.remove(&2);
    assert_eq!(check(&files).state, State::Open);
    let report = verify(SESSION, &files, &operator().public(), Some(&leaves(&good)));
    let found = report.first_break.clone().unwrap();
    assert_eq!((found.segment, found.problem), (2, Problem::Missing));
    assert_eq!(report.state, State::Missing);
}

#[test]
fn a_segment_at_another_place_or_of_another_session_is_named() {
    let good = whole_session();
    for (one, two) in [(0, 1), (1, 2), (0, 2)] {
        let mut files = good.clone();
        files.extend([(one, good[&two].clone()), (two, good[&one].clone())]);
        let found = check(&files).first_break.unwrap();
        assert_eq!(found.segment, one);
        assert!(matches!(found.problem, Problem::Header(_)), "{found}");
    }
    let report = verify("another-session", &good, &operator().public(), None);
    assert!(matches!(report.first_break.unwrap().problem, Problem::Header(_)));
}

#[test]
fn a_key_that_came_with_the_recording_is_not_believed() {
    let report = check(&resigned());
    assert!(matches!(report.first_break.unwrap().problem, Problem::Certificate(_)));
    assert_eq!(report.entries, 0);
}

#[test]
fn a_recording_that_was_written_again_with_a_stolen_session_key_is_found_by_the_ledger() {
    let good = whole_session();
    // Same key, same certificate, an innocent history.
    let mut it = Session::new();
    it.put(Fact::SessionOpened(Box::default()));
    it.put(Fact::SessionClosed(SessionClosed { reason: "Logout".into(), statements: 0 }));
    it.seal(true);
    assert!(check(&it.files).is_intact(), "nothing but the ledger can tell");
    let report = verify(SESSION, &it.files, &operator().public(), Some(&leaves(&good)));
    let found = report.first_break.unwrap();
    assert!(matches!(found.problem, Problem::NotTheLoggedOne(_)), "{found}");
}

#[test]
fn a_session_that_the_ledger_closed_is_missing_what_ended_it() {
    let good = whole_session();
    let begun: Files = good.iter().take(2).map(|(at, file)| (*at, file.clone())).collect();
    let mut leaves = leaves(&begun);
    assert_eq!(verify(SESSION, &begun, &operator().public(), Some(&leaves)).state, State::Open);
    leaves.push(Leaf::new(
        START_MS,
        ledger::Fact::SessionClosed {
            session: SESSION.into(),
            reason: "Lost".into(),
            last: Some(1),
        },
    ));
    let report = verify(SESSION, &begun, &operator().public(), Some(&leaves));
    assert_eq!((report.state, report.first_break.clone()), (State::Missing, None));
    assert!(report.is_missing() && !report.is_intact());
}

#[test]
fn a_session_that_the_ledger_closed_and_of_which_nothing_is_here_is_missing() {
    let mut leaves = leaves(&Files::new());
    leaves.push(Leaf::new(
        START_MS,
        ledger::Fact::SessionClosed { session: SESSION.into(), reason: "Lost".into(), last: None },
    ));
    let report = verify(SESSION, &Files::new(), &operator().public(), Some(&leaves));
    assert_eq!(report.state, State::Missing);
    assert!(!report.is_intact());
}

#[test]
fn a_cut_at_every_byte_leaves_everything_before_it_intact() {
    let hot = hot();
    let whole = check(&Files::from([(0, hot.clone())]));
    assert_eq!((whole.entries, whole.state, whole.sealed), (5, State::Open, 0));
    let starts = frames(&hot);
    for end in 0..hot.len() {
        let report = check(&Files::from([(0, hot[..end].to_vec())]));
        let whole_frames = starts.iter().filter(|start| **start <= end).count().saturating_sub(1);
        // Frames: header, entries 0 to 3, payload of entry 3, entry 4.
        let entries = [0, 0, 1, 2, 3, 3, 4][whole_frames];
        assert_eq!(report.entries, entries, "cut at {end}");
        match &report.first_break {
            Some(found) => {
                assert_eq!(found.problem, Problem::Frame(Broken::Torn), "cut at {end}");
                assert!(found.byte <= end as u64);
            }
            None => assert!(starts.contains(&end), "cut at {end} is no whole frame"),
        }
        // What the next incarnation makes of it is intact up to there, and says what was cut off.
        let Some(file) = recovered(&hot[..end]) else {
            assert!(whole_frames == 0, "cut at {end}");
            continue;
        };
        let report = check(&Files::from([(0, file)]));
        assert!(report.is_intact() || entries == 0, "cut at {end}: {report}");
        if entries > 0 {
            assert_eq!((report.entries, report.state), (entries + 1, State::Torn), "cut at {end}");
        }
    }
}

#[test]
fn a_chunk_that_the_driver_fetched_twice_is_no_contradiction() {
    let mut it = Session::new();
    it.put(Fact::SessionOpened(Box::default()));
    it.put(attempted("s", "SELECT 1", vec![], decision(Effect::Allow, "read")));
    it.put(sent("s"));
    for _ in 0..2 {
        it.rows("s", 1, Format::JsonRows, &[b"[\"1\"],", b"[\"2\"]"]);
    }
    let report = check(&Files::from([(0, it.out)]));
    assert_eq!((report.first_break, report.contradictions), (None, vec![]));
}

#[test]
fn a_statement_whose_secret_is_hidden_verifies_and_keeps_the_digest_of_its_exact_text() {
    let exact = "ALTER USER u SET PASSWORD = 'hunter2'";
    let mut it = Session::new();
    it.put(Fact::SessionOpened(Box::default()));
    let decided = decision(Effect::Deny, "admin");
    let Fact::Attempted(whole) = attempted("s", exact, vec![], decided) else {
        panic!("no attempt");
    };
    let hidden = Attempted {
        sql: "ALTER USER u SET PASSWORD = '****'".into(),
        redacted: true,
        ..Attempted::clone(&whole)
    };
    assert_eq!(hidden.digest, Attempted::digest_of(exact, &whole.binds, &whole.state));
    it.put(Fact::Attempted(Box::new(hidden)));
    let report = check(&Files::from([(0, it.out)]));
    assert_eq!((report.first_break, report.contradictions), (None, vec![]));
}

#[test]
fn what_is_answered_from_an_earlier_statement_is_never_sent() {
    let local = |reason: &str| {
        let decision = Decision { reason: reason.into(), ..decision(Effect::Allow, "read") };
        attempted("t", "SELECT 1", vec![], decision)
    };
    for (reason, fits) in
        [("ResultOf s", true), ("CancelOf s", true), ("ResultOf x", false), ("s", false)]
    {
        let mut it = Session::new();
        it.put(Fact::SessionOpened(Box::default()));
        it.put(attempted("s", "SELECT 1", vec![], decision(Effect::Allow, "read")));
        it.put(local(reason));
        it.put(completed("t", 1, Payload::default(), 0, vec![]));
        let report = check(&Files::from([(0, it.out)]));
        assert_eq!(report.contradictions.is_empty(), fits, "{reason}: {:?}", report.contradictions);
    }
}

#[test]
fn entries_that_contradict_each_other_are_named() {
    let digest = Attempted::digest_of(DELETE, &[], &state());
    let hold = || attempted("s", DELETE, vec![], decision(Effect::Hold, "deletes"));
    let thief = SigningKey::from_seed(&[9; 32]).unwrap();
    let approved = |approved: Approved| Fact::Approved(approved);
    let altered = Fact::Attempted(Box::new(Attempted {
        sql: "DROP TABLE x".into(),
        digest,
        state: state(),
        statement: "s".into(),
        ..Attempted::default()
    }));
    let cases: Vec<(&str, Vec<Fact>)> = vec![
        ("nobody approved", vec![hold(), sent("s")]),
        ("without an attempt", vec![sent("s")]),
        ("the grant is not believed", vec![hold(), approved(grant("s", digest, &thief))]),
        ("other SQL", vec![hold(), approved(grant("s", Digest::of(b"x"), &operator()))]),
        (
            "it was denied",
            vec![attempted("s", "DROP TABLE x", vec![], decision(Effect::Deny, "ddl")), sent("s")],
        ),
        ("the digest is not the one of the statement", vec![altered]),
        ("the digest is not the one of the prompt", vec![prompted(Digest::of(b"another"))]),
        ("the statement's prompt is not recorded", vec![linked("s")]),
        ("attempted twice", vec![hold(), hold()]),
        ("never sent", vec![hold(), completed("s", 1, Payload::default(), 0, vec![])]),
        (
            "never sent",
            vec![
                attempted("t", "SELECT 1", vec![], decision(Effect::Allow, "ResultOf s")),
                completed("t", 1, Payload::default(), 0, vec![]),
            ],
        ),
        (
            "counted 7 statements",
            vec![
                hold(),
                Fact::SessionClosed(SessionClosed { reason: "Logout".into(), statements: 7 }),
            ],
        ),
        (
            "the statement ended before",
            vec![
                hold(),
                Fact::Refused(Refused { statement: Some("s".into()), ..Refused::default() }),
                Fact::Failed(Failed { statement: "s".into(), ..Failed::default() }),
            ],
        ),
    ];
    for (what, facts) in cases {
        let mut it = Session::new();
        it.put(Fact::SessionOpened(Box::default()));
        facts.into_iter().for_each(|fact| it.put(fact));
        let report = check(&Files::from([(0, it.out)]));
        assert_eq!(report.first_break, None, "{what}");
        let found = report.contradictions.iter().any(|it| it.what.contains(what));
        assert!(found, "{what}: {:?}", report.contradictions);
        assert!(!report.is_intact());
    }
}

#[test]
fn a_session_reads_as_text() {
    let files = whole_session();
    let mut text = String::new();
    let mut transcript = Transcript::new(&mut text, Options { rows: true });
    let report = verify_with(SESSION, &files, &operator().public(), None, |item| {
        transcript.show(&item).unwrap();
    });
    assert!(report.is_intact());
    insta::assert_snapshot!(text);
}

#[test]
fn a_session_exports_to_csv_and_json() {
    let files = whole_session();
    let mut export = Export::new(SESSION);
    let report =
        verify_with(SESSION, &files, &operator().public(), None, |item| export.take(&item));
    assert!(report.is_intact());
    let (mut csv, mut json) = (Vec::new(), Vec::new());
    export.csv(&mut csv, true).unwrap();
    export.json(&mut json).unwrap();
    let mut reader = csv::Reader::from_reader(csv.as_slice());
    assert_eq!(reader.records().map(Result::unwrap).count(), 4);
    for line in String::from_utf8(json.clone()).unwrap().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    insta::assert_snapshot!("csv", String::from_utf8(csv).unwrap());
    insta::assert_snapshot!("json", String::from_utf8(json).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_the_verifier_fail_or_believe(
        number in 0_u64..3,
        at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 0..64),
        dropped in 0_usize..200,
    ) {
        let mut files = whole_session();
        let file = files.get_mut(&number).unwrap();
        let start = at.index(file.len());
        let end = (start + dropped).min(file.len());
        let before = file.clone();
        file.splice(start..end, with);
        if *file != before {
            let report = check(&files);
            prop_assert!(!report.is_intact() || report.state != State::Closed, "{report}");
        }
    }

    #[test]
    fn entries_read_back_as_they_were_written(sql in ".{0,200}", value in ".{0,50}", at_ms in any::<i64>()) {
        let bind = Bind { name: "1".into(), data_type: "TEXT".into(), value: value.into() };
        let fact = attempted("s", &sql, vec![bind], decision(Effect::Allow, "r"));
        let entry = Entry { v: 1, number: 7, at_ms, fact };
        let json = serde_json::to_vec(&entry).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Entry>(&json).unwrap(), entry);
    }
}
