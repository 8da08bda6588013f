//! `frostgate replay`: a session as it happened.

use std::{fmt, io::Write, path::PathBuf};

use recording::{
    transcript::{Options, Transcript},
    verify::{Item, Report, read, verify_with},
};

use crate::{Exit, folder::Folder, key::Key, verify};

/// Show a session as it happened.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the operator's store or a copy of it, of one session, or a single segment
    path: PathBuf,
    /// Only this session, by its id or the beginning of it
    #[arg(long)]
    session: Option<String>,
    /// Show the rows as the agent saw them
    #[arg(long)]
    rows: bool,
    /// The ledger's public key, or a file with it; without it nothing says who wrote the recording
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let folder = Folder::open(&args.path)?;
    let source = Source::new(&folder, args.key.as_deref())?;
    let mut exit = Exit::Well;
    for session in folder.sessions(args.session.as_deref())? {
        writeln!(out, "session {session}")?;
        let mut pipe = Pipe { out, failed: None };
        let mut transcript = Transcript::new(&mut pipe, Options { rows: args.rows });
        let mut is_shown = Ok(());
        let report = source.walk(&session, |item| {
            is_shown = is_shown.and_then(|()| transcript.show(&item));
        })?;
        if let Some(error) = pipe.failed {
            return Err(error.into());
        }
        writeln!(out, "{report}\n")?;
        exit = exit.max(verify::of(&report));
    }
    Ok(exit)
}

/// Sessions of a folder, checked against a key if there is one.
pub(crate) struct Source<'a> {
    folder: &'a Folder,
    key: Option<Key>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(folder: &'a Folder, key: Option<&str>) -> anyhow::Result<Self> {
        Ok(Self { folder, key: key.map(Key::read).transpose()? })
    }

    pub(crate) fn walk(&self, session: &str, visit: impl FnMut(Item)) -> anyhow::Result<Report> {
        let files = self.folder.files(session)?;
        Ok(match &self.key {
            Some(key) => verify_with(session, &files, key.public(), None, visit),
            None => read(session, &files, visit),
        })
    }
}

/// Text for a writer of bytes, which keeps the writer's error.
struct Pipe<'a> {
    out: &'a mut dyn Write,
    failed: Option<std::io::Error>,
}

impl fmt::Write for Pipe<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.failed = Some(error);
            fmt::Error
        })
    }
}
