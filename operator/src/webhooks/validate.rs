//! Refuses a connection or a policy that can never work, listing every error at once with its field path.

use crds::check::{self, Problem};
use crds::{AccessPolicy, SnowflakeConnection};
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;

use super::{Admitted, Answer, Denial, Review};
use crate::directory::{self, Snapshot};

/// Answers for one object.
///
/// # Errors
/// Everything that is wrong with it.
pub fn validate(snapshot: &Snapshot, review: &Review) -> Answer {
    let Some(object) = &review.object else { return Ok(Admitted::default()) };
    // Neither a finalizer that goes nor a label that comes is the moment to find fault with an old spec.
    let same_spec = review
        .old_object
        .as_ref()
        .is_some_and(|old| old.data.get("spec") == object.data.get("spec"));
    if same_spec || object.metadata.deletion_timestamp.is_some() {
        return Ok(Admitted::default());
    }
    let mut warnings = Vec::new();
    let problems = match review.kind.kind.as_str() {
        "SnowflakeConnection" => check::connection(&decoded::<SnowflakeConnection>(object)?),
        "AccessPolicy" => {
            let mut policy = decoded::<AccessPolicy>(object)?;
            policy.metadata.namespace.clone_from(&review.namespace);
            warnings = beside(snapshot, &policy);
            check::policy(&policy)
        }
        other => return Err(Denial::invalid(format!("{other} is not validated here"))),
    };
    if problems.is_empty() {
        Ok(Admitted { patch: Vec::new(), warnings })
    } else {
        Err(Denial::invalid(check::listed(&problems)))
    }
}

/// What does not fit the connection as it is now. It may be created or changed later, so this refuses nothing.
fn beside(snapshot: &Snapshot, policy: &AccessPolicy) -> Vec<String> {
    let name = directory::connection_of(policy);
    match snapshot.connection(&name) {
        None => vec![format!("spec.connectionRef: there is no SnowflakeConnection {name} yet")],
        Some(connection) => check::policy_with_connection(policy, connection)
            .iter()
            .map(Problem::to_string)
            .collect(),
    }
}

fn decoded<K: DeserializeOwned>(object: &DynamicObject) -> Result<K, Denial> {
    serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .map_err(|error| Denial::invalid(error.to_string()))
}
