//! Detectors on the way of a statement: rows in the answer and in chunks, the text of errors, the record and the metrics.

use std::collections::BTreeMap;

use recording::Fact;
use recording::entry::Hidden;
use serde_json::{Value, json};

use super::account::{STORE, Told, failure, rows};
use super::driver::Driver;
use super::{Scene, document, eventually, message, policy};

const CARD: &str = "4111 1111 1111 1111";

/// The usual policy, and detectors for cards and secrets.
async fn scene() -> Scene {
    let scene = Scene::set().await;
    change(&scene, |_| ()).await;
    scene
}

/// Gives another policy, and waits until it holds.
async fn change(scene: &Scene, change: impl FnOnce(&mut policy::Document)) {
    let mut with = policy();
    with.detectors = document(
        r#"{"name": "x", "generation": 1, "detectors": [
            {"find": ["CardNumber", "SocialSecurityNumber"]}, {"find": ["Secret"], "mask": "Null"}]}"#,
    )
    .detectors;
    change(&mut with);
    let hash = policy::document::hash(std::slice::from_ref(&with));
    scene.operator.change(|snapshot| snapshot.documents = vec![with]);
    eventually(async || {
        let (_, page) = Driver::at(scene.admin).fetch("/metrics").await;
        String::from_utf8(page).unwrap().contains(&hash[..12])
    })
    .await;
}

fn hidden(position: u32, column: &str, detector: &str, cells: u64) -> Hidden {
    Hidden { position, column: column.into(), detector: detector.into(), cells }
}

