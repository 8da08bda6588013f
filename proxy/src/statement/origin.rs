//! Where a statement comes from: the model's tool call, and the prompt behind it.

use std::sync::Arc;

use control::Intent;
use prompt::{Hints, Link, Linked};
use recording::Digest;
use recording::entry::{Prompt, Prompted};

use super::Ask;
use crate::Parts;
use crate::downstream::session::Session;
use crate::prompt::{capture, masking};
use crate::telemetry::LinkLabels;

/// How much of a prompt an approver is shown, characters.
const EXCERPT: usize = 1000;

/// Where a statement comes from.
pub(crate) struct Origin {
    link: Link,
    /// The prompt as it is kept.
    prompted: Option<Prompted>,
}

/// Finds it, where the connection wants that to be known.
pub(crate) fn of(ask: &Ask, session: &Arc<Session>, parts: &Parts) -> Option<Origin> {
    let capture = capture(parts);
    // What was sent together was one text of one tool call, and is linked as that.
    if capture == control::update::PromptCapture::Off || ask.part.is_some() {
        return None;
    }
    let tag = ask.request.parameters.iter().find(|it| it.name.eq_ignore_ascii_case("QUERY_TAG"));
    let hints = Hints {
        traceparent: ask.traceparent.clone(),
        tag: tag.and_then(|tag| serde_json::from_str(tag.value.get()).ok()),
        session_tag: session.tag.clone(),
    };
    let link = parts.prompts.link(&ask.request.sql, &hints, &session.id, session.opened_ms);
    let labels = LinkLabels { confidence: link.confidence.as_str() };
    parts.metrics.links.get_or_create(&labels).inc();
    let asked = link.linked.as_ref().map(|linked| &linked.exchange.asked);
    let prompted = asked.and_then(|asked| {
        let (text, masked) = masking::kept(asked.prompt.as_deref()?, capture)?;
        let cut = asked.prompt.as_ref().is_some_and(|kept| kept.len() < asked.prompt_length);
        Some(Prompted {
            digest: Digest::of(text.as_bytes()),
            text,
            length: cut.then_some(asked.prompt_length as u64),
            masked,
        })
    });
    Some(Origin { link, prompted })
}

impl Origin {
    /// The prompt, for the record.
    pub(crate) fn prompted(&self) -> Option<Prompted> {
        self.prompted.clone()
    }

    /// The link, for the record.
    pub(crate) fn entry(&self) -> Prompt {
        let bare = Prompt {
            confidence: self.link.confidence.to_string(),
            source: self.link.source.to_owned(),
            candidates: self.link.candidates.clone(),
            ..Prompt::default()
        };
        let Some(Linked { exchange, call }) = &self.link.linked else { return bare };
        let (tool_use, tool) = call.clone().unzip();
        let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Prompt {
            digest: self.prompted.as_ref().map(|prompted| prompted.digest),
            tool_use,
            tool,
            model: named(&exchange.asked.model),
            request: exchange.request.clone(),
            conversation: named(&exchange.conversation),
            container: exchange.container.clone(),
            ..bare
        }
    }

    /// What an approver is shown of it.
    pub(crate) fn intent(&self) -> Option<Intent> {
        self.link.linked.as_ref()?;
        let Prompt { confidence, digest, tool_use, tool, model, request, .. } = self.entry();
        let text = self.prompted.as_ref().map(|prompted| prompted.text.as_str());
        Some(Intent {
            confidence,
            excerpt: text.map(|text| text.chars().take(EXCERPT).collect()),
            prompt: digest.map(|digest| digest.to_string()),
            model,
            tool,
            tool_use,
            request,
        })
    }
}
