//! Which connection and which policies hold for which workload: in memory, pure, watchable.
//!
//! ```text
//! SnowflakeConnection --+
//! AccessPolicy ---------+--> Directory --> Snapshot: attach(pod) -> connection + documents
//! Namespace labels -----+
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crds::annotations;
use crds::conditions;
use crds::lower::{self, Pod};
use crds::snowflake_connection::NamespacesFrom;
use crds::{AccessPolicy, SnowflakeConnection};
use kube::ResourceExt;
use tokio::sync::watch;

/// Labels or annotations.
pub type Map = BTreeMap<String, String>;

/// `namespace/name` of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Why a pod is not attached to a connection; the text is for the person who deploys it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAttached {
    /// The pod does not ask for one.
    #[error("the pod has no annotation {}", annotations::CONNECTION)]
    NotAsked,
    /// The annotation cannot be read.
    #[error(
        "annotation {key}: {0:?} is no connection: write name or namespace/name",
        key = annotations::CONNECTION
    )]
    Malformed(String),
    /// No such connection.
    #[error(
        "annotation {key}: there is no SnowflakeConnection {0}: create it, or correct the annotation",
        key = annotations::CONNECTION
    )]
    Missing(Name),
    /// The connection does not let this namespace attach.
    #[error(
        "annotation {key}: SnowflakeConnection {0} does not allow pods of namespace {1}: ask its owner to \
         widen spec.allowedWorkloads",
        key = annotations::CONNECTION
    )]
    NotAllowed(Name, String),
    /// The connection is not ready.
    #[error(
        "annotation {key}: SnowflakeConnection {0} is not ready: {1}",
        key = annotations::CONNECTION
    )]
    NotReady(Name, String),
}

/// What holds for one pod.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The connection.
    pub connection: Arc<SnowflakeConnection>,
    /// Its baseline and the AccessPolicies that select the pod.
    pub documents: Vec<policy::Document>,
    /// Why statements are refused at the moment, if they are.
    pub suspended: Option<String>,
}

/// Everything there is at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    connections: BTreeMap<Name, Arc<SnowflakeConnection>>,
    policies: BTreeMap<Name, Arc<AccessPolicy>>,
    /// Policies that exist but cannot be read: what they refuse is not known, so their namespace is.
    unreadable: BTreeMap<Name, String>,
    namespaces: BTreeMap<String, Map>,
}

/// The newest [`Snapshot`], and a tick at every change.
#[derive(Debug)]
pub struct Directory {
    snapshot: ArcSwap<Snapshot>,
    ticks: watch::Sender<u64>,
}

impl Name {
    /// From its parts.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Of an object.
    #[must_use]
    pub fn of<K: ResourceExt>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The connection that an annotation of a pod in `namespace` names.
///
/// # Errors
/// When there is no annotation or it cannot be read.
pub fn named(annotations: &Map, namespace: &str) -> Result<Name, NotAttached> {
    let written = annotations.get(annotations::CONNECTION).ok_or(NotAttached::NotAsked)?;
    let (namespace, name) = written.split_once('/').unwrap_or((namespace, written));
    let is_name = |text: &str| {
        !text.is_empty()
            && text.len() <= 63
            && text.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.'
            })
    };
    if is_name(namespace) && is_name(name) {
        Ok(Name::new(namespace, name))
    } else {
        Err(NotAttached::Malformed(written.clone()))
    }
}

impl Snapshot {
    /// The connection that a pod of `namespace` with `annotations` may attach to, ready or not.
    ///
    /// # Errors
    /// Why it is attached to none.
    pub fn allowed(
        &self,
        namespace: &str,
        annotations: &Map,
    ) -> Result<Arc<SnowflakeConnection>, NotAttached> {
        let name = named(annotations, namespace)?;
        let connection =
            self.connections.get(&name).ok_or_else(|| NotAttached::Missing(name.clone()))?;
        if self.allows(connection, &name, namespace) {
            Ok(Arc::clone(connection))
        } else {
            Err(NotAttached::NotAllowed(name, namespace.to_owned()))
        }
    }

