//! `cargo xtask cluster`: a real Kubernetes cluster of one node on this machine.
//!
//! It lives in namespaces of its own and is built from public sources: Kubernetes and CoreDNS from
//! the Go modules in `e2e/cluster`, containerd and runc from Debian.

mod binaries;
mod components;
mod house;
mod identities;
pub(crate) mod layout;
mod network;
pub(crate) mod packages;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::image::layer;
use crate::image::registry::{Image, Registry};
use crate::process;
use crate::progress::{say, wait};
use crate::workspace;

use components::{Binaries, VOLUMES};
use house::House;

pub(crate) use identities::HUMANS;

/// A real Kubernetes cluster on this machine.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build what is missing, start what does not run, and print how to use it
    Up,
    /// End everything that `up` started and remove its files; builds are kept
    Down,
    /// What runs, and how to use it
    Status,
    /// Run kubectl as the administrator, or as a test user with `--context alice`
    Kubectl {
        /// kubectl's own words
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Run helm against the cluster
    Helm {
        /// helm's own words
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Run a command in the cluster's network, mounts and processes
    Exec {
        /// The command and its words
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<OsString>,
    },
}

/// Runs `cargo xtask cluster`.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.action {
        Action::Up => up(),
        Action::Down => down(),
        Action::Status => status(),
        Action::Kubectl { words } => become_tool(&binaries::kubernetes()?, &["kubectl"], &words),
        Action::Helm { words } => become_tool(&binaries::helm()?, &[], &words),
        Action::Exec { words } => {
            let house = House::find().context(NOT_UP)?;
            let (program, rest) = words.split_first().context("name a command")?;
            Err(house.enter(Path::new(program)).args(rest).exec().into())
        }
    }
}

const NOT_UP: &str = "no cluster runs here: start it with `cargo xtask cluster up`";

/// Starts what does not run yet.
pub(crate) fn up() -> Result<()> {
    if !fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        bail!("a cluster needs root: containers, a bridge and control groups are created");
    }
    let _alone = alone()?;
    packages::install()?;
    let binaries = Binaries {
        pause: binaries::pause()?,
        registry: binaries::registry()?,
        coredns: binaries::coredns()?,
        kubernetes: binaries::kubernetes()?,
    };
    link_tools(&binaries)?;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(layout::state())?;
    identities::create()?;

    let house = match House::find() {
        Some(house) => house,
        None => {
            network::check()?;
            say("creating the namespaces and the network");
            House::create(&binaries.pause)?
        }
    };
    let registry = registry();
    for component in components::all(&binaries) {
        if house.runs(&component.program, component.first()) {
            continue;
        }
        say(format!("starting {}", component.name));
        house.start(component.name, &component.program, &component.arguments)?;
        match component.name {
            "registry" => {
                wait("the registry", Duration::from_secs(20), || {
                    Ok((!registry.answers()).then(|| "see registry.log".to_owned()))
                })?;
                components::configure(&registry.push(&pause(&binaries.pause)?)?)?;
            }
            "kube-apiserver" => {
                wait("the API server", Duration::from_secs(120), || {
                    Ok(kubectl(&["get", "--raw", "/readyz"]).err().as_ref().map(last_line))
                })?;
                apply(&components::objects())?;
            }
            _ => {}
        }
    }
    renew_volumes()?;
    wait("every component", Duration::from_secs(20), || {
        // One that could not read its configuration ends a moment after its start.
        let dead: Vec<&str> = components::all(&binaries)
            .iter()
            .filter(|component| !house.runs(&component.program, component.first()))
            .map(|component| component.name)
            .collect();
        Ok((!dead.is_empty()).then(|| format!("{} ended, see its log", dead.join(", "))))
    })?;
    wait("the node", Duration::from_secs(120), || {
        let ready = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
        let ready = kubectl(&["get", "nodes", "-o", ready])?;
        // Nothing is scheduled while the taint of a node that is not ready is still on it.
        let taints = kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].spec.taints[*].key}"])?;
        Ok((ready.trim() != "True" || !taints.is_empty())
            .then(|| format!("Ready is {:?}, taints are {taints:?}", ready.trim())))
    })?;
    wait("the default ServiceAccount", Duration::from_secs(60), || {
        Ok(kubectl(&["get", "serviceaccount", "default"]).err().as_ref().map(last_line))
    })?;
    say("the cluster is up");
    explain()
}

/// Whether one runs here.
pub(crate) fn stands() -> bool {
    House::find().is_some()
}

/// Ends it and removes its files.
pub(crate) fn down() -> Result<()> {
    let _alone = alone()?;
    if let Some(house) = House::find() {
        say("ending the cluster's processes");
        house.end()?;
    }
    if layout::state().exists() {
        say(format!("removing {}", layout::state().display()));
        fs::remove_dir_all(layout::state())?;
    }
    say("the cluster is down");
    Ok(())
}

