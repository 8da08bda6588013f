//! What is refused: clearly, at once, and with nothing lost.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use e2e::agent::{Agent, Driver};
use e2e::evidence::{Evidence, frostgate};
use e2e::kubectl::{apply, get, kubectl};
use e2e::operator::{Away, Setting};
use e2e::world::World;
use e2e::{account, eventually};
use serde_json::{Value, json};

#[test]
fn a_login_without_a_policy_is_refused_with_the_reason() {
    let world = World::bare("no-policy");
    let agent = world.agent(Driver::Python5);
    let start = Instant::now();
    let reply = agent.sql("SELECT 1");
    assert!(reply["message"].as_str().unwrap_or_default().contains("FG-1003"), "{reply}");
    assert!(start.elapsed() < Duration::from_secs(30), "no retry storm");
}

#[test]
fn refusals_are_clear_and_come_at_once() {
    let world = World::new("refusals");
    let agent = world.agent(Driver::Python5);
    for (sql, code) in [
        ("SELECT * FROM", "FG-2001"),
        ("SELECT 1; SELECT 2", "000008"),
        ("GRANT ROLE steward TO USER x", "FG-2002"),
        ("PUT file:///etc/passwd @~", "FG-"),
        ("SELECT * FROM nowhere_at_all", "FG-2012"),
        ("USE ROLE accountadmin", "FG-2008"),
    ] {
        let start = Instant::now();
        let reply = agent.sql(sql);
        assert_eq!(reply["ok"], false, "{sql}: {reply}");
        let text = reply.to_string();
        assert!(text.contains(code) || text.contains("statement count"), "{sql}: {reply}");
        assert!(start.elapsed() < Duration::from_secs(20), "{sql}");
    }
}

#[test]
fn malformed_requests_are_answered_at_once_and_the_door_stays_open() {
    let world = World::new("malformed");
    let agent = world.agent(Driver::Python5);
    let tried = agent.shell("/opt/connector5/bin/python /agent/raw.py malformed");
    let tries: Vec<Value> =
        tried.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let expected = [
        ("broken JSON", "FG-6001"),
        ("a list", "FG-6001"),
        ("a key twice", "FG-6001"),
        ("a gzip bomb", "FG-6002"),
        ("no gzip", "FG-6001"),
        ("an unknown endpoint", "FG-6003"),
        ("a hidden endpoint", "FG-6003"),
        ("a query without a session", "FG-1004"),
    ];
    assert_eq!(tries.len(), expected.len() + 1, "{}{}", tried.out, tried.err);
    for ((what, code), answer) in expected.iter().zip(&tries) {
        assert_eq!(answer["what"], *what, "{answer}");
        assert!(answer["text"].as_str().unwrap().contains(code), "{answer}");
        assert!(answer["seconds"].as_f64().unwrap() < 5.0, "{answer}");
    }
    assert_eq!(tries[expected.len()]["ok"], true, "the door still works: {}", tried.out);
    let pod = get(&["pod", "-n", &agent.namespace, &agent.pod]);
    let restarts = &pod["status"]["initContainerStatuses"][0]["restartCount"];
    assert_eq!(*restarts, 0, "the sidecar lived through it");
}

#[test]
fn a_full_spool_refuses_new_statements_and_they_go_on_when_it_drains() {
    let _small = Setting::new("FROSTGATE_PROXY_SPOOL_LIMIT", "4Mi");
    let world = World::new("spool");
    let agent = world.agent(Driver::Python5);
    // Rows are kept until they are shipped, and nobody takes them.
    let mut session = Session::start(
        &agent,
        &format!(
            "SELECT id, quantity, product, card_number, {{n}} AS {} FROM orders",
            world.marker
        ),
    );
    session.wait_for("ok");
    let away = Away::take();
    let refusal = session.refusal();
    assert!(refusal.contains("FG-5002"), "{refusal}");
    let refused = format!(", {} AS {}", refusal.split_whitespace().next().unwrap(), world.marker);
    let ran = account::statements(&refused);
    assert_eq!(ran, [] as [Value; 0], "what cannot be recorded does not run");
    drop(away);
    session.wait_for("ok");
    session.end();
    let evidence = Evidence::of(&world.marker);
    let recorded = evidence.line(&world.marker)["session"].as_str().unwrap().to_owned();
    eventually("the gap on record", Duration::from_secs(60), || {
        evidence.fetch()?;
        let replay = frostgate(&["replay", &evidence.path(), "--session", &recorded]).out;
        if replay.contains("statements were refused") { Ok(()) } else { Err(replay) }
    });
}

