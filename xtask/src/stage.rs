//! The stage of the end-to-end tests and of the demonstration: a cluster, images, the product, a stand-in account
//! and an OpenID provider.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use crate::demo::account::{Account, CHUNK_HOST, HOST};
use crate::image::{self, Name, product};
use crate::process;
use crate::progress::{say, wait};
use crate::target::{self, LABEL, Proxy, Target};
use crate::workspace;

/// The issuer, as its tokens name it.
const ISSUER: &str = "https://idp.idp.svc";

/// What stands.
pub(crate) struct Stage {
    /// Where.
    pub(crate) target: Target,
    /// References of images by name.
    pub(crate) images: BTreeMap<String, String>,
    /// The tests' own listener of the account.
    pub(crate) account: String,
    /// `kubectl frostgate`, built.
    pub(crate) frostgate: PathBuf,
    /// Describes the stage to the tests, for as long as this is held.
    pub(crate) file: PathBuf,
    proxy: Proxy,
}

/// Sets the stage; what stands already is brought up to date.
pub(crate) fn set(arguments: &target::Arguments, names: &[Name]) -> Result<Stage> {
    let target = Target::up(arguments)?;
    say("building images");
    let images: BTreeMap<String, String> =
        image::publish(&target.registry, names)?.into_iter().collect();

    let keys = target.state.join("stage");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&keys)?;
    let account = Account::create(&keys)?;
    say("starting the stand-in account");
    target.apply(&account_objects(&account, reference(&images, "warehouse")?)?)?;
    let identity = match images.get("idp") {
        Some(image) => {
            say("starting the OpenID provider");
            let (objects, ca) = idp_objects(image)?;
            target.apply(&objects)?;
            issuer(&ca)
        }
        None => String::new(),
    };
    let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let objects = [
        namespace("agents", &restricted),
        namespace("frostgate-system", &json!({})),
        account.secret("agents")?,
    ];
    target.apply(&objects.join("\n---\n"))?;
    product(&target, &images)?;
    for (namespace, name) in [("snowflake", "warehouse"), ("idp", "idp")] {
        if images.contains_key(name) {
            target.rollout(namespace, name)?;
        }
    }
    say("telling Frostgate about the account");
    let connection = account.connection(address(&target)?, &identity)?.replace(
        "  allowedRoles:",
        "  allowedWorkloads: {namespaces: {from: All}}\n  allowedRoles:",
    );
    let policy = fs::read_to_string(workspace::root().join("e2e/demo/policy.yaml"))?;
    target.apply(&[connection, policy].join("\n---\n"))?;
    wait("the connection", Duration::from_secs(90), || {
        let words = [
            "get",
            "snowflakeconnection",
            "-n",
            "agents",
            "demo",
            "-o",
            "jsonpath={.status.conditions[?(@.type==\"Ready\")]}",
        ];
        let ready = target.kubectl(&words)?;
        Ok((!ready.contains("\"status\":\"True\"")).then_some(ready))
    })?;
    described(target, images)
}

/// The stage as it was left.
pub(crate) fn again(arguments: &target::Arguments) -> Result<Stage> {
    let target = Target::of(arguments)?;
    let path = description(&target);
    let text = fs::read(&path)
        .with_context(|| format!("{}: set the stage first, without --again", path.display()))?;
    let value: Value = serde_json::from_slice(&text)?;
    described(target, serde_json::from_value(value["images"].clone())?)
}

/// Opens the way to what runs in pods, and tells the tests about everything.
fn described(target: Target, images: BTreeMap<String, String>) -> Result<Stage> {
    let proxy = target.proxy()?;
    let stage = Stage {
        account: format!("{}/snowflake/services/http:warehouse:9443/proxy", proxy.address),
        frostgate: product::program("kubectl-frostgate")?,
        file: description(&target),
        target,
        images,
        proxy,
    };
    let description = json!({
        "images": stage.images,
        "account": stage.account,
        "namespaces": stage.proxy.address,
        "frostgate": stage.frostgate,
        "humans": stage.target.humans(),
    });
    fs::write(&stage.file, serde_json::to_vec_pretty(&description)?)?;
    Ok(stage)
}

fn description(target: &Target) -> PathBuf {
    target.state.join("stage.json")
}

/// Where the account answers inside the cluster: the sidecar and the operator get it with the connection, since the
/// account's name is in no DNS.
fn address(target: &Target) -> Result<SocketAddr> {
    let path = "jsonpath={.spec.clusterIP}";
    let text = target.kubectl(&["get", "service", "-n", "snowflake", "warehouse", "-o", path])?;
    let ip: IpAddr =
        text.trim().parse().with_context(|| format!("the Service's address {text}"))?;
    Ok((ip, 443).into())
}

