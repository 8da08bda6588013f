//! One table of cases: policies, a catalog, a session, and a line per statement.

use indexmap::IndexMap;
use policy::{Ceiling, Decision, Document, Effect, Human, Policy, Principal, Request};
use serde::Deserialize;
use sql::{Analysis, Catalog, Session};

use crate::catalog::{Tables, View, catalog};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    policies: Vec<Document>,
    #[serde(default)]
    tables: Tables,
    #[serde(default)]
    views: IndexMap<String, View>,
    session: SessionForm,
    #[serde(default)]
    human: Option<HumanForm>,
    pub(crate) cases: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionForm {
    database: Option<String>,
    schema: Option<String>,
    role: Option<String>,
    #[serde(default)]
    ignore_case: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HumanForm {
    subject: String,
    groups: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) sql: String,
    /// What the session ran before.
    #[serde(default)]
    prior: Vec<String>,
    /// `allow`, `mask:[0,2]`, `approve` or `deny FG-2003`; followed by ` (lifted FG-2003)` where Audit lifted something.
    expect: String,
    /// Positions that are masked although it waits.
    #[serde(default)]
    masks: Option<Vec<usize>>,
    /// Whether the server's error texts are replaced.
    #[serde(default)]
    redact: Option<bool>,
}

/// A policy over a catalog and a session: everything that one text is judged by.
pub(crate) struct Judge {
    policy: Policy,
    principal: Principal,
    pub(crate) catalog: Catalog,
    session: Session,
}

impl Judge {
    pub(crate) fn decide(&self, text: &str) -> (Analysis, Decision) {
        self.decide_after(&[], text)
    }

    /// In a session that was about to run these statements before, and ran what it may.
    fn decide_after(&self, prior: &[String], text: &str) -> (Analysis, Decision) {
        let mut session = self.session.clone();
        for statement in prior {
            let (analysis, decision) = self.decide_in(&session, statement);
            session.begin(&analysis);
            if decision.effect != Effect::Deny {
                session.end(&analysis);
            }
        }
        self.decide_in(&session, text)
    }

    fn decide_in(&self, session: &Session, text: &str) -> (Analysis, Decision) {
        let analysis = sql::analyze(text, session, &self.catalog);
        let decision = self.policy.decide(&Request {
            principal: &self.principal,
            analysis: &analysis,
            session,
            describe_only: false,
        });
        (analysis, decision)
    }
}

impl Table {
    /// Who judges the lines.
    pub(crate) fn judge(&self) -> Judge {
        Judge {
            policy: Policy::compile(&self.policies, &Ceiling::default()),
            principal: Principal {
                human: self.human.as_ref().map(|human| Human {
                    issuer: "https://idp.example".into(),
                    subject: human.subject.clone(),
                    groups: human.groups.clone(),
                    username: None,
                    verified: true,
                }),
            },
            catalog: catalog(&self.tables, &self.views),
            session: Session {
                database: self.session.database.clone(),
                schema: self.session.schema.clone(),
                role: self.session.role.clone(),
                ignore_case: self.session.ignore_case,
                ..Session::default()
            },
        }
    }

    /// The lines that are decided otherwise than they say.
    pub(crate) fn run(&self, name: &str) -> Vec<String> {
        let judge = self.judge();
        let mut wrong = Vec::new();
        for line in &self.cases {
            let (_, decision) = judge.decide_after(&line.prior, &line.sql);
            let mut found = verdict(&decision);
            if found == "deny" {
                found = format!("deny {}", decision.code());
            }
            if let Some(lifted) = &decision.lifted {
                found = format!("{found} (lifted {})", lifted.refusal.code);
            }
            let masks: Vec<usize> = decision.masks.iter().map(|mask| mask.position).collect();
            let masks_agree = line.masks.as_ref().is_none_or(|expected| *expected == masks);
            let redacts = line.redact.is_none_or(|expected| expected == decision.redact_errors);
            if found != line.expect || !masks_agree || !redacts {
                let why = decision.refusal.map(|refusal| refusal.to_string()).unwrap_or_default();
                wrong.push(format!(
                    "{name}: {}\n    -> {found} {masks:?} redacts: {}, not {} {why}",
                    line.sql, decision.redact_errors, line.expect
                ));
            }
        }
        wrong
    }
}

/// A decision in one word and the positions that are masked.
pub(crate) fn verdict(decision: &Decision) -> String {
    match decision.effect {
        Effect::Deny => "deny".into(),
        Effect::Hold => "approve".into(),
        Effect::Allow if decision.masks.is_empty() => "allow".into(),
        Effect::Allow => {
            let positions: Vec<String> =
                decision.masks.iter().map(|mask| mask.position.to_string()).collect();
            format!("mask:[{}]", positions.join(","))
        }
    }
}
