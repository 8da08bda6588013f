//! The stage of the end-to-end tests and of the demonstration: cluster, images, the product, a stand-in account
//! and an OpenID provider.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use crate::cluster::{self, layout};
use crate::demo::account::{Account, CHUNK_HOST, HOST};
use crate::image::{self, Name, product};
use crate::process::{self, command};
use crate::progress::{say, wait};
use crate::workspace;

/// Where the stand-in account answers, as Service.
const ACCOUNT_IP: &str = "10.188.7.1";
/// Where the OpenID provider answers.
const IDP_IP: &str = "10.188.7.2";
/// The issuer, as its tokens name it.
const ISSUER: &str = "https://idp.idp.svc";

/// What stands.
pub(crate) struct Stage {
    /// References of images by name.
    pub(crate) images: BTreeMap<String, String>,
    /// The tests' own listener of the account.
    pub(crate) account: String,
    /// `kubectl frostgate`, built.
    pub(crate) frostgate: PathBuf,
    /// Describes the stage to the tests.
    pub(crate) file: PathBuf,
}

/// Sets the stage; what stands already is brought up to date.
pub(crate) fn set(names: &[Name]) -> Result<Stage> {
    cluster::up()?;
    say("building images");
    let images: BTreeMap<String, String> =
        image::publish(&cluster::registry(), names)?.into_iter().collect();
    let frostgate = product::program("kubectl-frostgate")?;

    let keys = layout::state().join("stage");
    fs::create_dir_all(&keys)?;
    let account = Account::create(&keys)?;
    names_in_dns()?;
    say("starting the stand-in account");
    apply(&account_objects(&account, reference(&images, "warehouse")?)?)?;
    let identity = match images.get("idp") {
        Some(image) => {
            say("starting the OpenID provider");
            let (objects, ca) = idp_objects(image)?;
            apply(&objects)?;
            issuer(&ca)
        }
        None => String::new(),
    };
    let secret = account.secret("agents")?;
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: agents, labels: {pod-security.kubernetes.io/enforce: restricted}}\n";
    apply(&[namespace, &secret].join("\n---\n"))?;
    product(&images)?;
    for (namespace, name) in [("snowflake", "warehouse"), ("idp", "idp")] {
        if images.contains_key(name) {
            rollout(namespace, name)?;
        }
    }
    say("telling Frostgate about the account");
    let connection = account.connection(443, layout::SERVICES, &identity)?.replace(
        "  allowedRoles:",
        "  allowedWorkloads: {namespaces: {from: All}}\n  allowedRoles:",
    );
    let policy = fs::read_to_string(workspace::root().join("e2e/demo/policy.yaml"))?;
    apply(&[connection, policy].join("\n---\n"))?;
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
        let ready = cluster::kubectl(&words)?;
        Ok((!ready.contains("\"status\":\"True\"")).then_some(ready))
    })?;

    let stage = Stage {
        images,
        account: format!("http://{ACCOUNT_IP}:9443"),
        frostgate,
        file: layout::state().join("stage.json"),
    };
    let description =
        json!({"images": stage.images, "account": stage.account, "frostgate": stage.frostgate});
    fs::write(&stage.file, serde_json::to_vec_pretty(&description)?)?;
    Ok(stage)
}

/// Installs the chart with the images of this checkout.
fn product(images: &BTreeMap<String, String>) -> Result<()> {
    say("installing the chart");
    process::read(
        command(&cluster::helm()?.display().to_string(), ["upgrade", "--install", "frostgate"])
            .arg(workspace::root().join("charts/frostgate"))
            .args(["--set", "connectionSecrets[0].namespace=agents"])
            .args(["--set", "connectionSecrets[0].name=demo-provisioner"])
            .args([
                "--namespace",
                "frostgate-system",
                "--create-namespace",
                "--wait",
                "--timeout",
                "180s",
            ])
            .args([
                "--set",
                &format!("image.operator={}", reference(images, "frostgate-operator")?),
            ])
            .args(["--set", &format!("image.proxy={}", reference(images, "frostgate-proxy")?)])
            .env("KUBECONFIG", layout::kubeconfig()),
    )?;
    Ok(())
}

fn reference<'a>(images: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str> {
    images.get(name).map(String::as_str).with_context(|| format!("no image {name} was built"))
}

/// The account's names point to its Service, for every pod.
fn names_in_dns() -> Result<()> {
    let hosts = format!("{ACCOUNT_IP} {HOST} {CHUNK_HOST}\n");
    fs::write(layout::hosts(), hosts)?;
    Ok(())
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
    Ok(service("snowflake", "warehouse", ACCOUNT_IP, image, &files, &ports, &json!({"args": args})))
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
    let objects = service(
        "idp",
        "idp",
        IDP_IP,
        image,
        &files,
        &[("https", 443, 8443)],
        &json!({"env": variables}),
    );
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
    address: &str,
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
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
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
            "spec": {"clusterIP": address, "selector": labels, "ports": ports}}),
    ];
    objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

fn fingerprint(files: &Value) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(files.to_string())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn rollout(namespace: &str, name: &str) -> Result<()> {
    cluster::kubectl(&[
        "rollout",
        "status",
        "-n",
        namespace,
        &format!("deployment/{name}"),
        "--timeout=120s",
    ])
    .map(|_| ())
}

/// Applies objects, and asks again while the API server is not ready for them.
pub(crate) fn apply(yaml: &str) -> Result<()> {
    let path = layout::state().join("stage.yaml");
    fs::write(&path, yaml)?;
    let path = path.display().to_string();
    wait("the API server to take the objects", Duration::from_secs(60), || {
        // A webhook that was installed a moment ago may not answer yet.
        Ok(cluster::kubectl(&["apply", "-f", &path]).err().map(|error| format!("{error:#}")))
    })
}
