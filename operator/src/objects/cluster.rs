//! The objects as the API server has them.
//!
//! Connections, policies and namespaces are watched into the [`Directory`]; pods, Secrets and requests are read when
//! they are asked for, because the answer must be the newest there is.

use std::sync::Arc;

use async_trait::async_trait;
use control::{AUDIENCE, Workload};
use crds::lower::Pod as PodFacts;
use crds::{AccessPolicy, ApprovalRequest, SnowflakeConnection, annotations};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use k8s_openapi::api::authentication::v1::{
    TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo,
};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, PostParams};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_kind};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{Attachment, Error, Objects, Source, SourceKind};
use crate::directory::{Directory, Kind, Name, NotAttached};
use crate::sidecar;
use crate::webhooks::decide::Rights;

/// How long after its grace period a pod that is still listed is taken for gone: its node vanished.
const GONE_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// The API server.
pub struct Cluster {
    client: Client,
    directory: Arc<Directory>,
    /// Digests that the sidecar's image may have.
    digests: Vec<String>,
    read: [watch::Sender<bool>; 3],
}

impl Cluster {
    /// Over `client`; sidecars must run an image with one of the `digests`.
    #[must_use]
    pub fn new(client: Client, directory: Arc<Directory>, digests: Vec<String>) -> Arc<Self> {
        let read = std::array::from_fn(|_| watch::Sender::new(false));
        Arc::new(Self { client, directory, digests, read })
    }

    /// Whether everything was read once.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.read.iter().all(|read| *read.borrow())
    }

    /// Keeps the directory up to date; ends with the process only.
    pub async fn watch(&self) {
        let config = watcher::Config::default();
        let connections = watch_kind(
            Api::<DeserializeGuard<SnowflakeConnection>>::all(self.client.clone()),
            config.clone(),
        );
        let policies = watch_kind(
            Api::<DeserializeGuard<AccessPolicy>>::all(self.client.clone()),
            config.clone(),
        );
        let namespaces =
            watch_kind(Api::<PartialObjectMeta<Namespace>>::all(self.client.clone()), config);
        tokio::join!(
            self.follow(Kind::Connection, connections, |directory, connection| {
                match connection.0 {
                    Ok(connection) => directory.put_connection(connection),
                    // A connection that cannot be read is none: its pods are refused.
                    Err(invalid) => {
                        let name = Name::new(
                            invalid.metadata.namespace.unwrap_or_default(),
                            invalid.metadata.name.unwrap_or_default(),
                        );
                        tracing::warn!(connection = %name, error = invalid.error, "connection cannot be read");
                        directory.remove_connection(&name);
                    }
                }
            }),
            self.follow(Kind::Policy, policies, |directory, policy| match policy.0 {
                Ok(policy) => directory.put_policy(policy),
                Err(invalid) => {
                    let name = Name::new(
                        invalid.metadata.namespace.unwrap_or_default(),
                        invalid.metadata.name.unwrap_or_default(),
                    );
                    tracing::warn!(policy = %name, error = invalid.error, "policy cannot be read");
                    directory.put_unreadable_policy(&name, &invalid.error);
                }
            }),
            self.follow(
                Kind::Namespace,
                namespaces,
                |directory, namespace: PartialObjectMeta<Namespace>| {
                    directory.put_namespace(&namespace.name_any(), namespace.labels());
                }
            ),
        );
    }

    async fn follow<K: ResourceExt>(
        &self,
        kind: Kind,
        stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
        put: impl Fn(&Directory, K),
    ) {
        let mut stream = std::pin::pin!(stream.default_backoff());
        let mut listed = Vec::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    listed.push(Name::of(&object));
                    put(&self.directory, object);
                }
                Ok(Event::InitDone) => {
                    self.directory.keep(kind, &listed);
                    self.read[kind as usize].send_replace(true);
                }
                Ok(Event::Apply(object)) => put(&self.directory, object),
                Ok(Event::Delete(object)) => {
                    let name = Name::of(&object);
                    match kind {
                        Kind::Connection => self.directory.remove_connection(&name),
                        Kind::Policy => self.directory.remove_policy(&name),
                        Kind::Namespace => self.directory.remove_namespace(&name.name),
                    }
                }
                Err(error) => tracing::warn!(?kind, %error, "watch interrupted"),
            }
        }
    }

    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, Error> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(|error| unavailable("the pod cannot be read", &error))
    }

    /// What the API server says of a token, for these audiences or for its own.
    async fn review(
        &self,
        token: &str,
        audiences: Option<Vec<String>>,
    ) -> Result<TokenReviewStatus, Error> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences },
            ..Default::default()
        };
        let review = Api::<TokenReview>::all(self.client.clone())
            .create(&PostParams::default(), &review)
            .await
            .map_err(|error| unavailable("the token cannot be checked", &error))?;
        Ok(review.status.unwrap_or_default())
    }

    /// The pod with this UID, if it is still there.
    async fn same_pod(&self, workload: &Workload) -> Result<Option<Pod>, Error> {
        let pod = self.pod(&workload.namespace, &workload.pod).await?;
        Ok(pod.filter(|pod| pod.uid().as_deref() == Some(workload.pod_uid.as_str())))
    }
}

