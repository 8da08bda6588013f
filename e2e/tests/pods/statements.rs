//! What an unmodified driver can do, and what it sees.

use std::time::Duration;

use e2e::agent::Driver;
use e2e::evidence::Evidence;
use e2e::kubectl::token;
use e2e::world::World;
use e2e::{account, eventually};
use serde_json::{Value, json};

fn cells(reply: &Value, column: usize) -> Vec<Option<String>> {
    assert_eq!(reply["ok"], true, "{reply}");
    let rows = reply["rows"].as_array().unwrap();
    rows.iter().map(|row| row[column].as_str().map(str::to_owned)).collect()
}

/// Reads all orders in chunks and compares them with what was seeded.
fn reads_a_hundred_thousand_rows(world: &World, driver: Driver) {
    let agent = world.agent(driver);
    let task =
        json!({"sql": "SELECT id, quantity, product FROM orders ORDER BY id", "mode": "count"});
    let reply = agent.run(driver, &task);
    assert_eq!(reply["count"], 100_000, "{reply}");
    // Row n of the seed, in the digest's form.
    let mut lines = String::new();
    for n in 0..100_000_u64 {
        lines.push_str(&format!("{}|{}|product-{}\n", n + 1, n % 12 + 1, n % 97));
    }
    assert_eq!(reply["digest"], recording::Digest::of(lines.as_bytes()).to_string(), "{reply}");
}

#[test]
fn the_python_driver_of_today_reads_a_hundred_thousand_rows() {
    reads_a_hundred_thousand_rows(&World::new("rows-py5"), Driver::Python5);
}

#[test]
fn the_python_driver_of_yesterday_reads_a_hundred_thousand_rows() {
    reads_a_hundred_thousand_rows(&World::new("rows-py4"), Driver::Python4);
}

#[test]
fn the_node_driver_reads_a_hundred_thousand_rows() {
    reads_a_hundred_thousand_rows(&World::new("rows-node"), Driver::Node);
}

#[test]
fn the_jdbc_driver_reads_a_hundred_thousand_rows() {
    reads_a_hundred_thousand_rows(&World::new("rows-jdbc"), Driver::Jdbc);
}

/// A program without a driver: one statement by the SQL REST API, under the pod's own token.
const REST: &str = r#"
import json, urllib.error, urllib.request
token = open("/var/run/secrets/kubernetes.io/serviceaccount/token").read()
def run(sql, token=token):
    request = urllib.request.Request(
        "https://demo.snowflakecomputing.com/api/v2/statements", json.dumps({"statement": sql}).encode(),
        {"Content-Type": "application/json", "Authorization": "Bearer " + token})
    try:
        with urllib.request.urlopen(request) as answer:
            return {"status": answer.status, **json.load(answer)}
    except urllib.error.HTTPError as error:
        return {"status": error.code, **json.load(error)}
read = run("SELECT id, email FROM customers ORDER BY id LIMIT 1")
drop = run("DROP TABLE customers")
forged = run("SELECT 1", token[:-4] + "AAAA")
print(json.dumps({"read": read, "drop": drop, "forged": forged}))
"#;

#[test]
fn a_program_without_a_driver_runs_statements_by_the_rest_api_with_the_pod_s_own_token() {
    let world = World::new("rest");
    let agent = world.agent(Driver::Python5);
    let told = e2e::agent::answer(agent.start_python(Driver::Python5, REST));
    let (read, drop) = (&told["read"], &told["drop"]);
    assert_eq!(read["status"], 200, "{told}");
    assert_eq!(read["resultSetMetaData"]["numRows"], 1, "{told}");
    assert_eq!(read["data"][0][0], "1", "{told}");
    let email = read["data"][0][1].as_str().unwrap_or_default();
    assert!(email.contains('*'), "{told}");
    assert_eq!(drop["status"], 422, "{told}");
    assert!(drop["message"].as_str().unwrap_or_default().starts_with("FG-2"), "{told}");
    assert_eq!(told["forged"]["status"], 401, "{told}");
}

#[test]
fn the_command_line_client_runs_unmodified() {
    let world = World::new("snow");
    let agent = world.agent(Driver::Python5);
    let line = "SNOWFLAKE_ACCOUNT=demo SNOWFLAKE_USER=agent SNOWFLAKE_PASSWORD=placeholder \
                /opt/snow/bin/snow sql -x --format json -q 'SELECT count(*) AS n FROM customers' 2>&1";
    let answer = agent.shell(line);
    assert!(answer.ok && answer.out.contains('8'), "{}{}", answer.out, answer.err);
}

