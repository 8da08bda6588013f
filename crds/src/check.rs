//! What can never work, every error at once with the path of its field: shared by the webhook and by local mode,
//! which has no schema to refuse for it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;

use crate::Duration;
use crate::access_policy::{AccessPolicy, MaskMethod, MaskType};
use crate::lower;
use crate::snowflake_connection::{CredentialMode, SnowflakeConnection};

/// One thing that can never work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, such as `spec.objects[2].tables[0]`.
    pub path: String,
    /// What is wrong with it and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The problems on one line each, as an admission message lists them.
#[must_use]
pub fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What can never work in a connection.
#[must_use]
pub fn connection(connection: &SnowflakeConnection) -> Vec<Problem> {
    let mut problems = Problems::default();
    let spec = &connection.spec;
    if let Some(endpoint) = &spec.endpoint {
        problems.networks("spec.endpoint.privateNetworks", &endpoint.private_networks);
        for (index, alias) in endpoint.host_aliases.iter().enumerate() {
            if alias.ip.parse::<IpAddr>().is_err() {
                problems.add(
                    format!("spec.endpoint.hostAliases[{index}].ip"),
                    format!("{:?} is no address: write it as 10.0.0.1", alias.ip),
                );
            }
        }
        if let Some(pem) = &endpoint.ca_bundle {
            problems.pem("spec.endpoint.caBundle", pem);
        }
        if let Some(proxy) = &endpoint.https_proxy {
            problems.proxy("spec.endpoint.httpsProxy", proxy);
            if !endpoint.host_aliases.is_empty() {
                problems.add(
                    "spec.endpoint.hostAliases",
                    "nobody would use them: the httpsProxy finds the addresses; set one of the two",
                );
            }
        }
    }
    if let Some(prompts) = &spec.prompts {
        problems.networks("spec.prompts.privateNetworks", &prompts.private_networks);
        if let Some(pem) = &prompts.ca_bundle {
            problems.pem("spec.prompts.caBundle", pem);
        }
        if let Some(proxy) = &prompts.https_proxy {
            problems.proxy("spec.prompts.httpsProxy", proxy);
        }
    }
    let credentials = &spec.credentials;
    match credentials.mode {
        CredentialMode::EphemeralUser if credentials.ephemeral_user.is_none() => {
            problems.add("spec.credentials.ephemeralUser", "needed by mode EphemeralUser");
        }
        CredentialMode::KeyPair if credentials.key_pair.is_none() => {
            problems.add("spec.credentials.keyPair", "needed by mode KeyPair");
        }
        CredentialMode::EphemeralUser | CredentialMode::KeyPair => {}
    }
    if let Some(ephemeral) = &credentials.ephemeral_user {
        problems.at_least_ten_seconds("spec.credentials.ephemeralUser.maxTtl", ephemeral.max_ttl);
        problems.at_least_ten_seconds(
            "spec.credentials.ephemeralUser.sweepInterval",
            ephemeral.sweep_interval,
        );
        if spec.allowed_roles.contains(&ephemeral.provisioner.role) {
            problems.add(
                "spec.allowedRoles",
                format!(
                    "{} is the provisioner's role: no agent may get it",
                    ephemeral.provisioner.role
                ),
            );
        }
    }
    problems.at_least_ten_seconds("spec.session.idleTimeout", spec.session.idle_timeout);
    problems.at_least_ten_seconds("spec.policyLease", spec.policy_lease);
    if spec.allowed_roles.is_empty() {
        problems.add("spec.allowedRoles", "name at least one Snowflake role");
    }
    for (index, role) in spec.allowed_roles.iter().enumerate() {
        if ["ACCOUNTADMIN", "ORGADMIN", "SECURITYADMIN", "USERADMIN"]
            .contains(&role.to_ascii_uppercase().as_str())
        {
            problems.add(
                format!("spec.allowedRoles[{index}]"),
                format!("{role} can change users and grants: give agents a role of their own"),
            );
        }
    }
    if let Some(selector) = &spec.allowed_workloads.namespaces.selector {
        problems.selector("spec.allowedWorkloads.namespaces.selector", selector);
    }
    if let Some(catalog) = &spec.catalog {
        problems.at_least_ten_seconds("spec.catalog.refresh", catalog.refresh);
    }
    let mut issuers = BTreeSet::new();
    for (index, issuer) in spec.identity.iter().flat_map(|identity| &identity.issuers).enumerate() {
        let path = format!("spec.identity.issuers[{index}]");
        if !issuers.insert(&issuer.issuer) {
            problems.add(format!("{path}.issuer"), "listed twice");
        }
        if issuer.audiences.is_empty() {
            problems.add(
                format!("{path}.audiences"),
                "name at least one: a token made for somebody else must not pass",
            );
        }
        if let Some(pem) = &issuer.ca_bundle {
            problems.pem(&format!("{path}.caBundle"), pem);
        }
        if let Some(jwks) = &issuer.jwks
            && !serde_json::from_str::<serde_json::Value>(jwks)
                .is_ok_and(|set| set["keys"].as_array().is_some_and(|keys| !keys.is_empty()))
        {
            problems.add(format!("{path}.jwks"), "is no JWK set: write {\"keys\": [...]}");
        }
    }
    if let Some(baseline) = &spec.baseline {
        for (index, rule) in baseline.masking.iter().enumerate() {
            problems.mask(&format!("spec.baseline.masking[{index}].method"), &rule.method);
        }
    }
    if let Some(document) = lower::baseline(connection) {
        problems.compiled(&document, |path| match path.strip_prefix("statements.deny") {
            Some(rest) => format!("spec.baseline.denyStatements{rest}"),
            None => format!("spec.baseline.{path}"),
        });
    }
    problems.0
}

