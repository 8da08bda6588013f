//! Large results: links are renamed so that further rows come back through the masks.
//!
//! A link's name is 256 random bits. What it stands for (the store's URL, its headers, the masks) never leaves. Rows pass
//! piece by piece: masked, put on record, released; however large a chunk is, little of it is here at a time.

mod kept;
mod masking;

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use http::HeaderValue;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use recording::entry::Format;
use snowflake::chunks::Chunk as Link;
use snowflake::endpoint::CHUNKS;
use snowflake::query::Answer;
use snowflake::rows::{Findings, Layout, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use crate::Parts;
use crate::downstream::refusal::Refusal;
use crate::downstream::session::{Session, random_token};
use crate::downstream::{Body, whole};
use crate::recorder;
use crate::telemetry::DirectionLabels;
use crate::upstream::{Coming, TransportError};
use kept::{Kept, Piece};
use masking::{Done, Masking};

/// Links over all sessions.
const MOST: usize = 200_000;
/// Bytes that leave at once: what is on record in one part. The first pieces are smaller, so that a driver hears of a
/// slow store's rows soon; which piece is how large never depends on time, or a second reading would differ.
const PIECE: usize = 1 << 20;
const FIRST: usize = 32 << 10;
/// Bytes that are masked at once, off the threads that serve.
const WORK: usize = 256 << 10;
/// How often a store is asked that breaks off.
const TRIES: u32 = 4;
/// How long a driver may leave a piece unread before others are worked on instead.
const UNREAD: Duration = Duration::from_secs(1);
/// How many chunks are begun for each that is worked on.
const BEGUN: usize = 16;

/// Every link that was given out.
pub(crate) struct Chunks {
    by_name: Mutex<HashMap<String, Arc<Chunk>>>,
    at_once: Arc<Semaphore>,
    begun: Arc<Semaphore>,
}

/// A place among the chunks that are worked on.
struct Turn {
    at_once: Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
    _begun: OwnedSemaphorePermit,
}

/// What the chunks of one answer have in common.
pub(crate) struct Source {
    pub(crate) session: Weak<Session>,
    pub(crate) statement: Uuid,
    pub(crate) query_id: Option<Uuid>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) arrow: bool,
    pub(crate) digest_only: bool,
}

/// A link with its new name.
pub(crate) struct Named {
    /// As the driver gets it.
    pub(crate) link: Link,
    name: String,
    /// Where the rows lie.
    url: String,
}

/// One part of a large result.
struct Chunk {
    source: Arc<Source>,
    /// From 1; 0 is the answer itself.
    number: u32,
    /// How many rows the account says it has.
    rows: u64,
    /// Where the rows lie and with which headers: renewed when the store's links end.
    place: Mutex<(String, BTreeMap<String, String>)>,
    /// What is on record of it.
    kept: Kept,
}

/// A chunk for the driver, or why there is none.
pub(crate) enum Served {
    /// Its bytes.
    Rows(Rows),
    /// Nobody knows the name, or its session is over.
    Unknown,
    /// The store or the record said no.
    Failed(Refusal),
}

/// The bytes of a chunk, as they come.
pub(crate) struct Rows {
    first: Bytes,
    /// What follows, if anything does.
    further: Option<mpsc::Receiver<Result<Piece, Refusal>>>,
}

