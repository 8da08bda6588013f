//! The cluster's network: a bridge for the pods inside, and one link to this machine.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process::{self, command};

use super::house::House;
use super::layout::{INSIDE, NODE, OUTSIDE, PODS, SERVICES};

const LINK: &str = "frostgate0";

/// Refuses to start over addresses that this machine uses for something else.
pub(crate) fn check() -> Result<()> {
    for network in [PODS, SERVICES, "10.186.0.0/30"] {
        let routes = process::read(&mut command("ip", ["route", "show", "root", network]))?;
        if let Some(route) = routes.lines().find(|route| !route.contains(LINK)) {
            bail!("the cluster needs {network}, which this machine routes already: {route}");
        }
    }
    Ok(())
}

pub(super) fn create(house: &House) -> Result<()> {
    let outside = |line: &str| {
        process::read(&mut command("ip", line.split(' '))).map(drop).context("outside")
    };
    let inside = |program: &str, line: &str| {
        process::read(house.network(Path::new(program)).args(line.split(' ')))
            .map(drop)
            .context("in the cluster's network")
    };
    remove()?;
    let holder = house.holder();
    outside(&format!("link add {LINK} type veth peer name uplink netns {holder}"))?;
    outside(&format!("addr add {OUTSIDE}/30 dev {LINK}"))?;
    outside(&format!("link set {LINK} up"))?;
    inside("ip", "link set lo up")?;
    inside("ip", &format!("addr add {INSIDE}/30 dev uplink"))?;
    inside("ip", "link set uplink up")?;
    inside("ip", "link add cni0 type bridge")?;
    inside("ip", &format!("addr add {NODE}/16 dev cni0"))?;
    inside("ip", "link set cni0 up")?;
    // A Service address is rewritten before it is sent, but only if there is a route for it.
    inside("ip", &format!("route add {SERVICES} dev cni0"))?;
    inside("sysctl", "-q -w net.ipv4.ip_forward=1")?;
    outside(&format!("route add {PODS} via {INSIDE}"))?;
    outside(&format!("route add {SERVICES} via {INSIDE}"))
}

/// Removes the link. The kernel would do it too, but only some time after the last process.
pub(super) fn remove() -> Result<()> {
    if Path::new("/sys/class/net").join(LINK).exists() {
        // It may vanish by itself just now.
        let removed = process::read(&mut command("ip", ["link", "delete", LINK]));
        if Path::new("/sys/class/net").join(LINK).exists() {
            removed?;
        }
    }
    Ok(())
}
