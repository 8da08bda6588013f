//! The clients: what each is, how it is installed and started, and what it has no way to do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cluster::packages;
use crate::kept;
use crate::process::{self, command};
use crate::python;
use crate::workspace;

use super::cell::Cell;

/// One column of the matrix.
pub(super) struct Client {
    /// What it is called on the command line.
    pub(super) name: &'static str,
    /// The package, as its registry calls it.
    pub(super) package: &'static str,
    runtime: Runtime,
    /// After which its statement surely runs.
    pub(super) starts: Duration,
    /// How many rows it reads in the whole matrix: a million where it streams.
    pub(super) rows: u32,
    /// The settings that make it refuse a certificate without a fresh word about revocation.
    pub(super) strict: Option<fn() -> Value>,
    /// The task's additions for plain HTTP on a port of loopback.
    pub(super) plain: Option<fn(u16) -> Value>,
    /// What it cannot do, and why.
    pub(super) without: &'static [(Cell, &'static str)],
    /// What is known to fail without Frostgate too.
    pub(super) unable: &'static [Cell],
}

enum Runtime {
    /// A list of packages, and the program of `e2e/agents/python`.
    Python(&'static str, &'static str),
    Node,
    /// The driver's version: one source, two generations.
    Jdbc(&'static str),
    Go,
}

const MILLION: u32 = 1_000_000;
const AT_ONCE: Duration = Duration::from_secs(5);
const SLOWLY: Duration = Duration::from_secs(20);
const ONE_SHOT: &str = "each call is a session of its own";

/// All of them, in the order in which they are tried.
pub(super) const CLIENTS: &[Client] = &[
    Client {
        name: "connector-5",
        package: "snowflake-connector-python",
        runtime: Runtime::Python("connector5", "agent.py"),
        starts: AT_ONCE,
        rows: MILLION,
        strict: None,
        plain: Some(by_parts),
        without: &[(Cell::Strict, "it has no OCSP"), NO_WAY_OF_ITS_OWN],
        unable: &[],
    },
    Client {
        name: "connector-4",
        package: "snowflake-connector-python",
        runtime: Runtime::Python("connector4", "agent.py"),
        starts: AT_ONCE,
        rows: MILLION,
        strict: Some(strictly),
        plain: Some(by_parts),
        without: &[NO_WAY_OF_ITS_OWN],
        unable: &[],
    },
    Client {
        name: "connector-3",
        package: "snowflake-connector-python",
        runtime: Runtime::Python("connector3", "agent.py"),
        starts: AT_ONCE,
        rows: MILLION,
        strict: Some(|| json!({"ocsp_fail_open": false})),
        plain: Some(by_parts),
        without: &[NO_WAY_OF_ITS_OWN],
        unable: &[],
    },
    Client {
        name: "node",
        package: "snowflake-sdk",
        runtime: Runtime::Node,
        starts: AT_ONCE,
        rows: MILLION,
        strict: Some(|| json!({"ocspFailOpen": false})),
        plain: Some(|port| json!({"connect": {"accessUrl": format!("http://127.0.0.1:{port}")}})),
        without: &[NO_WAY_OF_ITS_OWN],
        unable: &[],
    },
    Client {
        name: "jdbc-3",
        package: "net.snowflake:snowflake-jdbc",
        runtime: Runtime::Jdbc("3.28.0"),
        starts: AT_ONCE,
        rows: MILLION,
        strict: Some(|| json!({"ocspFailOpen": "false"})),
        plain: Some(by_url),
        without: &[NO_WAY_OF_ITS_OWN],
        unable: &[],
    },
    Client {
        name: "jdbc-4",
        package: "net.snowflake:snowflake-jdbc",
        runtime: Runtime::Jdbc("4.4.1"),
        starts: AT_ONCE,
        rows: MILLION,
        strict: Some(|| json!({"ocspFailOpen": "false"})),
        plain: Some(by_url),
        without: &[NO_WAY_OF_ITS_OWN],
        unable: &[],
    },
    Client {
        name: "snow",
        package: "snowflake-cli",
        runtime: Runtime::Python("snow", "shell.py"),
        starts: SLOWLY,
        rows: 100_000,
        strict: None,
        plain: Some(by_parts),
        without: &[
            (Cell::Binds, "a command line has none"),
            (Cell::Async, "the id that it prints is for another call"),
            (Cell::Renewal, ONE_SHOT),
            (Cell::Strict, "no such flag"),
        ],
        unable: &[],
    },
    Client {
        name: "sqlalchemy",
        package: "snowflake-sqlalchemy",
        runtime: Runtime::Python("sqlalchemy", "alchemy.py"),
        starts: AT_ONCE,
        rows: MILLION,
        strict: Some(strictly),
        plain: Some(by_parts),
        without: &[(Cell::Cancel, "it has no call for it"), (Cell::Async, "it has no call for it")],
        unable: &[],
    },
    Client {
        name: "snowpark",
        package: "snowflake-snowpark-python",
        runtime: Runtime::Python("snowpark", "frames.py"),
        starts: SLOWLY,
        rows: MILLION,
        strict: Some(strictly),
        plain: Some(by_parts),
        without: &[],
        unable: &[],
    },
    Client {
        name: "dbt",
        package: "dbt-snowflake",
        runtime: Runtime::Python("dbt", "models.py"),
        starts: SLOWLY,
        rows: 20_000,
        strict: None,
        plain: Some(by_parts),
        without: &[
            (Cell::Binds, "models have none"),
            (Cell::Async, "it has no call for it"),
            (Cell::Renewal, ONE_SHOT),
            (Cell::Strict, "no such setting"),
        ],
        unable: &[],
    },
    Client {
        name: "go",
        package: "github.com/snowflakedb/gosnowflake",
        runtime: Runtime::Go,
        starts: AT_ONCE,
        rows: MILLION,
        strict: Some(|| json!({"ocspFailOpen": "false"})),
        plain: Some(by_parts),
        without: &[NO_WAY_OF_ITS_OWN],
        unable: &[],
    },
];

const NO_WAY_OF_ITS_OWN: (Cell, &str) = (Cell::Own, "SQL is all it has");

/// Connector 4 asks about revocation only where it is told to.
fn strictly() -> Value {
    json!({"ocsp_fail_open": false, "disable_ocsp_checks": false})
}

fn by_parts(port: u16) -> Value {
    json!({"connect": {"host": "127.0.0.1", "port": port, "protocol": "http"}})
}

fn by_url(port: u16) -> Value {
    json!({"url": format!("http://127.0.0.1:{port}/")})
}

impl Client {
    /// Installs it; the words of its command line, up to the task. Without a network where it is installed already.
    pub(super) fn program(&self) -> Result<Vec<String>> {
        let agents = workspace::root().join("e2e/agents");
        match &self.runtime {
            Runtime::Python(list, program) => {
                let folder = agents.join("python");
                let environment = python::environment(
                    &format!("client-{list}"),
                    &[folder.join(format!("{list}.txt"))],
                )?;
                Ok(words([python::program(&environment, "python"), shown(&folder.join(program))]))
            }
            Runtime::Node => {
                let folder = node(&agents.join("node"))?;
                let machine = match std::env::consts::ARCH {
                    "aarch64" => "arm64",
                    _ => "x64",
                };
                let runtime = folder.join(format!("node_modules/node-linux-{machine}/bin/node"));
                Ok(words([shown(&runtime), shown(&folder.join("agent.js"))]))
            }
            Runtime::Jdbc(version) => {
                let folder = jdbc(&agents.join("jdbc"), version)?;
                let path = format!("{0}/target/classes:{0}/lib/*", folder.display());
                // The JVM's own rule for Arrow since JDK 17, with or without Frostgate.
                let opened = "--add-opens=java.base/java.nio=ALL-UNNAMED".to_owned();
                Ok(words(["java".to_owned(), opened, "-cp".to_owned(), path, "Agent".to_owned()]))
            }
            Runtime::Go => Ok(words([shown(&go(&agents.join("go"))?.join("agent"))])),
        }
    }

