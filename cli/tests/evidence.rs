//! The commands of auditors, run as they run them, over the golden recordings.

#![expect(clippy::unwrap_used, reason = "a test ends when something is not as it must be")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const SESSION: &str = "01932c07-5a10-7c3e-9f58-0d7c5e1f2a44";

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/recording/tests/vectors")
}

fn key() -> String {
    vectors().join("key").display().to_string()
}

fn frostgate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubectl-frostgate")).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn vector(name: &str) -> String {
    vectors().join(name).display().to_string()
}

#[test]
fn the_exit_code_tells_intact_from_broken_from_missing() {
    for (name, code) in [
        ("good", 0),
        ("open", 0),
        ("recovered", 0),
        ("flipped-byte", 3),
        ("dropped-entry", 3),
        ("swapped-segments", 3),
        ("foreign-key", 3),
        ("torn", 3),
        ("dropped-segment", 4),
    ] {
        let output = frostgate(&["verify", &vector(name), "--key", &key()]);
        assert_eq!(output.status.code(), Some(code), "{name}: {}", stdout(&output));
    }
}

#[test]
fn a_wrong_argument_is_usage_and_a_wrong_path_is_an_error_that_says_what() {
    assert_eq!(frostgate(&["verify", &vector("good")]).status.code(), Some(2));
    let output = frostgate(&["verify", "/nowhere", "--key", &key()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("neither a folder nor a file"));
    let output = frostgate(&["verify", &vector("good"), "--key", "nonsense"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("frostgate-ledger-key"));
}

#[test]
fn the_place_of_a_flipped_byte_is_named() {
    let output = frostgate(&["verify", &vector("flipped-byte"), "--key", &key()]);
    let text = stdout(&output);
    assert!(text.contains("first break at segment 1, entry 8, byte 532"), "{text}");
    assert!(text.contains("intact up to entry 7"), "{text}");
    let json = frostgate(&["verify", &vector("flipped-byte"), "--key", &key(), "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["intact"], &json["firstBreak"]["byte"]), (&false.into(), &532.into()));
}

#[test]
fn another_key_believes_nothing() {
    let other = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let output = frostgate(&["verify", &vector("good"), "--key", other]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).contains("certificate is not believed"));
}

#[test]
fn a_session_is_found_as_a_folder_of_its_own_and_by_the_beginning_of_its_id() {
    let folder = vectors().join("good").join(SESSION).display().to_string();
    for args in [
        vec!["verify", folder.as_str(), "--key"],
        vec!["verify", &vector("good"), "--session", "01932c07", "--key"],
    ] {
        let key = key();
        let output = frostgate(&[args.as_slice(), &[key.as_str()]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    }
    // The id stands in the segments, whatever the folder is called.
    let renamed = tempfile::tempdir().unwrap();
    for number in 0..3 {
        let name = format!("{number}.fgseg");
        fs::copy(Path::new(&folder).join(&name), renamed.path().join(&name)).unwrap();
    }
    let path = renamed.path().display().to_string();
    assert_eq!(frostgate(&["verify", &path, "--key", &key()]).status.code(), Some(0));
}

#[test]
fn a_replay_shows_what_the_agent_saw_and_its_report() {
    let output = frostgate(&["replay", &vector("good"), "--rows", "--key", &key()]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0));
    for expected in [
        "DELETE FROM sales.public.orders",
        "approved agents/apr-1 by maria@example.com",
        "a***@d***.com",
        "19.99",
        r"\u{202e}pine",
        "intact, closed",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let unchecked = stdout(&frostgate(&["replay", &vector("good")]));
    assert!(unchecked.contains("checked against no key"));
}

#[test]
fn an_export_is_valid_csv_and_valid_json() {
    let csv = frostgate(&["export", &vector("good"), "--format", "csv"]);
    assert_eq!(csv.status.code(), Some(0));
    assert!(stdout(&csv).starts_with("time,session,statement,"));
    assert!(stdout(&csv).contains("agreed in #data"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.json").display().to_string();
    frostgate(&["export", &vector("good"), "--format", "json", "--output", &file]);
    let lines = fs::read_to_string(file).unwrap();
    assert_eq!(lines.lines().count(), 4);
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["session"], SESSION);
    }
}

#[test]
fn an_export_of_a_broken_recording_holds_what_is_intact_and_fails() {
    let output = frostgate(&["export", &vector("flipped-byte"), "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stdout(&output).lines().count(), 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("first break"));
}

#[test]
fn sessions_are_listed_with_who_and_how_many() {
    let text = stdout(&frostgate(&["sessions", &vector("good")]));
    insta::assert_snapshot!(text);
}

/// What is changed, the exit code, what the report says, and the change.
type Case = (&'static str, i32, &'static str, Box<dyn FnOnce(&Path)>);

/// A copy of the store with one thing changed.
fn store_with(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    copy(&vectors().join("store"), dir.path());
    change(dir.path());
    dir
}

#[test]
fn with_the_ledger_beside_them_removed_recordings_are_missed() {
    let session = |dir: &Path| dir.join("recordings").join(SESSION);
    let bundle = |dir: &Path| {
        let folder = dir.join("ledger/tile/entries/000.p");
        fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    };
    let cases: [Case; 6] = [
        ("nothing", 0, "intact, closed", Box::new(|_| {})),
        (
            "the last segment",
            4,
            "segment 2, entry 21",
            Box::new(move |dir| fs::remove_file(session(dir).join("2.fgseg")).unwrap()),
        ),
        (
            "the whole session",
            4,
            "segment 0, entry 0",
            Box::new(move |dir| fs::remove_dir_all(session(dir)).unwrap()),
        ),
        (
            "a byte of a leaf",
            3,
            "ledger: BROKEN",
            Box::new(move |dir| {
                let path = bundle(dir);
                let mut bytes = fs::read(&path).unwrap();
                bytes[40] ^= 1;
                fs::write(&path, bytes).unwrap();
            }),
        ),
        (
            "the checkpoint's signature",
            3,
            "ledger: BROKEN",
            Box::new(|dir| {
                let path = dir.join("ledger/checkpoint");
                let note = fs::read_to_string(&path).unwrap();
                fs::write(&path, note.replacen('7', "8", 1)).unwrap();
            }),
        ),
        (
            "the ledger",
            0,
            "ledger: not here",
            Box::new(|dir| fs::remove_dir_all(dir.join("ledger")).unwrap()),
        ),
    ];
    for (what, code, says, change) in cases {
        let dir = store_with(change);
        let output = frostgate(&["verify", &dir.path().display().to_string(), "--key", &key()]);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(code), "{what}: {text}");
        assert!(text.contains(says), "{what}: {text}");
    }
}
