//! What happens to statements after they were sent: cancelled, deserted, read again by their ids.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use super::account::{QUERY_ID, Told, failure, rows};
use super::{Driver, Scene, eventually, message};

const HELD: &str = "delete from customers";

/// Asks for something that waits for a human; gives its id.
async fn held(scene: &Scene, driver: &Driver) -> String {
    let before = scene.operator.asked.lock().unwrap().len();
    let pending = driver.submit(HELD).await;
    scene.operator.questions(before + 1).await;
    pending["data"]["queryId"].as_str().unwrap().to_owned()
}

async fn status(driver: &Driver, id: &str) -> Value {
    let (_, answer) = driver.get(&format!("/monitoring/queries/{id}")).await;
    answer["data"]["queries"][0].clone()
}

async fn result(driver: &Driver, id: &str) -> Value {
    driver.wait(driver.get(&format!("/queries/{id}/result")).await.1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_cancelled_by_query_id_at_both_doors_and_only_in_its_own_session() {
    let scene = Scene::set().await;
    let (driver, other) = (scene.driver().await, scene.driver().await);
    let id = held(&scene, &driver).await;
    let cancel = format!("select system$cancel_query('{id}');");
    assert!(message(&other.query(&cancel).await).starts_with("FG-6005"));
    let (_, refused) = other.post(&format!("/queries/{id}/abort-request"), &json!({})).await;
    assert!(message(&refused).starts_with("FG-6005"), "{refused}");
    let abort = json!({"sqlText": HELD, "requestId": "of nobody"});
    let (_, refused) = other.post("/queries/v1/abort-request?requestId=x", &abort).await;
    assert!(message(&refused).starts_with("FG-6005"), "{refused}");
    assert_eq!(status(&driver, &id).await["status"], "RUNNING");

    let said = driver.query(&cancel).await;
    assert_eq!(said["data"]["rowset"], json!([[format!("query [{id}] terminated.")]]), "{said}");
    assert_eq!(said["data"]["rowtype"][0]["name"], "SYSTEM$CANCEL_QUERY");
    let ended = result(&driver, &id).await;
    assert_eq!((&ended["code"], &ended["data"]["sqlState"]), (&json!("000604"), &json!("57014")));
    assert_eq!(status(&driver, &id).await["status"], "ABORTED");
    let again = driver.query(&cancel).await;
    let text = again["data"]["rowset"][0][0].as_str().unwrap();
    assert!(text.contains("not currently executing"), "{again}");

    let id = held(&scene, &driver).await;
    let (_, fine) = driver.post(&format!("/queries/{id}/abort-request"), &json!({})).await;
    assert_eq!(fine["success"], true);
    assert_eq!(result(&driver, &id).await["code"], "000604");
    // Nothing of it is the account's business.
    assert!(scene.account.statements().is_empty());
    assert_eq!(scene.operator.withdrawn.lock().unwrap().len(), 2);
    let with_more = driver.query(&format!("select system$cancel_query('{id}'), 1")).await;
    assert!(message(&with_more).starts_with("FG-2007"), "{with_more}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_all_that_it_runs_by_its_own_number_alone() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let number = &driver.login["data"]["sessionId"];
    let none = driver.query(&format!("select system$cancel_all_queries({number})")).await;
    assert_eq!(none["data"]["rowset"], json!([["0 queries cancelled."]]), "{none}");
    let ids = [held(&scene, &driver).await, held(&scene, &driver).await];
    let other = driver.query("select system$cancel_all_queries(1)").await;
    assert!(message(&other).starts_with("FG-6005"), "{other}");
    let with_more = driver.query(&format!("select system$cancel_all_queries({number}) + 1")).await;
    assert!(message(&with_more).starts_with("FG-2007"), "{with_more}");
    assert_eq!(status(&driver, &ids[0]).await["status"], "RUNNING");

    let said = driver.query(&format!("select system$cancel_all_queries('{number}')")).await;
    assert_eq!(said["data"]["rowset"], json!([["2 queries cancelled."]]), "{said}");
    assert_eq!(said["data"]["rowtype"][0]["name"], "SYSTEM$CANCEL_ALL_QUERIES");
    for id in &ids {
        assert_eq!(result(&driver, id).await["code"], "000604");
    }
    assert!(scene.account.statements().is_empty());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_statement_is_told_with_its_code_by_monitoring_too() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    scene.account.answers(|asked| {
        let told = Told::json(&failure("000630", "Statement reached its timeout of 3 second(s)"));
        (asked.path == "/queries/v1/query-request").then_some(told)
    });
    let body = json!({"sqlText": "select id from customers", "asyncExec": true,
                      "parameters": {"STATEMENT_TIMEOUT_IN_SECONDS": 3, "query_timeout": 3}});
    let answer = driver.ask("r1", &body).await;
    assert_eq!(answer["code"], "000630", "{answer}");
    let status = status(&driver, QUERY_ID).await;
    assert_eq!(status["status"], "FAILED_WITH_ERROR", "{status}");
    assert_eq!(status["errorCode"], "000630");
    assert!(status["endTime"].as_i64().unwrap() >= status["startTime"].as_i64().unwrap());
    // The account counts the time of a statement; how long a human takes is not the statement's time.
    let sent = &scene.account.statements()[0].body["parameters"];
    assert_eq!(
        (&sent["STATEMENT_TIMEOUT_IN_SECONDS"], &sent["query_timeout"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(scene.account.statements()[0].body["asyncExec"], false);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_client_is_gone_ends_and_an_asynchronous_one_goes_on() {
    let scene = Scene::with(|config| config.timings.detached = Duration::from_millis(400)).await;
    let driver = scene.driver().await;
    let deserted = held(&scene, &driver).await;
    let body = json!({"sqlText": HELD, "asyncExec": true});
    let submitted = driver.query_as("async", &body).await;
    assert_eq!(submitted["code"], "333334", "{submitted}");
    let (statement, question) = scene.operator.questions(2).await.remove(1);
    eventually(async || scene.operator.withdrawn.lock().unwrap().len() == 1).await;
    assert_eq!(*scene.operator.withdrawn.lock().unwrap(), std::slice::from_ref(&deserted));
    assert_eq!(result(&driver, &deserted).await["code"], "000604");
    scene.account.answers(|asked| {
        let told = Told::json(&rows(&["number of rows deleted"], &[&["8"]]));
        (asked.path == "/queries/v1/query-request").then_some(told)
    });
    scene.operator.approve("0190a000-0000-7000-8000-000000000001", &statement, &question.digest);
    let done = driver.wait(submitted).await;
    assert_eq!(done["data"]["rowset"], json!([["8"]]), "{done}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_other_sql_reads_keeps_its_masks_and_its_session() {
    let scene = Scene::set().await;
    let (driver, other) = (scene.driver().await, scene.driver().await);
    assert_eq!(driver.query("select id, email as contact from customers").await["success"], false);
    scene.account.answers(|asked| {
        let sql = asked.body["sqlText"].as_str().unwrap_or_default();
        let told = match sql {
            _ if asked.path != "/queries/v1/query-request" => return None,
            sql if sql.contains("as contact") => {
                rows(&["ID", "CONTACT"], &[&["1", "ada@example.com"]])
            }
            sql if sql.contains("upper") => rows(&["U", "ID"], &[&["ADA@EXAMPLE.COM", "1"]]),
            _ => rows(&["CONTACT"], &[&["ada@example.com"]]),
        };
        let mut told = told;
        if !sql.contains("as contact") {
            told["data"]["queryId"] = Uuid::new_v4().to_string().into();
        }
        Some(Told::json(&told))
    });
    let first = driver.query("select id, email as contact from customers").await;
    assert_eq!(first["data"]["rowset"], json!([["1", "****"]]), "{first}");
    let scan = format!("table(result_scan('{}'))", QUERY_ID.to_uppercase());
    for (sql, expected) in [
        (format!("select contact from {scan} where id = 1"), json!([["****"]])),
        (format!("select r.contact from {scan} as r"), json!([["****"]])),
        (
            format!("with c as (select * from {scan}) select contact from c order by id"),
            json!([["****"]]),
        ),
        (format!("select upper(contact) as u, id from {scan}"), json!([["****", "1"]])),
    ] {
        let answer = driver.query(&sql).await;
        assert_eq!(answer["data"]["rowset"], expected, "{sql}: {answer}");
    }
    let sent = scene.account.statements().len();
    for (sql, code) in [
        // A masked column steers no more here than in the table itself.
        (format!("select id from {scan} where contact = 'ada@example.com'"), "FG-2005"),
        (format!("insert into customers select * from {scan}"), "FG-2006"),
        (format!("select nothing from {scan}"), "FG-2001"),
        ("select id from table(result_scan(last_query_id()))".to_owned(), "FG-2001"),
        (format!("select id from table(result_scan('{}'))", Uuid::new_v4()), "FG-2001"),
    ] {
        let refused = driver.query(&sql).await;
        assert!(message(&refused).starts_with(code), "{sql}: {refused}");
    }
    let stolen = other.query(&format!("select contact from {scan}")).await;
    assert!(message(&stolen).starts_with("FG-2001"), "{stolen}");
    // An id that Frostgate made means nothing to the account: alone it is answered here, in other SQL it is refused.
    let (done, gate) = watch::channel(false);
    scene.account.answers(move |asked| {
        let told = rows(&["ID", "CONTACT"], &[&["1", "ada@example.com"]]);
        (asked.path == "/queries/v1/query-request").then(|| Told::json(&told).once(gate.clone()))
    });
    let body = json!({"sqlText": "select id, email as contact from customers", "asyncExec": true});
    let submitted = driver.query_as("a", &body).await;
    assert_eq!(submitted["code"], "333334", "{submitted}");
    let ours = submitted["data"]["queryId"].as_str().unwrap().to_owned();
    done.send_replace(true);
    driver.wait(submitted).await;
    let alone = driver.query(&format!("select * from table(result_scan('{ours}'))")).await;
    assert_eq!(alone["data"]["rowset"], json!([["1", "****"]]), "{alone}");
    let inside = driver.query(&format!("select id from table(result_scan('{ours}'))")).await;
    assert!(message(&inside).starts_with("FG-2001"), "{inside}");
    assert_eq!(scene.account.statements().len(), sent + 1);
    // What a policy says today holds for what was read yesterday.
    scene.operator.change(|snapshot| {
        snapshot.documents[0].objects[1].tables = vec!["DEMO.PUBLIC.CUSTOMERS".into()];
    });
    eventually(async || {
        message(&driver.query(&format!("select contact from {scan}")).await).starts_with("FG-2003")
    })
    .await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_several_statements_together_reads_as_no_result() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let children = [Uuid::new_v4(), Uuid::new_v4()];
    scene.account.answers(move |asked| match asked.path.as_str() {
        "/queries/v1/query-request" => {
            let mut whole = rows(&["multiple statement execution"], &[&["done"]]);
            whole["data"]["resultIds"] = format!("{},{}", children[0], children[1]).into();
            Some(Told::json(&whole))
        }
        path => children.iter().find(|id| path.contains(&id.to_string())).map(|id| {
            let mut result = rows(&["EMAIL"], &[&["ada@example.com"]]);
            result["data"]["queryId"] = id.to_string().into();
            Told::json(&result)
        }),
    });
    let body = json!({"sqlText": "select email from customers; select email from customers",
                      "parameters": {"MULTI_STATEMENT_COUNT": 2}});
    assert_eq!(driver.ask("both", &body).await["success"], true);
    scene.account.answers(|_| None);
    // What the account would give under it is not known; what it gives under the ids of its parts is.
    let scan = |column: &str, id: &str| {
        format!("select {column} as email, 1 as id from table(result_scan('{id}'))")
    };
    let refused = driver.query(&scan("\"multiple statement execution\"", QUERY_ID)).await;
    assert!(message(&refused).starts_with("FG-2001"), "{refused}");
    assert_eq!(scene.account.statements().len(), 1);
    scene.account.answers(|asked| {
        let mut told = rows(&["EMAIL", "ID"], &[&["ada@example.com", "1"]]);
        told["data"]["queryId"] = Uuid::new_v4().to_string().into();
        (asked.path == "/queries/v1/query-request").then(|| Told::json(&told))
    });
    let read = driver.query(&scan("email", &children[1].to_string())).await;
    assert_eq!(read["data"]["rowset"], json!([["****", "1"]]), "{read}");
    scene.end().await;
}
