//! The table, its file, and foreign bytes.

use proptest::prelude::*;
use uuid::Uuid;

use super::kept::State;
use super::*;

fn kept(id: &str) -> Kept {
    let text = format!(
        r#"{{"id":"{id}","connection":{{"name":"team/c","account":"a","host":"h","port":443,"durability":"Spool",
            "sessionIdleSeconds":1}},
            "human":null,"role":"R","stateless":false,"count":1,"number":"9007199254740993","tag":null,"opened_ms":1,
            "renew_by_ms":2,"recording_key":"a2V5","user":"U","user_agent":"d","upstream":{{"session":"S","master":"M",
            "taken_ms":1,"validity_ms":1,"master_validity_ms":1}},"state":{{"database":null,"schema":null,"role":null,
            "warehouse":null,"ignore_case":false,"search_path":false,"temporary":[],"variables":[],"variables_lost":false}}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn identity(number: u128) -> Identity {
    Identity {
        id: Uuid::from_u128(number),
        request_id: format!("r{number}"),
        meaning: recording::Digest::of(b"meaning"),
        started_ms: 1,
        asynchronous: false,
        part: None,
    }
}

fn under_way(number: u128, request: usize) -> Change {
    Change::Began(Box::new(UnderWay {
        identity: identity(number),
        request: Some("x".repeat(request)),
        count: 1,
        stripped: Vec::new(),
        accept: "*/*".into(),
        base: "http://h".into(),
        traceparent: None,
        digest: recording::Digest::of(b"digest"),
        sent: 0,
        sent_ms: 0,
        stood: None,
        query_id: None,
        answer: None,
    }))
}

fn ended(number: u128, body: usize) -> Change {
    Change::Ended(Box::new(Ended {
        identity: identity(number),
        word: Word::Success,
        error: None,
        query_id: None,
        ended_ms: i64::try_from(number).unwrap(),
        body: Some("x".repeat(body)),
    }))
}

fn json(left: &Left) -> serde_json::Value {
    serde_json::json!([left.sessions, left.closed])
}

/// What the next sidecar finds.
fn found(path: &Path) -> Left {
    Living::open(path, "pod").unwrap().1
}

#[test]
fn a_restart_finds_what_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    let (living, left) = Living::open(&path, "pod").unwrap();
    assert_eq!(json(&left), serde_json::json!([[], []]));
    let of = living.of("a");
    of.note(Change::Ending("nobody knows it yet".into()));
    living.keep(kept("a"));
    living.keep(kept("b"));
    of.note(under_way(1, 10));
    of.note(Change::Sent {
        statement: Uuid::from_u128(1),
        times: 1,
        at_ms: 5,
        stood: Some(State::default()),
    });
    of.note(Change::Runs { statement: Uuid::from_u128(1), query_id: Uuid::from_u128(9) });
    of.note(Change::GivenUp(vec!["3".into()]));
    of.note(under_way(2, 10));
    let Change::Ended(answer) = ended(2, 10) else { panic!("it is one") };
    of.note(Change::Answers(answer));
    of.note(Change::Settled { statement: Uuid::from_u128(2), started_ms: 3 });
    of.note(Change::Settled { statement: Uuid::from_u128(1), started_ms: 3 });
    let ticket = |renews| Ticket { digest: recording::Digest::of(b"t"), renews, ends_ms: 7 };
    of.note(Change::Ticket(ticket(false)));
    living.of("b").note(Change::Ticket(ticket(true)));
    living.of("b").note(Change::Ending("Logout".into()));
    living.of("b").note(Change::Over);
    // Twice: what was read is what is written anew.
    for _ in 0..2 {
        let left = found(&path);
        let [session] = left.sessions.as_slice() else { panic!("one session is left") };
        assert_eq!((session.id.as_str(), session.attempted), ("a", 3));
        let [was] = session.under_way.as_slice() else { panic!("one statement is under way") };
        assert_eq!((was.sent, was.sent_ms, was.query_id), (1, 5, Some(Uuid::from_u128(9))));
        assert_eq!(was.stood, Some(State::default()));
        assert_eq!(session.ended.len(), 1);
        assert_eq!(session.tickets.len(), 1);
        assert_eq!((left.closed.len(), left.closed[0].reason.as_str()), (1, "Logout"));
    }
    assert_eq!(json(&Living::open(&path, "another pod").unwrap().1), serde_json::json!([[], []]));
}

#[test]
fn the_file_grows_with_what_lives_and_not_with_history() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    let (living, _) = Living::open(&path, "pod").unwrap();
    living.keep(kept("a"));
    for number in 1..=3000 {
        living.of("a").note(under_way(number, 100));
        living.of("a").note(ended(number, 5000));
    }
    let most = LIVING as u64 + HISTORY + (1 << 20);
    assert!(fs::metadata(&path).unwrap().len() <= most);
    let left = found(&path);
    assert_eq!(left.sessions[0].attempted, 3000);
    let last = left.sessions[0].ended.back().unwrap();
    assert_eq!((last.identity.id, last.body.is_some()), (Uuid::from_u128(3000), true));
    // What is under way is never forgotten, only its text.
    for number in 4000..4200 {
        living.of("a").note(under_way(number, 60_000));
    }
    assert!(fs::metadata(&path).unwrap().len() <= most);
    assert_eq!(found(&path).sessions[0].under_way.len(), 200);
}

