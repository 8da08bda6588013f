//! Generates, checks and tries out: everything around the crates that is not the product.

#![allow(clippy::print_stdout, reason = "a command-line tool talks to its user")]

mod analytics;
mod bench;
mod chart;
mod check;
mod clients;
mod cluster;
mod corpus;
mod demo;
mod e2e;
mod fuzz;
mod generate;
mod image;
mod kept;
mod markers;
mod process;
mod progress;
mod python;
mod stage;
mod target;
mod tidy;
mod workspace;

use std::process::ExitCode;

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
    /// Write what is generated: the YAML of the three kinds
    Generate,
    /// Check the rules of ARCHITECTURE.md that a compiler does not know
    Tidy,
    /// Everything that a change must pass: formatting, lints, tidiness, tests
    Check(check::Arguments),
    /// Decide the benchmark queries, and compare our lineage with another's
    Analytics,
    /// Look for masked values in everything that leaves Frostgate
    Markers,
    /// Judge the statements in SQLGlot's own tests
    Corpus,
    /// A real Kubernetes cluster on this machine, in a network namespace of its own
    Cluster(cluster::Arguments),
    /// Build container images and push them to the cluster's registry
    Image(image::Arguments),
    /// The whole story on this machine, step by step
    Demo(demo::Arguments),
    /// What Frostgate adds to a small SELECT, and what its parts cost
    Bench(bench::Arguments),
    /// Look for inputs that break what must always hold, guided by coverage
    Fuzz(fuzz::Arguments),
    /// Real clients, as they come, and whether each finds what it is used to
    Clients(clients::Arguments),
    /// The promises of the documentation, tried in real pods
    #[command(name = "e2e")]
    E2e(e2e::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Generate => generate::run(),
        Task::Tidy => tidy::run(),
        Task::Check(arguments) => check::run(&arguments),
        Task::Analytics => analytics::run(),
        Task::Markers => markers::run(),
        Task::Corpus => corpus::run(),
        Task::Cluster(arguments) => cluster::run(arguments),
        Task::Image(arguments) => image::run(&arguments),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Clients(arguments) => clients::run(&arguments),
        Task::E2e(arguments) => e2e::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a backtrace: what failed is what was run, not our own functions.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_tasks_and_their_flags_fit_together() {
        super::Arguments::command().debug_assert();
    }
}
