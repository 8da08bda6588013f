//! Whole pods before and after, and every refusal with the line to change.

use super::*;

const HOST: &str = "myorg-analytics.snowflakecomputing.com";

fn target() -> Target {
    Target { host: HOST.into(), prompts: false }
}

fn sidecar() -> Sidecar {
    Sidecar {
        image: format!("registry.example/frostgate-proxy@sha256:{}", "a".repeat(64)),
        operator_url: "https://frostgate-operator.frostgate-system.svc:8443".into(),
        operator_ca: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".into(),
        resources: json!({"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}),
        spool_bytes: 1 << 30,
    }
}

fn pod(spec: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "agent-", "annotations": {"frostgate.dev/connection": "prod"}},
    });
    pod["spec"] = spec;
    pod
}

fn injected(pod: &Value) -> Value {
    let operations = inject(pod, &sidecar(), &target()).unwrap();
    let mut after = pod.clone();
    json_patch::patch(&mut after, &operations).unwrap();
    after
}

#[test]
fn a_plain_pod_gets_the_sidecar_the_alias_and_the_trust() {
    insta::assert_yaml_snapshot!(injected(&pod(
        json!({"containers": [{"name": "agent", "image": "agent:1"}]})
    )));
}

#[test]
fn a_rich_pod_keeps_everything_of_its_own() {
    insta::assert_yaml_snapshot!(injected(&pod(json!({
        "serviceAccountName": "agent",
        "fieldOfTheFuture": {"kept": true},
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["internal"]}],
        "securityContext": {"runAsUser": 1000, "fsGroup": 2000, "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]},
        "volumes": [{"name": "data", "emptyDir": {}}],
        "initContainers": [{"name": "migrate", "image": "agent:1", "env": [{"name": "A", "value": "b"}]}],
        "containers": [
            {
                "name": "agent", "image": "agent:1",
                "env": [
                    {"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx1g"},
                    {"name": "no_proxy", "value": "example.com"},
                    {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
                ],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["NET_RAW"]}},
            },
            {"name": "helper", "image": "helper:1", "securityContext": {"capabilities": {"drop": ["ALL"]}}},
        ],
    }))));
}

#[test]
fn injecting_twice_changes_nothing_even_after_defaulting() {
    let mut after = injected(&pod(json!({
        "initContainers": [{"name": "migrate", "image": "agent:1"}],
        "containers": [{"name": "agent", "image": "agent:1", "env": [{"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx1g"}]}],
    })));
    after["spec"]["initContainers"][0]["terminationMessagePath"] = json!("/dev/termination-log");
    after["spec"]["initContainers"][0]["livenessProbe"]["httpGet"]["scheme"] = json!("HTTP");
    after["spec"]["volumes"][0]["projected"]["defaultMode"] = json!(420);
    assert_eq!(inject(&after, &sidecar(), &target()), Ok(Vec::new()));
}

