//! Which cluster the stage is set in: the one that is made here, or one of the user's.
//!
//! The choice is made once. After it everything goes the same way in both: kubectl and helm with one kubeconfig, one
//! registry, and the API server's own proxy to reach what runs in pods.

mod requirements;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cluster::{self, layout};
use crate::demo::account::private;
use crate::demo::story::Beside;
use crate::image::registry::{self, Registry};
use crate::process::{self, command};
use crate::progress::{say, wait};
use crate::workspace;

/// Marks the namespaces that a stage made, so that none of somebody else's is changed.
pub(crate) const LABEL: &str = "frostgate.dev/stage";

/// Which cluster to use.
#[derive(clap::Args, Default)]
#[group(skip)]
pub(crate) struct Arguments {
    /// A cluster of yours (kind, k3d, ...) instead of one that is made here. $KUBECONFIG is never used: it may name a
    /// cluster that matters
    #[arg(long, value_name = "FILE", env = "FROSTGATE_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Context of that file, instead of its current one
    #[arg(long, requires = "kubeconfig", env = "FROSTGATE_CONTEXT")]
    context: Option<String>,
    #[command(flatten)]
    registry: registry::Arguments,
}

/// A cluster that can be used.
pub(crate) struct Target {
    /// Where its nodes pull from.
    pub(crate) registry: Registry,
    /// Keys, recordings and the description of the stage.
    pub(crate) state: PathBuf,
    /// Names exactly one cluster and one user.
    pub(crate) kubeconfig: PathBuf,
    kubectl: PathBuf,
    /// Whether it was made here: then every test human has a context with a certificate.
    ours: bool,
}

impl Target {
    /// Brings our own cluster up, or looks whether the user's has what is needed.
    pub(crate) fn up(arguments: &Arguments) -> Result<Self> {
        let target = Self::of(arguments)?;
        if target.ours {
            cluster::up()?;
        } else {
            requirements::check(&target)?;
        }
        Ok(target)
    }

    /// As [`Target::up`] left it.
    pub(crate) fn of(arguments: &Arguments) -> Result<Self> {
        match &arguments.kubeconfig {
            None if arguments.registry.is_named() => {
                bail!(
                    "--registry belongs to --kubeconfig: the cluster that is made here has its own"
                )
            }
            None => Ok(Self {
                registry: cluster::registry(),
                state: layout::state().to_owned(),
                kubeconfig: layout::kubeconfig(),
                kubectl: workspace::cache()?.join("tools/kubectl"),
                ours: true,
            }),
            Some(file) => Self::theirs(file, arguments),
        }
    }

