//! Verify: is this what was recorded, all of it, and signed by whom it must be?
//!
//! [`verify`] walks the frames of all segments in order and stops at the first byte that it does not believe; what it
//! passed until then is intact. The only key it starts from is the caller's: a key that came with the recording is
//! believed only under a certificate by that one. Whether something is missing *behind* the end only the ledger can
//! say, so without it a recording without a closing entry is just open.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use crate::{
    digest::{Digest, Digester},
    entry::{Attempted, Effect, Entry, Fact, Payload, VERSION},
    ledger::{self, Leaf},
    seal::{
        CERTIFICATE_CONTEXT, Certificate, GRANT_CONTEXT, Grant, NotSigned, PublicKey, SEAL_CONTEXT,
        Seal, Signed,
    },
    segment::{Broken, Frame, Header, Kind, Reader},
};

/// What became of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The session.
    pub session: String,
    /// How it ends.
    pub state: State,
    /// Whether a key of the caller's was the start; without one nothing says who wrote it.
    pub is_anchored: bool,
    /// Segments that were read to their end.
    pub segments: u64,
    /// Entries 0 to here, exclusive, are intact.
    pub entries: u64,
    /// Entries 0 to here, exclusive, are covered by a seal; the rest is only chained.
    pub sealed: u64,
    /// The first place that is not believed.
    pub first_break: Option<Break>,
    /// Intact entries that contradict each other, or the ledger.
    pub contradictions: Vec<Contradiction>,
    /// Segments that are here and not in the ledger; of an open session they may be on their way to it.
    pub unlogged: Vec<u64>,
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has no end yet, as far as can be told.
    Open,
    /// The session was closed, and its last segment is sealed as such.
    Closed,
    /// The sidecar ended without a seal: what follows the last seal is chained, not signed.
    Torn,
    /// Something that was recorded is not here.
    Missing,
}

/// The first place that is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The segment.
    pub segment: u64,
    /// The first entry that is not believed.
    pub entry: u64,
    /// Where in the segment's file.
    pub byte: u64,
    /// Why.
    pub problem: Problem,
}

/// Why a place is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The segment's file is not here.
    #[error("the segment is missing")]
    Missing,
    /// Not a frame of this chain.
    #[error("{0}")]
    Frame(Broken),
    /// The header is of another session, another place, or follows another file.
    #[error("the header does not belong here: {0}")]
    Header(&'static str),
    /// The certificate is not by the key of the auditor, or for something else.
    #[error("the certificate is not believed: {0}")]
    Certificate(String),
    /// An entry is not one, or not the next one.
    #[error("the entry does not belong here: {0}")]
    Entry(String),
    /// A payload is not the one that its entry announces.
    #[error("the payload is not the one that its entry announces")]
    Payload,
    /// The seal is not by the certified key, or over something else.
    #[error("the seal is not believed: {0}")]
    Seal(String),
    /// A segment without a seal is followed by another.
    #[error("the segment has no seal, and another one follows")]
    Unsealed,
    /// Bytes after the seal.
    #[error("something follows the seal")]
    AfterSeal,
    /// The file is whole, but not the one that the ledger remembers.
    #[error("the ledger remembers another file: SHA-256 {0}")]
    NotTheLoggedOne(Digest),
}

/// Intact entries that contradict each other, or the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The entry.
    pub entry: u64,
    /// What is wrong.
    pub what: String,
}

/// One intact entry, as [`verify_with`] shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The entry.
    pub entry: Entry,
    /// The bytes that it announces.
    pub payload: Option<Vec<u8>>,
    /// The segment it stands in.
    pub segment: u64,
    /// Where in the segment's file.
    pub byte: u64,
}

/// Verifies the recording of one session: its segment files by number, the key that the auditor holds, and the leaves
/// of the ledger if he has them (checked before: [`ledger::check`]).
#[must_use]
pub fn verify(
    session: &str,
    files: &BTreeMap<u64, Vec<u8>>,
    anchor: &PublicKey,
    ledger: Option<&[Leaf]>,
) -> Report {
    verify_with(session, files, anchor, ledger, |_| {})
}

