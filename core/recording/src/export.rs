//! Export: one line per statement, as CSV or JSON.
//!
//! A line binds itself to its recording: `session`, `entry`, `segment` and `byte` say where the attempt stands, and
//! `resultSha256` and `payload` which recorded bytes are the answer.

use std::{collections::HashMap, io};

use serde_json::{Map, Value, json};

use crate::{
    Digest,
    entry::{Attempted, CredentialLeased, Effect, Fact, Prompt, SessionOpened},
    transcript::time,
    verify::Item,
};

/// The columns, in order. Only ever extended.
pub const COLUMNS: [&str; 54] = [
    "time",
    "session",
    "statement",
    "namespace",
    "workload",
    "pod",
    "serviceAccount",
    "human",
    "issuer",
    "verified",
    "groups",
    "connection",
    "account",
    "role",
    "warehouse",
    "database",
    "schema",
    "sql",
    "binds",
    "digest",
    "decision",
    "code",
    "reason",
    "policy",
    "rule",
    "policyHash",
    "maskedColumns",
    "approvalRequest",
    "approval",
    "approvedBy",
    "approvedAt",
    "approvalReason",
    "outcome",
    "message",
    "rows",
    "resultBytes",
    "resultSha256",
    "payload",
    "queryId",
    "durationMs",
    "credentialUser",
    "credentialExpires",
    "requestId",
    "entry",
    "promptConfidence",
    "promptSource",
    "promptDigest",
    "prompt",
    "toolUse",
    "tool",
    "model",
    "modelRequest",
    "conversation",
    "promptCandidates",
];

/// Collects the statements of one session.
#[derive(Debug, Default)]
pub struct Export {
    session: String,
    opened: Option<SessionOpened>,
    credential: Option<CredentialLeased>,
    prompts: HashMap<Digest, String>,
    lines: Vec<Line>,
    places: HashMap<String, usize>,
}

type Line = Map<String, Value>;

impl Export {
    /// The export of one session.
    #[must_use]
    pub fn new(session: &str) -> Self {
        Self { session: session.to_owned(), ..Self::default() }
    }

    /// Takes one intact entry.
    pub fn take(&mut self, item: &Item) {
        match &item.entry.fact {
            Fact::SessionOpened(it) => self.opened = Some((**it).clone()),
            Fact::CredentialLeased(it) => self.credential = Some(it.clone()),
            Fact::Prompted(it) => {
                self.prompts.insert(it.digest, it.text.clone());
            }
            Fact::Attempted(it) => {
                let line = self.attempted(it, item);
                self.places.insert(it.statement.clone(), self.lines.len());
                self.lines.push(line);
            }
            Fact::Refused(it)
                if !self.places.contains_key(it.statement.as_deref().unwrap_or_default()) =>
            {
                // Refused before it was understood: on record all the same.
                let attempted = Attempted {
                    statement: it.statement.clone().unwrap_or_default(),
                    ..Attempted::default()
                };
                let mut line = self.attempted(&attempted, item);
                line.insert("code".into(), json!(it.code));
                line.insert("outcome".into(), json!("Refused"));
                line.insert("message".into(), json!(it.message));
                self.lines.push(line);
            }
            fact => {
                let place = fact.statement().and_then(|id| self.places.get(id));
                if let Some(line) = place.and_then(|at| self.lines.get_mut(*at)) {
                    follow(line, item);
                }
            }
        }
    }

    /// Writes the lines as CSV, with a head line. Cells that a spreadsheet would run as a formula are quoted with an
    /// apostrophe.
    ///
    /// # Errors
    /// When `out` does not take them.
    pub fn csv(&self, out: impl io::Write, with_head: bool) -> Result<(), csv::Error> {
        let mut writer =
            csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        if with_head {
            writer.write_record(COLUMNS)?;
        }
        for line in &self.lines {
            writer
                .write_record(COLUMNS.iter().map(|column| formula_safe(cell(line.get(*column)))))?;
        }
        writer.flush()?;
        Ok(())
    }

