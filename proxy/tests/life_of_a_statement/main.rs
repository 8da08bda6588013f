//! One statement from the driver's request to the recorded answer, with a scripted operator and a scripted account on
//! loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod account;
mod batches;
mod detectors;
mod doors;
mod driver;
mod drivers;
mod egress;
mod large;
mod later;
mod limits;
mod messages;
mod operator;
mod parameters;
mod prompts;
mod rest;
mod restarts;
mod retries;
mod temporary;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use control::update::Durability;
use control::{CatalogColumn, CatalogName, CatalogObject, Connection, Credential};
use proxy::Proxy;
use proxy::config::{Config, Door, Limits, Operator as Way, Timings, Token};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use account::{Account, HOST, QUERY_ID, STORE, Told, failure, pending, rows};
use driver::Driver;
use operator::{Given, Operator};

/// The whole scene.
struct Scene {
    account: Arc<Account>,
    operator: Arc<Operator>,
    proxy: SocketAddr,
    admin: SocketAddr,
    prompts: SocketAddr,
    spool: tempfile::TempDir,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

fn document(text: &str) -> policy::Document {
    serde_json::from_str(text).unwrap()
}

/// Reads and changes are allowed, e-mail addresses are masked, a DELETE without WHERE waits for a human.
fn policy() -> policy::Document {
    document(
        r#"{"name": "team/agents", "generation": 3,
            "statements": {"allow": ["Select", "Insert", "Update", "Delete", "Set"]},
            "objects": [{"effect": "Allow", "tables": ["DEMO.PUBLIC.*"]},
                        {"effect": "Deny", "tables": ["DEMO.PUBLIC.SECRETS"], "message": "not for agents",
                         "hint": "use CUSTOMERS"}],
            "masking": [{"columns": ["DEMO.PUBLIC.CUSTOMERS.EMAIL"], "method": {"type": "Full"}}],
            "approvals": [{"name": "big-deletes", "when": {"statements": ["Delete"], "risks": ["DeleteWithoutWhere"]},
                           "pendingTtlSeconds": 60, "grantTtlSeconds": 60}]}"#,
    )
}

fn table(name: &str, columns: &[(&str, &str)]) -> CatalogObject {
    CatalogObject {
        name: CatalogName { database: "DEMO".into(), schema: "PUBLIC".into(), name: name.into() },
        columns: columns
            .iter()
            .map(|(name, data_type)| CatalogColumn {
                name: (*name).into(),
                data_type: (*data_type).into(),
            })
            .collect(),
        view: None,
        opaque: false,
    }
}

fn timings() -> Timings {
    Timings {
        answer_within: Duration::from_millis(200),
        poll_within: Duration::from_millis(200),
        upstream: Duration::from_secs(2),
        upstream_statement: Duration::from_secs(3),
        upstream_retry: Duration::from_secs(2),
        operator: Duration::from_secs(2),
        tick: Duration::from_millis(100),
        drain: Duration::from_secs(5),
        ..Timings::default()
    }
}

/// The connection to an account behind a certificate.
fn connection(ca: &str) -> Connection {
    Connection {
        name: "team/snowflake".into(),
        account: "acme-dev".into(),
        host: HOST.into(),
        port: 443,
        ca_bundle: Some(ca.to_owned()),
        private_networks: Vec::new(),
        host_aliases: BTreeMap::new(),
        https_proxy: None,
        durability: Durability::Spool,
        session_idle_seconds: 600,
        prompts: None,
    }
}

/// Everybody but the proxy: the account, the operator, and where the account's hosts are.
async fn others() -> (Arc<Account>, Arc<Operator>, BTreeMap<String, SocketAddr>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let account = Account::start().await;
    let connection = connection(&account.ca);
    let given = Given {
        credential: Credential::EphemeralUser {
            user: "FG_AGENT_1".into(),
            expires_at_ms: i64::MAX,
        },
        role: "ANALYST".into(),
        warehouse: Some("COMPUTE_WH".into()),
        human: None,
    };
    let catalog = vec![
        table("CUSTOMERS", &[("ID", "NUMBER"), ("EMAIL", "TEXT")]),
        table("SECRETS", &[("ID", "NUMBER")]),
    ];
    let operator = Operator::start(connection, vec![policy()], catalog, given, None).await;
    let resolve =
        BTreeMap::from([(HOST.to_owned(), account.address), (STORE.to_owned(), account.address)]);
    (account, operator, resolve)
}

/// A proxy before them, with a spool in the folder.
fn config(
    operator: SocketAddr,
    resolve: BTreeMap<String, SocketAddr>,
    spool: &std::path::Path,
) -> Config {
    Config {
        doors: vec![Door { listen: "127.0.0.1:0".parse().unwrap(), tls: false }],
        host: None,
        operator: Way {
            url: format!("http://{operator}").parse().unwrap(),
            ca: None,
            token: Token::Given("token-of-the-pod".into()),
            address: None,
        },
        trust: None,
        prompts: Some("127.0.0.1:0".parse().unwrap()),
        admin: Some("127.0.0.1:0".parse().unwrap()),
        recorder: proxy::recorder::Config::new(PathBuf::from(spool), 1 << 30),
        living: None,
        resolve,
        limits: Limits::default(),
        timings: timings(),
    }
}

