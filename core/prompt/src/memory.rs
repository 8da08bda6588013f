//! The tool calls of the last minutes, and the one that a statement comes from.
//!
//! A call is open from the moment its last byte passes toward the agent until a later request brings its result: only
//! in between can it run anything. Of two calls that fit equally well none is taken.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::answer::ToolUse;
use crate::hint::{Hints, Said};
use crate::link::{Confidence, Link, Linked};
use crate::request::Asked;
use crate::script::Shown;
use crate::spelling::{Fit, Sent};

/// A call without a result counts as given up after this, milliseconds.
const WINDOW_MS: i64 = 15 * 60 * 1000;
/// Calls that are remembered.
const CALLS_MAX: usize = 512;
/// Sessions whose conversation is remembered.
const SESSIONS_MAX: usize = 256;

/// A request of the Messages API and what its answer's head says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// What was asked.
    pub asked: Asked,
    /// Its conversation.
    pub conversation: String,
    /// The provider's id of the request.
    pub request: Option<String>,
    /// Its trace.
    pub trace: Option<String>,
    /// The container it came from, as the injector has it told.
    pub container: Option<String>,
}

/// A statement that a driver sends.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// Its text.
    pub sql: &'a str,
    /// What it says about itself.
    pub hints: &'a Hints,
    /// Its session.
    pub session: &'a str,
    /// When that session opened, Unix milliseconds.
    pub session_since_ms: i64,
}

/// The tool calls of the last minutes.
#[derive(Debug, Default)]
pub struct Memory {
    calls: VecDeque<Call>,
    /// The conversation that the statements of a session were last linked to, for sure.
    sessions: VecDeque<(String, String)>,
    /// Conversations that had no name of their own.
    unnamed: u64,
}

#[derive(Debug)]
struct Call {
    id: String,
    tool: String,
    exchange: Arc<Exchange>,
    shown: Shown,
    since_ms: i64,
    open: bool,
}

impl Memory {
    /// Hears a request: the calls whose results it brings are over. Gives its conversation, by `name` or by what the
    /// request says, else by the calls that it answers.
    pub fn hear(&mut self, asked: &Asked, name: Option<&str>) -> String {
        let mut of_calls = None;
        for call in self.calls.iter_mut().filter(|call| asked.answered.contains(&call.id)) {
            call.open = false;
            of_calls = Some(call.exchange.conversation.clone());
        }
        let named = name.map(str::to_owned).or_else(|| asked.conversation.clone());
        named.or(of_calls).unwrap_or_else(|| {
            self.unnamed += 1;
            format!("unnamed-{}", self.unnamed)
        })
    }

    /// Hears a tool call, when its last byte is about to pass.
    pub fn call(&mut self, exchange: &Arc<Exchange>, call: &ToolUse, now_ms: i64) {
        let expired = |call: &Call| now_ms - call.since_ms > WINDOW_MS;
        while self.calls.len() >= CALLS_MAX || self.calls.front().is_some_and(expired) {
            self.calls.pop_front();
        }
        self.calls.push_back(Call {
            id: call.id.clone(),
            tool: call.name.clone(),
            exchange: Arc::clone(exchange),
            shown: Shown::by(call),
            since_ms: now_ms,
            open: true,
        });
    }

    /// The call that a statement comes from.
    pub fn link(&mut self, statement: &Statement<'_>, now_ms: i64) -> Link {
        let link = self.find(statement, now_ms);
        if let Some(linked) = &link.linked
            && link.confidence >= Confidence::HashNormalised
        {
            self.sessions.retain(|(session, _)| session != statement.session);
            self.sessions.truncate(SESSIONS_MAX - 1);
            let conversation = linked.exchange.conversation.clone();
            self.sessions.push_front((statement.session.to_owned(), conversation));
        }
        link
    }

    fn find(&self, statement: &Statement<'_>, now_ms: i64) -> Link {
        let recent: Vec<&Call> =
            self.calls.iter().filter(|call| now_ms - call.since_ms <= WINDOW_MS).collect();
        if recent.is_empty() {
            return Link::default();
        }
        let sent = Sent::new(statement.sql);
        let open: Vec<(&Call, Option<Fit>)> = recent
            .iter()
            .filter(|call| call.open)
            .map(|call| (*call, sent.fit(&call.shown.spellings)))
            .collect();
        let said = statement.hints.said(statement.sql);
        named(&said, &recent, &open, &sent)
            .or_else(|| traced(&said, &open))
            .or_else(|| alike(&open))
            .or_else(|| self.timely(statement, &open))
            .unwrap_or_default()
    }

    /// The only call that was open, if a program that it ran could have sent the statement: one of a session that was
    /// opened since, or that spoke for the same conversation before.
    fn timely(&self, statement: &Statement<'_>, open: &[(&Call, Option<Fit>)]) -> Option<Link> {
        let [(call, _)] = open else { return None };
        let known = self.sessions.iter().find(|(session, _)| session == statement.session);
        let theirs = match known {
            Some((_, conversation)) => *conversation == call.exchange.conversation,
            None => statement.session_since_ms >= call.since_ms,
        };
        (theirs && call.shown.runs_code && !is_housekeeping(statement.sql))
            .then(|| one(Confidence::Time, "Messages", call))
    }
}

