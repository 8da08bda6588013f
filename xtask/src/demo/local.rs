//! The story without a cluster.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::account::{Account, CHUNK_HOST, HOST, private};
use super::agent::{self, Agent};
use super::story::{Beside, answer, chapter, expect, said, typed};
use crate::image::product;
use crate::process::{self, command};
use crate::progress::{say, wait};
use crate::python;
use crate::workspace;

/// Runs it.
pub(super) fn run(keep: bool) -> Result<()> {
    let stage = Stage::set(false, keep)?;
    let told = tell(&stage);
    if told.is_err() {
        say(format!("logs are in {}", stage.folder.display()));
    }
    told?;
    farewell(&stage, keep);
    Ok(())
}

/// A stand-in account and `frostgate local` in front of it.
pub(crate) struct Stage {
    folder: PathBuf,
    frostgate: PathBuf,
    /// The Python of the agent.
    pub(crate) python: String,
    /// Where drivers connect to Frostgate.
    pub(crate) port: u16,
    /// Where the account itself listens.
    pub(crate) account_port: u16,
    account_admin: u16,
    admin: u16,
    // Ended in this order: the product first, so that it can close its sessions.
    _local: Beside,
    _account: Beside,
}

impl Stage {
    /// The account's administrator, for those who go around Frostgate.
    pub(crate) const ADMIN_PASSWORD: &str = "for the demonstration only";

    /// Sets it; optimized for measurements, with the binary that the images hold.
    pub(crate) fn set(optimized: bool, keep: bool) -> Result<Self> {
        let target = workspace::target();
        let frostgate = if optimized {
            product::compile()?;
            product::program("kubectl-frostgate")?
        } else {
            say("building frostgate");
            process::run(
                command("cargo", ["build", "--quiet", "--package", "frostgate-cli"])
                    .current_dir(workspace::root()),
            )?;
            target.join("debug/kubectl-frostgate")
        };
        let source = workspace::root().join("e2e/warehouse");
        let account_python = python::warehouse()?;
        let agent = workspace::root().join("e2e/agents/python/connector5.txt");
        let agent_python = python::environment("agent", &[agent])?;

        let folder = target.join("demo-local");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("clear {}", folder.display()))?;
        }
        let config = folder.join("config");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&config)?;
        let account = Account::create(&folder)?;
        let [account_port, account_admin, port, admin] = free_ports()?;
        let policy = fs::read_to_string(workspace::root().join("e2e/demo/policy.yaml"))?;
        private(
            &config.join("connection.yaml"),
            &account.connection((Ipv4Addr::LOCALHOST, account_port).into(), "")?,
        )?;
        private(&config.join("secret.yaml"), &account.secret("agents")?)?;
        private(&config.join("policy.yaml"), &policy)?;

        say("starting a stand-in Snowflake account");
        let account_process = Beside::start(
            command(&account_python, ["-m", "warehouse", "--host", HOST])
                .args(["--chunk-host", CHUNK_HOST, "--listen", "127.0.0.1"])
                .args([
                    "--port",
                    &account_port.to_string(),
                    "--admin-port",
                    &account_admin.to_string(),
                ])
                .args(["--admin-password", Self::ADMIN_PASSWORD])
                .arg("--tls-cert")
                .arg(&account.certificate)
                .arg("--tls-key")
                .arg(&account.key)
                .arg("--broker-public-key")
                .arg(&account.provisioner_public)
                .current_dir(source)
                .stdout(log(&folder, "account.log")?)
                .stderr(log(&folder, "account.err")?),
            keep,
        )?;
        wait("the account", Duration::from_secs(60), || Ok(closed(account_port)))?;

        say("starting frostgate local");
        let mut local = Beside::start(
            command(&frostgate.display().to_string(), ["local", "--config"])
                .arg(&config)
                .args([
                    "--listen",
                    &format!("127.0.0.1:{port}"),
                    "--admin",
                    &format!("127.0.0.1:{admin}"),
                ])
                .args(["--identity", "you@example.com"])
                .stdout(log(&folder, "frostgate.log")?)
                .stderr(log(&folder, "frostgate.err")?),
            keep,
        )?;
        wait("frostgate", Duration::from_secs(30), || match local.ended()? {
            Some(status) => anyhow::bail!(
                "it ended with {status}: {}",
                fs::read_to_string(folder.join("frostgate.err")).unwrap_or_default()
            ),
            None => Ok(closed(port)),
        })?;
        let python = python::program(&agent_python, "python");
        Ok(Self {
            folder,
            frostgate,
            python,
            port,
            account_port,
            account_admin,
            admin,
            _local: local,
            _account: account_process,
        })
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    fn frostgate(&self, words: &[&str]) -> Result<String> {
        typed(&format!("frostgate {}", words.join(" ")));
        let output = process::read(&mut command(&self.frostgate.display().to_string(), words))?;
        let lines: Vec<&str> = output.lines().take(14).collect();
        said(&lines.join("\n"));
        Ok(output)
    }
}

