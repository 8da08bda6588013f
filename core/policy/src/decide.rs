//! Deciding: [`Policy::decide`], pure and total.

use crate::{Code, Decision, Effect, Policy, Principal, Refusal, RoleGrant};

/// What is put to the policy.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What the statement is.
    pub analysis: &'a sql::Analysis,
    /// The state of the session.
    pub session: &'a sql::Session,
    /// The driver only asks for the columns: what would wait for a human is described at once, errors redacted.
    pub describe_only: bool,
}

impl Policy {
    /// What becomes of the statement.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let _ = request;
        Decision {
            effect: Effect::Deny,
            demands: Vec::new(),
            refusal: Some(Refusal {
                code: Code::NoPolicy,
                rule: None,
                message: "no AccessPolicy selects this session".into(),
                hint: None,
            }),
            masks: Vec::new(),
            columns: None,
            redact_errors: true,
            digest_only: false,
            lifted: None,
            policy_hash: String::new(),
        }
    }

    /// The role and warehouse of a session of this principal.
    ///
    /// # Errors
    /// When no policy selects the principal, or the mappings disagree or leave the ceiling.
    pub fn role(&self, principal: &Principal) -> Result<RoleGrant, Refusal> {
        let _ = principal;
        Err(Refusal {
            code: Code::NoRole,
            rule: None,
            message: "no policy maps this session to a role".into(),
            hint: None,
        })
    }
}
