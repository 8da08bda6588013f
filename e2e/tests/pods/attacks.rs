//! What an agent in the pod, or a developer with `edit`, tries.

use std::time::Duration;

use e2e::agent::{Driver, image};
use e2e::kubectl::{apply, get, kubectl};
use e2e::world::World;
use e2e::{account, eventually};
use serde_json::{Value, json};

#[test]
fn nothing_in_the_agents_container_logs_in_to_the_account() {
    let world = World::new("secrets");
    let agent = world.agent(Driver::Python5);
    let files = "env; cat /frostgate/trust/*.pem /frostgate/trust/*.crt; ls -R /frostgate /var/run/secrets 2>&1";
    let files = agent.shell(files).out;
    for forbidden in ["PRIVATE KEY", "/frostgate/private", "/frostgate/spool", "secrets/frostgate"]
    {
        assert!(!files.contains(forbidden), "{forbidden}: {files}");
    }
    let path = "jsonpath={.spec.clusterIP}";
    let account = kubectl(&["get", "service", "-n", "snowflake", "warehouse", "-o", path]).out;
    let tried = agent.shell(&format!("/opt/connector5/bin/python /agent/raw.py leaks {account}"));
    let tries: Vec<Value> =
        tried.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(tries.len() >= 7, "{}{}", tried.out, tried.err);
    for attempt in &tries {
        let what = attempt["what"].as_str().unwrap();
        if what != "seen" {
            assert_eq!(attempt["ok"], what.contains("sidecar"), "{attempt}");
        }
    }
    // Whatever the account's sessions live by: none of it in the login's answer, a refusal, a result, a file.
    let seen = format!("{files}{}", tries[0]["text"]);
    let sessions = account::sessions();
    assert!(!sessions.is_empty());
    for session in &sessions {
        for token in ["token", "master_token"] {
            assert!(!seen.contains(session[token].as_str().unwrap()), "{token}: {seen}");
        }
    }
}

#[test]
fn the_sidecars_token_and_volumes_are_out_of_reach() {
    let world = World::new("volumes");
    let mount = |name: &str, path: &str| {
        let mut template = world.template(Driver::Python5, Some("agents/demo"));
        template["metadata"]["labels"]["app"] = json!(format!("mount-{path}"));
        template["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": name, "mountPath": format!("/{path}")}]);
        template
    };
    let pod = |mut template: Value, name: &str| {
        template["apiVersion"] = json!("v1");
        template["kind"] = json!("Pod");
        template["metadata"]["name"] = json!(name);
        template["metadata"]["namespace"] = json!(world.namespace);
        apply(&template.to_string())
    };
    for volume in ["frostgate-token", "frostgate-private", "frostgate-spool"] {
        let answer = pod(mount(volume, "stolen"), "thief");
        assert!(!answer.ok, "{volume} was mounted by the agent");
    }
    // A second token with the operator's audience.
    let mut template = world.template(Driver::Python5, None);
    template["spec"]["volumes"] = json!([{"name": "mine", "projected": {"sources": [
        {"serviceAccountToken": {"audience": "frostgate", "path": "token"}}]}}]);
    assert!(!pod(template, "second-token").ok);
    let words = ["create", "token", "default", "--audience", "frostgate"];
    assert!(!world.kubectl(&words).ok, "even the administrator gets no such token");
    // A container that only looks like ours.
    let mut template = world.template(Driver::Python5, None);
    template["spec"]["initContainers"] = json!([{
        "name": "frostgate-proxy", "image": image("frostgate-proxy"), "restartPolicy": "Always", "command": ["cat", "/t/token"],
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    }]);
    assert!(!pod(template, "look-alike").ok);
    // Shared namespaces.
    for (field, value) in [("shareProcessNamespace", json!(true)), ("hostNetwork", json!(true))] {
        let mut template = world.template(Driver::Python5, Some("agents/demo"));
        template["spec"][field] = value;
        assert!(!pod(template, "shared").ok, "{field}");
    }
}

#[test]
fn nobody_gets_a_shell_in_the_sidecar() {
    let world = World::new("exec");
    let agent = world.agent(Driver::Python5);
    let answer =
        world.kubectl(&["exec", &agent.pod, "-c", "frostgate-proxy", "--", "/frostgate-proxy"]);
    assert!(!answer.ok && answer.err.contains("frostgate-proxy"), "{}", answer.err);
    let answer = world.kubectl(&[
        "debug",
        &agent.pod,
        "--image",
        image("busybox"),
        "--target",
        "frostgate-proxy",
        "--profile=general",
        "--",
        "true",
    ]);
    assert!(!answer.ok, "{}", answer.out);
    let patch = format!(
        r#"{{"spec":{{"initContainers":[{{"name":"frostgate-proxy","image":"{}"}}]}}}}"#,
        image("busybox")
    );
    assert!(!world.kubectl(&["patch", "pod", &agent.pod, "-p", &patch]).ok);
}

#[test]
fn the_ephemeral_user_lives_as_long_as_its_session() {
    let world = World::new("ephemeral");
    let agent = world.agent(Driver::Python5);
    let before: Vec<String> = ephemeral();
    let script = "import snowflake.connector as s, time\n\
                  c = s.connect(account='demo', user='agent', password='placeholder')\n\
                  c.cursor().execute('SELECT 1'); print('up', flush=True); time.sleep(300)\n";
    let mut child = agent.start_python(Driver::Python5, script);
    let name = eventually("the ephemeral user", Duration::from_secs(30), || {
        ephemeral().into_iter().find(|name| !before.contains(name)).ok_or("none".to_owned())
    });
    let login = eventually("its login", Duration::from_secs(30), || {
        account::logins()
            .into_iter()
            .find(|login| login.to_string().contains(&name))
            .ok_or("none".to_owned())
    });
    assert!(login.to_string().contains("JWT"), "a key pair, verified by the account: {login}");
    // The pod vanishes without a word.
    assert!(world.kubectl(&["delete", "pod", &agent.pod, "--force", "--grace-period=0"]).ok);
    eventually("the user's end", Duration::from_secs(60), || {
        (!ephemeral().contains(&name)).then_some(()).ok_or(format!("{name} still exists"))
    });
    let _ = child.kill();
    let _ = child.wait();

    // An ordinary closing drops it as well.
    let agent = e2e::agent::Agent::of_deployment(&world.namespace, "agent");
    assert_eq!(agent.sql("SELECT 1")["ok"], true);
    eventually("the end of the closed session's user", Duration::from_secs(60), || {
        let there: Vec<String> =
            ephemeral().into_iter().filter(|name| !before.contains(name)).collect();
        there.is_empty().then_some(()).ok_or(format!("{there:?}"))
    });
    let pods = get(&["pods", "-n", &world.namespace]);
    assert!(pods["items"].is_array());
}

fn ephemeral() -> Vec<String> {
    let users = account::users();
    users
        .iter()
        .filter_map(|user| user["name"].as_str())
        .filter(|name| name.starts_with("FG_"))
        .map(str::to_owned)
        .collect()
}
