//! The cells of the matrix: what is asked of a client, and what must come of it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::client::Client;
use super::room::{Room, VALIDITY, Way, merge};

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Login,
    Types,
    Rows,
    Binds,
    Error,
    Denial,
    Approved,
    Denied,
    Cancel,
    Async,
    Renewal,
    Strict,
    Plain,
    Own,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Pass,
    NotApplicable(&'static str),
    /// The client cannot do it without Frostgate either.
    FailsDirectToo(String),
    Fails(String),
}

impl Cell {
    /// The rows of the table, with what each promises.
    pub(super) const ALL: &[(Self, &str, &str)] = &[
        (Self::Login, "login", "a session opens by the account's own name, over TLS"),
        (
            Self::Types,
            "types",
            "every type, with NULLs and extremes, reads as it does without Frostgate",
        ),
        (Self::Rows, "rows", "a large result is complete and in order"),
        (Self::Binds, "binds", "bound values, one row and many"),
        (Self::Error, "error", "the account's error is the one that shows without Frostgate"),
        (Self::Denial, "denial", "a refusal is the client's ordinary error, with its code"),
        (Self::Approved, "hold, approved", "the call waits, and the statement runs once"),
        (Self::Denied, "hold, denied", "the call ends with the reason, and nothing runs"),
        (
            Self::Cancel,
            "cancel",
            "the client ends a running statement, and the account stops working",
        ),
        (Self::Async, "async", "a statement is submitted, and read later"),
        (Self::Renewal, "renewal", "an idle session goes on after its token expired"),
        (Self::Strict, "OCSP, strict", "the certificate's revocation is answered for"),
        (Self::Plain, "plain HTTP", "by host and port on loopback, without TLS"),
        (Self::Own, "its own ways", "what it is used for besides SQL"),
    ];

    /// The cell that the table calls so.
    pub(super) fn named(wanted: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name, _)| *name == wanted).map(|(cell, _, _)| *cell)
    }

    /// Whether it belongs to the short half.
    pub(super) fn short(self) -> bool {
        matches!(self, Self::Login | Self::Types | Self::Rows | Self::Denial | Self::Approved)
    }

    /// Tries it.
    pub(super) fn run(self, room: &Room, client: &Client, short: bool) -> Outcome {
        if let Some(why) = client.lacks(self) {
            return Outcome::NotApplicable(why);
        }
        let trial = Trial {
            room,
            client,
            rows: if short { client.rows.min(100_000) } else { client.rows },
        };
        let Err(error) = trial.run(self, Way::Through) else { return Outcome::Pass };
        let error = format!("{error:#}");
        match trial.run(self, Way::Direct) {
            Ok(()) => Outcome::Fails(error),
            Err(_) => Outcome::FailsDirectToo(error),
        }
    }
}

struct Trial<'a> {
    room: &'a Room,
    client: &'a Client,
    rows: u32,
}

