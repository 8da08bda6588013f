//! Local mode's door for decisions: JSON over HTTP on a Unix socket in its folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The socket is on this machine: it answers at once or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The socket.
pub(crate) struct Socket {
    path: PathBuf,
}

/// What was answered.
pub(crate) enum Answer<T> {
    /// As asked for.
    Well(T),
    /// No, and why.
    Refused(String),
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Socket {
    /// The socket of a folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join(".frostgate").join("control.sock") }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Answer<T>> {
        self.send(Request::get(path), Bytes::new()).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<Answer<T>> {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(request, body.to_string().into()).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> anyhow::Result<Answer<T>> {
        let request = request.header("host", "local").body(Full::new(body))?;
        let exchange = async {
            let stream = UnixStream::connect(&self.path).await.with_context(|| {
                format!(
                    "cannot open {}: does `frostgate local` run on this folder?",
                    self.path.display()
                )
            })?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let driven = tokio::spawn(connection);
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            driven.abort();
            let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
            anyhow::Ok((status, body))
        };
        let Ok(exchanged) = tokio::time::timeout(ANSWER_WITHIN, exchange).await else {
            bail!("local mode does not answer on {}", self.path.display());
        };
        let (status, body) = exchanged?;
        if status.is_success() {
            let answer =
                serde_json::from_slice(&body).context("local mode answered something else")?;
            return Ok(Answer::Well(answer));
        }
        let message = match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => refusal.message,
            Err(_) => format!("local mode answered {status}"),
        };
        Ok(Answer::Refused(message))
    }
}