    /// Writes the lines as JSON, one object per line.
    ///
    /// # Errors
    /// When `out` does not take them.
    pub fn json(&self, mut out: impl io::Write) -> io::Result<()> {
        for line in &self.lines {
            serde_json::to_writer(&mut out, line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn attempted(&self, it: &Attempted, item: &Item) -> Line {
        let opened = self.opened.clone().unwrap_or_default();
        let human = opened.human.as_ref();
        let decision = &it.decision;
        let effect = match decision.effect {
            Effect::Allow => "Allow",
            Effect::Hold => "Hold",
            Effect::Deny => "Deny",
        };
        let masked: Vec<_> = decision
            .masks
            .iter()
            .map(
                |mask| json!({"column": mask.column, "mask": mask.mask, "position": mask.position}),
            )
            .collect();
        let credential = self.credential.as_ref();
        let line = json!({
            "time": time(item.entry.at_ms),
            "session": self.session,
            "statement": it.statement,
            "namespace": opened.workload.namespace,
            "workload": format!("{}/{}", opened.workload.kind, opened.workload.name),
            "pod": opened.workload.pod,
            "serviceAccount": opened.workload.service_account,
            "human": human.map(|human| &human.subject),
            "issuer": human.map(|human| &human.issuer),
            "verified": human.map(|human| human.verified),
            "groups": human.map(|human| &human.groups),
            "connection": opened.connection,
            "account": opened.account,
            "role": it.state.role,
            "warehouse": it.state.warehouse,
            "database": it.state.database,
            "schema": it.state.schema,
            "sql": it.sql,
            "binds": it.binds.iter().map(|bind| json!({
                "name": bind.name, "type": bind.data_type, "value": bind.value,
            })).collect::<Vec<_>>(),
            "digest": it.digest.to_string(),
            "decision": effect,
            "code": decision.code,
            "reason": decision.reason,
            "policy": decision.policy,
            "rule": decision.rule,
            "policyHash": decision.policy_hash,
            "maskedColumns": masked,
            "outcome": "None",
            "payload": [],
            "credentialUser": credential.map(|it| &it.user),
            "credentialExpires": credential.map(|it| time(it.expires_at_ms)),
            "requestId": it.request_id,
            "entry": item.entry.number,
        });
        let mut line = match line {
            Value::Object(line) => line,
            _ => Line::new(),
        };
        line.extend(it.prompt.as_ref().map(|prompt| self.origin(prompt)).unwrap_or_default());
        line
    }

    /// Where a statement comes from.
    fn origin(&self, it: &Prompt) -> Line {
        let columns = [
            ("promptConfidence", json!(it.confidence)),
            ("promptSource", json!(it.source)),
            ("promptDigest", json!(it.digest.map(|digest| digest.to_string()))),
            ("prompt", json!(it.digest.and_then(|digest| self.prompts.get(&digest)))),
            ("toolUse", json!(it.tool_use)),
            ("tool", json!(it.tool)),
            ("model", json!(it.model)),
            ("modelRequest", json!(it.request)),
            ("conversation", json!(it.conversation)),
            ("promptCandidates", json!(it.candidates)),
        ];
        columns.map(|(column, value)| (column.to_owned(), value)).into_iter().collect()
    }
}

/// What a later entry of a statement adds to its line.
fn follow(line: &mut Line, item: &Item) {
    let mut set = |column: &str, value: Value| {
        line.insert(column.to_owned(), value);
    };
    match &item.entry.fact {
        Fact::Held(it) => {
            set("approvalRequest", json!(it.request));
            set("approval", json!("Pending"));
        }
        Fact::Approved(it) => {
            set("approvalRequest", json!(it.request));
            set("approval", json!("Approved"));
            set("approvedBy", json!(it.by.iter().map(|by| &by.name).collect::<Vec<_>>()));
            set("approvedAt", json!(it.by.iter().map(|by| time(by.at_ms)).collect::<Vec<_>>()));
            set("approvalReason", json!(it.by.iter().map(|by| &by.reason).collect::<Vec<_>>()));
        }
        Fact::Denied(it) => {
            set("approvalRequest", json!(it.request));
            set("approval", json!("Denied"));
            set("approvedBy", json!([it.by.name]));
            set("approvedAt", json!([time(it.by.at_ms)]));
            set("approvalReason", json!([it.by.reason]));
        }
        Fact::Expired(_) => set("approval", json!("Expired")),
        Fact::Withdrawn(_) => set("approval", json!("Withdrawn")),
        Fact::Sent(it) => {
            set("credentialUser", json!(it.user));
            set("outcome", json!("Sent"));
        }
        Fact::Rows(it) => {
            let place = json!({
                "segment": item.segment, "byte": item.byte, "entry": item.entry.number,
                "chunk": it.chunk, "part": it.part, "length": it.payload.length,
                "sha256": it.payload.sha256.to_string(),
            });
            if let Some(Value::Array(places)) = line.get_mut("payload") {
                places.push(place);
            }
        }
        Fact::Truncated(it) => {
            let place = json!({
                "entry": item.entry.number, "chunk": it.chunk, "missing": it.missing.length,
                "sha256": it.missing.sha256.to_string(), "reason": it.reason,
            });
            if let Some(Value::Array(places)) = line.get_mut("payload") {
                places.push(place);
            }
        }
        Fact::Completed(it) => {
            set("outcome", json!("Completed"));
            set("rows", json!(it.rows));
            set("resultBytes", json!(it.answer.length));
            set("resultSha256", json!(it.answer.sha256.to_string()));
            set("queryId", json!(it.query_id));
            set("durationMs", json!(it.duration_ms));
        }
        Fact::Refused(it) => {
            set("outcome", json!("Refused"));
            set("code", json!(it.code));
            set("message", json!(it.message));
        }
        Fact::Failed(it) => {
            let outcome = match &*it.code {
                "FG-4004" => "Unknown",
                "FG-4006" => "Completed",
                _ => "Failed",
            };
            set("outcome", json!(outcome));
            set("code", json!(it.code));
            set("message", json!(it.message));
            set("queryId", json!(it.query_id));
        }
        _ => {}
    }
}

/// A cell of CSV: a list of plain words is joined, anything deeper is JSON.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) if list.is_empty() => String::new(),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")
        }
        Some(other) => other.to_string(),
    }
}

/// Spreadsheets run what begins with one of these; an apostrophe makes it text.
fn formula_safe(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        for (cell, expected) in [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-- SELECT", "'-- SELECT"),
            ("\t=1", "'\t=1"),
            ("SELECT 1", "SELECT 1"),
        ] {
            assert_eq!(formula_safe(cell.into()), expected);
        }
    }
}
