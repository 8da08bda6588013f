//! Pod surgery: a pod and the sidecar it shall have, to the JSON patch that gives it, or to every reason why not.
//!
//! Pure. Works on the raw JSON with explicit `add` operations: decoding a typed Pod and comparing would drop every
//! field that is newer than the client library. Running it on its own result changes nothing, since the API server
//! calls injectors again after other mutators.

use crds::annotations;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation};
use serde_json::{Value, json};

/// Name of the container.
pub const CONTAINER: &str = "frostgate-proxy";
/// User and group of the container; no other container may have them.
pub const UID: i64 = 64535;
/// Port of probes and metrics.
pub const ADMIN_PORT: u16 = 15990;

/// Where the sidecar finds its token.
const TOKEN_PATH: &str = "/var/run/secrets/frostgate";
/// Where the application finds the roots it must trust.
const TRUST_PATH: &str = "/frostgate/trust";
const PRIVATE_PATH: &str = "/frostgate/private";
const SPOOL_PATH: &str = "/frostgate/spool";
/// Everything of ours in a pod begins so, and nothing else may.
const RESERVED: &str = "frostgate-";
const PORT_SYSCTL: &str = "net.ipv4.ip_unprivileged_port_start";
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// A trust store for the JVM has a password by convention, not for protection.
const JAVA_OPTIONS: &str = "-Djavax.net.ssl.trustStore=/frostgate/trust/truststore.p12 \
     -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=changeit";

/// What every injected pod of this cluster gets alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// Image by digest.
    pub image: String,
    /// Where the sidecar reaches the operator.
    pub operator_url: String,
    /// PEM roots that vouch for the operator.
    pub operator_ca: String,
    /// Requests and limits, as a container has them.
    pub resources: Value,
    /// Size of the spool volume. The sidecar is told, and stops well below: the kubelet evicts a pod that fills it.
    pub spool_bytes: u64,
}

/// One reason why a pod cannot be injected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Refusal {
    /// The field, such as `spec.containers[0].securityContext.privileged`.
    pub path: String,
    /// What to change.
    pub message: String,
}

/// What a pod is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The account's host.
    pub host: String,
    /// Whether the agent's model traffic goes through the sidecar too.
    pub prompts: bool,
}

/// The patch that gives `pod` the sidecar for its target.
///
/// # Errors
/// Every field that stands in the way, with what to change.
pub fn inject(
    pod: &Value,
    sidecar: &Sidecar,
    target: &Target,
) -> Result<Vec<PatchOperation>, Vec<Refusal>> {
    let host = target.host.as_str();
    let container = container(sidecar, host);
    let mut refusals = Refusals::default();
    refusals.of_pod(pod, host);
    refusals.of_names(pod, &container, &volumes(sidecar));
    let mut surgery = Surgery::new(pod);
    surgery.volumes(volumes(sidecar));
    surgery.first_init_container(container);
    for (path, container) in others(pod) {
        refusals.of_container(&path, container);
        surgery.other_container(&path, container, target, &mut refusals);
    }
    surgery.pod(host);
    if refusals.0.is_empty() { Ok(surgery.operations) } else { Err(refusals.0) }
}

/// The whole container, as the admission policy of the chart compares it.
fn container(sidecar: &Sidecar, host: &str) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    json!({
        "name": CONTAINER,
        "image": sidecar.image,
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "args": ["run"],
        "env": [
            {"name": "FROSTGATE_OPERATOR_URL", "value": sidecar.operator_url},
            {"name": "FROSTGATE_OPERATOR_CA", "value": sidecar.operator_ca},
            {"name": "FROSTGATE_HOST", "value": host},
            {"name": "FROSTGATE_CAPTURE", "value": "Hosts"},
            {"name": "FROSTGATE_SPOOL_BYTES", "value": sidecar.spool_bytes.to_string()},
            field("FROSTGATE_POD_NAMESPACE", "metadata.namespace"),
            field("FROSTGATE_POD_NAME", "metadata.name"),
            field("FROSTGATE_POD_UID", "metadata.uid"),
        ],
        // A name of at most 15 characters, for PodMonitors.
        "ports": [{"name": "frostgate-admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
        // Without it the application starts as soon as the process exists, before it can trust or reach anything.
        "startupProbe": {
            "httpGet": {"path": "/readyz", "port": ADMIN_PORT},
            "periodSeconds": 1, "failureThreshold": 120,
        },
        "livenessProbe": {
            "httpGet": {"path": "/livez", "port": ADMIN_PORT},
            "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3,
        },
        "resources": sidecar.resources,
        "securityContext": {
            "runAsUser": UID, "runAsGroup": UID, "runAsNonRoot": true,
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "frostgate-token", "mountPath": TOKEN_PATH, "readOnly": true},
            {"name": "frostgate-trust", "mountPath": TRUST_PATH},
            {"name": "frostgate-private", "mountPath": PRIVATE_PATH},
            {"name": "frostgate-spool", "mountPath": SPOOL_PATH},
        ],
    })
}

