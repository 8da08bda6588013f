//! The Kubernetes API of Frostgate: three kinds, and how a policy leaves the API.
//!
//! ```text
//! SnowflakeConnection   an account, the right to log in to it, who may attach
//!        ^   ^
//!        |   +-- ApprovalRequest   a statement that waits for a human, and the answer
//! AccessPolicy          which workload may do what through it      --lower-->  policy::Document
//! ```
//!
//! The YAML in `yaml/` is generated from these types. What a schema cannot say is said by the CEL rules beside the
//! fields; what CEL cannot say is said by [`check`], which the webhook and local mode share.

pub mod access_policy;
pub mod annotations;
pub mod approval_request;
pub mod check;
pub mod conditions;
pub mod duration;
pub mod lower;
pub mod snowflake_connection;

pub use access_policy::{AccessPolicy, AccessPolicySpec, AccessPolicyStatus};
pub use approval_request::{ApprovalRequest, ApprovalRequestSpec, ApprovalRequestStatus};
pub use check::Problem;
pub use duration::Duration;
pub use snowflake_connection::{
    SnowflakeConnection, SnowflakeConnectionSpec, SnowflakeConnectionStatus,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON,
};
use kube::CustomResourceExt;

/// The API group of every kind, annotation and label.
pub const GROUP: &str = "frostgate.dev";
/// The one version there is.
pub const VERSION: &str = "v1alpha1";

/// The three definitions, in the order they are installed.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        SnowflakeConnection::crd(),
        AccessPolicy::crd(),
        with_pending_phase(ApprovalRequest::crd()),
    ]
}

/// The YAML of each definition with its file name.
///
/// # Errors
/// When a definition does not serialize, which would be a defect of the types.
pub fn yaml() -> Result<Vec<(String, String)>, serde_yaml::Error> {
    all()
        .into_iter()
        .map(|definition| {
            let name = format!("{}.yaml", definition.spec.names.plural);
            Ok((name, quoted(&serde_yaml::to_string(&definition)?)))
        })
        .collect()
}

/// Gives `status` itself a default. A default on `status.phase` alone does nothing on create, where the API server
/// strips the status, and then field selectors on the phase find nothing.
fn with_pending_phase(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|root| root.properties.as_mut())
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(serde_json::json!({ "phase": "Pending" })));
        }
    }
    definition
}

/// Quotes the words that kubectl, which reads YAML 1.1, takes for truth values: `Off` is a word of ours.
fn quoted(yaml: &str) -> String {
    let mut out = String::with_capacity(yaml.len());
    for line in yaml.lines() {
        let (before, word) = line.rsplit_once(' ').unwrap_or(("", line));
        let is_truth = ["on", "off", "yes", "no", "y", "n"];
        let stands_alone = before.ends_with(':') || before.trim_start() == "-";
        if stands_alone && is_truth.iter().any(|truth| word.eq_ignore_ascii_case(truth)) {
            out.push_str(&format!("{before} '{word}'"));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}
