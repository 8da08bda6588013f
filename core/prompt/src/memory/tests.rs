//! Conversations and statements, with the link that comes out: better none than a wrong one.

use serde_json::json;

use super::*;

const A: &str = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-01";
const B: &str = "00-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-00f067aa0ba902b7-01";

/// What happens, in order; a second apart.
#[derive(Clone, Copy)]
enum Step {
    /// `conversation trace: id tool field=text`, several calls of one answer divided by ` & `.
    Calls(&'static str),
    /// Results of calls come with the next request.
    Results(&'static str),
    /// A session opens.
    Opens(&'static str),
    /// So many minutes pass.
    Pass(i64),
    /// `session` sends `sql`: the expected link.
    Sends(&'static str, &'static str, &'static str),
    /// The same, with a tag for the statement.
    Tagged(&'static str, &'static str, &'static str, &'static str),
    /// The same, with the session's own tag.
    SessionTagged(&'static str, &'static str, &'static str, &'static str),
    /// The same, with a `traceparent` header.
    Traced(&'static str, &'static str, &'static str, &'static str),
}
use Step::*;

struct Play {
    memory: Memory,
    now: i64,
    sessions: Vec<(&'static str, i64)>,
}

impl Play {
    fn calls(&mut self, text: &str) {
        let (who, calls) = text.split_once(": ").unwrap();
        let (conversation, trace) = who.split_once(' ').unwrap_or((who, ""));
        let prompt = format!("prompt of {conversation}");
        let asked = Asked { prompt: Some(prompt), ..Asked::default() };
        let conversation = self.memory.hear(&asked, Some(conversation));
        let trace = crate::trace_id(match trace {
            "A" => A,
            "B" => B,
            _ => "",
        });
        let exchange = Arc::new(Exchange { asked, conversation, trace, ..Exchange::default() });
        for call in calls.split(" & ") {
            let mut words = call.splitn(3, ' ');
            let (id, name) = (words.next().unwrap(), words.next().unwrap());
            let (field, text) = words.next().unwrap_or("x=").split_once('=').unwrap();
            let input = Some(json!({field: text}));
            let call = ToolUse { id: id.into(), name: name.into(), input };
            self.memory.call(&exchange, &call, self.now);
        }
    }

    fn sends(&mut self, session: &'static str, sql: &str, hints: &Hints) -> String {
        let known = self.sessions.iter().find(|(name, _)| *name == session);
        let session_since_ms = known.map_or(0, |(_, since)| *since);
        let statement = Statement { sql, hints, session, session_since_ms };
        let link = self.memory.link(&statement, self.now);
        let linked = link.linked.map_or("-".to_owned(), |linked| match linked.call {
            Some((id, _)) => id,
            None => format!("({})", linked.exchange.asked.prompt.clone().unwrap()),
        });
        let candidates = link.candidates.join(",");
        format!("{} {linked} {candidates}", link.confidence).trim_end().to_owned()
    }
}

fn play(case: &str, steps: &[Step]) {
    let mut play = Play { memory: Memory::default(), now: 1_000_000, sessions: Vec::new() };
    for step in steps {
        play.now += 1000;
        let none = Hints::default();
        let (got, expected) = match *step {
            Calls(text) => {
                play.calls(text);
                continue;
            }
            Results(ids) => {
                let answered = ids.split(' ').map(str::to_owned).collect();
                play.memory.hear(&Asked { answered, ..Asked::default() }, Some("x"));
                continue;
            }
            Opens(session) => {
                let now = play.now;
                play.sessions.push((session, now));
                continue;
            }
            Pass(minutes) => {
                play.now += minutes * 60_000;
                continue;
            }
            Sends(session, sql, expected) => (play.sends(session, sql, &none), expected),
            Tagged(session, sql, tag, expected) => {
                let hints = Hints { tag: Some(tag.into()), ..none };
                (play.sends(session, sql, &hints), expected)
            }
            SessionTagged(session, sql, tag, expected) => {
                let hints = Hints { session_tag: Some(tag.into()), ..none };
                (play.sends(session, sql, &hints), expected)
            }
            Traced(session, sql, parent, expected) => {
                let hints = Hints { traceparent: Some(parent.into()), ..none };
                (play.sends(session, sql, &hints), expected)
            }
        };
        assert_eq!(got, expected, "{case}");
    }
}

#[test]
fn a_statement_is_linked_to_the_one_call_that_it_comes_from() {
    play("its text", &[Calls("a: t1 q sql=select 1"), Sends("s", "select 1", "Hash t1")]);
    play(
        "rewritten by its client: trimmed, commented, in other letters",
        &[
            Calls("a: t1 q sql=  select a\n from t where b = 'X'; "),
            Sends("s", "select a\n from t where b = 'X'", "Hash t1"),
            Sends("s", "/* app */ SELECT a FROM t WHERE b = 'X' -- end", "HashNormalised t1"),
            Sends("s", "select a from t where b = 'x'", "None -"),
        ],
    );
    play(
        "values filled in by a program",
        &[
            Calls("a: t1 Bash command=cur.execute('select a from t where b = %s', (7,))"),
            Sends("s", "select a from t where b = 7", "Shape t1"),
        ],
    );
    play(
        "sent again: a retry is the same statement of the same call",
        &[
            Calls("a: t1 q sql=select 1"),
            Sends("s", "select 1", "Hash t1"),
            Sends("s", "select 1", "Hash t1"),
            Results("t1"),
            Calls("a: t2 q sql=select 1"),
            Sends("s", "select 1", "Hash t2"),
        ],
    );
    play(
        "a script of several statements",
        &[
            Calls("a: t1 Bash command=snow sql -q \"use schema s; select 1; delete from t\""),
            Sends("s", "use schema s", "Hash t1"),
            Sends("s", "delete from t", "Hash t1"),
            Sends("s", "delete from u", "Time t1"),
        ],
    );
}

#[test]
fn parallel_conversations_are_kept_apart() {
    play(
        "each its own SQL",
        &[
            Calls("a: t1 q sql=select 1"),
            Calls("b: t2 q sql=select 2"),
            Sends("s", "select 2", "Hash t2"),
            Sends("s", "select 1", "Hash t1"),
            Results("t2"),
            Sends("s", "select 2", "None -"),
        ],
    );
    play(
        "two prompts with the same SQL: nobody can say which",
        &[
            Calls("a: t1 q sql=select 1"),
            Calls("b: t2 q sql=select 1"),
            Sends("s", "select 1", "None - t1,t2"),
            // The one that is written like it is the nearer one.
            Calls("c: t3 q sql=SELECT  1"),
            Sends("s", "SELECT  1", "Hash t3"),
            Results("t1"),
            Sends("s", "select 1", "Hash t2"),
        ],
    );
    play(
        "two prompts with the same SQL, told apart by their traces",
        &[
            Calls("a A: t1 Bash command=select 1"),
            Calls("b B: t2 Bash command=select 1"),
            Traced("s", "select 1", A, "Trace t1"),
            Tagged("s", "select 1", B, "Trace t2"),
        ],
    );
    play(
        "the same SQL twice in one answer: the prompt is sure, the call is not",
        &[
            Calls("a: t1 q sql=select 1 & t2 q sql=select 1"),
            Sends("s", "select 1", "Hash (prompt of a) t1,t2"),
        ],
    );
}

#[test]
fn a_statement_without_a_prompt_is_linked_to_none() {
    play("nothing was said", &[Sends("s", "select 1", "None -")]);
    play(
        "after the call is over",
        &[Calls("a: t1 q sql=select 1"), Results("t1"), Sends("s", "select 1", "None -")],
    );
    play(
        "long after a call that was given up",
        &[Calls("a: t1 q sql=select 1"), Pass(16), Sends("s", "select 1", "None -")],
    );
    play(
        "a service of the pod beside an open call",
        &[
            Opens("service"),
            Calls("a: t1 Bash command=python report.py"),
            Sends("service", "select count(*) from jobs", "None -"),
        ],
    );
    play(
        "a call that shows its SQL sends nothing else",
        &[Calls("a: t1 q sql=select 1"), Opens("new"), Sends("new", "select 2", "None -")],
    );
    play(
        "SQL that the agent writes to a file is not run by that",
        &[Calls("a: t1 Write content=select 1"), Sends("s", "select 1", "None -")],
    );
}

#[test]
fn time_alone_is_a_hint_where_a_program_runs_and_nothing_else_does() {
    play(
        "a session that the program opened",
        &[
            Calls("a: t1 Bash command=python report.py"),
            Opens("new"),
            Sends("new", "select current_version()", "None -"),
            Sends("new", "select a from t", "Time t1"),
            Calls("b: t2 Bash command=dbt run"),
            Sends("new", "select a from t", "None -"),
        ],
    );
    play(
        "a session that spoke for the conversation before, and never for another",
        &[
            Calls("a: t1 q sql=select 1"),
            Sends("s", "select 1", "Hash t1"),
            Results("t1"),
            Calls("a: t2 q code=run()"),
            Sends("s", "select 2", "Time t2"),
            Results("t2"),
            Calls("b: t3 q code=run()"),
            Sends("s", "select 2", "None -"),
        ],
    );
}

#[test]
fn a_trace_says_which_conversation_and_the_text_which_call() {
    play(
        "the only open call of the trace",
        &[
            Calls("a A: t1 Bash command=dbt run"),
            Calls("b B: t2 Bash command=dbt test"),
            Traced("s", "create table x as select 1", A, "Trace t1"),
            SessionTagged("s", "create table y as select 1", B, "Trace t2"),
        ],
    );
    play(
        "the name of the conversation, as Claude Code gives it to its shell",
        &[
            Calls("58b75e03-7c74-4b74-8642-e2c1d67bf42d: t1 Bash command=dbt run"),
            Calls("68b75e03-7c74-4b74-8642-e2c1d67bf42d: t2 Bash command=dbt run"),
            SessionTagged(
                "s",
                "select a from t",
                "58b75e03-7c74-4b74-8642-e2c1d67bf42d",
                "Trace t1",
            ),
            SessionTagged("s", "select a from t", "78b75e03-7c74-4b74-8642-e2c1d67bf42d", "None -"),
            Calls("a: t3 Bash command=dbt run"),
            SessionTagged("s", "select a from t", "a", "None -"),
        ],
    );
    play(
        "several calls of the trace",
        &[
            Calls("a A: t1 Bash command=dbt run & t2 Bash command=snow sql -q 'select 1'"),
            Traced("s", "select 1", A, "Trace t2"),
            Traced("s", "select 2", A, "Trace (prompt of a) t1,t2"),
            Calls("a A: t3 Bash command=dbt test"),
            Traced("s", "select 2", A, "None - t1,t2,t3"),
        ],
    );
    play(
        "a trace that only calls which show their SQL belong to",
        &[Calls("a A: t1 q sql=select 1"), Traced("s", "select 2", A, "None -")],
    );
    play(
        "another conversation shows the text: one of both is not true",
        &[
            Calls("a A: t1 Bash command=dbt run"),
            Calls("b B: t2 q sql=select 1"),
            Traced("s", "select 1", A, "None - t1,t2"),
        ],
    );
    play(
        "a trace that was never seen",
        &[Calls("a A: t1 q sql=select 1"), Traced("s", "select 1", B, "Hash t1")],
    );
}

#[test]
fn a_name_counts_where_nothing_contradicts_it() {
    play(
        "a call that runs a program",
        &[
            Calls("a: toolu_1 Bash command=python report.py"),
            Calls("b: toolu_2 Bash command=python report.py"),
            Tagged("s", "select a from t", r#"{"tool_use_id":"toolu_2"}"#, "Exact toolu_2"),
            Sends("s", "select a from t /*tool_use_id='toolu_1'*/", "Exact toolu_1"),
        ],
    );
    play(
        "a tool that writes its own SQL",
        &[
            Calls("a: toolu_1 orders customer=7"),
            Tagged("s", "select a from t where b = 7", "toolu_1", "Exact toolu_1"),
        ],
    );
    play(
        "in the background, when its result has come already",
        &[
            Calls("a: toolu_1 Bash command=python report.py &"),
            Results("toolu_1"),
            Tagged("s", "select a from t", "toolu_1", "Exact toolu_1"),
            // What a session was tagged with once says nothing about what it does later.
            SessionTagged("s", "select a from t", "toolu_1", "None -"),
        ],
    );
    play(
        "forged: a call that was never made",
        &[
            Calls("a: toolu_1 q sql=select 1"),
            Tagged("s", "select 1", "toolu_9", "Hash toolu_1"),
            Tagged("s", "select 2", "toolu_9", "None -"),
        ],
    );
    play(
        "forged: a call that shows other SQL",
        &[
            Calls("a: toolu_1 q sql=select 1"),
            Tagged("s", "delete from t", "toolu_1", "None - toolu_1"),
        ],
    );
    play(
        "forged: the SQL of another open call",
        &[
            Calls("a: toolu_1 Bash command=python report.py"),
            Calls("b: toolu_2 q sql=delete from t"),
            Tagged("s", "delete from t", "toolu_1", "None - toolu_1,toolu_2"),
        ],
    );
    play(
        "two names",
        &[
            Calls("a: toolu_1 Bash command=x & toolu_2 Bash command=y"),
            Tagged("s", "select 1", "toolu_1 toolu_2", "None - toolu_1,toolu_2"),
        ],
    );
}

#[test]
fn a_conversation_without_a_name_is_followed_by_its_calls() {
    let mut memory = Memory::default();
    let first = memory.hear(&Asked::default(), None);
    let exchange = Arc::new(Exchange { conversation: first.clone(), ..Exchange::default() });
    let call = ToolUse { id: "t1".into(), name: "q".into(), input: None };
    memory.call(&exchange, &call, 0);
    assert_ne!(memory.hear(&Asked::default(), None), first);
    let answered = vec!["t1".to_owned()];
    assert_eq!(memory.hear(&Asked { answered, ..Asked::default() }, None), first);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut memory = Memory::default();
    let exchange = Arc::new(Exchange::default());
    for number in 0..CALLS_MAX + 300 {
        let input = Some(json!({"sql": format!("select {number}")}));
        let call = ToolUse { id: format!("t{number}"), name: "q".into(), input };
        memory.call(&exchange, &call, 0);
        let sql = format!("select {number}");
        let (session, hints) = (format!("s{number}"), Hints::default());
        let statement =
            Statement { sql: &sql, hints: &hints, session: &session, session_since_ms: 0 };
        assert_eq!(memory.link(&statement, 0).confidence, Confidence::Hash);
    }
    assert_eq!((memory.calls.len(), memory.sessions.len()), (CALLS_MAX, SESSIONS_MAX));
}
