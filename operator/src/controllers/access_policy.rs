//! AccessPolicy: is it valid, does its connection exist and let its namespace attach.

use std::sync::Arc;

use crds::conditions::{self, Saying, reason};
use crds::{AccessPolicy, AccessPolicyStatus, SnowflakeConnection, check};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::discovery::ApiResource;
use kube::runtime::Controller;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Context, Error, all, apply_status, drive};
use crate::announce::MANAGER;
use crate::directory::{self, Name, Snapshot};

/// Runs the controller until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let policies = Api::<DeserializeGuard<AccessPolicy>>::all(context.client.clone());
    let connections = Api::<DeserializeGuard<SnowflakeConnection>>::all(context.client.clone());
    let controller = Controller::new(policies, all());
    let store = controller.store();
    let controller = controller.watches(connections, all(), move |connection| {
        let name = Name::of(&connection);
        let speaks_of = move |policy: &Arc<DeserializeGuard<AccessPolicy>>| {
            let policy = policy.0.as_ref().ok()?;
            (directory::connection_of(policy) == name).then(|| {
                ObjectRef::new(&policy.name_any()).within(&policy.namespace().unwrap_or_default())
            })
        };
        store.state().iter().filter_map(speaks_of).collect::<Vec<_>>()
    });
    drive(controller, "AccessPolicy", context, stop, reconcile).await;
}

async fn reconcile(
    object: Arc<DeserializeGuard<AccessPolicy>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    match &object.0 {
        Ok(policy) => {
            // What the watch of the directory has not seen yet is read anew: the status must not lag behind.
            let name = directory::connection_of(policy);
            let api =
                Api::<SnowflakeConnection>::namespaced(context.client.clone(), &name.namespace);
            let connection = api.get_opt(&name.name).await?;
            let snapshot = context.directory.snapshot();
            let status = status(policy, connection.as_ref(), &snapshot, Timestamp::now());
            apply_status(&context.client, policy, policy.status.as_ref(), &status).await?;
        }
        Err(invalid) => {
            unreadable(&context, &Name::of(&*object), &object.meta().generation, &invalid.error)
                .await?;
        }
    }
    Ok(Action::requeue(std::time::Duration::from_secs(600)))
}

/// Pure: what is to be said of the policy.
fn status(
    policy: &AccessPolicy,
    connection: Option<&SnowflakeConnection>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> AccessPolicyStatus {
    use conditions::{ACCEPTED, READY, RESOLVED_REFS};
    let name = directory::connection_of(policy);
    let namespace = policy.namespace().unwrap_or_default();
    let mut problems = check::policy(policy);
    problems.extend(connection.iter().flat_map(|one| check::policy_with_connection(policy, one)));
    let accepted = if problems.is_empty() {
        Saying::yes(ACCEPTED, reason::VALID, "the spec is valid")
    } else {
        Saying::no(ACCEPTED, reason::INVALID, check::listed(&problems))
    };
    let resolved = match connection {
        None => Saying::no(
            RESOLVED_REFS,
            reason::NOT_FOUND,
            format!("there is no SnowflakeConnection {name}"),
        ),
        Some(connection) if !snapshot.allows(connection, &name, &namespace) => Saying::no(
            RESOLVED_REFS,
            reason::NOT_ALLOWED,
            format!(
                "SnowflakeConnection {name} does not allow pods of namespace {namespace}: ask its owner \
                 to widen spec.allowedWorkloads"
            ),
        ),
        Some(_) => Saying::yes(RESOLVED_REFS, reason::RESOLVED, "the connection is there"),
    };
    let ready = match (&accepted, &resolved) {
        (no @ Saying { status: Some(false), .. }, _)
        | (_, no @ Saying { status: Some(false), .. }) => {
            Saying::no(READY, no.reason, no.message.clone())
        }
        _ => Saying::yes(READY, reason::ALL_CHECKS_PASSED, "the policy is in force"),
    };
    let generation = policy.meta().generation;
    let mut conditions = policy.status.clone().unwrap_or_default().conditions;
    for saying in [accepted, resolved, ready] {
        conditions::set(&mut conditions, saying, generation, now);
    }
    AccessPolicyStatus { observed_generation: generation, conditions }
}

/// Says on an object that cannot be read that it cannot be read, without reading it.
async fn unreadable(
    context: &Context,
    name: &Name,
    generation: &Option<i64>,
    error: &str,
) -> Result<(), Error> {
    let resource = ApiResource::erase::<AccessPolicy>(&());
    let api =
        Api::<DynamicObject>::namespaced_with(context.client.clone(), &name.namespace, &resource);
    let message =
        format!("cannot be read, pods of this namespace are refused until it can: {error}");
    let current = api.get(&name.name).await?;
    let known = &current.data["status"]["conditions"];
    let says_so = known.as_array().is_some_and(|list| {
        list.iter()
            .any(|one| one["type"] == conditions::READY && one["message"] == message.as_str())
    });
    if says_so {
        return Ok(());
    }
    let now = Timestamp::now();
    let mut sayings = Vec::new();
    for type_ in [conditions::ACCEPTED, conditions::READY] {
        conditions::set(
            &mut sayings,
            Saying::no(type_, reason::INVALID, message.as_str()),
            *generation,
            now,
        );
    }
    let patch = json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        "status": {"observedGeneration": generation, "conditions": sayings},
    });
    api.patch_status(&name.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch))
        .await?;
    Ok(())
}
