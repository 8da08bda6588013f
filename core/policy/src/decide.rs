//! Deciding: [`Policy::decide`], pure and total. Policies combine without order: Deny > Hold > Allow, and the strictest
//! mask wins.

mod masks;

use std::collections::BTreeSet;

use sql::{Access, Analysis, Form, Lineage, Name, Reason, Risk, Word};

use crate::compile::{Approval, Denied, Entry, no_policy};
use crate::document::{PredicateUse, Privilege, RuleEffect};
use crate::{Code, Decision, Demand, Detection, Effect, Lifted, Policy, Principal, Refusal, Rule};

/// What is put to the policy.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What the statement is.
    pub analysis: &'a Analysis,
    /// The state of the session.
    pub session: &'a sql::Session,
    /// The driver only asks for the columns: what would wait for a human is described at once, errors redacted.
    pub describe_only: bool,
}

impl Policy {
    /// What becomes of the statement.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let selected = self.selected(request.principal);
        let analysis = request.analysis;
        if selected.is_empty() {
            return self.refused(no_policy());
        }
        if let Some(entry) = selected.iter().find(|entry| !entry.problems.is_empty()) {
            return self.refused(invalid(entry));
        }
        let judge = Judge {
            selected: &selected,
            principal: request.principal,
            analysis,
            session: request.session,
        };
        let mut decision = Decision {
            effect: Effect::Allow,
            demands: Vec::new(),
            refusal: None,
            masks: judge.column_masks(),
            detectors: judge.detection(),
            columns: columns(analysis),
            redact_errors: judge.is_protected(),
            digest_only: false,
            lifted: None,
            policy_hash: self.hash.clone(),
        };
        if let Some(refusal) = judge.pinned() {
            decision.effect = Effect::Deny;
            decision.refusal = Some(refusal);
            return decision;
        }
        if let Some(Finding { refusal, lifted }) = judge.refusal() {
            if !lifted {
                decision.effect = Effect::Deny;
                decision.refusal = Some(refusal);
                return decision;
            }
            let is_unknown = analysis.problem.is_some()
                || matches!(analysis.lineage, Lineage::Unknown(_))
                || analysis.tables.iter().any(|table| judge.hides(table));
            decision.digest_only = is_unknown && judge.has_masks();
            decision.redact_errors |= decision.digest_only;
            decision.lifted = Some(Lifted { effect: Effect::Deny, refusal });
            return decision;
        }
        let (held, lifted): (Vec<_>, Vec<_>) =
            judge.demands().into_iter().partition(|(entry, _)| !entry.is_audit());
        let waits = |demands: &[(&Entry, Demand)]| {
            demands.first().map(|(entry, demand)| Refusal {
                code: Code::ApprovalNeeded,
                rule: Some(entry.rule(&demand.rule)),
                message: format!("{} must be approved by a human", judge.describe()),
                hint: Some("the statement waits for the decision; do not send it again".into()),
            })
        };
        if let Some(refusal) = waits(&lifted) {
            decision.lifted = Some(Lifted { effect: Effect::Hold, refusal });
        }
        if let Some(refusal) = waits(&held) {
            if let Some(variable) = analysis.variables.first() {
                decision.effect = Effect::Deny;
                decision.refusal = Some(unbound(variable));
            } else if request.describe_only {
                decision.redact_errors = true;
            } else {
                decision.effect = Effect::Hold;
                decision.demands = held.into_iter().map(|(_, demand)| demand).collect();
                decision.refusal = Some(refusal);
            }
        }
        decision
    }

    fn refused(&self, refusal: Refusal) -> Decision {
        Decision {
            effect: Effect::Deny,
            demands: Vec::new(),
            refusal: Some(refusal),
            masks: Vec::new(),
            detectors: Detection::default(),
            columns: None,
            redact_errors: true,
            digest_only: false,
            lifted: None,
            policy_hash: self.hash.clone(),
        }
    }
}

/// Why a statement is refused, and whether mode Audit lifts it.
struct Finding {
    refusal: Refusal,
    lifted: bool,
}

/// One statement before the policies that select its session.
struct Judge<'a> {
    selected: &'a [&'a Entry],
    principal: &'a Principal,
    analysis: &'a Analysis,
    session: &'a sql::Session,
}

