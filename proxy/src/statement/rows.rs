//! Relay: the account's answer through the masks to the agent, and onto the record.

mod mask;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use recording::entry::{self, Payload};
use snowflake::chunks::Chunk as Link;
use snowflake::login::SessionInfo;
use snowflake::monitoring::State;
use snowflake::parameters::Parameter;
use snowflake::query::{self, Answer, Edits};
use snowflake::rows::{self, Column, Findings, Layout};
use tokio::time::Instant;
use uuid::Uuid;

use super::chunks::Source;
use super::judge::{Judged, Verdict};
use super::outcome::{End, Outcome};
use super::{Ask, Statement};
use crate::Parts;
use crate::downstream::refusal::{Form, Refusal};
use crate::downstream::session::Session;
use crate::recorder::Attempt;
use crate::telemetry::{DirectionLabels, Metrics, RowLabels};
use mask::ColumnMask;

/// Answers above this are worked on off the threads that serve.
const LARGE: usize = 256 << 10;

/// An answer that is on record and may be released.
pub(crate) struct Relayed {
    pub(crate) body: Bytes,
    pub(crate) query_id: Option<Uuid>,
    pub(crate) rows: Option<u64>,
    pub(crate) recorded: Payload,
    pub(crate) chunks: u32,
    pub(crate) columns: Vec<entry::Column>,
    /// The account's ids of the statements that ran together in this one.
    pub(crate) results: Vec<Uuid>,
    pub(crate) hidden: Vec<entry::Hidden>,
    /// How to come to the same answer once more.
    pub(crate) again: Option<Arc<Again>>,
}

/// What it takes to fetch an answer once more, when its bytes are no longer kept: the masks that were decided then, and
/// the names that its chunks have already.
pub(crate) struct Again {
    query_id: Uuid,
    accept: HeaderValue,
    plan: Plan,
    links: Vec<Link>,
}

impl Relayed {
    pub(crate) fn into_outcome(self) -> Outcome {
        Outcome {
            body: self.body,
            state: State::Success,
            error: None,
            query_id: self.query_id,
            ended_ms: crate::now_ms(),
            again: self.again,
            is_kept: false,
        }
    }
}

