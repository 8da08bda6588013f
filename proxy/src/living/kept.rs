//! What is kept of a session, and each change of it: the lines of the file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use recording::Digest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Version of the lines.
const VERSION: u32 = 1;
/// Tokens of one session that are known: a driver has the last ones.
const TICKETS: usize = 64;
/// Statements of one session that ended and whose ids are known.
const ENDED: usize = 1000;

/// What never shows in a log, and is wiped when it is dropped.
pub(crate) type Secret = Zeroizing<String>;

/// A session, as far as it takes to go on with it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) id: String,
    /// The connection that its upstream session belongs to.
    pub(crate) connection: control::Connection,
    pub(crate) human: Option<control::Human>,
    pub(crate) role: String,
    pub(crate) stateless: bool,
    pub(crate) count: u32,
    /// The account's number of the session, as it wrote it.
    pub(crate) number: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) opened_ms: i64,
    pub(crate) renew_by_ms: i64,
    /// Seed of the key that its recording is sealed with, base64.
    pub(crate) recording_key: Secret,
    pub(crate) user: String,
    pub(crate) user_agent: String,
    pub(crate) upstream: Tokens,
    pub(crate) state: State,
    #[serde(default)]
    pub(crate) tickets: VecDeque<Ticket>,
    /// How many statements were attempted.
    #[serde(default)]
    pub(crate) attempted: u64,
    /// Those among them of which nothing but the record knew when a sidecar started.
    #[serde(default)]
    pub(crate) given_up: Vec<String>,
    #[serde(default)]
    pub(crate) under_way: Vec<UnderWay>,
    #[serde(default)]
    pub(crate) ended: VecDeque<Ended>,
    /// Why it is ending, where it is.
    #[serde(default)]
    pub(crate) ending: Option<String>,
}

/// A session that is over: why, for whoever still has its tokens.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) reason: String,
    pub(crate) tickets: VecDeque<Ticket>,
}

/// A token of the agent's, by its digest.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) digest: Digest,
    pub(crate) renews: bool,
    pub(crate) ends_ms: i64,
}

/// The tokens of the session at the account.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) session: Secret,
    pub(crate) master: Option<Secret>,
    pub(crate) taken_ms: i64,
    pub(crate) validity_ms: u64,
    pub(crate) master_validity_ms: u64,
}

/// What gives statements their meaning.
#[derive(Clone, Default, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    database: Option<String>,
    schema: Option<String>,
    role: Option<String>,
    warehouse: Option<String>,
    ignore_case: bool,
    search_path: bool,
    temporary: Vec<Temporary>,
    variables: Vec<(String, Vec<(Name, String)>)>,
    variables_lost: bool,
}

/// A temporary object of the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Temporary {
    name: Name,
    columns: Vec<(String, String)>,
    definition: Definition,
    /// It was made; otherwise it is being made.
    stands: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Definition {
    Table,
    View(String),
    Opaque,
}

/// Database, schema, object.
type Name = (String, String, String);

/// By which a driver, or the session, knows a statement.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) id: Uuid,
    pub(crate) request_id: String,
    pub(crate) meaning: Digest,
    pub(crate) started_ms: i64,
    pub(crate) asynchronous: bool,
    /// It was sent together with others; none of them has the request id for itself.
    pub(crate) part: Option<Part>,
}

/// A statement that was sent together with others.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The account's id of it, where it has a result.
    pub(crate) query_id: Option<Uuid>,
}

/// A statement that is on record, without its outcome.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct UnderWay {
    pub(crate) identity: Identity,
    /// The request, in the form that drivers send; absent where it is too large to be kept.
    pub(crate) request: Option<String>,
    pub(crate) count: u32,
    pub(crate) stripped: Vec<String>,
    pub(crate) accept: String,
    pub(crate) base: String,
    pub(crate) traceparent: Option<String>,
    /// As the attempt has it.
    pub(crate) digest: Digest,
    /// How often it was sent, and when last.
    #[serde(default)]
    pub(crate) sent: u32,
    #[serde(default)]
    pub(crate) sent_ms: i64,
    /// In which state it was judged before it was sent.
    #[serde(default)]
    pub(crate) stood: Option<State>,
    /// The account's id of it, once it said that it runs.
    #[serde(default)]
    pub(crate) query_id: Option<Uuid>,
    /// How it ends, unless the sidecar does so before that is on record.
    #[serde(default)]
    pub(crate) answer: Option<Ended>,
}