    /// The connection that a new pod gets: allowed, and ready.
    ///
    /// # Errors
    /// Why the pod must not start.
    pub fn admit(
        &self,
        namespace: &str,
        annotations: &Map,
    ) -> Result<Arc<SnowflakeConnection>, NotAttached> {
        let connection = self.allowed(namespace, annotations)?;
        let name = Name::of(&*connection);
        if connection.metadata.deletion_timestamp.is_some() {
            return Err(NotAttached::NotReady(name, "it is being deleted".to_owned()));
        }
        let known = connection.status.as_ref().map(|status| &status.conditions);
        let ready = known.and_then(|conditions| conditions::find(conditions, conditions::READY));
        match ready {
            Some(ready)
                if ready.status == "True"
                    && ready.observed_generation == connection.metadata.generation =>
            {
                Ok(connection)
            }
            Some(ready) if ready.observed_generation == connection.metadata.generation => {
                Err(NotAttached::NotReady(name, ready.message.clone()))
            }
            _ => Err(NotAttached::NotReady(
                name,
                "the operator has not looked at it yet; try again in a moment".to_owned(),
            )),
        }
    }

    /// What holds for a pod that runs.
    ///
    /// # Errors
    /// Why it is attached to nothing.
    pub fn attach(&self, pod: Pod<'_>, annotations: &Map) -> Result<Attached, NotAttached> {
        let connection = self.allowed(pod.namespace, annotations)?;
        let name = Name::of(&*connection);
        let unreadable = self
            .unreadable
            .iter()
            .find(|(policy, _)| policy.namespace == pod.namespace)
            .map(|(policy, error)| format!("AccessPolicy {policy} cannot be read: {error}"));
        let suspended = connection
            .spec
            .suspend
            .then(|| format!("SnowflakeConnection {name} is suspended by an administrator"))
            .or(unreadable);
        let mut documents: Vec<policy::Document> =
            self.policies_for(&name).filter_map(|policy| lower::lower(policy, pod)).collect();
        // A baseline only narrows: without a policy of its own the pod has none.
        if !documents.is_empty() {
            documents.extend(lower::baseline(&connection));
        }
        Ok(Attached { connection, documents, suspended })
    }

    /// One connection.
    #[must_use]
    pub fn connection(&self, name: &Name) -> Option<&Arc<SnowflakeConnection>> {
        self.connections.get(name)
    }

    /// All connections.
    pub fn connections(&self) -> impl Iterator<Item = &Arc<SnowflakeConnection>> {
        self.connections.values()
    }

    /// The policies that speak of a connection.
    pub fn policies_for(&self, connection: &Name) -> impl Iterator<Item = &Arc<AccessPolicy>> {
        self.policies.values().filter(move |policy| connection_of(policy) == *connection)
    }

    /// Whether pods of `namespace` may attach to `connection`.
    #[must_use]
    pub fn allows(&self, connection: &SnowflakeConnection, name: &Name, namespace: &str) -> bool {
        let allowed = &connection.spec.allowed_workloads.namespaces;
        match allowed.from {
            NamespacesFrom::Same => name.namespace == namespace,
            NamespacesFrom::All => true,
            NamespacesFrom::Selector => allowed.selector.as_ref().is_some_and(|selector| {
                self.namespaces
                    .get(namespace)
                    .is_some_and(|labels| lower::matches(selector, labels))
            }),
        }
    }
}

/// The connection that a policy speaks of.
#[must_use]
pub fn connection_of(policy: &AccessPolicy) -> Name {
    let reference = &policy.spec.connection_ref;
    Name::new(
        reference.namespace.clone().or_else(|| policy.namespace()).unwrap_or_default(),
        reference.name.clone(),
    )
}

impl Default for Directory {
    fn default() -> Self {
        Self { snapshot: ArcSwap::default(), ticks: watch::Sender::new(0) }
    }
}

impl Directory {
    /// The newest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Ticks at every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    /// Learns of a connection.
    pub fn put_connection(&self, connection: SnowflakeConnection) {
        let connection = Arc::new(connection);
        self.change(|snapshot| {
            snapshot.connections.insert(Name::of(&*connection), Arc::clone(&connection));
        });
    }

    /// Forgets a connection.
    pub fn remove_connection(&self, name: &Name) {
        self.change(|snapshot| {
            snapshot.connections.remove(name);
        });
    }

    /// Learns of a policy.
    pub fn put_policy(&self, policy: AccessPolicy) {
        let policy = Arc::new(policy);
        self.change(|snapshot| {
            let name = Name::of(&*policy);
            snapshot.unreadable.remove(&name);
            snapshot.policies.insert(name, Arc::clone(&policy));
        });
    }

