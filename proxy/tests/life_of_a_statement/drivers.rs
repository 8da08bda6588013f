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

use control::Credential;
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use super::account::{Account, HOST, STORE};
use super::operator::{Given, Operator};
use super::{Scene, connection, document, table};

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
    let connection = connection(&warehouse.ca);
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
                let session = format!(
                    "0190a000-0000-7000-8000-{:012}",
                    operator.opened.lock().unwrap().len()
                );
                operator.approve(&session, statement, &ask.digest);
            }
            seen = asked.len();
        }
    });
}

/// A program that ends, one way or the other.
fn patient(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["90", program]);
    command
}

/// Runs a driver's script; what it prints is one JSON object.
async fn run(mut command: Command) -> Value {
    let output = tokio::task::spawn_blocking(move || {
        command.env("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true").stdin(Stdio::null());
        command.output().unwrap()
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
cursor.execute("select email from customers where id = 1; select count(*) from orders; select email from customers where id = 2", num_statements=3)
seen["several"] = [cursor.fetchone()[0]]
while cursor.nextset():
    seen["several"].append(cursor.fetchone()[0])
try:
    cursor.execute("select 1; select 2")
except ProgrammingError as error:
    seen["unsaid"] = [error.errno, error.sqlstate, error.msg]
connection.close()
print(json.dumps(seen))
"#;

async fn python(environment: &str) {
    let (scene, warehouse) = scene().await;
    approve_all(Arc::clone(&scene.operator));
    let mut command = Command::new(folder().join(environment).join("bin/python"));
    command.args(["-c", PYTHON, &scene.proxy.port().to_string()]);
    let seen = run(command).await;
    assert_eq!(
        seen["customers"][0],
        serde_json::json!(["1", "a***@e***.com", "12000.00"]),
        "{seen}"
    );
    assert_eq!(seen["customers"].as_array().unwrap().len(), 8);
    assert_eq!(seen["orders"][0], 100_000);
    assert_eq!(seen["orders"][1], 5_000_050_000_u64);
    assert_eq!(seen["orders"][2], 1, "a card number shows more than its end: {seen}");
    assert_eq!(seen["drop"][0], 3001);
    assert_eq!(seen["drop"][1], "42501");
    assert!(seen["drop"][2].as_str().unwrap().contains("FG-2002"), "{seen}");
    assert_eq!(seen["deleted"], 1);
    assert_eq!(seen["async"], 100_000);
    assert_eq!(seen["several"], serde_json::json!(["a***@e***.com", 100_000, "b***@e***.com"]));
    assert_eq!(seen["unsaid"][0], 8, "{seen}");
    assert_eq!(seen["unsaid"][1], "0A000", "{seen}");
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

const NODE: &str = r#"
const snowflake = require(process.argv[2] + "/node_modules/snowflake-sdk");
snowflake.configure({logLevel: "ERROR", disableOCSPChecks: true});
const connection = snowflake.createConnection({account: "acme-dev", username: "agent", password: "placeholder",
  accessUrl: "http://127.0.0.1:" + process.argv[3], database: "DEMO", schema: "PUBLIC"});
const run = (sqlText, more = {}) => new Promise(done => connection.execute({sqlText, ...more, complete: (error, statement, rows) =>
  done(error ? {error: error.code + " " + error.message} : {rows, statement})}));
connection.connect(async error => {
  if (error) { console.error(error.message); process.exit(1); }
  const seen = {};
  seen.customers = (await run("select id, email, credit_limit from customers where id = ?", {binds: [1]})).rows;
  const orders = (await run("select id, card_number from orders")).rows;
  seen.orders = [orders.length, orders.reduce((sum, row) => sum + row.ID, 0), new Set(orders.map(row => row.CARD_NUMBER.slice(0, -4))).size];
  seen.drop = (await run("drop table customers")).error;
  seen.several = await new Promise(done => {
    const first = [];
    connection.execute({sqlText: "select email from customers where id = 1; select count(*) from orders",
      parameters: {MULTI_STATEMENT_COUNT: 2}, complete: (error, statement, rows) => {
        if (error) return done([error.code + " " + error.message]);
        first.push(Object.values(rows[0])[0]);
        if (statement.hasNext()) statement.NextResult(); else done(first);
      }});
  });
  const deleted = await run("delete from customers where id = 8");
  seen.deleted = deleted.error || deleted.statement.getNumUpdatedRows();
  connection.destroy(() => { console.log(JSON.stringify(seen)); process.exit(0); });
});
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-in account and the Node driver in FROSTGATE_DRIVERS"]
async fn the_node_driver_reads_masked_rows_waits_for_a_human_and_is_refused_cleanly() {
    let (scene, _warehouse) = scene().await;
    approve_all(Arc::clone(&scene.operator));
    let files = tempfile::tempdir().unwrap();
    let script = files.path().join("driver.js");
    std::fs::write(&script, NODE).unwrap();
    let mut command = patient("node");
    command.arg(script).arg(folder().join("node"));
    command.arg(scene.proxy.port().to_string());
    let seen = run(command).await;
    assert_eq!(seen["customers"][0]["EMAIL"], "a***@e***.com", "{seen}");
    assert_eq!(seen["customers"][0]["CREDIT_LIMIT"], 12_000);
    assert_eq!(seen["orders"], serde_json::json!([100_000, 5_000_050_000_u64, 1]), "{seen}");
    assert!(seen["drop"].as_str().unwrap().starts_with("003001 FG-2002"), "{seen}");
    assert_eq!(seen["several"], serde_json::json!(["a***@e***.com", 100_000]), "{seen}");
    assert_eq!(seen["deleted"], 1, "{seen}");
    scene.end().await;
}

const JAVA: &str = r#"
import java.sql.*;
import java.util.*;
public class Driver {
  public static void main(String[] arguments) throws Exception {
    Properties options = new Properties();
    options.put("user", "agent"); options.put("password", "placeholder"); options.put("account", "acme-dev");
    options.put("db", "DEMO"); options.put("schema", "PUBLIC"); options.put("disablePlatformDetection", "true");
    options.put("JDBC_QUERY_RESULT_FORMAT", arguments[1]);
    String url = "jdbc:snowflake://http://127.0.0.1:" + arguments[0] + "/";
    try (Connection connection = DriverManager.getConnection(url, options)) {
      PreparedStatement prepared = connection.prepareStatement("select id, email, credit_limit from customers where id = ?");
      prepared.setInt(1, 1);
      ResultSet rows = prepared.executeQuery();
      rows.next();
      String customer = rows.getString(2) + " " + rows.getBigDecimal(3);
      Statement statement = connection.createStatement();
      rows = statement.executeQuery("select id, card_number from orders");
      long count = 0, sum = 0;
      Set<String> starts = new HashSet<>();
      while (rows.next()) { count++; sum += rows.getLong(1); String card = rows.getString(2); starts.add(card.substring(0, card.length() - 4)); }
      String dropped = "";
      try { statement.execute("drop table customers"); } catch (SQLException error) { dropped = error.getErrorCode() + " " + error.getSQLState() + " " + error.getMessage(); }
      Statement both = connection.createStatement();
      both.unwrap(net.snowflake.client.api.statement.SnowflakeStatement.class).setParameter("MULTI_STATEMENT_COUNT", 2);
      both.execute("select email from customers where id = 1; select count(*) from orders");
      rows = both.getResultSet(); rows.next();
      String several = rows.getString(1);
      both.getMoreResults(); rows = both.getResultSet(); rows.next();
      several += " " + rows.getString(1);
      int deleted = statement.executeUpdate("delete from customers where id = 8");
      System.out.println("{\"customer\":\"" + customer + "\",\"orders\":[" + count + "," + sum + "," + starts.size() + "],\"several\":\"" + several + "\",\"deleted\":" + deleted
        + ",\"drop\":\"" + dropped.replace("\\", "").replace("\"", "'").replace("\n", " ") + "\"}");
    }
  }
}
"#;

async fn java(format: &str) {
    let (scene, _warehouse) = scene().await;
    approve_all(Arc::clone(&scene.operator));
    let files = tempfile::tempdir().unwrap();
    let source = files.path().join("Driver.java");
    std::fs::write(&source, JAVA).unwrap();
    let mut command = patient("java");
    command.arg("--add-opens=java.base/java.nio=ALL-UNNAMED").arg("-cp");
    command.arg(format!("{}/*", folder().join("jdbc/lib").display())).arg(source);
    command.args([&scene.proxy.port().to_string(), format]);
    let seen = run(command).await;
    assert_eq!(seen["customer"], "a***@e***.com 12000.00", "{seen}");
    assert_eq!(seen["orders"], serde_json::json!([100_000, 5_000_050_000_u64, 1]), "{seen}");
    assert!(seen["drop"].as_str().unwrap().starts_with("3001 42501 FG-2002"), "{seen}");
    assert_eq!(seen["several"], "a***@e***.com 100000", "{seen}");
    assert_eq!(seen["deleted"], 1, "{seen}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stand-in account and the JDBC driver in FROSTGATE_DRIVERS"]
async fn jdbc_reads_masked_rows_in_both_formats_waits_for_a_human_and_is_refused_cleanly() {
    java("ARROW").await;
    java("JSON").await;
}
