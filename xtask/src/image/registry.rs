//! Pushing an image to an OCI registry over plain HTTP, as a test registry on a loopback or
//! private address speaks it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use ureq::Agent;

use super::layer::{Layer, digest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image: what it holds and how it is started.
pub(crate) struct Image {
    /// The repository's name within the registry.
    pub(crate) name: String,
    /// A tag besides the digest, for people.
    pub(crate) tag: String,
    /// From the lowest to the highest.
    pub(crate) layers: Vec<Layer>,
    /// `Entrypoint`, `Env`, `User`, ... as an image config has them.
    pub(crate) config: Value,
}

impl Image {
    /// The bytes over the wire.
    pub(crate) fn size(&self) -> usize {
        self.layers.iter().map(|layer| layer.blob.len()).sum()
    }
}

/// A registry that speaks plain HTTP.
#[derive(clap::Args, Default)]
#[group(skip)]
pub(crate) struct Arguments {
    /// A registry that speaks plain HTTP, as this machine reaches it
    #[arg(long, value_name = "HOST:PORT", env = "FROSTGATE_REGISTRY")]
    registry: Option<String>,
    /// How the cluster's nodes name that registry, when they reach it by another name
    #[arg(
        long,
        value_name = "HOST:PORT",
        requires = "registry",
        env = "FROSTGATE_REGISTRY_KNOWN_AS"
    )]
    known_as: Option<String>,
}

impl Arguments {
    /// Whether one is named.
    pub(crate) fn is_named(&self) -> bool {
        self.registry.is_some()
    }

    /// The one that is named.
    pub(crate) fn registry(&self) -> Option<Registry> {
        let address = self.registry.clone()?;
        let known_as = self.known_as.clone().unwrap_or_else(|| address.clone());
        Some(Registry { address, known_as })
    }
}

/// A registry: where this machine reaches it, and how the nodes name it.
pub(crate) struct Registry {
    pub(crate) address: String,
    pub(crate) known_as: String,
}

impl Registry {
    /// Pushes an image and returns its reference by digest.
    pub(crate) fn push(&self, image: &Image) -> Result<String> {
        let agent = agent();
        let config = json!({
            "architecture": architecture()?,
            "os": "linux",
            "config": image.config,
            "rootfs": {
                "type": "layers",
                "diff_ids": image.layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>(),
            },
        })
        .to_string();
        let mut layers = Vec::new();
        for layer in &image.layers {
            self.upload(&agent, &image.name, &layer.digest, &layer.blob)?;
            layers.push(
                json!({ "mediaType": LAYER, "digest": layer.digest, "size": layer.blob.len() }),
            );
        }
        let config_digest = digest(config.as_bytes());
        self.upload(&agent, &image.name, &config_digest, config.as_bytes())?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": config_digest, "size": config.len() },
            "layers": layers,
        })
        .to_string();
        let url = self.url(&image.name, &format!("manifests/{}", image.tag));
        let answer = agent.put(&url).content_type(MANIFEST).send(&manifest)?;
        if answer.status() != 201 {
            bail!("{url}: the registry answered {}", answer.status());
        }
        Ok(format!("{}/{}@{}", self.known_as, image.name, digest(manifest.as_bytes())))
    }

    fn upload(&self, agent: &Agent, name: &str, digest: &str, blob: &[u8]) -> Result<()> {
        if agent.head(&self.url(name, &format!("blobs/{digest}"))).call()?.status() == 200 {
            return Ok(());
        }
        let start = self.url(name, "blobs/uploads/");
        let answer = agent.post(&start).send_empty()?;
        let location = answer
            .headers()
            .get("location")
            .and_then(|value| value.to_str().ok())
            .with_context(|| format!("{start}: {} without a location", answer.status()))?;
        let location = match location.strip_prefix('/') {
            Some(path) => format!("http://{}/{path}", self.address),
            None => location.to_owned(),
        };
        let joint = if location.contains('?') { '&' } else { '?' };
        let answer = agent
            .put(format!("{location}{joint}digest={digest}"))
            .content_type("application/octet-stream")
            .send(blob)?;
        if answer.status() != 201 {
            bail!("{start}: the registry answered {} to a blob", answer.status());
        }
        Ok(())
    }

    fn url(&self, name: &str, rest: &str) -> String {
        format!("http://{}/v2/{name}/{rest}", self.address)
    }

    /// Whether the registry answers.
    pub(crate) fn answers(&self) -> bool {
        let url = format!("http://{}/v2/", self.address);
        agent().get(&url).call().is_ok_and(|answer| answer.status() == 200)
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(120)))
        .build()
        .into()
}

fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no image architecture is known for {other}"),
    }
}