    fn theirs(file: &std::path::Path, arguments: &Arguments) -> Result<Self> {
        if !file.is_file() {
            bail!("there is no kubeconfig {}", file.display());
        }
        if !process::installed("kubectl") {
            bail!("install kubectl: it is how your cluster is spoken to");
        }
        let state = workspace::target().join("stage");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&state)?;
        // A copy of the one context that is meant: tools change the current one behind our back.
        let context = arguments.context.iter().flat_map(|name| ["--context", name]);
        let chosen = process::read(
            command("kubectl", ["config", "view", "--minify", "--flatten", "--raw"])
                .args(context)
                .arg("--kubeconfig")
                .arg(file),
        )?;
        let kubeconfig = state.join("kubeconfig");
        private(&kubeconfig, &chosen)?;
        let mut target = Self {
            registry: Registry { address: String::new(), known_as: String::new() },
            state,
            kubeconfig,
            kubectl: "kubectl".into(),
            ours: false,
        };
        target.registry = match arguments.registry.registry() {
            Some(registry) => registry,
            None => target.published_registry().context(
                "name a registry that your nodes pull from with --registry HOST:PORT, and with --known-as \
                 HOST:PORT the nodes' own name for it",
            )?,
        };
        Ok(target)
    }

    /// The local registry that the cluster itself names, as tools for clusters on a laptop agreed to do it.
    fn published_registry(&self) -> Option<Registry> {
        let path = "jsonpath={.data.localRegistryHosting\\.v1}";
        let words = ["get", "configmap", "-n", "kube-public", "local-registry-hosting", "-o", path];
        let text = self.kubectl(&words).ok()?;
        let hosting: BTreeMap<String, String> = serde_yaml::from_str(&text).ok()?;
        let address = hosting.get("host")?.clone();
        let known_as = hosting.get("hostFromContainerRuntime").unwrap_or(&address).clone();
        Some(Registry { address, known_as })
    }

    /// kubectl as the administrator.
    pub(crate) fn kubectl_command(&self) -> Command {
        let mut kubectl = Command::new(&self.kubectl);
        kubectl.env("KUBECONFIG", &self.kubeconfig);
        kubectl
    }

    /// The folder of the kubectl that is meant, unless it is the user's own.
    pub(crate) fn tools(&self) -> Option<PathBuf> {
        self.kubectl.parent().filter(|_| self.ours).map(Into::into)
    }

    /// Runs kubectl as the administrator and returns what it printed.
    pub(crate) fn kubectl(&self, words: &[&str]) -> Result<String> {
        process::read(self.kubectl_command().args(words))
    }

    /// helm, the user's own where there is one.
    pub(crate) fn helm_command(&self) -> Result<Command> {
        let helm = if process::installed("helm") { "helm".into() } else { cluster::helm()? };
        let mut helm = Command::new(helm);
        helm.env("KUBECONFIG", &self.kubeconfig);
        Ok(helm)
    }

    /// What makes kubectl speak as each of the test humans, and as the administrator.
    pub(crate) fn humans(&self) -> BTreeMap<&'static str, Vec<&'static str>> {
        let human = |(name, user, group): &(&'static str, &'static str, Option<&'static str>)| {
            if self.ours {
                return (*name, vec!["--context", *name]);
            }
            let groups = group.iter().flat_map(|group| ["--as-group", *group]);
            (*name, ["--as", *user].into_iter().chain(groups).collect())
        };
        let admin = if self.ours { vec!["--context", "admin"] } else { Vec::new() };
        std::iter::once(("admin", admin)).chain(cluster::HUMANS.iter().map(human)).collect()
    }

    /// Applies objects, and asks again while the API server is not ready for them.
    pub(crate) fn apply(&self, yaml: &str) -> Result<()> {
        let path = self.state.join("stage.yaml");
        private(&path, yaml)?;
        let path = path.display().to_string();
        wait("the API server to take the objects", Duration::from_secs(60), || {
            // A webhook that was installed a moment ago may not answer yet.
            Ok(self.kubectl(&["apply", "-f", &path]).err().map(|error| format!("{error:#}")))
        })
    }

    /// Waits for a Deployment; says what its pods wait for when it does not get there.
    pub(crate) fn rollout(&self, namespace: &str, name: &str) -> Result<()> {
        let name = format!("deployment/{name}");
        let rolled = self.kubectl(&["rollout", "status", "-n", namespace, &name, "--timeout=180s"]);
        rolled.map(drop).with_context(|| self.waiting(namespace))
    }

    /// What the containers of a namespace wait for, in the kubelet's words.
    pub(crate) fn waiting(&self, namespace: &str) -> String {
        let path = "jsonpath={range .items[*].status['initContainerStatuses','containerStatuses'][*]}\
                    {.name}: {.state.waiting.reason} {.state.waiting.message}{\"\\n\"}{end}";
        let said = self.kubectl(&["get", "pods", "-n", namespace, "-o", path]).unwrap_or_default();
        let waiting = said.lines().filter(|line| !line.trim_end().ends_with(':'));
        format!("in namespace {namespace}: {}", waiting.collect::<Vec<_>>().join("; "))
    }

    /// A way from this machine to what runs in pods: the API server's proxy, on a loopback port, for as long as the
    /// result is held, and to those ports alone.
    pub(crate) fn proxy(&self) -> Result<Proxy> {
        let mut kubectl = self.kubectl_command();
        kubectl
            .args(["proxy", "--port=0"])
            .arg(format!(
                "--accept-paths=^/api/v1/namespaces/[a-z0-9-]+/(pods|services)/[a-z0-9.:-]+:({})/proxy/",
                PORTS.join("|")
            ))
            .stdout(Stdio::piped());
        let mut beside = Beside::start(&mut kubectl, false)?;
        let mut line = String::new();
        let said = beside.stdout().context("kubectl proxy has no output")?;
        BufReader::new(said).read_line(&mut line)?;
        let address = line.trim().rsplit(' ').next().unwrap_or_default();
        if address.is_empty() {
            bail!("kubectl proxy did not start");
        }
        Ok(Proxy { address: format!("http://{address}/api/v1/namespaces"), _kubectl: beside })
    }

    /// How to look around, as one would type it.
    pub(crate) fn by_hand(&self) -> String {
        if self.ours {
            "cargo xtask cluster kubectl".to_owned()
        } else {
            format!("kubectl --kubeconfig {}", self.kubeconfig.display())
        }
    }

    /// How to remove what the stage brought, in this order: the operator drops the users it made while it can.
    pub(crate) fn tear_down(&self) -> Vec<String> {
        if self.ours {
            return vec!["cargo xtask cluster down".to_owned()];
        }
        let kubectl = self.by_hand();
        let kubeconfig = self.kubeconfig.display();
        vec![
            format!("{kubectl} delete snowflakeconnections --all --all-namespaces"),
            format!("helm --kubeconfig {kubeconfig} uninstall frostgate -n frostgate-system"),
            format!("{kubectl} delete namespace -l {LABEL}"),
            format!("{kubectl} delete -f charts/frostgate/crds"),
        ]
    }

    fn describe(&self) -> Result<()> {
        let path = "jsonpath={.current-context} at {.clusters[0].cluster.server}";
        let named = self.kubectl(&["config", "view", "--minify", "-o", path])?;
        say(format!(
            "using the cluster of context {named}, images from {}",
            self.registry.known_as
        ));
        Ok(())
    }
}

/// The ports that tests and the demonstration look at: the account's own listener for tests, metrics of the operator
/// and of sidecars, Prometheus.
const PORTS: [&str; 4] = ["9443", "8080", "15990", "9090"];

/// A way to what runs in pods.
pub(crate) struct Proxy {
    /// What a URL begins with, up to and without the namespace.
    pub(crate) address: String,
    _kubectl: Beside,
}
