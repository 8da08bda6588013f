//! A sidecar that is killed: the driver's session goes on.

use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::time::Duration;

use e2e::agent::{Agent, Driver};
use e2e::evidence::{Evidence, frostgate};
use e2e::kubectl::get;
use e2e::world::World;
use e2e::{account, eventually};
use serde_json::Value;

/// An open transaction that is asked every half second what it sees, and taken back at the end.
const SCRIPT: &str = "
import snowflake.connector as s, time
c = s.connect(account='demo', user='agent', password='placeholder')
ask = lambda sql: c.cursor().execute(sql).fetchall()
ask('BEGIN')
ask('UPDATE orders SET quantity = quantity + 100000 WHERE id = 1 /* MARKER */')
for n in range(40):
    print(n, ask('SELECT quantity > 100000 AS is_ours FROM orders WHERE id = 1')[0][0], flush=True)
    time.sleep(0.5)
ask('ROLLBACK')
print('before', ask('SELECT quantity > 100000 AS is_ours FROM orders WHERE id = 1')[0][0], flush=True)
c.close()
print('closed', flush=True)
";

fn sidecar(agent: &Agent) -> Value {
    let pod = get(&["pod", "-n", &agent.namespace, &agent.pod]);
    pod["status"]["initContainerStatuses"][0].clone()
}

/// The process of a container, as the node sees it.
fn process(container: &str) -> Option<String> {
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let group = std::fs::read_to_string(entry.path().join("cgroup")).ok()?;
        group.contains(container).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

#[test]
fn a_transaction_goes_on_when_the_sidecar_is_killed() {
    let world = World::new("killed");
    let agent = world.agent(Driver::Python4);
    let script = SCRIPT.replace("MARKER", &world.marker);
    let mut child = agent.start_python(Driver::Python4, &script);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("0 True"));
    let id =
        sidecar(&agent)["containerID"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    // As the kernel kills it: nothing that runs in the pod could.
    let process = process(&id).expect("the node is this machine");
    assert!(Command::new("kill").args(["-9", &process]).status().unwrap().success());
    eventually("the sidecar again", Duration::from_secs(60), || {
        let sidecar = sidecar(&agent);
        let is_back = sidecar["restartCount"] == 1 && sidecar["ready"] == true;
        if is_back { Ok(()) } else { Err(sidecar.to_string()) }
    });
    let rest: Vec<String> = lines.collect();
    let (seen, end) = rest.split_at(rest.len().saturating_sub(2));
    assert!(seen.len() > 20 && seen.iter().all(|line| line.ends_with("True")), "{rest:?}");
    assert_eq!(end, ["before False", "closed"], "the same transaction, taken back");
    assert!(child.wait().unwrap().success());
    assert_eq!(account::statements(&world.marker).len(), 1, "it ran once");

    let evidence = Evidence::of(&world.marker);
    let session = evidence.line(&world.marker)["session"].as_str().unwrap().to_owned();
    let verified = eventually("the last segment", Duration::from_secs(60), || {
        evidence.fetch()?;
        let verified = evidence.verify(&session);
        if verified.ok { Ok(verified.out) } else { Err(verified.out + &verified.err) }
    });
    assert!(verified.contains("intact"), "{verified}");
    let replay = frostgate(&["replay", &evidence.path(), "--session", &session]).out;
    assert!(replay.contains("RECOVERED") && replay.contains("session closed: Logout"), "{replay}");
}