#[test]
fn a_masked_column_never_shows_a_raw_value() {
    let world = World::new("masks");
    let agent = world.agent(Driver::Python5);
    let statements = [
        "SELECT ssn FROM customers",
        "SELECT ssn AS harmless FROM customers",
        "WITH c AS (SELECT ssn AS x FROM customers) SELECT x FROM c",
        "SELECT a.ssn FROM customers a JOIN customers b ON a.id = b.id",
        "SELECT ssn FROM customers UNION ALL SELECT name FROM customers",
        "SELECT upper(substr(ssn, 1, 3)) FROM customers",
        "SELECT * FROM customers",
        "SELECT max(ssn) FROM customers",
        "SELECT (SELECT min(ssn) FROM customers) AS s",
    ];
    for sql in statements {
        for format in ["ARROW", "JSON"] {
            let connect =
                json!({"session_parameters": {"PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": format}});
            let reply = agent.run(Driver::Python4, &json!({"sql": sql, "connect": connect}));
            assert_eq!(reply["ok"], true, "{sql}: {reply}");
            for raw in ["123-45", "234-56", "345-67", "456-78", "\"123\""] {
                assert!(!reply.to_string().contains(raw), "{sql} in {format}: {reply}");
            }
        }
    }
    let reply = agent.sql("SELECT ssn FROM customers WHERE id = 1");
    assert!(cells(&reply, 0)[0].as_deref().is_some_and(|ssn| ssn.ends_with("6789")), "{reply}");
}

#[test]
fn a_masked_column_stays_masked_in_chunks() {
    let world = World::new("mask-chunks");
    let agent = world.agent(Driver::Python5);
    for format in ["ARROW", "JSON"] {
        let before = account::chunk_fetches().len();
        let connect =
            json!({"session_parameters": {"PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": format}});
        let task = json!({"sql": "SELECT id, card_number FROM orders", "connect": connect});
        let reply = agent.run(Driver::Python4, &task);
        let rows = reply["rows"].as_array().unwrap_or_else(|| panic!("{reply}"));
        assert_eq!(rows.len(), 100_000, "{format}");
        assert!(rows.iter().all(|row| !row[1].as_str().unwrap_or_default().contains("4000-")));
        assert!(account::chunk_fetches().len() > before, "{format}: the result came in chunks");
    }
}

#[test]
fn a_drop_is_one_clean_error_and_the_account_never_sees_it() {
    let world = World::new("drop");
    let agent = world.agent(Driver::Python5);
    let reply = agent.sql(&format!("DROP TABLE customers /* {} */", world.marker));
    assert_eq!(reply["ok"], false, "{reply}");
    assert_eq!(reply["errno"], 3001, "{reply}");
    assert_eq!(reply["sqlstate"], "42501", "{reply}");
    let message = reply["message"].as_str().unwrap();
    assert!(
        message.contains("FG-2002") && message.contains("e2e-drop/support-agents"),
        "{message}"
    );
    assert_eq!(account::statements(&world.marker), [] as [Value; 0]);
    let line = Evidence::of(&world.marker).line(&world.marker);
    assert_eq!(line["decision"], "Deny", "{line}");
    assert_eq!(line["code"], "FG-2002", "{line}");
    assert_eq!(line["outcome"], "Refused", "{line}");

    let reply = agent.sql("SELECT * FROM events");
    let message = reply["message"].as_str().unwrap_or_default();
    for part in [
        "FG-2003",
        "events are closed to agents",
        "Hint: ask the data team for an aggregate",
        "statement ",
    ] {
        assert!(message.contains(part), "{part}: {reply}");
    }
}

