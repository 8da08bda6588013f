//! Columns and views of the account, for sessions of the pod.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use control::{CatalogAnswer, CatalogAsk, Update};

use super::Parts;
use super::authenticate::Caller;
use super::refusal::{Body, Refusal};

/// How many names one ask may hold.
const NAMES_MAX: usize = 256;

/// The objects that exist among those asked for.
pub async fn catalog(
    State(parts): State<Arc<Parts>>,
    Caller(workload): Caller,
    Path(session): Path<String>,
    Body(ask): Body<CatalogAsk>,
) -> Result<Json<CatalogAnswer>, Refusal> {
    let session = parts.sessions.open_session(&session, &workload)?;
    if ask.names.len() > NAMES_MAX {
        return Err(Refusal::new(
            "FG-6002",
            format!("a catalog ask has at most {NAMES_MAX} names"),
        ));
    }
    let attachment = parts.objects.attachment(&workload).await?;
    let read = parts.broker.catalog(&attachment.connection, &ask.names, ask.refresh).await?;
    if read.changed {
        tracing::info!(connection = session.connection, "objects of the account changed");
        // The other pods of the connection learn it as well; for pods of other connections it means one more read.
        parts.hub.tell_all(&Update::CatalogChanged);
    }
    Ok(Json(CatalogAnswer { objects: read.objects }))
}
