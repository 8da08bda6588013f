//! Where requests are: the API server, or the socket of local mode.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use crds::ApprovalRequest;
use crds::approval_request::Choice;
use kube::Client;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;

use super::socket::{Answer, Socket};
use crate::cluster::{Cluster, said};

/// Who writes, in `managedFields`.
const FIELD_MANAGER: &str = "kubectl-frostgate";
/// Requests in one answer of the API server.
const PAGE: u32 = 500;

/// Which requests are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Place {
    /// Namespace of the requests
    #[arg(long, short)]
    namespace: Option<String>,
    #[command(flatten)]
    cluster: Cluster,
    /// Folder of local mode, in place of a cluster
    #[arg(long, value_name = "DIR", conflicts_with_all = ["namespace", "context", "kubeconfig"])]
    config: Option<PathBuf>,
}

/// An open place.
pub(crate) enum Source {
    /// The API server; the namespace is that of the flag or of the context.
    Cluster { client: Client, namespace: String },
    /// Local mode.
    Local(Socket),
}

/// Why a decision was not taken.
pub(crate) enum Refused {
    /// Somebody wrote at the same time; what the server said.
    Conflict(String),
    /// For good.
    Other(anyhow::Error),
}

/// Runs a command's work.
pub(crate) fn wait<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(work)
}

impl Place {
    /// The same place, with the namespace that was written before the name.
    pub(crate) fn within(mut self, namespace: Option<&str>) -> anyhow::Result<Self> {
        let Some(namespace) = namespace else { return Ok(self) };
        if self.namespace.as_deref().is_some_and(|other| other != namespace) {
            bail!("the name and --namespace name different namespaces");
        }
        if self.config.is_none() {
            self.namespace = Some(namespace.to_owned());
        }
        Ok(self)
    }

    /// Connects.
    pub(crate) async fn open(&self) -> anyhow::Result<Source> {
        if let Some(folder) = &self.config {
            return Ok(Source::Local(Socket::new(folder)));
        }
        let client = self.cluster.connect().await?;
        let namespace =
            self.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Source::Cluster { client, namespace })
    }
}

impl Source {
    /// All requests of the namespace, or of all namespaces.
    pub(crate) async fn list(&self, all_namespaces: bool) -> anyhow::Result<Vec<ApprovalRequest>> {
        let (client, namespace) = match self {
            Self::Local(socket) => {
                return match socket.get("/requests").await? {
                    Answer::Well(requests) => Ok(requests),
                    Answer::Refused(message) => bail!("{message}"),
                };
            }
            Self::Cluster { client, namespace } => (client.clone(), namespace),
        };
        let api: Api<ApprovalRequest> =
            if all_namespaces { Api::all(client) } else { Api::namespaced(client, namespace) };
        let mut requests = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = api.list(&page).await.map_err(said)?;
            requests.extend(list.items);
            match list.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => page = page.continue_token(&next),
                None => return Ok(requests),
            }
        }
    }

    /// One request.
    pub(crate) async fn get(&self, name: &str) -> anyhow::Result<ApprovalRequest> {
        match self {
            Self::Local(_) => {
                let mut requests = self.list(true).await?;
                requests.retain(|request| request.name_any() == name);
                requests.pop().with_context(|| format!("there is no request {name}"))
            }
            Self::Cluster { client, namespace } => {
                let api: Api<ApprovalRequest> = Api::namespaced(client.clone(), namespace);
                let found = api.get_opt(name).await.map_err(said)?;
                found.with_context(|| {
                    format!("there is no ApprovalRequest {name} in namespace {namespace}; see `requests -A`, or give -n")
                })
            }
        }
    }

    /// Writes the decision into the request that was shown. Who decided is for admission to say.
    pub(crate) async fn decide(
        &self,
        shown: &ApprovalRequest,
        choice: Choice,
        reason: &str,
    ) -> Result<ApprovalRequest, Refused> {
        let name = shown.name_any();
        match self {
            Self::Local(socket) => {
                let word = json!({"decision": choice, "reason": reason});
                match socket.post(&format!("/requests/{name}/decision"), &word).await {
                    Ok(Answer::Well(request)) => Ok(request),
                    Ok(Answer::Refused(message)) => Err(Refused::Other(anyhow::anyhow!(message))),
                    Err(error) => Err(Refused::Other(error)),
                }
            }
            Self::Cluster { client, namespace } => {
                let api: Api<ApprovalRequest> = Api::namespaced(client.clone(), namespace);
                // The UID makes the API server refuse a request that took the name meanwhile.
                let patch = json!({
                    "metadata": {"uid": shown.metadata.uid},
                    "status": {"decision": choice, "reason": reason},
                });
                let params =
                    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
                api.patch_status(&name, &params, &Patch::Merge(patch)).await.map_err(|error| {
                    match error {
                        kube::Error::Api(status) if status.code == 409 => {
                            Refused::Conflict(status.message)
                        }
                        error => Refused::Other(said(error)),
                    }
                })
            }
        }
    }
}