impl Chunks {
    /// Works on this many chunks at the same time.
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            by_name: Mutex::default(),
            at_once: Arc::new(Semaphore::new(at_once)),
            begun: Arc::new(Semaphore::new(at_once.saturating_mul(BEGUN))),
        }
    }

    /// New names for links, under `base`.
    pub(crate) fn name(&self, links: &[Link], base: &str) -> Result<Vec<Named>, Refusal> {
        let named = links.iter().map(|link| {
            let name = random_token()?;
            let url = format!("{base}{CHUNKS}{name}");
            Ok(Named { link: Link { url, ..link.clone() }, name, url: link.url.clone() })
        });
        named.collect()
    }

    /// From now on the names lead to their rows.
    pub(crate) fn serve(&self, named: Vec<Named>, source: Source) {
        if named.is_empty() {
            return;
        }
        let source = Arc::new(source);
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if by_name.len() + named.len() > MOST {
            by_name.retain(|_, chunk| chunk.source.session.strong_count() > 0);
        }
        for (number, named) in (1..).zip(named) {
            let chunk = Chunk {
                source: Arc::clone(&source),
                number,
                rows: named.link.row_count,
                place: Mutex::new((named.url, source.headers.clone())),
                kept: Kept::default(),
            };
            by_name.insert(named.name, Arc::new(chunk));
        }
    }

    /// Forgets the links of a session.
    pub(crate) fn forget(&self, session: &Arc<Session>) {
        let ended = Arc::downgrade(session);
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.retain(|_, chunk| !chunk.source.session.ptr_eq(&ended));
    }

    /// Fetches the rows of a name, masks them, puts them on record once, and gives them piece by piece.
    pub(crate) async fn fetch(&self, name: &str, parts: &Arc<Parts>) -> Served {
        let found = self.by_name.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let Some(chunk) = found else { return Served::Unknown };
        let Some(session) = chunk.source.session.upgrade() else { return Served::Unknown };
        if session.closing().is_some() {
            return Served::Unknown;
        }
        session.touch();
        let Ok(mut turn) = self.turn().await else { return Served::Unknown };
        let (sender, mut further) = mpsc::channel(1);
        let relaying = Arc::clone(parts);
        // On its own: a driver that hangs up must not interrupt a piece on its way to the record.
        parts.statements.spawn(async move {
            if let Err(refusal) = chunk.relay(&session, &relaying, &sender, &mut turn).await {
                tracing::warn!(statement = %chunk.source.statement, refusal = refusal.message, "a chunk failed");
                // Nobody may be there to hear it.
                let _ = sender.send(Err(refusal)).await;
            }
        });
        // What fails before the first piece can still be said.
        match further.recv().await {
            Some(Ok(piece)) => {
                let further = (!piece.last).then_some(further);
                Served::Rows(Rows { first: piece.bytes, further })
            }
            Some(Err(refusal)) => Served::Failed(refusal),
            None => Served::Failed(Refusal::internal("the chunk was not relayed")),
        }
    }

    /// Waits for a place: each chunk in work costs memory.
    async fn turn(&self) -> Result<Turn, tokio::sync::AcquireError> {
        let begun = Arc::clone(&self.begun).acquire_owned().await?;
        let at_once = Arc::clone(&self.at_once);
        let place = Some(Arc::clone(&at_once).acquire_owned().await?);
        Ok(Turn { at_once, place, _begun: begun })
    }
}

impl Turn {
    /// Gives a piece to the driver; false where it hung up. While it does not read, its place is another's: drivers that
    /// read one chunk after the other ask for many at once, and not in their order.
    async fn give(&mut self, piece: Piece, out: &mpsc::Sender<Result<Piece, Refusal>>) -> bool {
        let mut giving = pin!(out.send(Ok(piece)));
        if let Ok(given) = tokio::time::timeout(UNREAD, &mut giving).await {
            return given.is_ok();
        }
        self.place = None;
        let given = giving.await.is_ok();
        self.place = Arc::clone(&self.at_once).acquire_owned().await.ok();
        given
    }
}

impl Rows {
    /// As the body of an answer. Should a later piece fail, the body is cut, and its driver asks again.
    pub(crate) fn into_body(self) -> Body {
        let Self { first, further } = self;
        let Some(further) = further else { return whole(first) };
        let first = futures::stream::iter([Ok(first)]);
        let further = futures::stream::unfold(further, async |mut further| {
            let piece = further.recv().await?;
            let piece = piece.map(|piece| piece.bytes);
            Some((piece.map_err(|refusal| std::io::Error::other(refusal.message)), further))
        });
        StreamBody::new(first.chain(further).map_ok(Frame::data)).boxed_unsync()
    }

    /// All bytes, at most `limit` of them.
    pub(crate) async fn collect(self, limit: usize) -> Result<Bytes, Refusal> {
        let Self { first, further } = self;
        let Some(mut further) = further else { return Ok(first) };
        let mut all = BytesMut::from(first);
        while let Some(piece) = further.recv().await {
            all.extend_from_slice(&piece?.bytes);
            if all.len() > limit {
                let text =
                    format_args!("a part of the result exceeds {limit} bytes; ask for fewer rows");
                return Err(Refusal::denied("FG-6002", text));
            }
        }
        Ok(all.freeze())
    }
}

