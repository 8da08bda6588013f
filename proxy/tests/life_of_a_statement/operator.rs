//! An operator that follows a script: policies, sessions, verdicts, and a log of what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use control::approval::GRANT_CONTEXT;
use control::{
    ApprovalAsk, ApprovalState, Approver, CatalogAnswer, CatalogAsk, CatalogObject, Connection,
    Credential, Grant, Human, OpenSession, OpenedSession, Outcome, Principal, RenewedSession,
    SignedGrant, Snapshot, Update, Verdict, Workload,
};
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use recording::seal::CERTIFICATE_CONTEXT;
use recording::{Certificate, PublicKey, Signed, SigningKey};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};

/// The operator and its script.
pub(crate) struct Operator {
    pub(crate) address: SocketAddr,
    key: SigningKey,
    snapshot: watch::Sender<Snapshot>,
    pushes: broadcast::Sender<Update>,
    pub(crate) catalog: Mutex<Vec<CatalogObject>>,
    /// What became of every question, and the questions.
    pub(crate) asked: Mutex<Vec<(String, ApprovalAsk)>>,
    pub(crate) withdrawn: Mutex<Vec<String>>,
    pub(crate) opened: Mutex<Vec<OpenSession>>,
    pub(crate) closed: Mutex<Vec<(String, String)>>,
    pub(crate) seals: Mutex<Vec<control::SealNotice>>,
    /// Segments that were put into its store.
    pub(crate) stored: Mutex<Vec<Bytes>>,
    /// Credential, role and human of the sessions it opens.
    pub(crate) grants: Mutex<Given>,
    /// When set, no call but the stream is answered.
    pub(crate) silent: std::sync::atomic::AtomicBool,
    /// Makes the session's user at the account, where that is wanted.
    pub(crate) on_open: Option<OnOpen>,
}

/// What happens when a session opens.
pub(crate) type OnOpen = Box<dyn Fn(&OpenSession) + Send + Sync>;

pub(crate) struct Given {
    pub(crate) credential: Credential,
    pub(crate) role: String,
    pub(crate) warehouse: Option<String>,
    pub(crate) human: Option<Human>,
}

