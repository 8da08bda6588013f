//! What the agent does in every demonstration, and what comes of it.

use std::process::{Child, Command};

use anyhow::Result;
use serde_json::{Value, json};

use super::story::{answer, chapter, expect, said, typed};

/// An agent with an ordinary driver.
pub(super) trait Agent {
    /// The process that does a task, which is JSON.
    fn command(&self, task: &Value) -> Command;

    /// Runs SQL and returns the agent's answer.
    fn ask(&self, sql: &str) -> Result<Value> {
        typed(&format!("agent: {sql}"));
        let reply = answer(&self.command(&json!({"sql": sql})).output()?)?;
        match reply["rows"].as_array() {
            Some(rows) => rows.iter().take(4).for_each(|row| said(&row.to_string())),
            None => said(reply["message"].as_str().unwrap_or_default()),
        }
        Ok(reply)
    }

    /// Runs SQL that waits for somebody.
    fn begin(&self, sql: &str) -> Result<Child> {
        typed(&format!("agent: {sql}"));
        Ok(self.command(&json!({"sql": sql})).spawn()?)
    }
}

/// The chapters that need nobody but the agent; `history` is the account's own log of statements.
pub(super) fn alone(agent: &impl Agent, history: &str) -> Result<()> {
    chapter("The agent reads, with an ordinary driver and a placeholder password");
    let reply = agent.ask("SELECT name, email, ssn FROM customers ORDER BY id")?;
    let text = reply.to_string();
    expect(
        text.contains("Ada Fischer")
            && !text.contains("123-45-6789")
            && !text.contains("ada.fischer@"),
        "the names are there, e-mail and SSN are masked",
        &text,
    )?;

    chapter("Hiding the column behind an alias, a CTE and a function does not help");
    let reply = agent.ask("WITH c AS (SELECT upper(ssn) AS x FROM customers) SELECT x FROM c")?;
    expect(
        reply["ok"] == true && !reply.to_string().contains("6789"),
        "it is masked all the same",
        &reply.to_string(),
    )?;

    chapter("A DROP is refused, and the account never sees it");
    let reply = agent.ask("DROP TABLE customers")?;
    expect(
        reply["sqlstate"] == "42501"
            && reply["message"].as_str().is_some_and(|text| text.contains("FG-2002")),
        "one clean error with its code, policy and hint",
        &reply.to_string(),
    )?;
    let seen = ureq::get(history).call()?.body_mut().read_to_string()?;
    expect(
        !seen.contains("DROP TABLE customers"),
        "the account's own log does not have it",
        "it was there",
    )?;

    chapter("100,000 rows come through in chunks");
    let task = json!({"sql": "SELECT id, amount FROM orders", "mode": "count"});
    let reply = answer(&agent.command(&task).output()?)?;
    expect(reply["count"] == 100_000, "all of them", &reply.to_string())
}

/// The chapter about metrics, from the sidecar's page.
pub(super) fn counted(page: &str) -> Result<()> {
    let some: Vec<&str> =
        page.lines().filter(|line| line.starts_with("frostgate_proxy_statements_total")).collect();
    said(&some.join("\n"));
    expect(!some.is_empty(), "statements by kind and decision", page)
}
