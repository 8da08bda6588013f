//! Frostgate in this process: operator and sidecar over a folder, and a human who approves whatever is asked.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Gate {
    folder: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), local::LocalError>>,
    approving: JoinHandle<()>,
    approved: Arc<AtomicUsize>,
}

impl Gate {
    /// Starts it over a new folder with these manifests.
    pub(crate) async fn start(folder: PathBuf, manifests: &[&str]) -> Self {
        fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        for (number, text) in manifests.iter().enumerate() {
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut file = options.open(folder.join(format!("{number}.yaml"))).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        }
        let (address, admin) = free_ports();
        let config = local::Config {
            prompts: None,
            config: folder.clone(),
            listen: address,
            tls: None,
            session_token: 3600,
            admin: Some(admin),
            connection: None,
            namespace: None,
            service_account: "agent".to_owned(),
            labels: Vec::new(),
            identity: None,
            resolve: Vec::new(),
            in_pod: None,
        };
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(local::run(config, shutdown.clone()));
        let approved = Arc::default();
        let state = folder.join(".frostgate");
        let approving = tokio::spawn(approve_all(state, Arc::clone(&approved)));
        for _ in 0..500 {
            assert!(!serving.is_finished(), "{:?}", serving.await);
            if TcpStream::connect(address).await.is_ok() {
                return Self { folder, address, admin, shutdown, serving, approving, approved };
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not listen");
    }

    /// How many requests were approved so far.
    pub(crate) fn approved(&self) -> usize {
        self.approved.load(Ordering::SeqCst)
    }

    /// The page of metrics, as Prometheus gets it.
    pub(crate) async fn metrics(&self) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut page = Vec::new();
        stream.read_to_end(&mut page).await.unwrap();
        assert!(page.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&page));
        page
    }

    /// Ends it in order; gives everything that it left on the disk.
    pub(crate) async fn end(self) -> Vec<(PathBuf, Vec<u8>)> {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
        self.approving.abort();
        let mut files = Vec::new();
        read_all(&self.folder.join(".frostgate"), &mut files);
        files
    }
}

/// Every file, and every frame of a recording as it was before it was compressed.
fn read_all(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, files);
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            if let Ok(mut reader) = recording::segment::Reader::new(&bytes) {
                while let Ok(Some(frame)) = reader.next_frame() {
                    files.push((path.join(frame.at.to_string()), frame.body));
                }
            }
            files.push((path, bytes));
        }
    }
}

/// Two ports that nobody listens on.
fn free_ports() -> (SocketAddr, SocketAddr) {
    let held = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let [first, second] = held.map(|listener| listener.local_addr().unwrap());
    (first, second)
}

/// Approves every request as it comes; what needs more people than one is denied.
async fn approve_all(state: PathBuf, approved: Arc<AtomicUsize>) {
    let socket = state.join("control.sock");
    let mut seen = HashSet::new();
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let Ok(requests) = fs::read_dir(state.join("requests")) else { continue };
        for request in requests {
            let path = request.unwrap().path();
            let is_request = path.extension().is_some_and(|extension| extension == "json");
            if !is_request || !seen.insert(path.clone()) {
                continue;
            }
            let request: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let name = request["metadata"]["name"].as_str().unwrap();
            let path = format!("/requests/{name}/decision");
            // Counted before anybody can see what comes of it.
            approved.fetch_add(1, Ordering::SeqCst);
            // The operator may write to it at the same moment.
            for decision in ["Approved", "Approved", "Approved", "Denied"] {
                let word = format!(r#"{{"decision":"{decision}","reason":"a test"}}"#);
                let answer = exchange(&socket, &path, &word).await;
                if !answer["message"].is_string() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

async fn exchange(socket: &Path, path: &str, body: &str) -> Value {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: local\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}
