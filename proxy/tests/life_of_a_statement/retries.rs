//! The same request again: what is kept, what is fetched again, and what is never done twice.

use serde_json::{Value, json};

use super::account::{QUERY_ID, Told, failure, rows};
use super::{Scene, message};

fn select() -> Value {
    json!({"sqlText": "select id, email from customers"})
}

/// Answers are dropped as soon as somebody got them.
async fn forgetful() -> Scene {
    Scene::with(|config| config.limits.answer_kept = 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_longer_kept_is_fetched_again_under_the_masks_of_then() {
    let scene = forgetful().await;
    let driver = scene.driver().await;
    scene.account.answers(|asked| match asked.path.as_str() {
        path if path == format!("/queries/{QUERY_ID}/result") => {
            let mut told = rows(&["ID", "EMAIL"], &[&["1", "ada@example.com"]]);
            // What is not rows may have changed since.
            told["data"]["sendResultTime"] = 5.into();
            Some(Told::json(&told))
        }
        _ => None,
    });
    let first = driver.ask("r1", &select()).await;
    assert_eq!(first["data"]["rowset"], json!([["1", "****"]]), "{first}");
    // The policy has changed: what was answered once is answered the same, or not at all.
    scene.operator.change(|snapshot| snapshot.documents[0].masking.clear());
    for _ in 0..2 {
        let again = driver.ask("r1", &select()).await;
        assert_eq!(again["data"]["rowset"], first["data"]["rowset"], "{again}");
        assert_eq!(again["data"]["queryId"], first["data"]["queryId"]);
    }
    let (_, polled) = driver.get(&format!("/queries/{QUERY_ID}/result")).await;
    assert_eq!(polled["data"]["rowset"], first["data"]["rowset"], "{polled}");
    assert_eq!(scene.account.statements().len(), 1);
    assert_eq!(scene.account.requests(&format!("/queries/{QUERY_ID}/result")).len(), 3);
    let scanned = driver.query(&format!("select * from table(result_scan('{QUERY_ID}'))")).await;
    assert_eq!(scanned["data"]["rowset"], first["data"]["rowset"], "{scanned}");
    let record = scene.end_with_record().await;
    let attempts = record.iter().filter(|entry| entry["entry"] == "Attempted").count();
    let ended = record.iter().filter(|entry| entry["entry"] == "Completed").count();
    assert_eq!((attempts, ended), (2, 2), "the select and the scan, each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_gone_or_is_another_now_is_one_clear_error() {
    let scene = forgetful().await;
    let driver = scene.driver().await;
    assert_eq!(driver.ask("r1", &select()).await["success"], true);
    let other_rows = rows(&["ID", "EMAIL"], &[&["2", "bo@example.com"]]);
    let other_columns = rows(&["EMAIL", "ID"], &[&["ada@example.com", "1"]]);
    for told in [
        Told::json(&failure("000612", "Result not found")),
        Told::json(&other_rows),
        Told::json(&other_columns),
        Told::status(404),
    ] {
        scene.account.answers(move |asked| asked.path.ends_with("/result").then(|| told.clone()));
        let refused = driver.ask("r1", &select()).await;
        assert!(message(&refused).starts_with("FG-6006 the answer is no longer kept"), "{refused}");
        assert!(!refused.to_string().contains("@example.com"), "{refused}");
    }
    // The key outlives the answer: under it nothing else runs, and nothing runs again.
    let reused = driver.ask("r1", &json!({"sqlText": "select id from customers"})).await;
    assert!(message(&reused).starts_with("FG-6004"), "{reused}");
    assert_eq!(scene.account.statements().len(), 1);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_the_same_each_time_whatever_is_kept() {
    let scene = Scene::with(|config| {
        config.limits.answer_kept = 0;
        config.limits.answers = 0;
    })
    .await;
    let driver = scene.driver().await;
    let denied = json!({"sqlText": "select * from secrets"});
    let first = driver.ask("r1", &denied).await;
    assert!(message(&first).starts_with("FG-2003"), "{first}");
    assert_eq!(driver.ask("r2", &select()).await["success"], true);
    assert_eq!(driver.ask("r1", &denied).await, first);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_means_one_request_of_one_session() {
    let scene = Scene::set().await;
    let (driver, other) = (scene.driver().await, scene.driver().await);
    let bound = json!({"sqlText": "select id, email from customers", "sequenceId": 1,
                       "bindings": {"1": {"type": "TEXT", "value": "a"}}, "parameters": {"QUERY_TAG": "a"}});
    assert_eq!(driver.ask("r1", &bound).await["success"], true);
    for (field, value) in [
        ("sqlText", json!("select id,  email from customers")),
        ("bindings", json!({"1": {"type": "TEXT", "value": "b"}})),
        ("bindings", json!({"1": {"type": "FIXED", "value": "a"}})),
        ("bindings", Value::Null),
        ("bindStage", json!("@stage")),
        ("parameters", json!({"QUERY_TAG": "b"})),
        ("parameters", json!({"QUERY_TAG": "a", "MULTI_STATEMENT_COUNT": 0})),
        ("describeOnly", json!(true)),
        ("asyncExec", json!(true)),
    ] {
        let mut changed = bound.clone();
        changed[field] = value;
        let refused = driver.ask("r1", &changed).await;
        assert!(message(&refused).starts_with("FG-6004"), "{field}: {refused}");
    }
    let mut retried = bound.clone();
    retried["sequenceId"] = 2.into();
    retried["querySubmissionTime"] = 7.into();
    assert_eq!(driver.ask("r1", &retried).await["success"], true);
    assert_eq!(scene.account.statements().len(), 1);
    // Another session's request of the same id is another request.
    assert_eq!(other.ask("r1", &select()).await["success"], true);
    assert_eq!(scene.account.statements().len(), 2);
    scene.end().await;
}
