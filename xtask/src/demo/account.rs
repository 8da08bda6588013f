//! The stand-in account: its certificate, its privileged key, and the connection's YAML.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::cluster::packages;
use crate::process::{self, command};
use crate::workspace;

/// The account's host name.
pub(crate) const HOST: &str = "demo.snowflakecomputing.com";
/// Where results come from, as with a real account another host.
pub(crate) const CHUNK_HOST: &str = "chunks.demo-storage.example";

/// Keys and certificates of the account, as files.
pub(crate) struct Account {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: String,
    pub(crate) provisioner_key: PathBuf,
    pub(crate) provisioner_public: PathBuf,
}

impl Account {
    /// Makes them in `folder`, new for each run.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        packages::add(&[("openssl", "openssl")])?;
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "Demonstration account CA");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority_key = KeyPair::generate()?;
        let ca = authority.self_signed(&authority_key)?.pem();
        let leaf_key = KeyPair::generate()?;
        let leaf = CertificateParams::new([HOST.to_owned(), CHUNK_HOST.to_owned()])?
            .signed_by(&leaf_key, &Issuer::new(authority, authority_key))?;

        let account = Self {
            certificate: folder.join("account.crt"),
            key: folder.join("account.key"),
            ca,
            provisioner_key: folder.join("provisioner.p8"),
            provisioner_public: folder.join("provisioner.pub"),
        };
        fs::write(&account.certificate, leaf.pem())?;
        private(&account.key, &leaf_key.serialize_pem())?;
        private(&account.provisioner_key, "")?;
        process::read(
            command(
                "openssl",
                ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"],
            )
            .arg(&account.provisioner_key),
        )?;
        process::read(
            command("openssl", ["pkey", "-pubout", "-in"])
                .arg(&account.provisioner_key)
                .arg("-out")
                .arg(&account.provisioner_public),
        )?;
        Ok(account)
    }

    /// The SnowflakeConnection, filled in for an account that answers at `address`.
    pub(crate) fn connection(&self, address: SocketAddr, identity: &str) -> Result<String> {
        let template = fs::read_to_string(workspace::root().join("e2e/demo/connection.yaml"))?;
        let body = template.split_once('\n').map_or(template.as_str(), |(_, body)| body);
        Ok(body
            .replace("${ADDRESS}", &address.ip().to_string())
            .replace("${BITS}", if address.is_ipv4() { "32" } else { "128" })
            .replace("${PORT}", &address.port().to_string())
            .replace("${CA_BUNDLE}", indented(&self.ca, 6).trim_end())
            .replace("${IDENTITY}", identity))
    }

    /// The Secret with the privileged key.
    pub(crate) fn secret(&self, namespace: &str) -> Result<String> {
        let key = indented(&fs::read_to_string(&self.provisioner_key)?, 4);
        Ok(format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: demo-provisioner, namespace: {namespace}}}\n\
             stringData:\n  privateKey: |\n{key}"
        ))
    }
}

/// Writes a file that nobody else reads.
pub(crate) fn private(path: &Path, text: &str) -> Result<()> {
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(())
}

fn indented(text: &str, spaces: usize) -> String {
    text.lines().map(|line| format!("{:spaces$}{line}\n", "")).collect()
}
