//! The humans' tool: approve, explain, verify, replay, export.
//!
//! One file per command; each has its `Args` and a `run`. A command writes its answer to the writer it is given and
//! says with [`Exit`] what scripts must know.

mod approve;
mod classify;
mod cluster;
mod deny;
mod export;
mod fetch;
mod folder;
mod key;
mod replay;
mod requests;
mod scene;
mod sessions;
mod test;
mod verify;
mod why;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Frostgate for humans: decide what agents wait for, read what they did, prove that it is what happened.
#[derive(Debug, Parser)]
#[command(name = "frostgate", version, propagate_version = true, after_help = EXITS)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXITS: &str = "Exit codes: 0 all is well, 1 it failed, 2 wrong arguments, 3 evidence is broken, 4 evidence is missing.";

#[derive(Debug, Subcommand)]
enum Command {
    /// List statements that wait for a human
    Requests(requests::Args),
    /// Let a held statement run once; shows it first
    Approve(approve::Args),
    /// Refuse a held statement; the agent reads the reason
    Deny(deny::Args),
    /// Copy recordings and the ledger out of a cluster
    Fetch(fetch::Args),
    /// Check recordings and the ledger: what is intact, and where the first break is
    Verify(verify::Args),
    /// Show a session as it happened
    Replay(replay::Args),
    /// Write statements as CSV or JSON, one line each
    Export(export::Args),
    /// List recorded sessions
    Sessions(sessions::Args),
    /// Say what becomes of a statement, and why
    Why(why::Args),
    /// Try policies on statements, without a cluster and without Snowflake
    Test(test::Args),
    /// Judge statements from standard input, one JSON line each
    Classify(classify::Args),
    /// Enforce policies on this machine, without a cluster
    Local(local::Config),
}

/// What scripts must know of a run that did not fail, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All is well.
    Well,
    /// Evidence is missing.
    Missing,
    /// Evidence is broken.
    Broken,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Broken => 3,
            Self::Missing => 4,
        }
    }
}

/// Runs what the arguments say.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    let mut out = io::stdout().lock();
    let result = match args.command {
        Command::Requests(args) => requests::run(&args, &mut out),
        Command::Approve(args) => approve::run(&args, &mut out),
        Command::Deny(args) => deny::run(&args, &mut out),
        Command::Fetch(args) => fetch::run(&args, &mut out),
        Command::Verify(args) => verify::run(&args, &mut out),
        Command::Replay(args) => replay::run(&args, &mut out),
        Command::Export(args) => export::run(&args, &mut out),
        Command::Sessions(args) => sessions::run(&args, &mut out),
        Command::Why(args) => why::run(&args, &mut out),
        Command::Test(args) => test::run(&args, &mut out),
        Command::Classify(args) => classify::run(&args, &mut out),
        Command::Local(config) => {
            drop(out);
            return serve(config);
        }
    };
    match result.and_then(|exit| out.flush().map(|()| exit).map_err(Into::into)) {
        Ok(exit) => ExitCode::from(exit.code()),
        // Whoever reads has seen enough, as in `frostgate replay | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |it: &io::Error| it.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|it| it.downcast_ref().is_some_and(is_pipe))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // Nothing is left to do when even this cannot be said.
    writeln!(io::stderr(), "error: {error:#}").ok();
    ExitCode::FAILURE
}

/// Local mode runs until it is interrupted.
fn serve(config: local::Config) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new("info"))
        .with_writer(io::stderr)
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    runtime.block_on(async {
        let shutdown = tokio_util::sync::CancellationToken::new();
        let interrupted = shutdown.clone();
        tokio::spawn(async move {
            // Without signals it runs until it is killed.
            interrupt().await.ok();
            interrupted.cancel();
        });
        match Box::pin(local::run(config, shutdown)).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error.into()),
        }
    })
}

async fn interrupt() -> io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
