//! Temporary tables: known to the session that made them, and to no other.

use serde_json::json;
use uuid::Uuid;

use super::account::{Told, failure};
use super::{Driver, Scene, document, eventually, message};

/// A scene whose agents may also make and drop tables.
async fn scene(mode: &str) -> (Scene, Driver) {
    let scene = Scene::set().await;
    let policy = document(&format!(
        r#"{{"name": "team/agents", "generation": 4, "mode": "{mode}",
            "statements": {{"allow": ["Select", "CreateTable", "DropTable"]}},
            "objects": [{{"effect": "Allow", "privileges": ["Read", "Create", "Drop"], "tables": ["DEMO.PUBLIC.*"]}}],
            "masking": [{{"columns": ["DEMO.PUBLIC.CUSTOMERS.EMAIL"], "method": {{"type": "Full"}}}}]}}"#,
    ));
    scene.operator.change(|snapshot| snapshot.documents = vec![policy]);
    let driver = scene.driver().await;
    // The policy of the scene allows no DROP.
    eventually(async || driver.query("drop table nothing").await["success"] == true).await;
    (scene, driver)
}

const READ: &str = "select id, email from mine";

async fn is_read(driver: &Driver) -> bool {
    let answer = driver.query(READ).await;
    if answer["success"] == true {
        // Nothing of a table with masks is in it.
        assert_eq!(answer["data"]["rowset"], json!([["1", "ada@example.com"]]), "{answer}");
        return true;
    }
    assert!(message(&answer).starts_with("FG-2012"), "{answer}");
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_table_is_read_back_by_its_session_until_it_is_dropped() {
    let (scene, driver) = scene("Enforce").await;
    assert!(!is_read(&driver).await);
    driver.query("create temporary table mine (id int, email varchar)").await;
    assert!(is_read(&driver).await);
    assert!(!is_read(&scene.driver().await).await, "another session sees it");
    driver.query("drop table mine").await;
    assert!(!is_read(&driver).await);
    // One whose rows come from a query.
    driver.query("create temp table mine as select id, 'x' as email from customers").await;
    assert!(is_read(&driver).await);
    let masked = driver.query("create or replace temp table mine as select * from customers").await;
    assert!(message(&masked).starts_with("FG-2006"), "{masked}");
    assert!(is_read(&driver).await, "what was refused changed nothing");
    // As the last of several statements.
    let other = scene.driver().await;
    scene.account.answers(|asked| {
        let is_whole = asked.body["sqlText"].as_str().is_some_and(|sql| sql.contains(';'));
        is_whole.then(|| {
            let mut whole = super::rows(&["multiple statement execution"], &[&["done"]]);
            let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
            whole["data"]["resultIds"] = format!("{one},{two}").into();
            whole["data"]["resultTypes"] = "4096,24832".into();
            Told::json(&whole)
        })
    });
    let both = "drop table if exists old; create temp table mine (id int, email varchar)";
    let body = json!({"sqlText": both, "parameters": {"MULTI_STATEMENT_COUNT": 2}});
    let refused = other.wait(other.query_as("one", &body).await).await;
    assert!(message(&refused).starts_with("FG-2011"), "{refused}");
    let both = "select id from customers; create temp table mine (id int, email varchar)";
    let body = json!({"sqlText": both, "parameters": {"MULTI_STATEMENT_COUNT": 2}});
    let whole = other.wait(other.query_as("two", &body).await).await;
    assert_eq!(whole["success"], true, "{whole}");
    assert!(is_read(&other).await);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_table_that_was_not_made_is_not_known() {
    let (scene, driver) = scene("Enforce").await;
    let make = "create temporary table mine (id int, email varchar)";
    let described = json!({"sqlText": make, "describeOnly": true});
    let answer = driver.wait(driver.query_as("described", &described).await).await;
    assert_eq!(answer["success"], true, "{answer}");
    assert!(!is_read(&driver).await);
    scene.account.answers(|asked| {
        let is_it = asked.body["sqlText"].as_str().is_some_and(|sql| sql.starts_with("create"));
        is_it.then(|| Told::json(&failure("002002", "Object 'MINE' already exists.")))
    });
    assert_eq!(driver.query(make).await["success"], false);
    assert!(!is_read(&driver).await);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_table_takes_no_name_that_the_account_has() {
    let (scene, driver) = scene("Enforce").await;
    // Nobody named the table before: it is asked for.
    let refused = driver.query("create temporary table customers (id int, email varchar)").await;
    assert!(message(&refused).starts_with("FG-2008"), "{refused}");
    assert!(message(&refused).contains("DEMO.PUBLIC.CUSTOMERS"), "{refused}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_audit_mode_let_into_a_temporary_table_does_not_make_it_known() {
    let (scene, driver) = scene("Audit").await;
    let made = driver.query("create temp table mine as select id, email from customers").await;
    assert_eq!(made["success"], true, "{made}");
    driver.query(READ).await;
    let record = scene.end_with_record().await;
    let read = record.iter().find(|entry| entry["sql"] == READ).unwrap();
    let lifted = read["decision"]["lifted"].as_str().unwrap_or_default();
    assert!(lifted.starts_with("FG-2012"), "{read}");
}