impl Scene {
    async fn set() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (account, operator, resolve) = others().await;
        Self::run(account, operator, resolve, change).await
    }

    /// The series of the metric of statements, of one kind.
    async fn counted(&self, kind: &str) -> Vec<String> {
        let (_, page) = Driver::at(self.admin).fetch("/metrics").await;
        let page = String::from_utf8(page).unwrap();
        let start = format!("frostgate_proxy_statements_total{{kind=\"{kind}\"");
        let mut series: Vec<String> =
            page.lines().filter(|line| line.starts_with(&start)).map(str::to_owned).collect();
        series.sort();
        series
    }

    async fn run(
        account: Arc<Account>,
        operator: Arc<Operator>,
        resolve: BTreeMap<String, SocketAddr>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let mut config = config(operator.address, resolve, spool.path());
        change(&mut config);
        let proxy = Proxy::bind(config).await.unwrap();
        let (address, admin) = (proxy.addresses()[0], proxy.admin_address().unwrap());
        let prompts = proxy.prompt_address().unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(proxy.serve(shutdown.clone()));
        Self { account, operator, proxy: address, admin, prompts, spool, shutdown, serving }
    }

    async fn driver(&self) -> Driver {
        Driver::connect(self.proxy).await
    }

    /// Everything ends in order; gives what is on record of the first session.
    async fn end_with_record(self) -> Vec<Value> {
        let operator = Arc::clone(&self.operator);
        self.end().await;
        let stored = operator.stored.lock().unwrap();
        let session = "0190a000-0000-7000-8000-000000000001";
        let of_session = |file: &bytes::Bytes| {
            let (files, mut entries) = (BTreeMap::from([(0, file.to_vec())]), Vec::new());
            let report = recording::verify::read(session, &files, |item| {
                entries.push(serde_json::to_value(&item.entry).unwrap());
            });
            assert_eq!(report.contradictions, []);
            entries
        };
        stored.iter().map(of_session).find(|entries| !entries.is_empty()).unwrap()
    }

    /// Everything ends in order.
    async fn end(self) -> tempfile::TempDir {
        self.shutdown.cancel();
        self.serving.await.unwrap();
        self.spool
    }
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_select_reaches_the_account_with_our_credential_and_comes_back_masked() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let answer = driver.query("select id, email from customers").await;
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(answer["data"]["rowset"], json!([["1", "****"]]));
    assert_eq!(answer["data"]["queryId"], QUERY_ID);

    let login = &scene.account.requests("/session/v1/login-request")[0];
    assert_eq!(login.host, HOST);
    assert_eq!(login.body["data"]["AUTHENTICATOR"], "SNOWFLAKE_JWT");
    assert_eq!(login.body["data"]["LOGIN_NAME"], "FG_AGENT_1");
    assert_eq!(login.body["data"]["SECONDARY_ROLES"], "NONE");
    assert_eq!(login.body["data"]["CLIENT_APP_ID"], "PythonConnector");
    assert_eq!(login.body["data"]["SESSION_PARAMETERS"]["QUERY_TAG"], "t");
    assert_eq!(login.body["data"]["SESSION_PARAMETERS"]["CLIENT_RUNTIME_NAME"], Value::Null);
    assert!(!login.body.to_string().contains("placeholder"));
    let statement = &scene.account.statements()[0];
    assert_eq!(statement.token.as_deref(), Some("Snowflake Token=\"UPSTREAM-SESSION\""));
    // Nothing of the account's secrets reaches the agent.
    let shown = format!("{}{answer}", driver.login);
    assert!(!shown.contains("UPSTREAM"), "{shown}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_statement_is_one_clean_error_and_never_leaves_the_pod() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    for (sql, code) in [
        ("drop table customers", "FG-2002"),
        ("select * from secrets", "FG-2003"),
        ("select 1; select 2", "FG-2011"),
        ("selec id from customers", "FG-2001"),
        ("select * from nowhere", "FG-2012"),
    ] {
        let answer = driver.query(sql).await;
        assert_eq!(answer["success"], false, "{sql}: {answer}");
        assert!(message(&answer).starts_with(code), "{sql}: {answer}");
        assert!(answer["data"]["sqlState"].is_string() && answer["data"]["queryId"].is_string());
    }
    let denied = driver.query("select * from secrets").await;
    assert_eq!(denied["code"], "003001");
    assert_eq!(denied["data"]["sqlState"], "42501");
    assert!(message(&denied).contains("Hint: use CUSTOMERS"), "{denied}");
    assert!(scene.account.statements().is_empty());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_s_variables_are_what_it_set_them_to_and_nobody_else_s() {
    let scene = Scene::set().await;
    let (one, other) = (scene.driver().await, scene.driver().await);
    let read = "select id, $since as email from customers";
    let unset = one.query(read).await;
    assert!(message(&unset).contains("session variable $SINCE"), "{unset}");
    assert_eq!(one.query("set since = '2024-01-01'::date").await["success"], true);
    assert_eq!(one.query(read).await["data"]["rowset"], json!([["1", "ada@example.com"]]));
    let foreign = other.query(read).await;
    assert!(message(&foreign).starts_with("FG-2001"), "{foreign}");
    // What waits for a human is for its text alone.
    let held = one.query("delete from customers where $since = $since").await;
    assert!(message(&held).starts_with("FG-2008"), "{held}");
    let masked = one.query("set since = (select max(email) from customers)").await;
    assert!(message(&masked).starts_with("FG-2006"), "{masked}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_table_is_renewed_with_time() {
    let scene = Scene::with(|config| config.timings.catalog = Duration::from_millis(50)).await;
    let driver = scene.driver().await;
    let answer = driver.query("select id from customers where phone = '1'").await;
    assert!(message(&answer).starts_with("FG-2001"), "{answer}");
    // Somebody else adds a column; nothing of it passes through here.
    scene.operator.catalog.lock().unwrap()[0] =
        table("CUSTOMERS", &[("ID", "NUMBER"), ("EMAIL", "TEXT"), ("PHONE", "TEXT")]);
    let renewed = async {
        loop {
            let answer = driver.query("select id from customers where phone = '1'").await;
            if !message(&answer).starts_with("FG-2001") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), renewed).await.unwrap();
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_stays_while_the_operator_is_silent() {
    let scene = Scene::with(|config| config.timings.catalog = Duration::from_millis(1)).await;
    let driver = scene.driver().await;
    let answer = driver.query("select id, email from customers").await;
    assert_eq!(answer["success"], true, "{answer}");
    scene.operator.silent.store(true, std::sync::atomic::Ordering::SeqCst);
    tokio::time::sleep(timings().tick * 3).await;
    let answer = driver.query("select id, email from customers").await;
    assert_eq!(answer["data"]["rowset"], json!([["1", "****"]]), "{answer}");
    scene.operator.silent.store(false, std::sync::atomic::Ordering::SeqCst);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_statements_are_judged_beside_short_ones() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let long = format!("select id, email from customers where id in (1{})", ", 1".repeat(20_000));
    let (first, second, short) = tokio::join!(
        driver.query(&long),
        driver.query(&long),
        driver.query("select id, email from customers"),
    );
    for answer in [first, second, short] {
        assert_eq!(answer["data"]["rowset"], json!([["1", "****"]]), "{answer}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_statement_runs_once_after_a_human_approved_it() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let id = Uuid::new_v4().to_string();
    let body = json!({"sqlText": "delete from customers"});
    let pending = driver.query_as(&id, &body).await;
    assert_eq!(pending["code"], "333333", "{pending}");
    // A retry of the request only watches.
    let again = driver.query_as(&id, &body).await;
    assert_eq!(again["data"]["getResultUrl"], pending["data"]["getResultUrl"]);
    let asked = scene.operator.questions(1).await;
    let (statement, ask) = &asked[0];
    assert_eq!(ask.sql, "delete from customers");
    assert_eq!(ask.demands[0].rule, "big-deletes");
    assert!(scene.account.statements().is_empty());

    scene.operator.approve("0190a000-0000-7000-8000-000000000001", statement, &ask.digest);
    scene.account.answers(|asked| {
        let delete = asked.path == "/queries/v1/query-request";
        delete.then(|| {
            let mut answer = rows(&["ID"], &[&["8"]]);
            answer["data"]["rowtype"][0]["name"] = "number of rows deleted".into();
            Told::json(&answer)
        })
    });
    let answer = driver.wait(pending).await;
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(answer["data"]["rowset"], json!([["8"]]));
    assert_eq!(driver.query_as(&id, &body).await, answer);
    assert_eq!(scene.account.statements().len(), 1);
    assert_eq!(scene.operator.asked.lock().unwrap().len(), 1);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_for_something_else_runs_nothing() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let session = "0190a000-0000-7000-8000-000000000001";
    type Forge = fn(&Operator, &str, &str) -> control::SignedGrant;
    let forgeries: [(&str, Forge); 4] = [
        ("another digest", |operator, statement, _| {
            operator.sign(&operator.grant("0190a000-0000-7000-8000-000000000001", statement, "00"))
        }),
        ("another session", |operator, statement, digest| {
            operator.sign(&operator.grant("other", statement, digest))
        }),
        ("its time over", |operator, statement, digest| {
            let session = "0190a000-0000-7000-8000-000000000001";
            let mut grant = operator.grant(session, statement, digest);
            grant.expires_at_ms = 1;
            operator.sign(&grant)
        }),
        ("another signature", |operator, statement, digest| {
            let session = "0190a000-0000-7000-8000-000000000001";
            let mut grant = operator.sign(&operator.grant(session, statement, digest));
            grant.signature = operator.sign(&operator.grant("x", "y", "z")).signature;
            grant
        }),
    ];
    for (number, (what, forge)) in forgeries.into_iter().enumerate() {
        let pending = driver.submit("delete from customers").await;
        let asked = scene.operator.questions(number + 1).await;
        let (statement, ask) = &asked[number];
        let grant = forge(&scene.operator, statement, &ask.digest);
        scene.operator.decide(session, statement, control::Outcome::Approved { grant });
        let answer = driver.wait(pending).await;
        assert!(message(&answer).starts_with("FG-3005"), "{what}: {answer}");
    }
    assert!(scene.account.statements().is_empty());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_expired_and_cancelled_holds_each_end_in_one_error_and_never_run() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let session = "0190a000-0000-7000-8000-000000000001";

    let pending = driver.submit("delete from customers").await;
    let (statement, _) = scene.operator.questions(1).await.remove(0);
    let by = control::Approver { name: "bob".into(), reason: "too broad".into(), at_ms: 1 };
    scene.operator.decide(session, &statement, control::Outcome::Denied { by });
    let answer = driver.wait(pending).await;
    assert!(message(&answer).starts_with("FG-3002 bob denied it: too broad"), "{answer}");
    assert_eq!(answer["code"], "003001");

    let pending = driver.submit("delete from customers").await;
    let (statement, _) = scene.operator.questions(2).await.remove(1);
    scene.operator.decide(session, &statement, control::Outcome::Expired);
    assert!(message(&driver.wait(pending).await).starts_with("FG-3003"));

    let id = Uuid::new_v4().to_string();
    let pending = driver.query_as(&id, &json!({"sqlText": "delete from customers"})).await;
    let (statement, _) = scene.operator.questions(3).await.remove(2);
    let abort = json!({"sqlText": "delete from customers", "requestId": id});
    let (_, aborted) = driver.post("/queries/v1/abort-request?requestId=x", &abort).await;
    assert_eq!(aborted["success"], true);
    let answer = driver.wait(pending).await;
    assert_eq!(answer["code"], "000604", "{answer}");
    assert_eq!(*scene.operator.withdrawn.lock().unwrap(), [statement]);
    assert!(scene.account.statements().is_empty());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_attaches_and_another_statement_under_the_same_id_is_refused() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let (done, gate) = watch::channel(false);
    scene.account.answers(move |asked| {
        let slow = asked.path == "/queries/v1/query-request";
        slow.then(|| Told::json(&rows(&["ID"], &[&["1"]])).once(gate.clone()))
    });
    let id = Uuid::new_v4().to_string();
    let body = json!({"sqlText": "select id from customers", "sequenceId": 1});
    let retry = json!({"sqlText": "select id from customers", "sequenceId": 2});
    let (first, second) = tokio::join!(driver.query_as(&id, &body), driver.query_as(&id, &retry));
    assert_eq!(first["code"], "333333");
    assert_eq!(first, second);
    done.send_replace(true);
    let done = driver.wait(first).await;
    assert_eq!(done["data"]["rowset"], json!([["1"]]), "{done}");
    assert_eq!(driver.query_as(&id, &body).await, done);
    let other = driver.query_as(&id, &json!({"sqlText": "select id, id from customers"})).await;
    assert!(message(&other).starts_with("FG-6004"), "{other}");
    assert_eq!(scene.account.statements().len(), 1);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_stumbles_is_asked_again_under_the_same_request_id() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let tries = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    scene.account.answers(move |asked| {
        if asked.path != "/queries/v1/query-request" {
            return None;
        }
        match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Some(Told::status(503)),
            1 => Some(Told::cut()),
            2 => Some(Told::json(
                &json!({"data": null, "code": "390112", "message": "x", "success": false}),
            )),
            _ => None,
        }
    });
    let id = Uuid::new_v4().to_string();
    let body = json!({"sqlText": "select id, email from customers"});
    let answer = driver.wait(driver.query_as(&id, &body).await).await;
    assert_eq!(answer["success"], true, "{answer}");
    let statements = scene.account.statements();
    assert_eq!(statements.len(), 4);
    assert!(statements.iter().all(|asked| asked.query.contains(&format!("requestId={id}"))));
    assert!(
        statements[1].query.contains("retryCount=1&retryReason=503"),
        "{}",
        statements[1].query
    );
    // After a renewal the statement is sent as if for the first time, with the new token.
    assert!(!statements[3].query.contains("retryCount"));
    assert_eq!(statements[3].token.as_deref(), Some("Snowflake Token=\"UPSTREAM-SESSION-2\""));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_without_an_answer_ends_as_outcome_unknown() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    scene.account.answers(|asked| (asked.path == "/queries/v1/query-request").then(Told::cut));
    let answer = driver.query("select id from customers").await;
    assert!(message(&answer).starts_with("FG-4004"), "{answer}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_understood_release_nothing() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let mut short = rows(&["ID", "EMAIL"], &[&["1"]]);
    short["data"]["total"] = 1.into();
    let mut transfer = rows(&["ID", "EMAIL"], &[]);
    transfer["data"]["stageInfo"] = json!({"creds": {"AWS_KEY_ID": "AKIA"}});
    let more = rows(&["ID", "EMAIL", "SSN"], &[&["1", "a@b.c", "123-45"]]);
    let swapped = rows(&["EMAIL", "ID"], &[&["ada@example.com", "1"]]);
    let mut two = rows(&["ID", "EMAIL"], &[&["1", "ada@example.com"]]);
    two["data"]["queryResultFormat"] = "arrow".into();
    let mut flat = rows(&["ID", "EMAIL"], &[]);
    flat["data"]["rowset"] = json!(["ada@example.com"]);
    let named = rows(&["ID", "ada@example.com"], &[]);
    let text = json!({"data": "ada@example.com", "success": true});
    for (told, code) in [
        (Told::json(&flat), "FG-4003"),
        (Told::json(&named), "FG-2014"),
        (Told::json(&text), "FG-4003"),
        (Told { body: b"<html>oops</html>".to_vec(), ..Told::json(&json!({})) }, "FG-4003"),
        (Told { body: b"{\"data\":{\"rowset\":[[".to_vec(), ..Told::json(&json!({})) }, "FG-4003"),
        (Told::json(&short), "FG-4003"),
        (Told::json(&two), "FG-4003"),
        (Told::json(&transfer), "FG-6006"),
        (Told::json(&more), "FG-2014"),
        (Told::json(&swapped), "FG-2014"),
    ] {
        let body = String::from_utf8_lossy(&told.body).into_owned();
        scene.account.answers(move |asked| {
            (asked.path == "/queries/v1/query-request").then(|| told.clone())
        });
        let answer = driver.query("select id, email from customers").await;
        assert!(message(&answer).starts_with(code), "{body}: {answer}");
        assert!(!answer.to_string().contains("ada@example.com"), "{answer}");
        let id = answer["data"]["queryId"].as_str().unwrap();
        let (_, status) = driver.get(&format!("/monitoring/queries/{id}")).await;
        assert_eq!(status["data"]["queries"][0]["status"], "FAILED_WITH_ERROR", "{status}");
        assert!(!status.to_string().contains("ada@example.com"), "{status}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_account_comes_through_and_is_withheld_where_it_could_quote_masked_values()
{
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    scene.account.answers(|asked| {
        let told =
            Told::json(&failure("100038", "Numeric value 'ada@example.com' is not recognized"));
        (asked.path == "/queries/v1/query-request").then_some(told)
    });
    let withheld = driver.query("select id, email from customers").await;
    assert_eq!(withheld["code"], "100038", "{withheld}");
    assert!(!withheld.to_string().contains("ada@example.com"), "{withheld}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_result_comes_back_through_the_proxy_masked_and_the_same_each_time() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    scene.account.answers(|asked| {
        if asked.host == STORE {
            assert_eq!(asked.token, None);
            let body = br#"["2","bo@example.com"],["3",null]"#.to_vec();
            return Some(Told { body, gzip: asked.path == "/a", ..Told::json(&json!({})) });
        }
        (asked.path == "/queries/v1/query-request").then(|| {
            let mut answer = rows(&["ID", "EMAIL"], &[&["1", "ada@example.com"]]);
            answer["data"]["total"] = 5.into();
            answer["data"]["chunkHeaders"] = json!({"x-secret": "key-of-the-store"});
            answer["data"]["chunks"] = json!([
                {"url": format!("https://{STORE}/a?sig=presigned"), "rowCount": 2, "uncompressedSize": 30, "compressedSize": 20},
                {"url": format!("https://{STORE}/b?sig=presigned"), "rowCount": 2, "uncompressedSize": 30, "compressedSize": 20},
            ]);
            Told::json(&answer)
        })
    });
    let answer = driver.query("select id, email from customers").await;
    assert_eq!(answer["success"], true, "{answer}");
    let shown = answer.to_string();
    for secret in ["presigned", "key-of-the-store", "ada@", STORE] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    for chunk in answer["data"]["chunks"].as_array().unwrap() {
        let url = chunk["url"].as_str().unwrap();
        assert!(url.starts_with(&format!("http://{}/frostgate/chunks/", scene.proxy)), "{url}");
        let (status, first) = driver.fetch(url).await;
        assert_eq!((status, first.as_slice()), (200, &br#"["2","****"],["3",null]"#[..]));
        assert_eq!(driver.fetch(url).await.1, first);
        // Rows without outer brackets are no JSON: a driver that parses by the type would fail and ask again for minutes.
        assert_eq!(driver.type_of(url).await, "application/octet-stream");
    }
    let (status, _) = driver.fetch(&format!("/frostgate/chunks/{}", "0".repeat(64))).await;
    assert_eq!(status, 404);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_fetched_from_nowhere_but_a_public_https_host() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    for url in [
        "http://chunks.store.example/a",
        "https://127.0.0.1/a",
        "https://[::1]/a",
        "https://169.254.169.254/latest",
        "https://user@chunks.store.example/a",
        "file:///etc/passwd",
        "https://0x7f.1/a",
        "https://localhost/a",
    ] {
        let mut told = rows(&["ID", "EMAIL"], &[]);
        told["data"]["chunks"] = json!([{"url": url, "rowCount": 1}]);
        scene.account.answers(move |asked| {
            (asked.path == "/queries/v1/query-request").then(|| Told::json(&told))
        });
        let answer = driver.query("select id, email from customers").await;
        let link = answer["data"]["chunks"][0]["url"].as_str().unwrap().to_owned();
        let (status, body) = driver.fetch(&link).await;
        assert_eq!(status, 502, "{url}: {}", String::from_utf8_lossy(&body));
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_statement_is_followed_by_its_first_id_everywhere() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let (done, gate) = watch::channel(false);
    scene.account.answers(move |asked| match asked.path.as_str() {
        "/queries/v1/query-request" => Some(Told::json(&pending())),
        path if path.ends_with("/result") => {
            Some(Told::json(&rows(&["ID", "EMAIL"], &[&["1", "a@b.c"]])).once(gate.clone()))
        }
        _ => None,
    });
    let body = json!({"sqlText": "select id, email from customers", "asyncExec": true});
    let submitted = driver.query_as("async-1", &body).await;
    assert_eq!(submitted["code"], "333334", "{submitted}");
    let id = submitted["data"]["queryId"].as_str().unwrap().to_owned();
    let (_, status) = driver.get(&format!("/monitoring/queries//{id}")).await;
    assert_eq!(status["data"]["queries"][0]["status"], "RUNNING");
    done.send_replace(true);
    let done = driver.wait(submitted).await;
    assert_eq!(done["data"]["rowset"], json!([["1", "****"]]), "{done}");
    let (_, status) = driver.get(&format!("/monitoring/queries/{id}")).await;
    assert_eq!(status["data"]["queries"][0]["status"], "SUCCESS");
    // The rows again, as connector 4 asks for them; the account's id leads to them as well.
    for id in [id.as_str(), QUERY_ID] {
        let scan = driver.query(&format!("select * from table(result_scan('{id}'))")).await;
        assert_eq!(scan["data"]["rowset"], json!([["1", "****"]]), "{scan}");
    }
    assert_eq!(scene.account.statements().len(), 1);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_other_sessions_lead_nowhere() {
    let scene = Scene::set().await;
    let (one, other) = (scene.driver().await, scene.driver().await);
    let answer = one.query("select id, email from customers").await;
    assert_eq!(answer["success"], true);
    let sql = format!("select * from table(result_scan('{QUERY_ID}'))");
    assert!(message(&other.query(&sql).await).starts_with("FG-6005"));
    for path in [format!("/queries/{QUERY_ID}/result"), format!("/monitoring/queries/{QUERY_ID}")] {
        let (status, refused) = other.get(&path).await;
        assert_eq!(status, 200);
        assert!(message(&refused).starts_with("FG-6005"), "{refused}");
    }
    let (_, refused) = other.post(&format!("/queries/{QUERY_ID}/abort-request"), &json!({})).await;
    assert!(message(&refused).starts_with("FG-6005"), "{refused}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_tokens_are_renewed_here_and_forged_ones_are_worth_nothing() {
    let scene = Scene::with(|config| config.timings.session_token = Duration::from_secs(3)).await;
    let mut driver = scene.driver().await;
    eventually(async || driver.query("select id from customers").await["code"] == "390112").await;
    let body =
        json!({"oldSessionToken": driver.token, "requestType": "RENEW"}).to_string().into_bytes();
    let send = driver.send(http::Method::POST, "/session/token-request", &driver.master, body, &[]);
    let renewed: Value = serde_json::from_slice(&send.await.1).unwrap();
    driver.token = renewed["data"]["sessionToken"].as_str().unwrap().to_owned();
    assert_eq!(driver.query("select id, email from customers").await["success"], true);

    driver.token = "0".repeat(64);
    assert_eq!(driver.query("select id from customers").await["code"], "390111");
    driver.token = "UPSTREAM-SESSION".into();
    assert_eq!(driver.query("select id from customers").await["code"], "390111");
    let (_, renewal) = driver
        .post("/session/token-request", &json!({"oldSessionToken": "x", "requestType": "RENEW"}))
        .await;
    assert_eq!(renewal["code"], "390114");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_the_session_everywhere() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let (_, answer) = driver.post("/session?delete=true", &json!({})).await;
    assert_eq!(answer["success"], true);
    eventually(async || !scene.operator.closed.lock().unwrap().is_empty()).await;
    assert_eq!(scene.operator.closed.lock().unwrap()[0].1, "Logout");
    assert_eq!(scene.account.requests("/session").len(), 1);
    assert_eq!(driver.query("select id from customers").await["code"], "390111");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_that_the_operator_does_not_hear_is_told_again() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    scene.operator.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    let (_, answer) = driver.post("/session?delete=true", &json!({})).await;
    assert_eq!(answer["success"], true);
    tokio::time::sleep(timings().operator).await;
    assert!(scene.operator.closed.lock().unwrap().is_empty());
    scene.operator.silent.store(false, std::sync::atomic::Ordering::Relaxed);
    eventually(async || !scene.operator.closed.lock().unwrap().is_empty()).await;
    assert_eq!(scene.operator.closed.lock().unwrap()[0].1, "Logout");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_process_that_was_killed_are_ended_by_the_next() {
    let spool = tempfile::tempdir().unwrap();
    std::fs::create_dir(spool.path().join("session-1")).unwrap();
    let scene = Scene::with(|config| {
        config.recorder = proxy::recorder::Config::new(spool.path().into(), 1 << 30);
    })
    .await;
    eventually(async || !scene.operator.closed.lock().unwrap().is_empty()).await;
    let closed = scene.operator.closed.lock().unwrap().clone();
    assert_eq!(closed, [("session-1".to_owned(), "SidecarRestarted".to_owned())]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_change_and_a_suspension_hold_for_the_next_statement_of_a_living_session() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    assert_eq!(driver.query("select id, email from customers").await["success"], true);
    scene.operator.change(|snapshot| snapshot.documents[0].statements.deny = vec!["Select".into()]);
    eventually(async || {
        let refused = driver.query("select id from customers").await;
        message(&refused).starts_with("FG-2002")
    })
    .await;
    scene.operator.change(|snapshot| snapshot.suspended = Some("incident 7".into()));
    eventually(async || {
        let refused = driver.query("select id from customers").await;
        message(&refused).contains("incident 7")
    })
    .await;
    scene.operator.change(|snapshot| {
        snapshot.suspended = None;
        snapshot.lease_seconds = 0;
    });
    eventually(async || {
        let refused = driver.query("select id from customers").await;
        message(&refused).starts_with("FG-2009")
    })
    .await;
    scene.operator.push(control::Update::CloseSession {
        session: "0190a000-0000-7000-8000-000000000001".into(),
        reason: "revoked by alice".into(),
    });
    eventually(async || driver.query("select id from customers").await["code"] == "390111").await;
    scene.end().await;
}

async fn eventually(mut check: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came true");
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_that_cannot_be_are_refused_in_the_login_s_own_form() {
    let scene = Scene::set().await;
    for (data, code) in [
        (json!({"AUTHENTICATOR": "EXTERNALBROWSER"}), "FG-6006"),
        (json!({"AUTHENTICATOR": "OAUTH"}), "FG-1001"),
        (json!({"AUTHENTICATOR": "OAUTH", "TOKEN": "forged"}), "FG-1001"),
        (json!({"ACCOUNT_NAME": "other"}), "FG-6006"),
        (json!({"SESSION_PARAMETERS": {"QUOTED_IDENTIFIERS_IGNORE_CASE": true}}), "FG-2008"),
        (json!({"SESSION_PARAMETERS": {"MULTI_STATEMENT_COUNT": "many"}}), "FG-2008"),
        (json!({"ACCOUNT_NAME": 5}), "FG-6001"),
    ] {
        let mut driver = Driver::at(scene.proxy);
        driver.log_in(data.clone()).await;
        assert_eq!(driver.login["success"], false, "{data}");
        assert_eq!(driver.login["code"], "390100", "{}", driver.login);
        assert!(message(&driver.login).starts_with(code), "{data}: {}", driver.login);
    }
    assert!(scene.account.asked.lock().unwrap().is_empty());
    let mut driver = Driver::at(scene.proxy);
    driver.log_in(json!({"AUTHENTICATOR": "OAUTH", "TOKEN": "jwt-of-ada"})).await;
    assert_eq!(driver.login["success"], true);
    let opened = scene.operator.opened.lock().unwrap().last().unwrap().clone();
    assert_eq!(opened.identity_token.as_deref(), Some("jwt-of-ada"));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_login_upstream_gives_the_session_back() {
    let scene = Scene::set().await;
    scene.account.answers(|asked| {
        let refused =
            json!({"data": {}, "code": "390422", "message": "network policy", "success": false});
        (asked.path == "/session/v1/login-request").then(|| Told::json(&refused))
    });
    let mut driver = Driver::at(scene.proxy);
    driver.log_in(json!({})).await;
    assert!(message(&driver.login).starts_with("FG-4002"), "{}", driver.login);
    assert_eq!(scene.operator.closed.lock().unwrap()[0].1, "Refused");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_clearly_and_the_next_good_one_works() {
    use std::io::Write as _;
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let gzip = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let bomb = gzip(&vec![b' '; 200 << 20]);
    let deep =
        format!("{{\"sqlText\":\"select 1\",\"x\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let query = "/queries/v1/query-request?requestId=";
    type Case<'a> = (Vec<u8>, &'a [(&'a str, &'a str)], &'a str);
    let cases: Vec<Case<'_>> = vec![
        (b"{".to_vec(), &[], "FG-6001"),
        (b"{\"sqlText\":null}".to_vec(), &[], "FG-6001"),
        (b"{\"sqlText\":\"a\",\"sqlText\":\"b\"}".to_vec(), &[], "FG-6001"),
        (b"{\"sqlText\":\"\xff\"}".to_vec(), &[], "FG-6001"),
        (deep.into_bytes(), &[], "FG-6002"),
        (bomb, &[("content-encoding", "gzip")], "FG-6002"),
        (b"not gzip".to_vec(), &[("content-encoding", "gzip")], "FG-6001"),
        (b"x".to_vec(), &[("content-encoding", "br")], "FG-6001"),
        (b"{\"sqlText\":\"select 1\",\"bindStage\":\"@x\"}".to_vec(), &[], "FG-6006"),
        (
            b"{\"sqlText\":\"select 1\",\"parameters\":{\"MULTI_STATEMENT_COUNT\":2}}".to_vec(),
            &[],
            "FG-2011",
        ),
        (
            b"{\"sqlText\":\"select 1\",\"parameters\":{\"SEARCH_PATH\":\"x\"}}".to_vec(),
            &[],
            "FG-2008",
        ),
    ];
    for (number, (body, headers, code)) in cases.into_iter().enumerate() {
        let path = format!("{query}bad-{number}");
        let (status, answer) =
            driver.send(http::Method::POST, &path, &driver.token, body.clone(), headers).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(status, 200);
        assert!(message(&answer).starts_with(code), "{number}: {answer}");
    }
    let evil = [("host", "evil.example")];
    let (status, _) = driver
        .send(http::Method::POST, "/session/heartbeat", &driver.token, Vec::new(), &evil)
        .await;
    assert_eq!(status, 421);
    for (method, path) in [
        ("POST", "/queries/v1/../../session"),
        ("POST", "/queries/v1/query-request/"),
        ("POST", "/api/v2/databases"),
        ("GET", "/console/login"),
        ("PUT", "/queries/v1/query-request"),
    ] {
        let method = http::Method::from_bytes(method.as_bytes()).unwrap();
        let (status, _) = driver.send(method, path, &driver.token, Vec::new(), &[]).await;
        assert_eq!(status, 404, "{path}");
    }
    let compressed = gzip(br#"{"sqlText":"select id, email from customers"}"#);
    let path = format!("{query}good");
    let headers = [("content-encoding", "gzip")];
    let (_, good) =
        driver.send(http::Method::POST, &path, &driver.token, compressed, &headers).await;
    let good: Value = serde_json::from_slice(&good).unwrap();
    assert_eq!(good["success"], true, "{good}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_operator_no_session_opens_and_the_reason_is_said() {
    let scene = Scene::set().await;
    scene.operator.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut driver = Driver::at(scene.proxy);
    driver.log_in(json!({})).await;
    assert!(message(&driver.login).starts_with("FG-1005"), "{}", driver.login);
    scene.operator.silent.store(false, std::sync::atomic::Ordering::Relaxed);
    scene.driver().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_with_tls_serves_the_account_s_name_to_whoever_trusts_the_pod_s_ca() {
    use rustls_pki_types::pem::PemObject as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let files = tempfile::tempdir().unwrap();
    let places = proxy::trust::Places {
        private: files.path().join("private"),
        public: files.path().join("public"),
    };
    std::fs::create_dir(&places.private).unwrap();
    std::fs::create_dir(&places.public).unwrap();
    let public = places.public.clone();
    let scene = Scene::with(|config| {
        config.host = Some(HOST.into());
        config.doors[0].tls = true;
        config.trust = Some(proxy::config::Trust { places, ocsp: "127.0.0.1:0".parse().unwrap() });
    })
    .await;
    let pem = std::fs::read(public.join("ca.crt")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for (name, trusted) in [(HOST, true), ("other.example", false)] {
        let stream = tokio::net::TcpStream::connect(scene.proxy).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from(name).unwrap();
        let stream = connector.connect(name, stream).await;
        assert_eq!(stream.is_ok(), trusted);
        let Ok(mut stream) = stream else { continue };
        let request = format!(
            "POST /session/heartbeat HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("390111"), "{answer}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_counts_once_by_what_became_of_it_in_the_end() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let session = "0190a000-0000-7000-8000-000000000001";
    driver.query("select id from customers").await;
    driver.query("drop table customers").await;

    let pending = driver.submit("delete from customers").await;
    let (statement, ask) = scene.operator.questions(1).await.remove(0);
    assert_eq!(scene.counted("Delete").await, Vec::<String>::new(), "nothing is settled yet");
    scene.operator.approve(session, &statement, &ask.digest);
    driver.wait(pending).await;

    for (outcome, before) in [(control::Outcome::Expired, 1), (control::Outcome::Withdrawn, 2)] {
        let pending = driver.submit("delete from customers").await;
        let (statement, _) = scene.operator.questions(before + 1).await.remove(before);
        scene.operator.decide(session, &statement, outcome);
        driver.wait(pending).await;
    }
    let counted = |kind: &str, decision: &str, times: u32| {
        format!(
            "frostgate_proxy_statements_total{{kind=\"{kind}\",decision=\"{decision}\"}} {times}"
        )
    };
    assert_eq!(scene.counted("Select").await, [counted("Select", "Allow", 1)]);
    assert_eq!(scene.counted("DropTable").await, [counted("DropTable", "Deny", 1)]);
    let deletes = [counted("Delete", "Allow", 1), counted("Delete", "Deny", 2)];
    assert_eq!(scene.counted("Delete").await, deletes);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_on_record_and_shipped_when_everything_ends() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    driver.query("select id, email from customers").await;
    driver.query("drop table customers").await;
    let (status, metrics) = Driver::at(scene.admin).fetch("/metrics").await;
    let metrics = String::from_utf8(metrics).unwrap();
    assert_eq!(status, 200);
    assert!(
        metrics.contains("frostgate_proxy_statements_total{kind=\"Select\",decision=\"Allow\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("frostgate_proxy_sessions_active 1"));
    assert_eq!(Driver::at(scene.admin).fetch("/readyz").await.0, 200);
    let operator = Arc::clone(&scene.operator);
    scene.end().await;
    assert_eq!(operator.closed.lock().unwrap()[0].1, "Drain");
    let seals = operator.seals.lock().unwrap();
    assert!(seals.iter().any(|seal| seal.is_final), "{seals:?}");
    assert_eq!(operator.stored.lock().unwrap().len(), seals.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_a_statement_is_not_shown_to_approvers() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    scene.operator.change(|snapshot| {
        let policy = &mut snapshot.documents[0];
        policy.statements.allow.push("AlterUser".into());
        policy.approvals[0].when.statements.push("AlterUser".into());
        policy.approvals[0].when.risks = vec!["Admin".into()];
    });
    let body = json!({"sqlText": "alter user u set password = 'hunter2'"});
    eventually(async || {
        let id = Uuid::new_v4().to_string();
        driver.query_as(&id, &body).await["code"] == "333333"
    })
    .await;
    let asked = scene.operator.questions(1).await;
    assert_eq!(asked[0].1.sql, "alter user u set password = '****'");
    scene.end().await;
}
