//! `frostgate fetch`: copy recordings and the ledger out of a cluster, to be verified anywhere.
//!
//! The way leads through the API server to the one service that serves them, so RBAC says who may
//! (`get` on `services/proxy` of `https:frostgate-recordings:8081`, and on the Secret whose key the
//! requests must prove). What comes is checked, not trusted: the ledger against its key and
//! against what an earlier fetch brought, segments by `verify`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::Api;
use kube::client::Body;
use recording::ledger::{Checkpoint, READER_HEADER, ReaderKey, Tile, VerifierKey, check, tile};
use serde::Deserialize;

use crate::Exit;
use crate::cluster::{Cluster, said};
use crate::requests::source::wait;

/// The Secret with the readers' key.
const READER_SECRET: &str = "frostgate-recordings-reader";
/// The ConfigMap with the ledger's public key.
const KEY_MAP: &str = "frostgate-ledger-key";
/// The service as the API server's proxy names it.
const SERVICE: &str = "https:frostgate-recordings:8081";
/// A checkpoint follows its leaves within a second: after this it covers every segment that was copied.
const CHECKPOINT_LAG: Duration = Duration::from_secs(2);
/// The longest answer that is kept in memory.
const LIST_BYTES_MAX: usize = 64 << 20;

/// Copy recordings and the ledger out of a cluster; what is there already stays.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder to copy to; `verify`, `replay` and `export` read it
    folder: PathBuf,
    /// Only these sessions, by their ids or the beginning of them
    #[arg(long, value_name = "ID")]
    session: Vec<String>,
    /// Namespace of the operator
    #[arg(long, short, default_value = "frostgate-system")]
    namespace: String,
    #[command(flatten)]
    cluster: Cluster,
}

/// What is needed of the list.
#[derive(Debug, Deserialize)]
struct Page {
    recordings: Vec<Recording>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Recording {
    session: String,
    segments: u64,
}

/// The service behind the API server.
struct Service {
    client: Client,
    namespace: String,
    reader: ReaderKey,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    wait(async {
        let client = args.cluster.connect().await?;
        let key = ledger_key(&client, &args.namespace).await?;
        let service = Service::find(client, &args.namespace).await?;
        fs::create_dir_all(&args.folder)
            .with_context(|| format!("cannot make {}", args.folder.display()))?;

        // Segments before the log: what is sealed by then is in the log that follows.
        let (sessions, segments) = copy_recordings(args, &service).await?;
        tokio::time::sleep(CHECKPOINT_LAG).await;
        let leaves = copy_ledger(&args.folder.join("ledger"), &service, &key).await?;
        writeln!(
            out,
            "{sessions} sessions, {segments} new segments, ledger of {leaves} leaves: intact"
        )?;
        writeln!(out, "verify it with: frostgate verify {} --key '{key}'", args.folder.display())?;
        Ok(Exit::Well)
    })
}

/// The key as the cluster publishes it.
async fn ledger_key(client: &Client, namespace: &str) -> anyhow::Result<VerifierKey> {
    let map = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let map = map.get(KEY_MAP).await.map_err(said)?;
    let key = map.data.unwrap_or_default().remove("key").unwrap_or_default();
    key.trim().parse().with_context(|| format!("ConfigMap {namespace}/{KEY_MAP} holds no key"))
}

/// Copies segments that are not here yet; a stored segment never changes.
async fn copy_recordings(args: &Args, service: &Service) -> anyhow::Result<(usize, usize)> {
    let mut sessions = 0;
    let mut segments = 0;
    for recording in service.list().await? {
        let id = &recording.session;
        if !args.session.is_empty() && !args.session.iter().any(|wanted| id.starts_with(wanted)) {
            continue;
        }
        // The id becomes a folder's name here.
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') || id.is_empty() {
            bail!("the service named a session `{}`", recording::transcript::safe(id));
        }
        sessions += 1;
        let folder = args.folder.join("recordings").join(id);
        // A session without segments is listed, so that its lack is seen.
        fs::create_dir_all(&folder)?;
        for number in 0..recording.segments {
            let path = folder.join(format!("{number}.fgseg"));
            if path.exists() {
                continue;
            }
            // One that is lost is for `verify` to name, and no reason to keep the rest back.
            if service.copy(&format!("/v1/recordings/{id}/{number}"), &path).await? {
                segments += 1;
            }
        }
    }
    Ok((sessions, segments))
}

