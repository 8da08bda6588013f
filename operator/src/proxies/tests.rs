//! The control server in one process: real TLS, a real ledger, a scripted account and scripted objects.

use std::fs;
use std::time::Duration;

use control::approval::Demand;
use control::{
    ApprovalAsk, ApprovalState, Client, CloseSession, Credential, Grant, OpenSession,
    OpenedSession, Outcome, Problem, RenewedSession, Snapshot, Update, Workload,
};
use crds::approval_request::{Choice, Phase};
use futures::StreamExt as _;
use http::{Method, StatusCode};
use policy::document::{ApprovalMatch, ApprovalRule, Approvers, Document, RoleMapping, Subject};
use recording::ledger::Leaf;
use recording::{Certificate, PublicKey, Signed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::broker::sweeper;
use crate::ledger::{Key, Settings};
use crate::objects::Error;
use crate::scripted::account::{Account, Fault, User};
use crate::scripted::objects::Scripted;
use crate::scripted::{Served, connection, private_key, serve, session_key};

/// Everything outside of the operator, which can be started again over it.
struct World {
    account: Account,
    objects: Arc<Scripted>,
    folder: TempDir,
    _account: Served,
}

/// One run of the operator.
struct Run {
    parts: Arc<Parts>,
    ledger: Arc<Ledger>,
    served: Served,
    client: reqwest::Client,
}

fn document() -> Document {
    Document {
        name: "agents/support".into(),
        generation: 3,
        mode: policy::document::Mode::Enforce,
        subjects: vec![],
        role_mapping: vec![
            RoleMapping {
                when: Some(Subject { groups: vec!["stewards".into()], ..Subject::default() }),
                role: "STEWARD".into(),
                warehouse: None,
            },
            RoleMapping { when: None, role: "ANALYST".into(), warehouse: None },
        ],
        statements: policy::document::Statements::default(),
        objects: vec![],
        masking: vec![],
        functions: policy::document::Functions::default(),
        detectors: Vec::new(),
        guards: policy::document::Guards::default(),
        approvals: vec![ApprovalRule {
            name: "deletes".into(),
            when: ApprovalMatch::default(),
            approvers: Approvers::default(),
            pending_ttl_seconds: 600,
            grant_ttl_seconds: 300,
        }],
    }
}

async fn world() -> World {
    let account = Account::default();
    let served = account.serve().await;
    let objects = Scripted::new(connection(&served), private_key());
    objects.with(|state| state.documents = vec![document()]);
    objects.pod("token-a", "a");
    objects.pod("token-b", "b");
    World { account, objects, folder: tempfile::tempdir().unwrap(), _account: served }
}

impl World {
    async fn start(&self) -> Run {
        let seed = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let key = Key::from_pkcs8("ledger", seed.to_pkcs8().unwrap().as_ref()).unwrap();
        let mut settings =
            Settings::new(self.folder.path(), "https://operator.example".parse().unwrap());
        settings.publish_every = Duration::from_millis(5);
        let ledger = Ledger::open(settings, key).unwrap();
        let parts = Parts::new(
            self.objects.clone(),
            ledger.clone(),
            Arc::default(),
            "cluster",
            CancellationToken::new(),
        );
        tokio::spawn(parts.clone().run());
        let served = serve(router(parts.clone())).await;
        let timeout = Duration::from_secs(20);
        let client = crate::outbound::client(
            Some(&served.ca),
            timeout,
            &crate::outbound::Names::new(),
            None,
        )
        .unwrap();
        Run { parts, ledger, served, client }
    }
}

impl Run {
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: &impl Serialize,
    ) -> Result<T, (StatusCode, Problem)> {
        let url = format!("https://127.0.0.1:{}{path}", self.served.port);
        let request = self.client.request(method, url).bearer_auth(token);
        let request = request.header(control::VERSION_HEADER, control::VERSION).json(body);
        let response = request.send().await.unwrap();
        let status = response.status();
        let body = response.bytes().await.unwrap();
        if status.is_success() {
            let body = if body.is_empty() { b"null".as_slice() } else { &body };
            return Ok(serde_json::from_slice(body).unwrap());
        }
        Err((status, serde_json::from_slice(&body).unwrap()))
    }

    async fn open(&self, ask: &OpenSession) -> Result<OpenedSession, (StatusCode, Problem)> {
        self.call(Method::POST, "/v1/sessions", "token-a", ask).await
    }

    async fn opened(&self) -> OpenedSession {
        self.open(&ask()).await.unwrap()
    }

    async fn renew(
        &self,
        session: &str,
        token: &str,
    ) -> Result<RenewedSession, (StatusCode, Problem)> {
        self.call(Method::POST, &format!("/v1/sessions/{session}"), token, &json!({})).await
    }

    async fn close(&self, session: &str, token: &str) -> Result<Value, (StatusCode, Problem)> {
        let body = CloseSession { reason: "Logout".into() };
        self.call(Method::DELETE, &format!("/v1/sessions/{session}"), token, &body).await
    }

    async fn hold(
        &self,
        session: &str,
        ask: &ApprovalAsk,
    ) -> Result<ApprovalState, (StatusCode, Problem)> {
        let path = format!("/v1/sessions/{session}/approvals/statement-{}", ask.request_id);
        self.call(Method::PUT, &path, "token-a", ask).await
    }

    /// The lines of a stream as they come.
    async fn stream(&self, token: &str) -> mpsc::Receiver<Update> {
        let url = format!("https://127.0.0.1:{}/v1/stream", self.served.port);
        let client = crate::outbound::client(
            Some(&self.served.ca),
            Duration::from_secs(60),
            &crate::outbound::Names::new(),
            None,
        )
        .unwrap();
        let request = client.get(url).bearer_auth(token);
        let request = request.header(control::VERSION_HEADER, control::VERSION);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(async move {
            let mut bytes = response.bytes_stream();
            let mut buffer = Vec::new();
            while let Some(Ok(chunk)) = bytes.next().await {
                buffer.extend_from_slice(&chunk);
                while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    if sender.send(serde_json::from_slice(&line).unwrap()).await.is_err() {
                        return;
                    }
                }
            }
        });
        receiver
    }

    async fn stop(self) {
        self.parts.shutdown.cancel();
        // Until nothing holds the ledger any more.
        let Self { parts, ledger, served, .. } = self;
        drop(served);
        drop(parts);
        until("something still runs", || Arc::strong_count(&ledger) == 1).await;
        drop(ledger);
    }

    /// What the ledger publishes of the session, once it is that many.
    async fn facts(&self, folder: &TempDir, session: &str, count: usize) -> Vec<String> {
        let mut facts = Vec::new();
        until("so many facts are published", || {
            // A checkpoint may be on its way at this moment.
            facts = self.published(folder, session).unwrap_or_default();
            facts.len() >= count
        })
        .await;
        facts
    }

    fn published(&self, folder: &TempDir, session: &str) -> Option<Vec<String>> {
        let read = |path: &str| fs::read(folder.path().join("ledger").join(path)).ok();
        let log = recording::ledger::check(read, &self.ledger.verifier_key(), None).ok()?;
        let word = |leaf: &Leaf| {
            let json = serde_json::to_value(leaf).unwrap();
            let detail = json.get("reason").or(json.get("outcome")).and_then(Value::as_str);
            format!("{} {}", json["type"].as_str().unwrap(), detail.unwrap_or_default())
                .trim()
                .to_owned()
        };
        let mine = log.leaves.iter().filter(|leaf| leaf.fact.session() == Some(session));
        Some(mine.map(word).collect())
    }
}

