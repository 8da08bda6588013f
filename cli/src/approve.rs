//! `frostgate approve`: let a held statement run once.

use std::io::Write;

use crds::approval_request::Choice;

use crate::Exit;
use crate::requests::decide;

/// Let a held statement run once; shows it first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    decision: decide::Decision,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    decide::run(&args.decision, Choice::Approved, out)
}
