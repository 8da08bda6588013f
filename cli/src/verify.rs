//! `frostgate verify`: is it what was recorded, all of it, and signed by whom it must be?

use std::{collections::BTreeSet, io::Write, path::PathBuf};

use recording::verify::{Report, verify};
use serde_json::json;

use crate::{Exit, folder::Folder, key::Key};

/// Check recordings and the ledger.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the operator's store or a copy of it, of one session, or a single segment
    path: PathBuf,
    /// The ledger's public key, or a file with it: the only key that is believed
    #[arg(long, value_name = "KEY|FILE")]
    key: String,
    /// Only this session, by its id or the beginning of it
    #[arg(long)]
    session: Option<String>,
    /// One JSON object per session
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let key = Key::read(&args.key)?;
    let folder = Folder::open(&args.path)?;
    let mut exit = Exit::Well;
    let leaves = match folder.ledger(&key)? {
        Some(Ok(leaves)) => {
            if !args.json {
                writeln!(out, "ledger: intact, {} leaves", leaves.len())?;
            }
            Some(leaves)
        }
        Some(Err(error)) => {
            exit = Exit::Broken;
            if args.json {
                writeln!(out, "{}", json!({"ledger": error.to_string()}))?;
            } else {
                writeln!(out, "ledger: BROKEN\n  {error}")?;
            }
            None
        }
        None => {
            if !args.json {
                writeln!(out, "ledger: not here, so nobody can say what is missing at the end")?;
            }
            None
        }
    };
    let mut sessions: BTreeSet<String> = match folder.sessions(args.session.as_deref()) {
        Ok(sessions) => sessions.into_iter().collect(),
        // Not here, but perhaps in the ledger: that is for the report to say.
        Err(error) => match args.session.clone().filter(|_| leaves.is_some()) {
            Some(session) => [session].into(),
            None => return Err(error),
        },
    };
    if args.session.is_none() && folder.is_whole() {
        let known = leaves.iter().flatten().filter_map(|leaf| leaf.fact.session());
        sessions.extend(known.map(str::to_owned));
    }
    for session in &sessions {
        let files = folder.files(session)?;
        let report = verify(session, &files, key.public(), leaves.as_deref());
        exit = exit.max(of(&report));
        if args.json {
            writeln!(out, "{}", as_json(&report))?;
        } else {
            writeln!(out, "{report}")?;
        }
    }
    Ok(exit)
}

/// What a report means for scripts.
pub(crate) fn of(report: &Report) -> Exit {
    if report.is_intact() {
        Exit::Well
    } else if report.is_missing() {
        Exit::Missing
    } else {
        Exit::Broken
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    let first_break = report.first_break.as_ref().map(|it| {
        json!({
            "segment": it.segment, "entry": it.entry, "byte": it.byte,
            "problem": it.problem.to_string(),
        })
    });
    let contradictions: Vec<_> = report
        .contradictions
        .iter()
        .map(|it| json!({"entry": it.entry, "what": it.what}))
        .collect();
    json!({
        "session": report.session,
        "intact": report.is_intact(),
        "state": format!("{:?}", report.state),
        "segments": report.segments,
        "entries": report.entries,
        "sealed": report.sealed,
        "firstBreak": first_break,
        "contradictions": contradictions,
        "unlogged": report.unlogged,
    })
}
