//! Receives segments under their tickets.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use tokio::sync::Semaphore;

use super::tickets::Terms;
use super::{Error, Ledger};

/// Uploads at once; each holds a file and a buffer only.
const UPLOADS_MAX: usize = 64;

/// `PUT /v1/uploads/<session>/<number>?...`: 201 stored, 412 stored before.
///
/// The ticket in the URL is the whole authorisation. Mount it where sidecars reach it over TLS.
pub fn upload_router(ledger: Arc<Ledger>) -> Router {
    let uploads = Arc::new(Semaphore::new(UPLOADS_MAX));
    Router::new().route("/v1/uploads/{session}/{number}", put(upload)).with_state((ledger, uploads))
}

async fn upload(
    State((ledger, uploads)): State<(Arc<Ledger>, Arc<Semaphore>)>,
    path: Result<Path<(String, u64)>, PathRejection>,
    terms: Result<Query<Terms>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Error> {
    let Path((session, number)) = path.map_err(|_| Error::Malformed("path"))?;
    let Query(terms) = terms.map_err(|_| Error::Ticket("it is not whole"))?;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let expected = ledger.tickets.check(&session, number, &terms, now_ms)?;
    if headers.get(header::IF_NONE_MATCH).is_some_and(|value| value != "*") {
        return Err(Error::Ticket("`if-none-match` must be `*`"));
    }
    if headers
        .get(header::CONTENT_LENGTH)
        .is_some_and(|value| value != &*expected.length.to_string())
    {
        return Err(Error::Bytes("there are more or fewer than announced"));
    }
    let Ok(_place) = uploads.try_acquire() else {
        return Err(Error::Unstorable("too many uploads at once; try again".into()));
    };
    ledger.store.receive(&expected, body.into_data_stream()).await?;
    Ok(StatusCode::CREATED)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if matches!(self, Self::Unwritable(_) | Self::Unstorable(_)) {
            tracing::error!(error = %self, "the ledger refused");
        }
        (self.status(), Json(self.problem())).into_response()
    }
}
