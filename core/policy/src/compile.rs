//! From documents to a policy that computes: patterns read, words known, errors listed together.

use std::collections::BTreeSet;

use sql::{Risk, Words};

use crate::document::{
    ApprovalRule, DetectorRule, Document, MaskMethod, MaskRule, Mode, ObjectRule, Privilege,
    RuleEffect, Subject,
};
use crate::pattern::Pattern;
use crate::{Code, Principal, Refusal, RoleGrant, Rule};

/// What the connection lets policies give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// Roles that a mapping may name.
    pub allowed_roles: Vec<String>,
    /// The role of sessions that no mapping speaks of.
    pub default_role: Option<String>,
    /// The warehouse of sessions that no mapping speaks of.
    pub default_warehouse: Option<String>,
}

/// The policies of a pod as they compute.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) entries: Vec<Entry>,
    ceiling: Ceiling,
    pub(crate) hash: String,
}

/// Something in a document that can never work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as in the spec: `masking[0].columns[1]`.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// One document, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) document: Document,
    pub(crate) allow: Vec<Words>,
    pub(crate) deny: Vec<Denied>,
    pub(crate) objects: Vec<Objects>,
    pub(crate) masks: Vec<Masked>,
    pub(crate) detectors: Vec<Detecting>,
    pub(crate) functions: BTreeSet<String>,
    pub(crate) require_where_on: Vec<Words>,
    pub(crate) approvals: Vec<Approval>,
    /// Why it is not valid; then it refuses everything.
    pub(crate) problems: Vec<Problem>,
}

/// What `statements.deny` may name: kinds, groups and risks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    Kind(Words),
    Risk(Risk),
}

#[derive(Clone, Debug)]
pub(crate) struct Objects {
    pub(crate) effect: RuleEffect,
    privileges: Vec<Privilege>,
    tables: Vec<Pattern>,
    except: Vec<Pattern>,
    pub(crate) message: Option<String>,
    pub(crate) hint: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Masked {
    pub(crate) columns: Vec<Pattern>,
    pub(crate) rule: MaskRule,
}

#[derive(Clone, Debug)]
pub(crate) struct Detecting {
    pub(crate) except: Vec<Pattern>,
    pub(crate) rule: DetectorRule,
}

#[derive(Clone, Debug)]
pub(crate) struct Approval {
    pub(crate) rule: ApprovalRule,
    pub(crate) statements: Vec<Words>,
    pub(crate) risks: Vec<Risk>,
    pub(crate) tables: Vec<Pattern>,
}

/// Everything in a document that can never work, all at once.
#[must_use]
pub fn check(document: &Document) -> Vec<Problem> {
    Entry::compile(document).problems
}

// === impl Policy ===

impl Policy {
    /// Compiles documents. It cannot fail: a document that is not valid becomes a policy that refuses everything.
    #[must_use]
    pub fn compile(documents: &[Document], ceiling: &Ceiling) -> Self {
        let mut entries: Vec<Entry> = documents.iter().map(Entry::compile).collect();
        // The order in which documents arrive must not show in messages either.
        entries.sort_by(|one, two| one.document.name.cmp(&two.document.name));
        Self { entries, ceiling: ceiling.clone(), hash: crate::document::hash(documents) }
    }

    /// The policies that speak of the principal.
    pub(crate) fn selected(&self, principal: &Principal) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| principal.is_among(&entry.document.subjects)).collect()
    }

    /// The role and warehouse of a session of this principal.
    ///
    /// # Errors
    /// When no policy selects the principal, or the mappings disagree or leave the ceiling.
    pub fn role(&self, principal: &Principal) -> Result<RoleGrant, Refusal> {
        let selected = self.selected(principal);
        if selected.is_empty() {
            return Err(no_policy());
        }
        let mut granted: Option<RoleGrant> = None;
        for entry in selected {
            let mapping = entry.document.role_mapping.iter().position(|mapping| {
                mapping.when.as_ref().is_none_or(|subject| principal.is(subject))
            });
            let Some(index) = mapping else { continue };
            let mapping = &entry.document.role_mapping[index];
            let refuse = |message: String, hint: &str| Refusal {
                code: Code::NoRole,
                rule: Some(Rule {
                    policy: entry.document.name.clone(),
                    rule: format!("roleMapping[{index}]"),
                }),
                message,
                hint: Some(hint.to_owned()),
            };
            if !self.ceiling.allowed_roles.contains(&mapping.role) {
                return Err(refuse(
                    format!(
                        "role {} is not among the allowed roles of the connection",
                        mapping.role
                    ),
                    "name one of spec.allowedRoles of the SnowflakeConnection",
                ));
            }
            let grant = RoleGrant {
                role: mapping.role.clone(),
                warehouse: mapping.warehouse.clone(),
                policy: Some(entry.document.name.clone()),
            };
            granted = Some(match granted {
                None => grant,
                Some(earlier) => {
                    let warehouses_differ = earlier.warehouse.is_some()
                        && grant.warehouse.is_some()
                        && earlier.warehouse != grant.warehouse;
                    if earlier.role != grant.role || warehouses_differ {
                        return Err(refuse(
                            format!(
                                "this policy and {} map the session to different roles or warehouses",
                                earlier.policy.as_deref().unwrap_or("another")
                            ),
                            "let one mapping apply to each session",
                        ));
                    }
                    RoleGrant { warehouse: earlier.warehouse.or(grant.warehouse), ..earlier }
                }
            });
        }
        let fallback = || {
            self.ceiling.default_role.clone().map(|role| RoleGrant {
                role,
                warehouse: None,
                policy: None,
            })
        };
        let mut grant = granted.or_else(fallback).ok_or_else(|| Refusal {
            code: Code::NoRole,
            rule: None,
            message: "no policy maps this session to a role, and the connection has no default"
                .into(),
            hint: Some("add a roleMapping that matches the identity of the session".into()),
        })?;
        if grant.warehouse.is_none() {
            grant.warehouse.clone_from(&self.ceiling.default_warehouse);
        }
        Ok(grant)
    }
}

