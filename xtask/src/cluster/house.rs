//! The namespaces that a cluster lives in: network, mounts and processes.
//!
//! Everything the cluster starts is a descendant of one first process in a process namespace of
//! its own. Taking the cluster down is ending that one process: the kernel then ends every other,
//! and drops the mounts, the bridge and the routes, without a list of what was started.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{self, command};
use crate::progress::wait;

use super::{layout, network};

/// The namespaces of a running cluster.
pub(crate) struct House {
    /// The process outside that holds the namespaces and waits for the first one inside.
    holder: u32,
}

impl House {
    /// The namespaces that are there already.
    pub(crate) fn find() -> Option<Self> {
        let text = std::fs::read_to_string(layout::holder()).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let holder = pid.parse().ok()?;
        // A process identifier is reused; with its start time it is not.
        (birth(holder)? == started).then_some(Self { holder })
    }

    /// Creates the namespaces, with the network inside and the way to it from outside.
    pub(crate) fn create(first_process: &Path) -> Result<Self> {
        std::fs::create_dir_all(layout::logs())?;
        let log = File::create(layout::logs().join("house.log"))?;
        // The mounts under which programs with fixed paths find folders of their own.
        let script = format!(
            "set -e; mount --make-rshared /; mount -t tmpfs -o mode=755 run /run; \
             mkdir -p /run/netns; mount -t tmpfs -o mode=755 log /var/log; \
             mkdir -p /var/lib/cni; mount -t tmpfs -o mode=755 cni /var/lib/cni; \
             touch {ready}; exec {pause}",
            ready = layout::ready().display(),
            pause = first_process.display(),
        );
        let _ = std::fs::remove_file(layout::ready());
        let child = Command::new("setsid")
            .args(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"])
            .args(["--mount-proc", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start unshare")?;
        let house = Self { holder: child.id() };
        let started = birth(house.holder).context("unshare ended at once, see house.log")?;
        std::fs::write(layout::holder(), format!("{} {started}\n", house.holder))?;
        wait("the namespaces", Duration::from_secs(10), || {
            Ok((!layout::ready().exists()).then(|| "see house.log".to_owned()))
        })?;
        network::create(&house)?;
        Ok(house)
    }

    /// A command that runs inside, in all three namespaces.
    pub(crate) fn enter(&self, program: &Path) -> Command {
        let mut inside = self.nsenter();
        inside
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder))
            .arg(format!("--pid=/proc/{}/ns/pid_for_children", self.holder))
            .arg(program);
        inside
    }

    /// A command that sees the cluster's network and, otherwise, this machine.
    pub(crate) fn network(&self, program: &Path) -> Command {
        let mut inside = self.nsenter();
        inside.arg(program);
        inside
    }

    fn nsenter(&self) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--net=/proc/{}/ns/net", self.holder));
        nsenter
    }

    /// The holder's identifier, whose `/proc/<pid>/ns/net` names the network.
    pub(crate) fn holder(&self) -> u32 {
        self.holder
    }

    /// Starts a program inside that goes on after we end.
    pub(crate) fn start(&self, name: &str, program: &Path, arguments: &[String]) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(layout::logs().join(format!("{name}.log")))?;
        let path =
            format!("{}:/usr/sbin:/sbin", std::env::var_os("PATH").unwrap_or_default().display());
        process::run(
            self.enter(Path::new("setsid"))
                .arg("--fork")
                .arg(program)
                .args(arguments)
                .env("PATH", path)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log),
        )
    }

    /// Whether a program with these leading words runs inside.
    pub(crate) fn runs(&self, program: &Path, first: Option<&str>) -> bool {
        members(self.inside().as_deref()).into_iter().any(|pid| {
            let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
            let mut words = line.split(|byte| *byte == 0);
            words.next() == Some(program.as_os_str().as_encoded_bytes())
                && first.is_none_or(|first| words.next() == Some(first.as_bytes()))
        })
    }

    /// The process namespace, as the kernel names it.
    fn inside(&self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/ns/pid_for_children", self.holder)).ok()
    }

    /// Ends everything inside and waits until it is gone.
    pub(crate) fn end(self) -> Result<()> {
        let containers = containers();
        let inside = self.inside();
        process::run(&mut command("kill", ["-KILL", &self.holder.to_string()]))?;
        wait("the cluster's processes to end", Duration::from_secs(30), || {
            let left = members(inside.as_deref()).len() + usize::from(birth(self.holder).is_some());
            Ok((left > 0).then(|| format!("{left} processes are still there")))
        })?;
        network::remove()?;
        remove_cgroups(&containers);
        Ok(())
    }
}

/// Every process of a process namespace, as this side numbers it.
fn members(namespace: Option<&Path>) -> Vec<u32> {
    let Some(namespace) = namespace else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            std::fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|its| its == namespace)
        })
        .collect()
}

/// When a process was started, in the kernel's ticks; `None` when it is gone.
fn birth(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may itself hold spaces and parentheses.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18).map(str::to_owned))?
}

/// The containers that were created here, by the folders that containerd keeps for them.
fn containers() -> Vec<String> {
    let folder = layout::containerd().join("io.containerd.runtime.v2.task/k8s.io");
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Control groups are the one thing that outlives its processes.
fn remove_cgroups(containers: &[String]) {
    let root = PathBuf::from("/sys/fs/cgroup");
    let controllers = std::fs::read_dir(&root).into_iter().flatten().flatten();
    for base in controllers.map(|entry| entry.path()).chain([root]) {
        for parent in ["k8s.io", ""] {
            for container in containers {
                // Fails for a group that somebody still lives in, which is then not ours.
                let _ = std::fs::remove_dir(base.join(parent).join(container));
            }
        }
        let _ = std::fs::remove_dir(base.join("k8s.io"));
    }
}