    /// The version that its lock file names.
    pub(super) fn version(&self) -> Result<String> {
        let agents = workspace::root().join("e2e/agents");
        let read = |path: &str| {
            std::fs::read_to_string(agents.join(path)).with_context(|| format!("read {path}"))
        };
        let after = |text: &str, mark: &str| {
            let rest =
                text.lines().find_map(|line| Some(line.trim().strip_prefix(mark)?.to_owned()));
            rest.with_context(|| format!("no {mark} is pinned"))
        };
        match &self.runtime {
            Runtime::Python(list, _) => {
                after(&read(&format!("python/{list}.txt"))?, &format!("{}==", self.package))
            }
            Runtime::Node => {
                let manifest: Value = serde_json::from_str(&read("node/package.json")?)?;
                Ok(manifest["dependencies"][self.package].as_str().unwrap_or("?").to_owned())
            }
            Runtime::Jdbc(version) => Ok((*version).to_owned()),
            Runtime::Go => {
                after(&read("go/go.mod")?.replace("require ", ""), &format!("{} v", self.package))
            }
        }
    }

    /// Why a cell cannot be tried with it.
    pub(super) fn lacks(&self, cell: Cell) -> Option<&'static str> {
        self.without.iter().find(|(without, _)| *without == cell).map(|(_, why)| *why)
    }
}

fn words<const N: usize>(words: [String; N]) -> Vec<String> {
    words.into()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn node(source: &Path) -> Result<PathBuf> {
    packages::add(&[("npm", "npm")])?;
    let files = ["package.json", "package-lock.json", "agent.js"].map(|name| source.join(name));
    kept::folder("client-node", &files, &[], |folder| {
        copy(&files, folder)?;
        let flags = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"];
        process::read(command("npm", flags).current_dir(folder)).map(drop)
    })
}

fn jdbc(source: &Path, version: &str) -> Result<PathBuf> {
    packages::add(&[("javac", "default-jdk-headless"), ("mvn", "maven")])?;
    let files = ["pom.xml", "Agent.java"].map(|name| source.join(name));
    kept::folder(&format!("client-jdbc-{version}"), &files, &[], |folder| {
        copy(&files, folder)?;
        let goals = ["--batch-mode", "--quiet", "compile", "dependency:copy-dependencies"];
        process::read(
            command("mvn", goals)
                .arg("-DoutputDirectory=lib")
                .arg(format!("-Dsnowflake.version={version}"))
                .current_dir(folder),
        )
        .map(drop)
    })
}

fn go(source: &Path) -> Result<PathBuf> {
    let files = ["go.mod", "go.sum", "main.go"].map(|name| source.join(name));
    kept::folder("client-go", &files, &[], |folder| {
        copy(&files, folder)?;
        let flags = ["build", "-trimpath", "-o", "agent", "."];
        process::read(command("go", flags).current_dir(folder)).map(drop)
    })
}

fn copy(files: &[PathBuf], folder: &Path) -> Result<()> {
    for file in files {
        std::fs::copy(file, folder.join(file.file_name().unwrap_or_default()))
            .with_context(|| format!("copy {}", file.display()))?;
    }
    Ok(())
}
