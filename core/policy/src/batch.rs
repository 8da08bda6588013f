//! Several statements in one request: they run together, or none of them does.

use crate::decision::Lifted;
use crate::{Code, Decision, Detection, Effect, Policy, Refusal, Request};

/// The one column of what the account answers to a request with several statements, as the drivers' own tests have it.
const WHOLE: &str = "multiple statement execution";

impl Policy {
    /// Judges statements that run one after the other in one request, each in the state in which it would run: what
    /// becomes of all of them, and of each. Because they are judged before the first one runs, none but the last may
    /// change what the names behind it mean.
    #[must_use]
    pub fn decide_together(&self, requests: &[Request<'_>]) -> (Decision, Vec<Decision>) {
        let parts: Vec<Decision> = requests.iter().map(|request| self.decide(request)).collect();
        let count = parts.len();
        let mut whole = Decision {
            effect: Effect::Allow,
            demands: Vec::new(),
            refusal: None,
            masks: Vec::new(),
            // The same for each: it hangs on the session alone, and the columns of all of them are nobody's.
            detectors: Detection {
                everywhere: parts.first().map(|part| part.detectors.everywhere).unwrap_or_default(),
                ..Detection::default()
            },
            // What the account answers to the request itself says only that it was done.
            columns: Some(vec![Some(WHOLE.to_owned())]),
            redact_errors: parts.iter().any(|part| part.redact_errors),
            digest_only: false,
            lifted: parts.iter().find_map(|part| part.lifted.clone()),
            policy_hash: self.hash.clone(),
        };
        for (number, (request, part)) in (1..).zip(requests.iter().zip(&parts)) {
            let refusal = match part.effect {
                Effect::Deny => part.refusal.clone(),
                Effect::Allow | Effect::Hold => unfit(request, part, number == count),
            };
            if let Some(mut refusal) = refusal {
                refusal.message = format!("statement {number} of {count}: {}", refusal.message);
                whole.effect = Effect::Deny;
                whole.refusal = Some(refusal);
                return (whole, parts);
            }
        }
        for part in &parts {
            if part.effect == Effect::Hold {
                whole.effect = Effect::Hold;
                whole.refusal = whole.refusal.or_else(|| part.refusal.clone());
                for demand in &part.demands {
                    if !whole.demands.contains(demand) {
                        whole.demands.push(demand.clone());
                    }
                }
            }
        }
        (whole, parts)
    }
}

/// Why a statement that could run alone cannot run among others. No mode lifts it.
fn unfit(request: &Request<'_>, part: &Decision, is_last: bool) -> Option<Refusal> {
    let analysis = request.analysis;
    // Where it ends was told by a reading of the text that is not understood.
    if let (Some(_), Some(Lifted { refusal, .. })) = (&analysis.problem, &part.lifted) {
        return Some(refusal.clone());
    }
    let message = if analysis.problem.is_some() {
        "it is not understood"
    } else if request.describe_only {
        "several statements cannot be described at once"
    } else if analysis.form != sql::Form::Ordinary {
        "it is answered without the account"
    } else if !is_last && analysis.changes_names() {
        "it could change what the names behind it mean"
    } else {
        return None;
    };
    Some(Refusal {
        code: Code::SeveralStatements,
        rule: None,
        message: message.to_owned(),
        hint: Some("send it on its own".to_owned()),
    })
}
