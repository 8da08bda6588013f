//! The verbs against a scripted API server and a scripted local mode.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use clap::Parser as _;
use crds::approval_request::Choice;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};

use super::{Args, decide};

/// Answers in order, and keeps what was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        Self { answers, ..Self::default() }
    }

    fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(line, _)| line.clone()).collect()
    }

    fn sent(&self, at: usize) -> Value {
        self.asked.lock().unwrap()[at].1.clone()
    }
}

async fn answer(State(script): State<Script>, request: Request) -> Response {
    let path = request.uri().path().replace("/apis/frostgate.dev/v1alpha1", "");
    let line = format!("{} {path}", request.method());
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    script.asked.lock().unwrap().push((line, body));
    let mut answers = script.answers.lock().unwrap();
    // The last answer stands for everything that follows.
    let (status, json) =
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(json.to_string()))
        .unwrap()
}

/// A thread with the script's server; it ends with the test.
fn serve(script: &Script, socket: Option<&Path>) -> u16 {
    let router = script.router();
    let (port, bound) = std::sync::mpsc::channel();
    let socket = socket.map(Path::to_owned);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            if let Some(socket) = socket {
                let listener = UnixListener::bind(socket).unwrap();
                port.send(0).unwrap();
                axum::serve(listener, router).await.unwrap();
            } else {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                port.send(listener.local_addr().unwrap().port()).unwrap();
                axum::serve(listener, router).await.unwrap();
            }
        });
    });
    bound.recv().unwrap()
}

/// A kubeconfig for the scripted API server.
fn kubeconfig(folder: &Path, port: u16) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "agents"}}],
        "users": [{"name": "u", "user": {}}],
    });
    let path = folder.join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn request(phase: &str) -> Value {
    json!({
        "apiVersion": "frostgate.dev/v1alpha1", "kind": "ApprovalRequest",
        "metadata": {"name": "apr-1", "namespace": "agents", "uid": "uid-1"},
        "spec": {
            "requester": {"workload": {
                "kind": "Job", "name": "nightly", "pod": "p", "podUID": "p", "serviceAccount": "s",
            }},
            "connectionRef": {"name": "prod"},
            "policyRefs": [{"name": "p", "rule": "r", "generation": 1, "grantSeconds": 60}],
            "policyHash": "", "session": "s", "statementId": "s", "requestId": "r",
            "statement": {"sql": "DROP TABLE t", "digest": "d".repeat(64)},
            "effects": {"kinds": ["Drop"]},
            "context": {"role": "R"},
            "expiresAt": "2126-01-01T00:00:00Z",
        },
        "status": {"phase": phase, "decisions": decisions(phase)},
    })
}

fn decisions(phase: &str) -> Value {
    if !matches!(phase, "Approved" | "Denied") {
        return json!([]);
    }
    json!([{
        "approver": "bob", "verdict": phase, "reason": "INC-88", "time": "2026-01-01T00:00:00Z",
        "satisfies": ["p/r"],
    }])
}

fn failure(code: u16, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": message, "reason": if code == 404 { "NotFound" } else { "Other" },
    });
    (code, status)
}

#[derive(clap::Parser)]
struct Approving {
    #[command(flatten)]
    decision: decide::Decision,
}

#[derive(clap::Parser)]
struct Listing {
    #[command(flatten)]
    args: Args,
}

/// What the verb printed and how it ended.
fn decided(choice: Choice, words: &[&str]) -> (String, Result<(), String>) {
    let words = ["verb", "apr-1"].iter().chain(words);
    let args = Approving::try_parse_from(words).unwrap();
    let mut out = Vec::new();
    let end = decide::run(&args.decision, choice, &mut out);
    (String::from_utf8(out).unwrap(), end.map(drop).map_err(|error| format!("{error:#}")))
}

/// `approve` against an API server that answers so.
fn approved(answers: Vec<(u16, Value)>) -> (Script, String, Result<(), String>) {
    let folder = tempfile::tempdir().unwrap();
    let script = Script::new(answers);
    let config = kubeconfig(folder.path(), serve(&script, None));
    let (out, end) = decided(Choice::Approved, &["--kubeconfig", &config, "-y", "-m", "INC-88"]);
    (script, out, end)
}

#[test]
fn an_approval_is_one_patch_of_the_status() {
    let (script, out, end) = approved(vec![(200, request("Pending")), (200, request("Approved"))]);
    assert_eq!(end, Ok(()));
    assert!(out.ends_with("apr-1 is approved as bob: the statement runs once\n"), "{out}");
    assert!(out.contains("  | DROP TABLE t\n"), "{out}");
    let path = "/namespaces/agents/approvalrequests/apr-1";
    assert_eq!(script.asked(), [format!("GET {path}"), format!("PATCH {path}/status")]);
    assert_eq!(
        script.sent(1),
        json!({
            "metadata": {"uid": "uid-1"},
            "status": {"decision": "Approved", "reason": "INC-88"},
        })
    );
}