/// Copies the log, checks it, and that it grew from the one that was here.
async fn copy_ledger(folder: &Path, service: &Service, key: &VerifierKey) -> anyhow::Result<u64> {
    let head = folder.join(tile::CHECKPOINT_PATH);
    let known = match fs::read(&head) {
        Ok(note) => Some(Checkpoint::open(&note, key).context(
            "the copy of the ledger that is here is not of this cluster; use another folder",
        )?),
        Err(_) => None,
    };
    let note =
        service.get("/v1/ledger/checkpoint").await?.context("the cluster has no ledger yet")?;
    let size =
        Checkpoint::open(&note, key).context("the ledger of the cluster is not believed")?.size;
    for tile in tile::tiles(size) {
        let level_zero = (tile.level == 0).then_some(Tile::bundle_path as fn(Tile) -> String);
        for path in std::iter::once(Tile::path as fn(Tile) -> String).chain(level_zero) {
            copy_tile(folder, service, tile, path).await?;
        }
    }
    let read = |path: &str| match path {
        tile::CHECKPOINT_PATH => Some(note.clone()),
        path => fs::read(folder.join(path)).ok(),
    };
    let checked =
        check(read, key, known.as_ref()).context("the ledger of the cluster is broken")?;
    fs::create_dir_all(folder)?;
    fs::write(&head, &note)?;
    Ok(checked.checkpoint.size)
}

async fn copy_tile(
    folder: &Path,
    service: &Service,
    tile: Tile,
    path: fn(Tile) -> String,
) -> anyhow::Result<()> {
    // A log may drop a partial tile once the full one is there.
    for candidate in [path(tile), path(tile.full())] {
        let here = folder.join(&candidate);
        if here.exists() || service.copy(&format!("/v1/ledger/{candidate}"), &here).await? {
            return Ok(());
        }
    }
    bail!("`{}` is missing from the ledger of the cluster", path(tile))
}

impl Service {
    async fn find(client: Client, namespace: &str) -> anyhow::Result<Self> {
        let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
        let secret = secrets.get(READER_SECRET).await.map_err(said)?;
        let key = secret.data.unwrap_or_default().remove("key").unwrap_or_default();
        let reader = ReaderKey::parse(&String::from_utf8_lossy(&key.0))
            .with_context(|| format!("Secret {namespace}/{READER_SECRET}"))?;
        Ok(Self { client, namespace: namespace.to_owned(), reader })
    }

    async fn list(&self) -> anyhow::Result<Vec<Recording>> {
        let mut recordings = Vec::new();
        let mut path = "/v1/recordings".to_owned();
        loop {
            let bytes = self.get(&path).await?.context("the service does not list recordings")?;
            let page: Page =
                serde_json::from_slice(&bytes).context("the list is not understood")?;
            recordings.extend(page.recordings);
            match page.next {
                Some(next) => path = format!("/v1/recordings?after={next}"),
                None => return Ok(recordings),
            }
        }
    }

    /// A small answer; `None` if there is no such thing.
    async fn get(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(body) = self.ask(path).await? else { return Ok(None) };
        let body = http_body_util::Limited::new(body, LIST_BYTES_MAX).collect().await;
        let bytes =
            body.map_err(|error| anyhow::anyhow!(error)).context("the answer was cut off")?;
        Ok(Some(bytes.to_bytes().to_vec()))
    }

    /// Copies a file, whole or not at all; false if there is no such thing.
    async fn copy(&self, path: &str, to: &Path) -> anyhow::Result<bool> {
        let Some(mut body) = self.ask(path).await? else { return Ok(false) };
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = to.with_added_extension("part");
        let mut file = fs::File::create(&beside)
            .with_context(|| format!("cannot write {}", beside.display()))?;
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| anyhow::anyhow!(error)).context("the answer was cut off")?;
            if let Some(bytes) = frame.data_ref() {
                file.write_all(bytes)?;
            }
        }
        file.sync_all()?;
        fs::rename(&beside, to)?;
        Ok(true)
    }

    async fn ask(&self, path: &str) -> anyhow::Result<Option<Body>> {
        let Self { client, namespace, reader } = self;
        let url = format!("/api/v1/namespaces/{namespace}/services/{SERVICE}/proxy{path}");
        let proof = reader.prove(path, Timestamp::now().as_second());
        let request = Request::get(url).header(READER_HEADER, proof).body(Body::empty())?;
        let answer = client.send(request).await.map_err(said)?;
        match answer.status() {
            StatusCode::OK => Ok(Some(answer.into_body())),
            StatusCode::NOT_FOUND => Ok(None),
            status => {
                let bytes = answer.into_body().collect_bytes().await.unwrap_or_default();
                let said: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
                let message = said["message"].as_str().unwrap_or("no reason was given");
                bail!("reading {path}: {status}: {}", recording::transcript::safe(message))
            }
        }
    }
}

#[cfg(test)]
mod tests;