/// Takes an answer through the masks, onto the record, and gives what may be released.
pub(crate) async fn relay(
    ask: &Ask,
    answer: Bytes,
    judged: &Judged,
    attempt: &Attempt,
    session: &Arc<Session>,
    parts: &Arc<Parts>,
) -> Result<Relayed, End> {
    let started = Instant::now();
    let (Verdict::Decided(decision), Some(ruling)) = (&judged.verdict, &judged.ruling) else {
        return Err(End::Refused(Refusal::internal("nobody decided")));
    };
    let decision = Arc::new(policy::Decision::clone(decision));
    let results = judged.parts.len();
    let plan = Plan { decision, key: ruling.mask_key.clone(), id: ask.id, results };
    let links = plan.links(&answer)?;
    // Every link gets its new name before the answer is written.
    let named = parts.chunks.name(&links, &ask.base).map_err(End::Refused)?;
    let size = answer.len();
    let shape = {
        let (plan, answer) = (plan.clone(), answer.clone());
        let links = named.iter().map(|named| named.link.clone()).collect();
        move || plan.shape(&answer, links)
    };
    let shaped = if size < LARGE {
        shape()?
    } else {
        // A decoder that panics on a hostile stream refuses the answer, nothing else.
        tokio::task::spawn_blocking(shape)
            .await
            .unwrap_or_else(|_| Err(not_understood("it cannot be decoded")))?
    };
    // Of statements that ran together the last one left the session where it stands.
    if ask.part.as_ref().is_none_or(|part| part.is_last) {
        session.follow(&shaped.state);
        session.follow_parameters(&shaped.parameters);
    }
    after(ask, judged, session, parts);
    if let Some(role) = &shaped.state.role_name
        && *role != session.role
    {
        let reason = format!("the session's role became {role}, which nobody granted");
        parts.close_later(session, "Refused");
        return Err(End::Refused(Refusal::denied("FG-2008", reason)));
    }
    parts.metrics.phase("mask", started);
    let hidden = hidden(&shaped.layout, &shaped.found, &parts.metrics);

    let recording = Instant::now();
    let recorded = if plan.decision.digest_only {
        Payload { length: shaped.body.len() as u64, sha256: recording::Digest::of(&shaped.body) }
    } else {
        attempt
            .rows(&shaped.body)
            .await
            .map_err(|error| End::Refused(Refusal::unrecorded(&error)))?
    };
    parts.metrics.phase("record", recording);

    // What ran together has results of its own, each under an id of its own.
    if let Some(query_id) = shaped.query_id
        && judged.parts.is_empty()
        && !ask.request.describe_only
    {
        let names = shaped.columns.iter().map(|column| column.name.as_str());
        session.read_by(query_id, sql::Earlier::of(&judged.analysis, names));
    }
    let again = shaped.query_id.map(|query_id| {
        let links = named.iter().map(|named| named.link.clone()).collect();
        Arc::new(Again { query_id, accept: ask.accept.clone(), plan: plan.clone(), links })
    });
    let chunks = u32::try_from(named.len()).unwrap_or(u32::MAX);
    parts.chunks.serve(
        named,
        Source {
            session: Arc::downgrade(session),
            statement: ask.id,
            query_id: shaped.query_id,
            headers: shaped.chunk_headers,
            layout: Arc::new(shaped.layout),
            arrow: shaped.arrow,
            digest_only: plan.decision.digest_only,
        },
    );
    let masked = if plan.decision.masks.is_empty() { "false" } else { "true" };
    parts.metrics.rows.get_or_create(&RowLabels { masked }).inc_by(shaped.rows.unwrap_or(0));
    parts.metrics.masked_cells.inc_by(shaped.masked_cells);
    let down = DirectionLabels { direction: "downstream" };
    parts.metrics.bytes.get_or_create(&down).inc_by(shaped.body.len() as u64);
    Ok(Relayed {
        body: shaped.body,
        query_id: shaped.query_id,
        rows: shaped.rows,
        recorded,
        chunks,
        columns: shaped.columns,
        results: shaped.results,
        hidden,
        again,
    })
}

/// What was found in the rows, counted, as it goes on record.
pub(crate) fn hidden(layout: &Layout, found: &Findings, metrics: &Metrics) -> Vec<entry::Hidden> {
    let mut hidden: Vec<entry::Hidden> = Vec::new();
    for ((position, bits), cells) in found {
        let Some(column) = layout.columns.get(*position) else { continue };
        let position = u32::try_from(*position).unwrap_or(u32::MAX);
        for detector in policy::Found::from(*bits).words() {
            metrics.detected(detector, *cells);
            let known =
                hidden.iter_mut().find(|it| it.position == position && it.detector == detector);
            match known {
                Some(known) => known.cells += cells,
                None => hidden.push(entry::Hidden {
                    position,
                    column: column.name.clone(),
                    detector: detector.to_owned(),
                    cells: *cells,
                }),
            }
        }
    }
    hidden
}

/// The answer of the session's own earlier statement once more: masked then, so masked now.
pub(crate) async fn relay_again(
    ask: &Ask,
    earlier: &Arc<Statement>,
    attempt: &Attempt,
    session: &Session,
) -> Result<Relayed, End> {
    let outcome = loop {
        tokio::select! {
            outcome = earlier.watch(std::time::Duration::from_secs(60)) => {
                if let Some(outcome) = outcome {
                    break outcome;
                }
            }
            () = ask.cancel.cancelled() => return Err(End::Cancelled(super::outcome::cancelled())),
        }
    };
    if let Some((_, message)) = &outcome.error {
        let message = format!("the statement whose result is asked for did not succeed: {message}");
        return Err(End::Refused(Refusal::denied("FG-6005", message)));
    }
    let body = answer(earlier, session).await.map_err(End::Refused)?;
    let columns = Answer::decode(&body)
        .and_then(|answer| answer.columns())
        .map_err(|error| End::Refused(Refusal::internal(error)))?;
    let recorded =
        attempt.rows(&body).await.map_err(|error| End::Refused(Refusal::unrecorded(&error)))?;
    Ok(Relayed {
        query_id: outcome.query_id,
        rows: None,
        recorded,
        chunks: 0,
        hidden: Vec::new(),
        columns: columns
            .into_iter()
            .map(|column| entry::Column { name: column.name, data_type: column.word, masked: None })
            .collect(),
        results: Vec::new(),
        again: outcome.again.clone(),
        body,
    })
}

