//! Bodies of requests: read within limits of size, time, compression and memory.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Frame, Incoming};
use snowflake::Malformed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::Parts;

/// Bodies up to this size cost nothing of the room; larger ones share it.
const SMALL: usize = 1 << 20;

/// The memory that large bodies share.
pub(crate) struct Room(Arc<Semaphore>);

/// A part of the room, given back when nobody holds it any more.
pub(crate) type Taken = Option<Arc<OwnedSemaphorePermit>>;

/// A body, and the room that it takes for as long as its request lives.
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    pub(crate) room: Taken,
}

/// Why a body could not be read.
pub(super) enum Unread {
    /// A limit; said in the endpoint's form.
    Refused(Refusal),
    /// Broken HTTP, which no driver sends.
    Broken(StatusCode),
}

impl Room {
    /// Room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes >> 10)))
    }

    /// Takes room for a body that may become so large; waits a while until there is some.
    async fn take(&self, bytes: usize, within: Duration) -> Result<Taken, Unread> {
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.0).acquire_many_owned(kib);
        match tokio::time::timeout(within, taken).await {
            Ok(Ok(taken)) => Ok(Some(Arc::new(taken))),
            Ok(Err(_)) | Err(_) => Err(Unread::Refused(Refusal::denied(
                "FG-6002",
                "too many large requests are in work; send it again when some have ended",
            ))),
        }
    }
}

/// Reads a body, inflating it where it is compressed.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Incoming,
    parts: &Parts,
) -> Result<Received, Unread> {
    let gzip = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity" | b"") => false,
        Some(encoding) if encoding.eq_ignore_ascii_case(b"gzip") => true,
        Some(_) => {
            let refusal =
                Refusal::denied("FG-6001", "bodies are taken plain or with gzip, nothing else");
            return Err(Unread::Refused(refusal));
        }
    };
    let received = async {
        let mut body = body;
        let received = receive(&mut body, gzip, parts).await;
        if matches!(received, Err(Unread::Refused(_))) {
            discard(body, parts.limits.body.saturating_mul(2)).await;
        }
        received
    };
    tokio::time::timeout(parts.timings.body, received)
        .await
        .unwrap_or(Err(Unread::Broken(StatusCode::REQUEST_TIMEOUT)))
}

/// Reads what is left of a body that is refused, and keeps nothing: a driver that is still writing would find its connection
/// closed instead of the reason. One that goes on and on finds it closed all the same.
async fn discard(body: Incoming, most: usize) {
    let mut body = Limited::new(body, most);
    while let Some(Ok(_)) = body.frame().await {}
}

async fn receive(body: &mut Incoming, gzip: bool, parts: &Parts) -> Result<Received, Unread> {
    let limits = parts.limits;
    // What it says about its length, or else the most that it may have.
    let expected = body.size_hint().upper().and_then(|upper| usize::try_from(upper).ok());
    let expected = expected.unwrap_or(limits.body);
    if expected > limits.body {
        return Err(too_large("the request's body", limits.body));
    }
    let patience = parts.timings.body / 2;
    let (mut bytes, mut room) = (BytesMut::new(), None);
    let mut body = Limited::new(body, limits.body);
    while let Some(frame) = body.frame().await {
        let data = match frame.map(Frame::into_data) {
            Ok(Ok(data)) => data,
            // Trailers say nothing.
            Ok(Err(_)) => continue,
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(too_large("the request's body", limits.body));
            }
            Err(_) => return Err(Unread::Broken(StatusCode::BAD_REQUEST)),
        };
        if room.is_none() && bytes.len() + data.len() > SMALL {
            room = parts.room.take(expected, patience).await?;
        }
        bytes.extend_from_slice(&data);
    }
    let bytes = bytes.freeze();
    if !gzip {
        return Ok(Received { bytes, room });
    }
    // Small bodies may inflate freely; one that grows beyond all measure is no request.
    if let Some(bytes) = inflate(bytes.clone(), SMALL).await? {
        return Ok(Received { bytes, room });
    }
    let by_ratio = bytes.len().saturating_mul(limits.inflate_ratio).max(SMALL);
    let most = limits.body_inflated.min(by_ratio);
    if most > expected {
        // Given back first: two that wait for each other's room would wait for ever.
        drop(room.take());
        room = parts.room.take(most, patience).await?;
    }
    match inflate(bytes, most).await? {
        Some(bytes) => Ok(Received { bytes, room }),
        None => Err(too_large("the inflated body", most)),
    }
}

/// Inflates a body; nothing where it becomes larger than `most`.
async fn inflate(bytes: Bytes, most: usize) -> Result<Option<Bytes>, Unread> {
    let work = move || {
        let mut inflated = Vec::with_capacity(bytes.len().saturating_mul(4).min(most));
        let mut inflating = MultiGzDecoder::new(&bytes[..]).take(most as u64 + 1);
        inflating.read_to_end(&mut inflated).map(|_| inflated)
    };
    let Ok(Ok(inflated)) = tokio::task::spawn_blocking(work).await else {
        let refusal = Refusal::denied("FG-6001", "the body says gzip and is not");
        return Err(Unread::Refused(refusal));
    };
    Ok((inflated.len() <= most).then(|| inflated.into()))
}

fn too_large(what: &'static str, limit: usize) -> Unread {
    Unread::Refused(Refusal::malformed(&Malformed::TooLarge { what, limit }))
}
