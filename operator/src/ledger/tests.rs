//! The ledger as its callers and an auditor see it: on a real folder, through its routes.

use std::fs;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use control::{Principal, Workload};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use recording::SigningKey;
use recording::ledger::{Checked, Checkpoint, READER_HEADER, check};
use tower::ServiceExt as _;

use super::*;

const SESSION: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const NAME: &str = "frostgate.dev/ledger/test";

fn key() -> Key {
    // PKCS#8 of a fixed seed, so that two openings of one folder hold the same key.
    let pkcs8 = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[3; 32])
        .unwrap()
        .to_pkcs8()
        .unwrap();
    Key::from_pkcs8(NAME, pkcs8.as_ref()).unwrap()
}

fn other_key() -> Key {
    Key::from_pkcs8(NAME, &Key::generate().unwrap()).unwrap()
}

fn settings(root: &Path) -> Settings {
    let mut settings = Settings::new(root, "https://frostgate.example:8443".parse().unwrap());
    settings.publish_every = Duration::from_millis(5);
    settings
}

fn open(root: &Path) -> Arc<Ledger> {
    Ledger::open(settings(root), key()).unwrap()
}

fn session() -> KeptSession {
    KeptSession {
        session: SESSION.into(),
        connection: "data/prod".into(),
        principal: Principal {
            workload: Workload { pod_uid: "pod-1".into(), ..Workload::default() },
            human: None,
        },
        role: "READER".into(),
        user: None,
        is_ephemeral: true,
        opened_at_ms: 1_700_000_000_000,
        expires_at_ms: 1_700_000_600_000,
        ends_at_ms: None,
    }
}

fn recording_key() -> PublicKey {
    SigningKey::from_seed(&[9; 32]).unwrap().public()
}

fn policy_changed(generation: i64) -> Fact {
    Fact::PolicyChanged { policy: "agents/p".into(), generation, hash: "00".into() }
}

/// Waits until a checkpoint covers so many leaves.
async fn published(ledger: &Ledger, size: u64) {
    let mut checkpoints = ledger.checkpoints();
    let key = ledger.verifier_key();
    checkpoints
        .wait_for(|note| Checkpoint::open(note, &key).is_ok_and(|head| head.size >= size))
        .await
        .unwrap();
}

/// Ends the ledger as a drained operator does: everything promised is published.
fn closed(ledger: Arc<Ledger>, root: &Path) {
    assert!(Arc::into_inner(ledger).is_some(), "somebody still holds the ledger");
    assert_eq!(fs::metadata(root.join("ledger/journal")).unwrap().len(), 0);
}

/// What an auditor with a copy of the folder finds.
fn audited(root: &Path) -> Checked {
    let read = |path: &str| fs::read(root.join("ledger").join(path)).ok();
    check(read, &key().verifier_key(), None).unwrap()
}

fn kinds(leaves: &[Leaf]) -> Vec<String> {
    let kind = |leaf: &Leaf| {
        let json = serde_json::to_value(leaf).unwrap();
        json["type"].as_str().unwrap().to_owned()
    };
    leaves.iter().map(kind).collect()
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, Vec<u8>) {
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    (status, answer.into_body().collect().await.unwrap().to_bytes().to_vec())
}

async fn put(router: &Router, url: &str, bytes: &'static [u8]) -> StatusCode {
    let url: Url = url.parse().unwrap();
    let target = format!("{}?{}", url.path(), url.query().unwrap());
    let request = Request::put(target).header("if-none-match", "*").body(bytes.into()).unwrap();
    send(router, request).await.0
}

fn ask(number: u64, bytes: &[u8]) -> SegmentAsk {
    SegmentAsk { number, sha256: Digest::of(bytes).to_string(), length: bytes.len() as u64 }
}

fn notice(number: u64, bytes: &[u8], is_final: bool) -> SealNotice {
    SealNotice {
        number,
        sha256: Digest::of(bytes).to_string(),
        length: bytes.len() as u64,
        first_entry: number * 10,
        last_entry: number * 10 + 9,
        head: Digest::of(b"link").to_string(),
        is_final,
    }
}

