//! `frostgate deny`: refuse a held statement.

use std::io::Write;

use crds::approval_request::Choice;

use crate::Exit;
use crate::requests::decide;

/// Refuse a held statement; the agent reads the reason.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    decision: decide::Decision,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    decide::run(&args.decision, Choice::Denied, out)
}