/// Installs the chart with the images of this checkout.
fn product(target: &Target, images: &BTreeMap<String, String>) -> Result<()> {
    say("installing the chart");
    let chart = workspace::root().join("charts/frostgate");
    // Helm installs definitions and never renews them.
    process::read(
        target
            .kubectl_command()
            .args(["apply", "--server-side", "--force-conflicts", "-f"])
            .arg(chart.join("crds")),
    )?;
    let set = [
        "connectionSecrets[0].namespace=agents".to_owned(),
        "connectionSecrets[0].name=demo-provisioner".to_owned(),
        // The account's pod, the way a NetworkPolicy sees it: behind its Service.
        "networkPolicy.egressPorts={443,6443,8443}".to_owned(),
        format!("image.operator={}", reference(images, "frostgate-operator")?),
        format!("image.proxy={}", reference(images, "frostgate-proxy")?),
    ];
    let installed = process::read(
        target
            .helm_command()?
            .args(["upgrade", "--install", "frostgate"])
            .arg(chart)
            .args(["--namespace", "frostgate-system", "--wait", "--timeout", "180s"])
            .args(set.iter().flat_map(|value| ["--set", value.as_str()])),
    );
    installed.map(drop).with_context(|| target.waiting("frostgate-system"))
}

fn reference<'a>(images: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str> {
    images.get(name).map(String::as_str).with_context(|| format!("no image {name} was built"))
}

fn account_objects(account: &Account, image: &str) -> Result<String> {
    let files = json!({
        "tls.crt": fs::read_to_string(&account.certificate)?,
        "tls.key": fs::read_to_string(&account.key)?,
        "provisioner.pub": fs::read_to_string(&account.provisioner_public)?,
    });
    let args = [
        "--host",
        HOST,
        "--chunk-host",
        CHUNK_HOST,
        "--port",
        "8443",
        "--public-chunk-port",
        "443",
        "--admin-listen",
        "0.0.0.0",
        "--admin-port",
        "9443",
        "--tls-cert",
        "/files/tls.crt",
        "--tls-key",
        "/files/tls.key",
        "--broker-public-key",
        "/files/provisioner.pub",
    ];
    let ports = [("https", 443, 8443), ("admin", 9443, 9443)];
    Ok(service("snowflake", "warehouse", image, &files, &ports, &json!({"args": args})))
}

fn idp_objects(image: &str) -> Result<(String, String)> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "Test identity provider CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?.pem();
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(["idp.idp.svc".to_owned()])?
        .signed_by(&key, &Issuer::new(authority, authority_key))?;
    let files = json!({"tls.crt": leaf.pem(), "tls.key": key.serialize_pem(), "ca.crt": ca});
    let variables = json!([
        {"name": "ISSUER", "value": ISSUER},
        {"name": "TLS_CERT", "value": "/files/tls.crt"},
        {"name": "TLS_KEY", "value": "/files/tls.key"},
        {"name": "NODE_EXTRA_CA_CERTS", "value": "/files/ca.crt"},
    ]);
    let objects =
        service("idp", "idp", image, &files, &[("https", 443, 8443)], &json!({"env": variables}));
    Ok((objects, ca))
}

/// `spec.identity` of the connection.
fn issuer(ca: &str) -> String {
    let ca: String = ca.lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "  identity:\n    issuers:\n    - issuer: {ISSUER}\n      audiences: [\"https://{HOST}\"]\n      \
         groupsClaim: groups\n      kubernetesUsername: {{claim: email}}\n      caBundle: |\n{ca}"
    )
}

/// A namespace with a Secret of files, a Deployment and its Service.
fn service(
    namespace: &str,
    name: &str,
    image: &str,
    files: &Value,
    ports: &[(&str, u16, u16)],
    container: &Value,
) -> String {
    let mut body = json!({
        "name": name,
        "image": image,
        "volumeMounts": [{"name": "files", "mountPath": "/files", "readOnly": true}],
        "readinessProbe": {"tcpSocket": {"port": ports.first().map(|port| port.2)}, "periodSeconds": 1},
    });
    if let (Some(body), Some(more)) = (body.as_object_mut(), container.as_object()) {
        body.extend(more.clone());
    }
    let ports: Vec<Value> = ports
        .iter()
        .map(|(name, port, target)| json!({"name": name, "port": port, "targetPort": target}))
        .collect();
    let labels = json!({"app": name});
    let objects = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "files", "namespace": namespace}, "stringData": files}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": {
        "selector": {"matchLabels": labels},
        "strategy": {"type": "Recreate"},
        "template": {
            // New keys need a new process.
            "metadata": {"labels": labels, "annotations": {"frostgate.dev/files": fingerprint(files)}},
            "spec": {"terminationGracePeriodSeconds": 2, "containers": [body],
                "volumes": [{"name": "files", "secret": {"secretName": "files"}}]},
        }}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": labels, "ports": ports}}),
    ];
    let objects = objects.iter().map(Value::to_string);
    let all: Vec<String> =
        std::iter::once(self::namespace(namespace, &json!({}))).chain(objects).collect();
    all.join("\n---\n")
}

/// A namespace, marked as ours.
fn namespace(name: &str, labels: &Value) -> String {
    let mut object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    object["metadata"]["labels"][LABEL] = json!("true");
    object.to_string()
}

fn fingerprint(files: &Value) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(files.to_string())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
