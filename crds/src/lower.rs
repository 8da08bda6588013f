//! AccessPolicy to `policy::Document`: from what was written to what is sent.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use kube::{Resource, ResourceExt};
use policy::document;

use crate::access_policy::{
    AccessPolicy, ApprovalMatch, ApprovalRule, Approvers, Detector, DetectorMask, DetectorRule,
    Guards, Human, MaskMethod, MaskRule, MaskType, Mode, ObjectRule, PredicateUse, Privilege,
    RoleMapping, RuleEffect, Subject, TruncateUnit,
};
use crate::snowflake_connection::{Baseline, SnowflakeConnection};

/// What a policy is matched against: the pod, not the human.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its ServiceAccount.
    pub service_account: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// The document that `policy` gives to `pod`, or none where it does not select the pod.
///
/// The entries of `subjects` that select the pod leave their condition on the human behind; one of them without such
/// a condition means every session of the pod.
#[must_use]
pub fn lower(policy: &AccessPolicy, pod: Pod<'_>) -> Option<document::Document> {
    if policy.namespace().as_deref() != Some(pod.namespace) {
        return None;
    }
    let selected: Vec<&Subject> =
        policy.spec.subjects.iter().filter(|subject| selects(subject, pod)).collect();
    if selected.is_empty() {
        return None;
    }
    let humans: Vec<document::Subject> = selected.into_iter().map(human_of).collect();
    let subjects = if humans.contains(&document::Subject::default()) { Vec::new() } else { humans };
    Some(document::Document { subjects, ..document(policy) })
}

/// The document of `policy` without its subjects: what admission compiles to see whether it can ever work.
#[must_use]
pub fn document(policy: &AccessPolicy) -> document::Document {
    let spec = &policy.spec;
    document::Document {
        name: format!("{}/{}", policy.namespace().unwrap_or_default(), policy.name_any()),
        generation: policy.meta().generation.unwrap_or_default(),
        mode: match spec.mode {
            Mode::Enforce => document::Mode::Enforce,
            Mode::Audit => document::Mode::Audit,
        },
        subjects: Vec::new(),
        role_mapping: spec.role_mapping.iter().map(role_mapping).collect(),
        statements: document::Statements {
            allow: spec.statements.allow.clone(),
            deny: spec.statements.deny.clone(),
        },
        objects: spec.objects.iter().map(object_rule).collect(),
        masking: spec.masking.iter().map(mask_rule).collect(),
        detectors: spec.detectors.iter().map(detector_rule).collect(),
        functions: document::Functions { allow: spec.functions.allow.clone() },
        guards: guards(&spec.guards),
        approvals: spec.approvals.iter().map(approval_rule).collect(),
    }
}

/// The document of a connection's baseline, or none where it has none.
#[must_use]
pub fn baseline(connection: &SnowflakeConnection) -> Option<document::Document> {
    let Baseline { deny_statements, objects, masking, detectors, guards: limits } =
        connection.spec.baseline.as_ref()?;
    Some(document::Document {
        name: format!(
            "{}/{}#baseline",
            connection.namespace().unwrap_or_default(),
            connection.name_any()
        ),
        generation: connection.meta().generation.unwrap_or_default(),
        mode: document::Mode::Enforce,
        subjects: Vec::new(),
        role_mapping: Vec::new(),
        statements: document::Statements { allow: Vec::new(), deny: deny_statements.clone() },
        objects: objects.iter().map(object_rule).collect(),
        masking: masking.iter().map(mask_rule).collect(),
        detectors: detectors.iter().map(detector_rule).collect(),
        functions: document::Functions::default(),
        guards: guards(limits),
        approvals: Vec::new(),
    })
}

/// Whether labels match; a selector that cannot be read matches nothing.
#[must_use]
pub fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

fn selects(subject: &Subject, pod: Pod<'_>) -> bool {
    (subject.service_accounts.is_empty()
        || subject.service_accounts.iter().any(|name| name == pod.service_account))
        && subject.pod_selector.as_ref().is_none_or(|selector| matches(selector, pod.labels))
}

fn human_of(subject: &Subject) -> document::Subject {
    document::Subject {
        groups: subject.groups.clone(),
        users: subject.users.clone(),
        issuer: subject.issuer.clone(),
    }
}

fn human(human: &Human) -> document::Subject {
    document::Subject {
        groups: human.groups.clone(),
        users: human.users.clone(),
        issuer: human.issuer.clone(),
    }
}

fn role_mapping(mapping: &RoleMapping) -> document::RoleMapping {
    document::RoleMapping {
        when: mapping.when.as_ref().map(human),
        role: mapping.role.clone(),
        warehouse: mapping.warehouse.clone(),
    }
}