fn status() -> Result<()> {
    let house = House::find().context(NOT_UP)?;
    let binaries = Binaries {
        pause: binaries::pause()?,
        registry: binaries::registry()?,
        coredns: binaries::coredns()?,
        kubernetes: binaries::kubernetes()?,
    };
    let mut dead = 0;
    for component in components::all(&binaries) {
        let runs = house.runs(&component.program, component.first());
        dead += usize::from(!runs);
        println!("{:<24} {}", component.name, if runs { "runs" } else { "does not run" });
    }
    if dead > 0 {
        bail!("{dead} components do not run: `cargo xtask cluster up` starts them");
    }
    explain()
}

fn explain() -> Result<()> {
    let tools = workspace::cache()?.join("tools");
    let humans: Vec<&str> = identities::HUMANS.iter().map(|(name, _, _)| *name).collect();
    println!(
        "\n  export KUBECONFIG={kubeconfig} PATH={tools}:$PATH\n\n\
         kubectl      administrator; test users: --context {humans}\n\
         registry     push to {outside}, pods name it {inside}\n\
         Services     {services} and pods {pods} are reachable from this machine\n\
         logs         {logs}\n\
         inside       cargo xtask cluster exec -- COMMAND\n\
         tear down    cargo xtask cluster down",
        kubeconfig = layout::kubeconfig().display(),
        tools = tools.display(),
        humans = humans.join("|"),
        outside = layout::REGISTRY_OUTSIDE,
        inside = layout::REGISTRY,
        services = layout::SERVICES,
        pods = layout::PODS,
        logs = layout::logs().display(),
    );
    Ok(())
}

/// The registry of the cluster on this machine.
pub(crate) fn registry() -> Registry {
    Registry { address: layout::REGISTRY_OUTSIDE.to_owned(), known_as: layout::REGISTRY.to_owned() }
}

fn pause(binary: &Path) -> Result<Image> {
    let mut writer = layer::Writer::new();
    writer.file("pause", 0o755, &fs::read(binary)?)?;
    Ok(Image {
        name: "pause".to_owned(),
        tag: "latest".to_owned(),
        layers: vec![writer.finish()?],
        config: serde_json::json!({ "Entrypoint": ["/pause"], "User": "65535:65535" }),
    })
}

/// Waits until nobody else brings the cluster up or down; nobody does while the file is held.
fn alone() -> Result<fs::File> {
    let lock = fs::File::create(workspace::cache()?.join("cluster.lock"))?;
    if lock.try_lock().is_err() {
        say("waiting for another `cargo xtask cluster` to finish");
        lock.lock()?;
    }
    Ok(lock)
}

/// Puts the built tools under their plain names.
fn link_tools(binaries: &Binaries) -> Result<()> {
    let folder = workspace::cache()?.join("tools");
    fs::create_dir_all(&folder)?;
    let kubectl = folder.join("kubectl");
    let script = format!("#!/bin/sh\nexec {} kubectl \"$@\"\n", binaries.kubernetes.display());
    fs::write(&kubectl, script)?;
    fs::set_permissions(&kubectl, PermissionsExt::from_mode(0o755))?;
    Ok(())
}

fn become_tool(program: &Path, first: &[&str], words: &[OsString]) -> Result<()> {
    let mut tool = Command::new(program);
    // Always of this cluster, whatever $KUBECONFIG says.
    tool.args(first).args(words).env("KUBECONFIG", layout::kubeconfig());
    Err(tool.exec()).with_context(|| format!("start {}", program.display()))
}

/// kubectl as the administrator; what it does without a cluster works without one.
pub(crate) fn kubectl_command() -> Result<Command> {
    let mut kubectl = Command::new(binaries::kubernetes()?);
    kubectl.arg("kubectl").env("KUBECONFIG", layout::kubeconfig());
    Ok(kubectl)
}

/// The program `helm`, built if it is not there.
pub(crate) fn helm() -> Result<std::path::PathBuf> {
    binaries::helm()
}

/// kubectl as the administrator; returns what it printed.
pub(crate) fn kubectl(words: &[&str]) -> Result<String> {
    process::read(kubectl_command()?.args(words))
}

fn apply(objects: &serde_json::Value) -> Result<()> {
    let path = layout::state().join("objects.json");
    fs::write(&path, objects.to_string())?;
    let path = path.display().to_string();
    wait("the cluster's own objects", Duration::from_secs(60), || {
        // `kube-system` itself is created a moment after the API server is ready.
        Ok(kubectl(&["apply", "-f", &path]).err().as_ref().map(last_line))
    })
}

/// A volume whose claim is gone is emptied and offered anew.
fn renew_volumes() -> Result<()> {
    let released = "jsonpath={range .items[?(@.status.phase==\"Released\")]}{.metadata.name} {end}";
    for name in kubectl(&["get", "persistentvolumes", "-o", released])?.split_whitespace() {
        if !VOLUMES.contains(&name) {
            continue;
        }
        kubectl(&["delete", "persistentvolume", name, "--wait=true", "--timeout=30s"])?;
        fs::remove_dir_all(layout::volumes().join(name))?;
    }
    for name in VOLUMES {
        let folder = layout::volumes().join(name);
        fs::create_dir_all(&folder)?;
        // A folder of the node is not handed over to the pod's user as other volumes are.
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o777))?;
    }
    apply(&components::objects())
}

fn last_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}
