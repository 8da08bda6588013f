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
    // Everything the container can read that looks like a secret, and the login's own answer.
    let script = "import snowflake.connector as s\n\
                  c = s.connect(account='demo', user='agent', password='placeholder')\n\
                  cur = c.cursor(); cur.execute('SELECT count(*) FROM customers')\n\
                  print('done')\n";
    let ran = agent.shell(&format!("/opt/connector5/bin/python -c \"{script}\""));
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    let env = agent.shell("env; cat /frostgate/trust/*.pem /frostgate/trust/*.crt; ls -R /frostgate /var/run/secrets 2>&1");
    for forbidden in ["PRIVATE KEY", "/frostgate/private", "/frostgate/spool", "secrets/frostgate"]
    {
        assert!(!env.out.contains(forbidden), "{forbidden}: {}", env.out);
    }
    // The opaque token of a login, used at the account itself.
    let direct = kubectl(&[
        "get",
        "service",
        "-n",
        "snowflake",
        "warehouse",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ])
    .out;
    let reply = agent
        .shell(&format!("/opt/connector5/bin/python - <<'END'\n{REPLAY}\nreplay('{direct}')\nEND"));
    let replies: Vec<Value> =
        reply.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(replies.len(), 2, "{}{}", reply.out, reply.err);
    assert_eq!(replies[0]["success"], true, "at the sidecar the token works: {}", replies[0]);
    assert_eq!(replies[1]["success"], false, "at the account it does not: {}", replies[1]);
}

/// Logs in at the sidecar and uses its token there, then at the account's own address.
const REPLAY: &str = r#"
import json, socket, ssl, uuid
HOST = 'demo.snowflakecomputing.com'

def post(address, path, body, token=None, context=None):
    body = json.dumps(body).encode()
    lines = [f'POST {path} HTTP/1.1', f'Host: {HOST}', 'Content-Type: application/json', 'Accept: application/json',
             f'Content-Length: {len(body)}', 'Connection: close']
    if token:
        lines.append(f'Authorization: Snowflake Token="{token}"')
    with socket.create_connection((address, 443), timeout=30) as raw, context.wrap_socket(raw, server_hostname=HOST) as tls:
        tls.sendall(('\r\n'.join(lines) + '\r\n\r\n').encode() + body)
        answer = b''
        while part := tls.recv(65536):
            answer += part
    text = answer.split(b'\r\n\r\n', 1)[1].decode(errors='replace')
    start, end = text.find('{'), text.rfind('}')
    return json.loads(text[start:end + 1]) if start >= 0 else {'success': False, 'text': text}

def replay(account):
    ours = ssl.create_default_context(cafile='/frostgate/trust/bundle.pem')
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    login = {'data': {'ACCOUNT_NAME': 'demo', 'LOGIN_NAME': 'a', 'PASSWORD': 'b', 'CLIENT_APP_ID': 'PythonConnector',
                      'CLIENT_APP_VERSION': '4.8.1', 'SESSION_PARAMETERS': {}, 'CLIENT_ENVIRONMENT': {}}}
    token = post('127.0.0.1', '/session/v1/login-request', login, context=ours)['data']['token']
    for address, context in (('127.0.0.1', ours), (account, anyone)):
        path = f'/queries/v1/query-request?requestId={uuid.uuid4()}'
        reply = post(address, path, {'sqlText': 'SELECT 1', 'sequenceId': 1}, token, context)
        print(json.dumps({'success': bool(reply.get('success')), 'code': reply.get('code')}), flush=True)
"#;

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
    let mut child = agent.start_python(script);
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
