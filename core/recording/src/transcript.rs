//! Transcript: a session in human order, as text.
//!
//! Nothing in a recording may speak to the terminal it is shown on: SQL, messages and cells come from agents and
//! tables, so control and direction characters are shown as what they are.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
};

use crate::{
    entry::{Approver, Attempted, Effect, Fact, Format, Hidden, Human, Prompt, Prompted},
    rows::Table,
    verify::Item,
};

/// What a transcript shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Show the rows as the agent saw them.
    pub rows: bool,
}

/// Writes a transcript, entry by entry.
#[derive(Debug)]
pub struct Transcript<W> {
    out: W,
    options: Options,
    /// Chunks that are not whole yet.
    chunks: HashMap<(String, u32), Vec<u8>>,
    /// Short names of statements, in order of their attempts.
    names: HashMap<String, usize>,
}

impl<W: fmt::Write> Transcript<W> {
    /// A transcript that is written to `out`.
    pub fn new(out: W, options: Options) -> Self {
        Self { out, options, chunks: HashMap::new(), names: HashMap::new() }
    }

    /// Shows one entry.
    ///
    /// # Errors
    /// When it cannot be written to `out`.
    pub fn show(&mut self, item: &Item) -> fmt::Result {
        let time = time(item.entry.at_ms);
        let number = item.entry.number;
        let name = match (&item.entry.fact, item.entry.fact.statement()) {
            (Fact::Attempted(_), Some(id)) => {
                let next = self.names.len() + 1;
                format!("#{} ", self.names.entry(id.to_owned()).or_insert(next))
            }
            (_, Some(id)) => self.names.get(id).map_or(String::new(), |name| format!("#{name} ")),
            (_, None) => String::new(),
        };
        let Some(text) = self.text(item) else { return Ok(()) };
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        writeln!(self.out, "{time}  {number:>4}  {name}{first}")?;
        for line in lines {
            writeln!(self.out, "{:32}{line}", "")?;
        }
        Ok(())
    }