#[test]
fn a_conflict_is_tried_again_and_a_refusal_is_not() {
    let conflict = failure(409, "the object has been modified");
    let (script, _, end) = approved(vec![
        (200, request("Pending")),
        conflict.clone(),
        (200, request("Pending")),
        conflict,
        (200, request("Pending")),
        (200, request("Approved")),
    ]);
    assert_eq!(end, Ok(()));
    assert_eq!(script.asked().iter().filter(|line| line.starts_with("PATCH")).count(), 3);

    let denied =
        "admission webhook \"x\" denied the request: bob asked for it and cannot approve it";
    let (script, _, end) = approved(vec![(200, request("Pending")), failure(403, denied)]);
    assert_eq!(end, Err(format!("the decision was refused: {denied}")));
    assert_eq!(script.asked().len(), 2);
}

#[test]
fn only_the_request_that_was_shown_is_decided() {
    let mut other = request("Pending");
    other["spec"]["statement"]["sql"] = json!("DROP DATABASE d");
    other["metadata"]["uid"] = json!("uid-2");
    let (_, _, end) = approved(vec![(200, request("Pending")), failure(409, "uid"), (200, other)]);
    assert_eq!(end, Err("apr-1 is no longer the request that was shown".into()));

    let (script, _, end) = approved(vec![(200, request("Expired"))]);
    assert_eq!(end, Err("apr-1 is Expired already: there is nothing to decide".into()));
    assert_eq!(script.asked().len(), 1, "nothing is sent");
}

#[test]
fn a_request_that_is_not_there_says_where_it_was_looked_for() {
    let (_, _, end) = approved(vec![failure(404, "not found")]);
    assert_eq!(
        end,
        Err("there is no ApprovalRequest apr-1 in namespace agents; see `requests -A`, or give -n"
            .into())
    );
}

#[test]
fn nothing_is_decided_without_a_terminal_or_a_yes() {
    let folder = tempfile::tempdir().unwrap();
    let script = Script::new([(200, request("Pending"))]);
    let config = kubeconfig(folder.path(), serve(&script, None));
    let (out, end) = decided(Choice::Approved, &["--kubeconfig", &config]);
    // Under a terminal the question would wait for a human.
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        assert!(end.unwrap_err().starts_with("nobody to ask"), "{out}");
        assert_eq!(script.asked().len(), 1);
    }
}

#[test]
fn the_list_holds_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let list = json!({
        "apiVersion": "frostgate.dev/v1alpha1", "kind": "ApprovalRequestList", "metadata": {},
        "items": [request("Denied"), request("Pending")],
    });
    let script = Script::new([(200, list)]);
    let config = kubeconfig(folder.path(), serve(&script, None));
    let listed = |words: &[&str]| {
        let words = ["requests", "--kubeconfig", &config].into_iter().chain(words.iter().copied());
        let args = Listing::try_parse_from(words).unwrap();
        let mut out = Vec::new();
        super::run(&args.args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(listed(&[]).lines().count(), 2);
    assert_eq!(listed(&["--all", "-A"]).lines().count(), 3);
    let json: Value = serde_json::from_str(&listed(&["--json"])).unwrap();
    assert_eq!(json["metadata"]["name"], "apr-1");
    let paths = ["GET /namespaces/agents/approvalrequests", "GET /approvalrequests"];
    assert_eq!(script.asked()[..2], paths);
}

#[test]
fn local_mode_is_decided_over_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(".frostgate")).unwrap();
    let script = Script::new([(200, json!([request("Pending")])), (200, request("Denied"))]);
    serve(&script, Some(&folder.path().join(".frostgate/control.sock")));
    let config = folder.path().to_str().unwrap();
    let (out, end) = decided(Choice::Denied, &["--config", config, "-y", "-m", "no"]);
    assert_eq!(end, Ok(()));
    assert!(out.ends_with("apr-1 is denied as bob: the statement does not run\n"), "{out}");
    assert_eq!(script.asked(), ["GET /requests", "POST /requests/apr-1/decision"]);
    assert_eq!(script.sent(1), json!({"decision": "Denied", "reason": "no"}));
}

#[test]
fn local_mode_that_does_not_run_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let (_, end) = decided(Choice::Approved, &["--config", folder.path().to_str().unwrap(), "-y"]);
    let error = end.unwrap_err();
    assert!(error.contains("does `frostgate local` run on this folder?"), "{error}");
}