/// The call that the statement names.
fn named(
    said: &[Said<'_>],
    recent: &[&Call],
    open: &[(&Call, Option<Fit>)],
    sent: &Sent,
) -> Option<Link> {
    let mut named: Vec<(&Call, &'static str)> = Vec::new();
    for said in said {
        for id in said.tool_uses() {
            // What was said once for the whole session holds no longer when that call is over.
            let call = recent.iter().find(|call| call.id == id && (call.open || said.fresh));
            if let Some(call) = call
                && !named.iter().any(|(known, _)| known.id == call.id)
            {
                named.push((call, said.source));
            }
        }
    }
    let &[(call, source)] = named.as_slice() else {
        return (!named.is_empty()).then(|| unsure(named.iter().map(|(call, _)| *call)));
    };
    let fits = sent.fit(&call.shown.spellings).is_some();
    let others: Vec<&Call> = open
        .iter()
        .filter(|(other, fit)| other.id != call.id && *fit >= Some(Fit::Normal))
        .map(|(other, _)| *other)
        .collect();
    // A call that shows its SQL and runs nothing else did not run this, and one that another call shows is not its.
    let contradicted =
        !fits && (!others.is_empty() || !(call.shown.runs_code || call.shown.spellings.is_empty()));
    Some(if contradicted {
        unsure(std::iter::once(call).chain(others))
    } else {
        one(Confidence::Exact, source, call)
    })
}

/// The open call of the trace or the conversation that the statement names.
fn traced(said: &[Said<'_>], open: &[(&Call, Option<Fit>)]) -> Option<Link> {
    let belongs = |said: &Said<'_>, exchange: &Exchange| {
        (exchange.trace.is_some() && exchange.trace == said.trace())
            || said.names(&exchange.conversation)
    };
    let (inside, outside, source) = said.iter().find_map(|said| {
        let (inside, outside): (Vec<_>, Vec<_>) =
            open.iter().partition(|(call, _)| belongs(said, &call.exchange));
        (!inside.is_empty()).then_some((inside, outside, said.source))
    })?;
    let best = inside.iter().filter_map(|(_, fit)| *fit).max();
    // Where a text says which, that; else any that could have run it without showing it.
    let fitting: Vec<&Call> = inside
        .iter()
        .filter(|(call, fit)| match best {
            Some(_) => *fit == best,
            None => call.shown.runs_code || call.shown.spellings.is_empty(),
        })
        .map(|(call, _)| *call)
        .collect();
    let elsewhere: Vec<&Call> = outside
        .iter()
        .filter(|(_, fit)| best.is_none() && *fit >= Some(Fit::Normal))
        .map(|(call, _)| *call)
        .collect();
    match (fitting.as_slice(), elsewhere.as_slice()) {
        ([], []) => None,
        (_, []) => Some(among(Confidence::Trace, source, &fitting)),
        _ => Some(unsure(fitting.into_iter().chain(elsewhere))),
    }
}

/// The open call whose text the statement is.
fn alike(open: &[(&Call, Option<Fit>)]) -> Option<Link> {
    let best = open.iter().filter_map(|(_, fit)| *fit).max()?;
    let fitting: Vec<&Call> =
        open.iter().filter(|(_, fit)| *fit == Some(best)).map(|(call, _)| *call).collect();
    let confidence = match best {
        Fit::Exact => Confidence::Hash,
        Fit::Normal => Confidence::HashNormalised,
        Fit::Shape => Confidence::Shape,
    };
    Some(among(confidence, "Messages", &fitting))
}

fn one(confidence: Confidence, source: &'static str, call: &Call) -> Link {
    let linked = Linked {
        exchange: Arc::clone(&call.exchange),
        call: Some((call.id.clone(), call.tool.clone())),
    };
    Link { confidence, source, linked: Some(linked), candidates: Vec::new() }
}

/// One call; or what several calls of one answer have in common; or nothing.
fn among(confidence: Confidence, source: &'static str, calls: &[&Call]) -> Link {
    match calls {
        [call] => one(confidence, source, call),
        [first, rest @ ..]
            if rest.iter().all(|call| Arc::ptr_eq(&call.exchange, &first.exchange)) =>
        {
            let linked = Linked { exchange: Arc::clone(&first.exchange), call: None };
            let unsure = unsure(calls.iter().copied());
            Link { confidence, source, linked: Some(linked), ..unsure }
        }
        _ => unsure(calls.iter().copied()),
    }
}

fn unsure<'a>(calls: impl Iterator<Item = &'a Call>) -> Link {
    let candidates = calls.take(16).map(|call| call.id.clone()).collect();
    Link { source: "Messages", candidates, ..Link::default() }
}

/// What drivers send by themselves.
fn is_housekeeping(sql: &str) -> bool {
    let Some(statements) = sql::statements(sql) else { return false };
    let [statement] = statements.as_slice() else { return false };
    let word = |at: usize| statement.tokens.get(at).map_or("", |token| token.text.as_str());
    match word(0) {
        "USE" | "SHOW" | "DESCRIBE" | "DESC" | "BEGIN" | "START" | "COMMIT" | "ROLLBACK" => true,
        "ALTER" => word(1) == "SESSION",
        "SELECT" => word(1).starts_with("CURRENT_") || word(1).starts_with("SYSTEM$"),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