#[async_trait]
impl Objects for Cluster {
    async fn authenticate(&self, token: &str) -> Result<Workload, Error> {
        let review = self.review(token, Some(vec![AUDIENCE.to_owned()])).await?;
        let bearer = Bearer::of(review, Some(AUDIENCE))?;
        let pod = self.pod(&bearer.namespace, &bearer.pod).await?;
        let pod = pod.ok_or_else(|| Error::Refused("the token's pod is gone".to_owned()))?;
        bearer.check(&pod, &self.digests)?;
        Ok(bearer.workload(&pod))
    }

    async fn is_own(&self, token: &str, workload: &Workload) -> Result<bool, Error> {
        let bearer = Bearer::of(self.review(token, None).await?, None);
        Ok(bearer.is_ok_and(|bearer| bearer.pod_uid == workload.pod_uid))
    }

    async fn lives(&self, workload: &Workload) -> Result<bool, Error> {
        let pod = self.same_pod(workload).await?;
        Ok(pod.is_some_and(|pod| lives(&pod, Timestamp::now())))
    }

    async fn attachment(&self, workload: &Workload) -> Result<Attachment, Error> {
        if !self.ready() {
            return Err(Error::Unavailable("the operator is still starting".to_owned()));
        }
        let pod = self.same_pod(workload).await?;
        let pod = pod.ok_or_else(|| Error::Missing("the pod is gone".to_owned()))?;
        let facts = PodFacts {
            namespace: &workload.namespace,
            service_account: &workload.service_account,
            labels: pod.labels(),
        };
        let attached = self.directory.snapshot().attach(facts, pod.annotations());
        let attached = attached.map_err(|error| match error {
            NotAttached::NotAllowed(..) | NotAttached::NotReady(..) => {
                Error::Refused(error.to_string())
            }
            _ => Error::Missing(error.to_string()),
        })?;
        Ok(Attachment {
            connection: attached.connection,
            documents: attached.documents,
            suspended: attached.suspended,
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.directory.changes()
    }

    async fn connections(&self) -> Result<Vec<Arc<SnowflakeConnection>>, Error> {
        if self.ready() {
            Ok(self.directory.snapshot().connections().cloned().collect())
        } else {
            Err(Error::Unavailable("the operator is still starting".to_owned()))
        }
    }

    async fn value(&self, source: &Source) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (namespace, name) = (&source.namespace, &source.name);
        let missing = || Error::Missing(format!("there is no {source}"));
        match source.kind {
            SourceKind::Secret => {
                let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
                let secret = api.get_opt(name).await.map_err(|error| unreadable(source, &error))?;
                let data = secret.and_then(|secret| secret.data).unwrap_or_default();
                let value = data.get(&source.key).ok_or_else(missing)?;
                Ok(Zeroizing::new(value.0.clone()))
            }
            SourceKind::ConfigMap => {
                let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
                let map = api.get_opt(name).await.map_err(|error| unreadable(source, &error))?;
                let data = map.and_then(|map| map.data).unwrap_or_default();
                let value = data.get(&source.key).ok_or_else(missing)?;
                Ok(Zeroizing::new(value.clone().into_bytes()))
            }
        }
    }

    async fn create_request(&self, request: ApprovalRequest) -> Result<ApprovalRequest, Error> {
        let namespace = request.namespace().unwrap_or_default();
        let name = request.name_any();
        let api = Api::<ApprovalRequest>::namespaced(self.client.clone(), &namespace);
        match api.create(&PostParams::default(), &request).await {
            Ok(created) => Ok(created),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let existing = self.request(&namespace, &name).await?;
                existing
                    .ok_or_else(|| Error::Conflict(format!("ApprovalRequest {namespace}/{name}")))
            }
            Err(kube::Error::Api(status))
                if (400..500).contains(&status.code) && status.code != 429 =>
            {
                Err(Error::Refused(format!("the request was not taken: {}", status.message)))
            }
            Err(error) => Err(unavailable("the request cannot be made", &error)),
        }
    }

