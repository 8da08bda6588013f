//! An answer's body on its way to the agent, read as it passes.
//!
//! No byte waits for the reading but those that end a tool call: its statement may come in the next instant, and by
//! then the call must be known, with the request that led to it.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use prompt::{Asked, Exchange, Form, Reader, ToolUse};
use tokio::task::JoinHandle;

use crate::Parts;

/// The request, read apart: what it asks, and its conversation.
pub(super) type Heard = JoinHandle<Option<(Asked, String)>>;

/// An answer's body: passing, heard, or our own.
pub(crate) struct Hearing {
    body: Source,
    ear: Option<Box<Ear>>,
}

enum Source {
    Provider(Incoming),
    Own(Option<Bytes>),
}

/// What reads an answer.
pub(super) struct Ear {
    pub(super) parts: Arc<Parts>,
    pub(super) reader: Reader,
    /// Undoes the compression of what is read; what passes stays as it is.
    pub(super) inflate: Option<MultiGzDecoder<Vec<u8>>>,
    /// What the heads of request and answer say.
    pub(super) head: Exchange,
    pub(super) heard: Heard,
    exchange: Option<Arc<Exchange>>,
    /// A frame that ends calls whose request is still being read.
    waiting: Option<(Frame<Bytes>, Vec<ToolUse>)>,
}

impl From<Bytes> for Hearing {
    fn from(body: Bytes) -> Self {
        Self { body: Source::Own(Some(body)), ear: None }
    }
}

impl Hearing {
    /// The provider's body, heard where there is an ear.
    pub(super) fn of(body: Incoming, ear: Option<Ear>) -> Self {
        Self { body: Source::Provider(body), ear: ear.map(Box::new) }
    }
}

impl Ear {
    pub(super) fn new(
        parts: Arc<Parts>,
        form: Form,
        gzip: bool,
        head: Exchange,
        heard: Heard,
    ) -> Self {
        let inflate = gzip.then(|| MultiGzDecoder::new(Vec::new()));
        let reader = Reader::new(form);
        Self { parts, reader, inflate, head, heard, exchange: None, waiting: None }
    }

    /// The calls that end with these bytes.
    fn hear(&mut self, bytes: &[u8]) -> Vec<ToolUse> {
        let Some(inflate) = &mut self.inflate else { return self.reader.take(bytes) };
        // What cannot be inflated cannot be read; it passes all the same.
        let inflated = inflate.write_all(bytes).and_then(|()| inflate.flush());
        let plain = std::mem::take(inflate.get_mut());
        if let Err(error) = inflated {
            tracing::debug!(%error, "an answer of a model could not be inflated for reading");
        }
        self.reader.take(&plain)
    }

    /// Puts the calls into memory, once the request is read.
    fn remember(&mut self, calls: &[ToolUse], context: &mut Context<'_>) -> Poll<()> {
        let exchange = match &self.exchange {
            Some(exchange) => Arc::clone(exchange),
            None => {
                let heard = ready!(Pin::new(&mut self.heard).poll(context));
                // A request that could not be read leaves calls without a prompt.
                let heard = heard.ok().flatten();
                let mut exchange = std::mem::take(&mut self.head);
                if let Some((asked, conversation)) = heard {
                    exchange.asked = asked;
                    exchange.conversation = conversation;
                }
                let exchange = Arc::new(exchange);
                self.exchange = Some(Arc::clone(&exchange));
                exchange
            }
        };
        let mut memory = self.parts.prompts.memory();
        for call in calls {
            memory.call(&exchange, call, crate::now_ms());
        }
        Poll::Ready(())
    }
}

impl Body for Hearing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let body = match &mut this.body {
            Source::Own(bytes) => return Poll::Ready(bytes.take().map(|it| Ok(Frame::data(it)))),
            Source::Provider(body) => body,
        };
        let Some(ear) = &mut this.ear else { return Pin::new(body).poll_frame(context) };
        if ear.waiting.is_none() {
            let frame = match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            };
            let calls = frame.data_ref().map(|bytes| ear.hear(bytes)).unwrap_or_default();
            if calls.is_empty() {
                return Poll::Ready(Some(Ok(frame)));
            }
            ear.waiting = Some((frame, calls));
        }
        if let Some((frame, calls)) = ear.waiting.take() {
            if ear.remember(&calls, context).is_pending() {
                ear.waiting = Some((frame, calls));
                return Poll::Pending;
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Own(bytes) => bytes.is_none(),
            Source::Provider(body) => {
                body.is_end_stream() && self.ear.as_ref().is_none_or(|ear| ear.waiting.is_none())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Provider(body) => {
                // A frame that waits has left the provider's body already.
                match self.ear.as_ref().and_then(|ear| ear.waiting.as_ref()) {
                    None => body.size_hint(),
                    Some(_) => SizeHint::new(),
                }
            }
        }
    }
}