/// [`verify`], showing every intact entry on the way.
#[must_use]
pub fn verify_with(
    session: &str,
    files: &BTreeMap<u64, Vec<u8>>,
    anchor: &PublicKey,
    ledger: Option<&[Leaf]>,
    visit: impl FnMut(Item),
) -> Report {
    walk(session, files, Some(anchor), ledger, visit)
}

/// Shows every entry of a recording that is whole in itself, without a key: nothing says who wrote it.
#[must_use]
pub fn read(session: &str, files: &BTreeMap<u64, Vec<u8>>, visit: impl FnMut(Item)) -> Report {
    walk(session, files, None, None, visit)
}

fn walk(
    session: &str,
    files: &BTreeMap<u64, Vec<u8>>,
    anchor: Option<&PublicKey>,
    ledger: Option<&[Leaf]>,
    mut visit: impl FnMut(Item),
) -> Report {
    let logged = ledger.map(|leaves| Logged::of(session, leaves));
    let mut walk = Walk {
        session,
        anchor,
        next_entry: 0,
        sealed: 0,
        previous: None,
        ending: Ending::None,
        statements: Statements::new(session, anchor),
        key: None,
    };
    let mut segments = 0;
    let mut first_break = None;
    let mut unlogged = Vec::new();
    let known = logged.as_ref().map_or(0, |it| it.segments.keys().next_back().map_or(0, |n| n + 1));
    let count = files.keys().next_back().map_or(0, |last| last + 1).max(known);
    for number in 0..count {
        let is_last = number + 1 == count;
        let result = match files.get(&number) {
            None => Err(walk.broken(number, 0, Problem::Missing)),
            Some(bytes) => walk.segment(number, bytes, is_last, &mut visit).and_then(|()| {
                let ours = Digest::of(bytes);
                match logged.as_ref().and_then(|it| it.segments.get(&number)) {
                    Some(theirs) if *theirs != ours => {
                        Err(walk.broken(number, 0, Problem::NotTheLoggedOne(*theirs)))
                    }
                    Some(_) => Ok(()),
                    None => {
                        unlogged.extend(logged.is_some().then_some(number));
                        Ok(())
                    }
                }
            }),
        };
        if let Err(broken) = result {
            first_break = Some(broken);
            break;
        }
        segments += 1;
    }
    let is_closed = logged.as_ref().is_some_and(|it| it.is_closed);
    let is_missing = matches!(&first_break, Some(it) if it.problem == Problem::Missing);
    let state = match walk.ending {
        _ if is_missing => State::Missing,
        Ending::Closed => State::Closed,
        Ending::Torn => State::Torn,
        // The session is over, and what ended it never arrived.
        Ending::None if is_closed && first_break.is_none() => State::Missing,
        Ending::None => State::Open,
    };
    let against_ledger = logged.as_ref().map(|it| it.contradictions(&walk)).unwrap_or_default();
    let mut contradictions = std::mem::take(&mut walk.statements.found);
    contradictions.extend(against_ledger);
    Report {
        session: session.to_owned(),
        state,
        is_anchored: anchor.is_some(),
        segments,
        entries: walk.next_entry,
        sealed: walk.sealed,
        first_break,
        contradictions,
        unlogged,
    }
}

impl Report {
    /// Whether the only thing wrong is that something is not here.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.state == State::Missing && self.contradictions.is_empty()
    }

    /// Whether nothing was changed and nothing is missing, as far as can be told.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.first_break.is_none() && self.contradictions.is_empty() && self.state != State::Missing
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Torn => "open, ended without a seal",
            Self::Missing => "not all of it is here",
        })
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, entry, byte, problem } = self;
        write!(f, "segment {segment}, entry {entry}, byte {byte}: {problem}")
    }
}