#[test]
fn a_sidecar_that_starts_without_the_operator_says_so_and_goes_on_when_it_is_back() {
    let world = World::new("unreachable");
    let mut template = world.template(Driver::Python5, Some("agents/demo"));
    // Injected now, started later.
    template["spec"]["schedulingGates"] = json!([{"name": "example.com/not-yet"}]);
    assert!(world.apply_deployment(&template).ok);
    let pod = eventually("the gated pod", Duration::from_secs(30), || {
        let name = world.kubectl(&["get", "pods", "-o", "name"]).out.trim().to_owned();
        if name.is_empty() { Err("none".to_owned()) } else { Ok(name) }
    });
    let away = Away::take();
    let ungate = r#"[{"op":"remove","path":"/spec/schedulingGates"}]"#;
    let ungated = world.kubectl(&["patch", &pod, "--type=json", "-p", ungate]);
    assert!(ungated.ok, "{}", ungated.err);
    let log = eventually("the sidecar's word", Duration::from_secs(60), || {
        let log = world.kubectl(&["logs", &pod, "-c", "frostgate-proxy"]).out;
        if log.contains("operator") && log.contains("WARN") { Ok(log) } else { Err(log) }
    });
    assert!(log.lines().count() < 200, "no storm: {log}");
    let described = eventually("the reason in the pod's events", Duration::from_secs(60), || {
        let described = world.kubectl(&["describe", &pod]).out;
        if described.contains("Startup probe failed") { Ok(described) } else { Err(described) }
    });
    assert!(!described.contains("Started container agent"), "nothing ran past it: {described}");
    drop(away);
    let agent = Agent::of_deployment(&world.namespace, "agent");
    assert_eq!(agent.sql("SELECT 1")["ok"], true);
}

#[test]
fn an_account_that_is_down_is_one_clear_error_and_nothing_runs_later() {
    let world = World::new("down");
    let agent = world.agent(Driver::Python5);
    let sql = format!("SELECT count(*), {{n}} AS {} FROM orders", world.marker);
    let mut session = Session::start(&agent, &sql);
    session.wait_for("ok");
    let down = Down::take();
    let refusal = session.refusal();
    assert!(refusal.contains("FG-400"), "{refusal}");
    let start = Instant::now();
    let reply = agent.sql("SELECT 1");
    assert!(reply["message"].as_str().unwrap_or_default().contains("FG-4001"), "{reply}");
    assert!(start.elapsed() < Duration::from_secs(60), "no retry storm");
    drop(down);
    session.wait_for("ok");
    session.end();
    assert_eq!(agent.sql("SELECT 1")["ok"], true);
    // Neither the sidecar nor the driver ran anything twice.
    let mut ran: Vec<String> = account::statements(&world.marker)
        .iter()
        .map(|entry| entry["sql_text"].as_str().unwrap().to_owned())
        .collect();
    let all = ran.len();
    ran.sort();
    ran.dedup();
    assert_eq!(ran.len(), all);
}

/// The account answers nobody, as long as this is held: what is connected is cut, and nothing else connects.
struct Down;

impl Down {
    fn take() -> Self {
        let down = Self;
        account::cut();
        select("nobody");
        down
    }
}

impl Drop for Down {
    fn drop(&mut self) {
        select("warehouse");
        eventually("the account", Duration::from_secs(30), account::mend);
    }
}

/// Whom the account's Service leads to.
fn select(app: &str) {
    let patch = json!({"spec": {"selector": {"app": app}}}).to_string();
    let answer = kubectl(&["patch", "service", "-n", "snowflake", "warehouse", "-p", &patch]);
    assert!(answer.ok, "{}", answer.err);
}

/// One session that asks every second and prints each answer.
struct Session {
    child: std::process::Child,
    out: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Session {
    /// `{n}` in the SQL becomes the number of the question.
    fn start(agent: &Agent, sql: &str) -> Self {
        let script = format!(
            "import snowflake.connector as s, time\n\
             c = s.connect(account='demo', user='agent', password='placeholder')\n\
             for n in range(200):\n\
             \x20   try: c.cursor().execute('{sql}'.replace('{{n}}', str(n))).fetchall(); print(n, 'ok', flush=True)\n\
             \x20   except s.errors.Error as e: print(n, ' '.join(e.msg.split()), flush=True)\n\
             \x20   time.sleep(1)\n"
        );
        let mut child = agent.start_python(Driver::Python5, &script);
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, out }
    }

    /// The lines up to the first with this in it.
    fn wait_for(&mut self, part: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for line in self.out.by_ref().map_while(Result::ok).take(100) {
            lines.push(line);
            if lines.last().is_some_and(|line| line.contains(part)) {
                return lines;
            }
        }
        panic!("{part} never came: {:?}", lines.last())
    }

    /// The next refusal.
    fn refusal(&mut self) -> String {
        self.wait_for("FG-").pop().unwrap()
    }

    fn end(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_the_operator_sessions_go_on_until_the_lease_ends_and_then_refuse() {
    // The connection has a short lease while this runs.
    let world = World::new("lease");
    let connection =
        kubectl(&["get", "snowflakeconnection", "-n", "agents", "demo", "-o", "json"]).out;
    let mut connection: Value = serde_json::from_str(&connection).unwrap();
    let lease = connection["spec"]["policyLease"].as_str().unwrap_or_default().to_owned();
    connection["spec"]["policyLease"] = json!("15s");
    connection["metadata"] = json!({"name": "demo", "namespace": "agents"});
    assert!(apply(&connection.to_string()).ok);
    let agent = world.agent(Driver::Python5);
    let mut session = Session::start(&agent, "SELECT count(*) FROM orders");
    session.wait_for("ok");
    let away = Away::take();
    let lived = session.wait_for("FG-2009");
    let went_well = lived.iter().filter(|line| line.ends_with("ok")).count();
    assert!(went_well >= 5, "the session went on for a while: {lived:?}");
    drop(away);
    session.wait_for("ok");
    session.end();
    connection["spec"]["policyLease"] = json!(lease);
    assert!(apply(&connection.to_string()).ok);
}
