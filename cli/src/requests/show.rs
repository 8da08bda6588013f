//! A request as a human reads it.
//!
//! Everything in it but the headings comes from an agent: no character of it may deceive the eye
//! or speak to the terminal, and no line of it may pass for one of ours.

use std::fmt::Write as _;

use crds::ApprovalRequest;
use crds::approval_request::Intent;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use recording::transcript::safe;

/// The widest cell of the table.
const CELL_MAX: usize = 40;

/// One line per request: who, what, where, until when.
pub(crate) fn table(requests: &[ApprovalRequest], now: Timestamp) -> String {
    let head = ["NAMESPACE", "NAME", "AGENT", "FOR", "EFFECT", "TARGET", "VOTES", "UNTIL", "SQL"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(requests.iter().map(|request| row(request, now)));
    let mut widths = [0; 9];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}   ");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

fn row(request: &ApprovalRequest, now: Timestamp) -> [String; 9] {
    let spec = &request.spec;
    let first = |words: &[String]| words.first().map_or("-", String::as_str).to_owned();
    let target =
        if spec.effects.writes.is_empty() { &spec.effects.reads } else { &spec.effects.writes };
    let human = spec.requester.on_behalf_of.as_ref().map_or("-", |human| human.subject.as_str());
    let status = request.status.clone().unwrap_or_default();
    [
        cell(&request.namespace().unwrap_or_default()),
        cell(&request.name_any()),
        cell(&spec.requester.workload.name),
        cell(human),
        cell(&first(&spec.effects.kinds)),
        cell(&first(target)),
        cell(status.votes.as_deref().unwrap_or("-")),
        until(request, now),
        cell(&spec.statement.sql),
    ]
}

fn cell(text: &str) -> String {
    let text = safe(text);
    if text.chars().count() <= CELL_MAX {
        return text;
    }
    let mut cut: String = text.chars().take(CELL_MAX - 3).collect();
    cut.push_str("...");
    cut
}

/// How long somebody has to decide, or what became of it.
fn until(request: &ApprovalRequest, now: Timestamp) -> String {
    let phase = request.phase();
    if phase != crds::approval_request::Phase::Pending {
        return format!("{phase:?}");
    }
    let seconds = request.spec.expires_at.0.as_second() - now.as_second();
    match seconds {
        ..=0 => "expired".into(),
        1..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

/// The whole request, to decide upon.
pub(crate) fn request(request: &ApprovalRequest, now: Timestamp) -> String {
    let spec = &request.spec;
    let mut page = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(page, "{name:<12}{value}");
        }
    };
    let namespace = request.namespace().unwrap_or_default();
    line("Request", format!("{}/{}", safe(&namespace), safe(&request.name_any())));
    let workload = &spec.requester.workload;
    line(
        "Agent",
        safe(&format!(
            "{} {} (pod {}, ServiceAccount {})",
            workload.kind, workload.name, workload.pod, workload.service_account
        )),
    );
    line(
        "For",
        match &spec.requester.on_behalf_of {
            Some(human) => {
                let groups = match human.groups.is_empty() {
                    true => String::new(),
                    false => format!(", groups {}", human.groups.join(", ")),
                };
                safe(&format!("{} (vouched for by {}{groups})", human.subject, human.issuer))
            }
            None => "nobody: the agent brought no identity".into(),
        },
    );
    let context = &spec.context;
    let part = |word: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!(", {word} {value}")).unwrap_or_default()
    };
    line(
        "Where",
        safe(&format!(
            "connection {}/{}, role {}{}{}{}",
            spec.connection_ref.namespace.as_deref().unwrap_or(&namespace),
            spec.connection_ref.name,
            context.role,
            part("warehouse", &context.warehouse),
            part("database", &context.database),
            part("schema", &context.schema)
        )),
    );
    line("Effect", safe(&spec.effects.kinds.join(", ")));
    line("Writes", safe(&spec.effects.writes.join(", ")));
    line("Reads", safe(&spec.effects.reads.join(", ")));
    line("Risks", safe(&spec.effects.risks.join(", ")));
    for policy in &spec.policy_refs {
        let mut rule = policy.id();
        let _ = write!(rule, ", {} approval(s)", policy.approvers.min_approvals);
        if !policy.approvers.groups.is_empty() {
            let _ = write!(rule, " of {}", policy.approvers.groups.join(", "));
        }
        line("Held by", safe(&rule));
    }
    if let Some(intent) = &spec.intent {
        line("Asked", asked(intent));
    }
    let status = request.status.clone().unwrap_or_default();
    for decision in &status.decisions {
        line(
            "Decided",
            safe(&format!("{:?} by {}: {}", decision.verdict, decision.approver, decision.reason)),
        );
    }
    line("Until", format!("{} ({})", spec.expires_at.0, until(request, now)));
    line("Digest", safe(&spec.statement.digest));
    for (number, bind) in (1..).zip(&spec.statement.binds) {
        line("Bind", format!("{number}: {}", safe(bind)));
    }
    line("SQL", format!("{} bytes{}", spec.statement.sql.len(), look_alikes(&spec.statement.sql)));
    // The bar in front: no line of the statement passes for one of the page.
    for text in spec.statement.sql.split('\n') {
        let _ = writeln!(page, "  | {}", safe(text));
    }
    if let Some(prompt) = spec.intent.as_ref().and_then(|intent| intent.prompt_excerpt.as_ref()) {
        let _ = writeln!(page, "{:<12}as recorded, from the agent's own model traffic", "Prompt");
        for text in prompt.split('\n') {
            let _ = writeln!(page, "  \" {}", safe(text));
        }
    }
    page
}