impl fmt::Display for Report {
    /// One line that says it all, and one for each thing that is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.is_intact() {
            true if self.is_anchored => "intact",
            true => "whole in itself, checked against no key",
            false if self.is_missing() => "MISSING",
            false => "BROKEN",
        };
        write!(
            f,
            "{}: {word}, {}, {} segments, {} entries, {} of them sealed",
            self.session, self.state, self.segments, self.entries, self.sealed
        )?;
        if self.state == State::Missing && self.first_break.is_none() {
            write!(f, "\n  the ledger closed the session, and its last segment is not here")?;
        }
        if let Some(it) = &self.first_break {
            write!(f, "\n  first break at {it}")?;
            match self.entries {
                0 => write!(f, "\n  nothing before it is intact")?,
                n => write!(f, "\n  intact up to entry {}", n - 1)?,
            }
        }
        for Contradiction { entry, what } in &self.contradictions {
            write!(f, "\n  contradiction at entry {entry}: {what}")?;
        }
        for number in &self.unlogged {
            write!(f, "\n  note: segment {number} is not in the ledger (yet)")?;
        }
        Ok(())
    }
}

/// How far the walk came.
struct Walk<'a> {
    session: &'a str,
    anchor: Option<&'a PublicKey>,
    next_entry: u64,
    sealed: u64,
    previous: Option<Digest>,
    ending: Ending,
    statements: Statements<'a>,
    /// The session's key, under a certificate that was believed.
    key: Option<PublicKey>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    None,
    Closed,
    Torn,
}

