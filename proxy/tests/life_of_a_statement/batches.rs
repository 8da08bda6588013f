//! Several statements in one request, judged one by one and sent as one.

use serde_json::{Value, json};
use uuid::Uuid;

use super::account::{Account, QUERY_ID, Told, failure, rows};
use super::{Driver, Scene, message};

pub(crate) const FIRST: &str = "01b2c3d4-0000-4000-8000-00000000000a";
pub(crate) const SECOND: &str = "01b2c3d4-0000-4000-8000-00000000000b";

/// The account runs whatever it is sent as two statements.
pub(crate) fn runs_two(account: &Account) {
    account.answers(|asked| match asked.path.as_str() {
        "/queries/v1/query-request" => {
            let mut whole = rows(
                &["multiple statement execution"],
                &[&["Multiple statements executed successfully."]],
            );
            whole["data"]["resultIds"] = format!("{FIRST},{SECOND}").into();
            whole["data"]["resultTypes"] = "4096,4096".into();
            whole["data"]["statementTypeId"] = 0xA000.into();
            Some(Told::json(&whole))
        }
        path if path.contains(FIRST) => {
            Some(result(FIRST, &["ID", "EMAIL"], &["1", "ada@example.com"]))
        }
        path if path.contains(SECOND) => {
            Some(result(SECOND, &["EMAIL", "ID"], &["bo@example.com", "2"]))
        }
        _ => None,
    });
}

fn result(id: &str, columns: &[&str], row: &[&str]) -> Told {
    let mut result = rows(columns, &[row]);
    result["data"]["queryId"] = id.into();
    Told::json(&result)
}

