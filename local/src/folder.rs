//! A folder in the place of an API server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use crds::annotations;
use crds::lower::Pod;
use crds::{ApprovalRequest, SnowflakeConnection};
use futures::stream::BoxStream;
use kube::ResourceExt;
use operator::directory::{Attached, Directory, Name};
use operator::objects::{Attachment, Error, Human, Objects, Source, Workload};
use operator::outbound::Names;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::LocalError;
use crate::manifests::{ManifestError, Manifests};
use crate::requests::Requests;

/// How often the folder is looked at: a change of policy holds within five seconds.
const LOOK: Duration = Duration::from_secs(1);

/// The folder, and the one workload there is.
pub(crate) struct Folder {
    path: PathBuf,
    manifests: ArcSwap<Manifests>,
    /// The same rules as in a cluster say what holds for whom.
    directory: Directory,
    pub(crate) requests: Arc<Requests>,
    token: Zeroizing<String>,
    workload: Workload,
    labels: BTreeMap<String, String>,
    connection: Option<String>,
    claimed: Option<Human>,
    names: Names,
}

/// Who asks in local mode.
pub(crate) struct Asker {
    pub(crate) workload: Workload,
    pub(crate) labels: BTreeMap<String, String>,
    /// `name` or `namespace/name`; needed only where the folder has several connections.
    pub(crate) connection: Option<String>,
    pub(crate) claimed: Option<Human>,
    /// Addresses that stand in for name resolution.
    pub(crate) names: Names,
    /// What the sidecar part shows as its projected token.
    pub(crate) token: Zeroizing<String>,
}

impl Folder {
    /// Reads the folder once.
    pub(crate) fn open(
        path: &Path,
        requests: Arc<Requests>,
        asker: Asker,
    ) -> Result<Self, ManifestError> {
        let manifests = Manifests::read(path)?;
        let Asker { workload, labels, connection, claimed, names, token } = asker;
        let folder = Self {
            path: path.to_owned(),
            manifests: ArcSwap::default(),
            directory: Directory::default(),
            requests,
            token,
            workload,
            labels,
            connection,
            claimed,
            names,
        };
        folder.take(manifests);
        Ok(folder)
    }

    fn take(&self, manifests: Manifests) {
        for (namespace, labels) in &manifests.namespaces {
            self.directory.put_namespace(namespace, labels);
        }
        let connections = manifests.connections.iter().map(|one| (**one).clone()).collect();
        let policies = manifests.policies.clone();
        self.manifests.store(Arc::new(manifests));
        self.directory.replace(connections, policies);
    }

    /// Reads the folder again whenever a file changed, for ever. What cannot be read leaves the last good state.
    pub(crate) async fn follow(&self) {
        let mut seen = fingerprint(&self.path);
        loop {
            tokio::time::sleep(LOOK).await;
            let now = fingerprint(&self.path);
            if now == seen {
                continue;
            }
            seen = now;
            match Manifests::read(&self.path) {
                Ok(manifests) => {
                    self.take(manifests);
                    tracing::info!(folder = %self.path.display(), "policies read anew");
                }
                Err(error) => {
                    tracing::error!(%error, "the change is not taken, what was read before holds");
                }
            }
        }
    }

    /// The connection of the one workload.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none or it is not clear which.
    pub(crate) fn connection(&self) -> Result<Arc<SnowflakeConnection>, Error> {
        let manifests = self.manifests.load();
        let mut fitting =
            manifests.connections.iter().filter(|connection| match &self.connection {
                None => true,
                Some(wanted) => {
                    let name = connection.name_any();
                    *wanted == name
                        || *wanted
                            == format!("{}/{name}", connection.namespace().unwrap_or_default())
                }
            });
        match (fitting.next(), fitting.next()) {
            (Some(connection), None) => Ok(connection.clone()),
            (None, _) => Err(Error::Missing(format!(
                "{} holds no SnowflakeConnection{}",
                self.path.display(),
                self.connection.as_ref().map(|name| format!(" {name}")).unwrap_or_default()
            ))),
            (Some(_), Some(_)) => Err(Error::Missing(format!(
                "{} holds several SnowflakeConnections: name one with --connection",
                self.path.display()
            ))),
        }
    }
}

#[async_trait]
impl Objects for Folder {
    async fn authenticate(&self, token: &str) -> Result<Workload, Error> {
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(
            token.as_bytes(),
            self.token.as_bytes(),
        );
        if same.is_err() {
            return Err(Error::Refused("the token is not the one of this local mode".to_owned()));
        }
        Ok(self.workload.clone())
    }

    async fn is_own(&self, _: &str, _: &Workload) -> Result<bool, Error> {
        // There is no API server here that would have given a token to anybody.
        Ok(false)
    }

    async fn lives(&self, workload: &Workload) -> Result<bool, Error> {
        Ok(workload.pod_uid == self.workload.pod_uid)
    }

    async fn attachment(&self, workload: &Workload) -> Result<Attachment, Error> {
        let asked = BTreeMap::from([(
            annotations::CONNECTION.to_owned(),
            Name::of(&*self.connection()?).to_string(),
        )]);
        let pod = Pod {
            namespace: &workload.namespace,
            service_account: &workload.service_account,
            labels: &self.labels,
        };
        let attached = self.directory.snapshot().attach(pod, &asked);
        let Attached { connection, documents, suspended } =
            attached.map_err(|error| Error::Missing(error.to_string()))?;
        Ok(Attachment { connection, documents, suspended })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.directory.changes()
    }

    async fn connections(&self) -> Result<Vec<Arc<SnowflakeConnection>>, Error> {
        Ok(self.manifests.load().connections.clone())
    }

    async fn value(&self, source: &Source) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.manifests
            .load()
            .value(source)
            .ok_or_else(|| Error::Missing(format!("{source} is not in {}", self.path.display())))
    }

    async fn create_request(&self, request: ApprovalRequest) -> Result<ApprovalRequest, Error> {
        self.requests.create(request)
    }

    async fn request(&self, namespace: &str, name: &str) -> Result<Option<ApprovalRequest>, Error> {
        Ok(self.requests.get(namespace, name))
    }

    async fn write_status(&self, request: &ApprovalRequest) -> Result<ApprovalRequest, Error> {
        self.requests.write_status(request)
    }

    fn requests(&self) -> BoxStream<'static, ApprovalRequest> {
        self.requests.watch()
    }

    fn names(&self) -> Names {
        self.names.clone()
    }

    fn claimed(&self) -> Option<Human> {
        self.claimed.clone()
    }
}

/// The namespace of the folder's policies, where there is one.
///
/// # Errors
/// When there is no policy, or they are in several namespaces.
pub(crate) fn only_namespace(path: &Path) -> Result<String, LocalError> {
    let manifests = Manifests::read(path)?;
    let mut namespaces: Vec<String> =
        manifests.policies.iter().filter_map(ResourceExt::namespace).collect();
    namespaces.sort();
    namespaces.dedup();
    match namespaces.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(LocalError::Unclear(format!(
            "{} holds no AccessPolicy: without one everything is refused",
            path.display()
        ))),
        several => Err(LocalError::Unclear(format!(
            "the AccessPolicies are in several namespaces ({}): choose one with --namespace",
            several.join(", ")
        ))),
    }
}

/// Names, sizes and times of the manifests: cheap to compare, and different after any change.
fn fingerprint(folder: &Path) -> Vec<(PathBuf, u64, Option<std::time::SystemTime>)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
            let metadata = entry.metadata().ok().filter(|_| yaml)?;
            Some((path, metadata.len(), metadata.modified().ok()))
        })
        .collect();
    files.sort();
    files
}
