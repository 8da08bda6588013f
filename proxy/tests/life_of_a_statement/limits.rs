//! How much a client may send, how slowly, and over how many connections.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Driver, Scene, eventually, message};

const QUERY: &str = "/queries/v1/query-request?requestId=";

async fn turned_away(scene: &Scene, reason: &str) -> String {
    let (_, page) = Driver::at(scene.admin).fetch("/metrics").await;
    let page = String::from_utf8(page).unwrap();
    let start = format!("frostgate_proxy_turned_away_total{{reason=\"{reason}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&start)).unwrap().to_owned()
}

async fn send(driver: &Driver, id: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> Value {
    let path = format!("{QUERY}{id}");
    let (status, answer) = driver.send(Method::POST, &path, &driver.token, body, headers).await;
    assert_eq!(status, 200);
    serde_json::from_slice(&answer).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// An INSERT with an array of this many bytes.
fn array(megabytes: usize) -> Value {
    // Values that do not shrink beyond all measure.
    let word =
        |number: usize| format!("{:016x}", (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let value = |number: usize| (number..number + 64).map(word).collect::<String>();
    let values: Vec<String> = (0..megabytes << 10).map(|number| value(number << 6)).collect();
    json!({"sqlText": "insert into customers (email) values (?)",
           "bindings": {"1": {"type": "TEXT", "value": values}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn large_array_binds_pass_plain_and_compressed_and_larger_ones_are_refused() {
    let scene = Scene::with(|config| {
        config.limits.body = 6 << 20;
        config.limits.body_inflated = 6 << 20;
        // A build for debugging takes its time to write so much.
        config.recorder.commit_deadline = Duration::from_secs(60);
    })
    .await;
    let driver = scene.driver().await;
    scene.account.answers(|asked| {
        let told = super::account::rows(&["number of rows inserted"], &[&["5"]]);
        (asked.path == "/queries/v1/query-request").then(|| super::Told::json(&told))
    });
    let large = array(5);
    let bytes = large.to_string().into_bytes();
    let plain = driver.wait(send(&driver, "plain", bytes.clone(), &[]).await).await;
    assert_eq!(plain["success"], true, "{plain}");
    let packed = send(&driver, "packed", gzip(&bytes), &[("content-encoding", "gzip")]).await;
    let packed = driver.wait(packed).await;
    assert_eq!(packed["success"], true, "{packed}");
    for sent in scene.account.statements() {
        assert_eq!(sent.body["bindings"], large["bindings"]);
    }
    let larger = array(7).to_string().into_bytes();
    for (id, body, headers) in [
        ("too-large", larger.clone(), &[][..]),
        ("too-large-packed", gzip(&larger), &[("content-encoding", "gzip")][..]),
    ] {
        let refused = send(&driver, id, body, headers).await;
        assert!(message(&refused).starts_with("FG-6002"), "{refused}");
    }
    assert_eq!(turned_away(&scene, "TooLarge").await, "2");
    assert_eq!(scene.account.statements().len(), 2);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_share_a_room_and_wait_for_each_other() {
    let scene = Scene::with(|config| {
        config.limits.bodies = 3 << 20;
        config.timings.body = Duration::from_secs(1);
        config.recorder.commit_deadline = Duration::from_secs(60);
    })
    .await;
    let driver = scene.driver().await;
    // It waits for a human, and keeps its memory for as long.
    let held = json!({"sqlText": "delete from customers", "bindings": array(2)["bindings"]});
    let pending = send(&driver, "held", held.to_string().into_bytes(), &[]).await;
    assert_eq!(pending["code"], "333333", "{pending}");
    let large = array(2).to_string().into_bytes();
    let refused = send(&driver, "later", large.clone(), &[]).await;
    assert!(message(&refused).starts_with("FG-6002 too many large requests"), "{refused}");
    // Small ones are not held up by large ones.
    assert_eq!(driver.query("select id, email from customers").await["success"], true);
    let abort = json!({"sqlText": "", "requestId": "held"});
    driver.post("/queries/v1/abort-request", &abort).await;
    driver.wait(pending).await;
    eventually(async || {
        let answer = send(&driver, &uuid::Uuid::new_v4().to_string(), large.clone(), &[]).await;
        !message(&answer).starts_with("FG-6002")
    })
    .await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_or_breaks_off_ends_its_connection_alone() {
    let scene = Scene::with(|config| config.timings.body = Duration::from_millis(300)).await;
    let driver = scene.driver().await;
    let head = format!(
        "POST {QUERY}slow HTTP/1.1\r\nhost: localhost\r\nauthorization: Snowflake Token=\"{}\"\r\ncontent-length: 100\r\n\r\n{{",
        driver.token
    );
    let mut slow = TcpStream::connect(scene.proxy).await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = slow.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let mut broken = TcpStream::connect(scene.proxy).await.unwrap();
    broken.write_all(head.as_bytes()).await.unwrap();
    drop(broken);
    eventually(async || turned_away(&scene, "Broken").await == "2").await;
    assert_eq!(driver.query("select id, email from customers").await["success"], true);
    assert_eq!(scene.account.statements().len(), 1);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_dropped_and_the_others_stay_served() {
    let scene = Scene::with(|config| config.limits.connections = 4).await;
    let driver = scene.driver().await;
    let mut idle = Vec::new();
    for _ in 0..6 {
        idle.push(TcpStream::connect(scene.proxy).await.unwrap());
    }
    let mut closed = 0;
    for stream in &mut idle {
        let mut byte = [0];
        let read = stream.read(&mut byte);
        // Nothing was sent: whoever is served waits, whoever is not was hung up on.
        if tokio::time::timeout(Duration::from_millis(200), read).await.is_ok() {
            closed += 1;
        }
    }
    assert!((3..=4).contains(&closed), "{closed} of 6 were dropped");
    assert_eq!(turned_away(&scene, "Connection").await, closed.to_string());
    assert_eq!(driver.query("select id, email from customers").await["success"], true);
    drop(idle);
    eventually(async || {
        let mut other = Driver::at(scene.proxy);
        other.try_log_in(json!({})).await
    })
    .await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_opaque_passes_to_the_last_digit() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    assert!(driver.login.to_string().contains("9007199254740993"), "{}", driver.login);
    let context = r#"{"entries":[{"id":9007199254740993,"timestamp":18446744073709551615,"priority":0,"context":{"base64Data":"AA=="}}]}"#;
    let body = format!(
        r#"{{"sqlText":"select id, email from customers","sequenceId":9007199254740993,"queryContextDTO":{context},
            "bindings":{{"1":{{"type":"FIXED","value":"12345678901234567890123456789012345678"}}}}}}"#
    );
    let answer = driver.wait(send(&driver, "r1", body.into_bytes(), &[]).await).await;
    assert_eq!(answer["success"], true, "{answer}");
    let sent = &scene.account.statements()[0].body;
    assert_eq!(
        sent["queryContextDTO"].to_string(),
        serde_json::from_str::<Value>(context).unwrap().to_string()
    );
    assert_eq!(sent["sequenceId"], 9_007_199_254_740_993_u64);
    assert_eq!(sent["bindings"]["1"]["value"], "12345678901234567890123456789012345678");
    scene.end().await;
}
