//! Where a cluster keeps its files, and at which addresses it is reached.

use std::path::{Path, PathBuf};

/// This machine's end of the link.
pub(crate) const OUTSIDE: &str = "10.186.0.1";
/// The cluster's end of the link: API server and registry answer here.
pub(crate) const INSIDE: &str = "10.186.0.2";
/// The node, on the bridge of its pods.
pub(crate) const NODE: &str = "10.187.0.1";
/// Where pods get their addresses.
pub(crate) const PODS: &str = "10.187.0.0/16";
/// Where Services get theirs.
pub(crate) const SERVICES: &str = "10.188.0.0/16";
/// The API server's Service.
pub(crate) const API: &str = "10.188.0.1";
/// The DNS Service.
pub(crate) const DNS: &str = "10.188.0.10";
/// The registry as nodes name it; containerd speaks plain HTTP to a loopback name.
pub(crate) const REGISTRY: &str = "localhost:5000";
/// The same registry as this machine reaches it.
pub(crate) const REGISTRY_OUTSIDE: &str = "10.186.0.2:5000";

/// Everything that `down` removes.
pub(crate) fn state() -> &'static Path {
    Path::new("/var/lib/frostgate-cluster")
}

/// The administrator's kubeconfig, with one context for every test user.
pub(crate) fn kubeconfig() -> PathBuf {
    state().join("kubeconfig")
}

/// Keys and certificates.
pub(crate) fn identities() -> PathBuf {
    state().join("identities")
}

/// One log per component.
pub(crate) fn logs() -> PathBuf {
    state().join("logs")
}

/// Folders behind the static volumes.
pub(crate) fn volumes() -> PathBuf {
    state().join("volumes")
}

/// Images, volumes of snapshots and metadata of containerd.
pub(crate) fn containerd() -> PathBuf {
    state().join("containerd")
}

pub(super) fn holder() -> PathBuf {
    state().join("holder")
}

pub(super) fn ready() -> PathBuf {
    state().join("ready")
}
