//! A sidecar that is killed and starts again: living sessions go on, and nothing is done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use proxy::Proxy;
use proxy::config::Living;
use recording::Fact;
use recording::verify::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::account::{Account, QUERY_ID, Told, pending, rows};
use super::driver::Driver;
use super::operator::Operator;
use super::{config, document, eventually, message, others, timings};

const SESSION: &str = "0190a000-0000-7000-8000-000000000001";
const LOGIN: &str = "/session/v1/login-request";
const LOGOUT: &str = "/session";

/// A pod whose sidecar can be killed.
struct Pod {
    account: Arc<Account>,
    operator: Arc<Operator>,
    folder: tempfile::TempDir,
    set: Set,
    sidecar: Sidecar,
}

/// What the process of a sidecar is told.
#[derive(Clone, Serialize, Deserialize)]
struct Set {
    operator: SocketAddr,
    resolve: BTreeMap<String, SocketAddr>,
    folder: PathBuf,
    listen: SocketAddr,
    owner: String,
    session_token: Duration,
    upstream_retry: Duration,
}

/// One life of the sidecar: a process of its own, which ends as the kernel ends one.
struct Sidecar {
    process: Child,
    admin: SocketAddr,
}

const CHILD: &str = "restarts::child_that_serves_until_it_is_killed";
const CHILD_SET: &str = "RESTART_TEST_SET";

#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the parent tells its child what it is to serve, and hears where"
)]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs only as the child of the tests below"]
async fn child_that_serves_until_it_is_killed() {
    let Ok(set) = std::env::var(CHILD_SET) else { return };
    let set: Set = serde_json::from_str(&set).unwrap();
    let mut config = config(set.operator, set.resolve, &set.folder.join("spool"));
    config.living = Some(Living { file: set.folder.join("sessions"), owner: set.owner });
    config.prompts = None;
    config.doors[0].listen = set.listen;
    config.timings.session_token = set.session_token;
    config.timings.upstream_retry = set.upstream_retry;
    let proxy = Proxy::bind(config).await.unwrap();
    println!("serves {} {}", proxy.addresses()[0], proxy.admin_address().unwrap());
    let shutdown = CancellationToken::new();
    proxy::stop_on_signal(shutdown.clone()).unwrap();
    proxy.serve(shutdown).await;
}