impl Operator {
    pub(crate) async fn start(
        connection: Connection,
        documents: Vec<policy::Document>,
        catalog: Vec<CatalogObject>,
        given: Given,
        on_open: Option<OnOpen>,
    ) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let snapshot = Snapshot {
            lease_seconds: 900,
            connection,
            policy_hash: policy::document::hash(&documents),
            documents,
            suspended: None,
            grant_key: STANDARD.encode(key.public().0),
            mask_key: STANDARD.encode([9; 32]),
        };
        let this = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            key,
            snapshot: watch::channel(snapshot).0,
            pushes: broadcast::channel(64).0,
            catalog: Mutex::new(catalog),
            asked: Mutex::default(),
            withdrawn: Mutex::default(),
            opened: Mutex::default(),
            closed: Mutex::default(),
            seals: Mutex::default(),
            stored: Mutex::default(),
            grants: Mutex::new(given),
            silent: false.into(),
            on_open,
        });
        let serving = Arc::clone(&this);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let this = Arc::clone(&this);
                    async move { Ok::<_, Infallible>(this.answer(request).await) }
                });
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        this
    }

    /// A new policy for everybody.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(|snapshot| {
            change(snapshot);
            snapshot.policy_hash = policy::document::hash(&snapshot.documents);
        });
    }

    pub(crate) fn push(&self, update: Update) {
        self.pushes.send(update).unwrap();
    }

    /// Waits until `count` questions were asked.
    pub(crate) async fn questions(&self, count: usize) -> Vec<(String, ApprovalAsk)> {
        for _ in 0..500 {
            let asked = self.asked.lock().unwrap().clone();
            if asked.len() >= count {
                return asked;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the operator was not asked");
    }

    /// A human approves.
    pub(crate) fn approve(&self, session: &str, statement: &str, digest: &str) {
        let grant = self.grant(session, statement, digest);
        self.decide(session, statement, Outcome::Approved { grant: self.sign(&grant) });
    }

    pub(crate) fn grant(&self, session: &str, statement: &str, digest: &str) -> Grant {
        Grant {
            request: "team/apr-1".into(),
            request_uid: "uid".into(),
            session: session.into(),
            statement: statement.into(),
            digest: digest.into(),
            approvers: vec![Approver { name: "alice".into(), reason: "checked".into(), at_ms: 1 }],
            uses: 1,
            expires_at_ms: jiff::Timestamp::now().as_millisecond() + 60_000,
        }
    }

    pub(crate) fn sign(&self, grant: &Grant) -> SignedGrant {
        let signed = Signed::sign(GRANT_CONTEXT, grant, &self.key).unwrap();
        SignedGrant { payload: signed.payload, signature: signed.signature }
    }

    pub(crate) fn decide(&self, session: &str, statement: &str, outcome: Outcome) {
        self.push(Update::Verdict {
            session: session.into(),
            statement: statement.into(),
            verdict: Verdict { request: "team/apr-1".into(), outcome },
        });
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        if request.uri().path() == "/store" {
            let file = request.into_body().collect().await.unwrap().to_bytes();
            self.stored.lock().unwrap().push(file);
            return json(StatusCode::CREATED, &());
        }
        assert_eq!(request.headers()[control::VERSION_HEADER], control::VERSION);
        assert_eq!(request.headers()["authorization"], "Bearer token-of-the-pod");
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        if path == "/v1/stream" {
            return self.stream();
        }
        if self.silent.load(std::sync::atomic::Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let answer = match (method.as_str(), parts.as_slice()) {
            ("POST", ["v1", "sessions"]) => {
                let open: OpenSession = serde_json::from_slice(&body).unwrap();
                if open.identity_token.as_deref() == Some("forged") {
                    let problem = control::Problem {
                        code: "FG-1001".into(),
                        message: "the token's signature is not valid".into(),
                        retryable: false,
                    };
                    return json(StatusCode::FORBIDDEN, &problem);
                }
                if let Some(on_open) = &self.on_open {
                    tokio::task::block_in_place(|| on_open(&open));
                }
                serde_json::to_value(self.open(&open)).unwrap()
            }
            ("POST", ["v1", "sessions", _]) => {
                let expires_at_ms = jiff::Timestamp::now().as_millisecond() + 3_600_000;
                serde_json::to_value(RenewedSession { expires_at_ms }).unwrap()
            }
            ("DELETE", ["v1", "sessions", session]) => {
                let close: control::CloseSession = serde_json::from_slice(&body).unwrap();
                self.closed.lock().unwrap().push(((*session).to_owned(), close.reason));
                serde_json::json!({})
            }
            ("PUT", ["v1", "sessions", _, "approvals", statement]) => {
                let ask: ApprovalAsk = serde_json::from_slice(&body).unwrap();
                let mut asked = self.asked.lock().unwrap();
                if asked.iter().all(|(known, _)| known != statement) {
                    asked.push(((*statement).to_owned(), ask));
                }
                let expires_at_ms = jiff::Timestamp::now().as_millisecond() + 60_000;
                let state =
                    ApprovalState { request: "team/apr-1".into(), expires_at_ms, verdict: None };
                serde_json::to_value(state).unwrap()
            }
            ("DELETE", ["v1", "sessions", _, "approvals", statement]) => {
                self.withdrawn.lock().unwrap().push((*statement).to_owned());
                serde_json::json!({})
            }
            ("POST", ["v1", "sessions", _, "catalog"]) => {
                let ask: CatalogAsk = serde_json::from_slice(&body).unwrap();
                let known = |object: &&CatalogObject| ask.names.contains(&object.name);
                let catalog = self.catalog.lock().unwrap();
                let objects = catalog.iter().filter(known).cloned().collect();
                serde_json::to_value(CatalogAnswer { objects }).unwrap()
            }
            ("POST", ["v1", "sessions", _, "segments"]) => serde_json::json!({
                "method": "PUT",
                "url": format!("http://{}/store", self.address),
                "expiresAtMs": i64::MAX,
            }),
            ("POST", ["v1", "sessions", _, "seals"]) => {
                self.seals.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                serde_json::json!({})
            }
            other => panic!("the operator has no {other:?}"),
        };
        json(StatusCode::OK, &answer)
    }

    fn open(&self, open: &OpenSession) -> OpenedSession {
        let mut opened = self.opened.lock().unwrap();
        opened.push(open.clone());
        let session = format!("0190a000-0000-7000-8000-{:012}", opened.len());
        let public = STANDARD.decode(&open.recording_public_key).unwrap();
        let certificate = Certificate {
            v: 1,
            session: session.clone(),
            key: PublicKey(public.try_into().unwrap()),
            pod_uid: "pod-uid".into(),
            issued_at_ms: 0,
            not_after_ms: i64::MAX,
        };
        let given = self.grants.lock().unwrap();
        let human = given.human.clone().or_else(|| {
            let subject = open.identity_token.clone()?;
            Some(Human {
                issuer: "https://issuer".into(),
                subject,
                groups: vec!["analysts".into()],
                kubernetes_username: None,
                verified: true,
                expires_at_ms: None,
            })
        });
        OpenedSession {
            session,
            principal: Principal {
                workload: Workload {
                    namespace: "team".into(),
                    pod: "agent-1".into(),
                    pod_uid: "pod-uid".into(),
                    service_account: "agent".into(),
                    kind: "Deployment".into(),
                    name: "agent".into(),
                    node: "node".into(),
                },
                human,
            },
            account: self.snapshot.borrow().connection.account.clone(),
            role: given.role.clone(),
            warehouse: given.warehouse.clone(),
            database: Some("DEMO".into()),
            schema: Some("PUBLIC".into()),
            credential: given.credential.clone(),
            certificate: serde_json::to_value(
                Signed::sign(CERTIFICATE_CONTEXT, &certificate, &self.key).unwrap(),
            )
            .unwrap(),
            expires_at_ms: jiff::Timestamp::now().as_millisecond() + 3_600_000,
        }
    }

    fn stream(&self) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let mut snapshots = self.snapshot.subscribe();
        snapshots.mark_changed();
        let pushes = self.pushes.subscribe();
        let lines =
            futures::stream::unfold((snapshots, pushes), async |(mut snapshots, mut pushes)| {
                let update = tokio::select! {
                    changed = snapshots.changed() => {
                        changed.ok()?;
                        Update::Snapshot(Box::new(snapshots.borrow_and_update().clone()))
                    }
                    push = pushes.recv() => push.ok()?,
                };
                let mut line = serde_json::to_vec(&update).unwrap();
                line.push(b'\n');
                Some((Bytes::from(line), (snapshots, pushes)))
            });
        let frames = lines.map(|line| Ok(Frame::data(line)));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

fn json(
    status: StatusCode,
    body: &impl serde::Serialize,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let body = Full::new(Bytes::from(serde_json::to_vec(body).unwrap()));
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}
