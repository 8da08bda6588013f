//! The room that clients run in: network and mounts of its own, where the account's name leads to Frostgate.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::demo::account::{CHUNK_HOST, HOST};
use crate::demo::local::{Plan, Stage};
use crate::demo::story;
use crate::process::{self, command};
use crate::progress::wait;
use crate::workspace;

use super::client::Client;

/// Where Frostgate serves TLS, as it does in a pod.
const DOOR: &str = "127.0.0.1:443";
/// Where the account is, so that it can have port 443 too.
const ACCOUNT: ([u8; 4], u16) = ([127, 0, 0, 2], 443);
/// Seconds that tokens hold: toward the client, and of the account.
pub(super) const VALIDITY: u64 = 15;
/// A task that takes longer hangs.
const PATIENCE: &str = "180";

/// Which way a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To Frostgate, as in a pod: by the account's name, over TLS.
    Through,
    /// To the account, in the role that the policy gives on the other way: what the client does without us.
    Direct,
}

/// The stage, and how to start a client on it.
pub(super) struct Room {
    pub(super) stage: Stage,
    hosts: PathBuf,
    account_trust: PathBuf,
    homes: PathBuf,
}

/// Runs this program again inside; what it needs from a network is there already.
pub(super) fn enter(words: impl IntoIterator<Item = OsString>) -> Result<()> {
    let mut unshare = command("unshare", ["--net", "--mount", "--propagation", "private"]);
    if fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own))? != 0 {
        unshare.arg("--map-root-user");
    }
    let hosts = hosts_file("through", "127.0.0.1")?;
    unshare
        .args(["sh", "-c", "ip link set lo up && mount --bind \"$0\" /etc/hosts && exec \"$@\""])
        .arg(hosts)
        .arg(std::env::current_exe()?)
        .arg("clients")
        .arg("--inside")
        .args(words);
    process::run(&mut unshare).context("network and mount namespaces of one's own are needed")
}

/// What the names lead to on one way; the chunk host is Frostgate's affair on the other.
fn hosts_file(way: &str, account: &str) -> Result<PathBuf> {
    let folder = workspace::target().join("clients");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("hosts.{way}"));
    let chunks = if way == "direct" { CHUNK_HOST } else { "" };
    fs::write(&path, format!("127.0.0.1 localhost\n{account} {HOST} {chunks}\n"))?;
    Ok(path)
}

pub(super) fn plan() -> Plan<'static> {
    let folder = workspace::root().join("e2e/clients");
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let validity = VALIDITY.to_string();
    Plan {
        folder: "clients/stage",
        policy: folder.join("policy.yaml"),
        account: Some(ACCOUNT.into()),
        account_flags: words(&[
            "--seed",
            &folder.join("seed.sql").display().to_string(),
            "--validity",
            &validity,
        ]),
        local_flags: words(&["--tls", DOOR, "--session-token", &validity]),
        ..Plan::demonstration()
    }
}

impl Room {
    /// Sets the stage. Must run inside.
    pub(super) fn open() -> Result<Self> {
        let stage = Stage::set(&plan())?;
        let account_trust = stage.folder.join("account-trust");
        fs::create_dir_all(&account_trust)?;
        for name in ["ca.crt", "bundle.pem"] {
            fs::write(account_trust.join(name), &stage.account_ca)?;
        }
        process::read(
            command("keytool", ["-importcert", "-noprompt", "-storetype", "PKCS12"])
                .args(["-storepass", "changeit", "-file"])
                .arg(account_trust.join("ca.crt"))
                .arg("-keystore")
                .arg(account_trust.join("truststore.p12")),
        )?;
        let homes = stage.folder.join("homes");
        Ok(Self { hosts: hosts_file("direct", "127.0.0.2")?, account_trust, homes, stage })
    }

    /// Gives a client a task and waits for its answer.
    pub(super) fn ask(&self, client: &Client, way: Way, task: &Value) -> Result<Value> {
        self.finish(self.begin(client, way, task)?)
    }