    fn text(&mut self, item: &Item) -> Option<String> {
        Some(match &item.entry.fact {
            Fact::SessionOpened(it) => format!(
                "session opened on {} ({}) by {} for {}\nclient {} {}; policy {}",
                safe(&it.connection),
                safe(&it.account),
                safe(&format!(
                    "{}/{} {} (pod {}, ServiceAccount {})",
                    it.workload.namespace,
                    it.workload.kind,
                    it.workload.name,
                    it.workload.pod,
                    it.workload.service_account
                )),
                it.human.as_ref().map_or("nobody named".to_owned(), human),
                safe(&it.client.app_id),
                safe(&it.client.app_version),
                short(&it.policy_hash),
            ),
            Fact::CredentialLeased(it) => format!(
                "credential {} as {} until {}",
                safe(&it.mode),
                safe(&it.user),
                time(it.expires_at_ms)
            ),
            Fact::CredentialDropped(it) => {
                format!("credential of {} dropped: {}", safe(&it.user), safe(&it.reason))
            }
            Fact::Prompted(it) => prompted(it),
            Fact::Attempted(it) => attempted(it),
            Fact::Held(it) => format!(
                "waits for a human: {} until {} ({})",
                safe(&it.request),
                time(it.expires_at_ms),
                safe(&it.demands.join(", "))
            ),
            Fact::Approved(it) => {
                format!("approved {} by {}", safe(&it.request), approvers(&it.by))
            }
            Fact::Denied(it) => {
                format!("denied {} by {}", safe(&it.request), approver(&it.by))
            }
            Fact::Expired(it) => format!("expired undecided: {}", safe(&it.request)),
            Fact::Withdrawn(it) => {
                format!("withdrawn: {} {}", safe(&it.request), safe(&it.reason))
            }
            Fact::Sent(it) if it.attempt > 1 => {
                format!("sent again as {} (try {})", safe(&it.user), it.attempt)
            }
            Fact::Sent(it) => format!("sent as {}", safe(&it.user)),
            Fact::Rows(it) => {
                if !self.options.rows {
                    return None;
                }
                let key = (it.statement.clone(), it.chunk);
                let bytes = self.chunks.entry(key.clone()).or_default();
                if it.part == 0 {
                    // Fetched anew after a try that broke off.
                    bytes.clear();
                }
                bytes.extend_from_slice(item.payload.as_deref().unwrap_or_default());
                it.whole?;
                let bytes = self.chunks.remove(&key).unwrap_or_default();
                rows(it.chunk, it.format, &bytes)? + &hidden(&it.hidden)
            }
            Fact::Truncated(it) => format!(
                "chunk {}: {} of {} bytes are not in the recording ({})",
                it.chunk,
                it.missing.length,
                it.whole.length,
                safe(&it.reason)
            ),
            Fact::Completed(it) => {
                let mut text = format!("completed as query {}", safe(&it.query_id));
                if let Some(rows) = it.rows {
                    let _ = write!(text, ", {rows} rows");
                }
                let _ = write!(text, ", {} bytes, {} ms", it.answer.length, it.duration_ms);
                let masked: Vec<_> = it
                    .columns
                    .iter()
                    .filter_map(|column| {
                        column.masked.as_ref().map(|mask| format!("{} ({mask})", column.name))
                    })
                    .collect();
                if !masked.is_empty() {
                    let _ = write!(text, "\nmasked: {}", safe(&masked.join(", ")));
                }
                text + &hidden(&it.hidden)
            }
            Fact::Refused(it) => format!("refused {}: {}", safe(&it.code), safe(&it.message)),
            Fact::Failed(it) => format!("failed {}: {}", safe(&it.code), safe(&it.message)),
            Fact::Gap(it) => format!(
                "GAP: {} entries could not be written, {} statements were refused ({})",
                it.entries,
                it.refused,
                safe(&it.cause)
            ),
            Fact::Recovered(it) => format!(
                "RECOVERED: {} bytes behind the last whole entry were cut off ({})",
                it.dropped_bytes,
                safe(&it.cause)
            ),
            Fact::SessionClosed(it) => {
                format!("session closed: {}, {} statements", safe(&it.reason), it.statements)
            }
        })
    }
}

fn attempted(it: &Attempted) -> String {
    let mut text = String::new();
    let decision = &it.decision;
    let effect = match decision.effect {
        Effect::Allow => "allowed",
        Effect::Hold => "held",
        Effect::Deny => "denied",
    };
    for (number, line) in it.sql.lines().enumerate() {
        let _ = writeln!(text, "{}{}", if number == 0 { "> " } else { "  " }, safe(line));
    }
    if !it.binds.is_empty() {
        let binds: Vec<_> = it
            .binds
            .iter()
            .map(|bind| format!("{}={} {}", bind.name, bind.data_type, bind.value))
            .collect();
        let _ = writeln!(text, "binds {}", safe(&binds.join(", ")));
    }
    let _ = write!(text, "{effect}");
    if let Some(policy) = &decision.policy {
        let _ = write!(text, " by {}", safe(policy));
    }
    if let Some(rule) = &decision.rule {
        let _ = write!(text, " rule {}", safe(rule));
    }
    let _ = write!(text, " ({}", safe(&decision.reason));
    if let Some(code) = &decision.code {
        let _ = write!(text, ", {}", safe(code));
    }
    let _ =
        write!(text, "), policy {}, role {}", short(&decision.policy_hash), safe(&it.state.role));
    if let Some(lifted) = &decision.lifted {
        let _ = write!(text, "\naudit mode lifted: {}", safe(lifted));
    }
    if let Some(prompt) = &it.prompt {
        let _ = write!(text, "\n{}", origin(prompt));
    }
    text
}

