//! The stand-in account of `e2e/warehouse`, as a process with a certificate and keys of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

/// The account's host, and where its chunks are.
pub(crate) const HOST: &str = "demo.snowflakecomputing.com";
const STORE: &str = "chunks.demo-storage.example";
/// Of the administrator, who goes around Frostgate.
pub(crate) const PASSWORD: &str = "of the administrator";

pub(crate) struct Account {
    process: Child,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    pub(crate) certificate: rcgen::Certificate,
    provisioner: KeyPair,
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Account {
    /// Starts it; every result of more than a few rows comes in chunks.
    pub(crate) fn start(python: &Path, files: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let names = [HOST, STORE, "127.0.0.1"].map(str::to_owned);
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let provisioner = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = files.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let mut process = Command::new(python)
            .args(["-m", "warehouse", "--listen", "127.0.0.1", "--port", "0", "--admin-port", "0"])
            .args(["--host", HOST, "--chunk-host", STORE, "--admin-password", PASSWORD])
            .args(["--inline-rows", "3", "--chunk-rows", "2"])
            .arg("--broker-public-key")
            .arg(file("broker.pem", &provisioner.public_key_pem()))
            .arg("--tls-cert")
            .arg(file("cert.pem", &certificate.pem()))
            .arg("--tls-key")
            .arg(file("key.pem", &key.serialize_pem()))
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/warehouse"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let after = |word: &str| -> SocketAddr {
            let rest = line.split(word).nth(1).unwrap_or_else(|| panic!("no {word} in {line}"));
            let url = rest.split_whitespace().next().unwrap();
            url.rsplit("//").next().unwrap().parse().unwrap()
        };
        let (address, admin) = (after("listen="), after("admin="));
        Self { process, address, admin, certificate, provisioner }
    }

    /// Runs a script as the administrator.
    pub(crate) fn seed(&self, script: &str) -> Result<(), String> {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        let request = format!(
            "POST /seed HTTP/1.1\r\nhost: admin\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{script}",
            script.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
    }

    /// The connection's YAML and its Secret.
    pub(crate) fn connection(&self, database: &str, schema: &str) -> String {
        let indented = |text: &str, spaces: usize| -> String {
            text.lines().map(|line| format!("{:spaces$}{line}\n", "")).collect()
        };
        format!(
            "apiVersion: frostgate.dev/v1alpha1
kind: SnowflakeConnection
metadata: {{name: demo, namespace: agents}}
spec:
  account: demo
  endpoint:
    host: {HOST}
    port: {port}
    hostAliases: [{{ip: 127.0.0.1, hostnames: [{HOST}, {STORE}]}}]
    privateNetworks: [127.0.0.1/32]
    caBundle: |
{ca}
  credentials:
    mode: EphemeralUser
    ephemeralUser:
      provisioner:
        user: FROSTGATE_BROKER
        role: FROSTGATE_BROKER
        warehouse: COMPUTE_WH
        privateKeyRef: {{name: provisioner}}
  session: {{warehouse: COMPUTE_WH, database: {database}, schema: {schema}}}
  allowedRoles: [STEWARD]
  catalog: {{role: FROSTGATE_CATALOG, warehouse: COMPUTE_WH}}
---
apiVersion: v1
kind: Secret
metadata: {{name: provisioner, namespace: agents}}
stringData:
  privateKey: |
{key}",
            port = self.address.port(),
            ca = indented(&self.certificate.pem(), 6).trim_end(),
            key = indented(&self.provisioner.serialize_pem(), 4),
        )
    }
}