impl Chunk {
    /// Relays the chunk to its end. A store that breaks off is asked again; what went out already is only compared then.
    async fn relay(
        &self,
        session: &Arc<Session>,
        parts: &Arc<Parts>,
        out: &mpsc::Sender<Result<Piece, Refusal>>,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let mut sent = 0;
        let mut tries = 1;
        loop {
            match self.pass(session, parts, out, turn, &mut sent).await {
                Err(Broken::Store(error)) if tries < TRIES => {
                    tracing::info!(statement = %self.source.statement, %error, "a store broke off");
                    tries += 1;
                }
                Err(Broken::Store(error)) => return Err(unavailable(&error)),
                Err(Broken::Refused(refusal)) => return Err(refusal),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Relays the chunk once. `sent` pieces of it have gone out.
    async fn pass(
        &self,
        session: &Arc<Session>,
        parts: &Arc<Parts>,
        out: &mpsc::Sender<Result<Piece, Refusal>>,
        turn: &mut Turn,
        sent: &mut usize,
    ) -> Result<(), Broken> {
        let mut coming = self.fetch(session).await?;
        let stream = Stream::of(Arc::clone(&self.source.layout), self.source.arrow, self.rows);
        let mut masking = Masking::new(coming.gzip, stream, parts.limits.chunk);
        let mut ready = BytesMut::new();
        let mut found = Findings::new();
        let mut at = 0;
        loop {
            let work = gather(&mut coming, length(at).min(WORK)).await?;
            let last = work.is_empty();
            let Done { masked, masking: next } = masking.run(work).await?;
            masking = next;
            parts.metrics.masked_cells.inc_by(masked.masked_cells);
            ready.extend_from_slice(&masked.bytes);
            for (what, cells) in masked.found {
                *found.entry(what).or_default() += cells;
            }
            // The last piece is never empty unless the chunk is.
            while ready.len() > length(at) || last {
                let bytes = ready.split_to(ready.len().min(length(at))).freeze();
                let piece = Piece { last: last && ready.is_empty(), bytes };
                let ends = piece.last;
                let hidden = || super::rows::hidden(&self.source.layout, &found, &parts.metrics);
                self.kept.settle(at, &piece, || self.recording(session), hidden).await?;
                if at >= *sent {
                    let down = DirectionLabels { direction: "downstream" };
                    parts.metrics.bytes.get_or_create(&down).inc_by(piece.bytes.len() as u64);
                    if !turn.give(piece, out).await {
                        // The driver hung up; it may ask again.
                        return Ok(());
                    }
                    *sent += 1;
                }
                at += 1;
                if ends {
                    return Ok(());
                }
            }
        }
    }

    /// A recording of its rows, unless only their digest is wanted.
    fn recording(&self, session: &Session) -> Option<recorder::Chunk> {
        let format = if self.source.arrow { Format::ArrowStream } else { Format::JsonRows };
        let statement = self.source.statement.to_string();
        (!self.source.digest_only).then(|| session.recording.chunk(&statement, self.number, format))
    }

    async fn fetch(&self, session: &Session) -> Result<Coming, Broken> {
        for renewed in [false, true] {
            let (url, headers) = self.place.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let coming = session
                .upstream
                .chunk(&url, &headers)
                .await
                .map_err(|error| Broken::Refused(unavailable(&error)))?;
            match coming.status.as_u16() {
                200 => return Ok(coming),
                // The store's links end after hours; the account gives new ones.
                400 | 401 | 403 | 404 if !renewed => {
                    self.renew(session).await.map_err(Broken::Refused)?;
                }
                status => {
                    return Err(Broken::Refused(unavailable(&format_args!("HTTP {status}"))));
                }
            }
        }
        Err(Broken::Refused(unavailable(&"its link ended")))
    }

    /// Asks the account for the result's links anew.
    async fn renew(&self, session: &Session) -> Result<(), Refusal> {
        let gone = |error: &dyn std::fmt::Display| {
            Refusal::denied(
                "FG-4003",
                format_args!("the chunk's link ended and there is no new one: {error}"),
            )
        };
        let query_id = self.source.query_id.ok_or_else(|| gone(&"the result has no id"))?;
        let accept = HeaderValue::from_static("application/snowflake");
        let body = session.upstream.result(query_id, accept).await.map_err(|error| gone(&error))?;
        let answer = Answer::decode(&body).map_err(|error| gone(&error))?;
        let links = answer.chunks().map_err(|error| gone(&error))?;
        let at = (self.number as usize).saturating_sub(1);
        let link = links.into_iter().nth(at).ok_or_else(|| gone(&"it has fewer parts now"))?;
        let headers = answer.chunk_headers().map_err(|error| gone(&error))?;
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = (link.url, headers);
        Ok(())
    }
}

/// Why a pass over a chunk ended before its end.
enum Broken {
    /// The store broke off; it can be asked again.
    Store(TransportError),
    /// There is no sense in trying again.
    Refused(Refusal),
}

impl From<Refusal> for Broken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn unavailable(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::denied("FG-4001", format_args!("the chunk cannot be fetched: {error}"))
}

/// How many bytes the piece with this number has, unless it is the last.
fn length(at: usize) -> usize {
    if at < 5 { FIRST << at } else { PIECE }
}

/// The next bytes of a body that are worth a thread's while; none at its end.
async fn gather(coming: &mut Coming, worth: usize) -> Result<BytesMut, Broken> {
    let mut work = BytesMut::new();
    while work.len() < worth {
        match coming.next().await.map_err(Broken::Store)? {
            Some(bytes) => work.extend_from_slice(&bytes),
            None => break,
        }
    }
    Ok(work)
}
