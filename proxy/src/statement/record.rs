//! What is put on record about a statement.

use std::borrow::Cow;

use recording::entry::{self, Attempted, Completed, Failed};
use sql::Access;

use super::Ask;
use super::judge::{Judged, Verdict};
use super::origin::Origin;
use super::outcome::{End, Outcome};
use super::rows::Relayed;
use crate::downstream::refusal::Refusal;
use crate::recorder::Attempt;

/// The attempt: the statement, its meaning and what was decided.
pub(crate) fn attempted(ask: &Ask, judged: &Judged, origin: Option<&Origin>) -> Attempted {
    let sql = judged.shown(ask);
    Attempted {
        statement: ask.id.to_string(),
        request_id: ask.request_id.clone(),
        redacted: matches!(sql, Cow::Owned(_)),
        sql: sql.into_owned(),
        binds: judged.binds.clone(),
        state: judged.state.clone(),
        digest: judged.digest,
        describe_only: ask.request.describe_only,
        stripped: ask.stripped.clone(),
        decision: decision(judged),
        prompt: origin.map(Origin::entry),
    }
}

fn decision(judged: &Judged) -> entry::Decision {
    let analysis = &judged.analysis;
    let names = |wanted: &[Access]| -> Vec<String> {
        let mut names: Vec<String> = analysis
            .objects
            .iter()
            .filter(|touch| wanted.contains(&touch.access))
            .map(|touch| touch.name.to_string())
            .collect();
        names.dedup();
        names
    };
    let policy_hash =
        judged.ruling.as_ref().map(|ruling| ruling.policy_hash.clone()).unwrap_or_default();
    let mut recorded = entry::Decision {
        effect: entry::Effect::Deny,
        code: None,
        reason: String::new(),
        policy: None,
        rule: None,
        policy_hash,
        masks: Vec::new(),
        kinds: analysis.words.iter().map(ToString::to_string).collect(),
        reads: names(&[Access::Read]),
        writes: names(&[Access::Write, Access::Create, Access::Alter, Access::Drop]),
        risks: analysis.risks.iter().map(ToString::to_string).collect(),
        lifted: None,
    };
    match &judged.verdict {
        Verdict::Refused(refusal) => {
            recorded.code = Some(refusal.code.clone());
            recorded.reason = "Refused".to_owned();
        }
        Verdict::Own(statement) => {
            recorded.effect = entry::Effect::Allow;
            recorded.reason = format!("ResultOf {}", statement.id);
        }
        Verdict::Cancel(statements) => {
            recorded.effect = entry::Effect::Allow;
            let ids: Vec<String> = statements.iter().map(|it| it.id.to_string()).collect();
            recorded.reason = format!("CancelOf {}", ids.join(", "));
        }
        Verdict::Decided(decision) => {
            recorded.effect = match decision.effect {
                policy::Effect::Allow => entry::Effect::Allow,
                policy::Effect::Hold => entry::Effect::Hold,
                policy::Effect::Deny => entry::Effect::Deny,
            };
            recorded.reason = match judged.part_of {
                Some(whole) => format!("PartOf {whole}"),
                None => "Allowed".to_owned(),
            };
            if let (Some(refusal), None) = (&decision.refusal, judged.part_of) {
                recorded.code = Some(refusal.code.as_str().to_owned());
                recorded.reason = refusal.code.reason().to_owned();
                recorded.policy = refusal.rule.as_ref().map(|rule| rule.policy.clone());
                recorded.rule = refusal.rule.as_ref().map(|rule| rule.rule.clone());
            }
            if let Some(demand) = decision.demands.first() {
                recorded.policy = Some(demand.policy.clone());
                recorded.rule = Some(demand.rule.clone());
            }
            recorded.masks = decision
                .masks
                .iter()
                .map(|mask| entry::Mask {
                    position: u32::try_from(mask.position).unwrap_or(u32::MAX),
                    column: mask.name.clone().unwrap_or_default(),
                    mask: method(&mask.mask),
                })
                .collect();
            recorded.lifted = decision.lifted.as_ref().map(|lifted| lifted.refusal.to_string());
        }
    }
    recorded
}

/// How a column is masked, in one word.
pub(crate) fn method(mask: &policy::Mask) -> String {
    use policy::document::MaskMethod;
    let word = match &mask.method {
        MaskMethod::Null => "Null",
        MaskMethod::Full => "Full",
        MaskMethod::Partial { .. } => "Partial",
        MaskMethod::Hash { .. } => "Hash",
        MaskMethod::Email => "Email",
        MaskMethod::Truncate { .. } => "Truncate",
        MaskMethod::Bucket { .. } => "Bucket",
    };
    word.to_owned()
}

/// How a statement ended, for the record and for whoever asks.
pub(crate) fn ended(ask: &Ask, ended: Result<Relayed, End>) -> (Ended, Outcome) {
    let unknown = |refusal: &Refusal| Failed {
        code: refusal.code.clone(),
        message: refusal.text(ask.id),
        ..Failed::default()
    };
    match ended {
        Ok(relayed) => (Ended::Well(completed(ask, &relayed)), relayed.into_outcome()),
        Err(End::Refused(refusal) | End::Cancelled(refusal)) => {
            let outcome = Outcome::refused(ask, &refusal);
            let text = refusal.text(ask.id);
            (Ended::Refused(refusal.code, text), outcome)
        }
        Err(End::Unknown(refusal)) => {
            (Ended::Failed(unknown(&refusal)), Outcome::refused(ask, &refusal))
        }
        Err(End::Failed { body, code, sql_state, message, query_id }) => {
            let failed = Failed {
                code: code.clone(),
                sql_state,
                message: message.clone(),
                query_id: query_id.map(|id| id.to_string()),
                ..Failed::default()
            };
            let outcome = Outcome {
                body: body.into(),
                state: if code == snowflake::error::CANCELLED {
                    snowflake::monitoring::State::Aborted
                } else {
                    snowflake::monitoring::State::Failed
                },
                error: Some((code, message)),
                query_id,
                ended_ms: crate::now_ms(),
                again: None,
                is_kept: false,
            };
            (Ended::Failed(failed), outcome)
        }
    }
}

/// How a statement ended, as it goes on record.
pub(crate) enum Ended {
    Well(Completed),
    Refused(String, String),
    Failed(Failed),
}

/// Puts the outcome on record. An answer that cannot be put there is not released.
pub(crate) async fn complete(
    ask: &Ask,
    attempt: Attempt,
    ended: Ended,
    outcome: Outcome,
) -> Outcome {
    match ended {
        Ended::Well(completed) => match attempt.complete(completed).await {
            Ok(()) => outcome,
            // The statement ran; its rows stay here, because nobody could say later who saw them.
            Err(error) => Outcome::refused(ask, &Refusal::unrecorded(&error)),
        },
        // Nothing but words is released; that the record has none is counted there.
        Ended::Refused(code, text) => {
            let _ = attempt.refuse(&code, &text).await;
            outcome
        }
        Ended::Failed(failed) => {
            let _ = attempt.fail(failed).await;
            outcome
        }
    }
}

fn completed(ask: &Ask, relayed: &Relayed) -> Completed {
    Completed {
        statement: ask.id.to_string(),
        query_id: relayed.query_id.map(|id| id.to_string()).unwrap_or_default(),
        rows: relayed.rows,
        answer: relayed.recorded,
        chunks: relayed.chunks,
        columns: relayed.columns.clone(),
        hidden: relayed.hidden.clone(),
        duration_ms: u64::try_from(ask.since.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