/// Ends the session's own earlier statements, and says so as the account would.
pub(crate) async fn cancel(
    ask: &Ask,
    earlier: &[Arc<Statement>],
    attempt: &Attempt,
    judged: &Judged,
) -> Result<Relayed, End> {
    let ended: Vec<_> = earlier.iter().filter(|statement| !statement.is_done()).collect();
    for statement in &ended {
        statement.cancel.cancel();
    }
    let is_all = matches!(judged.analysis.form, sql::Form::CancelAll { .. });
    let (name, text) = match &*ended {
        ended if is_all => {
            ("SYSTEM$CANCEL_ALL_QUERIES", format!("{} queries cancelled.", ended.len()))
        }
        [one] => ("SYSTEM$CANCEL_QUERY", format!("query [{}] terminated.", one.id)),
        _ => (
            "SYSTEM$CANCEL_QUERY",
            "Identified SQL statement is not currently executing.".to_owned(),
        ),
    };
    let state = &judged.state;
    let stands = SessionInfo {
        database_name: state.database.clone(),
        schema_name: state.schema.clone(),
        warehouse_name: state.warehouse.clone(),
        role_name: Some(state.role.clone()),
    };
    let body = Bytes::from(query::one_text(ask.id, name, &text, &stands));
    let recorded =
        attempt.rows(&body).await.map_err(|error| End::Refused(Refusal::unrecorded(&error)))?;
    Ok(Relayed {
        body,
        query_id: None,
        rows: Some(1),
        recorded,
        chunks: 0,
        hidden: Vec::new(),
        columns: vec![entry::Column {
            name: name.to_owned(),
            data_type: "text".to_owned(),
            masked: None,
        }],
        results: Vec::new(),
        again: None,
    })
}

/// The answer of a statement that ended: as it is kept, or fetched once more from the account under the same masks. It
/// is on record already, so it must hold the same rows.
pub(crate) async fn answer(statement: &Statement, session: &Session) -> Result<Bytes, Refusal> {
    let kept = match statement.body() {
        Ok(body) => return Ok(body),
        Err(kept) => kept,
    };
    let gone = |why: &dyn std::fmt::Display| {
        Refusal::new(
            Form::Failed,
            "FG-6006",
            format_args!(
                "the answer is no longer kept, here or at the account ({why}); run the statement again under a new \
                 request id"
            ),
        )
    };
    let outcome = statement.outcome().ok_or_else(|| gone(&"it is not done"))?;
    let again = outcome.again.clone().ok_or_else(|| gone(&"the account has no id of it"))?;
    let fetched = session.upstream.result(again.query_id, again.accept.clone()).await;
    let fetched = fetched.map_err(|error| gone(&error))?;
    let shape = move || again.plan.shape(&fetched, again.links.clone());
    let shaped = match tokio::task::spawn_blocking(shape).await {
        Ok(Ok(shaped)) => shaped,
        Ok(Err(End::Failed { message, .. })) => return Err(gone(&message)),
        Ok(Err(_)) | Err(_) => return Err(gone(&"what it gives now is not that answer")),
    };
    if rows_of(&shaped.body) != kept {
        return Err(gone(&"what it gives now are not those rows"));
    }
    Ok(shaped.body)
}

/// The digest of the rows that stand in an answer.
pub(crate) fn rows_of(body: &[u8]) -> Option<recording::Digest> {
    let answer = Answer::decode(body).ok()?;
    let rows = ["rowset", "rowsetBase64"].map(|field| answer.raw(field).unwrap_or_default());
    Some(recording::Digest::of(rows.concat().as_bytes()))
}

