//! How a statement is doing.

use serde_json::json;
use uuid::Uuid;

/// The states that every driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not done, or waiting for a human.
    Running,
    /// Done.
    Success,
    /// Refused or failed.
    Failed,
    /// Cancelled.
    Aborted,
}

/// What is said about one statement.
#[derive(Clone, Debug)]
pub struct Status {
    /// The id that was asked for.
    pub id: Uuid,
    /// The state.
    pub state: State,
    /// The code of a failure, numeric text.
    pub error_code: Option<String>,
    /// The words of a failure.
    pub error_message: Option<String>,
    /// Unix milliseconds.
    pub started_ms: i64,
    /// Unix milliseconds, 0 while it runs.
    pub ended_ms: i64,
}

impl Status {
    /// The answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let status = match self.state {
            State::Running => "RUNNING",
            State::Success => "SUCCESS",
            State::Failed => "FAILED_WITH_ERROR",
            State::Aborted => "ABORTED",
        };
        let elapsed = if self.ended_ms == 0 { 0 } else { self.ended_ms - self.started_ms };
        crate::error::success(&json!({
            "queries": [{
                "id": self.id,
                "status": status,
                "state": status,
                "startTime": self.started_ms,
                "endTime": self.ended_ms,
                "totalDuration": elapsed,
                "errorCode": self.error_code,
                "errorMessage": self.error_message,
                "stats": {},
            }]
        }))
    }
}
