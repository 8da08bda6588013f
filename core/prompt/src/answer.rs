//! What an answer of the Messages API says, read while it passes: the tool calls in it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::event::Events;

/// The longest answer that is read when it is one piece of JSON.
const WHOLE_MAX: usize = 8 << 20;
/// The longest input of tool calls that is put together in one answer.
const INPUT_MAX: usize = 2 << 20;
/// Tool calls that are open at the same time in one answer.
const OPEN_MAX: usize = 64;

/// A tool call that the model asks its client for.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolUse {
    /// Its id, `toolu_...`.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What it is called with; nothing where it was too long or no JSON.
    pub input: Option<Value>,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Server-sent events.
    Events,
    /// One message as JSON.
    Whole,
}

/// Reads one answer.
#[derive(Debug)]
pub struct Reader {
    form: Form,
    events: Events,
    whole: Vec<u8>,
    open: BTreeMap<u64, Open>,
    /// Bytes of input so far.
    input: usize,
    /// Nothing more is read: it is too long, or it is over.
    done: bool,
}

/// A tool call whose input is still coming.
#[derive(Debug)]
struct Open {
    id: String,
    name: String,
    /// The input as it stood in the start of the block: empty, as a rule.
    given: Value,
    json: String,
    cut: bool,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    index: u64,
    #[serde(default)]
    content_block: Option<Block>,
    #[serde(default)]
    delta: Option<Delta>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    input: Value,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    partial_json: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Vec<Value>,
}

impl Reader {
    /// A reader of an answer of this form.
    #[must_use]
    pub fn new(form: Form) -> Self {
        Self {
            form,
            events: Events::default(),
            whole: Vec::new(),
            open: BTreeMap::new(),
            input: 0,
            done: false,
        }
    }

