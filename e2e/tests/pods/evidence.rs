//! What an auditor holds afterwards.

use std::fs;
use std::time::Duration;

use e2e::agent::Driver;
use e2e::eventually;
use e2e::evidence::{Evidence, frostgate};
use e2e::kubectl::Answer;
use e2e::world::World;
use recording::segment::{Kind, Reader};
use serde_json::json;

#[test]
fn the_recording_verifies_and_every_change_to_it_is_named() {
    let world = World::new("evidence");
    let agent = world.agent(Driver::Python5);
    let sql = format!("SELECT name, ssn FROM customers /* {} */", world.marker);
    assert_eq!(agent.sql(&sql)["ok"], true);
    let evidence = Evidence::of(&world.marker);
    let line = evidence.line(&world.marker);
    assert!(line["maskedColumns"].to_string().contains("SSN"), "the decision names it: {line}");
    let session = line["session"].as_str().unwrap().to_owned();
    // Other tests end pods by force, and those sessions are rightly missing something.
    let verified = eventually("the last segment", Duration::from_secs(60), || {
        evidence.fetch()?;
        let verified = evidence.verify(&session);
        if verified.ok { Ok(verified) } else { Err(verified.out + &verified.err) }
    });
    assert!(verified.out.contains("intact"), "{}", verified.out);

    let words = ["replay", &evidence.path(), "--session", &session, "--rows"];
    let replay = frostgate(&words).out;
    assert!(replay.contains(&world.marker) && replay.contains("Ada Fischer"), "{replay}");
    assert!(!replay.contains("123-45-6789"), "the recording holds masked rows: {replay}");

    let names_the_place = |what: &str, verified: Answer| {
        let text = verified.out + &verified.err;
        assert!(!verified.ok && text.contains(&session), "{what}: {text}");
    };
    let segment = evidence.segments(&session).remove(0);
    let bytes = fs::read(&segment).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    fs::write(&segment, &changed).unwrap();
    names_the_place("one bit flipped", evidence.verify(&session));

    let mut reader = Reader::new(&bytes).unwrap();
    let entry = loop {
        let frame = reader.next_frame().unwrap().expect("a second entry");
        if frame.kind == Kind::Entry && frame.at > bytes.len() / 4 {
            break frame.at..reader.at();
        }
    };
    fs::write(&segment, [&bytes[..entry.start], &bytes[entry.end..]].concat()).unwrap();
    names_the_place("one record dropped", evidence.verify(&session));

    fs::write(&segment, &bytes).unwrap();
    assert!(evidence.verify(&session).ok);
    fs::remove_file(&segment).unwrap();
    names_the_place("one segment dropped", evidence.verify(&session));
}

#[test]
fn the_export_is_valid_in_both_formats_and_says_the_same() {
    let world = World::new("export");
    let agent = world.agent(Driver::Python5);
    let sql = format!(
        "SELECT name, \"EMAIL\" FROM customers WHERE id = ? /* {}, \"quoted\"\nover lines */",
        world.marker
    );
    let reply = agent.run(Driver::Python5, &json!({"sql": sql, "binds": [1]}));
    assert_eq!(reply["ok"], true, "{reply}");
    let evidence = Evidence::of(&world.marker);
    let line = evidence.line(&world.marker);
    assert_eq!(line["sql"], sql, "byte for byte");
    assert_eq!(line["queryId"], reply["queryId"], "{line}");
    for column in [
        "time",
        "namespace",
        "pod",
        "serviceAccount",
        "binds",
        "decision",
        "policyHash",
        "role",
        "resultSha256",
        "payload",
        "credentialUser",
        "credentialExpires",
    ] {
        assert!(
            !matches!(line[column].as_str(), Some("") | None)
                || line[column].is_array()
                || line[column].is_object(),
            "{column}: {line}"
        );
    }
    let text = evidence.export("csv");
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    let columns = csv.headers().unwrap().clone();
    let row = csv
        .records()
        .map(Result::unwrap)
        .find(|row| row.iter().any(|cell| cell == sql))
        .expect("the statement, with its quotes and lines, in one cell");
    for (name, cell) in columns.iter().zip(row.iter()) {
        if let Some(text) = line[name].as_str() {
            assert_eq!(cell, text, "{name}");
        }
    }
}