    /// Learns that a policy exists and cannot be read: the pods it could select are refused until it can.
    pub fn put_unreadable_policy(&self, name: &Name, error: &str) {
        self.change(|snapshot| {
            snapshot.policies.remove(name);
            snapshot.unreadable.insert(name.clone(), error.to_owned());
        });
    }

    /// Forgets a policy.
    pub fn remove_policy(&self, name: &Name) {
        self.change(|snapshot| {
            snapshot.policies.remove(name);
            snapshot.unreadable.remove(name);
        });
    }

    /// Learns of a namespace.
    pub fn put_namespace(&self, name: &str, labels: &Map) {
        self.change(|snapshot| {
            snapshot.namespaces.insert(name.to_owned(), labels.clone());
        });
    }

    /// Forgets a namespace.
    pub fn remove_namespace(&self, name: &str) {
        self.change(|snapshot| {
            snapshot.namespaces.remove(name);
        });
    }

    /// Learns of everything at once.
    pub fn replace(&self, connections: Vec<SnowflakeConnection>, policies: Vec<AccessPolicy>) {
        let connections: BTreeMap<_, _> =
            connections.into_iter().map(|one| (Name::of(&one), Arc::new(one))).collect();
        let policies: BTreeMap<_, _> =
            policies.into_iter().map(|one| (Name::of(&one), Arc::new(one))).collect();
        self.change(|snapshot| {
            snapshot.connections.clone_from(&connections);
            snapshot.policies.clone_from(&policies);
            snapshot.unreadable.clear();
        });
    }

    /// Forgets what is not among the names, after a full read.
    pub fn keep(&self, kind: Kind, names: &[Name]) {
        self.change(|snapshot| match kind {
            Kind::Connection => snapshot.connections.retain(|name, _| names.contains(name)),
            Kind::Policy => {
                snapshot.policies.retain(|name, _| names.contains(name));
                snapshot.unreadable.retain(|name, _| names.contains(name));
            }
            Kind::Namespace => {
                snapshot.namespaces.retain(|name, _| names.iter().any(|kept| kept.name == *name));
            }
        });
    }

    fn change(&self, change: impl Fn(&mut Snapshot)) {
        self.snapshot.rcu(|snapshot| {
            let mut next = Snapshot::clone(snapshot);
            change(&mut next);
            next
        });
        self.ticks.send_modify(|tick| *tick += 1);
    }
}

