//! The work on the bytes of a chunk: inflate, mask. Off the threads that serve, and bounded.

use std::io::Write as _;

use bytes::BytesMut;
use flate2::write::MultiGzDecoder;
use snowflake::rows::{Masked, Stream};

use crate::downstream::refusal::Refusal;

/// Compressed bytes that are taken at once.
const SLICE: usize = 16 << 10;

/// A chunk in work.
pub(super) struct Masking {
    inflate: Inflate,
    stream: Option<Stream>,
    /// Bytes that may still come out of inflating.
    left: usize,
}

/// How the store sends the chunk.
enum Inflate {
    /// Not known before its first bytes.
    Unknown,
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

/// What one round of work gave.
pub(super) struct Done {
    pub(super) masking: Masking,
    pub(super) masked: Masked,
}

impl Masking {
    /// Of a chunk that says whether it is gzip, and may have `limit` bytes when inflated.
    pub(super) fn new(gzip: bool, stream: Stream, limit: usize) -> Self {
        let inflate = if gzip { Inflate::gzip() } else { Inflate::Unknown };
        Self { inflate, stream: Some(stream), left: limit }
    }

    /// Works on the next bytes; without any it was the last.
    pub(super) async fn run(self, bytes: BytesMut) -> Result<Done, Refusal> {
        let unreadable = |_| Refusal::denied("FG-4003", "the chunk cannot be decoded");
        // A decoder that panics on a hostile stream refuses the chunk, nothing else.
        tokio::task::spawn_blocking(move || self.work(&bytes)).await.map_err(unreadable)?
    }

    fn work(mut self, bytes: &[u8]) -> Result<Done, Refusal> {
        let unreadable = |error: &dyn std::fmt::Display| Refusal::denied("FG-4003", error);
        let mut masked = Masked::default();
        let Some(mut stream) = self.stream.take() else {
            return Ok(Done { masked, masking: self });
        };
        // A few bytes can inflate to very many: never more of them than are looked after.
        for bytes in bytes.chunks(SLICE) {
            let plain = self.inflate.next(bytes).map_err(|error| unreadable(&error))?;
            self.left = self
                .left
                .checked_sub(plain.len())
                .ok_or_else(|| unreadable(&"the chunk is larger than a chunk may be"))?;
            masked.extend(stream.push(&plain).map_err(|error| unreadable(&error))?);
        }
        if bytes.is_empty() {
            self.inflate.finish().map_err(|error| unreadable(&error))?;
            masked.extend(stream.finish().map_err(|error| unreadable(&error))?);
        } else {
            self.stream = Some(stream);
        }
        Ok(Done { masked, masking: self })
    }
}

impl Inflate {
    fn gzip() -> Self {
        Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))
    }

    /// The next bytes, inflated.
    fn next(&mut self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        if matches!(self, Self::Unknown) {
            // Some stores serve gzip bytes without saying so.
            *self = if bytes.starts_with(&[0x1f, 0x8b]) { Self::gzip() } else { Self::Plain };
        }
        let Self::Gzip(gzip) = self else { return Ok(bytes.to_vec()) };
        gzip.write_all(bytes)?;
        gzip.flush()?;
        Ok(std::mem::take(gzip.get_mut()))
    }

    /// Checks that nothing is missing.
    fn finish(&mut self) -> std::io::Result<()> {
        match self {
            Self::Gzip(gzip) => gzip.try_finish(),
            Self::Unknown | Self::Plain => Ok(()),
        }
    }
}