    /// Starts a client on a task.
    pub(super) fn begin(&self, client: &Client, way: Way, task: &Value) -> Result<Child> {
        let mut task = task.clone();
        let home = self.homes.join(client.name);
        fs::create_dir_all(&home)?;
        let trust = match way {
            Way::Through => self.stage.config().join(".frostgate/trust"),
            Way::Direct => {
                let login = json!({
                    "user": "ADMIN", "password": Stage::ADMIN_PASSWORD, "warehouse": "COMPUTE_WH",
                    "database": "DEMO", "schema": "PUBLIC", "role": "STEWARD",
                });
                merge(&mut task["connect"], login);
                // The stand-in's certificate has no place to ask about revocation; that is not what is compared.
                if client.name == "connector-3" {
                    merge(&mut task["connect"], json!({"insecure_mode": true}));
                }
                self.account_trust.clone()
            }
        };
        let words = client.program()?;
        let mut started = match way {
            Way::Through => command("timeout", [PATIENCE]),
            Way::Direct => {
                let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
                let mut elsewhere =
                    command("unshare", ["--mount", "--propagation", "private", "sh", "-c", script]);
                elsewhere.arg(&self.hosts).args(["timeout", PATIENCE]);
                elsewhere
            }
        };
        started.args(words).arg(task.to_string()).env_clear();
        environment(&mut started, &trust, &home);
        started.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        started.spawn().with_context(|| format!("start {}", client.name))
    }

    /// The answer of a started client.
    #[allow(clippy::unused_self, reason = "reads as the other half of `begin`")]
    pub(super) fn finish(&self, child: Child) -> Result<Value> {
        let output = child.wait_with_output()?;
        if output.status.code() == Some(124) {
            bail!("it hangs: no answer after {PATIENCE} s");
        }
        story::answer(&output)
    }

    /// The statements that reached the account and contain a text.
    pub(super) fn seen(&self, text: &str) -> Result<Vec<Value>> {
        let url = format!("http://127.0.0.1:{}/history", self.stage.account_admin);
        let mut body = String::new();
        ureq::get(url).call()?.body_mut().as_reader().read_to_string(&mut body)?;
        let all: Vec<Value> = serde_json::from_str(&body)?;
        let has = |entry: &Value| entry["sql_text"].as_str().is_some_and(|sql| sql.contains(text));
        Ok(all.into_iter().filter(has).collect())
    }

    /// Decides about the one request whose statement contains a text; `child` waits for it.
    pub(super) fn decide(
        &self,
        child: &mut Child,
        verb: &str,
        text: &str,
        reason: &str,
    ) -> Result<()> {
        let config = self.stage.config().display().to_string();
        let mut name = None;
        wait("the request", Duration::from_secs(60), || {
            let listed = self.stage.quietly(&["requests", "--config", &config, "--json"])?;
            let ours = listed.lines().find(|line| line.contains(text));
            let ours = ours.map(serde_json::from_str::<Value>).transpose()?;
            name = ours.and_then(|it| it["metadata"]["name"].as_str().map(str::to_owned));
            Ok((name.is_none() && child.try_wait()?.is_none()).then_some(listed))
        })?;
        // A client that ended without waiting says why itself.
        let Some(name) = name else { return Ok(()) };
        self.stage.quietly(&[verb, &name, "--config", &config, "--yes", "-m", reason]).map(drop)
    }
}

/// What the injector sets in a pod, and nothing that would point a client anywhere.
fn environment(command: &mut Command, trust: &Path, home: &Path) {
    let shown = |name: &str| trust.join(name).display().to_string();
    let java = format!(
        "-Djavax.net.ssl.trustStore={} -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=changeit",
        shown("truststore.p12")
    );
    command
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("LANG", "C.UTF-8")
        .env("REQUESTS_CA_BUNDLE", shown("bundle.pem"))
        .env("SSL_CERT_FILE", shown("bundle.pem"))
        .env("NODE_EXTRA_CA_CERTS", shown("ca.crt"))
        .env("JAVA_TOOL_OPTIONS", java)
        .env("NO_PROXY", format!("{HOST},127.0.0.1,localhost"));
}

/// Adds the fields of `more` that are not there.
pub(super) fn merge(into: &mut Value, more: Value) {
    if into.is_null() {
        *into = json!({});
    }
    let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) else { return };
    for (name, value) in more {
        into.entry(name).or_insert(value);
    }
}
