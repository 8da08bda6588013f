//! HTTPS server for admission: three doors, each a pure answer to one review.
//!
//! ```text
//! /inject     a pod that asks for a connection     -> JSON patch, or why not          inject
//! /validate   a connection or a policy             -> every error at once             validate
//! /decide     a human's decision on a request      -> stamped with who it was         decide
//! ```

pub mod decide;
pub mod inject;
pub mod validate;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use futures::FutureExt;
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};

use crate::certificates::Certificates;
use crate::config::Config;
use crate::directory::Directory;
use crate::sidecar::Sidecar;
use crate::telemetry::{Metrics, WebhookLabel};

/// A review holds the object and its older self, each at most 1.5 MiB in the API server's store.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// A request as it came.
pub type Review = AdmissionRequest<DynamicObject>;

/// What the webhooks answer from.
pub struct Webhooks {
    /// The connections there are.
    pub directory: Arc<Directory>,
    /// What the sidecar looks like.
    pub config: Config,
    /// Who vouches for the operator.
    pub certificates: Arc<Certificates>,
    /// Asks whether somebody may do something.
    pub rights: Arc<dyn decide::Rights>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl Webhooks {
    /// The sidecar as pods get it now.
    #[must_use]
    pub fn sidecar(&self) -> Sidecar {
        Sidecar {
            image: self.config.proxy_image.clone(),
            operator_url: self.config.operator_url.clone(),
            operator_ca: self.certificates.trusted().as_ref().clone(),
            resources: self.config.proxy_resources.clone(),
            spool_bytes: self.config.proxy_spool_bytes,
        }
    }
}

/// A no, in the words and with the code that the caller will see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// HTTP status.
    pub code: u16,
    /// Reason as the API conventions spell it.
    pub reason: &'static str,
    /// What to do about it.
    pub message: String,
}

impl Denial {
    /// The caller may not.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self { code: 403, reason: "Forbidden", message: message.into() }
    }

    /// What the caller wrote can never work.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { code: 422, reason: "Invalid", message: message.into() }
    }

    /// Something else happened first.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self { code: 409, reason: "Conflict", message: message.into() }
    }

    /// We could not find out.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { code: 503, reason: "ServiceUnavailable", message: message.into() }
    }
}

/// What a door answers: a patch (maybe empty) with warnings, or a denial.
pub type Answer = Result<Admitted, Denial>;

/// A yes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admitted {
    /// Changes to the object.
    pub patch: Vec<json_patch::PatchOperation>,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// The three doors.
pub fn router(webhooks: Arc<Webhooks>) -> Router {
    Router::new()
        .route("/inject", post(inject))
        .route("/validate", post(validate))
        .route("/decide", post(decide))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(webhooks)
}

async fn inject(State(webhooks): State<Arc<Webhooks>>, body: Bytes) -> Response {
    let metrics = webhooks.metrics.clone();
    answer(&metrics, "inject", &body, |review| async move { inject::inject(&webhooks, &review) })
        .await
}

async fn validate(State(webhooks): State<Arc<Webhooks>>, body: Bytes) -> Response {
    let metrics = webhooks.metrics.clone();
    answer(&metrics, "validate", &body, |review| async move {
        validate::validate(&webhooks.directory.snapshot(), &review)
    })
    .await
}

async fn decide(State(webhooks): State<Arc<Webhooks>>, body: Bytes) -> Response {
    let metrics = webhooks.metrics.clone();
    answer(&metrics, "decide", &body, |review| async move {
        let now = k8s_openapi::jiff::Timestamp::now();
        decide::decide(&*webhooks.rights, &webhooks.metrics, &review, now).await
    })
    .await
}

/// Reads the review, has it answered, and turns even a panic into a refusal that says so.
async fn answer<F: Future<Output = Answer>>(
    metrics: &Metrics,
    webhook: &'static str,
    body: &[u8],
    decide: impl FnOnce(Review) -> F,
) -> Response {
    let start = Instant::now();
    let review = serde_json::from_slice::<AdmissionReview<DynamicObject>>(body)
        .map_err(|error| error.to_string())
        .and_then(|review| TryInto::<Review>::try_into(review).map_err(|error| error.to_string()));
    let review = match review {
        Ok(review) => review,
        Err(error) => {
            tracing::warn!(%error, webhook, "review not understood");
            let invalid = AdmissionResponse::invalid(error).into_review();
            return (StatusCode::BAD_REQUEST, Json(invalid)).into_response();
        }
    };
    let response = AdmissionResponse::from(&review);
    let (namespace, name) = (review.namespace.clone().unwrap_or_default(), review.name.clone());
    let answer = AssertUnwindSafe(decide(review)).catch_unwind().await.unwrap_or_else(|_| {
        Err(Denial {
            code: 500,
            reason: "InternalError",
            message: "FG-9001 the webhook failed: see the operator's log".to_owned(),
        })
    });
    metrics
        .webhook_seconds
        .get_or_create(&WebhookLabel { webhook })
        .observe(start.elapsed().as_secs_f64());
    if let Err(denial) = &answer {
        tracing::info!(
            webhook,
            namespace,
            name,
            reason = denial.reason,
            message = denial.message,
            "denied"
        );
    }
    Json(respond(response, answer).into_review()).into_response()
}

fn respond(mut response: AdmissionResponse, answer: Answer) -> AdmissionResponse {
    match answer {
        Ok(admitted) => {
            if !admitted.warnings.is_empty() {
                response.warnings = Some(admitted.warnings);
            }
            if admitted.patch.is_empty() {
                return response;
            }
            let uid = response.uid.clone();
            response.with_patch(json_patch::Patch(admitted.patch)).unwrap_or_else(|error| {
                let mut invalid = AdmissionResponse::invalid(error);
                invalid.uid = uid;
                invalid
            })
        }
        Err(denial) => {
            response = response.deny(denial.message);
            response.result.code = denial.code;
            response.result.reason = denial.reason.to_owned();
            response
        }
    }
}

/// The name by which the API server knows the caller.
fn username(user: &UserInfo) -> &str {
    user.username.as_deref().unwrap_or_default()
}