async fn ask(driver: &Driver, sql: &str, count: Value) -> Value {
    let body = json!({"sqlText": sql, "parameters": {"MULTI_STATEMENT_COUNT": count}});
    driver.ask(&Uuid::new_v4().to_string(), &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_statements_are_sent_as_one_and_each_result_is_masked_and_recorded_on_its_own() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    runs_two(&scene.account);
    let sql = "select id, email from customers; select email, id from customers; -- both";
    for count in [json!(2), json!("0")] {
        let whole = ask(&driver, sql, count).await;
        assert_eq!(whole["success"], true, "{whole}");
        assert_eq!(whole["data"]["resultIds"], format!("{FIRST},{SECOND}"));
        assert_eq!(whole["data"]["resultTypes"], "4096,4096");
    }
    for (id, expected) in [(FIRST, json!([["1", "****"]])), (SECOND, json!([["****", "2"]]))] {
        let (_, answer) = driver.get(&format!("/queries/{id}/result")).await;
        assert_eq!(answer["data"]["rowset"], expected, "{answer}");
        let (_, status) = driver.get(&format!("/monitoring/queries/{id}")).await;
        assert_eq!(status["data"]["queries"][0]["status"], "SUCCESS");
        // Their ids are this session's, and nobody else's.
        let other = scene.driver().await;
        let (_, refused) = other.get(&format!("/queries/{id}/result")).await;
        assert!(message(&refused).starts_with("FG-6005"), "{refused}");
    }
    let sent = scene.account.statements();
    assert_eq!(sent.len(), 2);
    for sent in sent {
        assert_eq!(sent.body["sqlText"], sql);
        assert_eq!(sent.body["parameters"]["MULTI_STATEMENT_COUNT"], 2);
    }
    // Each statement counts once, and what they were sent in is none.
    let counted = scene.counted("Select").await;
    assert_eq!(counted, ["frostgate_proxy_statements_total{kind=\"Select\",decision=\"Allow\"} 4"]);
    let record = scene.end_with_record().await;
    let attempts: Vec<_> = record.iter().filter(|entry| entry["entry"] == "Attempted").collect();
    let texts: Vec<_> = attempts.iter().map(|entry| entry["sql"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 6, "{texts:?}");
    assert_eq!(texts[0], sql);
    let mut own = texts[1..3].to_vec();
    own.sort_unstable();
    assert_eq!(own, ["select email, id from customers", "select id, email from customers"]);
    for part in &attempts[1..3] {
        assert_eq!(part["requestId"], attempts[0]["requestId"]);
        let whole = attempts[0]["statement"].as_str().unwrap();
        assert_eq!(part["decision"]["reason"], format!("PartOf {whole}"));
        assert_eq!(part["decision"]["masks"].as_array().unwrap().len(), 1, "{part}");
        let ended = record.iter().filter(|entry| entry["entry"] == "Completed");
        assert_eq!(ended.filter(|entry| entry["statement"] == part["statement"]).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_many_statements_there_are_must_be_said() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let two = "select id from customers; select id from customers";
    for (sql, count, wanted) in
        [(two, json!(1), 1), (two, json!(3), 3), ("select id from customers", json!(2), 2)]
    {
        let refused = ask(&driver, sql, count).await;
        assert_eq!(
            (&refused["code"], &refused["data"]["sqlState"]),
            (&json!("000008"), &json!("0A000")),
            "{refused}"
        );
        let counted = if sql == two { 2 } else { 1 };
        let said = format!(
            "Actual statement count {counted} did not match the desired statement count {wanted}."
        );
        assert!(message(&refused).contains(&said), "{refused}");
        assert!(message(&refused).starts_with("FG-2011"), "{refused}");
    }
    let refused = driver.query(two).await;
    assert_eq!(refused["code"], "000008", "{refused}");
    for count in [json!(-1), json!("many"), json!([2]), Value::Null] {
        let refused = ask(&driver, two, count).await;
        assert!(message(&refused).starts_with("FG-2008"), "{refused}");
    }
    assert!(scene.account.statements().is_empty());
    // One statement is one, however it is counted, and the account is told so.
    assert_eq!(ask(&driver, "select id, email from customers;", json!(0)).await["success"], true);
    assert_eq!(scene.account.statements()[0].body["parameters"]["MULTI_STATEMENT_COUNT"], 1);
    // Said once at login it holds for the session, and the account's own setting is left alone.
    runs_two(&scene.account);
    let mut other = Driver::at(scene.proxy);
    other.log_in(json!({"SESSION_PARAMETERS": {"MULTI_STATEMENT_COUNT": 0}})).await;
    let both =
        other.query("select id, email from customers; select email, id from customers").await;
    assert_eq!(both["data"]["resultTypes"], "4096,4096", "{both}");
    let logins = scene.account.requests("/session/v1/login-request");
    assert_eq!(logins[1].body["data"]["SESSION_PARAMETERS"]["MULTI_STATEMENT_COUNT"], Value::Null);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_refused_together_where_one_is_refused_or_could_change_the_others() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    for (sql, code) in [
        ("select id from customers; select id from secrets", "FG-2003"),
        ("select id from customers; drop table customers", "FG-2002"),
        ("select id from customers; selec id", "FG-2001"),
        ("select id from customers;; select 1", "FG-2001"),
        ("select id from customers; begin select 1; end", "FG-2001"),
        ("use schema demo.public; select id from customers", "FG-2002"),
        ("select id from customers; select * from nowhere", "FG-2012"),
    ] {
        let refused = ask(&driver, sql, json!(0)).await;
        assert!(message(&refused).starts_with(code), "{sql}: {refused}");
    }
    let described = json!({"sqlText": "select id from customers; select 1", "describeOnly": true,
                           "parameters": {"MULTI_STATEMENT_COUNT": 2}});
    let described = driver.query_as("describe", &described).await;
    assert!(message(&described).starts_with("FG-2011"), "{described}");
    assert!(scene.account.statements().is_empty());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_which_one_needs_a_human_are_held_and_granted_as_one() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    runs_two(&scene.account);
    let sql = "select id, email from customers; delete from customers";
    let body = json!({"sqlText": sql, "parameters": {"MULTI_STATEMENT_COUNT": 2}});
    let pending = driver.query_as("held", &body).await;
    assert_eq!(pending["code"], "333333", "{pending}");
    let (statement, question) = scene.operator.questions(1).await.remove(0);
    assert_eq!(question.sql, sql);
    assert_eq!(question.kinds, ["Select", "Delete"]);
    assert!(scene.account.statements().is_empty());
    scene.account.answers(|asked| match asked.path.as_str() {
        "/queries/v1/query-request" => {
            let mut whole = rows(&["multiple statement execution"], &[&["done"]]);
            whole["data"]["resultIds"] = format!("{FIRST},{SECOND}").into();
            Some(Told::json(&whole))
        }
        path if path.contains(FIRST) => {
            Some(result(FIRST, &["ID", "EMAIL"], &["1", "ada@example.com"]))
        }
        path if path.contains(SECOND) => Some(result(SECOND, &["number of rows deleted"], &["8"])),
        _ => None,
    });
    scene.operator.approve("0190a000-0000-7000-8000-000000000001", &statement, &question.digest);
    let whole = driver.wait(pending).await;
    assert_eq!(whole["success"], true, "{whole}");
    let (_, deleted) = driver.get(&format!("/queries/{SECOND}/result")).await;
    assert_eq!(deleted["data"]["rowset"], json!([["8"]]), "{deleted}");
    // A retry asks nobody and runs nothing again.
    assert_eq!(driver.query_as("held", &body).await, whole);
    assert_eq!(scene.account.statements().len(), 1);
    assert_eq!(scene.operator.asked.lock().unwrap().len(), 1);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_other_results_than_statements_releases_nothing() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let one = ("select id, email from customers", json!(1));
    let two = ("select id, email from customers; select email, id from customers", json!(2));
    for ((sql, count), ids) in [(&one, FIRST), (&two, FIRST), (&two, ""), (&two, "x,y")] {
        scene.account.answers(move |asked| {
            let mut whole = rows(&["ID", "EMAIL"], &[&["1", "ada@example.com"]]);
            whole["data"]["resultIds"] = ids.into();
            (asked.path == "/queries/v1/query-request").then(|| Told::json(&whole))
        });
        let refused = ask(&driver, sql, count.clone()).await;
        assert!(message(&refused).starts_with("FG-4003"), "{refused}");
        assert!(!refused.to_string().contains("ada@"), "{refused}");
    }
    // One that fails fails all, with the account's own words.
    scene.account.answers(|asked| {
        let told = Told::json(&failure("002003", "Object 'X' does not exist"));
        (asked.path == "/queries/v1/query-request").then_some(told)
    });
    let failed = ask(&driver, "select id from customers; select id from customers", json!(2)).await;
    assert_eq!((&failed["code"], &failed["data"]["queryId"]), (&json!("002003"), &json!(QUERY_ID)));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_the_request_itself_carries_no_rows_of_its_statements() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    scene.account.answers(|asked| {
        (asked.path == "/queries/v1/query-request").then(|| {
            let mut whole = rows(&["ID", "EMAIL"], &[&["1", "ada@example.com"]]);
            whole["data"]["resultIds"] = format!("{FIRST},{SECOND}").into();
            Told::json(&whole)
        })
    });
    let sql = "select id from customers; select email from customers";
    let answer = ask(&driver, sql, json!(2)).await;
    assert!(message(&answer).starts_with("FG-2014"), "{answer}");
    assert!(!answer.to_string().contains("ada@"), "{answer}");
    scene.end().await;
}

/// What is on record of each statement of the one request in it: its text, how it ended, with which code.
fn fates(record: &[Value]) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attempts = record.iter().filter(|entry| entry["entry"] == "Attempted");
    let mut fates: Vec<_> = attempts
        .map(|attempt| {
            let of_it = |entry: &&Value| entry["statement"] == attempt["statement"];
            let sent = record.iter().filter(of_it).any(|entry| entry["entry"] == "Sent");
            let ends = ["Completed", "Refused", "Failed"];
            let ended = record.iter().filter(of_it);
            let mut ended = ended.filter(|entry| ends.contains(&entry["entry"].as_str().unwrap()));
            let (end, none) = (ended.next().unwrap(), ended.next());
            assert!(none.is_none(), "{none:?}");
            // Only what was not sent did not run.
            assert_eq!(sent, end["entry"] != "Refused", "{end}");
            (text(&attempt["sql"]), text(&end["entry"]), text(&end["code"]))
        })
        .collect();
    fates.sort();
    fates
}

const THREE: [&str; 3] = [
    "delete from customers where id = 1",
    "select email from customers",
    "select id from customers",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_of_a_request_that_fails_midway_is_on_record_with_what_became_of_it() {
    let sql = THREE.join(";\n");
    let at = |position: &str| {
        format!(
            "JavaScript execution error: Uncaught Execution of multiple statements failed on statement \
             \"select email from customers\" (at {position}).\nNumeric value 'ada@example.com' is not recognized"
        )
    };
    let unknown = ("Failed", "FG-4004");
    for (message, expected) in [
        (
            at("line 2, position 0"),
            [("Failed", "FG-4006"), ("Failed", "100132"), ("Refused", "FG-4007")],
        ),
        (at("line 7, position 0"), [unknown; 3]),
        ("Statement reached its timeout".to_owned(), [unknown; 3]),
    ] {
        let scene = Scene::set().await;
        let driver = scene.driver().await;
        scene.account.answers(move |asked| {
            let told = Told::json(&failure("100132", &message));
            (asked.path == "/queries/v1/query-request").then_some(told)
        });
        let failed = ask(&driver, &sql, json!(3)).await;
        assert_eq!(failed["code"], "100132", "{failed}");
        assert_eq!(scene.account.statements().len(), 1);
        assert_eq!(scene.counted("Select").await.len(), 1);
        let record = scene.end_with_record().await;
        let written = Value::from(record.clone()).to_string();
        assert!(!written.contains("ada@"), "{written}");
        let expected: Vec<_> = THREE.iter().zip(expected).collect();
        let mut expected: Vec<_> = expected
            .iter()
            .map(|(text, (entry, code))| {
                ((**text).to_owned(), (*entry).to_owned(), (*code).to_owned())
            })
            .collect();
        expected.push((sql.clone(), "Failed".to_owned(), "100132".to_owned()));
        expected.sort();
        assert_eq!(fates(&record), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_ran_are_on_record_where_their_answer_is_kept_back_or_never_came() {
    let sql = THREE.join(";");
    for (told, parent, code) in [
        // The account gives another number of results: they ran, and nobody saw of which.
        (Some(rows(&["x"], &[&["done"]])), ("Failed", "FG-4003"), "FG-4003"),
        (None, ("Failed", "FG-4004"), "FG-4004"),
    ] {
        let scene = Scene::set().await;
        let driver = scene.driver().await;
        scene.account.answers(move |asked| {
            let told = told.as_ref().map_or_else(Told::cut, Told::json);
            (asked.path == "/queries/v1/query-request").then_some(told)
        });
        let failed = ask(&driver, &sql, json!(3)).await;
        assert!(message(&failed).starts_with(parent.1), "{failed}");
        let record = scene.end_with_record().await;
        for (text, entry, said) in fates(&record) {
            let expected = if text == sql { parent } else { ("Failed", code) };
            assert_eq!((&*entry, &*said), expected, "{text}");
        }
    }
}
