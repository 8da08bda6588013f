//! What a request of the Messages API says: who asks for what, and which tool calls it answers.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest prompt that is kept, bytes; the rest of a longer one is cut.
const PROMPT_MAX: usize = 64 << 10;
/// Claude Code wraps what it tells the model by itself in this.
const REMINDER: &str = "<system-reminder>";

/// What a request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// The id of the conversation, where the client names one.
    pub conversation: Option<String>,
    /// What the user said last.
    pub prompt: Option<String>,
    /// Bytes of the prompt before it was cut.
    pub prompt_length: usize,
    /// Tool calls whose results it brings.
    pub answered: Vec<String>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    #[serde(borrow, default)]
    messages: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<Metadata<'a>>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    user_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Blocks(#[serde(borrow)] Vec<Block<'a>>),
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tool_use_id: Option<Cow<'a, str>>,
}

impl Asked {
    /// Reads the body of `POST /v1/messages`; nothing where it is none.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        // A list would be taken for an object without names.
        let body = body.trim_ascii_start();
        let body: Body<'_> =
            body.starts_with(b"{").then(|| serde_json::from_slice(body).ok()).flatten()?;
        let user = body.metadata.and_then(|metadata| metadata.user_id);
        let mut asked = Self {
            model: body.model.into_owned(),
            conversation: user.as_deref().and_then(conversation),
            ..Self::default()
        };
        // The whole conversation comes with every request: its end says what is new.
        let mut before_answer = true;
        for raw in body.messages.iter().rev() {
            let Ok(message) = serde_json::from_str::<Message<'_>>(raw.get()) else { continue };
            if message.role != "user" {
                before_answer &= message.role != "assistant";
                continue;
            }
            if before_answer && let Content::Blocks(blocks) = &message.content {
                let results = blocks.iter().filter(|block| block.kind == "tool_result");
                let ids = results.filter_map(|block| block.tool_use_id.as_deref());
                asked.answered.extend(ids.map(str::to_owned));
            }
            if asked.prompt.is_none() {
                asked.keep(said(&message.content));
            }
            if asked.prompt.is_some() && !before_answer {
                break;
            }
        }
        Some(asked)
    }

    fn keep(&mut self, said: String) {
        if said.is_empty() {
            return;
        }
        self.prompt_length = said.len();
        self.prompt = Some(cut(said, PROMPT_MAX));
    }
}

/// What the user said in a message: its texts, without results of tools and without the client's own words.
fn said(content: &Content<'_>) -> String {
    let own = |text: &str| !text.is_empty() && !text.starts_with(REMINDER);
    match content {
        Content::Text(text) if own(text.trim()) => text.trim().to_owned(),
        Content::Text(_) => String::new(),
        Content::Blocks(blocks) => {
            let texts = blocks.iter().filter(|block| block.kind == "text");
            let texts = texts.filter_map(|block| block.text.as_deref()).map(str::trim);
            texts.filter(|text| own(text)).collect::<Vec<_>>().join("\n\n")
        }
    }
}

/// Claude Code writes its session into `metadata.user_id`: as JSON, or behind `_session_`.
fn conversation(user_id: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Session {
        session_id: String,
    }
    if let Ok(session) = serde_json::from_str::<Session>(user_id) {
        return Some(session.session_id);
    }
    let (_, session) = user_id.rsplit_once("_session_")?;
    Some(session.to_owned())
}

/// The beginning of a text, at most so many bytes, whole characters.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &Value) -> Asked {
        Asked::read(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_prompt_is_what_the_user_said_last() {
        for (case, messages, expected) in [
            (
                "a text",
                json!([{"role": "user", "content": "count the orders"}]),
                "count the orders",
            ),
            (
                "blocks, with the client's own words among them",
                json!([{"role": "user", "content": [
                    {"type": "text", "text": "<system-reminder>\nbe brief</system-reminder>"},
                    {"type": "image", "source": {"type": "base64", "data": "x"}},
                    {"type": "text", "text": "count the orders", "cache_control": {"type": "ephemeral"}},
                ]}]),
                "count the orders",
            ),
            (
                "results of tools come after it",
                json!([
                    {"role": "user", "content": "count the orders"},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "q", "input": {}}]},
                    {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "drop all"}]},
                        {"type": "text", "text": "<system-reminder>todo</system-reminder>"},
                    ]},
                    {"role": "system", "content": "mode: plan"},
                ]),
                "count the orders",
            ),
            (
                "said again later",
                json!([
                    {"role": "user", "content": "count the orders"},
                    {"role": "assistant", "content": "7"},
                    {"role": "user", "content": "and the customers?"},
                ]),
                "and the customers?",
            ),
        ] {
            let asked = read(&json!({"model": "m", "messages": messages}));
            assert_eq!(asked.prompt.as_deref(), Some(expected), "{case}");
        }
    }

    #[test]
    fn only_the_results_since_the_last_answer_are_new() {
        let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "x"});
        let asked = read(&json!({"model": "m", "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "q", "input": {}}]},
            {"role": "user", "content": [result("toolu_1")]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_2", "name": "q", "input": {}}]},
            {"role": "user", "content": [result("toolu_2"), result("toolu_3")]},
        ]}));
        assert_eq!(asked.answered, ["toolu_2", "toolu_3"]);
        assert_eq!(asked.prompt.as_deref(), Some("go"));
    }

    #[test]
    fn a_conversation_has_the_id_that_its_client_gives_it() {
        for (user_id, expected) in [
            (json!("{\"device_id\":\"d\",\"session_id\":\"0b7e\"}"), Some("0b7e")),
            (json!("user_1_account_2_session_0b7e"), Some("0b7e")),
            (json!("somebody"), None),
            (json!(null), None),
        ] {
            let asked = read(&json!({"messages": [], "metadata": {"user_id": user_id}}));
            assert_eq!(asked.conversation.as_deref(), expected, "{user_id}");
        }
    }

    #[test]
    fn a_long_prompt_is_cut_at_a_character_and_its_length_is_kept() {
        let long = "ü".repeat(PROMPT_MAX);
        let asked = read(&json!({"messages": [{"role": "user", "content": long}]}));
        assert_eq!(asked.prompt.unwrap().len(), PROMPT_MAX);
        assert_eq!(asked.prompt_length, 2 * PROMPT_MAX);
    }

    #[test]
    fn what_is_no_request_is_none() {
        for body in ["", "[]", "{\"messages\":1}", "{\"model\":1,\"messages\":[]}", "\u{0}"] {
            assert_eq!(Asked::read(body.as_bytes()), None, "{body}");
        }
        let odd = br#"{"messages":[1,{"role":"user"},{"role":"user","content":[{"type":1}]},{"role":"user","content":"x"}]}"#;
        assert_eq!(Asked::read(odd).unwrap().prompt.as_deref(), Some("x"));
    }
}
