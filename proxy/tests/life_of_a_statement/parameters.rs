//! Parameters by all four ways in, and binds.

use serde_json::{Value, json, value::RawValue};
use snowflake::parameters::{Fate, fate};

use super::account::{Told, rows};
use super::{Driver, Scene, eventually, message};

#[test]
fn whatever_alter_session_may_set_may_be_set_the_other_ways_too() {
    let value = RawValue::from_string("1".into()).unwrap();
    for name in sql::SETTABLE {
        assert_eq!(fate(name, &value), Fate::Passed, "{name}");
    }
}

async fn may_alter(scene: &Scene) {
    scene
        .operator
        .change(|snapshot| snapshot.documents[0].statements.allow.push("AlterSession".into()));
    let driver = scene.driver().await;
    eventually(async || driver.query("alter session set query_tag = 'a'").await["success"] == true)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_has_the_same_fate_whichever_way_it_comes() {
    let scene = Scene::set().await;
    scene.account.answers(|asked| {
        let told = rows(&["status"], &[&["Statement executed successfully."]]);
        let alter = asked.body["sqlText"].as_str().is_some_and(|sql| sql.starts_with("alter"));
        alter.then(|| Told::json(&told))
    });
    may_alter(&scene).await;
    for (name, value, passes) in [
        ("TIMEZONE", "'Etc/UTC'", true),
        ("DATE_OUTPUT_FORMAT", "'YYYY'", true),
        ("GEOGRAPHY_OUTPUT_FORMAT", "'WKT'", true),
        ("QUOTED_IDENTIFIERS_IGNORE_CASE", "true", false),
        ("SEARCH_PATH", "'$current, X'", false),
        ("DATE_INPUT_FORMAT", "'DD/MM/YYYY'", false),
        ("BINARY_INPUT_FORMAT", "'UTF8'", false),
        ("SIMULATED_DATA_SHARING_CONSUMER", "'X'", false),
    ] {
        let plain = value.trim_matches('\'');
        let plain = if plain == "true" { json!(true) } else { json!(plain) };
        let mut driver = Driver::at(scene.proxy);
        driver.log_in(json!({"SESSION_PARAMETERS": {name: plain}})).await;
        assert_eq!(driver.login["success"], passes, "login with {name}: {}", driver.login);
        let login = scene.account.requests("/session/v1/login-request").pop().unwrap();
        assert_eq!(!login.body["data"]["SESSION_PARAMETERS"][name].is_null(), passes, "{name}");

        let driver = scene.driver().await;
        let body =
            json!({"sqlText": "select id, email from customers", "parameters": {name: plain}});
        let answer = driver.ask("r1", &body).await;
        assert_eq!(answer["success"], passes, "{name}: {answer}");
        assert!(passes || message(&answer).starts_with("FG-2008"), "{name}: {answer}");

        let altered = driver.query(&format!("alter session set {name} = {value}")).await;
        assert_eq!(altered["success"], passes, "{name}: {altered}");
        assert!(passes || message(&altered).starts_with("FG-2008"), "{name}: {altered}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_parameters_are_left_out_and_on_record() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let body = json!({"sqlText": "select id, email from customers",
                      "parameters": {"NO_SUCH_THING": 1, "CLIENT_RESULT_CHUNK_SIZE": 160, "QUERY_TAG": "t"}});
    assert_eq!(driver.ask("r1", &body).await["success"], true);
    let sent = &scene.account.statements()[0].body["parameters"];
    assert_eq!(sent, &json!({"MULTI_STATEMENT_COUNT": 1, "QUERY_TAG": "t"}));
    let record = scene.end_with_record().await;
    assert_eq!(record[0]["stripped"], json!(["CLIENT_RUNTIME_NAME"]), "{}", record[0]);
    let attempt = record.iter().find(|entry| entry["entry"] == "Attempted").unwrap();
    assert_eq!(
        attempt["stripped"],
        json!(["CLIENT_RESULT_CHUNK_SIZE", "NO_SUCH_THING"]),
        "{attempt}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_account_itself_sets_is_seen_in_its_answers() {
    for at_login in [true, false] {
        for (name, value, sql, code) in [
            (
                "QUOTED_IDENTIFIERS_IGNORE_CASE",
                json!(true),
                "select id from demo.public.customers",
                "FG-2008",
            ),
            ("SEARCH_PATH", json!("$current, OTHER"), "select id from customers", "FG-2008"),
        ] {
            let scene = Scene::set().await;
            scene.account.answers(move |asked| {
                let set = json!([{"name": name, "value": value}, {"name": "CLIENT_TELEMETRY_ENABLED", "value": true},
                                 {"name": "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD", "value": 65280}]);
                match asked.path.as_str() {
                    "/session/v1/login-request" if at_login => {
                        Some(Told::json(&json!({"data": {"token": "T", "masterToken": "M", "parameters": set,
                            "sessionInfo": {"databaseName": "DEMO", "schemaName": "PUBLIC", "roleName": "ANALYST"}},
                            "success": true})))
                    }
                    "/queries/v1/query-request" => {
                        let mut told = rows(&["ID", "EMAIL"], &[&["1", "ada@example.com"]]);
                        told["data"]["parameters"] = set;
                        Some(Told::json(&told))
                    }
                    _ => None,
                }
            });
            let driver = scene.driver().await;
            if !at_login {
                let first = driver.query("select id, email from customers").await;
                assert_eq!(first["success"], true, "{first}");
                // Drivers take over what an answer says: what is ours stays ours.
                let said = first["data"]["parameters"].as_array().unwrap();
                let said = |name: &str| {
                    said.iter().find(|it| it["name"] == name).unwrap()["value"].clone()
                };
                assert_eq!(said("CLIENT_TELEMETRY_ENABLED"), false);
                assert_eq!(said("CLIENT_STAGE_ARRAY_BINDING_THRESHOLD"), 0);
            }
            let refused = driver.query(sql).await;
            assert!(message(&refused).starts_with(code), "{name}: {refused}");
            scene.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn role_and_secondary_roles_stay_as_they_were_given() {
    let scene = Scene::set().await;
    let mut driver = Driver::at(scene.proxy);
    driver.log_in(json!({"SECONDARY_ROLES": "ALL"})).await;
    let login = scene.account.requests("/session/v1/login-request").pop().unwrap();
    assert_eq!(login.body["data"]["SECONDARY_ROLES"], "NONE");
    for sql in ["use role accountadmin", "use secondary roles all"] {
        let refused = driver.query(sql).await;
        assert!(message(&refused).starts_with("FG-2008"), "{refused}");
    }
    // The account says where the session stands, and a role that nobody granted ends it.
    scene.account.answers(|asked| {
        let mut told = rows(&["ID", "EMAIL"], &[&["1", "ada@example.com"]]);
        told["data"]["finalRoleName"] = "ACCOUNTADMIN".into();
        (asked.path == "/queries/v1/query-request").then(|| Told::json(&told))
    });
    let refused = driver.query("select id, email from customers").await;
    assert!(message(&refused).starts_with("FG-2008"), "{refused}");
    eventually(async || driver.query("select id from customers").await["code"] == "390111").await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binds_are_recorded_with_their_types_and_a_description_has_the_decision_of_the_statement() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let binds = [
        json!({"1": {"type": "FIXED", "value": "7"}, "2": {"type": "TEXT", "value": null}}),
        json!({"name": {"type": "TEXT", "value": "Ada"}}),
        json!({"1": {"type": "FIXED", "value": ["1", "2", null]}}),
    ];
    for (number, bindings) in binds.iter().enumerate() {
        let body = json!({"sqlText": "select id, email from customers", "bindings": bindings});
        let answer = driver.ask(&format!("bound-{number}"), &body).await;
        assert_eq!(answer["success"], true, "{answer}");
    }
    let staged =
        json!({"sqlText": "select id, email from customers", "bindStage": "@SYSTEM$BIND/x"});
    assert!(message(&driver.ask("staged", &staged).await).starts_with("FG-6006"));
    let describe = |sql: &str| json!({"sqlText": sql, "describeOnly": true});
    let refused = driver.ask("d1", &describe("select * from secrets")).await;
    assert!(message(&refused).starts_with("FG-2003"), "{refused}");
    let described = driver.ask("d2", &describe("select id, email from customers")).await;
    assert_eq!(described["success"], true, "{described}");
    assert_eq!(described["data"]["rowset"], json!([["1", "****"]]));
    let sent = scene.account.statements();
    assert_eq!(sent.len(), 4);
    assert_eq!(sent[3].body["describeOnly"], true);
    let record = scene.end_with_record().await;
    let attempts: Vec<&Value> =
        record.iter().filter(|entry| entry["entry"] == "Attempted").collect();
    assert_eq!(
        attempts[0]["binds"],
        json!([{"name": "1", "type": "FIXED", "value": "7"}, {"name": "2", "type": "TEXT", "value": null}])
    );
    assert_eq!(attempts[1]["binds"], json!([{"name": "name", "type": "TEXT", "value": "Ada"}]));
    assert_eq!(
        attempts[2]["binds"],
        json!([{"name": "1", "type": "FIXED", "value": ["1", "2", null]}])
    );
    let last = attempts.last().unwrap();
    assert_eq!(
        (&last["describeOnly"], &last["decision"]["masks"]),
        (&json!(true), &attempts[0]["decision"]["masks"])
    );
}