/// Where a statement comes from, as far as it is known.
fn origin(prompt: &Prompt) -> String {
    let mut text = format!("from {}", safe(&prompt.confidence));
    if !prompt.source.is_empty() {
        let _ = write!(text, " by {}", safe(&prompt.source));
    }
    let parts = [
        ("prompt", prompt.digest.map(|digest| short(&digest.to_string()))),
        ("tool", prompt.tool.as_deref().map(safe)),
        ("call", prompt.tool_use.as_deref().map(safe)),
        ("model", prompt.model.as_deref().map(safe)),
        ("request", prompt.request.as_deref().map(safe)),
        ("conversation", prompt.conversation.as_deref().map(safe)),
        ("container", prompt.container.as_deref().map(safe)),
    ];
    for (word, value) in parts {
        if let Some(value) = value {
            let _ = write!(text, ", {word} {value}");
        }
    }
    if !prompt.candidates.is_empty() {
        let _ = write!(text, "; one of {}", safe(&prompt.candidates.join(", ")));
    }
    text
}

fn prompted(it: &Prompted) -> String {
    let mut text = format!("prompt {}", short(&it.digest.to_string()));
    if it.masked {
        text.push_str(", masked");
    }
    if let Some(length) = it.length {
        let _ = write!(text, ", the beginning of {length} bytes");
    }
    for line in it.text.lines() {
        let _ = write!(text, "\n\" {}", safe(line));
    }
    text
}

fn rows(chunk: u32, format: Format, bytes: &[u8]) -> Option<String> {
    match Table::read(format, bytes) {
        Ok(table) if table.rows.is_empty() && table.columns.is_empty() => None,
        Ok(table) => Some(format!("rows (chunk {chunk})\n{}", table.render("| "))),
        Err(error) => Some(format!("rows (chunk {chunk}) cannot be shown: {error}")),
    }
}

fn human(human: &Human) -> String {
    let word = if human.verified { "verified" } else { "CLAIMED, not verified" };
    let groups = if human.groups.is_empty() {
        String::new()
    } else {
        format!(", groups {}", safe(&human.groups.join(" ")))
    };
    format!("{} ({word} by {}{groups})", safe(&human.subject), safe(&human.issuer))
}

fn approvers(by: &[Approver]) -> String {
    by.iter().map(approver).collect::<Vec<_>>().join("; ")
}

fn approver(by: &Approver) -> String {
    format!("{} at {}: {}", safe(&by.name), time(by.at_ms), safe(&by.reason))
}

fn short(hash: &str) -> String {
    safe(hash).chars().take(12).collect()
}

/// Unix milliseconds as RFC 3339 in UTC, always with milliseconds.
#[must_use]
pub fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| format!("{at_ms} ms"), |time| format!("{time:.3}"))
}

/// What detectors found, on a line of its own.
fn hidden(hidden: &[Hidden]) -> String {
    let cells: Vec<_> = hidden
        .iter()
        .map(|it| format!("{} ({}, {} cells)", safe(&it.column), safe(&it.detector), it.cells))
        .collect();
    if cells.is_empty() { String::new() } else { format!("\nhidden: {}", cells.join(", ")) }
}

/// Text that cannot speak to a terminal: control characters, direction marks and other invisible characters are shown
/// as escapes, line ends too.
#[must_use]
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Direction marks and overrides, zero-width characters, line separators, the byte order mark, tags.
            c if c.is_control()
                || matches!(c,
                    '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                    | '\u{e0000}'..='\u{e007f}') =>
            {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_recording_speaks_to_the_terminal() {
        assert_eq!(safe("a\x1b[2J\u{202e}b\u{0}\u{9b}c\nd"), r"a\u{1b}[2J\u{202e}b\u{0}\u{9b}c\nd");
        assert_eq!(safe("Grüße 🌲 \\"), "Grüße 🌲 \\");
    }

    #[test]
    fn times_always_have_the_same_width() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