/// A statement that ended.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) identity: Identity,
    pub(crate) word: Word,
    pub(crate) error: Option<(String, String)>,
    pub(crate) query_id: Option<Uuid>,
    pub(crate) ended_ms: i64,
    /// The answer, where it is short.
    pub(crate) body: Option<String>,
}

/// How a statement ended, for whoever asks after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    Success,
    Failed,
    Aborted,
}

/// A change of what is kept.
#[derive(Serialize, Deserialize)]
pub(crate) enum Change {
    /// A session, whole.
    Keep(Box<Kept>),
    /// The agent got a token.
    Ticket(Ticket),
    /// The account gave new tokens.
    Upstream(Tokens),
    /// The session stands elsewhere.
    State(State),
    /// Statements that were attempted, and that nobody goes on with.
    GivenUp(Vec<String>),
    /// A statement is on record.
    Began(Box<UnderWay>),
    /// A statement is about to leave the pod.
    Sent { statement: Uuid, times: u32, at_ms: i64, stood: Option<State> },
    /// The account said that it runs.
    Runs { statement: Uuid, query_id: Uuid },
    /// A statement has its answer, and nothing of it is on record yet.
    Answers(Box<Ended>),
    /// It ended with that.
    Settled { statement: Uuid, started_ms: i64 },
    /// A statement ended otherwise.
    Ended(Box<Ended>),
    /// The session is about to end.
    Ending(String),
    /// The session is over, everywhere.
    Over,
    /// A session that was over when the file was rewritten.
    Closed(Closed),
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) session: String,
    pub(super) change: Change,
}

/// The first line of the file.
pub(super) fn header(owner: &str) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&(VERSION, owner))?)
}

/// The line of a session, whole.
pub(super) fn keep(kept: &Kept) -> io::Result<Zeroizing<Vec<u8>>> {
    encode(&Whole { session: &kept.id, change: WholeChange::Keep(kept) })
}

/// The line of a session that is over.
pub(super) fn closed(closed: &Closed) -> io::Result<Zeroizing<Vec<u8>>> {
    encode(&Whole { session: "", change: WholeChange::Closed(closed) })
}

pub(super) fn encode(line: &impl Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    Ok(Zeroizing::new(serde_json::to_vec(line)?))
}

/// A [`Line`] over what is kept.
#[derive(Serialize)]
struct Whole<'a> {
    session: &'a str,
    change: WholeChange<'a>,
}

#[derive(Serialize)]
enum WholeChange<'a> {
    Keep(&'a Kept),
    Closed(&'a Closed),
}

impl Line {
    pub(super) fn decode(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// What is kept after the change.
    pub(super) fn apply(
        self,
        sessions: &mut BTreeMap<String, Kept>,
        closed: &mut VecDeque<Closed>,
    ) {
        match self.change {
            Change::Keep(kept) => {
                sessions.insert(self.session, *kept);
            }
            Change::Closed(over) => closed.push_back(over),
            Change::Over => {
                if let Some(Kept { ending, tickets, .. }) = sessions.remove(&self.session) {
                    closed.push_back(Closed { reason: ending.unwrap_or_default(), tickets });
                }
            }
            change => {
                if let Some(kept) = sessions.get_mut(&self.session) {
                    kept.apply(change);
                }
            }
        }
    }
}

impl Kept {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Keep(_) | Change::Over | Change::Closed(_) => {}
            Change::Ticket(ticket) => {
                self.tickets.push_back(ticket);
                if self.tickets.len() > TICKETS {
                    self.tickets.pop_front();
                }
            }
            Change::Upstream(tokens) => self.upstream = tokens,
            Change::State(state) => self.state = state,
            Change::GivenUp(statements) => {
                self.attempted += statements.len() as u64;
                self.given_up.extend(statements);
            }
            Change::Began(statement) => {
                self.attempted += 1;
                self.under_way.push(*statement);
            }
            Change::Sent { statement, times, at_ms, stood } => {
                if let Some(under_way) = self.under_way(statement) {
                    (under_way.sent, under_way.sent_ms) = (times, at_ms);
                    under_way.stood = stood.or(under_way.stood.take());
                }
            }
            Change::Runs { statement, query_id } => {
                if let Some(under_way) = self.under_way(statement) {
                    under_way.query_id = Some(query_id);
                }
            }
            Change::Answers(ended) => {
                if let Some(under_way) = self.under_way(ended.identity.id) {
                    under_way.answer = Some(*ended);
                }
            }
            Change::Settled { statement, started_ms } => {
                let answer = self.under_way(statement).and_then(|it| it.answer.take());
                if let Some(mut ended) = answer {
                    ended.identity.started_ms = started_ms;
                    self.end(ended);
                }
            }
            Change::Ended(ended) => self.end(*ended),
            Change::Ending(reason) => {
                self.ending.get_or_insert(reason);
            }
        }
    }

    fn end(&mut self, ended: Ended) {
        self.under_way.retain(|it| it.identity.id != ended.identity.id);
        self.ended.push_back(ended);
        if self.ended.len() > ENDED {
            self.ended.pop_front();
        }
    }

    fn under_way(&mut self, statement: Uuid) -> Option<&mut UnderWay> {
        self.under_way.iter_mut().find(|it| it.identity.id == statement)
    }
}

