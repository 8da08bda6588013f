//! The bytes of one chunk of an answer, recorded as they pass.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use recording::{
    Digest, Digester, Fact,
    entry::{Format, Hidden, Payload, Rows, Truncated},
};

use super::{
    Session, Unrecorded,
    journal::{Class, Need, Part},
};

/// A part is at most this long: small enough to hold in memory, large enough to compress well.
const PART: usize = 1 << 20;

/// One chunk on its way to the agent. Every byte is digested; bytes beyond the limit are not kept, and an entry says so.
pub struct Chunk {
    session: Session,
    statement: String,
    number: u32,
    format: Format,
    /// Bytes kept of the statement so far, over all its chunks.
    budget: Arc<AtomicU64>,
    part: u32,
    kept: u64,
    whole: Digester,
    missing: Option<(Digester, &'static str)>,
    hidden: Vec<Hidden>,
}

impl Chunk {
    pub(super) fn new(
        session: Session,
        statement: String,
        number: u32,
        format: Format,
        budget: Arc<AtomicU64>,
    ) -> Self {
        Self {
            session,
            statement,
            number,
            format,
            budget,
            part: 0,
            kept: 0,
            whole: Digester::default(),
            missing: None,
            hidden: Vec::new(),
        }
    }

    /// With what was hidden in it.
    #[must_use]
    pub fn hiding(self, hidden: Vec<Hidden>) -> Self {
        Self { hidden, ..self }
    }

    /// Records the next bytes; they may be released to the agent when it returns.
    ///
    /// # Errors
    /// When they cannot be written; then they must not be released.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Unrecorded> {
        self.whole.update(bytes);
        for part in bytes.chunks(PART) {
            self.keep(part, None).await?;
        }
        Ok(())
    }

    /// Records the last bytes (or all, or none); they may be released when it returns. Gives length and digest of the
    /// whole chunk.
    ///
    /// # Errors
    /// When they cannot be written; then they must not be released.
    pub async fn finish(mut self, last: &[u8]) -> Result<Payload, Unrecorded> {
        let at = last.len().saturating_sub(1) / PART * PART;
        let (earlier, last) = last.split_at(at);
        self.write(earlier).await?;
        self.whole.update(last);
        let whole = Payload { length: self.whole.length(), sha256: self.whole.digest() };
        self.keep(last, Some(whole)).await?;
        if let Some((missing, reason)) = self.missing {
            let truncated = Fact::Truncated(Truncated {
                statement: self.statement,
                chunk: self.number,
                offset: self.kept,
                missing: Payload { length: missing.length(), sha256: missing.digest() },
                whole,
                hidden: self.hidden,
                reason: reason.to_owned(),
            });
            self.session.put(Class::Outcome, Need::Written, vec![truncated.into()]).await?;
        }
        Ok(whole)
    }

    async fn keep(&mut self, bytes: &[u8], whole: Option<Payload>) -> Result<(), Unrecorded> {
        if let Some((missing, _)) = &mut self.missing {
            missing.update(bytes);
            return Ok(());
        }
        let length = bytes.len() as u64;
        let limit = self.session.inner.shared.config.rows_max_bytes;
        if self.budget.fetch_add(length, Ordering::Relaxed) + length > limit {
            self.miss(bytes, "Limit");
            return Ok(());
        }
        let rows = Fact::Rows(Rows {
            statement: self.statement.clone(),
            chunk: self.number,
            part: self.part,
            format: self.format,
            payload: Payload { length, sha256: Digest::of(bytes) },
            whole,
            hidden: if whole.is_some() { self.hidden.clone() } else { Vec::new() },
        });
        let part = Part { fact: rows, payload: Some(Bytes::copy_from_slice(bytes)) };
        match self.session.put(Class::Rows, Need::Written, vec![part]).await {
            Ok(()) => {
                self.part += 1;
                self.kept += length;
                Ok(())
            }
            // The statement has run: its answer goes out, and the record says what it does not hold.
            Err(Unrecorded::Full) => {
                self.miss(bytes, "SpoolFull");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn miss(&mut self, bytes: &[u8], reason: &'static str) {
        let mut digester = Digester::default();
        digester.update(bytes);
        self.missing = Some((digester, reason));
    }
}