/// Which tool call led to it, and how sure that is.
fn asked(intent: &Intent) -> String {
    let mut text = match intent.confidence.as_str() {
        "Time" => "perhaps, by time alone".to_owned(),
        confidence => confidence.to_owned(),
    };
    let parts = [("tool", &intent.tool), ("call", &intent.tool_use), ("model", &intent.model)];
    for (word, value) in parts {
        if let Some(value) = value {
            let _ = write!(text, ", {word} {value}");
        }
    }
    safe(&text)
}

/// Names the letters outside ASCII: one of another script may look like one of ours.
fn look_alikes(sql: &str) -> String {
    let mut letters: Vec<char> = sql.chars().filter(|letter| !letter.is_ascii()).collect();
    letters.sort_unstable();
    letters.dedup();
    let named = letters.iter().take(8).map(|letter| format!(" U+{:04X}", u32::from(*letter)));
    let named: String = named.collect();
    match letters.len() {
        0 => named,
        1..=8 => format!("; not all of it is ASCII:{named}"),
        more => format!("; not all of it is ASCII:{named} and {} more", more - 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(sql: &str) -> ApprovalRequest {
        let yaml = serde_json::json!({
            "apiVersion": "frostgate.dev/v1alpha1",
            "kind": "ApprovalRequest",
            "metadata": {"name": "apr-7kq2m", "namespace": "agents", "uid": "u"},
            "spec": {
                "requester": {
                    "workload": {
                        "kind": "Deployment", "name": "support-bot", "pod": "support-bot-6c9d",
                        "podUID": "p", "serviceAccount": "support",
                    },
                    "onBehalfOf": {"issuer": "https://idp", "subject": "alice@corp", "groups": ["support"]},
                },
                "connectionRef": {"name": "prod", "namespace": "data"},
                "policyRefs": [{
                    "name": "support-agents", "rule": "writes", "generation": 1, "grantSeconds": 300,
                    "approvers": {"groups": ["stewards"], "minApprovals": 2, "distinctFromRequester": true},
                }],
                "policyHash": "00", "session": "s", "statementId": "st", "requestId": "r",
                "statement": {"sql": sql, "binds": ["FIXED:4411"], "digest": "d".repeat(64)},
                "effects": {"kinds": ["Delete"], "writes": ["SALES.PUBLIC.ORDERS"], "risks": ["NoWhere"]},
                "context": {"role": "SUPPORT_RW", "warehouse": "WH", "database": "SALES"},
                "intent": {
                    "confidence": "Hash", "promptExcerpt": "Remove order 4411,\n\u{1b}[2Kit was a test.",
                    "model": "claude-x", "tool": "Bash", "toolUse": "toolu_01", "request": "req_01",
                },
                "expiresAt": "2026-11-21T12:15:00Z",
            },
            "status": {"phase": "Pending", "votes": "0/2"},
        });
        serde_json::from_value(yaml).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_request_shows_everything_that_is_decided_upon() {
        let shown = request(&pending("DELETE FROM orders\n  WHERE 1 = 1"), now());
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn a_statement_cannot_speak_for_the_page() {
        let sql = "SELECT 1 -- \u{202e}evil\u{202c}\r\x1b[2K\nDigest      aaaa\u{0}\n\n";
        let shown = request(&pending(sql), now());
        let (_, statement) = shown.split_once("SQL ").unwrap();
        insta::assert_snapshot!(statement);
        assert_eq!(shown.matches("\nDigest").count(), 1);
        assert!(shown.chars().all(|letter| letter == '\n' || !letter.is_control()));
    }

    #[test]
    fn letters_that_only_look_like_ours_are_named() {
        assert_eq!(look_alikes("DELETE FROM orders"), "");
        assert_eq!(look_alikes("DELETE FROM \u{43e}rders"), "; not all of it is ASCII: U+043E");
        let many: String = ('\u{430}'..='\u{44f}').collect();
        assert!(look_alikes(&many).ends_with("U+0437 and 24 more"), "{}", look_alikes(&many));
    }

    #[test]
    fn the_list_is_one_line_each() {
        let mut decided =
            pending("UPDATE\u{200b} t SET a = 'a very long text that does not fit a cell'\n;");
        decided.status.get_or_insert_default().phase = crds::approval_request::Phase::Denied;
        decided.spec.requester.on_behalf_of = None;
        insta::assert_snapshot!(table(&[pending("DELETE FROM orders"), decided], now()));
    }

    #[test]
    fn the_time_left_is_told_in_one_unit() {
        let request = pending("SELECT 1");
        let at = |text: &str| until(&request, text.parse().unwrap());
        assert_eq!(at("2026-11-21T12:14:01Z"), "59s");
        assert_eq!(at("2026-11-21T12:00:00Z"), "15m");
        assert_eq!(at("2026-11-21T00:00:00Z"), "12h");
        assert_eq!(at("2026-11-21T12:15:00Z"), "expired");
    }
}
