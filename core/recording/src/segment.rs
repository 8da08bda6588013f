//! Segment: the frames of one file, written and read.

use serde::{Deserialize, Serialize};

use crate::{
    digest::{Digest, Digester},
    entry::{Entry, Fact, VERSION},
    seal::{Certificate, NotSigned, PublicKey, SEAL_CONTEXT, Seal, Signed, SigningKey},
};

/// The first bytes of every segment file.
pub const MAGIC: &[u8; 8] = b"FGSEG\x00\x01\n";
/// Extension of a sealed segment, or of one that a crash left without a seal.
pub const EXTENSION: &str = "fgseg";
/// The largest body of a frame before compression. A reader never allocates more for one frame.
pub const BODY_MAX: usize = 16 << 20;

/// Bytes of a frame before its body: what the link covers, and the link.
const HEAD: usize = 12 + 32;
const COMPRESSED: u8 = 1;
/// Shorter bodies gain nothing from compression.
const COMPRESS_FROM: usize = 256;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Header`].
    Header,
    /// [`Entry`].
    Entry,
    /// Raw bytes.
    Payload,
    /// [`Signed`] over a [`Seal`].
    Seal,
}

/// Opens a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Version of the format, 1.
    pub v: u32,
    /// The session.
    pub session: String,
    /// Number of the segment, from 0.
    pub segment: u64,
    /// Number of the first entry.
    pub first_entry: u64,
    /// SHA-256 of the previous segment's file; absent in segment 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// The operator's [`crate::Certificate`] over the session's key.
    pub certificate: Signed,
}

/// Writes one segment. Pure: it turns facts into the bytes to append and remembers where the chain stands. A clone
/// taken before is the way back when the bytes could not be written.
#[derive(Clone, Debug)]
pub struct Writer {
    header: Header,
    link: Digest,
    next_entry: u64,
    file: Digester,
}

/// What the next segment and the ledger must know of a finished one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The session.
    pub session: String,
    /// Number of the segment.
    pub segment: u64,
    /// Number of its first entry.
    pub first_entry: u64,
    /// Number of the entry after its last one.
    pub next_entry: u64,
    /// Link of its last frame.
    pub link: Digest,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Length of the file.
    pub length: u64,
    /// Whether the session ends with it.
    pub is_final: bool,
    /// Whether it carries a seal.
    pub is_sealed: bool,
    /// The certificate that its header carries.
    pub certificate: Signed,
}

/// Why something could not be put into a segment.
#[derive(Debug, thiserror::Error)]
pub enum Unwritable {
    /// The body is larger than a frame may be.
    #[error("{0} bytes are more than a frame may hold ({BODY_MAX})")]
    TooLarge(usize),
    /// No JSON form.
    #[error("entry has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
    /// Compression failed.
    #[error("compression failed: {0}")]
    Compress(#[from] std::io::Error),
    /// Signing failed.
    #[error("sealing failed: {0}")]
    Seal(#[from] NotSigned),
}

impl Writer {
    /// Starts segment 0 of a session; appends its first bytes to `out`.
    ///
    /// # Errors
    /// When the header cannot be written.
    pub fn first(
        session: &str,
        certificate: Signed,
        out: &mut Vec<u8>,
    ) -> Result<Self, Unwritable> {
        let header = Header {
            v: VERSION,
            session: session.to_owned(),
            segment: 0,
            first_entry: 0,
            previous: None,
            certificate,
        };
        Self::start(header, out)
    }

    /// Starts the segment after a finished one.
    ///
    /// # Errors
    /// When the header cannot be written.
    pub fn next(finished: &Finished, out: &mut Vec<u8>) -> Result<Self, Unwritable> {
        let header = Header {
            v: VERSION,
            session: finished.session.clone(),
            segment: finished.segment + 1,
            first_entry: finished.next_entry,
            previous: Some(finished.sha256),
            certificate: finished.certificate.clone(),
        };
        Self::start(header, out)
    }

    fn start(header: Header, out: &mut Vec<u8>) -> Result<Self, Unwritable> {
        let body = serde_json::to_vec(&header)?;
        let next_entry = header.first_entry;
        let mut writer = Self { header, link: Digest::ZERO, next_entry, file: Digester::default() };
        writer.file.update(MAGIC);
        out.extend_from_slice(MAGIC);
        writer.frame(Kind::Header, &body, out)?;
        Ok(writer)
    }

    /// Number of the next entry.
    #[must_use]
    pub fn next_entry(&self) -> u64 {
        self.next_entry
    }

    /// Bytes of the file so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.file.length()
    }

    /// The session, and the segment's number in it.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Writes an entry; appends the bytes to `out` and gives the entry's number.
    ///
    /// # Errors
    /// When it cannot be written; then neither `out` nor the chain has changed.
    pub fn entry(&mut self, fact: Fact, at_ms: i64, out: &mut Vec<u8>) -> Result<u64, Unwritable> {
        let number = self.next_entry;
        let body = serde_json::to_vec(&Entry { v: VERSION, number, at_ms, fact })?;
        self.frame(Kind::Entry, &body, out)?;
        self.next_entry += 1;
        Ok(number)
    }

    /// Writes the bytes that the [`crate::entry::Rows`] entry before it announced.
    ///
    /// # Errors
    /// When they cannot be written; then neither `out` nor the chain has changed.
    pub fn payload(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unwritable> {
        self.frame(Kind::Payload, bytes, out)
    }

    /// Ends the segment with a seal.
    ///
    /// # Errors
    /// When the seal cannot be made.
    pub fn seal(
        mut self,
        key: &SigningKey,
        at_ms: i64,
        is_final: bool,
        out: &mut Vec<u8>,
    ) -> Result<Finished, Unwritable> {
        let seal = Seal {
            v: VERSION,
            session: self.header.session.clone(),
            segment: self.header.segment,
            first_entry: self.header.first_entry,
            next_entry: self.next_entry,
            head: self.link,
            previous: self.header.previous,
            sealed_at_ms: at_ms,
            is_final,
        };
        let signed = Signed::sign(SEAL_CONTEXT, &seal, key)?;
        let body = serde_json::to_vec(&signed)?;
        self.frame(Kind::Seal, &body, out)?;
        Ok(self.finished(is_final, true))
    }

    /// Ends the segment without a seal: the key is gone.
    #[must_use]
    pub fn abandon(self) -> Finished {
        self.finished(true, false)
    }

    fn finished(self, is_final: bool, is_sealed: bool) -> Finished {
        Finished {
            sha256: self.file.digest(),
            length: self.file.length(),
            session: self.header.session,
            segment: self.header.segment,
            first_entry: self.header.first_entry,
            next_entry: self.next_entry,
            link: self.link,
            is_final,
            is_sealed,
            certificate: self.header.certificate,
        }
    }

    fn frame(&mut self, kind: Kind, body: &[u8], out: &mut Vec<u8>) -> Result<(), Unwritable> {
        if body.len() > BODY_MAX {
            return Err(Unwritable::TooLarge(body.len()));
        }
        let compressed = if body.len() >= COMPRESS_FROM {
            // Level 1: it is on the way of every statement, and costs a fifth of the bytes against the best level.
            Some(zstd::bulk::compress(body, 1)?).filter(|shorter| shorter.len() < body.len())
        } else {
            None
        };
        let (flags, stored) = match &compressed {
            Some(shorter) => (COMPRESSED, shorter.as_slice()),
            None => (0, body),
        };
        let mut head = [0; 12];
        head[0] = kind.letter();
        head[1] = flags;
        head[4..8].copy_from_slice(&length(body)?.to_be_bytes());
        head[8..12].copy_from_slice(&length(stored)?.to_be_bytes());
        self.link = Digest::of_parts(&[&self.link.0, &head, stored]);
        for part in [head.as_slice(), &self.link.0, stored] {
            out.extend_from_slice(part);
            self.file.update(part);
        }
        Ok(())
    }
}

fn length(body: &[u8]) -> Result<u32, Unwritable> {
    u32::try_from(body.len()).map_err(|_| Unwritable::TooLarge(body.len()))
}

impl Kind {
    const fn letter(self) -> u8 {
        match self {
            Self::Header => b'H',
            Self::Entry => b'E',
            Self::Payload => b'P',
            Self::Seal => b'S',
        }
    }

    const fn of(letter: u8) -> Option<Self> {
        match letter {
            b'H' => Some(Self::Header),
            b'E' => Some(Self::Entry),
            b'P' => Some(Self::Payload),
            b'S' => Some(Self::Seal),
            _ => None,
        }
    }
}

/// One frame whose link fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it holds.
    pub kind: Kind,
    /// Where it starts in the file.
    pub at: usize,
    /// The link before it.
    pub before: Digest,
    /// Its own link.
    pub link: Digest,
    /// Its body, decompressed.
    pub body: Vec<u8>,
}

/// Why the bytes at some place are no frame of this chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The file does not start with [`MAGIC`].
    #[error("this is no segment of version 1")]
    Magic,
    /// The bytes end within a frame.
    #[error("the bytes end within a frame")]
    Torn,
    /// The frame's head holds something that no writer writes.
    #[error("this is no frame")]
    Head,
    /// The bytes are not the ones that were linked.
    #[error("the bytes are not the ones that were recorded")]
    Link,
    /// The body does not decompress to its length.
    #[error("the body does not decompress to its length")]
    Body,
}

/// Reads the frames of one file, checking each against the one before.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    link: Digest,
}

impl Header {
    /// What a file says of itself, before anything is believed.
    ///
    /// # Errors
    /// When it is no segment, or its first frame is not whole.
    pub fn of(bytes: &[u8]) -> Result<Self, Broken> {
        let frame = Reader::new(bytes)?.next_frame()?.ok_or(Broken::Torn)?;
        serde_json::from_slice(&frame.body).map_err(|_| Broken::Head)
    }

    /// Whether its certificate names this key: whether seals by it will fit. Who made the certificate is not asked.
    #[must_use]
    pub fn names(&self, key: &PublicKey) -> bool {
        let named: Result<Certificate, _> = self.certificate.unverified();
        named.is_ok_and(|named| named.session == self.session && named.key == *key)
    }
}

impl<'a> Reader<'a> {
    /// Starts reading behind the magic.
    ///
    /// # Errors
    /// When the file is none of ours.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Broken> {
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) {
            return Err(Broken::Torn);
        }
        if !bytes.starts_with(MAGIC) {
            return Err(Broken::Magic);
        }
        Ok(Self { bytes, at: MAGIC.len(), link: Digest::ZERO })
    }

    /// Where the next frame starts.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Link of the last frame that was read.
    #[must_use]
    pub fn link(&self) -> Digest {
        self.link
    }

    /// The next frame; `None` at the end of the file. After an error the reader stays where it is.
    ///
    /// # Errors
    /// When the next bytes are no frame of this chain.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Broken> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let Some((head, behind)) = rest.split_at_checked(HEAD) else { return Err(Broken::Torn) };
        let number = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&head[at..at + 4]);
            u32::from_be_bytes(bytes) as usize
        };
        let (raw, stored) = (number(4), number(8));
        let Some(kind) = Kind::of(head[0]) else { return Err(Broken::Head) };
        let compressed = head[1] == COMPRESSED;
        let lengths_fit = if compressed { stored < raw } else { stored == raw };
        if head[1] > COMPRESSED || head[2..4] != [0, 0] || raw > BODY_MAX || !lengths_fit {
            return Err(Broken::Head);
        }
        let Some(body) = behind.get(..stored) else { return Err(Broken::Torn) };
        let link = Digest::of_parts(&[&self.link.0, &head[..12], body]);
        if link.0 != head[12..] {
            return Err(Broken::Link);
        }
        let body = if compressed {
            zstd::bulk::decompress(body, raw).map_err(|_| Broken::Body)?
        } else {
            body.to_vec()
        };
        if body.len() != raw {
            return Err(Broken::Body);
        }
        let frame = Frame { kind, at: self.at, before: self.link, link, body };
        self.at += HEAD + stored;
        self.link = link;
        Ok(Some(frame))
    }
}

impl Writer {
    /// Takes up a segment that a crash left behind: everything up to the first frame that is not whole stays, and the
    /// caller cuts the file there.
    ///
    /// Gives the writer, standing behind the last whole frame, and that place in the file.
    ///
    /// # Errors
    /// When not even the header is whole, or it is not a segment.
    pub fn recover(bytes: &[u8]) -> Result<(Self, usize), Broken> {
        let mut reader = Reader::new(bytes)?;
        let first = reader.next_frame()?.ok_or(Broken::Torn)?;
        if first.kind != Kind::Header {
            return Err(Broken::Head);
        }
        let header: Header = serde_json::from_slice(&first.body).map_err(|_| Broken::Head)?;
        let mut next_entry = header.first_entry;
        let (mut end, mut link) = (reader.at(), reader.link());
        while let Ok(Some(frame)) = reader.next_frame() {
            match frame.kind {
                // A Rows entry whose payload was lost must go with it.
                Kind::Entry if announces_payload(&frame.body) => match reader.next_frame() {
                    Ok(Some(payload)) if payload.kind == Kind::Payload => next_entry += 1,
                    _ => break,
                },
                Kind::Entry => next_entry += 1,
                _ => break,
            }
            (end, link) = (reader.at(), reader.link());
        }
        let mut file = Digester::default();
        file.update(&bytes[..end]);
        Ok((Self { header, link, next_entry, file }, end))
    }
}

impl Finished {
    /// Reads a finished segment back, sealed or left without a seal, checking every link. The seal's signature is not
    /// looked at: whoever asks here wrote the file, or leaves that to [`crate::verify`].
    ///
    /// # Errors
    /// When the bytes are not a whole segment.
    pub fn read(bytes: &[u8]) -> Result<Self, Broken> {
        let (writer, end) = Writer::recover(bytes)?;
        let mut finished = writer.abandon();
        if end < bytes.len() {
            let mut reader = Reader { bytes, at: end, link: finished.link };
            let frame = reader.next_frame()?.ok_or(Broken::Torn)?;
            if frame.kind != Kind::Seal || reader.next_frame()?.is_some() {
                return Err(Broken::Head);
            }
            let signed: Signed = serde_json::from_slice(&frame.body).map_err(|_| Broken::Body)?;
            let seal: Seal = signed.unverified().map_err(|_| Broken::Body)?;
            finished.is_final = seal.is_final;
            finished.is_sealed = true;
            finished.link = frame.link;
        }
        finished.sha256 = Digest::of(bytes);
        finished.length = bytes.len() as u64;
        Ok(finished)
    }
}

fn announces_payload(body: &[u8]) -> bool {
    matches!(serde_json::from_slice::<Entry>(body), Ok(Entry { fact: Fact::Rows(_), .. }))
}