fn volumes(sidecar: &Sidecar) -> Vec<Value> {
    vec![
        json!({"name": "frostgate-token", "projected": {"sources": [
            {"serviceAccountToken": {
                "audience": control::AUDIENCE, "expirationSeconds": 600, "path": "token"
            }},
        ]}}),
        json!({"name": "frostgate-trust", "emptyDir": {"sizeLimit": "8Mi"}}),
        // Memory: the key of the pod's CA must survive a restart of the sidecar, and never reach a disk.
        json!({"name": "frostgate-private", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}),
        json!({"name": "frostgate-spool", "emptyDir": {"sizeLimit": sidecar.spool_bytes.to_string()}}),
    ]
}

/// Every container but the sidecar, with its JSON pointer.
fn others(pod: &Value) -> Vec<(String, &Value)> {
    ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| {
            items(&pod["spec"][list])
                .iter()
                .enumerate()
                .map(move |(index, container)| (format!("/spec/{list}/{index}"), container))
        })
        .filter(|(_, container)| container["name"] != CONTAINER)
        .collect()
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn named<'a>(list: &'a Value, name: &str) -> Option<(usize, &'a Value)> {
    items(list).iter().enumerate().find(|(_, item)| item["name"] == name)
}

/// Everything we asked for is there; defaulting and other mutators may have added more.
fn superset(have: &Value, want: &Value) -> bool {
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => {
            want.iter().all(|(key, want)| have.get(key).is_some_and(|have| superset(have, want)))
        }
        (Value::Array(have), Value::Array(want)) => {
            want.iter().all(|want| have.iter().any(|have| superset(have, want)))
        }
        _ => have == want,
    }
}

// === impl Refusals ===

#[derive(Default)]
struct Refusals(Vec<Refusal>);