async fn next(stream: &mut mpsc::Receiver<Update>) -> Update {
    let next = tokio::time::timeout(Duration::from_secs(20), stream.recv());
    next.await.expect("nothing came").expect("the stream ended")
}

async fn next_snapshot(stream: &mut mpsc::Receiver<Update>) -> Box<Snapshot> {
    match next(stream).await {
        Update::Snapshot(snapshot) => snapshot,
        other => panic!("{other:?}"),
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}");
}

fn ask() -> OpenSession {
    OpenSession {
        identity_token: None,
        client: Client::default(),
        session_public_key: session_key(),
        recording_public_key: PublicKey([7; 32]).to_string(),
        requested_role: None,
    }
}

fn approval(request_id: &str) -> ApprovalAsk {
    ApprovalAsk {
        request_id: request_id.into(),
        sql: "DELETE FROM ORDERS".into(),
        binds: vec![],
        digest: "ab".repeat(32),
        policy_hash: "cd".repeat(32),
        demands: vec![Demand {
            policy: "agents/support".into(),
            generation: 3,
            rule: "deletes".into(),
            // What a sidecar says of the approvers is not what counts.
            approvers: Approvers {
                min_approvals: 0,
                distinct_from_requester: false,
                groups: vec![],
            },
            pending_ttl_seconds: 1,
            grant_ttl_seconds: 1_000_000,
        }],
        kinds: vec!["Delete".into()],
        writes: vec!["DB.PUBLIC.ORDERS".into()],
        reads: vec![],
        risks: vec!["DeleteWithoutWhere".into()],
        database: Some("DB".into()),
        schema: Some("PUBLIC".into()),
        role: "ANALYST".into(),
        warehouse: None,
        intent: Some(control::Intent {
            confidence: "Hash".into(),
            excerpt: Some("clean up ".repeat(200)),
            prompt: Some("ef".repeat(32)),
            model: Some("claude-test".into()),
            tool: Some("run_sql".into()),
            tool_use: Some("toolu_1".into()),
            request: None,
        }),
    }
}