impl Walk<'_> {
    fn broken(&self, segment: u64, byte: usize, problem: Problem) -> Break {
        Break { segment, entry: self.next_entry, byte: byte as u64, problem }
    }

    fn segment(
        &mut self,
        number: u64,
        bytes: &[u8],
        is_last: bool,
        visit: &mut impl FnMut(Item),
    ) -> Result<(), Break> {
        let mut reader =
            Reader::new(bytes).map_err(|error| self.broken(number, 0, Problem::Frame(error)))?;
        let frame = self.frame(number, &mut reader)?;
        let torn = || Problem::Frame(Broken::Torn);
        let frame = frame.ok_or_else(|| self.broken(number, bytes.len(), torn()))?;
        let certificate = self
            .header(number, &frame)
            .map_err(|problem| self.broken(number, frame.at, problem))?;
        self.key = Some(certificate.key);
        let first_entry = self.next_entry;
        let mut is_sealed = false;
        loop {
            let at = reader.at();
            let Some(frame) = self.frame(number, &mut reader)? else { break };
            if is_sealed {
                return Err(self.broken(number, at, Problem::AfterSeal));
            }
            match frame.kind {
                Kind::Entry => {
                    let entry = self
                        .entry(&frame.body)
                        .map_err(|problem| self.broken(number, at, problem))?;
                    let payload = match &entry.fact {
                        Fact::Rows(rows) => {
                            let at = reader.at();
                            let payload = self
                                .frame(number, &mut reader)?
                                .ok_or_else(|| self.broken(number, at, torn()))?;
                            let ours = Payload {
                                length: payload.body.len() as u64,
                                sha256: Digest::of(&payload.body),
                            };
                            if payload.kind != Kind::Payload || ours != rows.payload {
                                return Err(self.broken(number, at, Problem::Payload));
                            }
                            Some(payload.body)
                        }
                        _ => None,
                    };
                    self.next_entry += 1;
                    self.statements.take(&entry, payload.as_deref());
                    self.ending = match entry.fact {
                        Fact::SessionClosed(_) => Ending::Closed,
                        Fact::Recovered(_) => Ending::Torn,
                        _ => Ending::None,
                    };
                    visit(Item { entry, payload, segment: number, byte: at as u64 });
                }
                Kind::Seal => {
                    self.seal(number, first_entry, &certificate, &frame)
                        .map_err(|problem| self.broken(number, at, problem))?;
                    is_sealed = true;
                    self.sealed = self.next_entry;
                    // A sidecar that started again went on with the session, and signs for it.
                    if self.ending == Ending::Torn {
                        self.ending = Ending::None;
                    }
                }
                Kind::Header => {
                    let problem = Problem::Header("a second one in the same file");
                    return Err(self.broken(number, at, problem));
                }
                Kind::Payload => return Err(self.broken(number, at, Problem::Payload)),
            }
        }
        if !is_sealed {
            if !is_last {
                return Err(self.broken(number, bytes.len(), Problem::Unsealed));
            }
            // A closing entry that nobody signed closes nothing.
            if self.ending == Ending::Closed {
                self.ending = Ending::Torn;
            }
        }
        self.previous = Some(Digest::of(bytes));
        Ok(())
    }

    fn frame(&self, number: u64, reader: &mut Reader<'_>) -> Result<Option<Frame>, Break> {
        reader.next_frame().map_err(|error| self.broken(number, reader.at(), Problem::Frame(error)))
    }

    fn header(&self, number: u64, frame: &Frame) -> Result<Certificate, Problem> {
        if frame.kind != Kind::Header {
            return Err(Problem::Header("the file does not begin with one"));
        }
        let header: Header =
            serde_json::from_slice(&frame.body).map_err(|_| Problem::Header("it is no header"))?;
        if header.v != VERSION {
            return Err(Problem::Header("its version is not known"));
        }
        if header.session != self.session {
            return Err(Problem::Header("it is of another session"));
        }
        if header.segment != number {
            return Err(Problem::Header("it is of another place in the session"));
        }
        if header.first_entry != self.next_entry {
            return Err(Problem::Header("it does not begin with the next entry"));
        }
        if header.previous != self.previous {
            return Err(Problem::Header("it follows another file than the one before it"));
        }
        let certificate: Certificate = match self.anchor {
            Some(anchor) => header.certificate.open(CERTIFICATE_CONTEXT, anchor),
            None => header.certificate.unverified(),
        }
        .map_err(|error| Problem::Certificate(error.to_string()))?;
        if certificate.session != self.session {
            return Err(Problem::Certificate("it is for another session".into()));
        }
        Ok(certificate)
    }

    fn entry(&self, body: &[u8]) -> Result<Entry, Problem> {
        let entry: Entry =
            serde_json::from_slice(body).map_err(|error| Problem::Entry(error.to_string()))?;
        let problem = if entry.v != VERSION {
            "its version is not known"
        } else if entry.number != self.next_entry {
            "its number is not the next one"
        } else if (entry.number == 0) != matches!(entry.fact, Fact::SessionOpened(_)) {
            "a session begins with its opening, once"
        } else if self.ending == Ending::Closed {
            "the session was closed before"
        } else {
            return Ok(entry);
        };
        Err(Problem::Entry(problem.into()))
    }

    fn seal(
        &self,
        number: u64,
        first_entry: u64,
        certificate: &Certificate,
        frame: &Frame,
    ) -> Result<(), Problem> {
        let says = |what: &str| Problem::Seal(what.into());
        let signed: Signed = serde_json::from_slice(&frame.body).map_err(|_| says("it is none"))?;
        let seal: Seal = signed
            .open(SEAL_CONTEXT, &certificate.key)
            .map_err(|error: NotSigned| Problem::Seal(error.to_string()))?;
        let expected = Seal {
            v: VERSION,
            session: self.session.to_owned(),
            segment: number,
            first_entry,
            next_entry: self.next_entry,
            head: frame.before,
            previous: self.previous,
            sealed_at_ms: seal.sealed_at_ms,
            is_final: self.ending == Ending::Closed,
        };
        if seal != expected {
            return Err(says("it is over something else"));
        }
        if !(certificate.issued_at_ms..=certificate.not_after_ms).contains(&seal.sealed_at_ms) {
            return Err(says("its time is outside of the certificate's"));
        }
        Ok(())
    }
}

/// What the ledger says of one session.
struct Logged {
    is_opened: bool,
    recording_key: Option<Digest>,
    segments: BTreeMap<u64, Digest>,
    grants: Vec<Digest>,
    is_closed: bool,
}