/// Ends the scene and gives the facts of its recording.
async fn facts(scene: Scene) -> Vec<Fact> {
    let operator = std::sync::Arc::clone(&scene.operator);
    scene.end().await;
    let stored = operator.stored.lock().unwrap();
    let files: BTreeMap<u64, Vec<u8>> =
        (0..).zip(stored.iter().map(|file| file.to_vec())).collect();
    let mut facts = Vec::new();
    // What the operator stores is verified elsewhere; here its entries count.
    let _ = recording::verify::read("0190a000-0000-7000-8000-000000000001", &files, |item| {
        facts.push(item.entry.fact);
    });
    facts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_is_hidden_in_answer_and_chunk_counted_and_on_record() {
    let scene = scene().await;
    let driver = scene.driver().await;
    scene.account.answers(|asked| {
        if asked.host == STORE {
            let body = format!(r#"["5","fine"],["6","again {CARD}"],["7",null]"#).into_bytes();
            return Some(Told { body, ..Told::json(&json!({})) });
        }
        (asked.path == "/queries/v1/query-request").then(|| {
            let mut answer = rows(
                &["ID", "NOTE"],
                &[
                    &["1", "caf\u{e9} \u{2603}"],
                    &["4111111111111111", "n"],
                    &["2", &format!("my card is {CARD}.")],
                    &["3", r#"{"k": "AKIAIOSFODNN7EXAMPLE"}"#],
                    &["4", &"x".repeat(70_000)],
                ],
            );
            answer["data"]["total"] = 8.into();
            answer["data"]["chunks"] = json!([
                {"url": format!("https://{STORE}/a"), "rowCount": 3, "uncompressedSize": 30, "compressedSize": 20},
            ]);
            Told::json(&answer)
        })
    });
    let answer = driver.query("select id, 'x' as note from customers").await;
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(
        answer["data"]["rowset"],
        json!([["1", "caf\u{e9} \u{2603}"], ["0", "n"], ["2", "****"], ["3", null], ["4", null]])
    );
    let url = answer["data"]["chunks"][0]["url"].as_str().unwrap();
    for _ in 0..2 {
        let (status, chunk) = driver.fetch(url).await;
        let chunk = String::from_utf8(chunk).unwrap();
        assert_eq!((status, chunk.as_str()), (200, r#"["5","fine"],["6","****"],["7",null]"#));
    }
    let (_, page) = Driver::at(scene.admin).fetch("/metrics").await;
    let page = String::from_utf8(page).unwrap();
    for (detector, cells) in [("CardNumber", 3), ("Secret", 1), ("Unsearched", 1)] {
        let series =
            format!("frostgate_proxy_detected_cells_total{{detector=\"{detector}\"}} {cells}");
        assert!(page.contains(&series), "{page}");
    }
    let facts = facts(scene).await;
    let completed = facts.iter().find_map(|fact| match fact {
        Fact::Completed(completed) => Some(completed.hidden.clone()),
        _ => None,
    });
    let expected = [
        hidden(0, "ID", "CardNumber", 1),
        hidden(1, "NOTE", "CardNumber", 1),
        hidden(1, "NOTE", "Secret", 1),
        hidden(1, "NOTE", "Unsearched", 1),
    ];
    assert_eq!(completed.unwrap(), expected);
    let chunks: Vec<_> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Rows(rows) if rows.chunk == 1 => Some(rows.hidden.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(chunks, [[hidden(1, "NOTE", "CardNumber", 1)]], "once, however often it is read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_name_says_what_digits_are_and_an_exception_holds_for_plain_columns() {
    let scene = scene().await;
    let driver = scene.driver().await;
    scene.account.answers(|asked| {
        let sql = asked.body["sqlText"].as_str().unwrap_or_default();
        let name = if sql.contains("ssn") { "SSN" } else { "NOTE" };
        (asked.path == "/queries/v1/query-request")
            .then(|| Told::json(&rows(&["ID", name], &[&["4111111111111111", "078051120"]])))
    });
    let rows = |answer: &Value| answer["data"]["rowset"].clone();
    let answer = driver.query("select id, 'x' as ssn from customers").await;
    assert_eq!(rows(&answer), json!([["0", "****"]]), "{answer}");
    let answer = driver.query("select id, 'x' as note from customers").await;
    assert_eq!(rows(&answer), json!([["0", "078051120"]]), "{answer}");

    change(&scene, |document| {
        document.detectors[0].except = vec!["DEMO.PUBLIC.CUSTOMERS.ID".into()];
    })
    .await;
    let answer = driver.query("select id, 'x' as ssn from customers").await;
    assert_eq!(rows(&answer), json!([["4111111111111111", "****"]]), "{answer}");
    let answer = driver.query("select max(id) as id, 'x' as ssn from customers").await;
    assert_eq!(rows(&answer), json!([["0", "****"]]), "{answer}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_quotes_what_is_looked_for_is_withheld() {
    let scene = scene().await;
    let driver = scene.driver().await;
    for (text, passes) in [
        (format!("Numeric value '{CARD}' is not recognized"), false),
        ("Division by zero".into(), true),
    ] {
        let told = Told::json(&failure("100038", &text));
        scene.account.answers(move |asked| {
            (asked.path == "/queries/v1/query-request").then(|| told.clone())
        });
        // Nothing of this statement is masked: only the detectors withhold its text.
        let answer = driver.query("select 1").await;
        assert_eq!(
            (answer["code"].as_str(), message(&answer) == text),
            (Some("100038"), passes),
            "{answer}"
        );
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_lifts_refusals_and_no_detector() {
    let scene = scene().await;
    let driver = scene.driver().await;
    scene.account.answers(|asked| {
        (asked.path == "/queries/v1/query-request")
            .then(|| Told::json(&rows(&["ID"], &[&["4111111111111111"]])))
    });
    let refused = driver.query("select id from secrets").await;
    assert!(message(&refused).starts_with("FG-2003"), "{refused}");
    change(&scene, |document| document.mode = policy::document::Mode::Audit).await;
    let answer = driver.query("select id from secrets").await;
    assert_eq!(answer["data"]["rowset"], json!([["0"]]), "{answer}");
    scene.end().await;
}
