//! The SQL REST API, as a program without a driver uses it.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::account::{STORE, Told, failure, rows};
use super::batches::{FIRST, SECOND, runs_two};
use super::{Scene, message};

/// A request; gives status and JSON.
async fn ask(scene: &Scene, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    ask_as(scene, &[("authorization", &format!("Bearer {token}"))], method, path, body).await
}

async fn ask_as(
    scene: &Scene,
    headers: &[(&str, &str)],
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut request = http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", scene.proxy))
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if method == "GET" { Bytes::new() } else { body.to_string().into() };
    let response = client.request(request.body(Full::new(body)).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn run(scene: &Scene, token: &str, sql: &str) -> (u16, Value) {
    ask(scene, token, "POST", "/api/v2/statements", &json!({"statement": sql})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_the_rest_api_is_judged_masked_and_answered_in_its_form() {
    let scene = Scene::set().await;
    let body = json!({
        "statement": "select id, email from customers where id = ?", "timeout": 60, "role": "ANALYST", "database": "DEMO",
        "bindings": {"1": {"type": "FIXED", "value": "1"}}, "parameters": {"query_tag": "nightly"},
    });
    let path = "/api/v2/statements?requestId=d5a1c1b2-0000-4000-8000-000000000001";
    let (status, answer) = ask(&scene, "alice", "POST", path, &body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"], json!([["1", "****"]]));
    assert_eq!(answer["resultSetMetaData"]["rowType"][1]["name"], "EMAIL");
    assert_eq!(answer["resultSetMetaData"]["partitionInfo"][0]["rowCount"], 1);
    assert_eq!(answer["code"], "090001");
    // A repetition of the request is the same statement.
    let (_, again) = ask(&scene, "alice", "POST", path, &body).await;
    assert_eq!(again, answer);
    let sent = scene.account.statements();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].body["bindings"]["1"]["value"], "1");
    assert_eq!(sent[0].body["parameters"]["STATEMENT_TIMEOUT_IN_SECONDS"], 60);
    assert_eq!(sent[0].body["parameters"]["query_tag"], "nightly");
    let login = &scene.account.requests("/session/v1/login-request")[0];
    assert_eq!(login.body["data"]["AUTHENTICATOR"], "SNOWFLAKE_JWT");
    assert!(!login.body.to_string().contains("alice"));
    let opened = scene.operator.opened.lock().unwrap()[0].clone();
    assert_eq!(opened.identity_token.as_deref(), Some("alice"));
    assert_eq!(opened.requested_role.as_deref(), Some("ANALYST"));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_and_place_is_one_session_and_another_token_is_another() {
    let scene = Scene::set().await;
    for token in ["alice", "alice", "bob"] {
        let (status, answer) = run(&scene, token, "select id, email from customers").await;
        assert_eq!(status, 200, "{answer}");
    }
    let place = json!({"statement": "select id from customers", "schema": "OTHER"});
    ask(&scene, "alice", "POST", "/api/v2/statements", &place).await;
    let opened = scene.operator.opened.lock().unwrap().clone();
    let who: Vec<_> = opened.iter().filter_map(|open| open.identity_token.as_deref()).collect();
    assert_eq!(who, ["alice", "bob", "alice"]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_or_fails_is_said_in_the_form_of_the_rest_api() {
    let scene = Scene::set().await;
    for (sql, code) in [
        ("drop table customers", "FG-2002"),
        ("select * from secrets", "FG-2003"),
        ("select 1; select 2", "FG-2011"),
        ("use schema other", "FG-6006"),
        ("alter session set timezone = 'UTC'", "FG-6006"),
        ("begin", "FG-6006"),
        ("create temporary table t (a int)", "FG-6006"),
    ] {
        let (status, answer) = run(&scene, "alice", sql).await;
        assert_eq!(status, 422, "{sql}: {answer}");
        assert!(message(&answer).starts_with(code), "{sql}: {answer}");
        assert!(answer["statementHandle"].is_string() && answer["sqlState"].is_string());
    }
    assert!(scene.account.statements().is_empty());
    for body in [json!({}), json!({"statement": "select 1", "surprise": 1})] {
        let (status, answer) = ask(&scene, "alice", "POST", "/api/v2/statements", &body).await;
        assert_eq!(status, 422, "{answer}");
        assert!(message(&answer).starts_with("FG-6001"), "{answer}");
    }
    scene.account.answers(|asked| {
        let query = asked.path == "/queries/v1/query-request";
        query.then(|| {
            Told::json(&failure("100038", "Numeric value 'ada@example.com' is not recognized"))
        })
    });
    let (status, answer) = run(&scene, "alice", "select email from customers").await;
    assert_eq!((status, answer["code"].as_str()), (422, Some("100038")), "{answer}");
    assert!(!answer.to_string().contains("ada@"), "{answer}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_in_without_a_token_that_the_operator_takes() {
    let scene = Scene::set().await;
    let body = json!({"statement": "select id from customers"});
    for (what, headers) in [
        ("no token", vec![]),
        ("an empty token", vec![("authorization", "Bearer ")]),
        ("a forged token", vec![("authorization", "Bearer forged")]),
        ("a driver's token", vec![("authorization", "Snowflake Token=\"x\"")]),
        (
            "a key pair of the account",
            vec![
                ("authorization", "Bearer eyJ"),
                ("x-snowflake-authorization-token-type", "KEYPAIR_JWT"),
            ],
        ),
    ] {
        let (status, answer) = ask_as(&scene, &headers, "POST", "/api/v2/statements", &body).await;
        assert_eq!(status, 401, "{what}: {answer}");
        assert!(message(&answer).starts_with("FG-1001"), "{what}: {answer}");
    }
    assert!(scene.account.asked.lock().unwrap().is_empty());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_statement_is_polled_by_its_handle_and_by_nobody_else() {
    let scene = Scene::set().await;
    let (status, held) = run(&scene, "alice", "delete from customers").await;
    assert_eq!((status, held["code"].as_str()), (202, Some("333334")), "{held}");
    let handle = held["statementHandle"].as_str().unwrap().to_owned();
    let path = format!("/api/v2/statements/{handle}");
    let (status, foreign) = ask(&scene, "bob", "GET", &path, &Value::Null).await;
    assert_eq!(status, 404, "{foreign}");
    let (status, _) = ask(&scene, "alice", "GET", &path, &Value::Null).await;
    assert_eq!(status, 202);

    let (statement, asked) = scene.operator.questions(1).await.remove(0);
    scene.operator.approve("0190a000-0000-7000-8000-000000000001", &statement, &asked.digest);
    let mut answer = (202, Value::Null);
    for _ in 0..50 {
        if answer.0 != 202 {
            break;
        }
        answer = ask(&scene, "alice", "GET", &path, &Value::Null).await;
    }
    assert_eq!(answer.0, 200, "{}", answer.1);
    assert_eq!(scene.account.statements().len(), 1);

    let (_, held) = run(&scene, "alice", "delete from customers").await;
    let path = format!("/api/v2/statements/{}", held["statementHandle"].as_str().unwrap());
    let cancel = format!("{path}/cancel");
    assert_eq!(ask(&scene, "bob", "POST", &cancel, &Value::Null).await.0, 404);
    assert_eq!(ask(&scene, "alice", "POST", &cancel, &json!({})).await.0, 200);
    let (status, ended) = ask(&scene, "alice", "GET", &path, &Value::Null).await;
    assert_eq!(status, 422, "{ended}");
    assert!(message(&ended).starts_with("FG-3004"), "{ended}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_result_is_read_by_the_number_of_its_parts() {
    let scene = Scene::set().await;
    scene.account.answers(|asked| {
        if asked.host == STORE {
            let body = br#"["2","bo@example.com"],["3",null]"#.to_vec();
            return Some(Told { body, ..Told::json(&json!({})) });
        }
        (asked.path == "/queries/v1/query-request").then(|| {
            let mut answer = rows(&["ID", "EMAIL"], &[&["1", "ada@example.com"]]);
            answer["data"]["chunks"] = json!([
                {"url": format!("https://{STORE}/a?sig=presigned"), "rowCount": 2, "uncompressedSize": 30, "compressedSize": 20},
            ]);
            Told::json(&answer)
        })
    });
    let (status, answer) = run(&scene, "alice", "select id, email from customers").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["resultSetMetaData"]["numRows"], 3);
    assert!(!answer.to_string().contains("presigned"), "{answer}");
    let path = format!("/api/v2/statements/{}", answer["statementHandle"].as_str().unwrap());
    let part = format!("{path}?partition=1&nullable=false");
    let (status, part) = ask(&scene, "alice", "GET", &part, &Value::Null).await;
    assert_eq!(status, 200, "{part}");
    assert_eq!(part["data"], json!([["2", "****"], ["3", "null"]]));
    for (query, expected) in [("partition=2", 404), ("partition=x", 422), ("nullable=1", 422)] {
        let (status, none) =
            ask(&scene, "alice", "GET", &format!("{path}?{query}"), &Value::Null).await;
        assert_eq!(status, expected, "{query}: {none}");
    }
    scene.end().await;
}

async fn run_two(scene: &Scene, query: &str, sql: &str, count: &str) -> (u16, Value) {
    let body = json!({"statement": sql, "parameters": {"MULTI_STATEMENT_COUNT": count}});
    ask(scene, "alice", "POST", &format!("/api/v2/statements{query}"), &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_statements_have_a_handle_each_and_their_own_rows() {
    let scene = Scene::set().await;
    runs_two(&scene.account);
    let sql = "select id, email from customers; select email, id from customers";
    let (status, whole) = run_two(&scene, "", sql, "2").await;
    assert_eq!(status, 200, "{whole}");
    assert_eq!(whole["statementHandles"], json!([FIRST, SECOND]));
    assert_eq!(whole["data"], json!([["Multiple statements executed successfully."]]));
    for (handle, data) in [(FIRST, json!([["1", "****"]])), (SECOND, json!([["****", "2"]]))] {
        let path = format!("/api/v2/statements/{handle}");
        let (status, answer) = ask(&scene, "alice", "GET", &path, &Value::Null).await;
        assert_eq!((status, &answer["data"]), (200, &data), "{answer}");
        assert_eq!(answer["statementHandle"], handle);
        assert_eq!(answer["statementHandles"], Value::Null);
        assert_eq!(answer["resultSetMetaData"]["numRows"], 1);
        let (status, foreign) = ask(&scene, "bob", "GET", &path, &Value::Null).await;
        assert_eq!(status, 404, "{foreign}");
        // It is over: there is nothing left to cancel.
        let (status, _) = ask(&scene, "alice", "POST", &format!("{path}/cancel"), &json!({})).await;
        assert_eq!(status, 200);
        let (_, again) = ask(&scene, "alice", "GET", &path, &Value::Null).await;
        assert_eq!(again, answer);
    }
    // Who comes back later gets the handles then.
    let (status, whole) = run_two(&scene, "?async=true", sql, "0").await;
    assert!(matches!(status, 200 | 202), "{whole}");
    let path = format!("/api/v2/statements/{}", whole["statementHandle"].as_str().unwrap());
    let mut answer = (202, Value::Null);
    for _ in 0..50 {
        if answer.0 != 202 {
            break;
        }
        answer = ask(&scene, "alice", "GET", &path, &Value::Null).await;
    }
    assert_eq!((answer.0, &answer.1["statementHandles"]), (200, &json!([FIRST, SECOND])));
    let sent = scene.account.statements();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|sent| sent.body["parameters"]["MULTI_STATEMENT_COUNT"] == 2));
    let record = scene.end_with_record().await;
    let texts = record.iter().filter(|entry| entry["entry"] == "Attempted");
    assert_eq!(texts.filter(|entry| entry["sql"] != sql).count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_statements_of_the_rest_api_are_refused_and_fail_as_one() {
    let scene = Scene::set().await;
    let two = "select id, email from customers; select email, id from customers";
    for (sql, count, code) in [
        (two, "3", "FG-2011"),
        (two, "many", "FG-2008"),
        ("select id from customers; select id from secrets", "2", "FG-2003"),
        ("select id from customers; use schema demo.public", "2", "FG-6006"),
        ("set a = 1; select $a", "2", "FG-6006"),
    ] {
        let (status, answer) = run_two(&scene, "", sql, count).await;
        assert_eq!(status, 422, "{sql}: {answer}");
        assert!(message(&answer).starts_with(code), "{sql}: {answer}");
    }
    assert!(scene.account.statements().is_empty());
    scene.account.answers(|asked| {
        let told = Told::json(&failure("100132", "statements failed on 'ada@example.com'"));
        (asked.path == "/queries/v1/query-request").then_some(told)
    });
    let (status, answer) = run_two(&scene, "", two, "2").await;
    assert_eq!((status, answer["code"].as_str()), (422, Some("100132")), "{answer}");
    assert_eq!(answer["statementHandles"], Value::Null);
    assert!(!answer.to_string().contains("ada@"), "{answer}");
    scene.end().await;
}
