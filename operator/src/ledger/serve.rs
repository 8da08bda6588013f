//! Hands recordings and the log to auditors, read-only.
//!
//! An auditor's tool comes through the API server's service proxy
//! (`/api/v1/namespaces/<ns>/services/https:frostgate-recordings:8081/proxy/v1/...`), so Kubernetes
//! RBAC on that one service says who may read and the API server's audit log who did. But the
//! API server takes the user's credentials off the request and brings none of its own: from here
//! such a request cannot be told from one that a neighbour pod sends to the same port, and a
//! NetworkPolicy protects only where the network plugin enforces it. Therefore every request must
//! also prove knowledge of a [`ReaderKey`], which lies in one Secret (`frostgate-recordings-reader`,
//! key `key`): reading recordings takes the RBAC right to the service *and* to that Secret, and a
//! pod that reaches the port has neither. The key itself never travels: a request carries a MAC
//! over its path and the time.
//!
//! RBAC matches the whole name in the proxy's path: the Role that allows `get` on
//! `services/proxy` names `https:frostgate-recordings:8081`, scheme and port included.

use std::sync::Arc;
use std::sync::PoisonError;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::Principal;
use http::{StatusCode, header};
use recording::ledger::{READER_HEADER, ReaderKey, tile};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Error, Ledger, Seen};

/// Recordings in one answer.
const PAGE_MAX: usize = 500;

/// A new [`ReaderKey`], as it stands in its Secret.
///
/// # Errors
/// If the machine has no randomness.
pub fn new_reader_key() -> Result<Zeroizing<String>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| Error::Malformed("randomness"))?;
    Ok(Zeroizing::new(STANDARD.encode(bytes.as_slice())))
}

/// One line of `GET /v1/recordings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    /// The session.
    pub session: String,
    /// `namespace/name` of its connection.
    pub connection: String,
    /// Whose it is; absent if its description is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// Its Snowflake role; absent with the principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// When it was opened, Unix milliseconds.
    pub opened_at_ms: i64,
    /// When it was closed, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at_ms: Option<i64>,
    /// Why it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many segments are sealed; they are numbered from 0.
    pub segments: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// `Open`, `Closed` (waits for its last segment) or `Complete`.
    pub state: String,
}

/// The answer to `GET /v1/recordings`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recordings {
    /// In the order of their ids, which is that of their opening.
    pub recordings: Vec<Recording>,
    /// There are more: ask again with `?after=` this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The routes for auditors:
///
/// - `GET /v1/recordings[?after=<session>]`: [`Recordings`]
/// - `GET /v1/recordings/<session>/<number>`: a segment
/// - `GET /v1/ledger/checkpoint`, `GET /v1/ledger/tile/...`: the log
///
/// Every request needs [`READER_HEADER`].
pub fn serve_router(ledger: Arc<Ledger>, key: ReaderKey) -> Router {
    Router::new()
        .route("/v1/recordings", get(list))
        .route("/v1/recordings/{session}/{number}", get(segment))
        .route("/v1/ledger/{*path}", get(log_file))
        .with_state(ledger)
        .layer(middleware::from_fn_with_state(key, admit))
}

async fn admit(State(key): State<ReaderKey>, request: Request, next: Next) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let proof = request.headers().get(READER_HEADER).and_then(|value| value.to_str().ok());
    let now = jiff::Timestamp::now().as_second();
    if proof.is_some_and(|proof| key.accepts(proof, path, now)) {
        return next.run(request).await;
    }
    let message = "reading recordings takes a proof of the key in Secret frostgate-recordings-reader; \
        use kubectl frostgate, and check the clocks";
    let problem =
        control::Problem { code: "FG-1001".into(), message: message.into(), retryable: false };
    (StatusCode::FORBIDDEN, Json(problem)).into_response()
}

#[derive(Debug, Deserialize)]
struct Page {
    after: Option<String>,
}

async fn list(
    State(ledger): State<Arc<Ledger>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Recordings>, Error> {
    let Query(Page { after }) = page.map_err(|_| Error::Malformed("query"))?;
    let mut seen = ledger.page(after.as_deref(), PAGE_MAX + 1);
    let next = (seen.len() > PAGE_MAX).then(|| {
        seen.truncate(PAGE_MAX);
        seen.last().map(|(session, _)| session.clone())
    });
    let store = ledger.store.clone();
    let describe = move || {
        seen.into_iter()
            .map(|(session, seen)| {
                let about = store.description(&session);
                describe(session, seen, about)
            })
            .collect()
    };
    let recordings = tokio::task::spawn_blocking(describe)
        .await
        .map_err(|error| Error::Unstorable(error.to_string()))?;
    Ok(Json(Recordings { recordings, next: next.flatten() }))
}

fn describe(session: String, seen: Seen, about: Option<super::KeptSession>) -> Recording {
    let (principal, role) = about.map(|about| (about.principal, about.role)).unzip();
    let (closed_at_ms, reason) = seen.closed.unzip();
    let state = match (seen.is_final, closed_at_ms) {
        (true, _) => "Complete",
        (false, Some(_)) => "Closed",
        (false, None) => "Open",
    };
    Recording {
        session,
        connection: seen.connection,
        principal,
        role,
        opened_at_ms: seen.opened_at_ms,
        closed_at_ms,
        reason,
        segments: seen.segments,
        bytes: seen.bytes,
        state: state.into(),
    }
}

async fn segment(
    State(ledger): State<Arc<Ledger>>,
    path: Result<Path<(String, u64)>, PathRejection>,
) -> Result<Response, Error> {
    let Path((session, number)) = path.map_err(|_| Error::Malformed("path"))?;
    send(&ledger.store.path(&session, number)?).await
}

async fn log_file(
    State(ledger): State<Arc<Ledger>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Error> {
    let Path(path) = path.map_err(|_| Error::Malformed("path"))?;
    // Only what the layout can name: no path leads out of the log's folder.
    if !tile::is_path(&path) {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    send(&ledger.log.folder().join(path)).await
}

/// A whole file; these files never change, but for the checkpoint, which is replaced whole.
async fn send(path: &std::path::Path) -> Result<Response, Error> {
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(StatusCode::NOT_FOUND.into_response());
        }
        Err(error) => return Err(Error::Unstorable(error.to_string())),
    };
    let length = file.metadata().await.map_err(|error| Error::Unstorable(error.to_string()))?.len();
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    let body = Body::from_stream(tokio_util::io::ReaderStream::new(file));
    Ok((headers, body).into_response())
}

impl Ledger {
    fn page(&self, after: Option<&str>, limit: usize) -> Vec<(String, Seen)> {
        use std::ops::Bound;
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        index
            .sessions
            .range::<str, _>((from, Bound::Unbounded))
            .take(limit)
            .map(|(session, seen)| (session.clone(), seen.clone()))
            .collect()
    }
}
