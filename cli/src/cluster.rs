//! The cluster a command speaks to, chosen as kubectl chooses it.

use std::path::PathBuf;

use anyhow::Context as _;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

/// The flags of kubectl that say which cluster is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Cluster {
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Kubeconfig instead of $KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl Cluster {
    /// A client of the cluster, as the user that the kubeconfig says.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        let config = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let kubeconfig = Kubeconfig::read_from(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(Into::into)
            }
            (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(Into::into),
            // Inside a pod its ServiceAccount is meant, as for kubectl.
            (None, None) => Config::infer().await.map_err(anyhow::Error::from),
        };
        let config = config.context(
            "no cluster: give --kubeconfig or --context, or --config DIR for local mode",
        )?;
        // A second call finds the provider installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Client::try_from(config).context("the kubeconfig cannot be used")
    }
}

/// What the API server said, without the client's own wrapping.
pub(crate) fn said(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => {
            anyhow::anyhow!("{}", status.message)
        }
        other => anyhow::Error::new(other).context("the API server did not answer"),
    }
}