#[test]
fn a_policy_change_reaches_a_living_session_within_five_seconds() {
    let world = World::new("change");
    let agent = world.agent(Driver::Python5);
    // One session that asks every half second; the first refusal ends it.
    let script = "import snowflake.connector as s, time\n\
                  c = s.connect(account='demo', user='agent', password='placeholder')\n\
                  print('up', flush=True)\n\
                  for _ in range(120):\n\
                  \x20   try: c.cursor().execute('SELECT count(*) FROM orders')\n\
                  \x20   except s.errors.Error as e: print(time.time(), e.msg, flush=True); break\n\
                  \x20   time.sleep(0.25)\n";
    let mut child = agent.start_python(Driver::Python5, script);
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line, "up\n");
    std::thread::sleep(Duration::from_secs(2));
    let deny = r#"[{"op":"add","path":"/spec/objects/-","value":{"effect":"Deny","tables":["DEMO.PUBLIC.ORDERS"],"message":"closed just now"}}]"#;
    let changed = std::time::SystemTime::now();
    let answer =
        world.kubectl(&["patch", "accesspolicy", "support-agents", "--type=json", "-p", deny]);
    assert!(answer.ok, "{}", answer.err);
    line.clear();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    child.wait().unwrap();
    let (time, message) = line.split_once(' ').unwrap();
    assert!(message.contains("closed just now"), "{line}");
    let changed = changed.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(time.parse::<f64>().unwrap() - changed < 5.0, "{line}");
}

#[test]
fn humans_get_their_own_roles_in_the_same_pod_and_a_bad_token_is_refused() {
    let world = World::new("humans");
    let agent = world.agent(Driver::Python5);
    // Stewards see the e-mail addresses as they are.
    let except = r#"[{"op":"add","path":"/spec/masking/1/exceptSubjects","value":[{"groups":["data-stewards"]}]}]"#;
    let patched =
        world.kubectl(&["patch", "accesspolicy", "support-agents", "--type=json", "-p", except]);
    assert!(patched.ok, "{}", patched.err);
    std::thread::sleep(Duration::from_secs(5));
    let role = |token: &str| {
        let connect = json!({"authenticator": "oauth", "token": token, "user": "agent"});
        let sql = format!(
            "SELECT current_role(), email, ssn FROM customers WHERE id = 1 /* {} */",
            world.marker
        );
        agent.run(Driver::Python5, &json!({"sql": sql, "connect": connect}))
    };
    let alice = token(&["alice", "agent"]);
    let email = |role_of: &Value| cells(role_of, 1)[0].clone().unwrap();
    let reply = role(&alice);
    assert_eq!(cells(&reply, 0), [Some("ANALYST".to_owned())]);
    assert!(!email(&reply).starts_with("ada.fischer@"), "{reply}");
    let reply = role(&token(&["carol", "agent"]));
    assert_eq!(cells(&reply, 0), [Some("STEWARD".to_owned())]);
    assert!(email(&reply).starts_with("ada.fischer@"), "{reply}");
    assert!(!reply.to_string().contains("123-45-6789"), "{reply}");
    // Both subjects stand in the record, with their groups.
    let json = eventually("both sessions", Duration::from_secs(60), || {
        let json = Evidence::of(&world.marker).export("json");
        if json.matches(&world.marker).count() >= 2 { Ok(json) } else { Err(json) }
    });
    for (human, group) in [("alice", "analysts"), ("carol", "data-stewards")] {
        let said = |line: &Value| {
            line["human"].as_str().is_some_and(|name| name.contains(human))
                && line["groups"] == json!([group])
                && line["verified"] == true
        };
        let lines = json.lines().filter(|line| line.contains(&world.marker));
        let mut lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert!(lines.any(|line| said(&line)), "{human}: {json}");
    }

    let (signed, signature) = alice.rsplit_once('.').unwrap();
    let mut bytes = signature.to_owned().into_bytes();
    bytes[20] = if bytes[20] == b'A' { b'B' } else { b'A' };
    let forged = format!("{signed}.{}", String::from_utf8(bytes).unwrap());
    let old = token(&["alice", "agent-brief"]);
    let foreign = token(&["alice", "agent", "https://another.snowflakecomputing.com"]);
    // Its second is over, and the leeway for clocks as well.
    std::thread::sleep(Duration::from_secs(63));
    for (bad, why) in [
        (forged.as_str(), "signature"),
        (old.as_str(), "expired"),
        (foreign.as_str(), "audience"),
        ("no token at all", ""),
    ] {
        let reply = role(bad);
        let message = reply["message"].as_str().unwrap_or_default();
        assert!(message.contains("FG-1001") && message.contains(why), "{why}: {reply}");
    }
}
