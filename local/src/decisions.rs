//! The door for decisions: a Unix socket that only the owner of the folder can open.
//!
//! ```text
//! GET  /requests                                             [ApprovalRequest, ...]
//! POST /requests/{name}/decision  {"decision","reason"}      ApprovalRequest, or {"message"} with 404 or 409
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use crds::ApprovalRequest;
use crds::approval_request::{Choice, Decision, Phase, PolicyRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use operator::objects::Error;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::requests::Requests;

/// A human's word, as `frostgate approve` and `deny` send it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    decision: Choice,
    #[serde(default)]
    reason: String,
}

/// Why a decision was not taken.
#[derive(Serialize)]
struct Refusal {
    message: String,
}

struct Door {
    requests: Arc<Requests>,
    approver: String,
}

/// Takes decisions on `socket` until `shutdown`; everyone who can open it decides as `approver`.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) async fn serve(
    socket: &Path,
    requests: Arc<Requests>,
    approver: String,
    shutdown: CancellationToken,
) -> io::Result<()> {
    // One that an earlier run left behind answers nobody.
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    let router = Router::new()
        .route("/requests", get(list))
        .route("/requests/{name}/decision", post(decide))
        .with_state(Arc::new(Door { requests, approver }));
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

async fn list(State(door): State<Arc<Door>>) -> Json<Vec<ApprovalRequest>> {
    Json(door.requests.list())
}

async fn decide(
    State(door): State<Arc<Door>>,
    UrlPath(name): UrlPath<String>,
    Json(word): Json<Word>,
) -> Result<Json<ApprovalRequest>, (StatusCode, Json<Refusal>)> {
    let refuse = |status, message: String| (status, Json(Refusal { message }));
    let Some(mut request) = door.requests.find(&name) else {
        return Err(refuse(StatusCode::NOT_FOUND, format!("there is no request {name}")));
    };
    if request.phase() != Phase::Pending {
        return Err(refuse(
            StatusCode::CONFLICT,
            format!("{name} is {:?} already", request.phase()),
        ));
    }
    if let Some(rule) =
        request.spec.policy_refs.iter().find(|rule| rule.approvers.min_approvals > 1)
    {
        let needed = rule.approvers.min_approvals;
        return Err(refuse(
            StatusCode::CONFLICT,
            format!("rule {} needs {needed} approvers, and local mode has one", rule.id()),
        ));
    }
    let decision = stamp(&request, &door.approver, word);
    let status = request.status.get_or_insert_default();
    if status.decisions.iter().any(|earlier| earlier.approver == decision.approver) {
        return Err(refuse(
            StatusCode::CONFLICT,
            format!("{} has decided already", decision.approver),
        ));
    }
    status.decisions.push(decision);
    match door.requests.write_status(&request) {
        Ok(request) => Ok(Json(request)),
        Err(error @ Error::Conflict(_)) => Err(refuse(StatusCode::CONFLICT, error.to_string())),
        Err(error) => Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// The decision as admission would stamp it. The one user of local mode stands for every group that a rule names.
fn stamp(request: &ApprovalRequest, approver: &str, word: Word) -> Decision {
    let rules = &request.spec.policy_refs;
    Decision {
        approver: approver.to_owned(),
        groups: rules.iter().flat_map(|rule| rule.approvers.groups.clone()).collect(),
        verdict: word.decision,
        reason: word.reason,
        time: Time(Timestamp::now()),
        satisfies: rules.iter().map(PolicyRef::id).collect(),
    }
}