    /// Takes the next bytes; gives the tool calls that are complete with them.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<ToolUse> {
        if self.done {
            return Vec::new();
        }
        match self.form {
            Form::Events => {
                let mut events = std::mem::take(&mut self.events);
                let mut found = Vec::new();
                events.take(bytes, |data| found.extend(self.event(data)));
                self.events = events;
                found
            }
            Form::Whole => {
                if self.whole.len() + bytes.len() > WHOLE_MAX {
                    self.done = true;
                    self.whole = Vec::new();
                    return Vec::new();
                }
                self.whole.extend_from_slice(bytes);
                // Whoever gets the last byte may act on it at once, and where the end is nobody says in time.
                if bytes.trim_ascii_end().ends_with(b"}") { self.message() } else { Vec::new() }
            }
        }
    }

    fn event(&mut self, data: &[u8]) -> Option<ToolUse> {
        let event: Event<'_> = serde_json::from_slice(data).ok()?;
        match event.kind {
            "content_block_start" => {
                let block = event.content_block.filter(|block| block.kind == "tool_use")?;
                if self.open.len() < OPEN_MAX {
                    let Block { id, name, input, .. } = block;
                    let open = Open { id, name, given: input, json: String::new(), cut: false };
                    self.open.insert(event.index, open);
                }
                None
            }
            "content_block_delta" => {
                let part = event.delta?.partial_json?;
                let open = self.open.get_mut(&event.index)?;
                self.input += part.len();
                if self.input > INPUT_MAX {
                    open.cut = true;
                    open.json = String::new();
                } else if !open.cut {
                    open.json.push_str(&part);
                }
                None
            }
            "content_block_stop" => {
                let open = self.open.remove(&event.index)?;
                let input = if open.cut {
                    None
                } else if open.json.is_empty() {
                    Some(open.given)
                } else {
                    serde_json::from_str(&open.json).ok()
                };
                Some(ToolUse { id: open.id, name: open.name, input })
            }
            _ => None,
        }
    }

    /// The tool calls of a whole message, if it is whole.
    fn message(&mut self) -> Vec<ToolUse> {
        let Ok(message) = serde_json::from_slice::<Message>(&self.whole) else { return Vec::new() };
        self.done = true;
        self.whole = Vec::new();
        let blocks = message.content.into_iter().filter_map(|block| Block::deserialize(block).ok());
        let calls = blocks.filter(|block| block.kind == "tool_use");
        calls
            .map(|Block { id, name, input, .. }| ToolUse { id, name, input: Some(input) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn events(events: &[Value]) -> Vec<u8> {
        let event = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"]);
        events.iter().map(event).collect::<String>().into_bytes()
    }

    fn two_calls() -> Vec<u8> {
        events(&[
            json!({"type": "message_start", "message": {"id": "msg_1", "model": "m", "content": []}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "I look: ü"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1,
                   "content_block": {"type": "tool_use", "id": "toolu_1", "name": "q", "input": {}}}),
            json!({"type": "content_block_start", "index": 2,
                   "content_block": {"type": "tool_use", "id": "toolu_2", "name": "none", "input": {}}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ""}}),
            json!({"type": "content_block_delta", "index": 1,
                   "delta": {"type": "input_json_delta", "partial_json": "{\"sql\": \"select 'gr"}}),
            json!({"type": "content_block_stop", "index": 2}),
            json!({"type": "content_block_delta", "index": 1,
                   "delta": {"type": "input_json_delta", "partial_json": "ün'\"}"}}),
            json!({"type": "content_block_stop", "index": 1}),
            json!({"type": "content_block_start", "index": 3,
                   "content_block": {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}}),
            json!({"type": "content_block_stop", "index": 3}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
            json!({"type": "message_stop"}),
        ])
    }

    fn expected() -> Vec<ToolUse> {
        let call = |id: &str, name: &str, input| ToolUse {
            id: id.into(),
            name: name.into(),
            input: Some(input),
        };
        vec![
            call("toolu_2", "none", json!({})),
            call("toolu_1", "q", json!({"sql": "select 'grün'"})),
        ]
    }

    #[test]
    fn calls_are_put_together_from_their_parts() {
        assert_eq!(Reader::new(Form::Events).take(&two_calls()), expected());
    }

    #[test]
    fn a_message_in_one_piece_is_read_when_it_is_whole() {
        let message = json!({"id": "msg_1", "type": "message", "content": [
            {"type": "text", "text": "so {"},
            {"type": "tool_use", "id": "toolu_1", "name": "q", "input": {"sql": "select 1"}},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "w", "input": {}},
        ]})
        .to_string();
        let mut reader = Reader::new(Form::Whole);
        let half = message.find('{').unwrap() + 40;
        assert_eq!(reader.take(&message.as_bytes()[..half]), []);
        let calls = reader.take(&message.as_bytes()[half..]);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].input, Some(json!({"sql": "select 1"})));
        assert_eq!(reader.take(b"}"), []);
    }

    #[test]
    fn an_input_that_is_too_long_or_broken_is_none_and_the_next_call_is_read() {
        let start = |index: u64, id: &str| {
            json!({"type": "content_block_start", "index": index,
                   "content_block": {"type": "tool_use", "id": id, "name": "q", "input": {}}})
        };
        let part = |index: u64, text: &str| {
            json!({"type": "content_block_delta", "index": index,
                   "delta": {"type": "input_json_delta", "partial_json": text}})
        };
        let stop = |index: u64| json!({"type": "content_block_stop", "index": index});
        let mut reader = Reader::new(Form::Events);
        let broken = events(&[start(0, "a"), part(0, "{\"sql\": \"sel"), stop(0)]);
        assert_eq!(reader.take(&broken)[0].input, None);
        assert_eq!(
            reader.take(&events(&[start(1, "b"), part(1, "{\"a\":"), part(1, "1}"), stop(1)]))[0]
                .input,
            Some(json!({"a": 1}))
        );
        reader.take(&events(&[start(2, "c")]));
        let block = "x".repeat(1 << 20);
        for _ in 0..8 {
            reader.take(&events(&[part(2, &block)]));
            assert!(reader.open[&2].json.len() <= INPUT_MAX);
        }
        assert_eq!(reader.take(&events(&[stop(2)]))[0].input, None);
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_makes_no_difference(cuts in proptest::collection::vec(0_usize..2200, 0..40)) {
            let bytes = two_calls();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut reader = Reader::new(Form::Events);
            let mut found = Vec::new();
            let mut from = 0;
            for cut in cuts {
                found.extend(reader.take(&bytes[from..cut]));
                from = cut;
            }
            prop_assert_eq!(found, expected());
        }

        #[test]
        fn any_bytes_are_read_without_harm(parts in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..60),
                "data: \\{\"type\":\"content_block_(start|delta|stop)\",\"index\":[0-9]{1,3}(,\"delta\":\\{\"partial_json\":\"x\"\\})?\\}\n\n".prop_map(String::into_bytes),
            ], 0..20)) {
            for form in [Form::Events, Form::Whole] {
                let mut reader = Reader::new(form);
                for part in &parts {
                    reader.take(part);
                }
            }
        }
    }
}
