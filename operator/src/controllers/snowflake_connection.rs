//! SnowflakeConnection: is it valid, is its key there, does Snowflake take it; and no user of ours is left when it goes.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crds::conditions::{self, Saying, reason};
use crds::snowflake_connection::CredentialMode;
use crds::{SnowflakeConnection, SnowflakeConnectionStatus, annotations, check};
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::Controller;
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event, finalizer};
use kube::{Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::{Context, Error, all, apply_status, drive};
use crate::broker;
use crate::directory::Name;
use crate::objects::{self, Source, SourceKind};
use crate::proxies::sessions;

/// Held while Snowflake may have users of the connection.
pub const FINALIZER: &str = "frostgate.dev/users";
/// How long a login that worked is believed.
const BELIEVED: Duration = Duration::from_secs(10 * 60);
/// How soon something that is missing is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A login that was tried.
#[derive(Clone, Debug)]
pub struct Tried {
    generation: Option<i64>,
    key: Vec<u8>,
    at: Instant,
    result: Result<(), broker::Error>,
}

/// Runs the controller until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let api = Api::<DeserializeGuard<SnowflakeConnection>>::all(context.client.clone());
    drive(Controller::new(api, all()), "SnowflakeConnection", context, stop, |object, context| {
        reconcile(object, context)
    })
    .await;
}

async fn reconcile(
    object: Arc<DeserializeGuard<SnowflakeConnection>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    // One that cannot be read admits no pod already; the schema keeps it from coming about.
    let Ok(connection) = &object.0 else { return Ok(Action::await_change()) };
    let namespace = connection.namespace().unwrap_or_default();
    let api = Api::<SnowflakeConnection>::namespaced(context.client.clone(), &namespace);
    let makes_users = connection.spec.credentials.mode == CredentialMode::EphemeralUser;
    let held = connection.finalizers().iter().any(|held| held == FINALIZER);
    if !makes_users && !held {
        return if connection.metadata.deletion_timestamp.is_none() {
            apply(connection, &context).await
        } else {
            Ok(Action::await_change())
        };
    }
    finalizer(&api, FINALIZER, Arc::new(connection.clone()), |event| async {
        match event {
            Event::Apply(connection) => apply(&connection, &context).await,
            Event::Cleanup(connection) => cleanup(&connection, &context).await,
        }
    })
    .await
    .map_err(|error| match error {
        kube::runtime::finalizer::Error::ApplyFailed(error)
        | kube::runtime::finalizer::Error::CleanupFailed(error) => error,
        kube::runtime::finalizer::Error::AddFinalizer(error)
        | kube::runtime::finalizer::Error::RemoveFinalizer(error) => error.into(),
        other => Error::Snowflake(other.to_string()),
    })
}

async fn apply(connection: &SnowflakeConnection, context: &Context) -> Result<Action, Error> {
    let problems = check::connection(connection);
    let key = match (problems.is_empty(), connection.spec.private_key_ref()) {
        (true, Some(reference)) => {
            let source = Source {
                kind: SourceKind::Secret,
                namespace: connection.namespace().unwrap_or_default(),
                name: reference.name.clone(),
                key: reference.key.clone(),
            };
            Some(context.parts.objects.value(&source).await)
        }
        _ => None,
    };
    let login = match &key {
        Some(Ok(key)) => Some(login(connection, key, context).await),
        _ => None,
    };
    let seen =
        Seen { problems: check::listed(&problems), key: key.map(|key| key.map(|_| ())), login };
    let status = seen.status(connection, Timestamp::now());
    let ready =
        conditions::holds(&status.conditions, conditions::READY, connection.meta().generation);
    apply_status(&context.client, connection, connection.status.as_ref(), &status).await?;
    Ok(Action::requeue(if ready { BELIEVED } else { LOOK_AGAIN }))
}

/// Tries the login, unless this very key worked for this very spec a moment ago.
async fn login(
    connection: &SnowflakeConnection,
    key: &[u8],
    context: &Context,
) -> Result<(), broker::Error> {
    use sha2::{Digest, Sha256};
    let name = Name::of(connection);
    let (generation, key) = (connection.meta().generation, Sha256::digest(key).to_vec());
    let tried = context.logins.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
    if let Some(tried) = tried
        && tried.generation == generation
        && tried.key == key
        && tried.at.elapsed() < if tried.result.is_ok() { BELIEVED } else { LOOK_AGAIN / 2 }
    {
        return tried.result;
    }
    let result = context.parts.broker.check(connection).await;
    let tried = Tried { generation, key, at: Instant::now(), result: result.clone() };
    context.logins.lock().unwrap_or_else(PoisonError::into_inner).insert(name, tried);
    result
}