impl Trial<'_> {
    fn run(&self, cell: Cell, way: Way) -> Result<()> {
        match cell {
            Cell::Login => self.login(way, json!({})),
            Cell::Types => self.types(way),
            Cell::Rows => self.all_rows(way),
            Cell::Binds => self.binds(way),
            Cell::Error => self.error(way).map(drop),
            Cell::Denial => self.denial(way),
            Cell::Approved => self.approved(way),
            Cell::Denied => self.denied(way),
            Cell::Cancel => self.cancel(way),
            Cell::Async => self.counted(way, &json!({"mode": "async"})),
            Cell::Renewal => {
                self.counted(way, &json!({"before": ["SELECT 1"], "pause": VALIDITY + 3}))
            }
            Cell::Strict => match self.client.strict {
                // The stand-in's certificate names no responder: nothing to compare with.
                Some(settings) if way == Way::Through => {
                    self.login(way, json!({"connect": settings()}))
                }
                _ => Ok(()),
            },
            Cell::Plain => match (self.client.plain, way) {
                (Some(place), Way::Through) => self.login(way, place(self.room.stage.port)),
                // The account has no such door.
                _ => Ok(()),
            },
            Cell::Own => self.own(way),
        }
    }

    fn ask(&self, way: Way, task: &Value) -> Result<Value> {
        self.room.ask(self.client, way, task)
    }

    fn rows(&self, way: Way, task: &Value) -> Result<Value> {
        let answer = self.ask(way, task)?;
        if answer["ok"] != true {
            bail!("{answer}");
        }
        Ok(answer["rows"].clone())
    }

    fn login(&self, way: Way, more: Value) -> Result<()> {
        let mut task = json!({"sql": "SELECT 42 AS answer", "mode": "login"});
        merge(&mut task, more);
        expect(&self.rows(way, &task)?, &json!([["42"]]))
    }

    fn types(&self, way: Way) -> Result<()> {
        let task = json!({"sql": "SELECT * FROM DEMO.PUBLIC.KINDS ORDER BY ID"});
        let direct = self.rows(Way::Direct, &task)?;
        if direct.as_array().map_or(0, Vec::len) != 6 {
            bail!("direct: {direct}");
        }
        if way == Way::Through { expect(&self.rows(way, &task)?, &direct) } else { Ok(()) }
    }

    fn all_rows(&self, way: Way) -> Result<()> {
        let sql = format!(
            "SELECT id, quantity, label FROM DEMO.PUBLIC.MANY WHERE id <= {} ORDER BY id",
            self.rows
        );
        let answer = self.ask(way, &json!({"sql": sql, "mode": "count"}))?;
        let mut digest = Sha256::new();
        for n in 0..self.rows {
            digest.update(format!("{}|{}|product-{}\n", n + 1, n % 12 + 1, n % 97));
        }
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if answer["count"] != self.rows || answer["digest"] != digest.as_str() {
            bail!("{answer}");
        }
        Ok(())
    }

    fn binds(&self, way: Way) -> Result<()> {
        let one = json!({
            "sql": "SELECT id, name FROM DEMO.PUBLIC.CUSTOMERS WHERE id = ? AND name = ?",
            "binds": [5, "Élodie Martin"],
        });
        expect(&self.rows(way, &one)?, &json!([["5", "Élodie Martin"]]))?;
        let marker = self.marker();
        let many = json!({
            "sql": "INSERT INTO DEMO.PUBLIC.SCRATCH (id, note) VALUES (?, ?)",
            "many": [[1, marker], [2, marker], [3, marker]],
        });
        self.rows(way, &many)?;
        let count = format!("SELECT COUNT(*) FROM DEMO.PUBLIC.SCRATCH WHERE note = '{marker}'");
        expect(&self.rows(way, &json!({"sql": count}))?, &json!([["3"]]))
    }

    /// The account's own error, and the client's kind for it.
    fn error(&self, way: Way) -> Result<Value> {
        let task = json!({"sql": "SELECT TO_NUMBER(note) FROM DEMO.PUBLIC.WORDS"});
        let direct = self.ask(Way::Direct, &task)?;
        if direct["ok"] == true || !direct.to_string().contains(SAID) {
            bail!("direct: {direct}");
        }
        if way == Way::Direct {
            return Ok(direct);
        }
        let through = self.ask(way, &task)?;
        for part in ["ok", "errno", "sqlstate", "kind"] {
            if through[part] != direct[part] {
                bail!("{part}: {through} instead of {direct}");
            }
        }
        if !through.to_string().contains(SAID) {
            bail!("{through} instead of {direct}");
        }
        Ok(through)
    }

    fn denial(&self, way: Way) -> Result<()> {
        let task = json!({"sql": "DROP TABLE DEMO.PUBLIC.ORDERS"});
        let ordinary = self.error(Way::Direct)?;
        if way == Way::Direct {
            return Ok(());
        }
        let answer = self.ask(way, &task)?;
        refused(&answer, "FG-2003")?;
        if answer["kind"] != ordinary["kind"] {
            bail!("not the client's ordinary error, as in {ordinary}: {answer}");
        }
        self.never_ran("DROP TABLE DEMO.PUBLIC.ORDERS")
    }

    fn approved(&self, way: Way) -> Result<()> {
        let (marker, task) = self.risky();
        let mut child = self.room.begin(self.client, way, &task)?;
        if way == Way::Through {
            self.room.decide(&mut child, "approve", &marker, "the matrix wants it")?;
        }
        let answer = self.room.finish(child)?;
        if answer["ok"] != true {
            bail!("{answer}");
        }
        match self.room.seen(&marker)?.iter().filter(|it| it["describe_only"] == false).count() {
            1 => Ok(()),
            times => bail!("it ran {times} times"),
        }
    }

    fn denied(&self, way: Way) -> Result<()> {
        let (marker, task) = self.risky();
        let mut child = self.room.begin(self.client, way, &task)?;
        if way == Way::Direct {
            self.room.finish(child)?;
            return Ok(());
        }
        self.room.decide(&mut child, "deny", &marker, "not on a Friday")?;
        let answer = self.room.finish(child)?;
        refused(&answer, "FG-3002")?;
        refused(&answer, "not on a Friday")?;
        self.never_ran(&marker)
    }

    fn cancel(&self, way: Way) -> Result<()> {
        let marker = self.marker();
        // Every row with every row: minutes.
        let sql = format!(
            "SELECT COUNT(*) FROM DEMO.PUBLIC.MANY a, DEMO.PUBLIC.MANY b WHERE a.label || b.label = '{marker}'"
        );
        let task = json!({"sql": sql, "cancel": self.client.starts.as_secs()});
        let start = Instant::now();
        let answer = self.ask(way, &task)?;
        if answer["ok"] == true || start.elapsed() > self.client.starts + Duration::from_secs(45) {
            bail!("after {} s: {answer}", start.elapsed().as_secs());
        }
        let seen = self.room.seen(&marker)?;
        let ended = |it: &Value| it["status"] != "RUNNING" && it["status"] != "SUCCESS";
        if seen.is_empty() || !seen.iter().all(ended) {
            bail!("the account goes on: {seen:?}");
        }
        Ok(())
    }

    fn counted(&self, way: Way, more: &Value) -> Result<()> {
        let mut task = json!({"sql": "SELECT COUNT(*) FROM DEMO.PUBLIC.ORDERS"});
        merge(&mut task, more.clone());
        expect(&self.rows(way, &task)?, &json!([["100000"]]))
    }

    fn own(&self, way: Way) -> Result<()> {
        let task = json!({"sql": self.marker(), "mode": "own"});
        let direct = self.rows(Way::Direct, &task)?;
        if way == Way::Through { expect(&self.rows(way, &task)?, &direct) } else { Ok(()) }
    }

    /// A statement that waits for a human, and what finds it again.
    fn risky(&self) -> (String, Value) {
        let marker = self.marker();
        let sql = format!("UPDATE DEMO.PUBLIC.WORDS SET seen = '{marker}'");
        (marker, json!({"sql": sql}))
    }

    fn marker(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        format!("{}-{}", self.client.name, now.as_nanos())
    }

    fn never_ran(&self, text: &str) -> Result<()> {
        let seen = self.room.seen(text)?;
        let by_us: Vec<_> = seen.iter().filter(|it| it["user"] != "ADMIN").collect();
        if !by_us.is_empty() {
            bail!("the account saw it: {by_us:?}");
        }
        Ok(())
    }
}

/// What the account says about [`Cell::Error`]'s statement.
const SAID: &str = "no number";

fn refused(answer: &Value, with: &str) -> Result<()> {
    if answer["ok"] != false || !answer["message"].as_str().is_some_and(|text| text.contains(with))
    {
        bail!("{answer}");
    }
    Ok(())
}

fn expect(have: &Value, want: &Value) -> Result<()> {
    if have != want {
        bail!("{have} instead of {want}");
    }
    Ok(())
}
