//! What the recorder promises: on disk before it returns, refused when it cannot be, shipped in its own time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends when something is not as it must be"
)]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use control::{SealNotice, SegmentAsk, Ticket};
use proxy::recorder::{
    Config, Opening, Recorder, Session,
    resume::{Interrupted, Resumed},
    ship::{ShipError, Shipper},
};
use recording::{
    Certificate, Digest, Fact, Signed, SigningKey,
    entry::{Attempted, Completed, Decision, Effect, Format, Payload, SessionOpened},
    seal::CERTIFICATE_CONTEXT,
    verify::{Item, Report, State, verify_with},
};

// === a store that can be told to fail ===

#[derive(Clone, Default)]
struct Store(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    files: BTreeMap<(String, u64), Vec<u8>>,
    notices: Vec<(String, SealNotice)>,
    /// How many tries fail, by session; all for `usize::MAX`.
    failures: HashMap<String, usize>,
    tries: usize,
}

impl Store {
    fn fail(&self, session: &str, tries: usize) {
        self.0.lock().unwrap().failures.insert(session.into(), tries);
    }

    fn recover(&self) {
        self.0.lock().unwrap().failures.clear();
    }

    fn files(&self, session: &str) -> BTreeMap<u64, Vec<u8>> {
        let stored = self.0.lock().unwrap();
        let ours = stored.files.iter().filter(|((id, _), _)| id == session);
        ours.map(|((_, number), bytes)| (*number, bytes.clone())).collect()
    }

    fn notices(&self, session: &str) -> Vec<SealNotice> {
        let stored = self.0.lock().unwrap();
        stored.notices.iter().filter(|(id, _)| id == session).map(|it| it.1.clone()).collect()
    }