/// An approval is for one text: what a variable in it holds can change until it runs.
fn unbound(variable: &str) -> Refusal {
    Refusal {
        code: Code::SessionPinned,
        rule: None,
        message: format!(
            "it needs an approval, and what ${variable} holds could change before it runs"
        ),
        hint: Some(format!("write the value itself in place of ${variable}")),
    }
}

impl<'a> Judge<'a> {
    // === refusals, in the order in which an agent can act on them ===

    fn refusal(&self) -> Option<Finding> {
        // The first that an enforcing policy insists on; else the first that Audit lifts.
        let mut lifted = None;
        let steps = [
            Self::denied_kinds,
            Self::unallowed_kinds,
            Self::functions,
            Self::not_understood,
            Self::denied_objects,
            Self::unallowed_objects,
            Self::flows,
            Self::unknown_lineage,
            Self::uses,
            Self::guards,
        ];
        for step in steps {
            for finding in step(self) {
                if !finding.lifted {
                    return Some(finding);
                }
                lifted.get_or_insert(finding);
            }
        }
        lifted
    }

    /// What every mode refuses: state that all decisions rest on, and several statements under one decision.
    fn pinned(&self) -> Option<Refusal> {
        let refusal = |code, message: String, hint: &str| {
            Some(Refusal { code, rule: None, message, hint: Some(hint.to_owned()) })
        };
        let role = "the role comes from the AccessPolicy; open a session with another identity for another role";
        match self.analysis.word {
            // Some tools name the role that the session has anyway.
            Word::UseRole if !self.stays_in_role() => {
                return refusal(
                    Code::SessionPinned,
                    "the role of a session is pinned".into(),
                    role,
                );
            }
            Word::UseSecondaryRoles => {
                return refusal(
                    Code::SessionPinned,
                    "secondary roles are off and pinned".into(),
                    role,
                );
            }
            _ => {}
        }
        if let Some(problem) = &self.analysis.problem {
            match problem.reason {
                Reason::Pinned => {
                    return refusal(
                        Code::SessionPinned,
                        problem.message.clone(),
                        "leave parameters that change the meaning of names and statements alone",
                    );
                }
                Reason::Several => {
                    return refusal(
                        Code::SeveralStatements,
                        problem.message.clone(),
                        "say how many there are (MULTI_STATEMENT_COUNT, num_statements), or send them one by one",
                    );
                }
                Reason::Empty
                | Reason::Ambiguous
                | Reason::Limit
                | Reason::Syntax
                | Reason::Unsupported
                | Reason::Name
                | Reason::Missing
                | Reason::Lineage => {}
            }
        }
        // What is known of the name would be taken for what the session put in its place.
        if self.analysis.temporary
            && let Some(hidden) = self.hidden_by_temporary()
        {
            return refusal(
                Code::SessionPinned,
                format!("a temporary object would take the place of {hidden}"),
                "give it a name that no other object has",
            );
        }
        None
    }

    /// Whether the role that USE ROLE names is the session's own.
    fn stays_in_role(&self) -> bool {
        self.session.role.as_deref().is_some_and(|role| self.analysis.switches_to == [role])
    }

    /// The object that a temporary one of its name would hide from the session, where masks matter.
    fn hidden_by_temporary(&self) -> Option<&Name> {
        let known = || self.analysis.tables.iter().chain(&self.analysis.others);
        self.analysis
            .touched(Access::Create)
            .filter(|name| self.has_masks() && !self.session.temporary.has(name))
            .find(|name| known().any(|object| object.name == **name))
    }

    fn denied_kinds(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for entry in self.selected {
            for (index, denied) in entry.deny.iter().enumerate() {
                let hit = match denied {
                    Denied::Kind(words) => self
                        .analysis
                        .words
                        .iter()
                        .find(|word| words.matches(**word))
                        .map(ToString::to_string),
                    Denied::Risk(risk) => {
                        self.analysis.risks.contains(risk).then(|| risk.to_string())
                    }
                };
                if let Some(hit) = hit {
                    findings.push(self.by(
                        entry,
                        format!("statements.deny[{index}]"),
                        Code::KindNotAllowed,
                        format!("{} is denied", self.counted_as(&hit)),
                        None,
                    ));
                }
            }
        }
        findings
    }