fn object_rule(rule: &ObjectRule) -> document::ObjectRule {
    document::ObjectRule {
        effect: match rule.effect {
            RuleEffect::Allow => document::RuleEffect::Allow,
            RuleEffect::Deny => document::RuleEffect::Deny,
        },
        privileges: rule.privileges.iter().copied().map(privilege).collect(),
        tables: rule.tables.clone(),
        except: rule.except.clone(),
        message: rule.message.clone(),
        hint: rule.hint.clone(),
    }
}

fn privilege(privilege: Privilege) -> document::Privilege {
    match privilege {
        Privilege::Read => document::Privilege::Read,
        Privilege::Write => document::Privilege::Write,
        Privilege::Create => document::Privilege::Create,
        Privilege::Alter => document::Privilege::Alter,
        Privilege::Drop => document::Privilege::Drop,
    }
}

fn mask_rule(rule: &MaskRule) -> document::MaskRule {
    document::MaskRule {
        columns: rule.columns.clone(),
        method: mask_method(&rule.method),
        filterable: rule.filterable,
        predicate_use: match rule.predicate_use {
            PredicateUse::AllowEquality => document::PredicateUse::AllowEquality,
            PredicateUse::RequireApproval => document::PredicateUse::RequireApproval,
            PredicateUse::Deny => document::PredicateUse::Deny,
        },
        except_subjects: rule.except_subjects.iter().map(human).collect(),
    }
}

/// A method whose unit or width is missing cannot pass admission; if it ever did, the strictest mask holds.
fn mask_method(method: &MaskMethod) -> document::MaskMethod {
    match (method.type_, method.unit, method.width) {
        (MaskType::Null, ..) => document::MaskMethod::Null,
        (MaskType::Partial, ..) => document::MaskMethod::Partial {
            keep_first: method.keep_first.unwrap_or_default(),
            keep_last: method.keep_last.unwrap_or_default(),
        },
        (MaskType::Hash, ..) => document::MaskMethod::Hash { domain: method.domain.clone() },
        (MaskType::Email, ..) => document::MaskMethod::Email,
        (MaskType::Truncate, Some(unit), _) => {
            document::MaskMethod::Truncate { unit: truncate_unit(unit) }
        }
        (MaskType::Bucket, _, Some(width)) => document::MaskMethod::Bucket { width },
        (MaskType::Full | MaskType::Truncate | MaskType::Bucket, ..) => document::MaskMethod::Full,
    }
}

fn truncate_unit(unit: TruncateUnit) -> document::TruncateUnit {
    match unit {
        TruncateUnit::Day => document::TruncateUnit::Day,
        TruncateUnit::Month => document::TruncateUnit::Month,
        TruncateUnit::Year => document::TruncateUnit::Year,
        TruncateUnit::Decade => document::TruncateUnit::Decade,
    }
}

fn detector_rule(rule: &DetectorRule) -> document::DetectorRule {
    document::DetectorRule {
        find: rule.find.iter().copied().map(detector).collect(),
        mask: match rule.mask {
            DetectorMask::Full => document::DetectorMask::Full,
            DetectorMask::Null => document::DetectorMask::Null,
        },
        except: rule.except.clone(),
        except_subjects: rule.except_subjects.iter().map(human).collect(),
    }
}

fn detector(detector: Detector) -> document::Detector {
    match detector {
        Detector::CardNumber => document::Detector::CardNumber,
        Detector::Iban => document::Detector::Iban,
        Detector::SocialSecurityNumber => document::Detector::SocialSecurityNumber,
        Detector::EmailAddress => document::Detector::EmailAddress,
        Detector::PhoneNumber => document::Detector::PhoneNumber,
        Detector::RoutingNumber => document::Detector::RoutingNumber,
        Detector::Secret => document::Detector::Secret,
    }
}

fn guards(guards: &Guards) -> document::Guards {
    document::Guards { require_where_on: guards.require_where_on.clone() }
}

fn approval_rule(rule: &ApprovalRule) -> document::ApprovalRule {
    let ApprovalMatch { statements, risks, tables } = &rule.when;
    let Approvers { groups, min_approvals, distinct_from_requester } = &rule.approvers;
    document::ApprovalRule {
        name: rule.name.clone(),
        when: document::ApprovalMatch {
            statements: statements.clone(),
            risks: risks.clone(),
            tables: tables.clone(),
        },
        approvers: document::Approvers {
            groups: groups.clone(),
            min_approvals: *min_approvals,
            distinct_from_requester: *distinct_from_requester,
        },
        pending_ttl_seconds: rule.pending_ttl.as_secs(),
        grant_ttl_seconds: rule.grant_ttl.as_secs(),
    }
}
