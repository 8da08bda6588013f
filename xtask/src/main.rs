//! Generates, checks and tries out: everything around the crates that is not the product.

#![allow(clippy::print_stdout, reason = "a command-line tool talks to its user")]

mod cluster;
mod image;
mod process;
mod progress;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The tasks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// A real Kubernetes cluster on this machine, in a network namespace of its own
    Cluster(cluster::Arguments),
    /// Build container images and push them to the cluster's registry
    Image(image::Arguments),
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Cluster(arguments) => cluster::run(arguments),
        Task::Image(arguments) => image::run(arguments),
    }
}
