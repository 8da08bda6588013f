//! Fetching from the operator's own routes, behind an API server's service proxy in small.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser as _;
use operator::ledger::{
    KeptSession, Key, Ledger, ReaderKey, Settings, new_reader_key, serve_router,
};
use recording::ledger::Fact;
use recording::{Digest, PublicKey};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;

const SESSION: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[derive(clap::Parser)]
struct Fetching {
    #[command(flatten)]
    args: Args,
}

/// A cluster with one recorded session and a log of many leaves; it ends with the test.
struct Scene {
    store: tempfile::TempDir,
    copy: tempfile::TempDir,
    kubeconfig: String,
    key: VerifierKey,
}

fn kept() -> KeptSession {
    KeptSession {
        session: SESSION.into(),
        connection: "data/prod".into(),
        principal: serde_json::from_value(json!({"workload": {
            "namespace": "agents", "pod": "p", "podUid": "u", "serviceAccount": "s",
            "kind": "Pod", "name": "p",
        }}))
        .unwrap(),
        role: "R".into(),
        user: None,
        is_ephemeral: false,
        opened_at_ms: 1,
        expires_at_ms: 2,
        ends_at_ms: None,
    }
}

/// Writes the store of an operator: a session with one segment, and `leaves` leaves.
async fn write(store: &Path, leaves: i64) -> Arc<Ledger> {
    let key = Key::in_folder(store, "frostgate.dev/ledger/test").unwrap();
    let settings = Settings::new(store, "https://frostgate:8443".parse().unwrap());
    let ledger = Ledger::open(settings, key).unwrap();
    if ledger.living().is_empty() {
        ledger.open_session(&kept(), "", PublicKey([1; 32])).await.unwrap();
        let path = store.join("recordings").join(SESSION).join("0.fgseg");
        fs::write(path, b"segment").unwrap();
        let notice = control::SealNotice {
            number: 0,
            sha256: Digest::of(b"segment").to_string(),
            length: 7,
            first_entry: 0,
            last_entry: 1,
            head: Digest::of(b"").to_string(),
            is_final: false,
        };
        ledger.seal(SESSION, &notice).await.unwrap();
    }
    for generation in 0..leaves {
        let fact = Fact::PolicyChanged { policy: "p".into(), generation, hash: "".into() };
        ledger.append(fact).await.unwrap();
    }
    let size = ledger.verifier_key();
    let mut heads = ledger.checkpoints();
    heads
        .wait_for(|note| {
            Checkpoint::open(note, &size).is_ok_and(|head| head.size >= leaves as u64 + 2)
        })
        .await
        .unwrap();
    ledger
}

impl Scene {
    fn new(leaves: i64, reader_of_auditor: Option<&str>) -> Self {
        let store = tempfile::tempdir().unwrap();
        let copy = tempfile::tempdir().unwrap();
        let root = store.path().to_owned();
        let reader = new_reader_key().unwrap().to_string();
        let shown = reader_of_auditor.unwrap_or(&reader).to_owned();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let ledger = write(&root, leaves).await;
                let key = ledger.verifier_key();
                let system = "/api/v1/namespaces/frostgate-system";
                let map = json!({
                    "kind": "ConfigMap", "apiVersion": "v1", "metadata": {},
                    "data": {"key": key.to_string()},
                });
                let secret = json!({
                    "kind": "Secret", "apiVersion": "v1", "metadata": {},
                    "data": {"key": STANDARD.encode(shown)},
                });
                let served = serve_router(ledger, ReaderKey::parse(&reader).unwrap());
                let router = Router::new()
                    .route(&format!("{system}/configmaps/{KEY_MAP}"), get(|| async { Json(map) }))
                    .route(
                        &format!("{system}/secrets/{READER_SECRET}"),
                        get(|| async { Json(secret) }),
                    )
                    .nest(&format!("{system}/services/{SERVICE}/proxy"), served);
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                send.send((listener.local_addr().unwrap().port(), key)).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        let (port, key) = receive.recv().unwrap();
        let kubeconfig = copy.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {}}],
        });
        fs::write(&kubeconfig, config.to_string()).unwrap();
        let kubeconfig = kubeconfig.to_str().unwrap().to_owned();
        Self { store, copy, kubeconfig, key }
    }

    fn folder(&self) -> PathBuf {
        self.copy.path().join("evidence")
    }

    fn fetch(&self, words: &[&str]) -> Result<String, String> {
        let folder = self.folder();
        let start = ["fetch", folder.to_str().unwrap(), "--kubeconfig", &self.kubeconfig];
        let args = Fetching::try_parse_from(start.iter().chain(words)).unwrap();
        let mut out = Vec::new();
        run(&args.args, &mut out).map_err(|error| format!("{error:#}"))?;
        Ok(String::from_utf8(out).unwrap())
    }
}

#[test]
fn a_copy_holds_every_segment_and_a_log_that_verifies() {
    let scene = Scene::new(300, None);
    let out = scene.fetch(&[]).unwrap();
    assert!(out.starts_with("1 sessions, 1 new segments, ledger of 302 leaves: intact\n"), "{out}");
    let segment = scene.folder().join("recordings").join(SESSION).join("0.fgseg");
    assert_eq!(fs::read(segment).unwrap(), b"segment");
    let read = |path: &str| fs::read(scene.folder().join("ledger").join(path)).ok();
    assert_eq!(check(read, &scene.key, None).unwrap().leaves.len(), 302);

    let out = scene.fetch(&["--session", "01890a5d"]).unwrap();
    assert!(
        out.starts_with("1 sessions, 0 new segments"),
        "what is here is not fetched again: {out}"
    );
    let out = scene.fetch(&["--session", "0199"]).unwrap();
    assert!(out.starts_with("0 sessions"), "{out}");
}

#[test]
fn without_the_readers_key_nothing_is_read() {
    let foreign = new_reader_key().unwrap();
    let scene = Scene::new(1, Some(foreign.as_str()));
    let error = scene.fetch(&[]).unwrap_err();
    assert!(error.contains("403") && error.contains("frostgate-recordings-reader"), "{error}");
    assert!(!scene.folder().join("recordings").exists());
}

#[test]
fn a_log_altered_in_the_cluster_is_not_taken_for_intact() {
    let scene = Scene::new(1, None);
    let bundle = scene.store.path().join("ledger/tile/entries/000.p/3");
    let mut bytes = fs::read(&bundle).unwrap();
    let place = bytes.windows(9).position(|word| word == b"data/prod").unwrap();
    bytes[place..place + 9].copy_from_slice(b"data/test");
    fs::write(&bundle, bytes).unwrap();
    let error = scene.fetch(&[]).unwrap_err();
    assert!(
        error.contains("leaf 0 in `tile/entries/000.p/3` is not the one that was appended"),
        "{error}"
    );
}

#[test]
fn a_log_that_was_rewound_since_the_last_fetch_is_named() {
    let scene = Scene::new(1, None);
    scene.fetch(&[]).unwrap();
    // Somebody with the key writes another past, shorter than the one that was seen.
    let pair = Key::in_folder(scene.store.path(), "frostgate.dev/ledger/test").unwrap();
    let other = tempfile::tempdir().unwrap();
    let settings = Settings::new(other.path(), "https://frostgate:8443".parse().unwrap());
    drop(Ledger::open(settings, pair).unwrap());
    let empty = fs::read(other.path().join("ledger/checkpoint")).unwrap();
    fs::write(scene.store.path().join("ledger/checkpoint"), empty).unwrap();
    let error = scene.fetch(&[]).unwrap_err();
    assert!(error.contains("it no longer begins with the 3 leaves known before"), "{error}");
}
