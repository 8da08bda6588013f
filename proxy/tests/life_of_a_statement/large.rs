//! Results that are larger than what is held of them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::sync::watch;

use super::account::{STORE, Told, rows};
use super::{Scene, message};

/// Rows of a chunk as its store has them, and as the agent may see them.
fn many(count: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut raw, mut masked) = (String::new(), String::new());
    for n in 0..count {
        let comma = if n == 0 { "" } else { "," };
        write!(raw, "{comma}[\"{n}\",\"person-{n}@example.com\"]").unwrap();
        write!(masked, "{comma}[\"{n}\",\"****\"]").unwrap();
    }
    (raw.into_bytes(), masked.into_bytes())
}

/// The account's answer to every statement: one chunk. The store serves it as `store` says, by the number of the try.
fn answers(scene: &Scene, count: usize, store: impl Fn(usize) -> Told + Send + Sync + 'static) {
    let tries = AtomicUsize::new(0);
    scene.account.answers(move |asked| {
        if asked.host == STORE {
            return Some(store(tries.fetch_add(1, Ordering::Relaxed)));
        }
        (asked.path == "/queries/v1/query-request").then(|| {
            let mut answer = rows(&["ID", "EMAIL"], &[]);
            answer["data"]["chunks"] =
                json!([{"url": format!("https://{STORE}/a?sig=presigned"), "rowCount": count}]);
            Told::json(&answer)
        })
    });
}