#[tokio::test]
async fn a_session_leaves_its_whole_life_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let uploads = upload_router(Arc::clone(&ledger));
    let session = session();

    ledger.open_session(&session, "policies", recording_key()).await.unwrap();
    ledger.mint(&session, "EphemeralUser", "FG_1", 5).await.unwrap();
    let ticket = ledger.ticket(SESSION, &ask(0, b"segment")).unwrap();
    assert_eq!(put(&uploads, &ticket.url, b"segment").await, StatusCode::CREATED);
    ledger.seal(SESSION, &notice(0, b"segment", true)).await.unwrap();
    ledger.close_session(SESSION, "Logout").await.unwrap();
    ledger.close_session(SESSION, "again").await.unwrap();
    ledger.drop_credential(SESSION, "FG_1", "Closed").await.unwrap();
    ledger.forget(SESSION).await.unwrap();
    assert!(ledger.living().is_empty());
    drop(uploads);
    closed(ledger, folder.path());

    let leaves = audited(folder.path()).leaves;
    assert_eq!(
        kinds(&leaves),
        [
            "SessionOpened",
            "CredentialMinted",
            "SegmentSealed",
            "SessionClosed",
            "CredentialDropped"
        ]
    );
    let text = serde_json::to_string(&leaves).unwrap();
    assert!(!text.contains("FG_1"), "no user name stands in the log: {text}");
    let stored = folder.path().join(format!("recordings/{SESSION}/0.fgseg"));
    assert_eq!(fs::read(stored).unwrap(), b"segment");
}

#[tokio::test]
async fn what_was_appended_is_on_disk_before_any_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut slow = settings(folder.path());
    slow.publish_every = Duration::from_secs(3600);
    let ledger = Ledger::open(slow, key()).unwrap();
    ledger.append(policy_changed(1)).await.unwrap();
    ledger.append(policy_changed(2)).await.unwrap();

    // The machine dies here: a copy of the disk is all that is left.
    let after = tempfile::tempdir().unwrap();
    copy(folder.path(), after.path());
    let ledger = open(after.path());
    published(&ledger, 2).await;
    assert_eq!(audited(after.path()).leaves.len(), 2);
}

#[tokio::test]
async fn a_restart_goes_on_with_the_same_log_across_full_tiles() {
    let folder = tempfile::tempdir().unwrap();
    let mut known = None;
    for start in 0..3 {
        let mut settings = settings(folder.path());
        settings.known = known.take();
        let ledger = Ledger::open(settings, key()).unwrap();
        for generation in 0..200 {
            ledger.append(policy_changed(start * 200 + generation)).await.unwrap();
        }
        published(&ledger, (start as u64 + 1) * 200).await;
        known = Some(ledger.checkpoints().borrow().to_vec());
        closed(ledger, folder.path());
    }
    let generations: Vec<_> = audited(folder.path())
        .leaves
        .into_iter()
        .map(|leaf| match leaf.fact {
            Fact::PolicyChanged { generation, .. } => generation,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(generations, (0..600).collect::<Vec<_>>());
    let tiles = folder.path().join("ledger/tile/0");
    assert!(!tiles.join("000.p").exists(), "partial tiles go once the full one is there");
}

#[tokio::test]
async fn a_crash_between_any_two_files_loses_nothing_that_was_promised() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    for generation in 0..255 {
        ledger.append(policy_changed(generation)).await.unwrap();
    }
    published(&ledger, 255).await;
    closed(ledger, folder.path());
    let before = snapshot(folder.path());

    // Two more leaves: a tile becomes full, a level is begun.
    let mut slow = settings(folder.path());
    slow.publish_every = Duration::from_secs(3600);
    let ledger = Ledger::open(slow, key()).unwrap();
    ledger.append(policy_changed(255)).await.unwrap();
    ledger.append(policy_changed(256)).await.unwrap();
    let journal = fs::read(folder.path().join("ledger/journal")).unwrap();
    closed(ledger, folder.path());
    let after = snapshot(folder.path());

    // The files as they are written: each prefix of them may be all that a crash left.
    let mut written: Vec<_> = after
        .iter()
        .filter(|(path, bytes)| before.get(*path) != Some(bytes))
        .filter(|(path, _)| !path.ends_with("lock") && !path.ends_with("journal"))
        .collect();
    written.sort_by_key(|(path, _)| path.ends_with("checkpoint"));
    assert_eq!(written.len(), 6, "two bundles, three tiles, the checkpoint");
    for count in 0..=written.len() {
        let crashed = tempfile::tempdir().unwrap();
        restore(crashed.path(), &before);
        for (path, bytes) in &written[..count] {
            restore_one(crashed.path(), path, bytes);
        }
        restore_one(crashed.path(), "ledger/journal", &journal);
        let ledger = open(crashed.path());
        closed(ledger, crashed.path());
        assert_eq!(audited(crashed.path()).leaves.len(), 257, "{count} files written");
    }
}

#[tokio::test]
async fn a_broken_log_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    for generation in 0..3 {
        ledger.append(policy_changed(generation)).await.unwrap();
    }
    published(&ledger, 3).await;
    let early = ledger.checkpoints().borrow().to_vec();
    closed(ledger, folder.path());
    let good = snapshot(folder.path());

    let bundle = "ledger/tile/entries/000.p/3";
    let flipped: Vec<u8> =
        good[bundle].iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 40)).collect();
    let cases: [(&str, Option<&[u8]>, &str); 5] = [
        (
            bundle,
            Some(&flipped),
            "leaf 0 in `tile/entries/000.p/3` is not the one that was appended",
        ),
        (bundle, None, "`tile/entries/000.p/3` is missing from the log, which has 3 leaves"),
        ("ledger/checkpoint", None, "the log has no checkpoint"),
        ("ledger/checkpoint", Some(b"3"), "the note is malformed"),
        ("ledger/journal", Some(b"7 7 "), ""),
    ];
    for (path, bytes, message) in cases {
        let broken = tempfile::tempdir().unwrap();
        restore(broken.path(), &good);
        match bytes {
            Some(bytes) => restore_one(broken.path(), path, bytes),
            None => fs::remove_file(broken.path().join(path)).unwrap(),
        }
        match Ledger::open(settings(broken.path()), key()) {
            Ok(_) => assert_eq!(message, "", "{path}: a cut-off append is no damage"),
            Err(error) => {
                assert!(error.to_string().contains(message) && !message.is_empty(), "{error}");
            }
        }
    }

    // A volume that came back empty, or from an old backup.
    let empty = tempfile::tempdir().unwrap();
    let mut known = settings(empty.path());
    known.known = Some(early);
    let error = Ledger::open(known, key()).unwrap_err().to_string();
    assert!(error.contains("it no longer begins with the 3 leaves known before"), "{error}");
}