    async fn request(&self, namespace: &str, name: &str) -> Result<Option<ApprovalRequest>, Error> {
        let api = Api::<ApprovalRequest>::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(|error| unavailable("the request cannot be read", &error))
    }

    async fn write_status(&self, request: &ApprovalRequest) -> Result<ApprovalRequest, Error> {
        let (namespace, name) = (request.namespace().unwrap_or_default(), request.name_any());
        let api = Api::<ApprovalRequest>::namespaced(self.client.clone(), &namespace);
        // The resource version in it makes this a conflict when somebody decided meanwhile.
        match api.replace_status(&name, &PostParams::default(), request).await {
            Ok(written) => Ok(written),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                Err(Error::Conflict(format!("ApprovalRequest {namespace}/{name}")))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                Err(Error::Missing(format!("there is no ApprovalRequest {namespace}/{name}")))
            }
            Err(error) => Err(unavailable("the request cannot be written", &error)),
        }
    }

    fn requests(&self) -> BoxStream<'static, ApprovalRequest> {
        let api = Api::<ApprovalRequest>::all(self.client.clone());
        watch_kind(api, watcher::Config::default())
            .default_backoff()
            .applied_objects()
            .filter_map(|request| async {
                request
                    .inspect_err(|error| tracing::warn!(%error, "watch of requests interrupted"))
                    .ok()
            })
            .boxed()
    }
}

#[async_trait]
impl Rights for Cluster {
    async fn may_approve(
        &self,
        user: &UserInfo,
        namespace: &str,
        policy: &str,
    ) -> Result<bool, String> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username.clone(),
                uid: user.uid.clone(),
                groups: user.groups.clone(),
                extra: user.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(crds::GROUP.to_owned()),
                    resource: Some("accesspolicies".to_owned()),
                    verb: Some("approve".to_owned()),
                    namespace: Some(namespace.to_owned()),
                    name: Some(policy.to_owned()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        Api::<SubjectAccessReview>::all(self.client.clone())
            .create(&PostParams::default(), &review)
            .await
            .map(|review| review.status.is_some_and(|status| status.allowed))
            .map_err(|error| format!("whether you may approve could not be found out: {error}"))
    }
}

/// Whose token it is, as the API server says.
#[derive(Debug)]
struct Bearer {
    namespace: String,
    service_account: String,
    pod: String,
    pod_uid: String,
}

impl Bearer {
    /// Reads a review; with `expected`, of a token that is meant for this audience and not for the API server.
    fn of(status: TokenReviewStatus, expected: Option<&str>) -> Result<Self, Error> {
        let refused = |why: &str| Error::Refused(format!("the token is not valid: {why}"));
        if status.authenticated != Some(true) {
            return Err(refused("the cluster does not know it"));
        }
        // An API server that does not know audiences leaves this empty; then the token proves nothing here.
        let audiences = status.audiences.unwrap_or_default();
        if expected.is_some_and(|expected| audiences.iter().all(|audience| audience != expected)) {
            return Err(refused("it is for another audience"));
        }
        let user = status.user.unwrap_or_default();
        let username = user.username.unwrap_or_default();
        let account = username.strip_prefix("system:serviceaccount:");
        let Some((namespace, service_account)) = account.and_then(|rest| rest.split_once(':'))
        else {
            return Err(refused("it belongs to no ServiceAccount"));
        };
        let extra = user.extra.unwrap_or_default();
        let bound = |key: &str| {
            extra
                .get(&format!("authentication.kubernetes.io/{key}"))
                .and_then(|values| values.first())
                .cloned()
                .ok_or_else(|| refused("it is bound to no pod"))
        };
        Ok(Self {
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            pod: bound("pod-name")?,
            pod_uid: bound("pod-uid")?,
        })
    }

