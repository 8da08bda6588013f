//! `frostgate export`: statements as CSV or JSON.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context as _;
use recording::export::Export;

use crate::{Exit, folder::Folder, replay::Source, verify};

/// Write statements as CSV or JSON, one line each.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the operator's store or a copy of it, of one session, or a single segment
    path: PathBuf,
    /// Only this session, by its id or the beginning of it
    #[arg(long)]
    session: Option<String>,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Where to; the terminal if absent
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// The ledger's public key, or a file with it; without it nothing says who wrote the recording
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// With a head line; cells are safe for spreadsheets
    Csv,
    /// One JSON object per line
    Json,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let folder = Folder::open(&args.path)?;
    let source = Source::new(&folder, args.key.as_deref())?;
    let mut file = match &args.output {
        Some(path) => Some(BufWriter::new(
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?,
        )),
        None => None,
    };
    let out: &mut dyn Write = match &mut file {
        Some(file) => file,
        None => out,
    };
    let mut exit = Exit::Well;
    for (number, session) in folder.sessions(args.session.as_deref())?.iter().enumerate() {
        let mut export = Export::new(session);
        let report = source.walk(session, |item| export.take(&item))?;
        match args.format {
            Format::Csv => export.csv(&mut *out, number == 0)?,
            Format::Json => export.json(&mut *out)?,
        }
        if !report.is_intact() {
            // Beside the lines, not among them: the file stays what programs expect.
            writeln!(io::stderr(), "{report}")?;
        }
        exit = exit.max(verify::of(&report));
    }
    out.flush()?;
    Ok(exit)
}
