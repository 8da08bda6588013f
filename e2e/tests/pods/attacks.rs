//! What an agent in the pod, or a developer with `edit`, tries.

use std::time::Duration;

use e2e::agent::{Driver, image};
use e2e::kubectl::{apply, get};
use e2e::world::World;
use e2e::{account, eventually};
use serde_json::{Value, json};

#[test]
fn nothing_in_the_agents_container_logs_in_to_the_account() {
    let world = World::new("secrets");
    let agent = world.agent(Driver::Python5);
    // Everything the container can read that looks like a secret, and the login's own answer.
    let script = "import snowflake.connector as s, json, socket, ssl, urllib.request\n\
                  c = s.connect(account='demo', user='agent', password='placeholder')\n\
                  cur = c.cursor(); cur.execute('SELECT count(*) FROM customers')\n\
                  print('done')\n";
    let ran = agent.shell(&format!("/opt/connector5/bin/python -c \"{script}\""));
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    let env = agent.shell("env; cat /frostgate/trust/* 2>/dev/null | strings 2>/dev/null | head -c 0; ls -R /frostgate /var/run/secrets 2>&1");
    for forbidden in ["PRIVATE KEY", "eyJ", "/frostgate/private", "/frostgate/spool", "secrets/frostgate"] {
        assert!(!env.out.contains(forbidden), "{forbidden}: {}", env.out);
    }
    // The opaque token of a login, used at the account itself.
    let login = "curl -s --cacert /frostgate/trust/bundle.pem -H 'content-type: application/json' \
                 -d '{\"data\":{\"ACCOUNT_NAME\":\"demo\",\"LOGIN_NAME\":\"a\",\"PASSWORD\":\"b\",\"CLIENT_APP_ID\":\"PythonConnector\",\
                 \"CLIENT_APP_VERSION\":\"4.0.0\",\"SESSION_PARAMETERS\":{},\"CLIENT_ENVIRONMENT\":{}}}' \
                 https://demo.snowflakecomputing.com/session/v1/login-request";
    let reply = agent.shell(login);
    let body: Value = serde_json::from_str(&reply.out).unwrap_or_else(|_| panic!("{}{}", reply.out, reply.err));
    assert_eq!(body["success"], true, "{body}");
    let token = body["data"]["token"].as_str().unwrap();
    let direct = e2e::kubectl::kubectl(&["get", "service", "-n", "snowflake", "warehouse", "-o", "jsonpath={.spec.clusterIP}"]).out;
    let query = format!(
        "curl -sk --resolve demo.snowflakecomputing.com:8443:{direct} -H 'Authorization: Snowflake Token=\"{token}\"' \
         -H 'content-type: application/json' -d '{{\"sqlText\":\"SELECT 1\"}}' \
         'https://demo.snowflakecomputing.com:8443/queries/v1/query-request?requestId=8b7b1d5c-6c0e-4f33-8d84-3f1c8f1d2a11'"
    );
    let reply = agent.shell(&query);
    assert!(!reply.out.contains("\"success\":true") && !reply.out.contains("\"success\": true"), "{}", reply.out);
}

#[test]
fn the_sidecars_token_and_volumes_are_out_of_reach() {
    let world = World::new("volumes");
    let mount = |name: &str, path: &str| {
        let mut template = world.template(Driver::Python5, Some("agents/demo"));
        template["metadata"]["labels"]["app"] = json!(format!("mount-{path}"));
        template["spec"]["containers"][0]["volumeMounts"] = json!([{"name": name, "mountPath": format!("/{path}")}]);
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
        "name": "frostgate-proxy", "image": image("proxy"), "restartPolicy": "Always", "command": ["cat", "/t/token"],
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
    let answer = world.kubectl(&["exec", &agent.pod, "-c", "frostgate-proxy", "--", "/frostgate-proxy"]);
    assert!(!answer.ok && answer.err.contains("frostgate-proxy"), "{}", answer.err);
    let answer = world.kubectl(&["debug", &agent.pod, "--image", image("busybox"), "--target", "frostgate-proxy", "--profile=general", "--", "true"]);
    assert!(!answer.ok, "{}", answer.out);
    let patch = format!(r#"{{"spec":{{"initContainers":[{{"name":"frostgate-proxy","image":"{}"}}]}}}}"#, image("busybox"));
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
    let mut child = std::process::Command::new("kubectl")
        .args(["exec", "-n", &agent.namespace, &agent.pod, "-c", "agent", "--", "/opt/connector5/bin/python", "-c", script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let name = eventually("the ephemeral user", Duration::from_secs(30), || {
        ephemeral().into_iter().find(|name| !before.contains(name)).ok_or("none".to_owned())
    });
    let login = eventually("its login", Duration::from_secs(30), || {
        account::logins().into_iter().find(|login| login.to_string().contains(&name)).ok_or("none".to_owned())
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
        let there: Vec<String> = ephemeral().into_iter().filter(|name| !before.contains(name)).collect();
        there.is_empty().then_some(()).ok_or(format!("{there:?}"))
    });
    let pods = get(&["pods", "-n", &world.namespace]);
    assert!(pods["items"].is_array());
}

fn ephemeral() -> Vec<String> {
    let users = account::users();
    users.iter().filter_map(|user| user["name"].as_str()).filter(|name| name.starts_with("FG_")).map(str::to_owned).collect()
}
