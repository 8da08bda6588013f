//! A pod with a driver that knows nothing of Frostgate.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kubectl::{Answer, kubectl};
use crate::{eventually, stage};

/// Which driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// snowflake-connector-python 4.x: pure Python.
    Python4,
    /// snowflake-connector-python 5.x: the Rust core.
    Python5,
    /// snowflake-sdk of Node.js.
    Node,
    /// snowflake-jdbc.
    Jdbc,
}

impl Driver {
    /// The image that has it.
    #[must_use]
    pub fn image(self) -> &'static str {
        match self {
            Self::Python4 | Self::Python5 => "agent-python",
            Self::Node => "agent-node",
            Self::Jdbc => "agent-jdbc",
        }
    }

    fn program(self) -> &'static [&'static str] {
        match self {
            Self::Python4 => &["/opt/connector4/bin/python", "/agent/agent.py"],
            Self::Python5 => &["/opt/connector5/bin/python", "/agent/agent.py"],
            Self::Node => &["node", "/agent/agent.js"],
            // The JVM's own rule for Arrow since JDK 17, with or without Frostgate.
            Self::Jdbc => &["java", "--add-opens=java.base/java.nio=ALL-UNNAMED", "Agent"],
        }
    }
}

/// One running pod.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
}

impl Agent {
    /// Waits until a pod of the Deployment is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn of_deployment(namespace: &str, name: &str) -> Self {
        let pod = eventually("the agent's pod", Duration::from_secs(120), || {
            let words = [
                "get",
                "pods",
                "-n",
                namespace,
                "-l",
                &format!("app={name}"),
                "-o",
                "jsonpath={range .items[?(@.status.containerStatuses[0].ready==true)]}{.metadata.name}{\"\\n\"}{end}",
            ];
            let answer = kubectl(&words);
            let ready = answer.out.lines().next().map(str::to_owned);
            ready.ok_or_else(|| {
                kubectl(&["describe", "deployment,replicaset,pods", "-n", namespace]).out
            })
        });
        Self { namespace: namespace.to_owned(), pod }
    }

    /// Runs a task with a driver and returns its answer.
    ///
    /// # Panics
    /// When the agent says nothing.
    #[must_use]
    pub fn run(&self, driver: Driver, task: &Value) -> Value {
        answer(self.start(driver, task))
    }

    /// Runs SQL with the Python driver of today.
    #[must_use]
    pub fn sql(&self, sql: &str) -> Value {
        self.run(Driver::Python5, &json!({"sql": sql}))
    }

    /// Starts a task and returns while it runs.
    ///
    /// # Panics
    /// When kubectl cannot be started.
    #[must_use]
    pub fn start(&self, driver: Driver, task: &Value) -> Child {
        self.exec()
            .args(driver.program())
            .arg(task.to_string())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Starts a Python script that prints as it goes, with one of the Python drivers.
    ///
    /// # Panics
    /// When kubectl cannot be started.
    #[must_use]
    pub fn start_python(&self, driver: Driver, script: &str) -> Child {
        self.exec().args([driver.program()[0], "-c", script]).spawn().unwrap()
    }

    /// kubectl, up to the command that is to run in the agent's container.
    fn exec(&self) -> Command {
        let mut kubectl = Command::new("kubectl");
        kubectl
            .args(["exec", "-n", &self.namespace, &self.pod, "-c", "agent", "--"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        kubectl
    }

    /// Runs a shell line in the agent's container.
    #[must_use]
    pub fn shell(&self, line: &str) -> Answer {
        kubectl(&["exec", "-n", &self.namespace, &self.pod, "-c", "agent", "--", "sh", "-c", line])
    }
}

/// The answer of a started task, once it ends.
///
/// # Panics
/// When it ends without an answer.
#[must_use]
pub fn answer(child: Child) -> Value {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .unwrap_or_else(|_| panic!("no answer: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// The reference of an image.
///
/// # Panics
/// When the stage has no such image.
#[must_use]
pub fn image(name: &str) -> &'static str {
    stage().images.get(name).unwrap_or_else(|| panic!("the stage has no image {name}"))
}