/// Drops every user that was made through the connection.
async fn cleanup(connection: &SnowflakeConnection, context: &Context) -> Result<Action, Error> {
    let name = Name::of(connection);
    context.logins.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
    if connection.annotations().get(annotations::ORPHAN).is_some_and(|value| value == "true") {
        tracing::warn!(connection = %name, "let go as an orphan: users may be left in Snowflake");
        return Ok(Action::await_change());
    }
    let left = |error: broker::Error| {
        Error::Snowflake(format!(
            "{error}; if the account is gone for good: kubectl annotate snowflakeconnection {} -n {} {}=true",
            name.name,
            name.namespace,
            annotations::ORPHAN
        ))
    };
    // Sessions first: each drops its own user, and says so in the ledger.
    let drained = sessions::drain(&context.parts, &name.to_string()).await;
    let users = match context.parts.broker.users(connection).await {
        Ok(users) => users,
        Err(error) => {
            deleting(connection, context, &left(error.clone()).to_string()).await;
            return Err(left(error));
        }
    };
    for user in users {
        context.parts.broker.retire(connection, &user.name).await.map_err(left)?;
    }
    if drained {
        Ok(Action::await_change())
    } else {
        Err(Error::Snowflake("sessions of the connection are still being closed".to_owned()))
    }
}

/// Says on the object why it does not go.
async fn deleting(connection: &SnowflakeConnection, context: &Context, why: &str) {
    let mut status = connection.status.clone().unwrap_or_default();
    conditions::set(
        &mut status.conditions,
        Saying::no(conditions::READY, reason::DELETING, why),
        connection.meta().generation,
        Timestamp::now(),
    );
    let before = connection.status.as_ref();
    if let Err(error) = apply_status(&context.client, connection, before, &status).await {
        tracing::warn!(%error, "status not written");
    }
}

/// What was found out about a connection.
struct Seen {
    problems: String,
    key: Option<Result<(), objects::Error>>,
    login: Option<Result<(), broker::Error>>,
}

impl Seen {
    /// Pure: what it means.
    fn status(
        &self,
        connection: &SnowflakeConnection,
        now: Timestamp,
    ) -> SnowflakeConnectionStatus {
        let generation = connection.meta().generation;
        let before = connection.status.clone().unwrap_or_default();
        let was_ready = conditions::holds(&before.conditions, conditions::READY, generation);
        let mut conditions = before.conditions;
        let [accepted, resolved, credentials] = self.sayings();
        let ready = match (&accepted, &resolved, &credentials) {
            (no @ Saying { status: Some(false), .. }, ..)
            | (_, no @ Saying { status: Some(false), .. }, _)
            | (.., no @ Saying { status: Some(false), .. }) => {
                Saying::no(conditions::READY, no.reason, no.message.clone())
            }
            // An account that does not answer at the moment must not keep pods from starting; one that never did
            // is more likely misspelt.
            (.., unknown @ Saying { status: None, .. }) if !was_ready => {
                Saying::no(conditions::READY, unknown.reason, unknown.message.clone())
            }
            _ if connection.spec.suspend => Saying::yes(
                conditions::READY,
                reason::SUSPENDED,
                "suspended: pods start, statements are refused",
            ),
            _ => Saying::yes(conditions::READY, reason::ALL_CHECKS_PASSED, "pods may attach"),
        };
        for saying in [accepted, resolved, credentials, ready] {
            conditions::set(&mut conditions, saying, generation, now);
        }
        SnowflakeConnectionStatus { observed_generation: generation, conditions }
    }

    fn sayings(&self) -> [Saying; 3] {
        use conditions::{ACCEPTED, CREDENTIALS_READY, RESOLVED_REFS};
        let accepted = if self.problems.is_empty() {
            Saying::yes(ACCEPTED, reason::VALID, "the spec is valid")
        } else {
            Saying::no(ACCEPTED, reason::INVALID, self.problems.clone())
        };
        let resolved = match &self.key {
            Some(Ok(())) => Saying::yes(RESOLVED_REFS, reason::RESOLVED, "the key is there"),
            Some(Err(objects::Error::Missing(why))) => {
                Saying::no(RESOLVED_REFS, reason::NOT_FOUND, why.clone())
            }
            Some(Err(objects::Error::Refused(why))) => {
                Saying::no(RESOLVED_REFS, reason::FORBIDDEN, why.clone())
            }
            Some(Err(other)) => Saying::unknown(RESOLVED_REFS, reason::UNKNOWN, other.to_string()),
            None => Saying::unknown(RESOLVED_REFS, reason::UNKNOWN, "not looked for yet"),
        };
        let credentials = match &self.login {
            Some(Ok(())) => {
                Saying::yes(CREDENTIALS_READY, reason::LOGIN_ACCEPTED, "Snowflake took the key")
            }
            Some(Err(
                error @ (broker::Error::Unreachable(_) | broker::Error::NotUnderstood(_)),
            )) => Saying::unknown(CREDENTIALS_READY, reason::UNREACHABLE, error.to_string()),
            Some(Err(error)) => {
                Saying::no(CREDENTIALS_READY, reason::LOGIN_REFUSED, error.to_string())
            }
            None => Saying::unknown(CREDENTIALS_READY, reason::UNKNOWN, "not tried yet"),
        };
        [accepted, resolved, credentials]
    }
}

#[cfg(test)]
mod tests;
