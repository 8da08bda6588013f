//! All the ways to ask for a statement: two sessions at Frostgate, one per format, and one that goes around it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::account::PASSWORD;
use super::driver::{Driver, Format, Login, Seen};
use super::gate::Gate;
use super::scene::Scene;
use super::table::Table;

/// The account's code for a statement that took longer than it may.
const TIMED_OUT: &str = "000630";

pub(crate) struct Sessions {
    json: Driver,
    arrow: Driver,
    around: Driver,
}

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Frostgate refused it.
    Refused,
    /// The account refused it, or could not run it.
    Failed,
    /// It ran and only read.
    Read,
    /// It ran, and the account or the session is not what it was.
    Changed,
}

impl Ending {
    fn of(answer: &Value) -> Self {
        let message = answer["message"].as_str().unwrap_or_default();
        match (&answer["success"], &answer["data"]["statementTypeId"]) {
            (Value::Bool(false), _) if message.starts_with("FG-") => Self::Refused,
            (Value::Bool(false), _) => Self::Failed,
            // SELECT, EXPLAIN, SHOW, DESCRIBE.
            (_, kind) if matches!(kind.as_u64(), Some(0x1000 | 0x2000 | 0x4400 | 0x4500)) => {
                Self::Read
            }
            _ => Self::Changed,
        }
    }

    /// It reached the account and changed nothing there.
    pub(crate) fn is_reading(self) -> bool {
        matches!(self, Self::Read | Self::Failed)
    }
}

impl Sessions {
    pub(crate) async fn open(scene: &Scene, table: &Table, gate: &Gate) -> Self {
        let (database, schema) = (table.database.as_str(), table.schema.as_str());
        let agent = Login { user: "agent", password: "placeholder", database, schema };
        let admin = Login { user: "ADMIN", password: PASSWORD, database, schema };
        let roots = scene.roots();
        let here = format!("http://{}", gate.address);
        let there = format!("https://{}", scene.account.address);
        let sessions = Self {
            json: Driver::connect(&here, roots.clone(), Format::Json, &agent).await,
            arrow: Driver::connect(&here, roots.clone(), Format::Arrow, &agent).await,
            around: Driver::connect(&there, roots, Format::Json, &admin).await,
        };
        sessions.around.seen();
        sessions
    }

    /// What both sessions at Frostgate were shown since this was last asked.
    pub(crate) fn seen(&self) -> [Seen; 2] {
        [self.json.seen(), self.arrow.seen()]
    }

    /// What the account itself shows.
    pub(crate) async fn around(&self, sql: &str) -> Seen {
        self.around.run(sql).await;
        self.around.seen()
    }

    /// Once, in JSON.
    pub(crate) async fn one_way(&self, sql: &str) -> (Ending, usize) {
        (Ending::of(&self.json.run(sql).await), 1)
    }

    /// In all ways that there are; how many says the number.
    pub(crate) async fn every_way(&self, sql: &str) -> (Ending, usize) {
        let id = Uuid::new_v4();
        let body = json!({"sqlText": sql});
        let answer = self.json.ask(id, &body).await;
        let ending = Ending::of(&answer);
        if !ending.is_reading() {
            return (ending, 1);
        }
        let in_arrow = self.arrow.run(sql).await;
        // A retry, then polls, the status and the rows of what is done.
        self.json.ask(id, &body).await;
        for (driver, answer) in [(&self.json, &answer), (&self.arrow, &in_arrow)] {
            let id = answer["data"]["queryId"].as_str().unwrap();
            let again = driver.get(&format!("/queries/{id}/result")).await;
            driver.read(&again).await;
            driver.get(&format!("/monitoring/queries/{id}")).await;
            driver.run(&format!("SELECT * FROM TABLE(RESULT_SCAN('{id}'))")).await;
            driver.post(&format!("/queries/{id}/abort-request"), &json!({})).await;
        }
        if answer["code"] == TIMED_OUT {
            return (ending, 11);
        }
        // In one format each: what is asked of the account costs most.
        let (one, other) = if sql.len().is_multiple_of(2) {
            (&self.json, &self.arrow)
        } else {
            (&self.arrow, &self.json)
        };
        one.ask(Uuid::new_v4(), &json!({"sqlText": sql, "describeOnly": true})).await;
        other.ask(Uuid::new_v4(), &json!({"sqlText": sql, "asyncExec": true})).await;
        (ending, 13)
    }
}