#[tokio::test]
async fn another_key_goes_on_only_as_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.append(policy_changed(1)).await.unwrap();
    closed(ledger, folder.path());

    let error = Ledger::open(settings(folder.path()), other_key()).unwrap_err();
    assert!(matches!(error, OpenError::OtherKey(_)), "{error}");

    let next = other_key();
    let verifier = next.verifier_key();
    let mut rotated = settings(folder.path());
    rotated.previous = Some(key().verifier_key());
    let ledger = Ledger::open(rotated, next).unwrap();
    published(&ledger, 2).await;
    let read = |path: &str| fs::read(folder.path().join("ledger").join(path)).ok();
    let leaves = check(read, &verifier, None).unwrap().leaves;
    assert_eq!(kinds(&leaves), ["PolicyChanged", "KeyRotated"]);
}

#[tokio::test]
async fn one_operator_writes_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let error = Ledger::open(settings(folder.path()), key()).unwrap_err();
    assert!(error.to_string().contains("another operator writes"), "{error}");
    closed(first, folder.path());
    assert!(Ledger::open(settings(folder.path()), key()).is_ok());
}

#[tokio::test]
async fn a_ticket_creates_its_object_once_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.open_session(&session(), "policies", recording_key()).await.unwrap();
    let uploads = upload_router(Arc::clone(&ledger));
    let ticket = |bytes| ledger.ticket(SESSION, &ask(0, bytes)).unwrap().url;

    let good = ticket(b"segment");
    assert_eq!(put(&uploads, &good, b"segmenT").await, StatusCode::BAD_REQUEST);
    assert_eq!(put(&uploads, &good, b"segment and more").await, StatusCode::BAD_REQUEST);
    assert_eq!(put(&uploads, &good, b"segm").await, StatusCode::BAD_REQUEST);
    let elsewhere = good.replace("/0?", "/1?");
    assert_eq!(put(&uploads, &elsewhere, b"segment").await, StatusCode::FORBIDDEN);
    let other = good.replace("01890a5d", "01890a5e");
    assert_eq!(put(&uploads, &other, b"segment").await, StatusCode::FORBIDDEN);
    let bare = good.split("&signature").next().unwrap().to_owned();
    assert_eq!(put(&uploads, &bare, b"segment").await, StatusCode::FORBIDDEN);
    let stored = folder.path().join(format!("recordings/{SESSION}"));
    assert!(!stored.join("0.fgseg").exists());

    assert_eq!(put(&uploads, &good, b"segment").await, StatusCode::CREATED);
    assert_eq!(put(&uploads, &good, b"segment").await, StatusCode::PRECONDITION_FAILED);
    let rewrite = ticket(b"forgery");
    assert_eq!(put(&uploads, &rewrite, b"forgery").await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(fs::read(stored.join("0.fgseg")).unwrap(), b"segment");
    let incoming = folder.path().join("recordings/.incoming");
    assert_eq!(fs::read_dir(incoming).unwrap().count(), 0, "nothing half-received stays");
}

