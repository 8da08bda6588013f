//! What was decided, and what must be done about it.

use std::collections::BTreeMap;
use std::fmt;

use crate::document::Approvers;
use crate::{Code, Detectors, Mask};

/// What becomes of a statement. Masks, redaction and the predicted columns hold under every effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Whether it runs.
    pub effect: Effect,
    /// The approval rules that hold it; empty unless the effect is [`Effect::Hold`].
    pub demands: Vec<Demand>,
    /// Why it is refused or held; absent when it is allowed.
    pub refusal: Option<Refusal>,
    /// The output columns to mask, by position, ascending.
    pub masks: Vec<ColumnMask>,
    /// What is looked for in the values of output columns that have no mask.
    pub detectors: Detection,
    /// The output columns that the server must answer with: count, and names where the text determines them. Absent
    /// where the result holds no column of a table.
    pub columns: Option<Vec<Option<String>>>,
    /// Replace the server's error texts by code and a generic text: they could quote masked values.
    pub redact_errors: bool,
    /// Record digests of the rows only: their lineage is unknown and only Audit let them pass.
    pub digest_only: bool,
    /// What would have refused or held it, had the policy not been in mode Audit.
    pub lifted: Option<Lifted>,
    /// SHA-256 (hex) over the documents it was decided under.
    pub policy_hash: String,
}

/// What is looked for in the columns of a result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detection {
    /// In every column that is not named here, and in the text of errors.
    pub everywhere: Detectors,
    /// In columns that some rule excepts, by position.
    pub(crate) at: BTreeMap<usize, Detectors>,
}

/// Whether a statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// It runs.
    Allow,
    /// It waits for humans.
    Hold,
    /// It does not run.
    Deny,
}

/// A refusal or hold that mode Audit lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// What would have been the effect.
    pub effect: Effect,
    /// Why.
    pub refusal: Refusal,
}

/// Why a statement is refused or held. Its text is the error that the agent reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// The rule that said so; absent where no rule did (nothing allows it, nobody understands it).
    pub rule: Option<Rule>,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What the agent could do instead, without a full stop.
    pub hint: Option<String>,
}

/// A rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `namespace/name` of the AccessPolicy.
    pub policy: String,
    /// The rule's name, or its path in the policy such as `objects[1]`.
    pub rule: String,
}

/// One approval rule that demands a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// `namespace/name` of the AccessPolicy.
    pub policy: String,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Name of the rule.
    pub rule: String,
    /// Who may decide.
    pub approvers: Approvers,
    /// How long the request waits, seconds.
    pub pending_ttl_seconds: u64,
    /// How long the grant lives after the decision, seconds.
    pub grant_ttl_seconds: u64,
}

/// One output column and its mask.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnMask {
    /// Position in the result, from 0.
    pub position: usize,
    /// The name of the output column, where the text determines it.
    pub name: Option<String>,
    /// How its cells are masked.
    pub mask: Mask,
    /// The masked base columns that can be seen in it, `DB.SCHEMA.TABLE.COLUMN`.
    pub sources: Vec<String>,
}

impl Detection {
    /// What is looked for in the column at a position.
    #[must_use]
    pub fn at(&self, position: usize) -> Detectors {
        self.at.get(&position).copied().unwrap_or(self.everywhere)
    }
}

impl Decision {
    /// The code of the refusal or hold as it is written, empty when allowed.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.refusal.as_ref().map_or("", |refusal| refusal.code.as_str())
    }
}

impl Effect {
    /// The word as records show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Hold => "Hold",
            Self::Deny => "Deny",
        }
    }
}

impl fmt::Display for Refusal {
    /// `FG-2003 denied by AccessPolicy ns/name rule "objects[1]": message. Hint: hint.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.code == Code::ApprovalNeeded { "held" } else { "denied" };
        write!(f, "{} {outcome}", self.code)?;
        if let Some(Rule { policy, rule }) = &self.rule {
            write!(f, " by AccessPolicy {policy} rule \"{rule}\"")?;
        }
        write!(f, ": {}.", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " Hint: {hint}."),
            None => Ok(()),
        }
    }
}