impl Logged {
    fn of(session: &str, leaves: &[Leaf]) -> Self {
        let mut logged = Self {
            is_opened: false,
            recording_key: None,
            segments: BTreeMap::new(),
            grants: Vec::new(),
            is_closed: false,
        };
        let ours = leaves.iter().filter(|leaf| leaf.fact.session() == Some(session));
        for leaf in ours {
            match &leaf.fact {
                ledger::Fact::SessionOpened { recording_key, .. } => {
                    logged.is_opened = true;
                    logged.recording_key = Some(*recording_key);
                }
                ledger::Fact::SegmentSealed { number, sha256, .. } => {
                    logged.segments.insert(*number, *sha256);
                }
                ledger::Fact::GrantSigned { grant, .. } => logged.grants.push(*grant),
                ledger::Fact::SessionClosed { .. } => logged.is_closed = true,
                _ => {}
            }
        }
        logged
    }

    fn contradictions(&self, walk: &Walk<'_>) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let mut say = |entry, what: &str| {
            found.push(Contradiction { entry, what: what.to_owned() });
        };
        if !self.is_opened {
            say(0, "the ledger does not know the session");
        }
        if let (Some(logged), Some(key)) = (&self.recording_key, &walk.key)
            && *logged != Digest::of(&key.0)
        {
            say(0, "the ledger remembers another recording key");
        }
        for (entry, grant) in &walk.statements.grants {
            if !self.grants.contains(grant) {
                say(*entry, "the ledger does not know the grant");
            }
        }
        found
    }
}

/// The rules between entries.
struct Statements<'a> {
    session: &'a str,
    anchor: Option<&'a PublicKey>,
    open: HashMap<String, Statement>,
    attempted: u64,
    /// Digests of the prompts so far.
    prompts: HashSet<Digest>,
    has_gap: bool,
    /// Digests of the grants that were used.
    grants: Vec<(u64, Digest)>,
    found: Vec<Contradiction>,
}

#[derive(Default)]
struct Statement {
    effect: Effect,
    digest: Digest,
    grant: Option<Grant>,
    is_sent: bool,
    /// It was answered without the account, from a statement that is here too.
    is_local: bool,
    is_ended: bool,
    chunks: HashMap<u32, (u32, Digester, Option<Payload>)>,
}

impl<'a> Statements<'a> {
    fn new(session: &'a str, anchor: Option<&'a PublicKey>) -> Self {
        Self {
            session,
            anchor,
            open: HashMap::new(),
            attempted: 0,
            prompts: HashSet::new(),
            has_gap: false,
            grants: Vec::new(),
            found: Vec::new(),
        }
    }

    fn take(&mut self, entry: &Entry, payload: Option<&[u8]>) {
        if let Err(what) = self.check(entry, payload) {
            self.found.push(Contradiction { entry: entry.number, what });
        }
    }

