//! The real drivers against the real proxy, with the stand-in account of `e2e/warehouse` upstream.
//!
//! They need what their ecosystems publish, so they run only on demand: `FROSTGATE_DRIVERS` names a folder with
//! `server/` (an environment of the stand-in account) and one per driver (`py4/`, `py5/`, `node/`, `jdbc/`).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use control::update::Durability;
use control::{Connection, Credential};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use super::account::{Account, HOST, STORE};
use super::operator::{Given, Operator};
use super::{Scene, document, table};

#[allow(clippy::disallowed_methods, reason = "where the drivers are is the machine's own matter")]
fn folder() -> PathBuf {
    PathBuf::from(std::env::var("FROSTGATE_DRIVERS").expect("FROSTGATE_DRIVERS names the folder"))
}

/// The stand-in account, as a process.
struct Warehouse {
    process: Child,
    address: SocketAddr,
    admin: SocketAddr,
    ca: String,
    _files: tempfile::TempDir,
}

impl Drop for Warehouse {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Warehouse {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([HOST.to_owned(), STORE.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let file = |name: &str, text: &str| {
            let path = files.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/warehouse");
        let mut process = Command::new(folder().join("server/bin/python"))
            .args(["-m", "warehouse", "--listen", "127.0.0.1", "--port", "0", "--admin-port", "0"])
            .args(["--account", "acme-dev", "--host", HOST, "--chunk-host", STORE])
            .arg("--tls-cert")
            .arg(file("cert.pem", &certificate.pem()))
            .arg("--tls-key")
            .arg(file("key.pem", &key.serialize_pem()))
            .current_dir(root)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let after = |word: &str| {
            let rest = line.split(word).nth(1).unwrap_or_else(|| panic!("no {word} in {line}"));
            let rest = rest.split_whitespace().next().unwrap();
            rest.rsplit("//").next().unwrap().parse::<SocketAddr>().unwrap()
        };
        Self {
            address: after("listen="),
            admin: after("admin="),
            ca: certificate.pem(),
            process,
            _files: files,
        }
    }
}

/// One exchange with the account's listener for tests.
fn tell(admin: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned()
}

async fn scene() -> (Scene, Warehouse) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let warehouse = Warehouse::start();
    let connection = Connection {
        name: "team/snowflake".into(),
        account: "acme-dev".into(),
        host: HOST.into(),
        port: 443,
        ca_bundle: Some(warehouse.ca.clone()),
        private_networks: Vec::new(),
        durability: Durability::Spool,
        session_idle_seconds: 600,
    };
    let policy = document(
        r#"{"name": "team/agents", "generation": 1,
            "statements": {"allow": ["Select", "Insert", "Delete"]},
            "objects": [{"effect": "Allow", "tables": ["DEMO.PUBLIC.*"]}],
            "masking": [{"columns": ["DEMO.PUBLIC.CUSTOMERS.EMAIL"], "method": {"type": "Email"}},
                        {"columns": ["DEMO.PUBLIC.CUSTOMERS.CREDIT_LIMIT"], "method": {"type": "Bucket", "width": 1000}},
                        {"columns": ["DEMO.PUBLIC.ORDERS.CARD_NUMBER"], "method": {"type": "Partial", "keepLast": 4}}],
            "approvals": [{"name": "deletes", "when": {"statements": ["Delete"]},
                           "pendingTtlSeconds": 60, "grantTtlSeconds": 60}]}"#,
    );
    let number = |name| (name, "NUMBER");
    let text = |name| (name, "TEXT");
    let catalog = vec![
        table(
            "CUSTOMERS",
            &[
                number("ID"),
                text("NAME"),
                text("EMAIL"),
                text("PHONE"),
                text("SSN"),
                text("COUNTRY"),
                number("CREDIT_LIMIT"),
                ("CREATED_AT", "TIMESTAMP_NTZ"),
                ("NOTES", "VARIANT"),
            ],
        ),
        table(
            "ORDERS",
            &[
                number("ID"),
                number("CUSTOMER_ID"),
                text("PRODUCT"),
                number("QUANTITY"),
                number("AMOUNT"),
                text("CARD_NUMBER"),
                ("ORDERED_AT", "TIMESTAMP_NTZ"),
                ("SHIPPED", "BOOLEAN"),
            ],
        ),
    ];
    let given = Given {
        credential: Credential::EphemeralUser { user: "FG_AGENT".into(), expires_at_ms: i64::MAX },
        role: "STEWARD".into(),
        warehouse: Some("COMPUTE_WH".into()),
        human: None,
    };
    let admin = warehouse.admin;
    // What the operator's broker does: a user with the session's own public key.
    let make_user = move |open: &control::OpenSession| {
        let sql = format!(
            "DROP USER IF EXISTS FG_AGENT; CREATE USER FG_AGENT TYPE=SERVICE RSA_PUBLIC_KEY='{}' DEFAULT_ROLE=STEWARD; \
             GRANT ROLE STEWARD TO USER FG_AGENT;",
            open.session_public_key
        );
        tell(admin, "POST", "/seed", &sql);
    };
    let operator =
        Operator::start(connection, vec![policy], catalog, given, Some(Box::new(make_user))).await;
    let resolve = BTreeMap::from([
        (HOST.to_owned(), warehouse.address),
        (STORE.to_owned(), warehouse.address),
    ]);
    let unused = Account::start().await;
    let scene = Scene::run(unused, operator, resolve, |_| {}).await;
    (scene, warehouse)
}

/// Approves every question as it comes.
fn approve_all(operator: Arc<Operator>) {
    tokio::spawn(async move {
        let mut seen = 0;
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let asked = operator.asked.lock().unwrap().clone();
            for (statement, ask) in asked.iter().skip(seen) {
                let session = format!("0190a000-0000-7000-8000-{:012}", operator.opened.lock().unwrap().len());
                operator.approve(&session, statement, &ask.digest);
            }
            seen = asked.len();
        }
    });
}

