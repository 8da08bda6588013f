//! Starts the three controllers while this replica leads; what they share: context, errors, the way to write status.
//!
//! Each reconcile reads what is there, computes what to say about it without doing anything, and writes only what
//! changed: a status that is written anew at every turn would start the next one.

pub mod access_policy;
pub mod approval_request;
pub mod snowflake_connection;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{Api, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::controller::{Action, Config as Settings};
use kube::runtime::{Controller, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::announce::MANAGER;
use crate::config::Config;
use crate::directory::{Directory, Name};
use crate::proxies::Parts;
use crate::telemetry::{KindLabel, Metrics};

/// What every reconcile works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What is known of connections, policies and namespaces.
    pub directory: Arc<Directory>,
    /// Snowflake and the sessions.
    pub parts: Arc<Parts>,
    /// Settings.
    pub config: Config,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// How often in a row each object failed.
    failures: Mutex<HashMap<Name, u32>>,
    /// Logins that were tried, so that writing a status does not log in again.
    logins: Mutex<HashMap<Name, snowflake_connection::Tried>>,
}

/// Why a reconcile did not come to its end; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not do as asked.
    #[error("the API server: {0}")]
    Api(#[source] Box<kube::Error>),
    /// Snowflake still has what must go.
    #[error("snowflake is not cleaned yet: {0}")]
    Snowflake(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

impl Context {
    /// Over the parts of the operator.
    #[must_use]
    pub fn new(
        client: Client,
        directory: Arc<Directory>,
        parts: Arc<Parts>,
        config: Config,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            directory,
            parts,
            config,
            metrics,
            failures: Mutex::default(),
            logins: Mutex::default(),
        })
    }

    /// 1 s, 2 s, 4 s ... 5 min, by how often in a row the object failed.
    fn backoff(&self, name: Name) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(name).or_default();
        *count += 1;
        Duration::from_secs(2_u64.saturating_pow((*count).min(9) - 1).min(300))
    }

    fn succeeded(&self, name: &Name) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// Runs the three until `stop`; what is under way comes to its end.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    tokio::join!(
        snowflake_connection::run(context.clone(), stop.clone()),
        access_policy::run(context.clone(), stop.clone()),
        approval_request::run(context, stop),
    );
}

/// Runs a controller whose work is `reconcile`.
async fn drive<K, F>(
    controller: Controller<K>,
    kind: &'static str,
    context: Arc<Context>,
    stop: CancellationToken,
    reconcile: impl Fn(Arc<K>, Arc<Context>) -> F + Clone + Send + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let label = KindLabel { kind };
    let reconcile = move |object: Arc<K>, context: Arc<Context>| {
        let work = reconcile(object.clone(), context.clone());
        async move {
            let start = Instant::now();
            let result = work.await;
            context.metrics.reconciles.get_or_create(&label).inc();
            let seconds = context.metrics.reconcile_seconds.get_or_create(&label);
            seconds.observe(start.elapsed().as_secs_f64());
            if result.is_ok() {
                context.succeeded(&Name::of(&*object));
            }
            result
        }
    };
    let failed = move |object: Arc<K>, error: &Error, context: Arc<Context>| {
        let name = Name::of(&*object);
        tracing::warn!(kind, object = %name, %error, "reconcile failed");
        context.metrics.reconcile_errors.get_or_create(&label).inc();
        Action::requeue(context.backoff(name))
    };
    controller
        .with_config(Settings::default().concurrency(8).debounce(Duration::from_millis(100)))
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(reconcile, failed, context)
        .for_each(|_| std::future::ready(()))
        .await;
}

fn all() -> watcher::Config {
    watcher::Config::default().any_semantic()
}

/// Writes `status` by server-side apply, if it differs from what is there.
async fn apply_status<K, S>(
    client: &Client,
    object: &K,
    before: Option<&S>,
    status: &S,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug,
    S: Serialize + PartialEq,
{
    if before == Some(status) {
        return Ok(());
    }
    let api = Api::<K>::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": status,
    });
    api.patch_status(
        &object.name_any(),
        &PatchParams::apply(MANAGER).force(),
        &Patch::Apply(patch),
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
