//! A Snowflake account of a few users: takes the broker's statements, remembers them, fails when told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Served;

/// What goes wrong with a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The account says no.
    Refused,
    /// It is done, and the answer gets lost.
    AnswerLost,
    /// The session token is over.
    SessionOver,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) comment: String,
    pub(crate) owner: String,
    pub(crate) roles: Vec<String>,
    pub(crate) text: String,
}

type Watch = Box<dyn Fn(&str) + Send>;

#[derive(Default)]
pub(crate) struct State_ {
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) statements: Vec<String>,
    pub(crate) logins: Vec<Value>,
    /// Each is used up by the first statement that begins with its text.
    pub(crate) faults: Vec<(&'static str, Fault)>,
    /// Rows for statements that contain a text.
    pub(crate) results: Vec<(&'static str, Value)>,
    /// Sees each statement before it is done.
    pub(crate) watch: Option<Watch>,
    refuse_logins: bool,
}

/// The account, shared between the test and its server.
#[derive(Clone, Default)]
pub(crate) struct Account(Arc<Mutex<State_>>);

impl Account {
    pub(crate) async fn serve(&self) -> Served {
        let router = Router::new()
            .route("/session/v1/login-request", post(login))
            .route("/queries/v1/query-request", post(query))
            .with_state(self.clone());
        super::serve(router).await
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State_) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub(crate) fn users(&self) -> Vec<String> {
        self.with(|state| state.users.keys().cloned().collect())
    }

    pub(crate) fn refuse_logins(&self, refuse: bool) {
        self.with(|state| state.refuse_logins = refuse);
    }

    /// The statements with names, keys and comments left out.
    pub(crate) fn verbs(&self) -> Vec<String> {
        let verbs = |text: &String| text.split(' ').take(2).collect::<Vec<_>>().join(" ");
        self.with(|state| state.statements.iter().map(verbs).collect())
    }
}

async fn login(State(account): State<Account>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    account.with(|state| {
        state.logins.push(body["data"].clone());
        if state.refuse_logins {
            return failure("390144", "JWT token is invalid.");
        }
        let token = format!("token-{}", state.logins.len());
        let data = json!({ "token": token, "masterToken": "m", "validityInSeconds": 3600,
            "masterValidityInSeconds": 14400, "sessionId": 1, "parameters": [], "sessionInfo": {} });
        success(&data)
    })
}

async fn query(State(account): State<Account>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = body["sqlText"].as_str().unwrap().to_owned();
    account.with(|state| {
        let expected = format!("Snowflake Token=\"token-{}\"", state.logins.len());
        if headers["authorization"].to_str().unwrap() != expected {
            return failure("390104", "unknown session token");
        }
        if let Some(watch) = &state.watch {
            watch(&text);
        }
        state.statements.push(text.clone());
        let fault = state.faults.iter().position(|(begin, _)| text.starts_with(begin));
        let fault = fault.map(|index| state.faults.remove(index).1);
        match fault {
            Some(Fault::Refused) => return failure("003001", "Insufficient privileges"),
            Some(Fault::SessionOver) => return failure("390112", "Your session has expired."),
            Some(Fault::AnswerLost) | None => {}
        }
        let answer = perform(state, &text);
        if fault == Some(Fault::AnswerLost) {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        answer
    })
}

fn perform(state: &mut State_, text: &str) -> Response {
    let name = |marker: &str| {
        let after = text.split_once(marker).unwrap().1;
        after.split('"').nth(1).unwrap().to_owned()
    };
    if text.starts_with("CREATE USER") {
        let comment = text.split_once("COMMENT = '").unwrap().1.trim_end_matches('\'').to_owned();
        let user =
            User { comment, owner: "PROVISIONER".into(), roles: vec![], text: text.to_owned() };
        state.users.insert(name("CREATE USER "), user);
    } else if text.starts_with("GRANT ROLE") {
        let (role, user) = (name("GRANT ROLE "), name("TO USER "));
        state.users.get_mut(&user).unwrap().roles.push(role);
    } else if text.starts_with("DROP USER") {
        state.users.remove(&name("IF EXISTS "));
    } else if text.starts_with("SHOW USERS") {
        let rows: Vec<_> = state
            .users
            .iter()
            .map(|(name, user)| json!([name, user.comment, user.owner]))
            .collect();
        return rowset(&["name", "comment", "owner"], &json!(rows));
    }
    for (part, answer) in &state.results {
        if text.contains(part) {
            let columns: Vec<&str> =
                answer["columns"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
            return rowset(&columns, &answer["rows"]);
        }
    }
    rowset(&["status"], &json!([["done"]]))
}

fn rowset(columns: &[&str], rows: &Value) -> Response {
    let types: Vec<_> = columns
        .iter()
        .map(|name| json!({ "name": name, "type": "text", "nullable": true }))
        .collect();
    success(&json!({ "rowtype": types, "rowset": rows, "queryResultFormat": "json",
        "queryId": uuid::Uuid::new_v4() }))
}

fn success(data: &Value) -> Response {
    axum::Json(json!({ "data": data, "code": null, "message": null, "success": true }))
        .into_response()
}

fn failure(code: &str, message: &str) -> Response {
    axum::Json(json!({ "data": {}, "code": code, "message": message, "success": false }))
        .into_response()
}
