//! ApprovalRequests without an API server: one file each, and everybody who watches is told.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crds::ApprovalRequest;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use kube::ResourceExt;
use operator::objects::Error;
use tokio::sync::broadcast::{self, error::RecvError};

/// More requests than this at once, and a slow watcher starts over.
const BACKLOG: usize = 256;

/// The requests there are.
pub(crate) struct Requests {
    folder: PathBuf,
    all: Mutex<BTreeMap<(String, String), ApprovalRequest>>,
    told: broadcast::Sender<ApprovalRequest>,
}

impl Requests {
    /// Reads what an earlier run left.
    ///
    /// # Errors
    /// When the folder cannot be read or made.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "json") {
                let request: ApprovalRequest = serde_json::from_slice(&fs::read(&path)?)?;
                all.insert(key(&request), request);
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            all: Mutex::new(all),
            told: broadcast::Sender::new(BACKLOG),
        })
    }

    /// Creates the request, or returns the one that has its name.
    pub(crate) fn create(&self, mut request: ApprovalRequest) -> Result<ApprovalRequest, Error> {
        let mut all = self.lock();
        if let Some(there) = all.get(&key(&request)) {
            return Ok(there.clone());
        }
        request.metadata.uid = Some(uuid::Uuid::new_v4().to_string());
        request.metadata.generation = Some(1);
        request.metadata.resource_version = Some("1".to_owned());
        request.status.get_or_insert_default();
        self.keep(&mut all, request)
    }

    /// One request.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<ApprovalRequest> {
        self.lock().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// One request by its name alone: there is one namespace.
    pub(crate) fn find(&self, name: &str) -> Option<ApprovalRequest> {
        self.lock().values().find(|request| request.name_any() == name).cloned()
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<ApprovalRequest> {
        self.lock().values().cloned().collect()
    }

    /// Replaces the status of the request as it was read.
    pub(crate) fn write_status(&self, request: &ApprovalRequest) -> Result<ApprovalRequest, Error> {
        let mut all = self.lock();
        let Some(there) = all.get(&key(request)) else {
            return Err(Error::Missing(format!(
                "ApprovalRequest {} does not exist",
                request.name_any()
            )));
        };
        if there.resource_version() != request.resource_version() {
            return Err(Error::Conflict(format!("ApprovalRequest {}", request.name_any())));
        }
        let mut changed = there.clone();
        changed.status.clone_from(&request.status);
        let version = changed.resource_version().and_then(|version| version.parse::<u64>().ok());
        changed.metadata.resource_version = Some((version.unwrap_or(1) + 1).to_string());
        self.keep(&mut all, changed)
    }

    /// Every request there is, then each as it changes.
    pub(crate) fn watch(self: &Arc<Self>) -> BoxStream<'static, ApprovalRequest> {
        // Subscribed before the list is read: a change in between is told twice rather than never.
        let news = self.told.subscribe();
        let changes = stream::unfold((news, self.clone()), |(mut news, requests)| async move {
            let told = match news.recv().await {
                Ok(request) => vec![request],
                Err(RecvError::Lagged(_)) => requests.list(),
                Err(RecvError::Closed) => return None,
            };
            Some((told, (news, requests)))
        });
        stream::once(std::future::ready(self.list())).chain(changes).flat_map(stream::iter).boxed()
    }

    fn keep(
        &self,
        all: &mut BTreeMap<(String, String), ApprovalRequest>,
        request: ApprovalRequest,
    ) -> Result<ApprovalRequest, Error> {
        let path = self.folder.join(format!("{}.json", request.name_any()));
        write(&path, &request).map_err(|error| {
            Error::Unavailable(format!("{} cannot be written: {error}", path.display()))
        })?;
        all.insert(key(&request), request.clone());
        // Nobody watching is no failure.
        let _ = self.told.send(request.clone());
        Ok(request)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), ApprovalRequest>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(request: &ApprovalRequest) -> (String, String) {
    (request.namespace().unwrap_or_default(), request.name_any())
}

fn write(path: &Path, request: &ApprovalRequest) -> io::Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, serde_json::to_vec_pretty(request)?)?;
    fs::rename(draft, path)
}
