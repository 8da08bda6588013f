//! A request's body on its way, and a copy of it where it is to be read.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;

/// The largest request that is copied: the API takes no larger one.
const REQUEST_MAX: usize = 32 << 20;
/// What all copies may take together.
const ALL_MAX: usize = 96 << 20;

/// A body that is copied while it passes.
pub(super) struct Copied {
    body: Incoming,
    copy: Option<Copy>,
}

struct Copy {
    bytes: Counted,
    done: oneshot::Sender<Counted>,
}

/// A copy, and its part of what all copies may take.
pub(super) struct Counted {
    pub(super) bytes: Vec<u8>,
    all: Arc<AtomicUsize>,
}

impl Counted {
    /// Takes more, unless that is too much.
    fn extend(&mut self, more: &[u8]) -> bool {
        let all = self.all.fetch_add(more.len(), Ordering::Relaxed) + more.len();
        if all > ALL_MAX || self.bytes.len() + more.len() > REQUEST_MAX {
            self.all.fetch_sub(more.len(), Ordering::Relaxed);
            return false;
        }
        self.bytes.extend_from_slice(more);
        true
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

impl Copied {
    /// A body that only passes.
    pub(super) fn passing(body: Incoming) -> Self {
        Self { body, copy: None }
    }

    /// A body whose copy comes when all of it has passed; where it was too large, none comes.
    pub(super) fn copying(
        body: Incoming,
        all: &Arc<AtomicUsize>,
    ) -> (Self, oneshot::Receiver<Counted>) {
        let (done, copied) = oneshot::channel();
        let bytes = Counted { bytes: Vec::new(), all: Arc::clone(all) };
        (Self { body, copy: Some(Copy { bytes, done }) }, copied)
    }
}

impl Body for Copied {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(mut copy) = self.copy.take() {
            let keeps = match &frame {
                Some(Ok(frame)) => frame.data_ref().is_none_or(|data| copy.bytes.extend(data)),
                Some(Err(_)) => false,
                None => true,
            };
            let ended = frame.is_none() || self.body.is_end_stream();
            if keeps && ended {
                // Nobody waits for it only where the request was given up.
                let _ = copy.done.send(copy.bytes);
            } else if keeps {
                self.copy = Some(copy);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