impl Sidecar {
    async fn start(set: &Set) -> (Self, SocketAddr) {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", CHILD, "--nocapture"])
            .env(CHILD_SET, serde_json::to_string(set).unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let serves = tokio::task::spawn_blocking(move || {
            // The harness writes to the same line.
            lines.find_map(|line| line.unwrap().split_once("serves ").map(|it| it.1.to_owned()))
        });
        let serves = serves.await.unwrap().expect("the sidecar starts");
        let (address, admin) = serves.split_once(' ').unwrap();
        let sidecar = Self { process, admin: admin.parse().unwrap() };
        let ready = Driver::at(sidecar.admin);
        for _ in 0..500 {
            if ready.fetch("/readyz").await.0 == 200 {
                return (sidecar, address.parse().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the sidecar is not ready");
    }

    /// In order, as a pod ends.
    async fn end(&mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        for _ in 0..1000 {
            if self.process.try_wait().unwrap().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the sidecar does not end");
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Pod {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Set)) -> Self {
        let (account, operator, resolve) = others().await;
        let folder = tempfile::tempdir().unwrap();
        let mut set = Set {
            operator: operator.address,
            resolve,
            folder: folder.path().to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            owner: "pod".to_owned(),
            session_token: timings().session_token,
            upstream_retry: timings().upstream_retry,
        };
        change(&mut set);
        let (sidecar, address) = Sidecar::start(&set).await;
        set.listen = address;
        Self { account, operator, folder, set, sidecar }
    }

    /// As the kernel ends a process: nothing is told, nothing ends in order.
    fn kill(&mut self) {
        self.sidecar.process.kill().unwrap();
        self.sidecar.process.wait().unwrap();
    }

    /// The next life; gives how long it took until it was ready.
    async fn start_again(&mut self) -> Duration {
        let started = Instant::now();
        let (sidecar, address) = Sidecar::start(&self.set).await;
        assert_eq!(address, self.set.listen);
        self.sidecar = sidecar;
        started.elapsed()
    }

    async fn restart(&mut self) -> Duration {
        self.kill();
        self.start_again().await
    }

    async fn driver(&self) -> Driver {
        Driver::connect(self.set.listen).await
    }

    fn table(&self) -> PathBuf {
        self.folder.path().join("sessions")
    }

    async fn metrics(&self) -> String {
        let (_, page) = Driver::at(self.sidecar.admin).fetch("/metrics").await;
        String::from_utf8(page).unwrap()
    }

    /// The sidecar ends in order; gives what is on record of the first session.
    async fn end_with_record(mut self) -> Vec<Fact> {
        self.sidecar.end().await;
        self.record(SESSION)
    }

    fn record(&self, session: &str) -> Vec<Fact> {
        let stored = self.operator.stored.lock().unwrap();
        let files: BTreeMap<u64, Vec<u8>> = stored
            .iter()
            .filter_map(|file| {
                let header = recording::segment::Header::of(file).unwrap();
                (header.session == session).then(|| (header.segment, file.to_vec()))
            })
            .collect();
        let mut facts = Vec::new();
        let report = recording::verify::read(session, &files, |item| facts.push(item.entry.fact));
        assert!(report.is_intact(), "{report}\n{:?}", kinds(&facts));
        assert_eq!(report.state, State::Closed, "{report}");
        facts
    }

    /// Waits until the account was asked for a path so many times.
    async fn asked(&self, path: &str, times: usize) {
        for _ in 0..500 {
            if self.account.requests(path).len() >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the account was not asked for {path}");
    }

    async fn closed(&self) -> Vec<(String, String)> {
        for _ in 0..500 {
            let closed = self.operator.closed.lock().unwrap().clone();
            if !closed.is_empty() {
                return closed;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the operator was not told");
    }
}

fn kinds(facts: &[Fact]) -> Vec<&'static str> {
    facts.iter().map(Fact::kind).collect()
}

fn count(facts: &[Fact], kind: &str) -> usize {
    facts.iter().filter(|fact| fact.kind() == kind).count()
}

const SELECT: &str = "select id, email from customers";

/// The account takes statements and answers none of them until the gate opens; whatever was answered once is answered
/// again under its request id.
fn gated(account: &Account) -> watch::Sender<bool> {
    let (open, gate) = watch::channel(false);
    account.answers(move |asked| {
        (asked.path == "/queries/v1/query-request").then(|| {
            Told::json(&rows(&["ID", "EMAIL"], &[&["1", "ada@example.com"]])).once(gate.clone())
        })
    });
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_with_its_variables_and_the_same_session_at_the_account() {
    let mut pod = Pod::start().await;
    let (driver, other) = (pod.driver().await, pod.driver().await);
    assert_eq!(driver.query("set since = '2024-01-01'::date").await["success"], true);
    let first = driver.query(SELECT).await;
    let ready = pod.restart().await;
    assert!(ready < Duration::from_secs(3), "ready after {ready:?}");
    for _ in 0..2 {
        let read = driver.query("select id, $since as email from customers").await;
        assert_eq!(read["data"]["rowset"], json!([["1", "ada@example.com"]]), "{read}");
        assert_eq!(driver.query(SELECT).await["data"]["rowset"], first["data"]["rowset"]);
        pod.restart().await;
    }
    assert_eq!(other.query(SELECT).await["success"], true);
    let unset = other.query("select id, $since as email from customers").await;
    assert!(message(&unset).contains("session variable $SINCE"), "{unset}");
    assert!(pod.metrics().await.contains(r#"sessions_resumed_total{outcome="resumed"} 2"#));
    // The same sessions at the account, and nobody logged out of them.
    assert_eq!(pod.account.requests(LOGIN).len(), 2);
    assert_eq!(pod.account.requests(LOGOUT).len(), 0);
    assert_eq!(*pod.operator.closed.lock().unwrap(), []);
    let tokens: BTreeSet<_> =
        pod.account.statements().into_iter().filter_map(|asked| asked.token).collect();
    assert_eq!(tokens, BTreeSet::from(["Snowflake Token=\"UPSTREAM-SESSION\"".to_owned()]));
    driver.post("/session?delete=true", &json!({})).await;
    assert_eq!(pod.closed().await, [(SESSION.to_owned(), "Logout".to_owned())]);
    let operator = Arc::clone(&pod.operator);
    let record = pod.end_with_record().await;
    assert_eq!(count(&record, "Recovered"), 3, "{:?}", kinds(&record));
    assert_eq!(count(&record, "CredentialDropped"), 1);
    assert_eq!(count(&record, "Attempted"), count(&record, "Completed"));
    let closed = operator.closed.lock().unwrap().clone();
    assert_eq!(closed.len(), 2, "each session once: {closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_tables_and_where_the_session_stands_are_known_after_a_restart() {
    let mut pod = Pod::start().await;
    let policy = document(
        r#"{"name": "team/agents", "generation": 4, "statements": {"allow": ["Select", "CreateTable", "Use"]},
            "objects": [{"effect": "Allow", "privileges": ["Read", "Create"], "tables": ["DEMO.*.*"]}]}"#,
    );
    pod.operator.change(|snapshot| snapshot.documents = vec![policy]);
    let driver = pod.driver().await;
    let make = "create temporary table mine (id int, email varchar)";
    eventually(async || driver.query(make).await["success"] == true).await;
    pod.account.answers(|asked| {
        let uses = asked.body["sqlText"].as_str().is_some_and(|sql| sql.starts_with("use"));
        uses.then(|| {
            let mut answer = rows(&["status"], &[&["Statement executed successfully."]]);
            answer["data"]["finalSchemaName"] = "OTHER".into();
            Told::json(&answer)
        })
    });
    pod.restart().await;
    let read = "select id, email from mine";
    let answer = driver.query(read).await;
    assert_eq!(answer["data"]["rowset"], json!([["1", "ada@example.com"]]), "{answer}");
    assert_eq!(driver.query("use schema other").await["success"], true);
    pod.restart().await;
    let elsewhere = driver.query(read).await;
    assert!(message(&elsewhere).contains("OTHER.MINE"), "{elsewhere}");
    let answer = driver.query("select id, email from public.mine").await;
    assert_eq!(answer["success"], true, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_mean_after_a_restart_what_they_meant_before() {
    let mut pod = Pod::with(|set| {
        set.session_token = Duration::from_millis(1500);
    })
    .await;
    let (open, closed, mut expired) = (pod.driver().await, pod.driver().await, pod.driver().await);
    closed.post("/session?delete=true", &json!({})).await;
    pod.closed().await;
    pod.restart().await;
    let fresh = open.query(SELECT).await;
    assert!(fresh["success"] == true || fresh["code"] == "390112", "{fresh}");
    let over = closed.query(SELECT).await;
    assert_eq!(over["code"], "390111", "{over}");
    assert!(message(&over).contains("(Logout)"), "{over}");
    let mut forged = Driver::at(pod.set.listen);
    (forged.token, forged.master) = ("f".repeat(64), "e".repeat(64));
    assert_eq!(forged.query(SELECT).await["code"], "390111");
    tokio::time::sleep(Duration::from_millis(1600)).await;
    pod.restart().await;
    assert_eq!(expired.query(SELECT).await["code"], "390112");
    for (driver, code) in [(&closed, "390114"), (&forged, "390114")] {
        let (_, renewed) = renew(driver).await;
        assert_eq!(renewed["code"], code, "{renewed}");
    }
    let (_, renewed) = renew(&expired).await;
    assert_eq!(renewed["success"], true, "{renewed}");
    expired.token = renewed["data"]["sessionToken"].as_str().unwrap().to_owned();
    assert_eq!(expired.query(SELECT).await["success"], true);
    // A token that was given by a renewal is known as well.
    pod.restart().await;
    assert_eq!(expired.query(SELECT).await["success"], true);
}

async fn renew(driver: &Driver) -> (u16, Value) {
    let body = json!({"oldSessionToken": driver.token, "requestType": "RENEW"});
    let path = "/session/token-request?requestId=1";
    let body = body.to_string().into_bytes();
    let (status, answer) = driver.send(http::Method::POST, path, &driver.master, body, &[]).await;
    (status, serde_json::from_slice(&answer).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_holds_no_token_of_the_agent_s_and_nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let pod = Pod::start().await;
    let driver = pod.driver().await;
    driver.query(SELECT).await;
    let table = fs::read_to_string(pod.table()).unwrap();
    assert!(table.contains("UPSTREAM-MASTER"), "it is what a restart goes on with");
    assert!(!table.contains(&driver.token) && !table.contains(&driver.master));
    assert_eq!(fs::metadata(pod.table()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_in_flight_is_asked_for_under_its_own_request_id() {
    let mut pod = Pod::start().await;
    let driver = pod.driver().await;
    let open = gated(&pod.account);
    let id = Uuid::new_v4().to_string();
    let body = json!({"sqlText": SELECT});
    let waiting = driver.query_as(&id, &body).await;
    assert_eq!(waiting["code"], "333333", "{waiting}");
    pod.asked("/queries/v1/query-request", 1).await;
    pod.restart().await;
    // The driver's retry and its poll both find the same statement.
    let again = driver.query_as(&id, &body).await;
    assert_eq!(again["data"]["getResultUrl"], waiting["data"]["getResultUrl"], "{again}");
    pod.asked("/queries/v1/query-request", 2).await;
    open.send_replace(true);
    let answer = driver.wait(waiting).await;
    assert_eq!(answer["data"]["rowset"], json!([["1", "****"]]), "{answer}");
    assert_eq!(driver.query_as(&id, &body).await, answer);
    let sent = pod.account.statements();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|asked| asked.query.contains(&id)), "{sent:?}");
    assert!(sent[1].query.contains("retryCount=1"), "{}", sent[1].query);
    assert_eq!(sent[0].body, sent[1].body);
    let record = pod.end_with_record().await;
    let statement = ["Attempted", "Sent", "Recovered", "Sent", "Rows", "Completed"];
    assert_eq!(kinds(&record)[2..8], statement, "{:?}", kinds(&record));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_the_account_runs_is_only_polled_and_can_be_cancelled() {
    let mut pod = Pod::start().await;
    let driver = pod.driver().await;
    let (open, gate) = watch::channel(false);
    let result = format!("/queries/{QUERY_ID}/result");
    let polled = result.clone();
    pod.account.answers(move |asked| match asked.path.as_str() {
        "/queries/v1/query-request" => Some(Told::json(&pending())),
        path if path == polled => Some(
            Told::json(&rows(&["ID", "EMAIL"], &[&["1", "ada@example.com"]])).once(gate.clone()),
        ),
        _ => None,
    });
    let (first, second) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let body = json!({"sqlText": SELECT, "asyncExec": true});
    let waiting = driver.query_as(&first, &body).await;
    assert_eq!(waiting["code"], "333334", "{waiting}");
    driver.query_as(&second, &body).await;
    pod.asked(&result, 2).await;
    pod.restart().await;
    pod.asked(&result, 4).await;
    let state = driver.get(&format!("/monitoring/queries/{QUERY_ID}")).await.1;
    assert_eq!(state["data"]["queries"][0]["status"], "RUNNING", "{state}");
    let abort = json!({"sqlText": SELECT, "requestId": second});
    driver.post("/queries/v1/abort-request?requestId=1", &abort).await;
    pod.asked("/queries/v1/abort-request", 1).await;
    assert_eq!(pod.account.requests("/queries/v1/abort-request")[0].body["requestId"], *second);
    open.send_replace(true);
    let answer = driver.wait(waiting).await;
    assert_eq!(answer["data"]["rowset"], json!([["1", "****"]]), "{answer}");
    assert_eq!(pod.account.statements().len(), 2, "each statement was sent once");
    let record = pod.end_with_record().await;
    assert_eq!((count(&record, "Attempted"), count(&record, "Sent")), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_goes_on_under_the_same_request_and_is_asked_once() {
    let mut pod = Pod::start().await;
    let driver = pod.driver().await;
    let id = Uuid::new_v4().to_string();
    let body = json!({"sqlText": "delete from customers"});
    let waiting = driver.query_as(&id, &body).await;
    assert_eq!(waiting["code"], "333333", "{waiting}");
    let (statement, ask) = pod.operator.questions(1).await.remove(0);
    pod.restart().await;
    assert_eq!(driver.query_as(&id, &body).await["code"], "333333");
    assert!(pod.account.statements().is_empty());
    pod.account.answers(|asked| {
        (asked.path == "/queries/v1/query-request").then(|| {
            let mut answer = rows(&["ID"], &[&["8"]]);
            answer["data"]["rowtype"][0]["name"] = "number of rows deleted".into();
            Told::json(&answer)
        })
    });
    pod.operator.approve(SESSION, &statement, &ask.digest);
    let answer = driver.wait(waiting).await;
    assert_eq!(answer["data"]["rowset"], json!([["8"]]), "{answer}");
    assert_eq!(pod.account.statements().len(), 1);
    assert_eq!(pod.operator.asked.lock().unwrap().len(), 1);
    pod.restart().await;
    assert_eq!(driver.query_as(&id, &body).await, answer, "kept over one more restart");
    assert_eq!(pod.account.statements().len(), 1);
    let record = pod.end_with_record().await;
    assert_eq!((count(&record, "Attempted"), count(&record, "Approved")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_no_longer_be_asked_for_ends_as_unknown_and_never_runs_again() {
    let mut pod = Pod::with(|set| set.upstream_retry = Duration::from_millis(300)).await;
    let driver = pod.driver().await;
    let _open = gated(&pod.account);
    let late = Uuid::new_v4().to_string();
    let body = json!({"sqlText": SELECT});
    driver.query_as(&late, &body).await;
    pod.asked("/queries/v1/query-request", 1).await;
    pod.kill();
    tokio::time::sleep(Duration::from_millis(400)).await;
    pod.start_again().await;
    for _ in 0..2 {
        let answer = driver.wait(driver.query_as(&late, &body).await).await;
        assert!(message(&answer).starts_with("FG-4004"), "{answer}");
        assert!(message(&answer).contains("outcome is unknown"), "{answer}");
    }
    assert_eq!(pod.account.statements().len(), 1);
    pod.account.answers(|_| None);
    assert_eq!(driver.query(SELECT).await["success"], true, "the session goes on");
    let record = pod.end_with_record().await;
    assert_eq!((count(&record, "Failed"), count(&record, "Completed")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_statements_in_flight_end_as_unknown() {
    let mut pod = Pod::start().await;
    let driver = pod.driver().await;
    let _open = gated(&pod.account);
    let id = Uuid::new_v4().to_string();
    let body = json!({"sqlText": format!("{SELECT}; {SELECT}"),
                      "parameters": {"MULTI_STATEMENT_COUNT": 2}});
    driver.query_as(&id, &body).await;
    pod.asked("/queries/v1/query-request", 1).await;
    pod.restart().await;
    let answer = driver.wait(driver.query_as(&id, &body).await).await;
    assert!(message(&answer).starts_with("FG-4004"), "{answer}");
    assert_eq!(pod.account.statements().len(), 1);
    // The whole, and each of the two.
    let record = pod.end_with_record().await;
    assert_eq!((count(&record, "Attempted"), count(&record, "Failed")), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_policy_of_now_denies_is_not_released() {
    let mut pod = Pod::start().await;
    let driver = pod.driver().await;
    let open = gated(&pod.account);
    let id = Uuid::new_v4().to_string();
    let body = json!({"sqlText": SELECT});
    driver.query_as(&id, &body).await;
    pod.asked("/queries/v1/query-request", 1).await;
    pod.kill();
    open.send_replace(true);
    pod.operator.change(|snapshot| {
        let denied = json!({"effect": "Deny", "tables": ["DEMO.PUBLIC.CUSTOMERS"]});
        snapshot.documents[0].objects.push(serde_json::from_value(denied).unwrap());
    });
    pod.start_again().await;
    let answer = driver.wait(driver.query_as(&id, &body).await).await;
    assert!(message(&answer).starts_with("FG-4004"), "{answer}");
    assert!(!answer.to_string().contains("ada"), "{answer}");
    pod.end_with_record().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_believed_ends_the_sessions_with_one_clear_error() {
    type Change = fn(&mut Pod);
    let cases: [(&str, Change); 3] = [
        ("damaged", |pod| {
            let mut bytes = fs::read(pod.table()).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            fs::write(pod.table(), bytes).unwrap();
        }),
        ("of another pod", |pod| {
            pod.set.owner = "another pod".into();
        }),
        ("gone", |pod| fs::remove_file(pod.table()).unwrap()),
    ];
    for (what, change) in cases {
        let mut pod = Pod::start().await;
        let driver = pod.driver().await;
        driver.query(SELECT).await;
        pod.kill();
        change(&mut pod);
        pod.start_again().await;
        let answer = driver.query(SELECT).await;
        assert_eq!(answer["code"], "390111", "{what}: {answer}");
        assert!(message(&answer).starts_with("FG-1004"), "{what}: {answer}");
        let told = pod.closed().await;
        assert_eq!(told, [(SESSION.to_owned(), "SidecarRestarted".to_owned())], "{what}");
        assert_eq!(pod.driver().await.query(SELECT).await["success"], true, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_a_crash_cut_off_never_counted() {
    let mut pod = Pod::start().await;
    let driver = pod.driver().await;
    driver.query(SELECT).await;
    pod.kill();
    let mut bytes = fs::read(pod.table()).unwrap();
    bytes.extend_from_slice(b"0123456789abcdef {\"session\":");
    fs::write(pod.table(), bytes).unwrap();
    pod.start_again().await;
    assert_eq!(driver.query(SELECT).await["success"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_recording_is_gone_is_logged_out_of_the_account() {
    let mut pod = Pod::start().await;
    let driver = pod.driver().await;
    driver.query(SELECT).await;
    pod.kill();
    fs::remove_dir_all(pod.folder.path().join("spool")).unwrap();
    pod.start_again().await;
    assert_eq!(driver.query(SELECT).await["code"], "390111");
    pod.asked(LOGOUT, 1).await;
    assert_eq!(
        pod.account.requests(LOGOUT)[0].token.as_deref(),
        Some("Snowflake Token=\"UPSTREAM-SESSION\"")
    );
    assert_eq!(pod.closed().await[0].1, "SidecarRestarted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_changed_meanwhile_ends_its_sessions() {
    let mut pod = Pod::start().await;
    let driver = pod.driver().await;
    driver.query(SELECT).await;
    pod.kill();
    pod.operator.change(|snapshot| snapshot.connection.account = "other".into());
    pod.start_again().await;
    let answer = driver.query(SELECT).await;
    assert_eq!(answer["code"], "390111", "{answer}");
    assert_eq!(pod.closed().await, [(SESSION.to_owned(), "ConnectionChanged".to_owned())]);
    pod.asked(LOGOUT, 1).await;
    assert_eq!(pod.account.statements().len(), 1);
    let record = pod.end_with_record().await;
    assert_eq!(count(&record, "CredentialDropped"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_ending_ends() {
    let mut pod = Pod::start().await;
    let driver = pod.driver().await;
    driver.query(SELECT).await;
    pod.operator.silent.store(true, Ordering::SeqCst);
    driver.post("/session?delete=true", &json!({})).await;
    pod.asked(LOGOUT, 1).await;
    pod.kill();
    pod.operator.silent.store(false, Ordering::SeqCst);
    pod.start_again().await;
    let answer = driver.query(SELECT).await;
    assert!(message(&answer).contains("(Logout)"), "{answer}");
    assert_eq!(pod.closed().await, [(SESSION.to_owned(), "Logout".to_owned())]);
}

/// A driver that goes on whatever happens, as the real ones do: the same request id until there is an answer.
async fn persistent(driver: &Driver, id: &str, sql: &str) -> Value {
    let path = format!("/queries/v1/query-request?requestId={id}");
    let mut call = (http::Method::POST, path, json!({"sqlText": sql}).to_string().into_bytes());
    for _ in 0..2000 {
        match driver.try_send(call.0.clone(), &call.1, call.2.clone()).await {
            Some(answer) if matches!(answer["code"].as_str(), Some("333333" | "333334")) => {
                let next = answer["data"]["getResultUrl"].as_str().unwrap().to_owned();
                call = (http::Method::GET, next, Vec::new());
            }
            Some(answer) => return answer,
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("it never ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_is_killed_each_statement_runs_once_and_is_recorded_once() {
    let mut pod = Pod::start().await;
    let driver = Arc::new(pod.driver().await);
    // Each answer takes a moment, so that kills meet statements everywhere on their way.
    pod.account.answers(|asked| {
        if asked.path == "/queries/v1/query-request" {
            std::thread::sleep(Duration::from_millis(3));
        }
        None
    });
    let running = {
        let driver = Arc::clone(&driver);
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for number in 0..120 {
                let sql = format!("select id, email from customers where id = {number}");
                answers.push(persistent(&driver, &Uuid::new_v4().to_string(), &sql).await);
            }
            answers
        })
    };
    let mut kills = 0;
    while !running.is_finished() && kills < 12 {
        tokio::time::sleep(Duration::from_millis(40 + 17 * kills)).await;
        pod.restart().await;
        kills += 1;
    }
    let answers = running.await.unwrap();
    for answer in &answers {
        assert_eq!(answer["data"]["rowset"], json!([["1", "****"]]), "{answer}");
    }
    assert!(kills > 3, "it was killed {kills} times");
    // The account executes once per request id: there are no more of them than statements.
    let ids: BTreeSet<String> = pod
        .account
        .statements()
        .iter()
        .map(|asked| {
            asked.query.split('&').find(|it| it.starts_with("requestId=")).unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 120);
    assert_eq!(pod.account.requests(LOGIN).len(), 1);
    let record = pod.end_with_record().await;
    assert_eq!(count(&record, "Completed"), 120);
    let attempted = count(&record, "Attempted");
    assert_eq!(attempted, 120 + count(&record, "Refused"), "{attempted}");
}
