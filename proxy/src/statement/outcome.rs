//! How a statement ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use snowflake::monitoring::State;
use uuid::Uuid;

use super::rows::Again;
use super::{Ask, Statement};
use crate::downstream::refusal::{Form, Refusal};
use crate::recorder::Unrecorded;
use crate::upstream::UpstreamError;

/// How a statement ended, and the answer to everybody who asks.
pub(crate) struct Outcome {
    /// The body of the answer; taken out and kept by the statement.
    pub(crate) body: Bytes,
    /// The word for monitoring.
    pub(crate) state: State,
    /// Code and text of a failure.
    pub(crate) error: Option<(String, String)>,
    /// The account's id of the statement.
    pub(crate) query_id: Option<Uuid>,
    /// When, Unix milliseconds.
    pub(crate) ended_ms: i64,
    /// How to come to the answer once more, where it can be fetched.
    pub(crate) again: Option<Arc<Again>>,
    /// A restart gives the same.
    pub(crate) is_kept: bool,
}

/// Why there are no rows.
#[derive(Clone)]
pub(crate) enum End {
    /// Frostgate said no.
    Refused(Refusal),
    /// It was cancelled before it ran.
    Cancelled(Refusal),
    /// Snowflake said no: its answer, made safe.
    Failed {
        /// The body for the driver.
        body: Vec<u8>,
        /// Snowflake's code.
        code: String,
        /// Its SQLSTATE.
        sql_state: Option<String>,
        /// The text as the agent reads it.
        message: String,
        /// Its id of the statement.
        query_id: Option<Uuid>,
    },
    /// It was sent, and what became of it cannot be told.
    Unknown(Refusal),
}

impl End {
    /// An end because something could not be put on record.
    #[allow(clippy::needless_pass_by_value, reason = "made for `map_err`")]
    pub(crate) fn unrecorded(error: Unrecorded) -> Self {
        Self::Refused(Refusal::unrecorded(&error))
    }

    /// An end by what went wrong upstream.
    #[allow(clippy::needless_pass_by_value, reason = "made for `map_err`")]
    pub(crate) fn upstream(error: UpstreamError) -> Self {
        let refusal = |form, code| Refusal::new(form, code, &error);
        match &error {
            UpstreamError::Unreachable(_) => Self::Refused(refusal(Form::Unavailable, "FG-4001")),
            UpstreamError::Login { .. } | UpstreamError::SessionLost(_) => Self::Refused(
                Refusal::new(Form::SessionGone, "FG-4002", format_args!("{error}: log in again")),
            ),
            UpstreamError::NotUnderstood(_) => Self::Unknown(refusal(Form::Failed, "FG-4003")),
            UpstreamError::OutcomeUnknown(_) => Self::Unknown(refusal(Form::Failed, "FG-4004")),
            UpstreamError::Cancelled => Self::Cancelled(cancelled()),
        }
    }
}

/// The refusal of a statement that was cancelled before it ran.
pub(crate) fn cancelled() -> Refusal {
    Refusal::new(Form::Cancelled, "FG-3004", "the statement was cancelled before it ran")
}

impl Outcome {
    /// Frostgate said no.
    pub(crate) fn refused(ask: &Ask, refusal: &Refusal) -> Self {
        let state = if refusal.form == Form::Cancelled { State::Aborted } else { State::Failed };
        Self {
            body: refusal.render(ask.id).into(),
            state,
            error: Some((refusal.wire().0.to_owned(), refusal.text(ask.id))),
            query_id: None,
            ended_ms: crate::now_ms(),
            again: None,
            is_kept: false,
        }
    }
}

/// The answers that are kept for retries, over all sessions, within one bound. Only those that the account can be asked
/// for again are ever dropped.
pub(crate) struct Answers {
    /// Bytes of all.
    most: usize,
    /// Bytes of one, once somebody got it.
    each: usize,
    kept: Mutex<VecDeque<Weak<Statement>>>,
}

impl Answers {
    /// Keeps at most this many bytes, of one answer at most so many.
    pub(crate) fn new(most: usize, each: usize) -> Self {
        Self { most, each, kept: Mutex::default() }
    }

    /// Takes in a new answer, and drops others until all fit: first those that were delivered, oldest first.
    pub(crate) fn keep(&self, statement: &Arc<Statement>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|known| known.upgrade().is_some_and(|known| known.kept() > 0));
        kept.push_back(Arc::downgrade(statement));
        let mut total: usize =
            kept.iter().filter_map(Weak::upgrade).map(|known| known.kept()).sum();
        while total > self.most {
            // The newest is on its way to who waits for it.
            let older = kept.iter().filter_map(Weak::upgrade);
            let droppable: Vec<_> =
                older.filter(|known| known.can_drop() && !Arc::ptr_eq(known, statement)).collect();
            let delivered = droppable.iter().find(|known| known.is_delivered());
            let Some(first) = delivered.or_else(|| droppable.first()) else { return };
            total = total.saturating_sub(first.kept());
            first.drop_body();
        }
    }

    /// Somebody got the answer.
    pub(crate) fn delivered(&self, statement: &Statement) {
        statement.delivered();
        if statement.kept() > self.each && statement.can_drop() {
            statement.drop_body();
        }
    }
}
