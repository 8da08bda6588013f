//! Every "no", rendered as Snowflake would say it.

use std::fmt;

use snowflake::error;
use uuid::Uuid;

/// A refusal: what the agent reads, and how a driver understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The stable code, `FG-nnnn`.
    pub(crate) code: String,
    /// What is wrong and what to do, starting with the code; without the statement id.
    pub(crate) message: String,
    /// How a driver takes it.
    pub(crate) form: Form,
}

/// How a driver takes a refusal. None of these makes a driver retry, or drop what it should keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Insufficient privileges.
    Denied,
    /// The statement was cancelled.
    Cancelled,
    /// Another number of statements than one.
    StatementCount,
    /// Something failed that nobody decided.
    Failed,
    /// The account is away.
    Unavailable,
    /// The login is refused.
    Login,
    /// The session is gone; the driver gives up.
    SessionGone,
    /// The session token expired; the driver renews.
    SessionExpired,
    /// The master token is no good; the driver logs in anew.
    MasterExpired,
}

impl Refusal {
    pub(crate) fn new(form: Form, code: &str, message: impl fmt::Display) -> Self {
        Self { code: code.to_owned(), message: format!("{code} {message}"), form }
    }

    pub(crate) fn denied(code: &str, message: impl fmt::Display) -> Self {
        Self::new(Form::Denied, code, message)
    }

    /// The request itself is not acceptable.
    pub(crate) fn malformed(error: &snowflake::Malformed) -> Self {
        let code = match error {
            snowflake::Malformed::TooLarge { .. } => "FG-6002",
            _ => "FG-6001",
        };
        Self::denied(code, error)
    }

    /// Something inside failed.
    pub(crate) fn internal(what: impl fmt::Display) -> Self {
        Self::new(Form::Failed, "FG-9001", what)
    }

    /// What the operator said no to.
    pub(crate) fn problem(form: Form, problem: &control::Problem) -> Self {
        Self {
            code: problem.code.clone(),
            message: format!("{} {}", problem.code, problem.message),
            form,
        }
    }

    /// It is not on record, so it must not happen.
    pub(crate) fn unrecorded(error: &crate::recorder::Unrecorded) -> Self {
        Self::new(Form::Failed, error.code(), error)
    }

    /// The same refusal, for a login.
    pub(crate) fn for_login(mut self) -> Self {
        self.form = Form::Login;
        self
    }

    /// Snowflake's code and SQLSTATE.
    pub(crate) fn wire(&self) -> (&'static str, &'static str) {
        match self.form {
            Form::Denied => (error::INSUFFICIENT_PRIVILEGES, error::INSUFFICIENT_PRIVILEGES_STATE),
            Form::Cancelled => (error::CANCELLED, error::CANCELLED_STATE),
            Form::StatementCount => (error::STATEMENT_COUNT, error::STATEMENT_COUNT_STATE),
            Form::Failed => (error::INTERNAL, error::INTERNAL_STATE),
            Form::Unavailable => (error::INTERNAL, error::UNAVAILABLE_STATE),
            Form::Login => (error::LOGIN_REFUSED, error::LOGIN_REFUSED_STATE),
            Form::SessionGone => (error::SESSION_GONE, error::SESSION_STATE),
            Form::SessionExpired => (error::SESSION_EXPIRED, error::SESSION_STATE),
            Form::MasterExpired => (error::MASTER_EXPIRED, error::SESSION_STATE),
        }
    }

    /// The text as the agent reads it: one line that ends with the statement's id.
    pub(crate) fn text(&self, statement: Uuid) -> String {
        format!("{} (statement {statement})", one_line(&self.message))
    }

    /// The body of the answer. The id is the statement's, so that the record can be found.
    pub(crate) fn render(&self, statement: Uuid) -> Vec<u8> {
        self.with(statement, self.text(statement)).encode()
    }

    /// The body for a request that is no statement.
    pub(crate) fn render_bare(&self) -> Vec<u8> {
        self.failure().encode()
    }

    /// What a request that is no statement gets, in no form yet.
    pub(crate) fn failure(&self) -> snowflake::Failure {
        self.with(Uuid::now_v7(), one_line(&self.message))
    }

    fn with(&self, query_id: Uuid, message: String) -> snowflake::Failure {
        let (code, state) = self.wire();
        snowflake::Failure { code: code.to_owned(), sql_state: state.to_owned(), message, query_id }
    }
}

/// Control characters out: a message is one line in a log and in a terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(2000)
        .collect()
}

impl From<&policy::Refusal> for Refusal {
    fn from(refusal: &policy::Refusal) -> Self {
        let form = match refusal.code {
            policy::Code::SeveralStatements => Form::StatementCount,
            _ => Form::Denied,
        };
        Self { code: refusal.code.as_str().to_owned(), message: refusal.to_string(), form }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_refusal_uses_a_code_that_makes_a_driver_retry() {
        for form in [
            Form::Denied,
            Form::Cancelled,
            Form::StatementCount,
            Form::Failed,
            Form::Unavailable,
            Form::Login,
            Form::SessionGone,
        ] {
            let (code, state) = Refusal::new(form, "FG-9001", "x").wire();
            assert!(code.parse::<u32>().is_ok(), "{code} must be numeric text");
            assert_eq!(state.len(), 5);
            assert!(!["333333", "333334", "390112", "390110"].contains(&code));
        }
    }

    #[test]
    fn a_refusal_is_one_line_that_ends_with_the_statement() {
        let refusal = Refusal::denied("FG-2003", "no\nnewlines\u{7}");
        let text = refusal.text(Uuid::nil());
        assert_eq!(text, "FG-2003 no newlines  (statement 00000000-0000-0000-0000-000000000000)");
    }
}
