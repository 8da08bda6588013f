//! "No" as the Messages API says it.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

/// Why a request does not pass.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The connection has no such door.
    #[error(
        "FG-6007 model traffic does not pass here: the SnowflakeConnection has no spec.prompts. Start the pod anew, or \
         unset ANTHROPIC_BASE_URL"
    )]
    Closed,
    /// Not an endpoint of the API.
    #[error(
        "FG-6003 this endpoint is not served: only paths below /v1/ pass to the model's provider"
    )]
    Unknown,
    /// The request is for another name.
    #[error("FG-6003 this listener answers on loopback only")]
    Misdirected,
    /// Nobody has said yet where the traffic goes.
    #[error("FG-1005 no settings have come from the operator yet; try again when it is reachable")]
    Early,
    /// The settings cannot be used.
    #[error(
        "FG-4005 the way to the model's provider cannot be set up: {0}; check the SnowflakeConnection's spec.prompts"
    )]
    Unusable(String),
    /// The provider does not answer.
    #[error(
        "FG-4005 the model's provider cannot be reached: {0}; check the SnowflakeConnection's spec.prompts and the \
         pod's way out"
    )]
    Unreachable(String),
}

impl Refusal {
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Closed => (StatusCode::FORBIDDEN, "permission_error"),
            Self::Unknown | Self::Misdirected => (StatusCode::NOT_FOUND, "not_found_error"),
            Self::Early => (StatusCode::SERVICE_UNAVAILABLE, "api_error"),
            Self::Unusable(_) => (StatusCode::INTERNAL_SERVER_ERROR, "api_error"),
            Self::Unreachable(_) => (StatusCode::BAD_GATEWAY, "api_error"),
        }
    }

    /// The answer.
    pub(super) fn answer<B: From<Bytes>>(&self) -> Response<B> {
        let (status, kind) = self.status();
        let message = crate::downstream::refusal::one_line(&self.to_string());
        let body = json!({"type": "error", "error": {"type": kind, "message": message}});
        let mut response = Response::new(B::from(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