    fn check(&mut self, entry: &Entry, payload: Option<&[u8]>) -> Result<(), String> {
        match &entry.fact {
            Fact::Attempted(it) => {
                self.attempted += 1;
                let statement = Statement {
                    effect: it.decision.effect,
                    digest: it.digest,
                    is_local: it
                        .decision
                        .answered_from()
                        .is_some_and(|earlier| self.open.contains_key(earlier)),
                    ..Statement::default()
                };
                if self.open.insert(it.statement.clone(), statement).is_some() {
                    return Err("a statement is attempted twice".into());
                }
                let shown = Attempted::digest_of(&it.sql, &it.binds, &it.state);
                // Of a text that is not there whole, the digest can only be compared by whoever has it.
                if !it.redacted && it.digest != shown {
                    return Err("the digest is not the one of the statement".into());
                }
                let prompt = it.prompt.as_ref().and_then(|prompt| prompt.digest);
                if prompt.is_some_and(|digest| !self.prompts.contains(&digest)) && !self.has_gap {
                    return Err("the statement's prompt is not recorded".into());
                }
                return Ok(());
            }
            Fact::Prompted(it) if it.digest != Digest::of(it.text.as_bytes()) => {
                return Err("the digest is not the one of the prompt".into());
            }
            Fact::Prompted(it) => {
                self.prompts.insert(it.digest);
            }
            Fact::Gap(_) => self.has_gap = true,
            // The session's own count, unless the recording says itself that entries are missing.
            Fact::SessionClosed(it) if !self.has_gap && it.statements != self.attempted => {
                return Err(format!(
                    "the session counted {} statements, {} are recorded",
                    it.statements, self.attempted
                ));
            }
            _ => {}
        }
        let Some(id) = entry.fact.statement() else { return Ok(()) };
        let Some(statement) = self.open.get_mut(id) else {
            // What is refused before it is understood was never an attempt.
            return match entry.fact {
                Fact::Refused(_) => Ok(()),
                _ => Err(format!("{} without an attempt", entry.fact.kind())),
            };
        };
        match &entry.fact {
            Fact::Approved(it) => {
                let grant: Grant = match self.anchor {
                    Some(anchor) => it.grant.open(GRANT_CONTEXT, anchor),
                    None => it.grant.unverified(),
                }
                .map_err(|error| format!("the grant is not believed: {error}"))?;
                let names = |list: &[crate::entry::Approver]| {
                    list.iter().map(|it| it.name.clone()).collect::<Vec<_>>()
                };
                if grant.session != self.session || grant.statement != *id {
                    return Err("the grant is for another statement".into());
                }
                if grant.digest != statement.digest {
                    return Err("the grant is for other SQL, binds or session state".into());
                }
                if names(&grant.approvers) != names(&it.by) {
                    return Err("the grant names other approvers".into());
                }
                let payload = it.grant.payload_digest().unwrap_or_default();
                self.grants.push((entry.number, payload));
                statement.grant = Some(grant);
            }
            Fact::Sent(_) => {
                statement.is_sent = true;
                match (statement.effect, &statement.grant) {
                    (Effect::Allow, _) => {}
                    (Effect::Deny, _) => return Err("it was sent although it was denied".into()),
                    (Effect::Hold, None) => {
                        return Err("it was sent although nobody approved".into());
                    }
                    (Effect::Hold, Some(grant)) if entry.at_ms > grant.expires_at_ms => {
                        return Err("it was sent after the grant had expired".into());
                    }
                    (Effect::Hold, Some(_)) => {}
                }
            }
            Fact::Rows(it) => {
                let chunk = statement.chunks.entry(it.chunk).or_default();
                if it.part == 0 {
                    // A driver may fetch the same chunk again: it saw it twice.
                    *chunk = <_>::default();
                }
                if it.part != chunk.0 {
                    return Err("a part of the answer is missing before this one".into());
                }
                chunk.0 += 1;
                chunk.1.update(payload.unwrap_or_default());
                chunk.2 = it.whole;
                let ours = Payload { length: chunk.1.length(), sha256: chunk.1.digest() };
                if it.whole.is_some_and(|whole| whole != ours) {
                    return Err("the parts are not the whole chunk".into());
                }
                if !statement.is_sent && !statement.is_local {
                    return Err("rows of a statement that was never sent".into());
                }
            }
            Fact::Truncated(it) => {
                let chunk = statement.chunks.entry(it.chunk).or_default();
                if it.offset == 0 {
                    *chunk = <_>::default();
                }
                if it.offset != chunk.1.length() || it.offset + it.missing.length != it.whole.length
                {
                    return Err("more is missing than the entry says".into());
                }
                chunk.2 = Some(it.whole);
            }
            Fact::Completed(it) => {
                end(statement)?;
                if !statement.is_sent && !statement.is_local {
                    return Err("it completed although it was never sent".into());
                }
                let answer = statement.chunks.get(&0).and_then(|chunk| chunk.2);
                if answer.is_some_and(|answer| answer != it.answer) {
                    return Err("the recorded answer is not the one it completed with".into());
                }
            }
            Fact::Refused(_) | Fact::Failed(_) => end(statement)?,
            _ => {}
        }
        Ok(())
    }
}

fn end(statement: &mut Statement) -> Result<(), String> {
    if std::mem::replace(&mut statement.is_ended, true) {
        return Err("the statement ended before".into());
    }
    Ok(())
}