    async fn arrived(&self, session: &str, segments: usize) {
        for _ in 0..2000 {
            if self.notices(session).len() >= segments {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{segments} segments of {session} did not arrive");
    }
}

impl Shipper for Store {
    async fn ticket(&self, session: &str, ask: &SegmentAsk) -> Result<Ticket, ShipError> {
        let mut stored = self.0.lock().unwrap();
        stored.tries += 1;
        if let Some(left) = stored.failures.get_mut(session).filter(|left| **left > 0) {
            *left -= 1;
            return Err(ShipError("the store is away".into()));
        }
        Ok(Ticket {
            method: "PUT".into(),
            url: format!("{session}/{}/{}", ask.number, ask.sha256),
            headers: BTreeMap::new(),
            expires_at_ms: i64::MAX,
        })
    }

    async fn put(&self, ticket: &Ticket, file: Bytes) -> Result<(), ShipError> {
        let parts: Vec<&str> = ticket.url.split('/').collect();
        assert_eq!(Digest::of(&file).to_string(), parts[2]);
        let place = (parts[0].to_owned(), parts[1].parse().unwrap());
        let before = self.0.lock().unwrap().files.insert(place, file.to_vec());
        assert!(before.is_none_or(|before| before == file), "a stored segment was changed");
        Ok(())
    }

    async fn sealed(&self, session: &str, notice: &SealNotice) -> Result<(), ShipError> {
        self.0.lock().unwrap().notices.push((session.into(), notice.clone()));
        Ok(())
    }
}

// === sessions and statements ===

fn operator() -> SigningKey {
    SigningKey::from_seed(&[1; 32]).unwrap()
}

fn opening(session: &str) -> Opening {
    let key = SigningKey::from_seed(&[2; 32]).unwrap();
    let certificate = Certificate {
        v: 1,
        session: session.into(),
        key: key.public(),
        pod_uid: "uid".into(),
        issued_at_ms: 0,
        not_after_ms: i64::MAX,
    };
    let certificate = Signed::sign(CERTIFICATE_CONTEXT, &certificate, &operator()).unwrap();
    Opening { session: session.into(), key, certificate, opened: SessionOpened::default() }
}

fn attempted(id: &str) -> Attempted {
    let sql = format!("SELECT '{id}'");
    Attempted {
        statement: id.into(),
        request_id: format!("r-{id}"),
        digest: Attempted::digest_of(&sql, &[], &recording::entry::State::default()),
        sql,
        decision: Decision { effect: Effect::Allow, ..Decision::default() },
        ..Attempted::default()
    }
}

async fn run(session: &Session, id: &str, answer: &[u8]) -> Payload {
    let mut attempt = session.attempt(attempted(id), None).await.unwrap();
    attempt.sent("FG_USER").await.unwrap();
    let answer = attempt.rows(answer).await.unwrap();
    let completed = Completed { query_id: format!("q-{id}"), answer, ..Completed::default() };
    attempt.complete(completed).await.unwrap();
    answer
}

fn judge(session: &str, files: &BTreeMap<u64, Vec<u8>>) -> (Report, Vec<Item>) {
    let mut items = Vec::new();
    let report = verify_with(session, files, &operator().public(), None, |item| items.push(item));
    (report, items)
}

/// What lies in the spool of a session, sealed or not.
fn spooled(dir: &Path, session: &str) -> BTreeMap<u64, Vec<u8>> {
    let files = fs::read_dir(dir.join(session)).unwrap().map(|file| file.unwrap().path());
    files
        .map(|path| {
            let number = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            (number, fs::read(path).unwrap())
        })
        .collect()
}

struct Bench {
    dir: tempfile::TempDir,
    store: Store,
    recorder: Recorder,
}

/// Far less than the deadline of a commit, also on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);

async fn bench(change: impl FnOnce(&mut Config)) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::default();
    let mut config = Config::new(dir.path().join("spool"), 1 << 30);
    config.commit_deadline = 6 * AT_ONCE;
    change(&mut config);
    let recorder = Recorder::start(config, store.clone()).await.unwrap();
    Bench { dir, store, recorder }
}

impl Bench {
    fn spool(&self) -> PathBuf {
        self.dir.path().join("spool")
    }
}

// === what is promised ===

#[tokio::test]
async fn an_attempt_is_in_the_spool_when_it_returns() {
    let bench = bench(|_| {}).await;
    let session = bench.recorder.open_session(opening("s")).await.unwrap();
    let attempt = session.attempt(attempted("one"), None).await.unwrap();
    let (report, items) = judge("s", &spooled(&bench.spool(), "s"));
    assert_eq!((report.state, report.entries), (State::Open, 2));
    assert!(matches!(&items[1].entry.fact, Fact::Attempted(it) if it.sql == "SELECT 'one'"));
    drop(attempt);
}

#[tokio::test]
async fn a_closed_session_is_shipped_whole_and_leaves_nothing_behind() {
    let bench = bench(|_| {}).await;
    let session = bench.recorder.open_session(opening("s")).await.unwrap();
    run(&session, "one", br#"{"data":{"rowset":[["1"]]}}"#).await;
    session.close("Logout").await.unwrap();
    assert_eq!(bench.recorder.drain(Duration::from_secs(20)).await, 0);
    let files = bench.store.files("s");
    let (report, items) = judge("s", &files);
    assert!(report.is_intact(), "{report}");
    assert_eq!(report.state, State::Closed);
    let kinds: Vec<_> = items.iter().map(|item| item.entry.fact.kind()).collect();
    assert_eq!(kinds, ["SessionOpened", "Attempted", "Sent", "Rows", "Completed", "SessionClosed"]);
    let notices = bench.store.notices("s");
    assert_eq!((notices.len(), notices[0].is_final, notices[0].last_entry), (1, true, 5));
    assert_eq!(bench.recorder.spool_bytes(), 0);
    assert!(!bench.spool().join("s").exists());
}

#[tokio::test]
async fn many_at_once_share_commits_and_lose_nothing() {
    let bench = bench(|config| config.segment_max_bytes = 20_000).await;
    let session = bench.recorder.open_session(opening("s")).await.unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let session = session.clone();
            tokio::spawn(async move { run(&session, &format!("{number}"), b"{}").await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    session.close("Logout").await.unwrap();
    assert_eq!(bench.recorder.drain(Duration::from_secs(20)).await, 0);
    let files = bench.store.files("s");
    let (report, _) = judge("s", &files);
    assert!(report.is_intact(), "{report}");
    assert_eq!((report.state, report.entries), (State::Closed, 402));
    assert!(files.len() > 1, "segments are sealed by size");
}

#[tokio::test]
async fn a_segment_is_sealed_by_age_and_the_session_goes_on_in_the_next() {
    let bench = bench(|config| config.segment_max_age = Duration::from_millis(50)).await;
    let session = bench.recorder.open_session(opening("s")).await.unwrap();
    run(&session, "one", b"{}").await;
    bench.store.arrived("s", 1).await;
    run(&session, "two", b"{}").await;
    session.close("Logout").await.unwrap();
    assert_eq!(bench.recorder.drain(Duration::from_secs(20)).await, 0);
    let (report, _) = judge("s", &bench.store.files("s"));
    assert!(report.is_intact(), "{report}");
    assert!(report.segments > 1);
}

/// Waits until the session takes statements again.
async fn goes_on(session: &Session) {
    for _ in 0..1000 {
        if let Ok(attempt) = session.attempt(attempted("after"), None).await {
            attempt.refuse("FG-2003", "no").await.unwrap();
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("statements do not go on when the spool drains");
}

#[tokio::test]
async fn a_full_spool_refuses_at_once_keeps_its_promises_and_goes_on_when_it_drains() {
    let bench = bench(|config| {
        config.limit_bytes = 100_000;
        config.segment_max_bytes = 10_000;
    })
    .await;
    bench.store.fail("s", usize::MAX);
    let session = bench.recorder.open_session(opening("s")).await.unwrap();
    let mut running = session.attempt(attempted("running"), None).await.unwrap();
    running.sent("FG_USER").await.unwrap();
    // Noise does not compress.
    let much: Vec<u8> =
        (0_u32..4000).flat_map(|number| Digest::of(&number.to_be_bytes()).0).take(36_000).collect();
    let noise = &much[..9000];
    let mut refusal = None;
    for number in 0..40 {
        let begun = Instant::now();
        match session.attempt(attempted(&format!("{number}")), None).await {
            Ok(mut attempt) => {
                attempt.sent("FG_USER").await.unwrap();
                attempt.rows(noise).await.unwrap();
                attempt.complete(Completed::default()).await.ok();
            }
            Err(error) => {
                assert!(begun.elapsed() < AT_ONCE);
                refusal = Some(error);
                break;
            }
        }
    }
    let refusal = refusal.expect("the spool never filled");
    assert_eq!(refusal.code(), "FG-5002");
    assert!(bench.recorder.spool_bytes() <= 95_000, "the volume is never filled");
    // What already ran still ends on record; rows that do not fit any more are named there.
    let answer = running.rows(&much).await.unwrap();
    running.complete(Completed { answer, ..Completed::default() }).await.unwrap();
    let error = session.attempt(attempted("next"), None).await.err().unwrap();
    assert_eq!(error.code(), "FG-5002", "no statement runs whose rows would not fit either");
    bench.store.recover();
    goes_on(&session).await;
    session.close("Logout").await.unwrap();
    assert_eq!(bench.recorder.drain(Duration::from_secs(20)).await, 0);
    let (report, items) = judge("s", &bench.store.files("s"));
    assert_eq!(report.first_break, None, "{report}");
    assert_eq!(report.state, State::Closed);
    let has = |kind: &str| items.iter().any(|item| item.entry.fact.kind() == kind);
    assert!(has("Gap") && has("Truncated"));
}

#[tokio::test]
async fn what_fills_the_spool_is_shipped_before_its_segment_is_full_or_old() {
    let bench = bench(|config| config.limit_bytes = 100_000).await;
    let session = bench.recorder.open_session(opening("s")).await.unwrap();
    let noise: Vec<u8> =
        (0_u32..4000).flat_map(|number| Digest::of(&number.to_be_bytes()).0).collect();
    let mut running = session.attempt(attempted("running"), None).await.unwrap();
    running.sent("FG_USER").await.unwrap();
    let answer = running.rows(&noise[..50_000]).await.unwrap();
    running.complete(Completed { answer, ..Completed::default() }).await.unwrap();
    let mut running = session.attempt(attempted("too much"), None).await.unwrap();
    running.sent("FG_USER").await.unwrap();
    let answer = running.rows(&noise[50_000..100_000]).await.unwrap();
    running.complete(Completed { answer, ..Completed::default() }).await.unwrap();
    bench.store.arrived("s", 1).await;
    goes_on(&session).await;
    session.close("Logout").await.unwrap();
    assert_eq!(bench.recorder.drain(Duration::from_secs(20)).await, 0);
    let (report, _) = judge("s", &bench.store.files("s"));
    assert_eq!(report.first_break, None, "{report}");
}

#[tokio::test]
async fn a_removed_spool_file_is_noticed_with_the_next_statement() {
    let bench = bench(|_| {}).await;
    let session = bench.recorder.open_session(opening("s")).await.unwrap();
    fs::remove_file(bench.spool().join("s/0.hot")).unwrap();
    let begun = Instant::now();
    let error = session.attempt(attempted("one"), None).await.err().unwrap();
    assert_eq!(error.code(), "FG-5001");
    assert!(begun.elapsed() < AT_ONCE);
    // Nor does a look-alike help.
    let session = bench.recorder.open_session(opening("t")).await.unwrap();
    let path = bench.spool().join("t/0.hot");
    let copy = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, copy).unwrap();
    assert_eq!(session.attempt(attempted("one"), None).await.err().unwrap().code(), "FG-5001");
}

#[tokio::test]
async fn a_spool_that_is_gone_refuses_sessions_and_one_that_is_no_folder_refuses_to_start() {
    let bench = bench(|_| {}).await;
    fs::remove_dir_all(bench.spool()).unwrap();
    let error = bench.recorder.open_session(opening("s")).await.err().unwrap();
    assert_eq!(error.code(), "FG-5001");
    let file = bench.dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Recorder::start(Config::new(file, 1 << 20), Store::default()).await.err().unwrap();
    assert_eq!(error.code(), "FG-5001");
}

#[tokio::test]
async fn a_session_id_never_becomes_a_path() {
    let bench = bench(|_| {}).await;
    for id in ["../x", "a/b", "", ".", &"a".repeat(65)] {
        assert!(bench.recorder.open_session(opening(id)).await.is_err(), "{id}");
    }
}

#[tokio::test]
async fn rows_beyond_the_limit_are_digested_and_the_record_says_so() {
    let bench = bench(|config| config.rows_max_bytes = 3 << 20).await;
    let session = bench.recorder.open_session(opening("s")).await.unwrap();
    let mut attempt = session.attempt(attempted("one"), None).await.unwrap();
    attempt.sent("FG_USER").await.unwrap();
    let bytes = vec![7_u8; 5_500_000];
    let answer = attempt.rows(&bytes).await.unwrap();
    assert_eq!(answer, Payload { length: bytes.len() as u64, sha256: Digest::of(&bytes) });
    attempt.complete(Completed { answer, ..Completed::default() }).await.unwrap();
    // Chunks come later, each with its own budget.
    let mut chunk = session.chunk("one", 1, Format::JsonRows);
    chunk.write(b"[\"1\"],").await.unwrap();
    let whole = chunk.finish(b"[\"2\"]").await.unwrap();
    assert_eq!(whole.sha256, Digest::of(b"[\"1\"],[\"2\"]"));
    session.close("Logout").await.unwrap();
    bench.recorder.drain(Duration::from_secs(20)).await;
    let (report, items) = judge("s", &bench.store.files("s"));
    assert!(report.is_intact(), "{report}");
    let truncated = items.iter().find_map(|item| match &item.entry.fact {
        Fact::Truncated(it) => Some(it.clone()),
        _ => None,
    });
    let truncated = truncated.unwrap();
    assert_eq!(truncated.offset, 3 << 20);
    assert_eq!(truncated.missing.sha256, Digest::of(&bytes[3 << 20..]));
}

#[tokio::test]
async fn an_attempt_that_nobody_ends_has_an_outcome_all_the_same() {
    let bench = bench(|_| {}).await;
    let session = bench.recorder.open_session(opening("s")).await.unwrap();
    drop(session.attempt(attempted("before"), None).await.unwrap());
    let mut attempt = session.attempt(attempted("after"), None).await.unwrap();
    attempt.sent("FG_USER").await.unwrap();
    drop(attempt);
    session.close("Logout").await.unwrap();
    bench.recorder.drain(Duration::from_secs(20)).await;
    let (report, items) = judge("s", &bench.store.files("s"));
    assert!(report.is_intact(), "{report}");
    let code = |statement: &str| {
        items.iter().find_map(|item| match &item.entry.fact {
            Fact::Refused(it) if it.statement.as_deref() == Some(statement) => {
                Some(it.code.clone())
            }
            Fact::Failed(it) if it.statement == statement => Some(it.code.clone()),
            _ => None,
        })
    };
    assert_eq!(code("before").as_deref(), Some("FG-9001"));
    assert_eq!(code("after").as_deref(), Some("FG-4004"));
}

#[tokio::test]
async fn a_session_whose_handles_are_dropped_is_closed() {
    let bench = bench(|_| {}).await;
    drop(bench.recorder.open_session(opening("s")).await.unwrap());
    assert_eq!(bench.recorder.drain(Duration::from_secs(20)).await, 0);
    let (report, items) = judge("s", &bench.store.files("s"));
    assert_eq!(report.state, State::Closed);
    let last = items.last().unwrap();
    assert!(matches!(&last.entry.fact, Fact::SessionClosed(it) if it.reason == "Abandoned"));
}

#[tokio::test]
async fn a_session_that_cannot_be_shipped_is_tried_again_and_holds_up_nobody() {
    let bench = bench(|_| {}).await;
    bench.store.fail("a", 1);
    for id in ["a", "b"] {
        let session = bench.recorder.open_session(opening(id)).await.unwrap();
        run(&session, "one", b"{}").await;
        session.close("Logout").await.unwrap();
    }
    bench.store.arrived("b", 1).await;
    assert_eq!(bench.recorder.drain(Duration::from_secs(20)).await, 0);
    assert!(judge("a", &bench.store.files("a")).0.is_intact());
    let tries = bench.store.0.lock().unwrap().tries;
    assert_eq!(tries, 3, "no retry storm");
}

#[tokio::test]
async fn a_segment_that_the_disk_damaged_is_put_aside_and_the_others_go() {
    let bench = bench(|_| {}).await;
    for id in ["a", "b"] {
        bench.store.fail(id, usize::MAX);
        let session = bench.recorder.open_session(opening(id)).await.unwrap();
        run(&session, "one", b"{}").await;
        session.close("Logout").await.unwrap();
    }
    let path = bench.spool().join("a/0.fgseg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, bytes).unwrap();
    bench.store.recover();
    assert_eq!(bench.recorder.drain(Duration::from_secs(20)).await, 0);
    assert!(bench.spool().join("a/0.broken").exists());
    assert!(judge("b", &bench.store.files("b")).0.is_intact());
}

#[tokio::test]
async fn what_a_crash_left_is_closed_as_torn_and_shipped_by_the_next_start() {
    let first = bench(|_| {}).await;
    let session = first.recorder.open_session(opening("s")).await.unwrap();
    run(&session, "one", br#"{"data":{"rowset":[["1"]]}}"#).await;
    let hot = fs::read(first.spool().join("s/0.hot")).unwrap();
    for end in (0..=hot.len()).step_by(67).chain([hot.len()]) {
        let next = tempfile::tempdir().unwrap();
        fs::create_dir_all(next.path().join("s")).unwrap();
        fs::write(next.path().join("s/0.hot"), &hot[..end]).unwrap();
        let store = Store::default();
        let config = Config::new(next.path().into(), 1 << 30);
        let recorder = Recorder::start(config, store.clone()).await.unwrap();
        assert_eq!(recorder.drain(Duration::from_secs(20)).await, 0);
        let (report, items) = judge("s", &store.files("s"));
        if items.len() < 2 {
            // Not even the opening was whole: nothing had been promised.
            continue;
        }
        assert!(report.is_intact(), "cut at {end}: {report}");
        assert_eq!(report.state, State::Torn);
        assert!(matches!(items.last().unwrap().entry.fact, Fact::Recovered(_)));
    }
}

#[tokio::test]
async fn a_crash_between_two_segments_leaves_a_session_that_says_it_has_no_end() {
    let first = bench(|config| config.segment_max_bytes = 1000).await;
    first.store.fail("s", usize::MAX);
    let session = first.recorder.open_session(opening("s")).await.unwrap();
    run(&session, "one", b"{}").await;
    // What a crash would leave right now, and one right before the sealed segment got its name.
    for renamed in [true, false] {
        let next = tempfile::tempdir().unwrap();
        fs::create_dir_all(next.path().join("s")).unwrap();
        for file in fs::read_dir(first.spool().join("s")).unwrap().map(Result::unwrap) {
            let name = file.file_name().into_string().unwrap();
            let name = if renamed { name } else { name.replace("fgseg", "hot") };
            fs::copy(file.path(), next.path().join("s").join(name)).unwrap();
        }
        fs::write(next.path().join("s/99.new"), "half a header").unwrap();
        let store = Store::default();
        let config = Config::new(next.path().into(), 1 << 30);
        let recorder = Recorder::start(config, store.clone()).await.unwrap();
        assert_eq!(recorder.drain(Duration::from_secs(20)).await, 0);
        let (report, items) = judge("s", &store.files("s"));
        assert!(report.is_intact(), "{report}");
        assert_eq!(report.state, State::Torn);
        assert!(report.segments > 1 && report.sealed > 0, "{report}");
        assert!(matches!(items.last().unwrap().entry.fact, Fact::Recovered(_)));
        assert!(store.notices("s").last().unwrap().is_final);
        assert_eq!(recorder.spool_bytes(), 0);
        assert!(!next.path().join("s").exists(), "nothing is left behind");
    }
}

// === a recording that goes on ===

fn interrupted(attempted: u64, under_way: &[&str]) -> Interrupted {
    let Opening { session, key, .. } = opening("s");
    let under_way = under_way.iter().map(|id| (*id).to_owned()).collect();
    Interrupted { session, key, attempted, under_way, given_up: HashSet::new() }
}

/// Starts again over a folder, going on with the session; ends it in order and gives what was stored of it.
async fn go_on(dir: &Path, was: Interrupted) -> (usize, Report, Vec<Item>) {
    let store = Store::default();
    let config = Config::new(dir.into(), 1 << 30);
    let (recorder, resumed) =
        Recorder::resume(config, store.clone(), vec![was], |_, _| {}).await.unwrap();
    let count = resumed.len();
    for Resumed { recording, .. } in resumed {
        run(&recording, "later", b"{}").await;
        recording.close("Logout").await.unwrap();
    }
    assert_eq!(recorder.drain(Duration::from_secs(20)).await, 0);
    assert_eq!(recorder.spool_bytes(), 0);
    let (report, items) = judge("s", &store.files("s"));
    (count, report, items)
}

#[tokio::test]
async fn a_recording_goes_on_wherever_a_crash_interrupted_it() {
    let first = bench(|_| {}).await;
    let session = first.recorder.open_session(opening("s")).await.unwrap();
    run(&session, "one", br#"{"data":{"rowset":[["1"]]}}"#).await;
    let mut two = session.attempt(attempted("two"), None).await.unwrap();
    two.sent("FG_USER").await.unwrap();
    let hot = fs::read(first.spool().join("s/0.hot")).unwrap();
    let header = {
        let mut reader = recording::segment::Reader::new(&hot).unwrap();
        reader.next_frame().unwrap().unwrap();
        reader.at()
    };
    // Not every byte: each cut is a start with its syncs. The first and the last are among them.
    for end in (header..hot.len()).step_by(61).chain([hot.len()]) {
        let next = tempfile::tempdir().unwrap();
        fs::create_dir_all(next.path().join("s")).unwrap();
        fs::write(next.path().join("s/0.hot"), &hot[..end]).unwrap();
        let (_, before) = judge("s", &BTreeMap::from([(0, hot[..end].to_vec())]));
        let done = before.iter().filter(|item| item.entry.fact.kind() == "Completed").count();
        let (count, report, items) = go_on(next.path(), interrupted(done as u64, &[])).await;
        if before.is_empty() {
            // Without its opening nothing had been promised, and no session was ever noted.
            continue;
        }
        assert_eq!(count, 1, "cut at {end}");
        assert!(report.is_intact(), "cut at {end}: {report}");
        assert_eq!((report.state, report.sealed), (State::Closed, report.entries), "cut at {end}");
        let kinds: Vec<_> = items.iter().map(|item| item.entry.fact.kind()).collect();
        assert_eq!(kinds[before.len()], "Recovered", "cut at {end}: {kinds:?}");
        let open =
            before.iter().filter(|item| item.entry.fact.kind() == "Attempted").count() - done;
        assert_eq!(kinds.iter().filter(|kind| **kind == "Refused").count(), open, "cut at {end}");
    }
    drop(two);
}

#[tokio::test]
async fn a_statement_under_way_keeps_its_attempt_and_ends_once() {
    let first = bench(|_| {}).await;
    let session = first.recorder.open_session(opening("s")).await.unwrap();
    run(&session, "one", b"{}").await;
    let mut two = session.attempt(attempted("two"), None).await.unwrap();
    two.sent("FG_USER").await.unwrap();
    let next = tempfile::tempdir().unwrap();
    fs::create_dir_all(next.path().join("s")).unwrap();
    fs::copy(first.spool().join("s/0.hot"), next.path().join("s/0.hot")).unwrap();
    let store = Store::default();
    let config = Config::new(next.path().into(), 1 << 30);
    let was = interrupted(2, &["two"]);
    let (recorder, mut resumed) =
        Recorder::resume(config, store.clone(), vec![was], |_, _| {}).await.unwrap();
    let Resumed { recording, outcomes } = resumed.pop().unwrap();
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), ["one"]);
    let mut attempt = recording.under_way("two".into(), 1);
    attempt.sent("FG_USER").await.unwrap();
    let answer = attempt.rows(b"{}").await.unwrap();
    attempt.complete(Completed { answer, ..Completed::default() }).await.unwrap();
    recording.close("Logout").await.unwrap();
    assert_eq!(recorder.drain(Duration::from_secs(20)).await, 0);
    let (report, items) = judge("s", &store.files("s"));
    assert!(report.is_intact(), "{report}");
    let kinds: Vec<_> = items.iter().map(|item| item.entry.fact.kind()).collect();
    let expected = ["Attempted", "Sent", "Recovered", "Sent", "Rows", "Completed", "SessionClosed"];
    assert_eq!(kinds[kinds.len() - 7..], expected);
    drop(two);
}

#[tokio::test]
async fn a_recording_under_another_key_or_without_its_end_does_not_go_on() {
    let first = bench(|_| {}).await;
    let session = first.recorder.open_session(opening("s")).await.unwrap();
    run(&session, "one", b"{}").await;
    let hot = fs::read(first.spool().join("s/0.hot")).unwrap();
    let other =
        Interrupted { key: SigningKey::from_seed(&[3; 32]).unwrap(), ..interrupted(1, &[]) };
    for (was, file) in [(other, "0.hot"), (interrupted(1, &[]), "0.broken")] {
        let next = tempfile::tempdir().unwrap();
        fs::create_dir_all(next.path().join("s")).unwrap();
        fs::write(next.path().join("s").join(file), &hot).unwrap();
        let store = Store::default();
        let config = Config::new(next.path().into(), 1 << 30);
        let (recorder, resumed) =
            Recorder::resume(config, store.clone(), vec![was], |_, _| {}).await.unwrap();
        assert_eq!(resumed.len(), 0);
        recorder.drain(Duration::from_secs(20)).await;
        let (report, _) = judge("s", &store.files("s"));
        assert!(report.state == State::Torn || store.files("s").is_empty(), "{report}");
    }
}

#[tokio::test]
async fn a_recording_goes_on_behind_a_segment_that_was_sealed_last() {
    let first = bench(|config| config.segment_max_bytes = 1000).await;
    first.store.fail("s", usize::MAX);
    let session = first.recorder.open_session(opening("s")).await.unwrap();
    run(&session, "one", b"{}").await;
    // As a crash leaves it before and after the sealed segment got its name, and where there was no room for the next.
    for (rename, keep_next) in [(false, true), (true, true), (false, false)] {
        let next = tempfile::tempdir().unwrap();
        fs::create_dir_all(next.path().join("s")).unwrap();
        for file in fs::read_dir(first.spool().join("s")).unwrap().map(Result::unwrap) {
            let name = file.file_name().into_string().unwrap();
            if name.ends_with("hot") && !keep_next {
                continue;
            }
            let name = if rename { name.replace("fgseg", "hot") } else { name };
            fs::copy(file.path(), next.path().join("s").join(name)).unwrap();
        }
        // Without the next segment the one statement has no outcome, and was noted by nobody.
        let was = interrupted(u64::from(keep_next), &[]);
        let (count, report, items) = go_on(next.path(), was).await;
        assert_eq!(count, 1);
        assert!(report.is_intact(), "{report}");
        assert_eq!(report.state, State::Closed);
        assert!(items.iter().any(|item| matches!(item.entry.fact, Fact::Recovered(_))));
    }
}

// === kill -9, for real ===

const CHILD: &str = "child_that_attempts_until_it_is_killed";
const CHILD_SPOOL: &str = "RECORDER_TEST_SPOOL";

#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the parent tells its child where the spool is, and hears what it promised"
)]
#[tokio::test]
#[ignore = "runs only as the child of the test below"]
async fn child_that_attempts_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD_SPOOL) else { return };
    let store = Store::default();
    store.fail("s", usize::MAX);
    let config = Config::new(dir.into(), 1 << 30);
    let recorder = Recorder::start(config, store).await.unwrap();
    let session = recorder.open_session(opening("s")).await.unwrap();
    for number in 0..100_000 {
        let attempt = session.attempt(attempted(&format!("{number}")), None).await.unwrap();
        // From here on it may have left the pod.
        println!("promised {number}");
        drop(attempt);
    }
}

#[tokio::test]
async fn no_attempt_that_was_promised_is_lost_by_kill_9() {
    for cycle in 0..8_u32 {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", CHILD, "--nocapture"])
            .env(CHILD_SPOOL, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut promised = Vec::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let until = 3 + cycle * 7;
        while let Some(Ok(line)) = lines.next() {
            // The harness writes to the same line as the first promise.
            let Some((_, number)) = line.split_once("promised ") else { continue };
            promised.push(number.to_owned());
            if promised.len() as u32 == until {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(promised.len() as u32 >= until);
        let store = Store::default();
        let config = Config::new(dir.path().into(), 1 << 30);
        let recorder = Recorder::start(config, store.clone()).await.unwrap();
        assert_eq!(recorder.drain(Duration::from_secs(20)).await, 0);
        let (report, items) = judge("s", &store.files("s"));
        assert!(report.is_intact(), "{report}");
        for number in promised {
            let found = items.iter().any(
                |item| matches!(&item.entry.fact, Fact::Attempted(it) if it.statement == number),
            );
            assert!(found, "attempt {number} was promised and is lost");
        }
    }
}