/// What can never work in a policy, whatever its connection.
#[must_use]
pub fn policy(policy: &AccessPolicy) -> Vec<Problem> {
    let mut problems = Problems::default();
    let spec = &policy.spec;
    if spec.subjects.is_empty() {
        problems.add("spec.subjects", "select nobody: write {} for every attached pod");
    }
    for (index, subject) in spec.subjects.iter().enumerate() {
        if let Some(selector) = &subject.pod_selector {
            problems.selector(&format!("spec.subjects[{index}].podSelector"), selector);
        }
    }
    for (index, rule) in spec.masking.iter().enumerate() {
        problems.mask(&format!("spec.masking[{index}].method"), &rule.method);
    }
    let mut names = BTreeSet::new();
    for (index, rule) in spec.approvals.iter().enumerate() {
        let path = format!("spec.approvals[{index}]");
        if !names.insert(&rule.name) {
            problems.add(format!("{path}.name"), format!("{:?} is used twice", rule.name));
        }
        if rule.approvers.min_approvals == 0 {
            problems.add(format!("{path}.approvers.minApprovals"), "must be at least 1");
        }
        problems.at_least_ten_seconds(&format!("{path}.pendingTTL"), rule.pending_ttl);
        problems.at_least_ten_seconds(&format!("{path}.grantTTL"), rule.grant_ttl);
    }
    problems.compiled(&lower::document(policy), |path| format!("spec.{path}"));
    problems.0
}

/// What can never work in a policy with the connection it names.
#[must_use]
pub fn policy_with_connection(
    policy: &AccessPolicy,
    connection: &SnowflakeConnection,
) -> Vec<Problem> {
    let allowed = &connection.spec.allowed_roles;
    let mut problems = Problems::default();
    for (index, mapping) in policy.spec.role_mapping.iter().enumerate() {
        if !allowed.contains(&mapping.role) {
            problems.add(
                format!("spec.roleMapping[{index}].role"),
                format!(
                    "{} is not among the connection's allowedRoles ({})",
                    mapping.role,
                    allowed.join(", ")
                ),
            );
        }
    }
    problems.0
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    fn at_least_ten_seconds(&mut self, path: &str, duration: Duration) {
        if duration.as_secs() < 10 {
            self.add(path, "must be at least 10s");
        }
    }

    fn selector(&mut self, path: &str, selector: &LabelSelector) {
        if let Err(error) = Selector::try_from(selector.clone()) {
            self.add(path, error.to_string());
        }
    }

    fn networks(&mut self, path: &str, networks: &[String]) {
        for (index, network) in networks.iter().enumerate() {
            if !is_network(network) {
                self.add(
                    format!("{path}[{index}]"),
                    format!("{network:?} is no network: write it as 10.0.0.0/8"),
                );
            }
        }
    }

    fn pem(&mut self, path: &str, pem: &str) {
        if !pem.contains("-----BEGIN CERTIFICATE-----") {
            self.add(path, "holds no PEM certificate");
        }
    }

    fn proxy(&mut self, path: &str, proxy: &str) {
        let is_host = |host: &str| !host.is_empty() && !host.contains(['@', '/']);
        let parts = proxy.strip_prefix("http://").and_then(|rest| rest.rsplit_once(':'));
        if !parts.is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok()) {
            self.add(path, format!("{proxy:?} is no proxy: write it as http://egress.corp:3128"));
        }
    }

    fn mask(&mut self, path: &str, method: &MaskMethod) {
        let of = |type_| method.type_ == type_;
        if method.unit.is_some() != of(MaskType::Truncate) {
            self.add(format!("{path}.unit"), "belongs to type Truncate, which needs it");
        }
        if method.width.is_some() != of(MaskType::Bucket) {
            self.add(format!("{path}.width"), "belongs to type Bucket, which needs it");
        }
        if method.domain.is_some() && !of(MaskType::Hash) {
            self.add(format!("{path}.domain"), "belongs to type Hash");
        }
        if (method.keep_first.is_some() || method.keep_last.is_some()) && !of(MaskType::Partial) {
            self.add(path, "keepFirst and keepLast belong to type Partial");
        }
    }

    /// What the policy compiler refuses, its paths turned into those of the object.
    fn compiled(&mut self, document: &policy::Document, path: impl Fn(&str) -> String) {
        for problem in policy::check(document) {
            let path = path(&problem.path);
            // What was said of the object's own form is not said again of the document's.
            if !self.0.iter().any(|known| known.path == path) {
                self.add(path, problem.message);
            }
        }
    }
}

fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}
