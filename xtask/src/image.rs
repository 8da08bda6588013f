//! `cargo xtask image`: the container images of the product, of the agents that tests run, and of
//! what stands around them. Each is pushed and printed as one line, `name reference`, the
//! reference being by digest.

mod agents;
mod cached;
mod debian;
pub(crate) mod layer;
pub(crate) mod product;
pub(crate) mod registry;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::cluster;
use crate::progress::say;

use registry::{Image, Registry};

/// Builds images and pushes them to a registry.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which images; all of them when none is named
    names: Vec<Name>,
    /// Without one, the images go to the registry of `cargo xtask cluster`
    #[command(flatten)]
    registry: registry::Arguments,
}

/// An image that can be built here.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Name {
    /// The product: what runs once per cluster
    Operator,
    /// The product: what runs in every agent's pod
    Proxy,
    /// A shell and the ordinary small tools, for pods that look around
    Busybox,
    /// An agent with the Python drivers of both generations and the command-line client
    Python,
    /// An agent with the Node.js driver
    Node,
    /// An agent with the JDBC driver
    Jdbc,
    /// The stand-in for Snowflake
    Warehouse,
    /// An OpenID provider with test users
    Idp,
    /// Prometheus as Debian ships it, to scrape what we expose
    Prometheus,
}

/// Runs `cargo xtask image`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let registry = arguments.registry.registry().unwrap_or_else(cluster::registry);
    let names = match arguments.names.as_slice() {
        [] => Name::value_variants(),
        names => names,
    };
    for (name, reference) in publish(&registry, names)? {
        println!("{name} {reference}");
    }
    Ok(())
}

/// Builds and pushes; returns the references by digest, in the order asked.
pub(crate) fn publish(registry: &Registry, names: &[Name]) -> Result<Vec<(String, String)>> {
    if !registry.answers() {
        bail!(
            "no registry answers at {}: start one with `cargo xtask cluster up`, or name yours \
             with --registry",
            registry.address
        );
    }
    if names.iter().any(|name| matches!(name, Name::Operator | Name::Proxy)) {
        product::compile()?;
    }
    let mut references = Vec::new();
    for name in names {
        let image = build(*name)?;
        let reference = registry.push(&image)?;
        #[expect(clippy::cast_precision_loss, reason = "a size for people")]
        let size = image.size() as f64 / f64::from(1 << 20);
        say(format!("{:<20} {size:>7.1} MiB", image.name));
        references.push((image.name, reference));
    }
    Ok(references)
}

fn build(name: Name) -> Result<Image> {
    match name {
        Name::Operator => product::operator(),
        Name::Proxy => product::proxy(),
        Name::Busybox => debian::busybox(),
        Name::Python => agents::python(),
        Name::Node => agents::node(),
        Name::Jdbc => agents::jdbc(),
        Name::Warehouse => agents::warehouse(),
        Name::Idp => agents::idp(),
        Name::Prometheus => debian::prometheus(),
    }
}