    fn unallowed_kinds(&self) -> Vec<Finding> {
        let allowed = |word: &Word| {
            self.selected.iter().any(|entry| entry.allow.iter().any(|words| words.matches(*word)))
        };
        let words = &self.analysis.words;
        let Some(missing) = words.iter().find(|word| !allowed(word)) else {
            return Vec::new();
        };
        let may: BTreeSet<String> = self
            .selected
            .iter()
            .flat_map(|entry| entry.allow.iter().map(ToString::to_string))
            .collect();
        let may: Vec<String> = may.into_iter().collect();
        if *missing == Word::Unknown {
            return vec![self.default(
                Code::NotUnderstood,
                "the statement begins like nothing that Snowflake runs".into(),
                "check the spelling of its first words",
            )];
        }
        vec![self.default(
            Code::KindNotAllowed,
            format!("no policy allows {}", self.counted_as(&missing.to_string())),
            &if may.is_empty() {
                "no statement is allowed in this session".to_owned()
            } else {
                format!("allowed here: {}", may.join(", "))
            },
        )]
    }

    fn functions(&self) -> Vec<Finding> {
        let allowed =
            |name: &String| self.selected.iter().any(|entry| entry.functions.contains(name));
        self.analysis
            .functions
            .iter()
            .find(|name| !allowed(name))
            .map(|name| {
                self.default(
                    Code::FunctionNotAllowed,
                    format!("function {name} is not a pure built-in and no policy allows it"),
                    "use built-in functions, or ask for it in functions.allow of the AccessPolicy",
                )
            })
            .into_iter()
            .collect()
    }

    fn not_understood(&self) -> Vec<Finding> {
        let Some(problem) = &self.analysis.problem else {
            return Vec::new();
        };
        let (code, message, hint) = match problem.reason {
            Reason::Missing => (
                Code::UnknownObject,
                problem.message.clone(),
                "check the name, and the current database and schema of the session",
            ),
            Reason::Lineage => (
                Code::LineageUnknown,
                problem.message.clone(),
                "rewrite the query so that each output column names where it comes from",
            ),
            Reason::Limit => {
                (Code::NotUnderstood, problem.message.clone(), "write a smaller statement")
            }
            Reason::Name => {
                (Code::NotUnderstood, problem.message.clone(), "check the names in the statement")
            }
            Reason::Empty
            | Reason::Ambiguous
            | Reason::Syntax
            | Reason::Unsupported
            | Reason::Several
            | Reason::Pinned => (
                Code::NotUnderstood,
                format!("the statement is not understood: {}", problem.message),
                "write it in plain standard form, one statement per request",
            ),
        };
        vec![self.default(code, message, hint)]
    }

    fn denied_objects(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for touch in &self.analysis.objects {
            let privilege = privilege(touch.access);
            for entry in self.selected {
                for (index, rule) in entry.objects.iter().enumerate() {
                    if rule.effect == RuleEffect::Deny && rule.matches(&touch.name, privilege) {
                        let message = rule.message.clone().unwrap_or_else(|| {
                            format!("{} {} is denied", verb(touch.access), touch.name)
                        });
                        findings.push(self.by(
                            entry,
                            format!("objects[{index}]"),
                            Code::ObjectDenied,
                            message,
                            rule.hint.clone(),
                        ));
                    }
                }
            }
        }
        findings
    }

    fn unallowed_objects(&self) -> Vec<Finding> {
        let allowed = |name: &Name, privilege| {
            self.selected.iter().any(|entry| {
                entry
                    .objects
                    .iter()
                    .any(|rule| rule.effect == RuleEffect::Allow && rule.matches(name, privilege))
            })
        };
        self.analysis
            .objects
            .iter()
            // What is behind a view is allowed with the view; denials and masks hold there too.
            .filter(|touch| !touch.metadata && touch.through.is_none())
            .find(|touch| !allowed(&touch.name, privilege(touch.access)))
            .map(|touch| {
                self.default(
                    Code::ObjectDenied,
                    format!("no policy allows {} {}", verb(touch.access), touch.name),
                    "use objects that an AccessPolicy allows, or ask for this one in objects[]",
                )
            })
            .into_iter()
            .collect()
    }