impl Refusals {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Refusal { path: path.into(), message: message.into() });
    }

    fn of_pod(&mut self, pod: &Value, host: &str) {
        let spec = &pod["spec"];
        for field in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
            if spec[field] == true {
                let path = format!("spec.{field}");
                self.add(path, "remove it: an application next to the sidecar may not share it");
            }
        }
        if spec["os"]["name"] == "windows" {
            self.add("spec.os.name", "the sidecar runs on Linux only");
        }
        for (index, volume) in items(&spec["volumes"]).iter().enumerate() {
            if !volume["hostPath"].is_null() {
                self.add(
                    format!("spec.volumes[{index}].hostPath"),
                    "use another kind of volume: the node's files hold the tokens of all its pods",
                );
            }
        }
        for (index, alias) in items(&spec["hostAliases"]).iter().enumerate() {
            let ours = alias["ip"] == "127.0.0.1";
            if !ours && items(&alias["hostnames"]).iter().any(|name| name == host) {
                self.add(
                    format!("spec.hostAliases[{index}]"),
                    format!("remove {host}: that name must lead to the sidecar"),
                );
            }
        }
        let context = &spec["securityContext"];
        for field in ["runAsUser", "runAsGroup", "fsGroup"] {
            if context[field] == UID {
                self.add(
                    format!("spec.securityContext.{field}"),
                    format!("choose another: {UID} belongs to the sidecar"),
                );
            }
        }
        if items(&context["supplementalGroups"]).iter().any(|group| group == UID) {
            self.add(
                "spec.securityContext.supplementalGroups",
                format!("remove {UID}: it belongs to the sidecar"),
            );
        }
        if let Some((index, sysctl)) = named(&context["sysctls"], PORT_SYSCTL)
            && sysctl["value"] != "0"
        {
            self.add(
                format!("spec.securityContext.sysctls[{index}]"),
                "remove it: the sidecar needs the value 0 to listen on port 443 without privilege",
            );
        }
    }

    /// What looks like ours must be ours.
    fn of_names(&mut self, pod: &Value, container: &Value, volumes: &[Value]) {
        let spec = &pod["spec"];
        if let Some((index, _)) = named(&spec["containers"], CONTAINER) {
            self.add(
                format!("spec.containers[{index}].name"),
                format!("choose another: {CONTAINER} is reserved"),
            );
        }
        match named(&spec["initContainers"], CONTAINER) {
            Some((0, have)) if superset(have, container) => {}
            Some((0, _)) => self.add(
                "spec.initContainers[0]",
                format!("remove it: {CONTAINER} is reserved and injected by the operator"),
            ),
            Some((index, _)) => self.add(
                format!("spec.initContainers[{index}]"),
                format!("{CONTAINER} must come first, or the containers before it bypass it"),
            ),
            None => {}
        }
        for (index, volume) in items(&spec["volumes"]).iter().enumerate() {
            let name = volume["name"].as_str().unwrap_or_default();
            let ours = volumes.iter().any(|want| superset(volume, want));
            if name.starts_with(RESERVED) && !ours {
                self.add(
                    format!("spec.volumes[{index}].name"),
                    format!("choose another: names that begin with {RESERVED} are reserved"),
                );
            }
            if !ours
                && items(&volume["projected"]["sources"])
                    .iter()
                    .any(|source| source["serviceAccountToken"]["audience"] == control::AUDIENCE)
            {
                self.add(
                    format!("spec.volumes[{index}].projected"),
                    format!(
                        "remove the token for audience {}: only the sidecar holds one",
                        control::AUDIENCE
                    ),
                );
            }
        }
    }

    fn of_container(&mut self, pointer: &str, container: &Value) {
        let path = dotted(pointer);
        let context = &container["securityContext"];
        let field = |field: &str| format!("{path}.securityContext.{field}");
        if context["privileged"] == true {
            self.add(
                field("privileged"),
                "remove it: a privileged container can enter the sidecar",
            );
        }
        if context["allowPrivilegeEscalation"] == true {
            self.add(field("allowPrivilegeEscalation"), "remove it or set it to false");
        }
        if !items(&context["capabilities"]["add"]).is_empty() {
            self.add(field("capabilities.add"), "remove it: no added capability is allowed");
        }
        for name in ["runAsUser", "runAsGroup"] {
            if context[name] == UID {
                self.add(field(name), format!("choose another: {UID} belongs to the sidecar"));
            }
        }
        if !context["procMount"].is_null() && context["procMount"] != "Default" {
            self.add(field("procMount"), "remove it");
        }
        for (index, mount) in items(&container["volumeMounts"]).iter().enumerate() {
            let name = mount["name"].as_str().unwrap_or_default();
            let trust = name == "frostgate-trust" && mount["readOnly"] == true;
            if name.starts_with(RESERVED) && !trust {
                self.add(
                    format!("{path}.volumeMounts[{index}]"),
                    format!("remove it: {name} belongs to the sidecar"),
                );
            }
        }
    }
}

/// `/spec/containers/0` as people read it: `spec.containers[0]`.
fn dotted(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, part| {
        if part.parse::<usize>().is_ok() {
            format!("{path}[{part}]")
        } else if path.is_empty() {
            part.to_owned()
        } else {
            format!("{path}.{part}")
        }
    })
}

// === impl Surgery ===

/// The pod as it becomes, and the operations that make it so.
struct Surgery {
    pod: Value,
    operations: Vec<PatchOperation>,
}

impl Surgery {
    fn new(pod: &Value) -> Self {
        Self { pod: pod.clone(), operations: Vec::new() }
    }