fn code<T: std::fmt::Debug>(outcome: Result<T, (StatusCode, Problem)>) -> (u16, String) {
    let (status, problem) = outcome.unwrap_err();
    (status.as_u16(), problem.code)
}

// === sessions ===

#[tokio::test]
async fn a_session_is_on_record_before_its_user_exists_and_the_user_ends_with_it() {
    let world = world().await;
    let run = world.start().await;
    let ledger = run.ledger.clone();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let watched = seen.clone();
    world.account.with(|state| {
        state.watch = Some(Box::new(move |text| {
            if text.starts_with("CREATE USER") {
                let living = ledger.living();
                let kept = living.iter().find(|kept| text.contains(&kept.session)).unwrap();
                let user = kept.user.clone().unwrap();
                watched
                    .lock()
                    .unwrap()
                    .push((ledger.is_closed(&kept.session), text.contains(&user)));
            }
        }));
    });
    let opened = run.opened().await;
    world.account.with(|state| state.watch = None);
    assert_eq!(*seen.lock().unwrap(), [(Some(false), true)]);
    let Credential::EphemeralUser { user, expires_at_ms } = &opened.credential else { panic!() };
    assert_eq!(world.account.users(), [user.as_str()]);
    assert_eq!((opened.role.as_str(), opened.warehouse.as_deref()), ("ANALYST", Some("WH")));
    assert!(opened.expires_at_ms < *expires_at_ms, "renewed often, ended once");

    let signed: Signed = serde_json::from_value(opened.certificate).unwrap();
    let certificate: Certificate =
        signed.open(recording::seal::CERTIFICATE_CONTEXT, &run.ledger.public_key()).unwrap();
    assert_eq!(certificate.session, opened.session);
    assert_eq!(certificate.key, PublicKey([7; 32]));

    run.renew(&opened.session, "token-a").await.unwrap();
    run.close(&opened.session, "token-a").await.unwrap();
    until("the user is dropped", || world.account.users().is_empty()).await;
    assert_eq!(code(run.renew(&opened.session, "token-a").await), (404, "FG-1004".into()));
    run.close(&opened.session, "token-a").await.expect("closing twice is fine");
    until("it is closed", || run.parts.sessions.active(None) == 0).await;
    let expected =
        ["SessionOpened", "CredentialMinted", "SessionClosed Logout", "CredentialDropped Closed"];
    assert_eq!(run.facts(&world.folder, &opened.session, 4).await, expected);
}

