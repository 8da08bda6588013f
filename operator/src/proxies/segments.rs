//! Upload tickets and seals: the recording leaves the pod for the ledger's store.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use control::{SealNotice, SegmentAsk, Ticket};
use http::StatusCode;

use super::Parts;
use super::authenticate::Caller;
use super::refusal::{Body, Refusal};

/// Where a sealed segment may be put. A closed session still has segments to ship.
pub async fn ticket(
    State(parts): State<Arc<Parts>>,
    Caller(workload): Caller,
    Path(session): Path<String>,
    Body(ask): Body<SegmentAsk>,
) -> Result<Json<Ticket>, Refusal> {
    parts.sessions.known(&session, &workload)?;
    Ok(Json(parts.ledger.ticket(&session, &ask)?))
}

/// Remembers a segment that was put.
pub async fn seal(
    State(parts): State<Arc<Parts>>,
    Caller(workload): Caller,
    Path(session): Path<String>,
    Body(notice): Body<SealNotice>,
) -> Result<StatusCode, Refusal> {
    parts.sessions.known(&session, &workload)?;
    parts.ledger.seal(&session, &notice).await?;
    Ok(StatusCode::NO_CONTENT)
}
