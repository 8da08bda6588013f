//! What an auditor holds afterwards.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::agent::Driver;
use e2e::kubectl::{Answer, kubectl};
use e2e::world::World;
use e2e::{eventually, stage};

fn frostgate(words: &[&str]) -> Answer {
    Command::new(&stage().frostgate).args(words).output().unwrap().into()
}

fn key() -> String {
    let words = [
        "get",
        "configmap",
        "-n",
        "frostgate-system",
        "frostgate-ledger-key",
        "-o",
        "jsonpath={.data.key}",
    ];
    let answer = kubectl(&words);
    assert!(answer.ok, "{}", answer.err);
    answer.out.trim().to_owned()
}

/// Downloads everything and returns once a session with the marker is closed in it.
fn fetched(folder: &Path, marker: &str) -> String {
    let path = folder.display().to_string();
    eventually("the recording", Duration::from_secs(60), || {
        let answer = frostgate(&["fetch", &path]);
        if !answer.ok {
            return Err(format!("{}{}", answer.out, answer.err));
        }
        let listed = frostgate(&["sessions", &path]).out;
        let csv = frostgate(&["export", &path, "--format", "csv"]).out;
        if csv.contains(marker) { Ok(path.clone()) } else { Err(listed) }
    })
}

#[test]
fn the_recording_verifies_and_every_change_to_it_is_named() {
    let world = World::new("evidence");
    let agent = world.agent(Driver::Python5);
    assert_eq!(agent.sql("SELECT name, ssn FROM customers /* e2e evidence */")["ok"], true);
    let folder = tempfile::tempdir().unwrap();
    let path = fetched(folder.path(), "e2e evidence");
    let key = key();
    let session = session_of(&path, "e2e evidence");
    // Other tests end pods by force, and those sessions are rightly missing something.
    let verify = || frostgate(&["verify", &path, "--key", &key, "--session", &session]);
    let verified = eventually("the last segment", Duration::from_secs(60), || {
        fetched(folder.path(), "e2e evidence");
        let verified = verify();
        if verified.ok { Ok(verified) } else { Err(verified.out + &verified.err) }
    });
    assert!(verified.out.contains("intact"), "{}", verified.out);

    let replay = frostgate(&["replay", &path, "--session", &session, "--rows"]).out;
    assert!(replay.contains("e2e evidence") && replay.contains("Ada Fischer"), "{replay}");
    assert!(!replay.contains("123-45-6789"), "the recording holds masked rows: {replay}");
    let json = frostgate(&["export", &path, "--format", "json"]).out;
    let line = json.lines().find(|line| line.contains("e2e evidence")).unwrap();
    let row: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(row.to_string().contains("SSN"), "the decision names the column: {row}");

    let segment = segments(folder.path(), &session).remove(0);
    let bytes = fs::read(&segment).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    fs::write(&segment, &changed).unwrap();
    let broken = verify();
    assert!(
        !broken.ok && (broken.out.clone() + &broken.err).contains(&session),
        "{}{}",
        broken.out,
        broken.err
    );
    fs::write(&segment, &bytes).unwrap();
    assert!(verify().ok);
    fs::remove_file(&segment).unwrap();
    let missing = verify();
    assert!(
        !missing.ok && (missing.out.clone() + &missing.err).contains(&session),
        "{}{}",
        missing.out,
        missing.err
    );
}

fn session_of(path: &str, marker: &str) -> String {
    let json = frostgate(&["export", path, "--format", "json"]).out;
    let line = json.lines().find(|line| line.contains(marker)).unwrap();
    let row: serde_json::Value = serde_json::from_str(line).unwrap();
    row["session"].as_str().unwrap().to_owned()
}

fn segments(folder: &Path, session: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "fgseg")
                && path.to_string_lossy().contains(session)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
