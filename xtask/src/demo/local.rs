//! The story without a cluster.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::account::{Account, CHUNK_HOST, HOST, private};
use super::agent::{self, Agent};
use super::story::{Beside, answer, chapter, expect, said, typed};
use crate::cluster::packages;
use crate::image::product;
use crate::process::{self, command};
use crate::progress::{say, wait};
use crate::python;
use crate::workspace;

/// Runs it.
pub(super) fn run(keep: bool) -> Result<()> {
    let stage = Stage::set(&Plan { keep, ..Plan::demonstration() })?;
    let told = tell(&stage);
    if told.is_err() {
        say(format!("logs are in {}", stage.folder.display()));
    }
    told?;
    farewell(&stage, keep);
    Ok(())
}

/// What a stage is set with.
pub(crate) struct Plan<'a> {
    /// Its folder below the target folder.
    pub(crate) folder: &'a str,
    /// For measurements: with the binary that the images hold.
    pub(crate) optimized: bool,
    /// Everything outlives this process.
    pub(crate) keep: bool,
    /// The AccessPolicy.
    pub(crate) policy: PathBuf,
    /// Where the account listens; any port of loopback without it.
    pub(crate) account: Option<SocketAddr>,
    /// More for the account's command line.
    pub(crate) account_flags: Vec<String>,
    /// More for the command line of `frostgate local`.
    pub(crate) local_flags: Vec<String>,
}

impl Plan<'_> {
    /// The demonstration's.
    pub(crate) fn demonstration() -> Self {
        Self {
            folder: "demo-local",
            optimized: false,
            keep: false,
            policy: workspace::root().join("e2e/demo/policy.yaml"),
            account: None,
            account_flags: Vec::new(),
            local_flags: Vec::new(),
        }
    }
}

/// A stand-in account and `frostgate local` in front of it.
pub(crate) struct Stage {
    /// Where everything is.
    pub(crate) folder: PathBuf,
    frostgate: PathBuf,
    /// The Python of the agent.
    pub(crate) python: String,
    /// Where drivers connect to Frostgate.
    pub(crate) port: u16,
    /// Where the account itself listens.
    pub(crate) account_port: u16,
    /// What vouches for the account's certificate, PEM.
    pub(crate) account_ca: String,
    /// Where the account says what happened to it.
    pub(crate) account_admin: u16,
    admin: u16,
    // Ended in this order: the product first, so that it can close its sessions.
    _local: Beside,
    _account: Beside,
}

/// What a stage runs.
pub(crate) struct Programs {
    frostgate: PathBuf,
    account: String,
    agent: String,
}

impl Stage {
    /// The account's administrator, for those who go around Frostgate.
    pub(crate) const ADMIN_PASSWORD: &str = "for the demonstration only";

    /// Builds what it needs; from then on no network is needed.
    pub(crate) fn prepare(plan: &Plan<'_>) -> Result<Programs> {
        let frostgate = if plan.optimized {
            product::compile()?;
            product::program("kubectl-frostgate")?
        } else {
            say("building frostgate");
            process::run(
                command("cargo", ["build", "--quiet", "--package", "frostgate-cli"])
                    .current_dir(workspace::root()),
            )?;
            workspace::target().join("debug/kubectl-frostgate")
        };
        packages::add(&[("openssl", "openssl")])?;
        let account = python::warehouse()?;
        let agent = workspace::root().join("e2e/agents/python/connector5.txt");
        let agent = python::environment("agent", &[agent])?;
        Ok(Programs { frostgate, account, agent: python::program(&agent, "python") })
    }

    /// Sets it.
    pub(crate) fn set(plan: &Plan<'_>) -> Result<Self> {
        let Programs { frostgate, account: account_python, agent: python } = Self::prepare(plan)?;
        let source = workspace::root().join("e2e/warehouse");
        let folder = workspace::target().join(plan.folder);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("clear {}", folder.display()))?;
        }
        let config = folder.join("config");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&config)?;
        let account = Account::create(&folder)?;
        let [free, account_admin, port, admin] = free_ports()?;
        let place = plan.account.unwrap_or((Ipv4Addr::LOCALHOST, free).into());
        let policy = fs::read_to_string(&plan.policy)?;
        private(&config.join("connection.yaml"), &account.connection(place, "")?)?;
        private(&config.join("secret.yaml"), &account.secret("agents")?)?;
        private(&config.join("policy.yaml"), &policy)?;

        say("starting a stand-in Snowflake account");
        let mut account_process = Beside::start(
            command(&account_python, ["-m", "warehouse", "--host", HOST])
                .args(["--chunk-host", CHUNK_HOST, "--listen", &place.ip().to_string()])
                .args(["--port", &place.port().to_string()])
                .args(["--admin-port", &account_admin.to_string()])
                .args(["--admin-password", Self::ADMIN_PASSWORD])
                .arg("--tls-cert")
                .arg(&account.certificate)
                .arg("--tls-key")
                .arg(&account.key)
                .arg("--broker-public-key")
                .arg(&account.provisioner_public)
                .args(&plan.account_flags)
                .current_dir(source)
                .stdout(log(&folder, "account.log")?)
                .stderr(log(&folder, "account.err")?),
            plan.keep,
        )?;
        standing("the account", &mut account_process, place, &folder.join("account.err"))?;

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
                .args(&plan.local_flags)
                .stdout(log(&folder, "frostgate.log")?)
                .stderr(log(&folder, "frostgate.err")?),
            plan.keep,
        )?;
        let door = (Ipv4Addr::LOCALHOST, port).into();
        standing("frostgate", &mut local, door, &folder.join("frostgate.err"))?;
        Ok(Self {
            folder,
            frostgate,
            python,
            port,
            account_port: place.port(),
            account_ca: account.ca,
            account_admin,
            admin,
            _local: local,
            _account: account_process,
        })
    }

    /// The folder that `frostgate local` serves.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    /// Runs `frostgate` and returns what it says.
    pub(crate) fn quietly(&self, words: &[&str]) -> Result<String> {
        process::read(&mut command(&self.frostgate.display().to_string(), words))
    }

    fn frostgate(&self, words: &[&str]) -> Result<String> {
        typed(&format!("frostgate {}", words.join(" ")));
        let output = self.quietly(words)?;
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

/// Waits until a program listens; one that ended has said why.
fn standing(name: &str, program: &mut Beside, place: SocketAddr, errors: &Path) -> Result<()> {
    // Seeding the account is work, and other programs may want the processors too.
    wait(name, Duration::from_secs(180), || match program.ended()? {
        Some(status) => anyhow::bail!(
            "{name} ended with {status}: {}",
            fs::read_to_string(errors).unwrap_or_default()
        ),
        None => Ok(closed(place)),
    })
}

/// What is missing while nobody listens.
fn closed(place: SocketAddr) -> Option<String> {
    TcpStream::connect(place).is_err().then(|| format!("{place} does not answer"))
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
