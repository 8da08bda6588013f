//! Codes and SQLSTATEs, and how Snowflake says no.

use serde::Serialize;
use serde_json::json;

/// Insufficient privileges: what a refusal looks like to a driver.
pub const INSUFFICIENT_PRIVILEGES: &str = "003001";
/// SQLSTATE of [`INSUFFICIENT_PRIVILEGES`].
pub const INSUFFICIENT_PRIVILEGES_STATE: &str = "42501";
/// A statement was cancelled.
pub const CANCELLED: &str = "000604";
/// SQLSTATE of [`CANCELLED`].
pub const CANCELLED_STATE: &str = "57014";
/// The abort found nothing to abort.
pub const NOT_RUNNING: &str = "000605";
/// More or fewer statements than asked for.
pub const STATEMENT_COUNT: &str = "000008";
/// SQLSTATE of [`STATEMENT_COUNT`].
pub const STATEMENT_COUNT_STATE: &str = "0A000";
/// Something inside went wrong; no driver acts on it.
pub const INTERNAL: &str = "000603";
/// SQLSTATE of [`INTERNAL`].
pub const INTERNAL_STATE: &str = "XX000";
/// The service could not be reached.
pub const UNAVAILABLE_STATE: &str = "08001";
/// In progress, for a caller that waits.
pub const IN_PROGRESS: &str = "333333";
/// In progress, for a caller that comes back later.
pub const IN_PROGRESS_ASYNC: &str = "333334";
/// Login refused.
pub const LOGIN_REFUSED: &str = "390100";
/// SQLSTATE of [`LOGIN_REFUSED`].
pub const LOGIN_REFUSED_STATE: &str = "28000";
/// The session does not exist (any more).
pub const SESSION_GONE: &str = "390111";
/// The session token expired; the driver renews and sends again.
pub const SESSION_EXPIRED: &str = "390112";
/// The master token expired; the driver logs in anew.
pub const MASTER_EXPIRED: &str = "390114";
/// SQLSTATE of the session codes.
pub const SESSION_STATE: &str = "08003";

/// A failure as drivers expect it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Numeric text: some drivers parse it as an integer.
    pub code: String,
    /// Five characters.
    pub sql_state: String,
    /// One line.
    pub message: String,
    /// A real UUID: some drivers parse it.
    pub query_id: uuid::Uuid,
}

impl Failure {
    /// The body. `data` is an object although nothing succeeded: two drivers read it unguarded.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = json!({
            "data": {
                "internalError": false,
                "unredactedFromSecureObject": false,
                "errorCode": self.code,
                "age": 0,
                "sqlState": self.sql_state,
                "queryId": self.query_id,
                "line": -1,
                "pos": -1,
                "type": "COMPILATION",
            },
            "code": self.code,
            "message": self.message,
            "success": false,
            "headers": null,
        });
        body.to_string().into_bytes()
    }
}

impl Failure {
    /// The same as an OAuth client reads it (RFC 6749, 5.2); it goes with HTTP 400.
    #[must_use]
    pub fn encode_for_oauth(&self) -> Vec<u8> {
        json!({ "error": "invalid_request", "error_description": self.message })
            .to_string()
            .into_bytes()
    }
}

/// A success that carries `data`.
#[must_use]
pub fn success(data: &impl Serialize) -> Vec<u8> {
    json!({ "data": data, "code": null, "message": null, "success": true }).to_string().into_bytes()
}

/// The answer while a statement is not done: the driver comes back to the URL.
#[must_use]
pub fn in_progress(query_id: uuid::Uuid, asynchronous: bool) -> Vec<u8> {
    let (code, message) = if asynchronous {
        (
            IN_PROGRESS_ASYNC,
            "Asynchronous execution in progress. Use provided query id to perform query monitoring and management.",
        )
    } else {
        (IN_PROGRESS, "Query execution in progress.")
    };
    json!({
        "data": {
            "queryId": query_id,
            "getResultUrl": format!("/queries/{query_id}/result"),
            "queryAbortsAfterSecs": 300,
            "progressDesc": null,
        },
        "code": code,
        "message": message,
        "success": true,
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_an_object_as_data_and_a_numeric_code() {
        let failure = Failure {
            code: INSUFFICIENT_PRIVILEGES.into(),
            sql_state: INSUFFICIENT_PRIVILEGES_STATE.into(),
            message: "FG-2002 not allowed".into(),
            query_id: uuid::Uuid::nil(),
        };
        let body: serde_json::Value = serde_json::from_slice(&failure.encode()).unwrap();
        insta::assert_json_snapshot!(body);
    }

    #[test]
    fn a_pending_answer_names_a_relative_url_and_tells_waiting_from_asynchronous() {
        for asynchronous in [false, true] {
            let body = in_progress(uuid::Uuid::nil(), asynchronous);
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            insta::assert_json_snapshot!(format!("pending-{asynchronous}"), body);
        }
    }
}