#[test]
fn a_container_added_by_a_later_mutator_gets_the_trust_too() {
    let mut after = injected(&pod(json!({"containers": [{"name": "agent", "image": "agent:1"}]})));
    after["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "late", "image": "late:1"}));
    let operations = inject(&after, &sidecar(), &target()).unwrap();
    json_patch::patch(&mut after, &operations).unwrap();
    assert_eq!(after["spec"]["containers"][1]["volumeMounts"][0]["name"], "frostgate-trust");
    assert_eq!(
        after["spec"]["containers"][1]["securityContext"]["allowPrivilegeEscalation"],
        false
    );
    assert_eq!(after["spec"]["initContainers"].as_array().unwrap().len(), 1);
}

#[test]
fn a_set_trust_variable_is_replaced_in_its_place_when_the_pod_says_so() {
    let mut pod = pod(json!({"containers": [{"name": "agent", "image": "agent:1", "env": [
        {"name": "SSL_CERT_FILE", "value": "/etc/corp.pem"}, {"name": "B", "value": "$(SSL_CERT_FILE)"},
    ]}]}));
    pod["metadata"]["annotations"]["frostgate.dev/env-conflict"] = json!("override");
    let after = injected(&pod);
    assert_eq!(
        after["spec"]["containers"][0]["env"][0],
        json!({"name": "SSL_CERT_FILE", "value": "/frostgate/trust/bundle.pem"})
    );
    assert_eq!(after["spec"]["containers"][0]["env"][1]["name"], "B");
}

#[test]
fn every_refusal_names_the_line_to_change() {
    let agent = |extra: Value| {
        let mut container = json!({"name": "agent", "image": "agent:1"});
        for (key, value) in extra.as_object().unwrap() {
            container[key] = value.clone();
        }
        json!({"containers": [container]})
    };
    let with = |mut spec: Value, key: &str, value: Value| {
        spec[key] = value;
        spec
    };
    let plain = || agent(json!({}));
    let cases = [
        ("host network", with(plain(), "hostNetwork", json!(true))),
        ("host pid", with(plain(), "hostPID", json!(true))),
        ("host ipc", with(plain(), "hostIPC", json!(true))),
        ("shared pid", with(plain(), "shareProcessNamespace", json!(true))),
        ("windows", with(plain(), "os", json!({"name": "windows"}))),
        ("host path", with(plain(), "volumes", json!([{"name": "d", "hostPath": {"path": "/"}}]))),
        (
            "alias elsewhere",
            with(plain(), "hostAliases", json!([{"ip": "10.0.0.1", "hostnames": [HOST]}])),
        ),
        ("uid of the pod", with(plain(), "securityContext", json!({"runAsUser": UID}))),
        ("fs group", with(plain(), "securityContext", json!({"fsGroup": UID}))),
        (
            "supplemental group",
            with(plain(), "securityContext", json!({"supplementalGroups": [1, UID]})),
        ),
        (
            "sysctl",
            with(
                plain(),
                "securityContext",
                json!({"sysctls": [{"name": PORT_SYSCTL, "value": "80"}]}),
            ),
        ),
        ("uid", agent(json!({"securityContext": {"runAsUser": UID}}))),
        ("gid", agent(json!({"securityContext": {"runAsGroup": UID}}))),
        ("privileged", agent(json!({"securityContext": {"privileged": true}}))),
        ("escalation", agent(json!({"securityContext": {"allowPrivilegeEscalation": true}}))),
        (
            "capability",
            agent(json!({"securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}})),
        ),
        ("proc mount", agent(json!({"securityContext": {"procMount": "Unmasked"}}))),
        (
            "token mount",
            agent(
                json!({"volumeMounts": [{"name": "frostgate-token", "mountPath": "/t", "readOnly": true}]}),
            ),
        ),
        (
            "writable trust",
            agent(json!({"volumeMounts": [{"name": "frostgate-trust", "mountPath": "/t"}]})),
        ),
        (
            "reserved volume",
            with(plain(), "volumes", json!([{"name": "frostgate-x", "emptyDir": {}}])),
        ),
        (
            "second token",
            with(
                plain(),
                "volumes",
                json!([{"name": "mine", "projected": {"sources": [{"configMap": {"name": "c"}}, {"serviceAccountToken": {"audience": "frostgate", "path": "t"}}]}}]),
            ),
        ),
        ("look-alike container", json!({"containers": [{"name": CONTAINER, "image": "evil"}]})),
        (
            "look-alike init container",
            with(plain(), "initContainers", json!([{"name": CONTAINER, "image": "evil"}])),
        ),
        (
            "own trust",
            agent(json!({"env": [{"name": "REQUESTS_CA_BUNDLE", "value": "/etc/corp.pem"}]})),
        ),
        (
            "own trust by reference",
            agent(
                json!({"env": [{"name": "SSL_CERT_FILE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]}),
            ),
        ),
        (
            "java by reference",
            agent(
                json!({"env": [{"name": "JAVA_TOOL_OPTIONS", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]}),
            ),
        ),
    ];
    let table: Vec<String> = cases
        .into_iter()
        .map(|(case, spec)| {
            let refusals = inject(&pod(spec), &sidecar(), &target()).expect_err(case);
            let listed: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            format!("{case}: {}", listed.join(" | "))
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn an_init_container_put_before_the_sidecar_is_refused() {
    let mut after = injected(&pod(json!({"containers": [{"name": "agent", "image": "agent:1"}]})));
    after["spec"]["initContainers"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"name": "sneaky", "image": "e"}));
    let refusals = inject(&after, &sidecar(), &target()).unwrap_err();
    assert!(
        refusals.iter().any(|refusal| refusal.message.contains("must come first")),
        "{refusals:?}"
    );
}

#[test]
fn model_traffic_is_led_through_the_sidecar_where_the_connection_wants_it() {
    let target = Target { prompts: true, ..target() };
    let before = pod(json!({"containers": [
        {"name": "agent", "image": "agent:1"},
        {"name": "other", "image": "agent:1", "env": [
            {"name": "ANTHROPIC_CUSTOM_HEADERS", "value": "x-team: a"},
            {"name": "CLAUDE_CODE_PROPAGATE_TRACEPARENT", "value": "0"},
        ]},
    ]}));
    let mut after = before.clone();
    json_patch::patch(&mut after, &inject(&before, &sidecar(), &target).unwrap()).unwrap();
    let of = |index: usize, name: &str| {
        let (_, variable) = named(&after["spec"]["containers"][index]["env"], name).unwrap();
        variable["value"].clone()
    };
    assert_eq!(of(0, "ANTHROPIC_BASE_URL"), "http://127.0.0.1:15989");
    assert_eq!(of(0, "ANTHROPIC_CUSTOM_HEADERS"), "x-frostgate-container: agent");
    assert_eq!(of(0, "CLAUDE_CODE_PROPAGATE_TRACEPARENT"), "1");
    assert_eq!(of(1, "ANTHROPIC_BASE_URL"), "http://127.0.0.1:15989");
    assert_eq!(of(1, "ANTHROPIC_CUSTOM_HEADERS"), "x-team: a");
    assert_eq!(of(1, "CLAUDE_CODE_PROPAGATE_TRACEPARENT"), "0");
    assert_eq!(inject(&after, &sidecar(), &target), Ok(Vec::new()));

    // Traffic that goes elsewhere would be missing without anybody noticing.
    let elsewhere = json!({"name": "ANTHROPIC_BASE_URL", "value": "https://gateway.corp"});
    let spec = json!({"containers": [{"name": "agent", "image": "agent:1", "env": [elsewhere]}]});
    let refusals = inject(&pod(spec.clone()), &sidecar(), &target).unwrap_err();
    insta::assert_snapshot!(refusals[0], @"spec.containers[0].env[0]: remove ANTHROPIC_BASE_URL: the connection wants model traffic to pass the sidecar; a gateway of your own belongs into its spec.prompts.upstream, or annotate the pod with frostgate.dev/env-conflict: override");
    let mut overriding = pod(spec);
    overriding["metadata"]["annotations"]["frostgate.dev/env-conflict"] = json!("override");
    let operations = inject(&overriding, &sidecar(), &target).unwrap();
    json_patch::patch(&mut overriding, &operations).unwrap();
    let variable = &overriding["spec"]["containers"][0]["env"][0];
    assert_eq!(variable["value"], "http://127.0.0.1:15989");
}