pub(crate) fn no_policy() -> Refusal {
    Refusal {
        code: Code::NoPolicy,
        rule: None,
        message: "no AccessPolicy selects this session".into(),
        hint: Some(
            "ask the owner of the namespace for an AccessPolicy whose subjects match".into(),
        ),
    }
}

// === impl Entry ===

impl Entry {
    fn compile(document: &Document) -> Self {
        let mut problems = Problems(Vec::new());
        let kinds = |words: &[String], path: &str, problems: &mut Problems| -> Vec<Words> {
            words
                .iter()
                .enumerate()
                .filter_map(|(index, word)| {
                    let known = Words::parse(word);
                    if known.is_none() {
                        problems.add(format!("{path}[{index}]"), format!(
                            "{word:?} is no kind of statement; write one such as Select, Insert, CreateTable, Drop or Ddl"
                        ));
                    }
                    known
                })
                .collect()
        };
        let allow = kinds(&document.statements.allow, "statements.allow", &mut problems);
        let deny = document
            .statements
            .deny
            .iter()
            .enumerate()
            .filter_map(|(index, word)| {
                // A kind and a risk may share a word (Drop): the kind says the same and more.
                let known = Words::parse(word)
                    .map(Denied::Kind)
                    .or_else(|| Risk::parse(word).map(Denied::Risk));
                if known.is_none() {
                    problems.add(
                        format!("statements.deny[{index}]"),
                        format!("{word:?} is no kind of statement and no risk"),
                    );
                }
                known
            })
            .collect();
        let objects = document
            .objects
            .iter()
            .enumerate()
            .map(|(index, rule)| objects(index, rule, &mut problems))
            .collect();
        let masks = document
            .masking
            .iter()
            .enumerate()
            .map(|(index, rule)| masked(index, rule, &mut problems))
            .collect();
        let detectors = document
            .detectors
            .iter()
            .enumerate()
            .map(|(index, rule)| detecting(index, rule, &mut problems))
            .collect();
        let functions = document
            .functions
            .allow
            .iter()
            .enumerate()
            .filter_map(|(index, name)| function(index, name, &mut problems))
            .collect();
        let require_where_on =
            kinds(&document.guards.require_where_on, "guards.requireWhereOn", &mut problems);
        let mut names = BTreeSet::new();
        let mut approvals = Vec::new();
        for (index, rule) in document.approvals.iter().enumerate() {
            let path = format!("approvals[{index}]");
            if rule.name.is_empty() || !names.insert(&rule.name) {
                problems.add(
                    format!("{path}.name"),
                    "each approval rule needs a name of its own".into(),
                );
            }
            if rule.approvers.min_approvals == 0 {
                problems.add(format!("{path}.approvers.minApprovals"), "at least 1".into());
            }
            for (seconds, field) in [
                (rule.pending_ttl_seconds, "pendingTtlSeconds"),
                (rule.grant_ttl_seconds, "grantTtlSeconds"),
            ] {
                if seconds == 0 {
                    problems.add(format!("{path}.{field}"), "longer than nothing".into());
                }
            }
            let statements =
                kinds(&rule.when.statements, &format!("{path}.when.statements"), &mut problems);
            let mut risks = Vec::new();
            for (at, word) in rule.when.risks.iter().enumerate() {
                match Risk::parse(word) {
                    Some(risk) => risks.push(risk),
                    None => problems.add(
                        format!("{path}.when.risks[{at}]"),
                        format!("{word:?} is no risk; write one such as DeleteWithoutWhere, Ddl or MaskedUse"),
                    ),
                }
            }
            let tables = patterns(&rule.when.tables, &format!("{path}.when.tables"), &mut problems);
            approvals.push(Approval { rule: rule.clone(), statements, risks, tables });
        }
        for (index, mapping) in document.role_mapping.iter().enumerate() {
            if mapping.role.is_empty() {
                problems.add(format!("roleMapping[{index}].role"), "a role is needed".into());
            }
        }
        Self {
            document: document.clone(),
            allow,
            deny,
            objects,
            masks,
            detectors,
            functions,
            require_where_on,
            approvals,
            problems: problems.0,
        }
    }