impl Agent for Stage {
    fn command(&self, task: &Value) -> Command {
        let mut task = task.clone();
        task["connect"] = json!({"host": "127.0.0.1", "port": self.port, "protocol": "http"});
        let mut agent =
            command(&self.python, [workspace::root().join("e2e/agents/python/agent.py")]);
        agent
            .arg(task.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        agent
    }
}

fn tell(stage: &Stage) -> Result<()> {
    agent::alone(stage, &format!("http://127.0.0.1:{}/history", stage.account_admin))?;

    chapter("A DELETE without WHERE waits for a human");
    let waiting = stage.begin("DELETE FROM customers")?;
    let config = stage.config().display().to_string();
    let name = pending(stage, &config)?;
    stage.frostgate(&["approve", &name, "--config", &config, "--yes", "-m", "demonstration"])?;
    let reply = answer(&finish(waiting)?)?;
    expect(
        reply["ok"] == true,
        "the driver's call returned after the approval",
        &reply.to_string(),
    )?;

    chapter("Everything is on record, and the record can be checked");
    let recordings = stage.config().join(".frostgate/ledger").display().to_string();
    let key = stage.config().join(".frostgate/ledger.pub").display().to_string();
    // The sessions above are closed; their last segments are on the way.
    wait("the recordings", Duration::from_secs(30), || {
        let report =
            command(&stage.frostgate.display().to_string(), ["verify", &recordings, "--key", &key])
                .output()?;
        let text = String::from_utf8_lossy(&report.stdout).into_owned();
        Ok((!report.status.success()).then_some(text))
    })?;
    stage.frostgate(&["verify", &recordings, "--key", &key])?;
    stage.frostgate(&["sessions", &recordings])?;
    let csv = stage.folder.join("export.csv").display().to_string();
    stage.frostgate(&["export", &recordings, "--format", "csv", "--output", &csv])?;
    let text = fs::read_to_string(&csv)?;
    expect(
        text.contains("DELETE FROM customers") && text.contains("demonstration"),
        "the export has the statement, who approved it and why",
        &text,
    )?;

    chapter("Prometheus reads how it went");
    typed(&format!("curl http://127.0.0.1:{}/metrics", stage.admin));
    let metrics = ureq::get(format!("http://127.0.0.1:{}/metrics", stage.admin))
        .call()?
        .body_mut()
        .read_to_string()?;
    agent::counted(&metrics)
}

/// The name of the one request that waits.
fn pending(stage: &Stage, config: &str) -> Result<String> {
    let mut name = None;
    wait("the request", Duration::from_secs(30), || {
        let words = ["requests", "--config", config, "--json"];
        let listed = process::read(&mut command(&stage.frostgate.display().to_string(), words))?;
        let first = listed.lines().next().map(serde_json::from_str::<Value>).transpose()?;
        name = first
            .as_ref()
            .and_then(|request| request["metadata"]["name"].as_str())
            .map(str::to_owned);
        Ok(name.is_none().then_some(listed))
    })?;
    stage.frostgate(&["requests", "--config", config])?;
    name.context("no request waits")
}

fn finish(child: std::process::Child) -> Result<Output> {
    Ok(child.wait_with_output()?)
}

fn farewell(stage: &Stage, keep: bool) {
    chapter("The end");
    if keep {
        println!(
            "   Still running. Connect a driver with account=demo host=127.0.0.1 port={} protocol=http,",
            stage.port
        );
        println!(
            "   edit {}/policy.yaml, and end with: pkill -f 'frostgate local'; pkill -f 'm warehouse'",
            stage.config().display()
        );
    } else {
        println!(
            "   Recordings and logs are in {}. With --keep everything stays up.",
            stage.folder.display()
        );
    }
}

fn log(folder: &Path, name: &str) -> Result<fs::File> {
    Ok(fs::File::create(folder.join(name))?)
}

/// What is missing while nobody listens.
fn closed(port: u16) -> Option<String> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .is_err()
        .then(|| format!("port {port} does not answer"))
}

fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All are held at once, so that they differ.
    let held: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