/// Runs a driver's script; what it prints is one JSON object.
async fn run(mut command: Command) -> Value {
    let output = tokio::task::spawn_blocking(move || {
        command.env("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true").output().unwrap()
    })
    .await
    .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    serde_json::from_str(out.trim().lines().last().unwrap()).unwrap()
}

const PYTHON: &str = r#"
import json, sys
import snowflake.connector as connector
from snowflake.connector.errors import ProgrammingError
connection = connector.connect(account="acme-dev", host="127.0.0.1", port=int(sys.argv[1]), protocol="http", user="agent",
                               password="placeholder", database="DEMO", schema="PUBLIC", login_timeout=20)
cursor = connection.cursor()
seen = {}
seen["customers"] = [list(map(str, row)) for row in cursor.execute("select id, email, credit_limit from customers order by id").fetchall()]
rows = cursor.execute("select id, card_number from orders").fetchall()
seen["orders"] = [len(rows), sum(row[0] for row in rows), len({row[1][:-4] for row in rows}), sorted(row[1] for row in rows)[0]]
try:
    cursor.execute("drop table customers")
except ProgrammingError as error:
    seen["drop"] = [error.errno, error.sqlstate, error.msg]
seen["deleted"] = cursor.execute("delete from customers where id = 8").rowcount
cursor.execute_async("select count(*) from orders")
waiting = cursor.sfqid
while connection.is_still_running(connection.get_query_status(waiting)):
    pass
cursor.get_results_from_sfqid(waiting)
seen["async"] = cursor.fetchone()[0]
connection.close()
print(json.dumps(seen))
"#;

async fn python(environment: &str) {
    let (scene, warehouse) = scene().await;
    approve_all(Arc::clone(&scene.operator));
    let mut command = Command::new(folder().join(environment).join("bin/python"));
    command.args(["-c", PYTHON, &scene.proxy.port().to_string()]);
    let seen = run(command).await;
    assert_eq!(seen["customers"][0], serde_json::json!(["1", "a***@e***.com", "12000.00"]), "{seen}");
    assert_eq!(seen["customers"].as_array().unwrap().len(), 8);
    assert_eq!(seen["orders"][0], 100_000);
    assert_eq!(seen["orders"][1], 5_000_050_000_u64);
    assert_eq!(seen["orders"][2], 1, "a card number shows more than its end: {seen}");
    assert_eq!(seen["drop"][0], 3001);
    assert_eq!(seen["drop"][1], "42501");
    assert!(seen["drop"][2].as_str().unwrap().contains("FG-2002"), "{seen}");
    assert_eq!(seen["deleted"], 1);
    assert_eq!(seen["async"], 100_000);
    let history = tell(warehouse.admin, "GET", "/history", "");
    assert_eq!(history.matches("delete from customers").count(), 1, "{history}");
    assert!(!history.contains("drop table"), "{history}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-in account and connector 5 in FROSTGATE_DRIVERS"]
async fn connector_5_reads_masked_rows_waits_for_a_human_and_is_refused_cleanly() {
    python("py5").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-in account and connector 4 in FROSTGATE_DRIVERS"]
async fn connector_4_reads_masked_rows_waits_for_a_human_and_is_refused_cleanly() {
    python("py4").await;
}
