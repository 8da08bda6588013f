//! Large results: links are renamed so that further rows come back through the masks.
//!
//! A link's name is 256 random bits. What it stands for (the store's URL, its headers, the masks) never leaves.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use recording::entry::{Format, Hidden, Payload};
use snowflake::chunks::Chunk as Link;
use snowflake::endpoint::CHUNKS;
use snowflake::query::Answer;
use snowflake::rows::Layout;
use tokio::sync::{OnceCell, Semaphore};
use uuid::Uuid;

use crate::Parts;
use crate::downstream::refusal::Refusal;
use crate::downstream::session::{Session, random_token};
use crate::telemetry::DirectionLabels;

/// Links over all sessions.
const MOST: usize = 200_000;

/// Every link that was given out.
pub(crate) struct Chunks {
    by_name: Mutex<HashMap<String, Arc<Chunk>>>,
    at_once: Semaphore,
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
    /// Where the rows lie and with which headers: renewed when the store's links end.
    place: Mutex<(String, BTreeMap<String, String>)>,
    /// What was recorded when it was first read; every later reading must give the same.
    recorded: OnceCell<Payload>,
}

/// A chunk for the driver, or why there is none.
pub(crate) enum Served {
    /// Its bytes.
    Rows(Bytes),
    /// Nobody knows the name, or its session is over.
    Unknown,
    /// The store or the record said no.
    Failed(Refusal),
}

impl Chunks {
    /// Works on this many chunks at the same time.
    pub(crate) fn new(at_once: usize) -> Self {
        Self { by_name: Mutex::default(), at_once: Semaphore::new(at_once) }
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
                place: Mutex::new((named.url, source.headers.clone())),
                recorded: OnceCell::new(),
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

    /// Fetches the rows of a name, masks them, puts them on record once, and gives them.
    pub(crate) async fn fetch(&self, name: &str, parts: &Parts) -> Served {
        let found = self.by_name.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let Some(chunk) = found else { return Served::Unknown };
        let Some(session) = chunk.source.session.upgrade() else { return Served::Unknown };
        if session.closing().is_some() {
            return Served::Unknown;
        }
        session.touch();
        // Each chunk in work costs its memory twice.
        let Ok(_permit) = self.at_once.acquire().await else { return Served::Unknown };
        match chunk.read(&session, parts).await {
            Ok(bytes) => Served::Rows(bytes),
            Err(refusal) => {
                tracing::warn!(statement = %chunk.source.statement, refusal = refusal.message, "a chunk failed");
                Served::Failed(refusal)
            }
        }
    }
}

impl Chunk {
    async fn read(&self, session: &Arc<Session>, parts: &Parts) -> Result<Bytes, Refusal> {
        let fetched = self.fetch(session).await?;
        let source = Arc::clone(&self.source);
        let mut hidden = Vec::new();
        let bytes = if source.layout.is_masked() {
            let layout = Arc::clone(&source.layout);
            let work = move || super::rows::chunk(&fetched, &layout, source.arrow);
            // A decoder that panics on a hostile stream refuses the chunk, nothing else.
            let masked = match tokio::task::spawn_blocking(work).await {
                Ok(Ok(masked)) => masked,
                Ok(Err(error)) => return Err(Refusal::denied("FG-4003", error)),
                Err(_) => return Err(Refusal::denied("FG-4003", "the chunk cannot be decoded")),
            };
            parts.metrics.masked_cells.inc_by(masked.masked_cells);
            hidden = super::rows::hidden(&self.source.layout, &masked.found, &parts.metrics);
            Bytes::from(masked.bytes)
        } else {
            fetched
        };
        self.record(&bytes, hidden, session).await?;
        let down = DirectionLabels { direction: "downstream" };
        parts.metrics.bytes.get_or_create(&down).inc_by(bytes.len() as u64);
        Ok(bytes)
    }

    async fn fetch(&self, session: &Session) -> Result<Bytes, Refusal> {
        let unavailable = |error: &dyn std::fmt::Display| {
            Refusal::denied("FG-4001", format_args!("the chunk cannot be fetched: {error}"))
        };
        for renewed in [false, true] {
            let (url, headers) = self.place.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let reply = session
                .upstream
                .chunk(&url, &headers)
                .await
                .map_err(|error| unavailable(&error))?;
            match reply.status.as_u16() {
                200 => return Ok(reply.body),
                // The store's links end after hours; the account gives new ones.
                400 | 401 | 403 | 404 if !renewed => self.renew(session).await?,
                status => return Err(unavailable(&format_args!("HTTP {status}"))),
            }
        }
        Err(unavailable(&"its link ended"))
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
        let body = session.upstream.result(query_id).await.map_err(|error| gone(&error))?;
        let answer = Answer::decode(&body).map_err(|error| gone(&error))?;
        let links = answer.chunks().map_err(|error| gone(&error))?;
        let at = (self.number as usize).saturating_sub(1);
        let link = links.into_iter().nth(at).ok_or_else(|| gone(&"it has fewer parts now"))?;
        let headers = answer.chunk_headers().map_err(|error| gone(&error))?;
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = (link.url, headers);
        Ok(())
    }

    /// On record when first read; a later reading must be the same bytes.
    async fn record(
        &self,
        bytes: &Bytes,
        hidden: Vec<Hidden>,
        session: &Session,
    ) -> Result<(), Refusal> {
        let format = if self.source.arrow { Format::ArrowStream } else { Format::JsonRows };
        let recorded = self
            .recorded
            .get_or_try_init(async || {
                if self.source.digest_only {
                    return Ok(Payload {
                        length: bytes.len() as u64,
                        sha256: recording::Digest::of(bytes),
                    });
                }
                let statement = self.source.statement.to_string();
                let chunk = session.recording.chunk(&statement, self.number, format);
                chunk.hiding(hidden).finish(bytes).await
            })
            .await
            .map_err(|error| Refusal::unrecorded(&error))?;
        if recorded.length == bytes.len() as u64 && recorded.sha256 == recording::Digest::of(bytes)
        {
            return Ok(());
        }
        Err(Refusal::denied("FG-4003", "the chunk is not the one that was read before"))
    }
}
