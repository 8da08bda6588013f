//! An account that only an egress proxy reaches.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::account::{HOST, STORE, Told, rows};
use super::{Driver, Scene, message};

/// A proxy that leads every name to one address.
struct Egress {
    address: SocketAddr,
    asked: Mutex<Vec<String>>,
    closed: AtomicBool,
}

impl Egress {
    async fn start(to: SocketAddr) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            asked: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let serving = Arc::clone(&this);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).lead(stream, to));
            }
        });
        this
    }

    async fn lead(self: Arc<Self>, stream: TcpStream, to: SocketAddr) {
        let mut stream = BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head).await.unwrap() == 0 {
                return;
            }
        }
        let head = String::from_utf8(head).unwrap();
        self.asked.lock().unwrap().push(head.lines().next().unwrap().to_owned());
        if self.closed.load(Ordering::SeqCst) {
            let refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(refusal).await.unwrap();
            return;
        }
        let mut there = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked.dedup();
        asked
    }
}

/// Drivers come until one's session is opened, or refused, by way of the proxy.
async fn login(scene: &Scene, egress: &Egress) -> Driver {
    let url = format!("http://{}", egress.address);
    scene.operator.change(|snapshot| snapshot.connection.https_proxy = Some(url.clone()));
    for _ in 0..200 {
        let mut driver = Driver::at(scene.proxy);
        driver.log_in(json!({})).await;
        if !egress.asked().is_empty() {
            return driver;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing goes through the proxy");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_and_chunks_go_through_the_connection_s_egress_proxy() {
    // The address of the store is not known in the pod.
    let scene = Scene::with(|config| {
        config.resolve.remove(STORE);
    })
    .await;
    let egress = Egress::start(scene.account.address).await;
    scene.account.answers(|asked| {
        if asked.host == STORE {
            let body = br#"["1","ada@example.com"]"#.to_vec();
            return Some(Told { body, ..Told::json(&json!({})) });
        }
        (asked.path == "/queries/v1/query-request").then(|| {
            let mut answer = rows(&["ID", "EMAIL"], &[]);
            let url = format!("https://{STORE}/a");
            answer["data"]["chunks"] = json!([{"url": url, "rowCount": 1}]);
            Told::json(&answer)
        })
    });
    let driver = login(&scene, &egress).await;
    let answer = driver.query("select id, email from customers").await;
    assert_eq!(answer["success"], true, "{}", message(&answer));
    let link = answer["data"]["chunks"][0]["url"].as_str().unwrap();
    assert_eq!(driver.fetch(link).await, (200, br#"["1","****"]"#.to_vec()));
    let connects = [HOST, STORE].map(|host| format!("CONNECT {host}:443 HTTP/1.1"));
    assert_eq!(egress.asked(), connects);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_egress_proxy_that_refuses_is_named_in_the_error() {
    let scene = Scene::set().await;
    let egress = Egress::start(scene.account.address).await;
    egress.closed.store(true, Ordering::SeqCst);
    let driver = login(&scene, &egress).await;
    assert_eq!(driver.login["success"], false, "{}", driver.login);
    let said = message(&driver.login);
    assert!(said.starts_with("FG-4001") && said.contains("egress proxy"), "{said}");
    scene.end().await;
}
