//! All the ways to ask for a statement: two sessions at Frostgate, one per format, and one that goes around it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::account::PASSWORD;
use super::driver::{Driver, Format, Login, Seen};
use super::gate::Gate;
use super::scene::Scene;
use super::table::Table;
use super::world::World;

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
    /// It ran and wrote rows.
    Wrote,
    /// It ran, and the session or what there is is not what it was.
    Moved,
}

impl Ending {
    fn of(answer: &Value) -> Self {
        let message = answer["message"].as_str().unwrap_or_default();
        match answer["data"]["statementTypeId"].as_u64() {
            _ if answer["success"] == false && message.starts_with("FG-") => Self::Refused,
            _ if answer["success"] == false => Self::Failed,
            // SELECT, EXPLAIN, SHOW, DESCRIBE.
            Some(0x1000 | 0x2000 | 0x4400 | 0x4500) => Self::Read,
            // INSERT, UPDATE, DELETE, MERGE.
            Some(0x3100 | 0x3200 | 0x3300 | 0x3400) => Self::Wrote,
            _ => Self::Moved,
        }
    }

    /// It reached the account and changed nothing there.
    pub(crate) fn is_reading(self) -> bool {
        matches!(self, Self::Read | Self::Failed)
    }
}

impl Sessions {
    pub(crate) async fn open(scene: &Scene, table: &Table, gate: &Gate) -> Self {
        let admin = Login {
            user: "ADMIN",
            password: PASSWORD,
            database: &table.database,
            schema: &table.schema,
        };
        let there = format!("https://{}", scene.account.address);
        let sessions = Self {
            json: Self::agent(scene, table, gate, Format::Json).await,
            arrow: Self::agent(scene, table, gate, Format::Arrow).await,
            around: Driver::connect(&there, scene.roots(), Format::Json, &admin).await,
        };
        sessions.around.seen();
        sessions
    }

    async fn agent(scene: &Scene, table: &Table, gate: &Gate, format: Format) -> Driver {
        let (database, schema) = (table.database.as_str(), table.schema.as_str());
        let agent = Login { user: "agent", password: "placeholder", database, schema };
        Driver::connect(&format!("http://{}", gate.address), scene.roots(), format, &agent).await
    }

    /// Everything as it was before a statement that ended like this.
    pub(crate) async fn restore(
        &mut self,
        ending: Ending,
        scene: &Scene,
        table: &Table,
        world: &World,
        gate: &Gate,
    ) {
        if matches!(ending, Ending::Wrote | Ending::Moved) {
            scene.lay(table, world);
        }
        if ending == Ending::Moved {
            // What only reads is asked for in Arrow too: that session is where it was.
            self.json = Self::agent(scene, table, gate, Format::Json).await;
        }
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
        // A retry, then polls, the status, the rows and an abort of what is done.
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
        // One of these for each text: what is asked of the account costs most.
        let (driver, more) = match sql.len() % 4 {
            0 => (&self.json, "describeOnly"),
            1 => (&self.arrow, "describeOnly"),
            2 => (&self.json, "asyncExec"),
            _ => (&self.arrow, "asyncExec"),
        };
        driver.ask(Uuid::new_v4(), &json!({"sqlText": sql, more: true})).await;
        (ending, 12)
    }
}
