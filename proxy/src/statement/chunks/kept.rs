//! What is on record of a chunk, piece by piece: recorded when first read, compared whenever it is read again.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use recording::Digest;
use recording::entry::Hidden;
use tokio::sync::OnceCell;

use crate::downstream::refusal::Refusal;
use crate::recorder;

/// Some bytes of a chunk, as the agent gets them.
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// Nothing follows.
    pub(super) last: bool,
}

/// What is on record of a chunk. Several readers may be at it at once: each settles its pieces in order, and whoever
/// comes first with a piece records it.
#[derive(Default)]
pub(super) struct Kept {
    pieces: Mutex<Vec<Arc<OnceCell<Seen>>>>,
    /// Taken out while a piece is recorded; there is one such piece at a time, as all before it are settled.
    recording: Mutex<Option<recorder::Chunk>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    digest: Digest,
    last: bool,
}

impl Kept {
    /// Puts piece `at` on record, or compares it with what is there. It may be released when this returns. `begin`
    /// starts the recording, where there is to be one; `hidden` says at its end what was hidden in the chunk.
    pub(super) async fn settle(
        &self,
        at: usize,
        piece: &Piece,
        begin: impl FnOnce() -> Option<recorder::Chunk>,
        hidden: impl FnOnce() -> Vec<Hidden>,
    ) -> Result<(), Refusal> {
        let seen = Seen { digest: Digest::of(&piece.bytes), last: piece.last };
        let cell =
            self.cell(at).ok_or_else(|| Refusal::internal("a piece of a chunk came too early"))?;
        let known = cell
            .get_or_try_init(async || {
                let recording = self.lock().take();
                let recording = if at == 0 { begin() } else { recording };
                let hidden = if piece.last { hidden() } else { Vec::new() };
                if let Some(recording) = recording {
                    self.record(recording, piece, hidden).await?;
                }
                Ok::<_, Refusal>(seen)
            })
            .await?;
        if *known == seen {
            return Ok(());
        }
        Err(Refusal::denied("FG-4003", "the chunk is not the one that was read before"))
    }

    async fn record(
        &self,
        mut recording: recorder::Chunk,
        piece: &Piece,
        hidden: Vec<Hidden>,
    ) -> Result<(), Refusal> {
        let recorded = if piece.last {
            recording.hiding(hidden).finish(&piece.bytes).await.map(drop)
        } else {
            let written = recording.write(&piece.bytes).await;
            *self.lock() = Some(recording);
            written
        };
        recorded.map_err(|error| Refusal::unrecorded(&error))
    }

    fn cell(&self, at: usize) -> Option<Arc<OnceCell<Seen>>> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.len() == at {
            pieces.push(Arc::default());
        }
        pieces.get(at).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<recorder::Chunk>> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