#[tokio::test]
async fn only_what_is_stored_is_sealed_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let unknown = Err(Error::UnknownSession(SESSION.into()));
    assert_eq!(ledger.seal(SESSION, &notice(0, b"a", false)).await, unknown);
    assert_eq!(ledger.mint(&session(), "KeyPair", "U", 1).await, unknown);
    ledger.open_session(&session(), "policies", recording_key()).await.unwrap();
    let uploads = upload_router(Arc::clone(&ledger));
    let bytes: [&'static [u8]; 3] = [b"zero", b"one", b"two"];
    for (number, bytes) in (0..).zip(bytes) {
        let ticket = ledger.ticket(SESSION, &ask(number, bytes)).unwrap();
        assert_eq!(put(&uploads, &ticket.url, bytes).await, StatusCode::CREATED);
    }
    let session = SESSION.to_owned();
    let seal = |number, bytes: &'static [u8], is_final| {
        let ledger = Arc::clone(&ledger);
        async move { ledger.seal(SESSION, &notice(number, bytes, is_final)).await }
    };
    let out_of_order =
        |number, next| Err(Error::OutOfOrder { session: session.clone(), number, next });
    let not_stored = |number| Err(Error::NotStored { session: session.clone(), number });
    assert_eq!(seal(1, b"one", false).await, out_of_order(1, 0));
    assert_eq!(seal(0, b"other", false).await, not_stored(0));
    assert_eq!(seal(0, b"zero", false).await, Ok(()));
    assert_eq!(seal(0, b"zero", false).await, Ok(()), "an answer may be lost and asked for again");
    let otherwise = Err(Error::SealedOtherwise { session: session.clone(), number: 0 });
    assert_eq!(seal(0, b"other", false).await, otherwise);
    assert_eq!(seal(1, b"one", true).await, Ok(()));
    assert_eq!(seal(2, b"two", false).await, out_of_order(2, 2), "nothing follows the last one");
    drop(uploads);
    closed(ledger, folder.path());
    assert_eq!(audited(folder.path()).leaves.len(), 3);
}

#[tokio::test]
async fn no_credential_is_minted_for_a_closed_session() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.open_session(&session(), "policies", recording_key()).await.unwrap();
    ledger.close_session(SESSION, "Logout").await.unwrap();
    let refused = ledger.mint(&session(), "EphemeralUser", "U", 1).await;
    assert_eq!(refused, Err(Error::ClosedSession(SESSION.into())));
    assert_eq!(ledger.living().len(), 1, "what must be cleaned up is not forgotten by closing");
}

#[tokio::test]
async fn certificates_and_grants_verify_with_the_published_key() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let signed = ledger.certify(&session(), recording_key(), 9).unwrap();
    let certificate: recording::Certificate =
        signed.open(recording::seal::CERTIFICATE_CONTEXT, &ledger.public_key()).unwrap();
    assert_eq!((certificate.key, certificate.pod_uid.as_str()), (recording_key(), "pod-1"));

    let grant = Grant {
        request: "agents/apr-1".into(),
        request_uid: "uid".into(),
        session: SESSION.into(),
        statement: "st".into(),
        digest: Digest::of(b"statement").to_string(),
        approvers: vec![],
        uses: 1,
        expires_at_ms: 5,
    };
    let SignedGrant { payload, signature } = ledger.sign_grant(&grant).await.unwrap();
    let signed = Signed { payload, signature };
    let read: Grant = signed.open(control::approval::GRANT_CONTEXT, &ledger.public_key()).unwrap();
    assert_eq!(read, grant);
    closed(ledger, folder.path());
    let leaves = audited(folder.path()).leaves;
    let payload =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &signed.payload)
            .unwrap();
    assert!(
        matches!(&leaves[0].fact, Fact::GrantSigned { grant, .. } if *grant == Digest::of(&payload))
    );
}

