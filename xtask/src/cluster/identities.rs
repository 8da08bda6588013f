//! Who is who in a test cluster: one authority, a certificate for every component and for every
//! human that tests act as.
//!
//! Humans have certificates and no tokens since the API server marks a certificate with a
//! credential identifier, as real identity providers do and a token file does not.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};

use super::layout::{self, API, INSIDE, NODE};

/// A subject of the API server: file name, user name, group.
type Identity = (&'static str, &'static str, Option<&'static str>);

/// The name of the one node.
pub(crate) const NODE_NAME: &str = "node1";

const COMPONENTS: &[Identity] = &[
    ("admin", "admin", Some("system:masters")),
    ("kube-controller-manager", "system:kube-controller-manager", None),
    ("kube-scheduler", "system:kube-scheduler", None),
    ("kube-proxy", "system:kube-proxy", None),
    ("kubelet", "system:node:node1", Some("system:nodes")),
    ("apiserver-kubelet", "apiserver-kubelet", None),
    ("coredns", "system:coredns", None),
];

/// Humans, without any rights until a test binds them.
pub(crate) const HUMANS: &[Identity] = &[
    ("alice", "alice@example.com", Some("analysts")),
    ("bob", "bob@example.com", Some("data-stewards")),
    ("carol", "carol@example.com", Some("data-stewards")),
    ("dave", "dave@example.com", Some("developers")),
    ("eve", "eve@example.com", None),
];

/// Writes every key, certificate and kubeconfig, unless they are there.
pub(crate) fn create() -> Result<()> {
    if layout::kubeconfig().exists() {
        return Ok(());
    }
    let folder = layout::identities();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;

    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "frostgate test cluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    fs::write(folder.join("ca.crt"), authority.pem())?;
    fs::write(folder.join("ca.key"), key.serialize_pem())?;
    let issuer = Issuer::new(params, key);

    serving(&folder, &issuer)?;
    let tokens = KeyPair::generate()?;
    fs::write(folder.join("tokens.key"), tokens.serialize_pem())?;
    fs::write(folder.join("tokens.pub"), tokens.public_key_pem())?;

    for identity in COMPONENTS.iter().chain(HUMANS) {
        client(&folder, &issuer, identity)?;
    }
    // Components inside use the bridge's address, people outside the link's.
    let inside = format!("https://{NODE}:6443");
    for (name, _, _) in COMPONENTS {
        let path = folder.join(format!("{name}.kubeconfig"));
        fs::write(path, kubeconfig(&folder, &inside, &[name])?)?;
    }
    let users: Vec<&str> =
        std::iter::once("admin").chain(HUMANS.iter().map(|(name, _, _)| *name)).collect();
    let outside = format!("https://{INSIDE}:6443");
    fs::write(layout::kubeconfig(), kubeconfig(&folder, &outside, &users)?)?;
    Ok(())
}

fn serving(folder: &Path, issuer: &Issuer<'_, KeyPair>) -> Result<()> {
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let mut params = CertificateParams::new(names.map(str::to_owned))?;
    for address in ["127.0.0.1", API, NODE, INSIDE] {
        params.subject_alt_names.push(SanType::IpAddress(address.parse::<IpAddr>()?));
    }
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    write_signed(folder, "apiserver", &params, issuer)
}

fn client(folder: &Path, issuer: &Issuer<'_, KeyPair>, identity: &Identity) -> Result<()> {
    let (name, user, group) = identity;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, *user);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    write_signed(folder, name, &params, issuer)
}

fn write_signed(
    folder: &Path,
    name: &str,
    params: &CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<()> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    fs::write(folder.join(format!("{name}.crt")), certificate.pem())?;
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    Ok(())
}

/// A kubeconfig with a context for each user; the first is the current one. JSON is YAML too.
fn kubeconfig(folder: &Path, server: &str, users: &[&str]) -> Result<String> {
    let file = |name: String| {
        let path = folder.join(name);
        fs::read(&path)
            .map(|bytes| STANDARD.encode(bytes))
            .with_context(|| format!("read {}", path.display()))
    };
    let mut contexts = Vec::new();
    let mut entries = Vec::new();
    for user in users {
        contexts.push(json!({ "name": user, "context": { "cluster": "frostgate", "user": user } }));
        entries.push(json!({ "name": user, "user": {
            "client-certificate-data": file(format!("{user}.crt"))?,
            "client-key-data": file(format!("{user}.key"))?,
        }}));
    }
    let config: Value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": users.first(),
        "clusters": [{ "name": "frostgate", "cluster": {
            "server": server,
            "certificate-authority-data": file("ca.crt".to_owned())?,
        }}],
        "contexts": contexts,
        "users": entries,
    });
    Ok(serde_json::to_string_pretty(&config)?)
}