    pub(crate) fn is_audit(&self) -> bool {
        self.document.mode == Mode::Audit
    }

    pub(crate) fn rule(&self, rule: impl Into<String>) -> Rule {
        Rule { policy: self.document.name.clone(), rule: rule.into() }
    }
}

impl Objects {
    /// Whether the rule speaks of this privilege on this object.
    pub(crate) fn matches(&self, name: &sql::Name, privilege: Privilege) -> bool {
        (self.privileges.is_empty() || self.privileges.contains(&privilege))
            && self.tables.iter().any(|pattern| pattern.matches(name))
            && !self.except.iter().any(|pattern| pattern.matches(name))
    }
}

impl Masked {
    /// Whether the rule holds for this principal: those it excepts see the clear values.
    pub(crate) fn holds_for(&self, principal: &Principal) -> bool {
        !excepts(&self.rule.except_subjects, principal)
    }
}

impl Detecting {
    /// Whether the rule holds for this principal: those it excepts see everything.
    pub(crate) fn holds_for(&self, principal: &Principal) -> bool {
        !excepts(&self.rule.except_subjects, principal)
    }
}

fn excepts(subjects: &[Subject], principal: &Principal) -> bool {
    subjects.iter().any(|subject| principal.is(subject))
}

// === reading rules ===

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: String, message: String) {
        self.0.push(Problem { path, message });
    }
}

fn patterns(texts: &[String], path: &str, problems: &mut Problems) -> Vec<Pattern> {
    texts
        .iter()
        .enumerate()
        .filter_map(|(index, text)| {
            Pattern::object(text)
                .map_err(|message| problems.add(format!("{path}[{index}]"), message))
                .ok()
        })
        .collect()
}

fn objects(index: usize, rule: &ObjectRule, problems: &mut Problems) -> Objects {
    if rule.tables.is_empty() {
        problems.add(format!("objects[{index}].tables"), "at least one pattern is needed".into());
    }
    Objects {
        effect: rule.effect,
        privileges: rule.privileges.clone(),
        tables: patterns(&rule.tables, &format!("objects[{index}].tables"), problems),
        except: patterns(&rule.except, &format!("objects[{index}].except"), problems),
        message: rule.message.clone(),
        hint: rule.hint.clone(),
    }
}

fn masked(index: usize, rule: &MaskRule, problems: &mut Problems) -> Masked {
    let path = format!("masking[{index}]");
    if rule.columns.is_empty() {
        problems.add(format!("{path}.columns"), "at least one pattern is needed".into());
    }
    if matches!(rule.method, MaskMethod::Bucket { width: 0 }) {
        problems.add(format!("{path}.method.width"), "at least 1".into());
    }
    excepted(&rule.except_subjects, &path, problems);
    Masked {
        columns: columns(&rule.columns, &format!("{path}.columns"), problems),
        rule: rule.clone(),
    }
}

fn detecting(index: usize, rule: &DetectorRule, problems: &mut Problems) -> Detecting {
    let path = format!("detectors[{index}]");
    if rule.find.is_empty() {
        problems.add(format!("{path}.find"), "at least one detector is needed".into());
    }
    excepted(&rule.except_subjects, &path, problems);
    Detecting {
        except: columns(&rule.except, &format!("{path}.except"), problems),
        rule: rule.clone(),
    }
}

fn columns(texts: &[String], path: &str, problems: &mut Problems) -> Vec<Pattern> {
    let read = |(at, text): (usize, &String)| {
        Pattern::column(text).map_err(|message| problems.add(format!("{path}[{at}]"), message)).ok()
    };
    texts.iter().enumerate().filter_map(read).collect()
}

fn excepted(subjects: &[Subject], path: &str, problems: &mut Problems) {
    for (at, subject) in subjects.iter().enumerate() {
        if *subject == Subject::default() {
            problems.add(
                format!("{path}.exceptSubjects[{at}]"),
                "a subject without conditions is everyone: the mask would never hold".into(),
            );
        }
    }
}

/// A qualified function name as the analysis writes it; a method of a model stands behind `!`.
fn function(index: usize, name: &str, problems: &mut Problems) -> Option<String> {
    let name_only = name.split_once('!').map_or(name, |(model, _)| model);
    let method = name.split_once('!').map(|(_, method)| method);
    let parts: Vec<&str> = name_only.split('.').chain(method).collect();
    let is_plain = |part: &&str| {
        !part.is_empty()
            && part.chars().all(|character| {
                character.is_ascii_alphanumeric() || matches!(character, '_' | '$')
            })
    };
    let count = 3 + usize::from(method.is_some());
    if parts.len() == count && parts.iter().all(is_plain) {
        return Some(name.to_ascii_uppercase());
    }
    problems.add(
        format!("functions.allow[{index}]"),
        format!("{name:?} is no full name of a function; write DATABASE.SCHEMA.FUNCTION or DATABASE.SCHEMA.MODEL!METHOD"),
    );
    None
}