    fn flows(&self) -> Vec<Finding> {
        for flow in &self.analysis.flows {
            for column in &flow.columns {
                if let Some(spec) = self.mask_of(column) {
                    return vec![self.masked(
                        spec.rule,
                        Code::MaskedFlow,
                        format!("masked column {column} would flow into {}", flow.sink),
                        "leave the column out",
                    )];
                }
            }
        }
        Vec::new()
    }

    fn unknown_lineage(&self) -> Vec<Finding> {
        if self.analysis.form != Form::Ordinary || self.analysis.problem.is_some() {
            return Vec::new();
        }
        if let Some(table) = self.analysis.tables.iter().find(|table| self.hides(table)) {
            return vec![self.default(
                Code::LineageUnknown,
                format!(
                    "the text of view {} cannot be read, and masked columns could be behind it",
                    table.name
                ),
                "query the tables behind it, or ask for a mask rule over its columns",
            )];
        }
        match &self.analysis.lineage {
            Lineage::Unknown(why) if self.is_protected() => vec![self.default(
                Code::LineageUnknown,
                format!("the source of its columns cannot be told: {why}"),
                "name the columns that you need",
            )],
            Lineage::Unknown(_) | Lineage::Metadata | Lineage::Columns(_) => Vec::new(),
        }
    }

    /// Masked columns that steer, where no approval rule takes them or the mask rule forbids it.
    fn uses(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let taken = self.takes_masked_use();
        for (column, spec, place) in self.steering() {
            if spec.predicate_use != PredicateUse::Deny && taken {
                continue;
            }
            let hint = if spec.predicate_use == PredicateUse::Deny {
                "select without it and filter or sort on other columns"
            } else {
                "filter or sort on other columns, or ask for an approval rule with the risk MaskedUse"
            };
            findings.push(self.masked(
                spec.rule,
                Code::MaskedUse,
                format!("masked column {column} steers {}", place_name(place)),
                hint,
            ));
        }
        findings
    }

    fn guards(&self) -> Vec<Finding> {
        let unbounded = [Risk::DeleteWithoutWhere, Risk::UpdateWithoutWhere]
            .iter()
            .any(|risk| self.analysis.risks.contains(risk));
        if !unbounded || !self.demands().is_empty() {
            return Vec::new();
        }
        self.selected
            .iter()
            .filter(|entry| {
                entry
                    .require_where_on
                    .iter()
                    .any(|words| self.analysis.words.iter().any(|word| words.matches(*word)))
            })
            .map(|entry| {
                self.by(
                    entry,
                    "guards.requireWhereOn".into(),
                    Code::KindNotAllowed,
                    format!(
                        "{} without an effective WHERE would change every row",
                        self.analysis.word
                    ),
                    Some("add a WHERE that names the rows".into()),
                )
            })
            .collect()
    }

    // === approvals ===

    /// Whether one of the rules that hold the statement speaks of masked columns that steer.
    fn takes_masked_use(&self) -> bool {
        self.holding().iter().any(|(_, approval)| {
            approval.risks.is_empty() || approval.risks.contains(&Risk::MaskedUse)
        })
    }

    /// What the approval rules that hold the statement demand.
    fn demands(&self) -> Vec<(&'a Entry, Demand)> {
        let demand = |(entry, approval): (&'a Entry, &'a Approval)| {
            let rule = &approval.rule;
            let demand = Demand {
                policy: entry.document.name.clone(),
                generation: entry.document.generation,
                rule: rule.name.clone(),
                approvers: rule.approvers.clone(),
                pending_ttl_seconds: rule.pending_ttl_seconds,
                grant_ttl_seconds: rule.grant_ttl_seconds,
            };
            (entry, demand)
        };
        self.holding().into_iter().map(demand).collect()
    }

