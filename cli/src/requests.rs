//! `frostgate requests`: what waits for a human.

use std::io::Write;

use crds::approval_request::Phase;
use k8s_openapi::jiff::Timestamp;

use crate::Exit;

pub(crate) mod decide;
pub(crate) mod show;
mod socket;
pub(crate) mod source;

/// List statements that wait for a human.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: source::Place,
    /// In all namespaces
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Also those that are decided, expired or withdrawn
    #[arg(long)]
    all: bool,
    /// One JSON object per request
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut requests = source::wait(async {
        let source = args.place.open().await?;
        source.list(args.all_namespaces).await
    })?;
    requests.retain(|request| args.all || request.phase() == Phase::Pending);
    requests.sort_by_key(|request| request.spec.expires_at.0);
    if args.json {
        for request in &requests {
            serde_json::to_writer(&mut *out, request)?;
            writeln!(out)?;
        }
    } else if requests.is_empty() {
        writeln!(out, "nothing waits")?;
    } else {
        out.write_all(show::table(&requests, Timestamp::now()).as_bytes())?;
    }
    Ok(Exit::Well)
}

#[cfg(test)]
mod tests;