    /// Adds `value` at a JSON pointer, making empty parents of the kind that `path` needs.
    fn add(&mut self, path: &str, value: Value) {
        if let Some((parent, key)) = path.rsplit_once('/')
            && !parent.is_empty()
            && self.pod.pointer(parent).is_none_or(Value::is_null)
        {
            let list = key == "-" || key.parse::<usize>().is_ok();
            self.add(parent, if list { json!([]) } else { json!({}) });
        }
        let Ok(path) = PointerBuf::parse(path) else { return };
        let operation = PatchOperation::Add(AddOperation { path, value });
        // An operation that does not fit the pod would be refused by the API server as a whole; it can only come
        // from a pod whose lists are no lists, which the API server has refused before.
        if json_patch::patch(&mut self.pod, std::slice::from_ref(&operation)).is_ok() {
            self.operations.push(operation);
        }
    }

    fn volumes(&mut self, volumes: Vec<Value>) {
        for volume in volumes {
            let name = volume["name"].as_str().unwrap_or_default();
            if named(&self.pod["spec"]["volumes"], name).is_none() {
                self.add("/spec/volumes/-", volume);
            }
        }
    }

    fn first_init_container(&mut self, container: Value) {
        if named(&self.pod["spec"]["initContainers"], CONTAINER).is_none() {
            self.add("/spec/initContainers/0", container);
        }
    }

    /// Trust, and nothing to climb with.
    fn other_container(
        &mut self,
        pointer: &str,
        container: &Value,
        target: &Target,
        refusals: &mut Refusals,
    ) {
        let path = dotted(pointer);
        // The sidecar was put first since `pointer` was taken.
        let pointer = &match pointer.strip_prefix("/spec/initContainers/").map(str::parse::<usize>)
        {
            Some(Ok(index)) if self.shifted() => format!("/spec/initContainers/{}", index + 1),
            _ => pointer.to_owned(),
        };
        if named(&container["volumeMounts"], "frostgate-trust").is_none() {
            self.add(
                &format!("{pointer}/volumeMounts/-"),
                json!({"name": "frostgate-trust", "mountPath": TRUST_PATH, "readOnly": true}),
            );
        }
        let context = &container["securityContext"];
        if context["allowPrivilegeEscalation"].is_null() {
            self.add(&format!("{pointer}/securityContext/allowPrivilegeEscalation"), json!(false));
        }
        if !items(&context["capabilities"]["drop"]).iter().any(|dropped| dropped == "ALL") {
            self.add(&format!("{pointer}/securityContext/capabilities/drop/-"), json!("ALL"));
        }
        self.environment(pointer, &path, container, target, refusals);
    }

    /// Whether the sidecar was inserted by this surgery, so that the pod's own init containers moved by one.
    fn shifted(&self) -> bool {
        self.operations.iter().any(|operation| {
            matches!(operation, PatchOperation::Add(add) if add.path.as_str() == "/spec/initContainers/0")
        })
    }

    fn environment(
        &mut self,
        pointer: &str,
        path: &str,
        container: &Value,
        target: &Target,
        refusals: &mut Refusals,
    ) {
        let may_override =
            self.pod["metadata"]["annotations"][annotations::ENV_CONFLICT] == "override";
        let trusts = "the application must trust the sidecar's certificate";
        let set = [
            ("REQUESTS_CA_BUNDLE", "/frostgate/trust/bundle.pem".to_owned(), trusts),
            ("SSL_CERT_FILE", "/frostgate/trust/bundle.pem".to_owned(), trusts),
            ("NODE_EXTRA_CA_CERTS", "/frostgate/trust/ca.crt".to_owned(), trusts),
        ];
        let model = (
            "ANTHROPIC_BASE_URL",
            format!("http://127.0.0.1:{}", control::PROMPT_PORT),
            "the connection wants model traffic to pass the sidecar; a gateway of your own belongs into its \
             spec.prompts.upstream",
        );
        for (name, value, why) in set.into_iter().chain(target.prompts.then_some(model)) {
            let wanted = json!({"name": name, "value": value});
            match named(&container["env"], name) {
                None => self.add(&format!("{pointer}/env/-"), wanted),
                Some((_, have)) if have["value"] == value => {}
                Some((index, _)) if may_override => self.replace_item(pointer, index, wanted),
                Some((index, _)) => refusals.add(
                    format!("{path}.env[{index}]"),
                    format!(
                        "remove {name}: {why}, or annotate the pod with {}: override",
                        annotations::ENV_CONFLICT
                    ),
                ),
            }
        }
        if target.prompts {
            self.conversation(pointer, container);
        }
        let proxies = format!("{},127.0.0.1,localhost", target.host);
        let appended = [
            ("JAVA_TOOL_OPTIONS", JAVA_OPTIONS, " "),
            ("NO_PROXY", &proxies, ","),
            ("no_proxy", &proxies, ","),
        ];
        for (name, ours, separator) in appended {
            match named(&container["env"], name) {
                // `no_proxy` beats `NO_PROXY` where both are set, so it is only touched where it is set.
                None if name == "no_proxy" => {}
                None => self.add(&format!("{pointer}/env/-"), json!({"name": name, "value": ours})),
                Some((index, have)) if have["valueFrom"].is_object() => {
                    if may_override {
                        self.replace_item(pointer, index, json!({"name": name, "value": ours}));
                    } else {
                        refusals.add(
                            format!("{path}.env[{index}].valueFrom"),
                            format!(
                                "write the value of {name} out, so that the sidecar's part can be \
                                 appended, or annotate the pod with {}: override",
                                annotations::ENV_CONFLICT
                            ),
                        );
                    }
                }
                Some((index, have)) => {
                    let theirs = have["value"].as_str().unwrap_or_default();
                    if !theirs.contains(ours) {
                        let value = if theirs.is_empty() {
                            ours.to_owned()
                        } else {
                            format!("{theirs}{separator}{ours}")
                        };
                        self.replace_item(pointer, index, json!({"name": name, "value": value}));
                    }
                }
            }
        }
    }

