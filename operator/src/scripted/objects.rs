//! Objects in memory, with the manners of an API server: resource versions, conflicts, a watch.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use control::Workload;
use crds::approval_request::{Choice, Decision};
use crds::{ApprovalRequest, SnowflakeConnection};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use tokio::sync::{broadcast, watch};
use zeroize::Zeroizing;

use crate::objects::{Attachment, Error, Objects, Source};

pub(crate) struct Scripted {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    requests: broadcast::Sender<ApprovalRequest>,
}

pub(crate) struct State {
    /// Token to pod.
    pub(crate) pods: HashMap<String, Workload>,
    /// Tokens for the API server, and the UID of the pod that holds them.
    pub(crate) own: HashMap<String, String>,
    pub(crate) gone: HashSet<String>,
    pub(crate) connection: SnowflakeConnection,
    pub(crate) documents: Vec<policy::Document>,
    pub(crate) suspended: Option<String>,
    /// What `attachment` fails with.
    pub(crate) refusal: Option<Error>,
    pub(crate) key: String,
    pub(crate) requests: BTreeMap<String, ApprovalRequest>,
    version: u64,
}

impl Scripted {
    pub(crate) fn new(connection: SnowflakeConnection, key: String) -> Arc<Self> {
        let state = State {
            pods: HashMap::new(),
            own: HashMap::new(),
            gone: HashSet::new(),
            connection,
            documents: Vec::new(),
            suspended: None,
            refusal: None,
            key,
            requests: BTreeMap::new(),
            version: 0,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
            requests: broadcast::channel(256).0,
        })
    }

    /// Changes something, as an administrator would.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.state.lock().unwrap());
        self.changes.send_modify(|count| *count += 1);
        value
    }

    pub(crate) fn pod(&self, token: &str, name: &str) -> Workload {
        let workload = Workload {
            namespace: "agents".into(),
            pod: name.into(),
            pod_uid: format!("uid-{name}"),
            service_account: "bot".into(),
            kind: "Deployment".into(),
            name: "bot".into(),
            node: "n1".into(),
        };
        self.with(|state| state.pods.insert(token.into(), workload.clone()));
        workload
    }

    /// What admission makes of a human's status patch.
    pub(crate) fn decide(&self, approver: &str, choice: Choice, reason: &str) {
        let request = {
            let mut state = self.state.lock().unwrap();
            state.version += 1;
            let version = state.version.to_string();
            let request = state.requests.values_mut().next().expect("a request waits");
            let satisfies = request.spec.policy_refs.iter().map(|rule| rule.id()).collect();
            request.status.get_or_insert_default().decisions.push(Decision {
                approver: approver.into(),
                groups: vec!["data-stewards".into()],
                verdict: choice,
                reason: reason.into(),
                time: Time(Timestamp::now()),
                satisfies,
            });
            request.metadata.resource_version = Some(version);
            request.clone()
        };
        let _ = self.requests.send(request);
    }

    pub(crate) fn only_request(&self) -> ApprovalRequest {
        let state = self.state.lock().unwrap();
        assert_eq!(state.requests.len(), 1);
        state.requests.values().next().unwrap().clone()
    }
}

fn key(request: &ApprovalRequest) -> String {
    format!("{}/{}", request.namespace().unwrap(), request.name_any())
}

#[async_trait]
impl Objects for Scripted {
    async fn authenticate(&self, token: &str) -> Result<Workload, Error> {
        let state = self.state.lock().unwrap();
        let workload = state.pods.get(token).filter(|pod| !state.gone.contains(&pod.pod_uid));
        workload.cloned().ok_or_else(|| Error::Refused("the token is nobody's".into()))
    }

    async fn is_own(&self, token: &str, workload: &Workload) -> Result<bool, Error> {
        Ok(self.state.lock().unwrap().own.get(token) == Some(&workload.pod_uid))
    }

    async fn lives(&self, workload: &Workload) -> Result<bool, Error> {
        Ok(!self.state.lock().unwrap().gone.contains(&workload.pod_uid))
    }

    async fn attachment(&self, _: &Workload) -> Result<Attachment, Error> {
        let state = self.state.lock().unwrap();
        match &state.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(Attachment {
                connection: Arc::new(state.connection.clone()),
                documents: state.documents.clone(),
                suspended: state.suspended.clone(),
            }),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn connections(&self) -> Result<Vec<Arc<SnowflakeConnection>>, Error> {
        Ok(vec![Arc::new(self.state.lock().unwrap().connection.clone())])
    }

    async fn value(&self, _: &Source) -> Result<Zeroizing<Vec<u8>>, Error> {
        Ok(Zeroizing::new(self.state.lock().unwrap().key.clone().into_bytes()))
    }

    async fn create_request(&self, request: ApprovalRequest) -> Result<ApprovalRequest, Error> {
        let made = {
            let mut state = self.state.lock().unwrap();
            state.version += 1;
            let version = state.version.to_string();
            let entry = state.requests.entry(key(&request));
            let mut made = request;
            made.metadata.uid = Some(format!("request-{version}"));
            made.metadata.resource_version = Some(version);
            entry.or_insert(made).clone()
        };
        let _ = self.requests.send(made.clone());
        Ok(made)
    }

    async fn request(&self, namespace: &str, name: &str) -> Result<Option<ApprovalRequest>, Error> {
        Ok(self.state.lock().unwrap().requests.get(&format!("{namespace}/{name}")).cloned())
    }

    async fn write_status(&self, request: &ApprovalRequest) -> Result<ApprovalRequest, Error> {
        let written = {
            let mut state = self.state.lock().unwrap();
            state.version += 1;
            let version = state.version.to_string();
            let name = key(request);
            let stored = state.requests.get_mut(&name).unwrap();
            if stored.resource_version() != request.resource_version() {
                return Err(Error::Conflict(name));
            }
            stored.status = request.status.clone();
            stored.metadata.resource_version = Some(version);
            stored.clone()
        };
        let _ = self.requests.send(written.clone());
        Ok(written)
    }

    fn requests(&self) -> BoxStream<'static, ApprovalRequest> {
        let state = self.state.lock().unwrap();
        let now = stream::iter(state.requests.values().cloned().collect::<Vec<_>>());
        let later = stream::unfold(self.requests.subscribe(), |mut receiver| async {
            Some((receiver.recv().await.ok()?, receiver))
        });
        now.chain(later).boxed()
    }
}