/// Forgets what can be missed until all of it is no longer than `most` bytes: answers first, oldest first, then
/// statements that ended, then the requests of those under way.
pub(super) fn shorten(sessions: &mut BTreeMap<String, Kept>, most: usize) {
    let body = |ended: &Ended| ended.body.as_ref().map_or(0, String::len);
    let request = |it: &UnderWay| it.request.as_ref().map_or(0, String::len);
    let mut total: usize = sessions
        .values()
        .map(|kept| {
            let ended = kept.ended.iter().map(|it| 500 + body(it)).sum::<usize>();
            ended + kept.under_way.iter().map(|it| 1000 + request(it)).sum::<usize>()
        })
        .sum();
    let mut ended: Vec<&mut Ended> =
        sessions.values_mut().flat_map(|kept| kept.ended.iter_mut()).collect();
    ended.sort_by_key(|it| it.ended_ms);
    for it in ended {
        if total <= most {
            return;
        }
        total = total.saturating_sub(body(it));
        it.body = None;
    }
    for kept in sessions.values_mut() {
        while total > most && kept.ended.pop_front().is_some() {
            total = total.saturating_sub(500);
        }
        for it in &mut kept.under_way {
            if total > most {
                total = total.saturating_sub(request(it));
                it.request = None;
            }
        }
    }
}

impl From<&sql::Session> for State {
    fn from(session: &sql::Session) -> Self {
        let of = |name: &sql::Name| -> Name {
            (name.database.clone(), name.schema.clone(), name.object.clone())
        };
        let variables = session.variables.columns.iter().map(|(name, columns)| {
            let columns = columns.iter().map(|it| (of(&it.object), it.name.to_string()));
            (name.clone(), columns.collect())
        });
        Self {
            database: session.database.clone(),
            schema: session.schema.clone(),
            role: session.role.clone(),
            warehouse: session.warehouse.clone(),
            ignore_case: session.ignore_case,
            search_path: session.search_path,
            temporary: session
                .temporary
                .iter()
                .map(|(object, stands)| Temporary {
                    name: of(&object.name),
                    columns: object
                        .columns
                        .iter()
                        .map(|column| (column.name.clone(), column.data_type.clone()))
                        .collect(),
                    definition: match &object.definition {
                        sql::Definition::Table => Definition::Table,
                        sql::Definition::View(text) => Definition::View(text.clone()),
                        sql::Definition::Opaque => Definition::Opaque,
                    },
                    stands,
                })
                .collect(),
            variables: variables.collect(),
            variables_lost: session.variables.lost,
        }
    }
}

impl From<State> for sql::Session {
    /// What earlier results were read from is not kept: reading one by its id is refused then.
    fn from(state: State) -> Self {
        let name = |(database, schema, object): Name| sql::Name::new(database, schema, object);
        let columns = |columns: Vec<(Name, String)>| -> BTreeSet<sql::Column> {
            let columns = columns.into_iter();
            columns
                .map(|(object, column)| sql::Column {
                    object: Arc::new(name(object)),
                    name: column.into(),
                })
                .collect()
        };
        let variables = state.variables.into_iter();
        Self {
            database: state.database,
            schema: state.schema,
            role: state.role,
            warehouse: state.warehouse,
            ignore_case: state.ignore_case,
            search_path: state.search_path,
            temporary: sql::Temporaries::of(state.temporary.into_iter().map(|made| {
                let columns = made.columns.into_iter();
                let object = sql::Object {
                    name: name(made.name),
                    columns: columns
                        .map(|(name, data_type)| sql::CatalogColumn { name, data_type })
                        .collect(),
                    definition: match made.definition {
                        Definition::Table => sql::Definition::Table,
                        Definition::View(text) => sql::Definition::View(text),
                        Definition::Opaque => sql::Definition::Opaque,
                    },
                };
                (object, made.stands)
            })),
            variables: sql::Variables {
                columns: variables.map(|(name, seen)| (name, columns(seen))).collect(),
                lost: state.variables_lost,
            },
            results: Arc::default(),
        }
    }
}
