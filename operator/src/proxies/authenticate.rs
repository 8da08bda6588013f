//! Bearer token to live pod, on every call.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use control::{VERSION, VERSION_HEADER, Workload};
use http::header::AUTHORIZATION;
use http::request;

use super::Parts;
use super::refusal::Refusal;
use crate::objects::Error;

/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The pod that calls.
pub struct Caller(pub Workload);

impl FromRequestParts<Arc<Parts>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(
        request: &mut request::Parts,
        parts: &Arc<Parts>,
    ) -> Result<Self, Refusal> {
        let version = request.headers.get(VERSION_HEADER).and_then(|value| value.to_str().ok());
        if version != Some(VERSION) {
            return Err(Refusal::new(
                "FG-6001",
                format!(
                    "header {VERSION_HEADER} must be {VERSION}: upgrade the operator first, then restart the pod"
                ),
            ));
        }
        let mut given = request.headers.get_all(AUTHORIZATION).iter();
        let (Some(only), None) = (given.next(), given.next()) else {
            return Err(Refusal::new("FG-1007", "one bearer token is needed"));
        };
        let token = only.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        let token = token
            .filter(|token| !token.is_empty() && token.len() <= TOKEN_BYTES_MAX)
            .ok_or_else(|| Refusal::new("FG-1007", "one bearer token is needed"))?;
        match parts.objects.authenticate(token).await {
            Ok(workload) => Ok(Self(workload)),
            Err(Error::Unavailable(reason) | Error::Conflict(reason)) => {
                Err(Refusal::later("FG-1005", reason))
            }
            Err(Error::Refused(reason) | Error::Missing(reason)) => {
                Err(Refusal::new("FG-1007", reason))
            }
        }
    }
}
