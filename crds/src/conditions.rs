//! Condition types and reasons, and the one way to set a condition.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// The spec is valid.
pub const ACCEPTED: &str = "Accepted";
/// Everything the spec names is there.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// The summary: the object does what it says.
pub const READY: &str = "Ready";
/// Snowflake took the connection's key.
pub const CREDENTIALS_READY: &str = "CredentialsReady";
/// The quorum approved.
pub const APPROVED: &str = "Approved";
/// An approver denied.
pub const DENIED: &str = "Denied";
/// Nobody decided in time.
pub const EXPIRED: &str = "Expired";
/// The asker gave up.
pub const WITHDRAWN: &str = "Withdrawn";
/// The ledger holds how the request ended.
pub const RECORDED: &str = "Recorded";

/// Reasons, one word each, never empty.
pub mod reason {
    /// The spec is valid.
    pub const VALID: &str = "Valid";
    /// The spec can never work; the message lists every error.
    pub const INVALID: &str = "Invalid";
    /// All that is named is there.
    pub const RESOLVED: &str = "Resolved";
    /// Something that is named is not there.
    pub const NOT_FOUND: &str = "NotFound";
    /// The operator may not read what is named.
    pub const FORBIDDEN: &str = "Forbidden";
    /// The connection does not let this namespace attach.
    pub const NOT_ALLOWED: &str = "NotAllowed";
    /// The named connection is not ready.
    pub const NOT_READY: &str = "NotReady";
    /// Everything is in order.
    pub const ALL_CHECKS_PASSED: &str = "AllChecksPassed";
    /// An administrator stopped it.
    pub const SUSPENDED: &str = "Suspended";
    /// Being deleted.
    pub const DELETING: &str = "Deleting";
    /// It could not be tried yet.
    pub const UNKNOWN: &str = "Unknown";
    /// Snowflake took the login.
    pub const LOGIN_ACCEPTED: &str = "LoginAccepted";
    /// Snowflake refused the login.
    pub const LOGIN_REFUSED: &str = "LoginRefused";
    /// Snowflake did not answer.
    pub const UNREACHABLE: &str = "Unreachable";
    /// The quorum approved.
    pub const QUORUM_REACHED: &str = "QuorumReached";
    /// An approver denied.
    pub const APPROVER_DENIED: &str = "ApproverDenied";
    /// The time was up.
    pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
    /// The asker gave up.
    pub const ASKER_GAVE_UP: &str = "AskerGaveUp";
    /// The ledger has it.
    pub const IN_LEDGER: &str = "InLedger";
}

/// What a condition says, before it knows when that began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    /// The type, one of the constants of this module.
    pub type_: &'static str,
    /// True, false, or not known.
    pub status: Option<bool>,
    /// The machine's word.
    pub reason: &'static str,
    /// The human's sentence.
    pub message: String,
}

impl Saying {
    /// `type_` holds.
    #[must_use]
    pub fn yes(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: Some(true), reason, message: message.into() }
    }

    /// `type_` does not hold.
    #[must_use]
    pub fn no(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: Some(false), reason, message: message.into() }
    }

    /// Nobody knows yet whether `type_` holds.
    #[must_use]
    pub fn unknown(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: None, reason, message: message.into() }
    }
}

/// Sets a condition. The transition time moves only when the status does, and in whole seconds: otherwise every
/// status write would look like a change and start the next reconcile.
pub fn set(
    conditions: &mut Vec<Condition>,
    saying: Saying,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = match saying.status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let place = conditions.iter().position(|condition| condition.type_ == saying.type_);
    let last_transition_time = match place {
        Some(index) if conditions[index].status == status => {
            conditions[index].last_transition_time.clone()
        }
        _ => Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
    };
    let next = Condition {
        type_: saying.type_.to_owned(),
        status: status.to_owned(),
        reason: saying.reason.to_owned(),
        message: saying.message,
        observed_generation: generation,
        last_transition_time,
    };
    match place {
        Some(index) => conditions[index] = next,
        None => conditions.push(next),
    }
}

/// The condition of a type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether a condition says `True` about this very generation.
#[must_use]
pub fn holds(conditions: &[Condition], type_: &str, generation: Option<i64>) -> bool {
    find(conditions, type_).is_some_and(|condition| {
        condition.status == "True" && condition.observed_generation == generation
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        set(&mut conditions, Saying::no(READY, reason::INVALID, "a"), Some(1), at(10));
        set(&mut conditions, Saying::no(READY, reason::INVALID, "b"), Some(2), at(20));
        assert_eq!(conditions[0].last_transition_time, Time(at(10)));
        assert_eq!(conditions[0].message, "b");
        set(&mut conditions, Saying::yes(READY, reason::VALID, ""), Some(2), at(30));
        assert_eq!(conditions[0].last_transition_time, Time(at(30)));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn a_condition_about_an_older_generation_does_not_hold() {
        let mut conditions = Vec::new();
        set(&mut conditions, Saying::yes(READY, reason::VALID, ""), Some(1), at(10));
        assert!(holds(&conditions, READY, Some(1)));
        assert!(!holds(&conditions, READY, Some(2)));
    }
}
