//! `frostgate classify`: many statements judged by one process, each under the catalog, session and policy that its
//! line brings.

mod case;

use std::{
    io::{self, BufRead, Read as _, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use policy::{Decision, Effect};
use serde::{Deserialize, Serialize};
use sql::{Access, Analysis, Form, Word};

use crate::{Exit, scene::Scene};

use case::{BadCase, Case};

/// A line that is longer is no case: no statement is as long.
const LINE_BYTES: u64 = 16 << 20;

/// Judge statements from standard input, one JSON line each
#[derive(Debug, clap::Args)]
#[command(after_long_help = FORMAT)]
pub(crate) struct Args {}

const FORMAT: &str = "\
Each line of standard input is a case; for each, in the same order, one line is written:

  schema     {\"DB.SCHEMA.TABLE\": {\"COLUMN\": \"TYPE\", ...}}, columns in order
  views      {\"DB.SCHEMA.VIEW\": {\"sql\": \"SELECT ...\", \"columns\": [\"COLUMN\", ...], \"secure\": false}}
  session    {\"database\", \"schema\", \"role\", \"warehouse\"}, as stored
  policy     {\"mask\": [\"DB.SCHEMA.TABLE.COLUMN\"], \"filterable\": [columns], \"allow\": [kinds],
              \"deny\": [kinds, risks], \"approve\": [kinds, risks], \"writable_schemas\": [\"DB.SCHEMA\"],
              \"functions_allow\": [\"DB.SCHEMA.FUNCTION\"]}
  prior      statements that the session ran before, in order
  binds      values of the placeholders
  sql        the statement; the only field that must be there
  id         comes back

  verdict    allow, mask:[positions], approve or deny
  masks      positions of the columns that are masked, from 0, also where it waits for a human
  columns    how many columns the result has, null where it has none of a table
  kind       what the statement is, by the words of AccessPolicies
  effect     read, write, define, administer, session, transaction or opaque
  parsed     whether a parser read all of it
  error_redact  whether the server's error texts are replaced: they could quote masked values
  code, reason  why it is refused or held, empty where it is allowed
  micros     how long judging took

A line that is no case, or whose policy or session has a field that is not of the form, is denied with code BAD_CASE.
Kinds and risks are written in capitals, such as CREATE_TABLE, COPY_INTO_LOCATION, DDL, ADMIN, DELETE_NO_WHERE,
EXTERNAL_SINK. Reading, session state and INSERT, UPDATE, DELETE, MERGE are allowed unless denied; rows change in the
writable schemas only, or everywhere where none are given.";

/// The answer to one line.
#[derive(Debug, Serialize)]
struct Answer {
    id: serde_json::Value,
    verdict: String,
    masks: Vec<usize>,
    columns: Option<usize>,
    kind: String,
    effect: String,
    parsed: bool,
    error_redact: bool,
    code: String,
    reason: String,
    micros: u64,
}

/// # Errors
/// When standard input cannot be read or the answers not be written; never because of a line.
pub(crate) fn run(_: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut lines = io::stdin().lock();
    while let Some(line) = next(&mut lines)? {
        let answer = answer(line.as_deref());
        serde_json::to_writer(&mut *out, &answer)?;
        writeln!(out)?;
        // Whoever asks line by line waits for this one.
        out.flush()?;
    }
    Ok(Exit::Well)
}

/// The next line without its end; `Some(None)` for one that is too long.
fn next(lines: &mut impl BufRead) -> io::Result<Option<Option<Vec<u8>>>> {
    let mut line = Vec::new();
    if lines.take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 == LINE_BYTES {
        lines.skip_until(b'\n')?;
        return Ok(Some(None));
    }
    Ok(Some(Some(line)))
}

/// One line is judged; whatever is wrong with it is in the answer.
fn answer(line: Option<&[u8]>) -> Answer {
    let judged = catch_unwind(AssertUnwindSafe(|| match line {
        Some(line) => judge(line).unwrap_or_else(|error| bad(&error.to_string())),
        None => bad("the line is too long"),
    }));
    let mut answer = judged.unwrap_or_else(|_| Answer {
        reason: "FG-9001 denied: judging the statement failed".to_owned(),
        ..Answer::refused("FG-9001")
    });
    answer.id = line.map(id).unwrap_or_default();
    answer
}

fn bad(reason: &str) -> Answer {
    Answer { reason: format!("this line is no case: {reason}"), ..Answer::refused("BAD_CASE") }
}

/// The id of a line, which may be no case otherwise.
fn id(line: &[u8]) -> serde_json::Value {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        id: serde_json::Value,
    }
    serde_json::from_slice(line).map(|named: Named| named.id).unwrap_or_default()
}

fn judge(line: &[u8]) -> Result<Answer, BadCase> {
    let case = Case::read(line)?;
    let mut scene = case.scene()?;
    for statement in &case.prior {
        let (analysis, decision) = scene.judge(statement);
        if decision.effect != Effect::Deny {
            follow(&mut scene, &analysis);
        }
    }
    let started = Instant::now();
    let (analysis, decision) = scene.judge(&case.sql);
    let micros = started.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
    Ok(Answer { micros, ..Answer::of(&analysis, &decision) })
}

/// What the account would say of the session after the statement.
fn follow(scene: &mut Scene, analysis: &Analysis) {
    let session = &mut scene.session;
    match (analysis.word, analysis.switches_to.as_slice()) {
        (Word::UseDatabase, [database]) => {
            session.database = Some(database.clone());
            session.schema = Some("PUBLIC".to_owned());
        }
        (Word::UseSchema, [schema]) => session.schema = Some(schema.clone()),
        (Word::UseSchema, [database, schema]) => {
            session.database = Some(database.clone());
            session.schema = Some(schema.clone());
        }
        (Word::UseWarehouse, [warehouse]) => session.warehouse = Some(warehouse.clone()),
        _ => {}
    }
    session.begin(analysis);
    session.end(analysis);
    if analysis.temporary {
        return;
    }
    // What was made, changed or dropped is no longer what the catalog says. What it became, the text has to say: there is
    // nobody to ask.
    let changed = [Access::Create, Access::Alter, Access::Drop];
    let changed = changed.into_iter().flat_map(|access| analysis.touched(access));
    scene.catalog = scene.catalog.without(changed).with(analysis.made.clone());
}

impl Answer {
    fn refused(code: &str) -> Self {
        Self {
            id: serde_json::Value::Null,
            verdict: "deny".to_owned(),
            masks: Vec::new(),
            columns: None,
            kind: Word::Unknown.to_string(),
            effect: sql::Effect::Opaque.to_string().to_ascii_lowercase(),
            parsed: false,
            error_redact: false,
            code: code.to_owned(),
            reason: String::new(),
            micros: 0,
        }
    }

    fn of(analysis: &Analysis, decision: &Decision) -> Self {
        let mut masks: Vec<usize> = decision.masks.iter().map(|mask| mask.position).collect();
        // What names an earlier statement is answered by the sidecar that ran it; here is none.
        let is_foreign = analysis.form != Form::Ordinary;
        let (verdict, code, reason) = match decision.effect {
            Effect::Deny => ("deny".to_owned(), decision.code(), refusal(decision)),
            _ if is_foreign => (
                "deny".to_owned(),
                "FG-6005",
                "FG-6005 denied: the query id is not one of this session".to_owned(),
            ),
            Effect::Hold => ("approve".to_owned(), decision.code(), refusal(decision)),
            Effect::Allow if masks.is_empty() => ("allow".to_owned(), "", String::new()),
            Effect::Allow => {
                let positions: Vec<String> = masks.iter().map(ToString::to_string).collect();
                (format!("mask:[{}]", positions.join(",")), "", String::new())
            }
        };
        if verdict == "deny" {
            masks.clear();
        }
        Self {
            verdict,
            masks,
            columns: decision.columns.as_ref().map(Vec::len),
            kind: analysis.word.to_string(),
            effect: analysis.effect.to_string().to_ascii_lowercase(),
            parsed: analysis.parsed,
            error_redact: decision.redact_errors,
            code: code.to_owned(),
            reason,
            ..Self::refused("")
        }
    }
}

fn refusal(decision: &Decision) -> String {
    decision.refusal.as_ref().map(ToString::to_string).unwrap_or_default()
}