    /// The live pod is the token's, and its sidecar is ours.
    fn check(&self, pod: &Pod, digests: &[String]) -> Result<(), Error> {
        let refused = |why: &str| Err(Error::Refused(why.to_owned()));
        if pod.uid().as_deref() != Some(self.pod_uid.as_str()) {
            return refused("the token's pod is gone");
        }
        let status = pod.status.clone().unwrap_or_default();
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return refused("the pod has ended");
        }
        if !pod.annotations().contains_key(annotations::CONNECTION) {
            return refused("the pod names no connection");
        }
        let spec = pod.spec.clone().unwrap_or_default();
        if spec.ephemeral_containers.is_some_and(|containers| !containers.is_empty()) {
            return refused("the pod has ephemeral containers");
        }
        let first = spec.init_containers.unwrap_or_default().into_iter().next();
        let image = first
            .filter(|container| container.name == sidecar::CONTAINER)
            .and_then(|container| container.image)
            .unwrap_or_default();
        if !is_among(&image, digests) {
            return refused(
                "the pod's sidecar is not the one this operator injects: restart the pod, or list the \
                 digest of its image in the operator's --proxy-digests",
            );
        }
        let running = status
            .init_container_statuses
            .unwrap_or_default()
            .into_iter()
            .find(|status| status.name == sidecar::CONTAINER)
            .map(|status| status.image_id)
            .unwrap_or_default();
        if running.is_empty() {
            return Err(Error::Unavailable("the node has not reported the sidecar yet".to_owned()));
        }
        // Only the digest: the repository part of what a node reports can be chosen by others.
        if !is_among(&running, digests) {
            return refused(
                "the node runs another image than the one this operator injects: list the digest it \
                 reports in the operator's --proxy-digests if it is a form of the same image",
            );
        }
        Ok(())
    }

    fn workload(self, pod: &Pod) -> Workload {
        let (kind, name) = owner(pod);
        Workload {
            kind,
            name,
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            namespace: self.namespace,
            pod: self.pod,
            pod_uid: self.pod_uid,
            service_account: self.service_account,
        }
    }
}

/// The digest in `repository@sha256:...` or `sha256:...` is one of those.
fn is_among(image: &str, digests: &[String]) -> bool {
    let digest = image.rsplit_once('@').map_or(image, |(_, digest)| digest);
    digests.iter().any(|known| known == digest)
}

/// The owner at the top, as far as the pod itself tells: a ReplicaSet made by a Deployment is named
/// `<deployment>-<pod-template-hash>`.
fn owner(pod: &Pod) -> (String, String) {
    let controller = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    let Some(owner) = controller else { return ("Pod".to_owned(), pod.name_any()) };
    let hash = pod.labels().get("pod-template-hash");
    match hash.and_then(|hash| owner.name.strip_suffix(&format!("-{hash}"))) {
        Some(deployment) if owner.kind == "ReplicaSet" => {
            ("Deployment".to_owned(), deployment.to_owned())
        }
        _ => (owner.kind.clone(), owner.name.clone()),
    }
}

/// Whether the pod still runs. One that should have ended half a minute ago does not: its node vanished.
fn lives(pod: &Pod, now: Timestamp) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let ended = matches!(phase, Some("Succeeded" | "Failed"));
    let overdue = pod
        .metadata
        .deletion_timestamp
        .as_ref()
        .is_some_and(|deadline| now.duration_since(deadline.0) > GONE_AFTER);
    !ended && !overdue
}

fn unavailable(what: &str, error: &kube::Error) -> Error {
    tracing::warn!(%error, "{what}");
    Error::Unavailable(format!("{what}: the API server does not answer as it should"))
}

fn unreadable(source: &Source, error: &kube::Error) -> Error {
    match error {
        kube::Error::Api(status) if status.code == 403 => Error::Refused(format!(
            "the operator may not read {source}: keep it in the operator's namespace, or let its \
             ServiceAccount get it with a Role and RoleBinding in namespace {}",
            source.namespace
        )),
        error => {
            tracing::warn!(%error, %source, "value cannot be read");
            Error::Unavailable(format!(
                "{source} cannot be read: the API server does not answer as it should"
            ))
        }
    }
}

#[cfg(test)]
mod tests;