#[tokio::test]
async fn to_another_pod_a_session_does_not_exist() {
    let world = world().await;
    let run = world.start().await;
    let opened = run.opened().await;
    let path = format!("/v1/sessions/{}", opened.session);
    let gone = (404, "FG-1004".to_owned());
    assert_eq!(code(run.renew(&opened.session, "token-b").await), gone);
    assert_eq!(code(run.close(&opened.session, "token-b").await), gone);
    let names = json!({ "names": [] });
    let other: Result<Value, _> =
        run.call(Method::POST, &format!("{path}/catalog"), "token-b", &names).await;
    assert_eq!(code(other), gone);
    let segment = json!({ "number": 0, "sha256": "ab".repeat(32), "length": 10 });
    let other: Result<Value, _> =
        run.call(Method::POST, &format!("{path}/segments"), "token-b", &segment).await;
    assert_eq!(code(other), gone);
    let mine: Result<Value, _> =
        run.call(Method::POST, &format!("{path}/segments"), "token-a", &segment).await;
    mine.unwrap();
    let held: Result<Value, _> =
        run.call(Method::PUT, &format!("{path}/approvals/s"), "token-b", &approval("r")).await;
    assert_eq!(code(held), gone);
    run.renew(&opened.session, "token-a").await.unwrap();
}

#[tokio::test]
async fn who_is_no_sidecar_of_this_version_is_refused() {
    let world = world().await;
    let run = world.start().await;
    let refused = (401, "FG-1007".to_owned());
    for token in ["", "nobody", "token-a extra"] {
        let outcome: Result<Value, _> = run.call(Method::POST, "/v1/sessions", token, &ask()).await;
        assert_eq!(code(outcome), refused, "{token:?}");
    }
    let url = format!("https://127.0.0.1:{}/v1/stream", run.served.port);
    for version in [None, Some("2")] {
        let mut request = run.client.get(&url).bearer_auth("token-a");
        if let Some(version) = version {
            request = request.header(control::VERSION_HEADER, version);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.json::<Problem>().await.unwrap().code, "FG-6001");
    }
    let unknown: Result<Value, _> = run.call(Method::GET, "/v2/x", "token-a", &json!(1)).await;
    assert_eq!(code(unknown), (404, "FG-6003".into()));
    let malformed: Result<Value, _> =
        run.call(Method::POST, "/v1/sessions", "token-a", &json!({ "x": 1 })).await;
    assert_eq!(code(malformed), (400, "FG-6001".into()));
}

#[tokio::test]
async fn a_session_that_cannot_get_its_user_does_not_open_and_leaves_nothing() {
    let world = world().await;
    let run = world.start().await;
    for begin in ["CREATE USER", "GRANT ROLE"] {
        world.account.with(|state| state.faults.push((begin, Fault::Refused)));
        assert_eq!(code(run.open(&ask()).await), (403, "FG-4002".into()), "{begin}");
        assert_eq!(world.account.users(), [""; 0], "{begin}");
    }
    until("nothing is open", || run.parts.sessions.active(None) == 0).await;
    for kept in run.ledger.living() {
        assert_eq!(run.ledger.is_closed(&kept.session), Some(true));
    }
}

#[tokio::test]
async fn who_may_not_open_a_session_is_told_why() {
    let world = world().await;
    let run = world.start().await;
    let refused = |change: fn(&mut OpenSession)| {
        let mut ask = ask();
        change(&mut ask);
        ask
    };
    let cases: [(OpenSession, &str); 4] = [
        (refused(|ask| ask.requested_role = Some("STEWARD".into())), "FG-1002"),
        (refused(|ask| ask.identity_token = Some("eyJ.x.y".into())), "FG-1001"),
        (refused(|ask| ask.session_public_key = "x".into()), "FG-6001"),
        (refused(|ask| ask.recording_public_key = "x".into()), "FG-6001"),
    ];
    for (ask, expected) in cases {
        assert_eq!(code(run.open(&ask).await).1, expected);
    }
    run.open(&refused(|ask| ask.requested_role = Some("analyst".into()))).await.unwrap();

    type Change = fn(&mut crate::scripted::objects::State);
    let changes: [(Change, &str); 5] = [
        (|state| state.suspended = Some("stopped by bob".into()), "FG-2010"),
        (|state| state.documents.clear(), "FG-1003"),
        (|state| state.documents[0].role_mapping[1].role = "ACCOUNTADMIN".into(), "FG-1002"),
        (|state| state.refusal = Some(Error::Refused("not admitted".into())), "FG-1003"),
        (
            |state| {
                let identity = json!({ "required": true, "issuers": [] });
                state.connection.spec.identity = serde_json::from_value(identity).unwrap();
            },
            "FG-1006",
        ),
    ];
    let users = world.account.users().len();
    for (change, expected) in changes {
        let (connection, documents) =
            world.objects.with(|state| (state.connection.clone(), state.documents.clone()));
        world.objects.with(change);
        assert_eq!(code(run.open(&ask()).await).1, expected);
        world.objects.with(|state| {
            (state.connection, state.documents) = (connection, documents);
            (state.suspended, state.refusal) = (None, None);
        });
    }
    assert_eq!(world.account.users().len(), users, "nobody was minted for");
}