/// What the directory knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SnowflakeConnections.
    Connection,
    /// AccessPolicies.
    Policy,
    /// Namespaces.
    Namespace,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn connection(namespace: &str, name: &str, from: serde_json::Value) -> SnowflakeConnection {
        let mut object = json!({
            "apiVersion": "frostgate.dev/v1alpha1", "kind": "SnowflakeConnection",
            "metadata": {"namespace": namespace, "name": name, "generation": 2},
            "spec": {
                "account": "myorg-analytics", "allowedRoles": ["ANALYST"],
                "credentials": {"mode": "KeyPair", "keyPair": {"user": "SVC", "privateKeyRef": {"name": "key"}}},
                "baseline": {"denyStatements": ["Grant"]},
            },
            "status": {"conditions": [{
                "type": "Ready", "status": "True", "reason": "AllChecksPassed", "message": "",
                "observedGeneration": 2, "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        });
        object["spec"]["allowedWorkloads"]["namespaces"] = from;
        serde_json::from_value(object).unwrap()
    }

    fn policy(namespace: &str, name: &str, subjects: serde_json::Value) -> AccessPolicy {
        let mut object = json!({
            "apiVersion": "frostgate.dev/v1alpha1", "kind": "AccessPolicy",
            "metadata": {"namespace": namespace, "name": name, "generation": 1},
            "spec": {
                "connectionRef": {"name": "prod", "namespace": "data"},
                "statements": {"allow": ["Select"]},
            },
        });
        object["spec"]["subjects"] = subjects;
        serde_json::from_value(object).unwrap()
    }

    fn asks(connection: &str) -> Map {
        Map::from([(annotations::CONNECTION.to_owned(), connection.to_owned())])
    }

    #[test]
    fn who_may_attach_is_said_by_the_connection() {
        let directory = Directory::default();
        directory.put_namespace("agents", &Map::from([("tier".into(), "agents".into())]));
        directory.put_namespace("web", &Map::new());
        directory.put_connection(connection("data", "same", json!({"from": "Same"})));
        directory.put_connection(connection("data", "all", json!({"from": "All"})));
        let selector = json!({"from": "Selector", "selector": {"matchLabels": {"tier": "agents"}}});
        directory.put_connection(connection("data", "some", selector));
        let snapshot = directory.snapshot();
        for (namespace, annotation, outcome) in [
            ("data", "same", "ok"),
            ("agents", "data/same", "not allowed"),
            ("agents", "same", "missing"),
            ("agents", "data/all", "ok"),
            ("agents", "data/some", "ok"),
            ("web", "data/some", "not allowed"),
            ("unknown", "data/some", "not allowed"),
            ("agents", "data/other", "missing"),
            ("agents", "", "malformed"),
            ("agents", "data/", "malformed"),
            ("agents", "a/b/c", "malformed"),
            ("agents", "Data/all", "malformed"),
        ] {
            let got = match snapshot.admit(namespace, &asks(annotation)) {
                Ok(_) => "ok",
                Err(NotAttached::NotAllowed(..)) => "not allowed",
                Err(NotAttached::Missing(_)) => "missing",
                Err(NotAttached::Malformed(_)) => "malformed",
                Err(other) => panic!("{other}"),
            };
            assert_eq!(got, outcome, "{namespace} asks {annotation:?}");
        }
        assert_eq!(snapshot.admit("data", &Map::new()).unwrap_err(), NotAttached::NotAsked);
    }

    #[test]
    fn a_connection_that_changed_since_it_was_ready_admits_nobody_new() {
        let directory = Directory::default();
        let mut changed = connection("data", "prod", json!({"from": "All"}));
        changed.metadata.generation = Some(3);
        directory.put_connection(changed);
        let refused = directory.snapshot().admit("agents", &asks("data/prod")).unwrap_err();
        assert!(matches!(refused, NotAttached::NotReady(..)), "{refused}");
    }

    #[test]
    fn a_pod_gets_the_baseline_and_the_policies_of_its_namespace_that_select_it() {
        let directory = Directory::default();
        directory.put_connection(connection("data", "prod", json!({"from": "All"})));
        directory.put_policy(policy("agents", "everybody", json!([{}])));
        directory.put_policy(policy("agents", "bots", json!([{"serviceAccounts": ["bot"]}])));
        directory.put_policy(policy(
            "agents",
            "labelled",
            json!([{"podSelector": {"matchLabels": {"app": "x"}}, "groups": ["leads"]}]),
        ));
        directory.put_policy(policy("third", "elsewhere", json!([{}])));
        let labels = Map::new();
        let alone = Pod { namespace: "other", service_account: "default", labels: &labels };
        assert_eq!(directory.snapshot().attach(alone, &asks("data/prod")).unwrap().documents, []);
        let names = |service_account: &str, labels: &Map| {
            let pod = Pod { namespace: "agents", service_account, labels };
            let attached = directory.snapshot().attach(pod, &asks("data/prod")).unwrap();
            attached.documents.into_iter().map(|one| one.name).collect::<Vec<_>>()
        };
        assert_eq!(names("default", &Map::new()), ["agents/everybody", "data/prod#baseline"]);
        assert_eq!(
            names("bot", &Map::from([("app".into(), "x".into())])),
            ["agents/bots", "agents/everybody", "agents/labelled", "data/prod#baseline"]
        );
    }

    #[test]
    fn a_policy_that_cannot_be_read_suspends_its_namespace() {
        let directory = Directory::default();
        directory.put_connection(connection("data", "prod", json!({"from": "All"})));
        directory.put_unreadable_policy(&Name::new("agents", "broken"), "missing field");
        let labels = Map::new();
        let suspended = |namespace| {
            let pod = Pod { namespace, service_account: "default", labels: &labels };
            directory.snapshot().attach(pod, &asks("data/prod")).unwrap().suspended
        };
        assert!(suspended("agents").is_some_and(|why| why.contains("agents/broken")));
        assert_eq!(suspended("other"), None);
        directory.put_policy(policy("agents", "broken", json!([{}])));
        assert_eq!(suspended("agents"), None);
    }

    #[test]
    fn every_change_ticks() {
        let directory = Directory::default();
        let mut changes = directory.changes();
        changes.mark_unchanged();
        directory.put_connection(connection("data", "prod", json!({"from": "All"})));
        assert!(changes.has_changed().unwrap());
    }
}
