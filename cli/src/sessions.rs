//! `frostgate sessions`: which sessions are recorded.

use std::{io::Write, path::PathBuf};

use recording::{
    Fact,
    transcript::{safe, time},
    verify::read,
};

use crate::{Exit, folder::Folder, verify};

/// List recorded sessions.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the operator's store or a copy of it, of one session, or a single segment
    path: PathBuf,
}

/// What a line says.
#[derive(Default)]
struct Summary {
    opened: String,
    workload: String,
    human: String,
    role: String,
    statements: u64,
    refused: u64,
    held: u64,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let folder = Folder::open(&args.path)?;
    let mut lines = vec![
        [
            "SESSION",
            "OPENED",
            "WORKLOAD",
            "HUMAN",
            "ROLE",
            "STATEMENTS",
            "REFUSED",
            "HELD",
            "STATE",
        ]
        .map(str::to_owned),
    ];
    let mut exit = Exit::Well;
    for session in folder.sessions(None)? {
        let mut summary = Summary::default();
        let report = read(&session, &folder.files(&session)?, |item| {
            summary.take(&item.entry.fact, item.entry.at_ms);
        });
        let state = match verify::of(&report) {
            Exit::Broken => "BROKEN".to_owned(),
            Exit::Missing | Exit::Well => report.state.to_string(),
        };
        exit = exit.max(verify::of(&report));
        lines.push([
            session,
            summary.opened,
            summary.workload,
            summary.human,
            summary.role,
            summary.statements.to_string(),
            summary.refused.to_string(),
            summary.held.to_string(),
            state,
        ]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).map(|it| width(it).unwrap_or(0)).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(exit)
}

impl Summary {
    fn take(&mut self, fact: &Fact, at_ms: i64) {
        match fact {
            Fact::SessionOpened(it) => {
                self.opened = time(at_ms);
                let workload = &it.workload;
                self.workload =
                    safe(&format!("{}/{}/{}", workload.namespace, workload.kind, workload.name));
                self.human = it.human.as_ref().map_or("-".into(), |human| {
                    let mark = if human.verified { "" } else { " (claimed)" };
                    safe(&format!("{}{mark}", human.subject))
                });
                self.role = safe(&it.state.role);
            }
            Fact::Attempted(_) => self.statements += 1,
            Fact::Refused(_) => self.refused += 1,
            Fact::Held(_) => self.held += 1,
            _ => {}
        }
    }
}
