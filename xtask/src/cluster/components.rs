//! What runs in a cluster, in the order of start, and the words it is started with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::identities::NODE_NAME;
use super::layout::{self, DNS, NODE, PODS, SERVICES};

/// The programs that were built.
pub(crate) struct Binaries {
    pub(crate) kubernetes: PathBuf,
    pub(crate) coredns: PathBuf,
    pub(crate) registry: PathBuf,
    pub(crate) pause: PathBuf,
}

/// One process of the cluster.
pub(crate) struct Component {
    /// Its name in `status` and of its log.
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Component {
    /// The first word after the program, which tells apart what one program holds.
    pub(crate) fn first(&self) -> Option<&str> {
        self.arguments.first().map(String::as_str)
    }
}

/// Every component.
pub(crate) fn all(binaries: &Binaries) -> Vec<Component> {
    let of_kubernetes = |name: &'static str, arguments: Vec<String>| Component {
        name,
        program: binaries.kubernetes.clone(),
        arguments: std::iter::once(name.to_owned()).chain(arguments).collect(),
    };
    vec![
        Component {
            name: "registry",
            program: binaries.registry.clone(),
            arguments: vec!["0.0.0.0:5000".to_owned(), state("registry")],
        },
        Component {
            name: "containerd",
            program: PathBuf::from("/usr/bin/containerd"),
            arguments: vec!["--config".to_owned(), state("containerd.toml")],
        },
        of_kubernetes("etcd", etcd()),
        of_kubernetes("kube-apiserver", apiserver()),
        of_kubernetes("kube-controller-manager", controller_manager()),
        of_kubernetes("kube-scheduler", scheduler()),
        of_kubernetes("kubelet", kubelet()),
        of_kubernetes("kube-proxy", proxy()),
        Component {
            name: "coredns",
            program: binaries.coredns.clone(),
            arguments: vec!["-conf".to_owned(), state("Corefile")],
        },
    ]
}

/// Writes the files that the components read; `sandbox` is the reference of the pause image.
pub(crate) fn configure(sandbox: &str) -> Result<()> {
    let write = |name: &str, text: &str| fs::write(layout::state().join(name), text);
    fs::create_dir_all(layout::state().join("cni"))?;
    fs::create_dir_all(layout::volumes())?;
    fs::set_permissions(layout::volumes(), PermissionsExt::from_mode(0o777))?;

    write("containerd.toml", &containerd(sandbox))?;
    write("cni/10-bridge.conflist", &cni().to_string())?;
    write("kubelet.json", &kubelet_config().to_string())?;
    write("kube-proxy.json", &proxy_config().to_string())?;
    write("audit.json", &audit_policy().to_string())?;
    write("Corefile", &corefile())?;
    // Pods ask the cluster's DNS and nobody else.
    write("resolv.conf", "")?;
    Ok(())
}

fn state(name: &str) -> String {
    layout::state().join(name).display().to_string()
}

fn identity(name: &str) -> String {
    layout::identities().join(name).display().to_string()
}

/// `--key=value` words.
fn flags<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs.into_iter().map(|(key, value)| format!("--{key}={value}")).collect()
}

fn etcd() -> Vec<String> {
    let client = "http://127.0.0.1:2379".to_owned();
    let peer = "http://127.0.0.1:2380".to_owned();
    flags([
        ("data-dir", state("etcd")),
        ("listen-client-urls", client.clone()),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer.clone()),
        ("initial-advertise-peer-urls", peer.clone()),
        ("initial-cluster", format!("default={peer}")),
        // A test cluster does not outlive its machine.
        ("unsafe-no-fsync", "true".to_owned()),
        ("log-level", "warn".to_owned()),
    ])
}