/// What a statement did to what is known of the account.
fn after(ask: &Ask, judged: &Judged, session: &Session, parts: &Parts) {
    use sql::Access;
    let changed: Vec<sql::Name> = judged
        .analysis
        .objects
        .iter()
        .filter(|touch| matches!(touch.access, Access::Create | Access::Alter | Access::Drop))
        .map(|touch| sql::Name::clone(&touch.name))
        .collect();
    parts.catalog.forget(&changed);
    // What was described did not run, and what Audit mode let pass did so without anybody knowing what it holds.
    let is_lifted =
        matches!(&judged.verdict, Verdict::Decided(decision) if decision.lifted.is_some());
    if ask.part.is_none() && !ask.request.describe_only && !is_lifted {
        session.ran(judged.analyses());
    }
}

/// What is to be done with an answer.
#[derive(Clone)]
struct Plan {
    decision: Arc<policy::Decision>,
    key: policy::MaskKey,
    id: Uuid,
    /// How many results it names instead of having one.
    results: usize,
}

/// An answer as the agent will see it.
struct Shaped {
    body: Bytes,
    query_id: Option<Uuid>,
    rows: Option<u64>,
    masked_cells: u64,
    found: Findings,
    columns: Vec<entry::Column>,
    layout: Layout,
    arrow: bool,
    chunk_headers: std::collections::BTreeMap<String, String>,
    state: SessionInfo,
    parameters: Vec<Parameter>,
    results: Vec<Uuid>,
}

fn not_understood(error: impl std::fmt::Display) -> End {
    End::Unknown(Refusal::new(
        Form::Failed,
        "FG-4003",
        format_args!(
            "the statement ran, but the account's answer is not understood and was not released: {error}"
        ),
    ))
}

impl Plan {
    /// The links to further rows.
    fn links(&self, answer: &[u8]) -> Result<Vec<Link>, End> {
        let answer = Answer::decode(answer).map_err(not_understood)?;
        if answer.success { answer.chunks().map_err(not_understood) } else { Ok(Vec::new()) }
    }

    /// Masks the rows that came with the answer and writes it anew.
    fn shape(&self, bytes: &[u8], links: Vec<Link>) -> Result<Shaped, End> {
        let answer = Answer::decode(bytes).map_err(not_understood)?;
        if !answer.success {
            return Err(self.failure(&answer));
        }
        if answer.is_transfer() {
            return Err(End::Refused(Refusal::denied(
                "FG-6006",
                "moving files (PUT, GET) is not supported through Frostgate; insert rows instead",
            )));
        }
        let results = answer.result_ids().map_err(not_understood)?;
        if results.len() != self.results {
            let (said, ran) = (results.len(), self.results);
            return Err(not_understood(format_args!(
                "it names {said} results for {ran} statements"
            )));
        }
        let columns = answer.columns().map_err(not_understood)?;
        let layout = self.layout(columns)?;
        let arrow = answer.is_arrow().map_err(not_understood)?;
        let chunk_rows: u64 = links.iter().map(|link| link.row_count).sum();
        let inline = inline(&answer, &layout, arrow)?;
        let edits = Edits { rows: inline.rows, chunks: links, message: None };
        let body = answer.encode(&layout, &edits).map_err(not_understood)?;
        let returned: Option<u64> = answer.get("returned").map_err(not_understood)?;
        let total: Option<u64> = answer.get("total").map_err(not_understood)?;
        Ok(Shaped {
            body: body.into(),
            query_id: answer.query_id().map_err(not_understood)?,
            rows: returned.or(total).or(inline.count.map(|rows| rows + chunk_rows)),
            masked_cells: inline.masked_cells,
            found: inline.found,
            columns: self.recorded_columns(&layout),
            layout,
            arrow,
            chunk_headers: answer.chunk_headers().map_err(not_understood)?,
            state: answer.state().map_err(not_understood)?,
            parameters: answer.parameters().map_err(not_understood)?,
            results,
        })
    }