async fn link(scene: &Scene) -> (super::Driver, String) {
    let driver = scene.driver().await;
    let answer = driver.query("select id, email from customers").await;
    assert_eq!(answer["success"], true, "{}", message(&answer));
    let link = answer["data"]["chunks"][0]["url"].as_str().unwrap().to_owned();
    (driver, link)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_of_many_pieces_is_masked_recorded_and_the_same_for_several_readers_at_once() {
    let scene = Scene::set().await;
    let (raw, masked) = many(100_000);
    assert!(masked.len() > 1 << 20);
    answers(&scene, 100_000, move |_| Told {
        body: raw.clone(),
        gzip: true,
        ..Told::json(&json!({}))
    });
    let (driver, link) = link(&scene).await;
    let read = || driver.fetch(&link);
    let (one, two, three) = tokio::join!(read(), read(), read());
    for (status, body) in [one, two, three, read().await] {
        assert_eq!(status, 200);
        assert!(body == masked, "{} bytes", body.len());
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_breaks_off_is_asked_again_and_the_rows_come_whole() {
    let scene = Scene::set().await;
    let (raw, masked) = many(100_000);
    answers(&scene, 100_000, move |tries| Told {
        // Two megabytes, and then nothing: twice.
        breaks_at: (tries < 2).then_some(2 << 20),
        body: raw.clone(),
        ..Told::json(&json!({}))
    });
    let (driver, link) = link(&scene).await;
    let (status, body) = driver.fetch(&link).await;
    assert_eq!(status, 200);
    assert!(body == masked, "{} bytes", body.len());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_change_between_two_readings_are_not_given_out() {
    let scene = Scene::set().await;
    let (first, masked) = many(100);
    let second =
        String::from_utf8(first.clone()).unwrap().replace("[\"7\",", "[\"70\",").into_bytes();
    let bodies = Arc::new([first, second]);
    answers(&scene, 100, move |tries| Told {
        body: bodies[tries.min(1)].clone(),
        ..Told::json(&json!({}))
    });
    let (driver, link) = link(&scene).await;
    assert_eq!(driver.fetch(&link).await, (200, masked));
    let (status, refusal) = driver.fetch(&link).await;
    assert_eq!(status, 502);
    assert!(String::from_utf8_lossy(&refusal).contains("FG-4003"));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_with_fewer_rows_than_announced_is_refused() {
    let scene = Scene::set().await;
    let (raw, _) = many(99);
    answers(&scene, 100, move |_| Told { body: raw.clone(), ..Told::json(&json!({})) });
    let (driver, link) = link(&scene).await;
    let (status, refusal) = driver.fetch(&link).await;
    let refusal = String::from_utf8(refusal).unwrap();
    assert_eq!(status, 502, "{refusal}");
    assert!(refusal.contains("FG-4003") && refusal.contains("announced 100"), "{refusal}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_none_is_refused_before_its_first_byte() {
    let scene = Scene::set().await;
    let none: [(&str, Vec<u8>, bool); 4] = [
        ("cut in a row", b"[\"1\",\"a\"],[\"2\"".to_vec(), false),
        ("another width", b"[\"1\"]".to_vec(), false),
        ("no JSON", b"[\"1\",nothing]".to_vec(), false),
        ("half a gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x8b".to_vec(), false),
    ];
    for (what, body, gzip) in none {
        answers(&scene, 0, move |_| Told { body: body.clone(), gzip, ..Told::json(&json!({})) });
        let (driver, link) = link(&scene).await;
        let (status, refusal) = driver.fetch(&link).await;
        let text = String::from_utf8_lossy(&refusal).into_owned();
        assert_eq!(status, 502, "{what}: {text}");
        assert!(text.contains("FG-4003"), "{what}: {text}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rows_of_a_slow_store_come_before_the_rest_is_there() {
    let scene = Scene::set().await;
    let (raw, masked) = many(100_000);
    let (go_on, gate) = watch::channel(false);
    answers(&scene, 100_000, move |_| Told {
        // Less than a tenth of a megabyte, and then nothing for a while.
        pauses_at: Some((96 << 10, gate.clone())),
        body: raw.clone(),
        ..Told::json(&json!({}))
    });
    let (driver, link) = link(&scene).await;
    let mut answer = driver.open(&link).await;
    assert_eq!(answer.status(), 200);
    let first = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(!first.is_empty() && masked.starts_with(&first), "{} bytes", first.len());
    go_on.send_replace(true);
    let further = answer.into_body().collect().await.unwrap().to_bytes();
    assert!([first, further].concat() == masked);
    // However fast it comes, the second reading is the same.
    assert!(driver.fetch(&link).await == (200, masked));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_its_driver_does_not_read_keeps_no_other_waiting() {
    let scene = Scene::with(|config| config.limits.chunks_at_once = 1).await;
    // More than all buffers on the way hold.
    let row = format!("[\"{}\"]", "7".repeat(38));
    let large = vec![row.as_str(); 1 << 20].join(",").into_bytes();
    let length = large.len();
    let chunks = move |asked: &super::account::Asked| {
        if asked.host == STORE {
            let body = if asked.path == "/large" { large.clone() } else { b"[\"1\"]".to_vec() };
            return Some(Told { body, ..Told::json(&json!({})) });
        }
        (asked.path == "/queries/v1/query-request").then(|| {
            let mut answer = rows(&["ID"], &[]);
            let link =
                |name: &str| json!({"url": format!("https://{STORE}/{name}"), "rowCount": 1});
            answer["data"]["chunks"] = json!([link("large"), link("small")]);
            Told::json(&answer)
        })
    };
    scene.account.answers(chunks);
    let driver = scene.driver().await;
    let answer = driver.query("select id from customers").await;
    let url = |at: usize| answer["data"]["chunks"][at]["url"].as_str().unwrap().to_owned();
    let (large, small) = (url(0), url(1));
    let unread = driver.open(&large).await;
    assert_eq!(unread.status(), 200);
    let other = driver.fetch(&small);
    let other = tokio::time::timeout(std::time::Duration::from_secs(5), other).await.unwrap();
    assert_eq!(other, (200, b"[\"1\"]".to_vec()));
    // And goes on when it is read.
    assert_eq!(unread.into_body().collect().await.unwrap().to_bytes().len(), length);
    scene.end().await;
}