    /// The approval rules that hold the statement.
    fn holding(&self) -> Vec<(&'a Entry, &'a Approval)> {
        let mut risks = self.analysis.risks.clone();
        if !self.steering().is_empty() {
            risks.insert(Risk::MaskedUse);
        }
        let mut holding = Vec::new();
        for entry in self.selected {
            for approval in &entry.approvals {
                let Approval { statements, risks: wanted, tables, rule: _ } = approval;
                let words = &self.analysis.words;
                let holds = (statements.is_empty()
                    || words.iter().any(|word| statements.iter().any(|any| any.matches(*word))))
                    && (wanted.is_empty() || wanted.iter().any(|risk| risks.contains(risk)))
                    && (tables.is_empty()
                        || self.analysis.objects.iter().any(|touch| {
                            tables.iter().any(|pattern| pattern.matches(&touch.name))
                        }));
                if holds {
                    holding.push((*entry, approval));
                }
            }
        }
        holding
    }

    // === words ===

    /// A refusal by a rule.
    fn by(
        &self,
        entry: &Entry,
        rule: String,
        code: Code,
        message: String,
        hint: Option<String>,
    ) -> Finding {
        Finding {
            refusal: Refusal { code, rule: Some(entry.rule(rule)), message, hint },
            lifted: entry.is_audit(),
        }
    }

    /// A refusal because nothing allows it: lifted only where every policy is in Audit.
    fn default(&self, code: Code, message: String, hint: &str) -> Finding {
        Finding {
            refusal: Refusal { code, rule: None, message, hint: Some(hint.to_owned()) },
            lifted: self.selected.iter().all(|entry| entry.is_audit()),
        }
    }

    /// A refusal by a mask rule.
    fn masked(&self, rule: Rule, code: Code, message: String, hint: &str) -> Finding {
        let lifted = self.selected.iter().all(|entry| entry.is_audit());
        Finding {
            refusal: Refusal { code, rule: Some(rule), message, hint: Some(hint.to_owned()) },
            lifted,
        }
    }

    /// The kind of the statement, and what it counts as where that is another one.
    fn counted_as(&self, word: &str) -> String {
        let own = self.analysis.word.to_string();
        if own == word { own } else { format!("{own} (which counts as {word})") }
    }

    /// The statement in a few words, for those who wait.
    fn describe(&self) -> String {
        let written: Vec<String> = self
            .analysis
            .objects
            .iter()
            .filter(|touch| touch.access != Access::Read)
            .map(|touch| touch.name.to_string())
            .collect();
        if written.is_empty() {
            format!("this {}", self.analysis.word)
        } else {
            format!("{} on {}", self.analysis.word, written.join(", "))
        }
    }
}

fn invalid(entry: &Entry) -> Refusal {
    let first = &entry.problems[0];
    Refusal {
        code: Code::PolicyInvalid,
        rule: Some(entry.rule(first.path.clone())),
        message: format!("the policy is not valid: {}", first.message),
        hint: Some("its owner sees every error in the status of the AccessPolicy".into()),
    }
}

fn columns(analysis: &Analysis) -> Option<Vec<Option<String>>> {
    match &analysis.lineage {
        Lineage::Columns(outputs) => {
            Some(outputs.iter().map(|output| output.name.clone()).collect())
        }
        Lineage::Metadata | Lineage::Unknown(_) => None,
    }
}

fn privilege(access: Access) -> Privilege {
    match access {
        Access::Read => Privilege::Read,
        Access::Write => Privilege::Write,
        Access::Create => Privilege::Create,
        Access::Alter => Privilege::Alter,
        Access::Drop => Privilege::Drop,
    }
}

fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "reading",
        Access::Write => "writing",
        Access::Create => "creating",
        Access::Alter => "altering",
        Access::Drop => "dropping or replacing",
    }
}

fn place_name(place: sql::Place) -> &'static str {
    match place {
        sql::Place::Where => "WHERE",
        sql::Place::Join => "a join",
        sql::Place::Having => "HAVING",
        sql::Place::Qualify => "QUALIFY",
        sql::Place::Order => "the order of rows",
        sql::Place::Group => "GROUP BY through an expression",
        sql::Place::Distinct => "DISTINCT through an expression",
        sql::Place::Set => "a set operation",
        sql::Place::Limit => "the number of rows",
        sql::Place::Error => "whether the statement fails",
        sql::Place::TableFunction => "the rows of a table function",
        sql::Place::Pivot => "PIVOT",
        sql::Place::Match => "which rows belong together",
        sql::Place::Window => "a window",
        sql::Place::Write => "which rows are written",
    }
}
