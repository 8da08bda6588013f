//! Every "no" of the control server: a `Problem` as JSON, with the HTTP status that goes with its code.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use control::Problem;
use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::{broker, ledger, objects};

/// A problem on its way to the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub Problem);

impl Refusal {
    /// A refusal that asking again does not change.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self(Problem { code: code.to_owned(), message: message.into(), retryable: false })
    }

    /// A refusal of this moment.
    pub fn later(code: &str, message: impl Into<String>) -> Self {
        Self(Problem { code: code.to_owned(), message: message.into(), retryable: true })
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<ledger::Error> for Refusal {
    fn from(error: ledger::Error) -> Self {
        Self(error.problem())
    }
}

impl From<broker::Error> for Refusal {
    fn from(error: broker::Error) -> Self {
        Self(error.into())
    }
}

impl From<objects::Error> for Refusal {
    fn from(error: objects::Error) -> Self {
        let text = error.to_string();
        match error {
            objects::Error::Refused(_) | objects::Error::Missing(_) => Self::new("FG-1003", text),
            objects::Error::Conflict(_) | objects::Error::Unavailable(_) => {
                Self::later("FG-1005", text)
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.code.as_str() {
            "FG-1004" | "FG-6003" => StatusCode::NOT_FOUND,
            "FG-1007" => StatusCode::UNAUTHORIZED,
            "FG-6001" => StatusCode::BAD_REQUEST,
            "FG-6002" => StatusCode::PAYLOAD_TOO_LARGE,
            "FG-6004" => StatusCode::CONFLICT,
            _ if self.0.retryable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::FORBIDDEN,
        };
        (status, Json(self.0)).into_response()
    }
}

/// A JSON body; what is wrong with it is a [`Refusal`] like everything else.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(JsonRejection::BytesRejection(_)) => {
                Err(Refusal::new("FG-6002", "the request is larger than the operator takes"))
            }
            Err(rejection) => Err(Refusal::new("FG-6001", rejection.body_text())),
        }
    }
}

/// What is not served.
pub async fn unknown() -> Refusal {
    Refusal::new("FG-6003", "the control API has no such call")
}
