//! What a statement says about where it comes from: in its comments, its query tag, and its request's headers.
//!
//! The agent writes all of it, so it names a call or a trace and proves nothing: [`crate::Memory`] holds it against
//! what was seen.

/// The shortest name of a conversation that is looked for in hints.
const NAME_MIN: usize = 16;

/// Hints that came with one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The `traceparent` header of its request.
    pub traceparent: Option<String>,
    /// The query tag of the statement alone.
    pub tag: Option<String>,
    /// The query tag of its session, which may have been set long before.
    pub session_tag: Option<String>,
}

/// A hint's place, and what it says there.
pub(crate) struct Said<'a> {
    pub(crate) source: &'static str,
    text: &'a str,
    /// It was said with this statement, not once for many.
    pub(crate) fresh: bool,
}

impl Hints {
    /// Everything that is said, of the statement itself first.
    pub(crate) fn said<'a>(&'a self, sql: &'a str) -> Vec<Said<'a>> {
        let comments = comments(sql).into_iter().map(|text| ("Comment", text, true));
        let tag = self.tag.iter().map(|text| ("QueryTag", text.as_str(), true));
        let header = self.traceparent.iter().map(|text| ("Traceparent", text.as_str(), true));
        let session = self.session_tag.iter().map(|text| ("QueryTag", text.as_str(), false));
        let all = comments.chain(tag).chain(header).chain(session);
        all.map(|(source, text, fresh)| Said { source, text, fresh }).collect()
    }
}

impl Said<'_> {
    /// Ids of tool calls that it names.
    pub(crate) fn tool_uses(&self) -> Vec<&str> {
        let mut words = self.words();
        let mut ids = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "tool_use_id" | "toolUseId" => ids.extend(words.next()),
                id if id.starts_with("toolu_") => ids.push(id),
                _ => {}
            }
        }
        ids
    }

    /// Whether it names this conversation.
    pub(crate) fn names(&self, conversation: &str) -> bool {
        // A short one could be a word of anything.
        conversation.len() >= NAME_MIN && self.words().any(|word| word == conversation)
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        let belongs = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        self.text.split(move |c| !belongs(c)).filter(|word| !word.is_empty())
    }

    /// The trace that it names.
    pub(crate) fn trace(&self) -> Option<String> {
        trace_id(self.text)
    }
}

/// The trace id of the first W3C `traceparent` in a text.
#[must_use]
pub fn trace_id(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| word.len() >= 55).find_map(|word| {
        let mut parts = word.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let nothing = trace.bytes().all(|byte| byte == b'0');
        (hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2) && !nothing)
            .then(|| trace.to_ascii_lowercase())
    })
}

/// The comment before a statement and the one behind it: where libraries put what they have to say.
fn comments(sql: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let sql = sql.trim().trim_end_matches(';').trim_end();
    if let Some(rest) = sql.strip_prefix("/*")
        && let Some((comment, _)) = rest.split_once("*/")
    {
        found.push(comment);
    }
    if let Some(rest) = sql.strip_suffix("*/")
        && let Some((before, comment)) = rest.rsplit_once("/*")
        && !before.is_empty()
    {
        found.push(comment);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn said(hints: &Hints, sql: &str) -> Vec<String> {
        let one =
            |said: &Said<'_>| format!("{} {:?} {:?}", said.source, said.tool_uses(), said.trace());
        hints.said(sql).iter().map(one).collect()
    }

    #[test]
    fn hints_are_read_wherever_libraries_put_them() {
        let none = Hints::default();
        let trace = format!("[] Some(\"{TRACE}\")");
        for (sql, expected) in [
            (format!("select 1 /*app='x',traceparent='{PARENT}'*/"), format!("Comment {trace}")),
            (format!("/* traceparent={PARENT} */ select 1"), format!("Comment {trace}")),
            (
                "select 1 /* tool_use_id='toolu_01A' */;".into(),
                "Comment [\"toolu_01A\"] None".into(),
            ),
            (
                "select 1 /* toolu_01A, toolu_2 */".into(),
                "Comment [\"toolu_01A\", \"toolu_2\"] None".into(),
            ),
            ("select '/* toolu_1 */'".into(), String::new()),
            ("select 1".into(), String::new()),
            ("/**/".into(), "Comment [] None".into()),
        ] {
            assert_eq!(said(&none, &sql).join("; "), expected, "{sql}");
        }
        let hints = Hints {
            tag: Some(r#"{"tool_use_id": "call_7"}"#.into()),
            traceparent: Some(PARENT.into()),
            session_tag: Some("toolu_9".into()),
        };
        assert_eq!(
            said(&hints, "select 1"),
            [
                "QueryTag [\"call_7\"] None".to_owned(),
                format!("Traceparent {trace}"),
                "QueryTag [\"toolu_9\"] None".to_owned(),
            ]
        );
    }

    #[test]
    fn what_is_no_traceparent_names_no_trace() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(text), None, "{text}");
        }
        assert_eq!(trace_id(&PARENT.to_ascii_uppercase()).as_deref(), Some(TRACE));
    }
}