fn apiserver() -> Vec<String> {
    let yes = || "true".to_owned();
    flags([
        ("etcd-servers", "http://127.0.0.1:2379".to_owned()),
        ("advertise-address", NODE.to_owned()),
        ("bind-address", "0.0.0.0".to_owned()),
        ("secure-port", "6443".to_owned()),
        ("tls-cert-file", identity("apiserver.crt")),
        ("tls-private-key-file", identity("apiserver.key")),
        ("client-ca-file", identity("ca.crt")),
        ("service-cluster-ip-range", SERVICES.to_owned()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
        ("service-account-key-file", identity("tokens.pub")),
        ("service-account-signing-key-file", identity("tokens.key")),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("allow-privileged", yes()),
        ("kubelet-client-certificate", identity("apiserver-kubelet.crt")),
        ("kubelet-client-key", identity("apiserver-kubelet.key")),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("audit-log-path", state("logs/audit.log")),
        ("audit-log-maxsize", "100".to_owned()),
        ("audit-policy-file", state("audit.json")),
    ])
}

fn controller_manager() -> Vec<String> {
    flags([
        ("kubeconfig", identity("kube-controller-manager.kubeconfig")),
        ("root-ca-file", identity("ca.crt")),
        ("service-account-private-key-file", identity("tokens.key")),
        ("cluster-signing-cert-file", identity("ca.crt")),
        ("cluster-signing-key-file", identity("ca.key")),
        // The role of the process itself is only enough to fetch one identity per controller.
        ("use-service-account-credentials", "true".to_owned()),
        ("leader-elect", "false".to_owned()),
    ])
}

fn scheduler() -> Vec<String> {
    flags([
        ("kubeconfig", identity("kube-scheduler.kubeconfig")),
        ("leader-elect", "false".to_owned()),
    ])
}

fn kubelet() -> Vec<String> {
    flags([
        ("config", state("kubelet.json")),
        ("kubeconfig", identity("kubelet.kubeconfig")),
        ("root-dir", state("kubelet")),
        ("hostname-override", NODE_NAME.to_owned()),
        ("node-ip", NODE.to_owned()),
    ])
}

fn proxy() -> Vec<String> {
    flags([("config", state("kube-proxy.json"))])
}

fn containerd(sandbox: &str) -> String {
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{sandbox}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{cni}"
"#,
        root = layout::containerd().display(),
        cni = state("cni"),
    )
}

fn cni() -> serde_json::Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni",
                    "ranges": [[{ "subnet": PODS }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

fn kubelet_config() -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": identity("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": state("resolv.conf"),
        "podLogsDir": "/var/log/pods",
        "volumePluginDir": state("plugins"),
        // The machine's own control groups are left as they are.
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        "serializeImagePulls": false,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "0%",
            "nodefs.inodesFree": "0%", "imagefs.available": "0%",
        },
        "eventRecordQPS": 0,
        "nodeStatusUpdateFrequency": "5s",
    })
}

fn proxy_config() -> serde_json::Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": { "kubeconfig": identity("kube-proxy.kubeconfig") },
        "clusterCIDR": PODS,
        "hostnameOverride": NODE_NAME,
        // These are limits of the machine, not of a network namespace.
        "conntrack": {
            "maxPerCore": 0, "min": 0,
            "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
        "iptables": { "minSyncPeriod": "100ms" },
    })
}

/// Who asked for what, without bodies: tests read from it whom an impersonator was.
fn audit_policy() -> serde_json::Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "None", "verbs": ["get", "list", "watch"] },
            { "level": "None", "resources": [
                { "group": "", "resources": ["events"] },
                { "group": "coordination.k8s.io", "resources": ["leases"] },
            ]},
            { "level": "Metadata" },
        ],
    })
}

fn corefile() -> String {
    format!(
        r#".:53 {{
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 1
    }}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"#,
        kubeconfig = identity("coredns.kubeconfig"),
    )
}

/// What the cluster itself needs as objects: rights of two components, DNS and volumes.
pub(crate) fn objects() -> serde_json::Value {
    let mut items = vec![
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": "apiserver-kubelet" },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:kubelet-api-admin",
            },
            "subjects": [{
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "User",
                "name": "apiserver-kubelet",
            }],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": "system:coredns" },
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["endpoints", "services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                },
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": "system:coredns" },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:coredns",
            },
            "subjects": [{
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "User",
                "name": "system:coredns",
            }],
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": "kube-dns", "namespace": "kube-system" },
            "spec": {
                "clusterIP": DNS,
                "ports": [
                    { "name": "dns", "port": 53, "protocol": "UDP" },
                    { "name": "dns-tcp", "port": 53, "protocol": "TCP" },
                ],
            },
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": { "kubernetes.io/service-name": "kube-dns" },
            },
            "addressType": "IPv4",
            "ports": [
                { "name": "dns", "port": 53, "protocol": "UDP" },
                { "name": "dns-tcp", "port": 53, "protocol": "TCP" },
            ],
            "endpoints": [{ "addresses": [NODE], "conditions": { "ready": true } }],
        }),
    ];
    items.extend(VOLUMES.iter().map(|name| volume(name)));
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// There is no provisioner: a few volumes wait for whoever claims one without naming a class.
pub(crate) const VOLUMES: [&str; 4] = ["volume-1", "volume-2", "volume-3", "volume-4"];

fn volume(name: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": name },
        "spec": {
            "capacity": { "storage": "20Gi" },
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": { "path": layout::volumes().join(name), "type": "Directory" },
        },
    })
}