    /// What makes model traffic tell more about itself: whose it is, and in which trace. Only help, so what is set
    /// stays.
    fn conversation(&mut self, pointer: &str, container: &Value) {
        let name = container["name"].as_str().unwrap_or_default();
        let helpful = [
            ("ANTHROPIC_CUSTOM_HEADERS", format!("x-frostgate-container: {name}")),
            // Claude Code makes traces only where its telemetry has somewhere to go; then model and shell hear of them.
            ("CLAUDE_CODE_PROPAGATE_TRACEPARENT", "1".to_owned()),
        ];
        for (name, value) in helpful {
            if named(&container["env"], name).is_none() {
                self.add(&format!("{pointer}/env/-"), json!({"name": name, "value": value}));
            }
        }
    }

    /// Puts `value` in the place of an environment variable, so that those which refer to it still come after it.
    fn replace_item(&mut self, pointer: &str, index: usize, value: Value) {
        let Ok(path) = PointerBuf::parse(format!("{pointer}/env/{index}")) else { return };
        let operation = PatchOperation::Replace(json_patch::ReplaceOperation { path, value });
        if json_patch::patch(&mut self.pod, std::slice::from_ref(&operation)).is_ok() {
            self.operations.push(operation);
        }
    }

    fn pod(&mut self, host: &str) {
        let aliased = items(&self.pod["spec"]["hostAliases"]).iter().any(|alias| {
            alias["ip"] == "127.0.0.1" && items(&alias["hostnames"]).iter().any(|name| name == host)
        });
        if !aliased {
            self.add("/spec/hostAliases/-", json!({"ip": "127.0.0.1", "hostnames": [host]}));
        }
        if named(&self.pod["spec"]["securityContext"]["sysctls"], PORT_SYSCTL).is_none() {
            self.add("/spec/securityContext/sysctls/-", json!({"name": PORT_SYSCTL, "value": "0"}));
        }
        self.tag("annotations", annotations::INJECTED, env!("CARGO_PKG_VERSION"));
        self.tag("labels", annotations::PROXIED, "true");
        // Before us `kubectl exec` and `logs` went to the first container, and so they shall.
        let first = self.pod["spec"]["containers"][0]["name"].as_str().map(str::to_owned);
        if let Some(first) = first
            && self.pod["metadata"]["annotations"][DEFAULT_CONTAINER].is_null()
        {
            self.tag("annotations", DEFAULT_CONTAINER, &first);
        }
    }

    fn tag(&mut self, kind: &str, key: &str, value: &str) {
        if self.pod["metadata"][kind][key] != value {
            let key = key.replace('~', "~0").replace('/', "~1");
            self.add(&format!("/metadata/{kind}/{key}"), json!(value));
        }
    }
}

#[cfg(test)]
mod tests;