#[test]
fn a_table_that_cannot_be_written_is_empty_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    let (living, _) = Living::open(&path, "pod").unwrap();
    living.keep(kept("a"));
    // Neither can it be appended to, as a full volume would have it, nor be written anew.
    let table = living.0.as_ref().unwrap();
    lock(table).file = File::open(&path).unwrap();
    fs::create_dir(path.with_extension("new")).unwrap();
    living.of("a").note(ended(1, 10));
    assert!(lock(table).is_lost);
    fs::remove_dir(path.with_extension("new")).unwrap();
    living.of("a").note(ended(2, 10));
    assert_eq!(found(&path).sessions[0].ended.len(), 2);
}

/// A file with some history.
fn written() -> Vec<u8> {
    static WRITTEN: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(write_some);
    WRITTEN.clone()
}

fn write_some() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions");
    let (living, _) = Living::open(&path, "pod").unwrap();
    living.keep(kept("a"));
    for number in 0..4 {
        living.of("a").note(under_way(number, 20));
    }
    living.of("a").note(ended(1, 20));
    fs::read(path).unwrap()
}

#[test]
fn a_file_that_was_cut_gives_what_was_whole_and_one_that_was_changed_gives_nothing() {
    let bytes = written();
    let whole = decode(&bytes, "pod").unwrap().0;
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, 7);
    for end in 0..bytes.len() {
        let (sessions, _) = decode(&bytes[..end], "pod").unwrap();
        let known = sessions.get("a").map_or(0, |it| it.attempted);
        assert!(known <= whole["a"].attempted, "cut at {end}");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        match decode(&changed, "pod") {
            // The end of the last line is gone: it never counted.
            Ok((sessions, _)) => assert_eq!((at, sessions["a"].ended.len()), (bytes.len() - 1, 0)),
            Err(_) => assert!(at < bytes.len() - 1, "changed at {at}"),
        }
    }
}

#[test]
fn a_line_that_was_taken_out_or_put_elsewhere_is_noticed() {
    let bytes = written();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 0..lines.len() - 1 {
        let mut fewer = lines.clone();
        fewer.remove(at);
        assert!(decode(&fewer.concat(), "pod").is_err(), "without line {at}");
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        assert!(decode(&swapped.concat(), "pod").is_err(), "lines {at} and the next");
    }
}

proptest! {
    #[test]
    fn foreign_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        keep in 0..2000_usize,
        lines in prop::collection::vec("[ -~]{0,60}", 0..4),
    ) {
        let _ = decode(&bytes, "pod");
        // After a beginning that is believed: anything at all, and anything under links that fit.
        let good = written();
        let good = &good[..keep.min(good.len())];
        let _ = decode(&[good, &bytes].concat(), "pod");
        let mut all = Vec::new();
        let mut link = Link::default();
        let header = kept::header("pod").unwrap();
        for json in [header.as_slice()].into_iter().chain(lines.iter().map(String::as_bytes)) {
            let (line, next) = link.line(json);
            all.extend_from_slice(&line);
            link = next;
        }
        let _ = decode(&all, "pod");
    }

    #[test]
    fn what_gives_statements_their_meaning_comes_back_as_it_was(
        names in prop::collection::vec((".{0,4}", ".{0,4}", ".{0,4}"), 0..3),
        variables in prop::collection::btree_map(".{0,4}", prop::collection::btree_set((".{0,3}", ".{0,3}"), 0..3), 0..3),
        flags in any::<(bool, bool, bool)>(),
        database in prop::option::of(".{0,6}"),
    ) {
        let session = sql::Session {
            database,
            ignore_case: flags.0,
            search_path: flags.1,
            temporary: sql::Temporaries::of(names.into_iter().zip(0..).map(|((a, b, c), number)| {
                let columns = vec![sql::CatalogColumn { name: c.clone(), data_type: a.clone() }];
                let definition = match number {
                    0 => sql::Definition::Table,
                    1 => sql::Definition::View(b.clone()),
                    _ => sql::Definition::Opaque,
                };
                (sql::Object { name: sql::Name::new(a, b, c), columns, definition }, flags.1)
            })),
            variables: sql::Variables {
                columns: variables.into_iter().map(|(name, columns)| {
                    let columns = columns.into_iter().map(|(object, name)| sql::Column {
                        object: Arc::new(sql::Name::new("D", "S", object)),
                        name: name.as_str().into(),
                    });
                    (name, columns.collect())
                }).collect(),
                lost: flags.2,
            },
            ..sql::Session::default()
        };
        let json = serde_json::to_vec(&State::from(&session)).unwrap();
        let back: State = serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(sql::Session::from(back), session);
    }
}