#[tokio::test]
async fn an_auditor_reads_everything_and_a_neighbour_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.open_session(&session(), "policies", recording_key()).await.unwrap();
    let uploads = upload_router(Arc::clone(&ledger));
    let ticket = ledger.ticket(SESSION, &ask(0, b"segment")).unwrap();
    assert_eq!(put(&uploads, &ticket.url, b"segment").await, StatusCode::CREATED);
    ledger.seal(SESSION, &notice(0, b"segment", false)).await.unwrap();
    published(&ledger, 2).await;
    let reader = ReaderKey::parse(&new_reader_key().unwrap()).unwrap();
    let router = serve_router(Arc::clone(&ledger), reader.clone());
    let now = jiff::Timestamp::now().as_second();
    let get = |path: &str, proof: Option<String>| {
        let mut request = Request::get(path);
        if let Some(proof) = proof {
            request = request.header(READER_HEADER, proof);
        }
        let request = request.body(Body::empty()).unwrap();
        let router = router.clone();
        async move { send(&router, request).await }
    };

    let list = "/v1/recordings";
    let (status, body) = get(list, Some(reader.prove(list, now))).await;
    assert_eq!(status, StatusCode::OK);
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["recordings"][0]["session"], SESSION);
    assert_eq!(json["recordings"][0]["principal"]["workload"]["podUid"], "pod-1");
    assert_eq!(json["recordings"][0]["segments"], 1);
    assert_eq!(json["recordings"][0]["state"], "Open");
    let after = format!("{list}?after={SESSION}");
    let (_, body) = get(&after, Some(reader.prove(&after, now))).await;
    assert_eq!(body, br#"{"recordings":[]}"#);

    let segment = format!("/v1/recordings/{SESSION}/0");
    assert_eq!(
        get(&segment, Some(reader.prove(&segment, now))).await,
        (StatusCode::OK, b"segment".to_vec())
    );
    let head = "/v1/ledger/checkpoint";
    let (status, note) = get(head, Some(reader.prove(head, now))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(Checkpoint::open(&note, &ledger.verifier_key()).is_ok());
    let tile = "/v1/ledger/tile/0/000.p/2";
    assert_eq!(get(tile, Some(reader.prove(tile, now))).await.1.len(), 64);

    // A journal is no file of the log's layout, and no path leads out of it.
    for path in ["/v1/ledger/journal", "/v1/ledger/../sessions", "/v1/ledger/%2e%2e/sessions"] {
        assert_eq!(
            get(path, Some(reader.prove(path, now))).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let outside = "/v1/recordings/..%2f..%2fsessions/0";
    assert_eq!(get(outside, Some(reader.prove(outside, now))).await.0, StatusCode::BAD_REQUEST);

    let stranger = ReaderKey::parse(&new_reader_key().unwrap()).unwrap();
    let cases = [
        ("no proof", None),
        ("another key", Some(stranger.prove(&segment, now))),
        ("another path", Some(reader.prove(list, now))),
        ("old", Some(reader.prove(&segment, now - 3600))),
        ("future", Some(reader.prove(&segment, now + 3600))),
        (
            "moved time",
            Some(
                reader
                    .prove(&segment, now - 3600)
                    .replace(&(now - 3600).to_string(), &now.to_string()),
            ),
        ),
        ("garbage", Some("1.zz".into())),
    ];
    for (what, proof) in cases {
        let (status, body) = get(&segment, proof).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{what}");
        assert!(!body.windows(7).any(|window| window == b"segment\""), "{what}");
    }
}

type Files = BTreeMap<String, Vec<u8>>;

fn snapshot(root: &Path) -> Files {
    fn walk(root: &Path, folder: &Path, files: &mut Files) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut files = Files::new();
    walk(root, root, &mut files);
    files
}

fn restore(root: &Path, files: &Files) {
    for (path, bytes) in files {
        restore_one(root, path, bytes);
    }
}

fn restore_one(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    restore(to, &snapshot(from));
}
