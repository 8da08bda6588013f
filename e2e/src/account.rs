//! What the stand-in account saw: its log is written by its own side of the wire.

use serde_json::Value;

use crate::stage;

/// Statements that reached the account with this text in them.
pub fn statements(part: &str) -> Vec<Value> {
    list("/history")
        .into_iter()
        .filter(|entry| entry["sql_text"].as_str().is_some_and(|sql| sql.contains(part)))
        .collect()
}

/// The account's users.
pub fn users() -> Vec<Value> {
    list("/users")
}

/// Logins, good and bad.
pub fn logins() -> Vec<Value> {
    list("/logins")
}

/// Fetches of result chunks.
pub fn chunk_fetches() -> Vec<Value> {
    list("/chunk-fetches")
}

/// Every session, with the tokens that only Frostgate may hold.
pub fn sessions() -> Vec<Value> {
    list("/sessions")
}

/// Cuts every connection in the middle of its next request, until it is mended.
///
/// # Panics
/// When the stand-in refuses.
pub fn cut() {
    let order = r#"{"kind": "cut", "count": 1000000}"#;
    ureq::post(format!("{}/fault", stage().account)).send(order).unwrap();
}

/// Ends what [`cut`] began.
///
/// # Errors
/// When the stand-in cannot be reached.
pub fn mend() -> Result<(), String> {
    let answer = ureq::delete(format!("{}/fault", stage().account)).call();
    answer.map(drop).map_err(|error| error.to_string())
}

/// Runs SQL as the account's administrator.
///
/// # Panics
/// When the account refuses.
pub fn seed(sql: &str) {
    ureq::post(format!("{}/seed", stage().account)).send(sql).unwrap();
}

fn list(path: &str) -> Vec<Value> {
    let text = ureq::get(format!("{}{path}", stage().account))
        .call()
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    serde_json::from_str(&text).unwrap()
}
