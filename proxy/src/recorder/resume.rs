//! Goes on with recordings where the sidecar before this one ended: the same chain, the same key, and an entry that
//! says so.
//!
//! What was attempted and never sent has no outcome yet; it gets one here, unless whoever resumes the session goes on
//! with the statement.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    path::PathBuf,
};

use recording::{
    Entry, Fact, SigningKey,
    entry::{Recovered, Refused},
    segment::{EXTENSION, Finished, Kind, Reader, Writer},
};

use super::{Session, Unrecorded, spool, spool::Spool};

/// A recording that was not ended.
#[derive(Debug)]
pub struct Interrupted {
    /// The session's id.
    pub session: String,
    /// The session's recording key.
    pub key: SigningKey,
    /// How many statements were attempted, as far as is known.
    pub attempted: u64,
    /// Those that whoever resumes the session goes on with.
    pub under_way: HashSet<String>,
    /// Those among the attempted ones that an earlier start gave up.
    pub given_up: HashSet<String>,
}

/// A recording that goes on.
pub struct Resumed {
    /// The recording.
    pub recording: Session,
    /// Outcomes that are on record, by statement, among the last ones.
    pub outcomes: BTreeMap<String, Fact>,
}

/// Where a chain goes on.
pub(super) enum Place {
    /// In the middle of a segment.
    Within { path: PathBuf, file: File, writer: Box<Writer> },
    /// Behind a sealed one.
    Behind(Finished),
}

/// What is found of an interrupted recording.
pub(super) struct Found {
    pub(super) place: Place,
    /// What is to be put on record first.
    pub(super) facts: Vec<Fact>,
    /// How many statements were attempted.
    pub(super) attempted: u64,
    /// Those among them that nobody knew of, and nobody goes on with.
    pub(super) given_up: Vec<String>,
    pub(super) outcomes: BTreeMap<String, Fact>,
}

/// Finds the end of the chain, and cuts off what is not whole.
pub(super) fn find(spool: &Spool, interrupted: &Interrupted) -> Result<Found, Unrecorded> {
    let unwritable = |what: &str| Unrecorded::Unwritable(what.to_owned());
    let files = spool.files_of(&interrupted.session)?;
    let Some(last) = files.last() else {
        return Err(unwritable("nothing of the recording is here any more"));
    };
    let bytes = fs::read(last)?;
    let (writer, end) =
        Writer::recover(&bytes).map_err(|error| Unrecorded::Unwritable(error.to_string()))?;
    let header = writer.header();
    if header.session != interrupted.session || !header.names(&interrupted.key.public()) {
        return Err(unwritable("the recording is of another session or key"));
    }
    // The entries before the last ones are known: a statement is noted as soon as it is attempted.
    let mut known = Statements::default();
    for path in files.iter().rev().take(2).rev() {
        known.read(if path == last {
            bytes.get(..end).unwrap_or_default().to_vec()
        } else {
            fs::read(path)?
        });
    }
    let Statements { attempted, outcomes } = known;
    let dangling: Vec<String> = attempted
        .into_iter()
        .filter(|it| !outcomes.contains_key(it) && !interrupted.under_way.contains(it))
        .collect();
    let refused = dangling.iter().map(|statement| {
        Fact::Refused(Refused {
            statement: Some(statement.clone()),
            code: "FG-9001".into(),
            message: "given up before it was sent: the sidecar ended".into(),
        })
    });
    let refused: Vec<Fact> = refused.collect();
    // One that a start before this gave up, and ended before it said so, is counted already.
    let given_up: Vec<String> =
        dangling.into_iter().filter(|it| !interrupted.given_up.contains(it)).collect();
    let attempted = interrupted.attempted + given_up.len() as u64;
    let (place, dropped_bytes) = if last.extension().is_some_and(|it| it == EXTENSION) {
        let finished =
            Finished::read(&bytes).map_err(|error| Unrecorded::Unwritable(error.to_string()))?;
        if !finished.is_sealed || finished.is_final {
            return Err(unwritable("the recording has ended"));
        }
        (Place::Behind(finished), 0)
    } else {
        let file = File::options().append(true).open(last)?;
        file.set_len(end as u64)?;
        let dropped_bytes = (bytes.len() - end) as u64;
        spool.release(dropped_bytes);
        (Place::Within { path: last.clone(), file, writer: Box::new(writer) }, dropped_bytes)
    };
    let recovered = Fact::Recovered(Recovered {
        dropped_bytes,
        cause: "the sidecar started again and goes on with the session".into(),
    });
    let facts = [recovered].into_iter().chain(refused).collect();
    Ok(Found { place, facts, attempted, given_up, outcomes })
}

/// Ends a recording that cannot go on, as every crash ended it that left no key behind.
pub(super) fn abandon(spool: &Spool, session: &str) -> Result<(), Unrecorded> {
    let files = spool.files_of(session)?;
    let hot = files.iter().filter(|path| path.extension().is_some_and(|it| it == spool::HOT));
    hot.into_iter().try_for_each(|path| spool::recover(session, path))
}

/// The statements of some segments.
#[derive(Default)]
struct Statements {
    attempted: Vec<String>,
    outcomes: BTreeMap<String, Fact>,
}

impl Statements {
    #[expect(clippy::needless_pass_by_value, reason = "the bytes of a segment go when it is read")]
    fn read(&mut self, bytes: Vec<u8>) {
        let Ok(mut reader) = Reader::new(&bytes) else { return };
        while let Ok(Some(frame)) = reader.next_frame() {
            if frame.kind != Kind::Entry {
                continue;
            }
            let Ok(Entry { fact, .. }) = serde_json::from_slice(&frame.body) else { continue };
            let Some(statement) = fact.statement().map(str::to_owned) else { continue };
            match fact {
                Fact::Attempted(_) => self.attempted.push(statement),
                Fact::Completed(_) | Fact::Refused(_) | Fact::Failed(_) => {
                    self.outcomes.insert(statement, fact);
                }
                _ => {}
            }
        }
    }
}