#[tokio::test]
async fn the_pod_s_own_token_names_no_human_and_that_of_another_pod_is_refused() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let part = |text: &str| BASE64.encode(text);
    let token = |pod: &str| {
        let claims = part(r#"{"iss":"https://kubernetes.default.svc"}"#);
        format!("{}.{claims}.{}", part(r#"{"alg":"RS256","kid":"1"}"#), part(pod))
    };
    let world = world().await;
    let run = world.start().await;
    world.objects.with(|state| {
        state.own.insert(token("a"), "uid-a".into());
        state.own.insert(token("b"), "uid-b".into());
    });
    let with = |pod: &str| OpenSession { identity_token: Some(token(pod)), ..ask() };
    let opened = run.open(&with("a")).await.unwrap();
    assert!(opened.principal.human.is_none());
    assert_eq!(code(run.open(&with("b")).await).1, "FG-1001");
    // Where a human is needed, a pod's token is none.
    world.objects.with(|state| {
        let identity = json!({ "required": true, "issuers": [] });
        state.connection.spec.identity = serde_json::from_value(identity).unwrap();
    });
    assert_eq!(code(run.open(&with("a")).await).1, "FG-1006");
}

#[tokio::test]
async fn the_credentials_of_a_pod_that_is_gone_are_dropped() {
    let world = world().await;
    let run = world.start().await;
    let stream = run.stream("token-a").await;
    let opened = run.opened().await;
    assert_eq!(world.account.users().len(), 1);
    world.objects.with(|state| state.gone.insert("uid-a".into()));
    drop(stream);
    until("the user is dropped", || world.account.users().is_empty()).await;
    until("it is closed", || run.parts.sessions.active(None) == 0).await;
    assert_eq!(run.ledger.is_closed(&opened.session), Some(true));
    assert_eq!(code(run.renew(&opened.session, "token-a").await), (401, "FG-1007".into()));
}

#[tokio::test]
async fn the_sweeper_drops_orphans_and_nobody_else() {
    let world = world().await;
    let run = world.start().await;
    let opened = run.opened().await;
    let Credential::EphemeralUser { user: living, .. } = opened.credential else { panic!() };
    let orphan = "0190f3a0-0000-7000-8000-00000000dead";
    world.account.with(|state| {
        for (name, comment) in [
            ("FG_ORPHAN", format!("frostgate cluster {orphan}")),
            ("FG_FOREIGN", format!("frostgate elsewhere {orphan}")),
            ("FG_HUMAN", "somebody".to_owned()),
        ] {
            let owner = "PROVISIONER".to_owned();
            state.users.insert(name.into(), User { comment, owner, ..User::default() });
        }
    });
    let connection = world.objects.with(|state| state.connection.clone());
    sweeper::sweep(&run.parts, &connection).await;
    let mut left = vec!["FG_FOREIGN".to_owned(), "FG_HUMAN".to_owned(), living];
    left.sort();
    assert_eq!(world.account.users(), left);
    assert_eq!(run.facts(&world.folder, orphan, 1).await, ["CredentialDropped Orphaned"]);
}

#[tokio::test]
async fn a_restart_goes_on_with_living_sessions_and_finishes_closed_ones() {
    let world = world().await;
    let run = world.start().await;
    let living = run.opened().await;
    let closed = run.opened().await;
    world.account.with(|state| {
        // The account refuses to drop until the operator is gone.
        state.faults.extend([("DROP USER", Fault::Refused); 50]);
    });
    run.close(&closed.session, "token-a").await.unwrap();
    until("a drop was tried", || world.account.verbs().iter().any(|verb| verb == "DROP USER"))
        .await;
    run.stop().await;
    assert_eq!(world.account.users().len(), 2);
    world.account.with(|state| state.faults.clear());

    let run = world.start().await;
    until("the closed one is dropped", || world.account.users().len() == 1).await;
    let connection = world.objects.with(|state| state.connection.clone());
    sweeper::sweep(&run.parts, &connection).await;
    assert_eq!(world.account.users().len(), 1, "the living one is accounted for");
    run.renew(&living.session, "token-a").await.unwrap();
    assert_eq!(code(run.renew(&closed.session, "token-a").await), (404, "FG-1004".into()));
    let facts = run.facts(&world.folder, &closed.session, 4).await;
    assert_eq!(facts[2..], ["SessionClosed Logout", "CredentialDropped Closed"]);
}

// === the stream ===

#[tokio::test]
async fn a_stream_begins_with_a_snapshot_and_tells_every_change() {
    let world = world().await;
    let run = world.start().await;
    let mut stream = run.stream("token-a").await;
    let first = next_snapshot(&mut stream).await;
    assert_eq!(first.connection.name, "data/prod");
    assert_eq!(first.lease_seconds, 900);
    assert_eq!(first.documents, [document()]);
    assert_eq!(first.grant_key, run.ledger.public_key().to_string());

    world.objects.with(|state| state.documents[0].generation = 4);
    let changed = next_snapshot(&mut stream).await;
    assert_ne!(changed.policy_hash, first.policy_hash);
    assert_eq!(changed.mask_key, first.mask_key);

    world.objects.with(|state| state.suspended = Some("stopped by bob".into()));
    assert_eq!(next_snapshot(&mut stream).await.suspended.as_deref(), Some("stopped by bob"));

    let opened = run.opened_anyway(&world).await;
    world.objects.with(|state| state.refusal = Some(Error::Refused("no longer admitted".into())));
    loop {
        match next(&mut stream).await {
            Update::CloseSession { session, reason } => {
                assert_eq!(
                    (session, reason.as_str()),
                    (opened.session.clone(), "no longer admitted")
                );
                break;
            }
            Update::Snapshot(_) => {}
            other => panic!("{other:?}"),
        }
    }
    until("the user is dropped", || world.account.users().is_empty()).await;
}

impl Run {
    async fn opened_anyway(&self, world: &World) -> OpenedSession {
        world.objects.with(|state| state.suspended = None);
        self.opened().await
    }
}

#[tokio::test]
async fn a_snapshot_comes_again_before_a_third_of_the_lease_is_over() {
    let world = world().await;
    world.objects.with(|state| {
        state.connection.spec.policy_lease = crds::Duration::from_secs(3);
    });
    let run = world.start().await;
    let mut stream = run.stream("token-a").await;
    let first = next_snapshot(&mut stream).await;
    for _ in 0..2 {
        let begun = std::time::Instant::now();
        assert_eq!(next_snapshot(&mut stream).await, first);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    // While nobody knows what holds, the lease is not renewed.
    world.objects.with(|state| state.refusal = Some(Error::Unavailable("not synced".into())));
    assert!(tokio::time::timeout(Duration::from_secs(3), stream.recv()).await.is_err());
    world.objects.with(|state| state.refusal = None);
    next_snapshot(&mut stream).await;
}

// === approvals ===

fn grant(run: &Run, outcome: &Outcome) -> Grant {
    let Outcome::Approved { grant } = outcome else { panic!("{outcome:?}") };
    let signed = Signed { payload: grant.payload.clone(), signature: grant.signature.clone() };
    signed.open(control::approval::GRANT_CONTEXT, &run.ledger.public_key()).unwrap()
}

async fn verdict(stream: &mut mpsc::Receiver<Update>) -> (String, Outcome) {
    loop {
        match next(stream).await {
            Update::Verdict { statement, verdict, .. } => return (statement, verdict.outcome),
            Update::Snapshot(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn asking_twice_is_asking_once_and_the_approval_comes_as_a_signed_grant() {
    let world = world().await;
    let run = world.start().await;
    let mut stream = run.stream("token-a").await;
    let session = run.opened().await.session;
    let state = run.hold(&session, &approval("1")).await.unwrap();
    assert_eq!(run.hold(&session, &approval("1")).await.unwrap(), state);
    let request = world.objects.only_request();
    assert_eq!(request.phase(), Phase::Pending);
    // Who may decide and for how long comes from the policy, not from the sidecar.
    assert_eq!(request.spec.policy_refs[0].approvers.min_approvals, 1);
    assert_eq!(request.spec.policy_refs[0].grant_seconds, 300);
    // Approvers read what the agent was asked to do, within what an object may hold.
    let intent = request.spec.intent.as_ref().unwrap();
    assert_eq!((intent.confidence.as_str(), intent.tool_use.as_deref()), ("Hash", Some("toolu_1")));
    assert_eq!(intent.prompt_excerpt.as_ref().unwrap().len(), 1024);
    let lasts = state.expires_at_ms - jiff::Timestamp::now().as_millisecond();
    assert!((590_000..=600_000).contains(&lasts), "{lasts}");

    let other = ApprovalAsk { digest: "ef".repeat(32), ..approval("1") };
    assert_eq!(code(run.hold(&session, &other).await), (409, "FG-6004".into()));

    world.objects.decide("system:serviceaccount:agents:bot", Choice::Approved, "me");
    world.objects.decide("bob", Choice::Approved, "INC-88");
    let (statement, outcome) = verdict(&mut stream).await;
    assert_eq!(statement, "statement-1");
    let granted = grant(&run, &outcome);
    assert_eq!((granted.digest, granted.uses), ("ab".repeat(32), 1));
    assert_eq!((granted.session, granted.statement), (session.clone(), statement));
    let approvers: Vec<_> =
        granted.approvers.iter().map(|by| (by.name.as_str(), by.reason.as_str())).collect();
    assert_eq!(approvers, [("bob", "INC-88")]);
    let again = run.hold(&session, &approval("1")).await.unwrap();
    assert_eq!(again.verdict.unwrap().outcome, outcome);
    let closed = world.objects.only_request();
    assert_eq!(closed.phase(), Phase::Approved);
    assert_eq!(closed.status.unwrap().votes.as_deref(), Some("1/1"));
    let facts = run.facts(&world.folder, &session, 4).await;
    assert_eq!(facts[2..], ["ApprovalDecided Approved", "GrantSigned"]);
}

#[tokio::test]
async fn a_hold_goes_on_after_a_restart_and_is_decided_once() {
    let world = world().await;
    let run = world.start().await;
    let session = run.opened().await.session;
    let state = run.hold(&session, &approval("1")).await.unwrap();
    run.stop().await;
    // Decided while there was no operator.
    world.objects.decide("bob", Choice::Approved, "yes");

    let run = world.start().await;
    let mut stream = run.stream("token-a").await;
    let (_, outcome) = verdict(&mut stream).await;
    let first = grant(&run, &outcome);
    let again = run.hold(&session, &approval("1")).await.unwrap();
    assert_eq!((&again.request, again.expires_at_ms), (&state.request, state.expires_at_ms));
    run.stop().await;

    let run = world.start().await;
    let mut stream = run.stream("token-a").await;
    let (_, outcome) = verdict(&mut stream).await;
    assert_eq!(grant(&run, &outcome), first, "told again, it is the same grant");
    // A late denial changes nothing.
    world.objects.decide("carol", Choice::Denied, "no");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again = run.hold(&session, &approval("1")).await.unwrap();
    assert_eq!(grant(&run, &again.verdict.unwrap().outcome), first);
    let facts = run.facts(&world.folder, &session, 4).await;
    let decided = facts.iter().filter(|fact| fact.starts_with("ApprovalDecided")).count();
    assert_eq!(decided, 1, "{facts:?}");
}

#[tokio::test]
async fn a_denial_an_expiry_and_a_withdrawal_are_verdicts_too() {
    let world = world().await;
    let run = world.start().await;
    let mut stream = run.stream("token-a").await;
    let session = run.opened().await.session;
    run.hold(&session, &approval("1")).await.unwrap();
    world.objects.decide("bob", Choice::Denied, "wrong table");
    match verdict(&mut stream).await {
        (_, Outcome::Denied { by }) => {
            assert_eq!((by.name.as_str(), by.reason.as_str()), ("bob", "wrong table"));
        }
        other => panic!("{other:?}"),
    }
    world.objects.with(|state| {
        state.requests.clear();
        state.documents[0].approvals[0].pending_ttl_seconds = 1;
    });
    run.hold(&session, &approval("2")).await.unwrap();
    assert_eq!(verdict(&mut stream).await, ("statement-2".into(), Outcome::Expired));

    world.objects.with(|state| {
        state.requests.clear();
        state.documents[0].approvals[0].pending_ttl_seconds = 600;
    });
    run.hold(&session, &approval("3")).await.unwrap();
    let path = format!("/v1/sessions/{session}/approvals/statement-3");
    let withdrawn: Result<Value, _> = run.call(Method::DELETE, &path, "token-a", &json!({})).await;
    withdrawn.unwrap();
    assert_eq!(verdict(&mut stream).await, ("statement-3".into(), Outcome::Withdrawn));
    world.objects.decide("bob", Choice::Approved, "too late");
    let again = run.hold(&session, &approval("3")).await.unwrap();
    assert_eq!(again.verdict.unwrap().outcome, Outcome::Withdrawn);

    world.objects.with(|state| state.requests.clear());
    run.hold(&session, &approval("4")).await.unwrap();
    run.close(&session, "token-a").await.unwrap();
    let phase = || world.objects.only_request().phase();
    until("nobody is bothered for a closed session", || phase() == Phase::Withdrawn).await;
}

#[tokio::test]
async fn what_cannot_be_put_to_a_human_is_refused() {
    let world = world().await;
    let run = world.start().await;
    let session = run.opened().await.session;
    let changed = |change: fn(&mut ApprovalAsk)| {
        let mut ask = approval("1");
        change(&mut ask);
        ask
    };
    for (ask, expected) in [
        (changed(|ask| ask.demands.clear()), "FG-6001"),
        (changed(|ask| ask.digest = "x".into()), "FG-6001"),
        (changed(|ask| ask.demands[0].rule = "gone".into()), "FG-3001"),
        (changed(|ask| ask.demands[0].policy = "other/support".into()), "FG-3001"),
        (changed(|ask| ask.sql = "x".repeat(200_000)), "FG-3001"),
        (changed(|ask| ask.binds = vec!["x".repeat(300_000)]), "FG-3001"),
    ] {
        assert_eq!(code(run.hold(&session, &ask).await).1, expected);
    }
    for number in 0..10 {
        run.hold(&session, &approval(&number.to_string())).await.unwrap();
    }
    assert_eq!(code(run.hold(&session, &approval("10")).await).1, "FG-3001");
    run.hold(&session, &approval("3")).await.expect("asking again is no further request");
}

#[test]
fn names_of_requests_follow_from_pod_session_and_request_id() {
    let pod = |uid: &str| Workload { pod_uid: uid.into(), ..Workload::default() };
    let name = approvals::name(&pod("u"), "s", "r");
    assert_eq!(name, approvals::name(&pod("u"), "s", "r"));
    assert!(name.starts_with("apr-") && name.len() == 14, "{name}");
    for other in [
        approvals::name(&pod("u2"), "s", "r"),
        approvals::name(&pod("u"), "s2", "r"),
        approvals::name(&pod("u"), "s", "r2"),
        approvals::name(&pod("us"), "", "r"),
        approvals::name(&pod("u"), "sr", ""),
    ] {
        assert_ne!(name, other);
    }
}