    /// The account's own failure. Its text may quote values that are masked; then only the code is passed on.
    fn failure(&self, answer: &Answer<'_>) -> End {
        let code = answer.code.clone().filter(|code| code.parse::<u32>().is_ok());
        let code = code.unwrap_or_else(|| snowflake::error::INTERNAL.to_owned());
        let text = answer.message.clone().unwrap_or_default();
        let message = if self.decision.redact_errors
            || mask::is_found_in(&self.decision.detectors, &text)
        {
            format!(
                "the account refused the statement with code {code}; its text is withheld because it could quote \
                 masked values (statement {})",
                self.id
            )
        } else {
            text
        };
        let edits = Edits { message: Some(message.clone()), ..Edits::default() };
        match answer.encode(&Layout::plain(Vec::new()), &edits) {
            Ok(body) => End::Failed {
                body,
                code,
                sql_state: answer.sql_state(),
                message,
                query_id: answer.query_id().ok().flatten(),
            },
            Err(error) => not_understood(error),
        }
    }

    /// Columns and masks by position; columns that are not the predicted ones release nothing.
    fn layout(&self, columns: Vec<Column>) -> Result<Layout, End> {
        let mismatch = |what: String| {
            End::Refused(Refusal::denied(
                "FG-2014",
                format_args!(
                    "the result's columns are not the predicted ones ({what}), so nothing was released: run it again"
                ),
            ))
        };
        if let Some(predicted) = &self.decision.columns {
            if predicted.len() != columns.len() {
                return Err(mismatch(format!("{} instead of {}", columns.len(), predicted.len())));
            }
            for (position, (column, name)) in (1..).zip(columns.iter().zip(predicted)) {
                // Its name stays here: it could be made of a value.
                if name.as_ref().is_some_and(|name| *name != column.name) {
                    return Err(mismatch(format!("column {position} has another name")));
                }
            }
        }
        let mut layout = Layout::plain(columns);
        for mask in &self.decision.masks {
            let Some(column) = layout.columns.get(mask.position) else {
                return Err(mismatch(format!("there is no column {}", mask.position + 1)));
            };
            let mask_of = ColumnMask::new(mask.mask.clone(), self.key.clone(), column);
            if let Some(slot) = layout.masks.get_mut(mask.position) {
                *slot = Some(Arc::new(mask_of));
            }
        }
        layout.search = mask::search(&self.decision.detectors, &layout.columns);
        Ok(layout)
    }

    fn recorded_columns(&self, layout: &Layout) -> Vec<entry::Column> {
        let masked = |position: usize| {
            let mask = self.decision.masks.iter().find(|mask| mask.position == position)?;
            Some(super::record::method(&mask.mask))
        };
        let columns = layout.columns.iter().enumerate();
        columns
            .map(|(position, column)| entry::Column {
                name: column.name.clone(),
                data_type: column.word.clone(),
                masked: masked(position),
            })
            .collect()
    }
}

/// The inline rows after their masks.
#[derive(Default)]
struct Inline {
    /// Field and new value, where they changed.
    rows: Option<(&'static str, Vec<u8>)>,
    count: Option<u64>,
    masked_cells: u64,
    found: Findings,
}

fn inline(answer: &Answer<'_>, layout: &Layout, arrow: bool) -> Result<Inline, End> {
    let field = if arrow { "rowsetBase64" } else { "rowset" };
    // Rows in the other format than the one announced would pass unmasked.
    let other = if arrow { "rowset" } else { "rowsetBase64" };
    let is_empty = |raw: &str| raw == "\"\"" || raw == "[]";
    if layout.is_masked() && answer.raw(other).is_some_and(|raw| !is_empty(raw)) {
        return Err(not_understood("rows in two formats"));
    }
    let Some(raw) = answer.raw(field) else { return Ok(Inline::default()) };
    if !layout.is_masked() || is_empty(raw) {
        return Ok(Inline::default());
    }
    let masked = if arrow {
        let text = raw.trim_matches('"').replace("\\/", "/");
        let stream = STANDARD.decode(text).map_err(not_understood)?;
        let mut masked = rows::mask_stream(&stream, layout).map_err(not_understood)?;
        masked.bytes = format!("\"{}\"", STANDARD.encode(&masked.bytes)).into_bytes();
        masked
    } else {
        rows::mask_rowset(raw.as_bytes(), layout).map_err(not_understood)?
    };
    Ok(Inline {
        rows: Some((field, masked.bytes)),
        count: Some(masked.rows),
        masked_cells: masked.masked_cells,
        found: masked.found,
    })
}
