//! `frostgate classify`, run as it is run: lines in, one answer for each, whatever the line.

#![expect(clippy::unwrap_used, reason = "a test ends when something is not as it must be")]

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// The answers of one process to these lines.
fn classify(lines: &[u8]) -> Vec<Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-frostgate"))
        .arg("classify")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines = lines.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&lines).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A library: card numbers and addresses of its members are masked, what was borrowed may be filtered. Columns are in
/// the order in which they are written.
const LIBRARY: &str = r#"
    "schema": {
        "LIB.DESK.MEMBERS": {"ID": "NUMBER", "NAME": "VARCHAR", "CARD_NO": "VARCHAR", "ADDRESS": "VARCHAR", "BRANCH": "VARCHAR"},
        "LIB.DESK.LOANS": {"ID": "NUMBER", "MEMBER_ID": "NUMBER", "TITLE": "VARCHAR", "DUE": "DATE"},
        "LIB.WORK.NOTES": {"A": "VARCHAR", "B": "NUMBER"}
    },
    "views": {
        "LIB.DESK.MAILING": {"sql": "SELECT name, address AS street FROM members", "columns": ["NAME", "STREET"]},
        "LIB.DESK.CLOSED": {"sql": "SELECT 1 AS x", "columns": ["X"], "secure": true}
    },
    "session": {"database": "LIB", "schema": "DESK", "role": "READER"},
    "policy": {
        "mask": ["LIB.DESK.MEMBERS.CARD_NO", "LIB.DESK.MEMBERS.ADDRESS", "LIB.DESK.LOANS.TITLE"],
        "filterable": ["LIB.DESK.LOANS.TITLE"],
        "deny": ["DROP", "TRUNCATE", "EXTERNAL_SINK", "CALL", "USE_ROLE"],
        "approve": ["DELETE_NO_WHERE", "UPDATE_NO_WHERE", "DDL"],
        "writable_schemas": ["LIB.WORK"],
        "functions_allow": ["LIB.DESK.SHELF"]
    }
"#;

/// A line of the library with these fields besides or instead.
fn case(fields: &Value) -> String {
    let library: serde_json::Map<String, Value> =
        serde_json::from_str(&format!("{{{LIBRARY}}}")).unwrap();
    let mut line: Vec<String> = fields
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| format!("{name:?}: {value}"))
        .collect();
    let kept = library.keys().filter(|name| fields.get(name).is_none());
    line.extend(kept.map(|name| field(name)));
    format!("{{{}}}", line.join(", "))
}

/// A field of the library as it is written.
fn field(name: &str) -> String {
    let begin = LIBRARY.find(&format!("\n    {name:?}")).unwrap();
    let end = LIBRARY[begin + 1..].find("\n    \"").map_or(LIBRARY.len(), |end| begin + 1 + end);
    LIBRARY[begin..end].trim().trim_end_matches(',').replace('\n', " ")
}

#[test]
fn each_case_has_the_verdict_of_its_policy() {
    let cases = [
        (json!({"sql": "SELECT card_no FROM members"}), "mask:[0]"),
        (json!({"sql": "SELECT * FROM members"}), "mask:[2,3]"),
        (json!({"sql": "SELECT street FROM mailing"}), "mask:[0]"),
        (json!({"sql": "SELECT x FROM closed"}), "deny"),
        (json!({"sql": "SELECT card_no FROM members", "prior": null, "binds": null}), "mask:[0]"),
        (json!({"sql": "SELECT branch, COUNT(*) FROM members GROUP BY branch"}), "allow"),
        (json!({"sql": "SELECT id FROM loans WHERE title = 'Ulysses'"}), "allow"),
        (json!({"sql": "SELECT id FROM members WHERE address LIKE 'A%'"}), "approve"),
        (json!({"sql": "SELECT shelf(branch) FROM members"}), "allow"),
        (json!({"sql": "SELECT shelf(address) FROM members"}), "deny"),
        (
            json!({"sql": "SELECT ? AS given, address FROM members", "binds": {"1": {"type": "FIXED", "value": "1"}}}),
            "mask:[1]",
        ),
        (
            json!({"sql": "SELECT * FROM IDENTIFIER(?)", "binds": {"1": {"type": "TEXT", "value": "loans"}}}),
            "deny",
        ),
        (json!({"sql": "UPDATE work.notes SET b = 1"}), "approve"),
        (json!({"sql": "UPDATE work.notes SET b = 1 WHERE a = 'x'"}), "allow"),
        (json!({"sql": "UPDATE members SET name = 'x' WHERE id = 1"}), "deny"),
        (json!({"sql": "CREATE TABLE work.more (a INT)"}), "approve"),
        (json!({"sql": "CREATE TABLE desk.more (a INT)"}), "deny"),
        (json!({"sql": "CREATE OR REPLACE TABLE work.notes (a INT)"}), "deny"),
        (json!({"sql": "COPY INTO @out FROM loans"}), "deny"),
        (json!({"sql": "GRANT ROLE admin TO USER bob"}), "deny"),
        (json!({"sql": "SELECT 1; SELECT 2"}), "deny"),
        (json!({"sql": "SELECT * FROM TABLE(RESULT_SCAN('01b2c3'))"}), "deny"),
        (json!({"sql": "SELECT SYSTEM$CANCEL_QUERY('01b2c3')"}), "deny"),
        // What the session ran before counts.
        (json!({"prior": ["USE SCHEMA work"], "sql": "SELECT a FROM notes"}), "allow"),
        (json!({"prior": ["USE SCHEMA work"], "sql": "SELECT id FROM loans"}), "deny"),
        (
            json!({"prior": ["SET d = CURRENT_DATE()"], "sql": "SELECT id FROM loans WHERE due < $d"}),
            "allow",
        ),
        (json!({"sql": "SELECT id FROM loans WHERE due < $d"}), "deny"),
        (
            json!({"prior": ["SET d = (SELECT MAX(card_no) FROM members)"], "sql": "SELECT $d"}),
            "deny",
        ),
        (
            json!({"prior": ["USE SCHEMA lib.work", "USE DATABASE other"], "sql": "SELECT a FROM notes"}),
            "deny",
        ),
        (json!({"prior": ["USE ROLE admin"], "sql": "SELECT card_no FROM members"}), "mask:[0]"),
        (
            json!({"prior": ["CREATE VIEW work.v AS SELECT address FROM members"], "sql": "SELECT * FROM work.v"}),
            "deny",
        ),
        (
            json!({"prior": ["CREATE TABLE work.due AS SELECT id, due FROM loans"], "sql": "SELECT due FROM work.due"}),
            "allow",
        ),
        (
            json!({"prior": ["CREATE VIEW work.v (n) AS SELECT name FROM desk.members"], "sql": "SELECT n FROM work.v WHERE n = 'x'"}),
            "allow",
        ),
        (
            json!({"prior": ["CREATE TABLE work.due AS SELECT id + 1 FROM loans"], "sql": "SELECT * FROM work.due"}),
            "deny",
        ),
        (
            json!({"prior": ["ALTER TABLE work.notes RENAME COLUMN a TO c"], "sql": "SELECT a FROM work.notes"}),
            "deny",
        ),
    ];
    let mut lines = String::new();
    for (index, (fields, _)) in cases.iter().enumerate() {
        let mut fields = fields.clone();
        fields["id"] = index.into();
        lines += &format!("{}\n", case(&fields));
    }
    let answers = classify(lines.as_bytes());
    assert_eq!(answers.len(), cases.len());
    for (index, ((fields, expected), answer)) in cases.iter().zip(&answers).enumerate() {
        assert_eq!(answer["id"], index);
        assert_eq!(answer["verdict"], *expected, "{fields} {answer}");
        // A refusal always says which and why; nothing else does.
        assert_eq!(answer["code"] == "", !["deny", "approve"].contains(expected), "{answer}");
    }
}

#[test]
fn an_answer_says_what_the_statement_is() {
    let lines = [
        case(&json!({"id": "held", "sql": "SELECT card_no, id FROM members ORDER BY address"})),
        case(&json!({"sql": "SELECT id, due FROM loans"})),
        json!({"sql": "DROP USER bob", "file": "no field of the form"}).to_string(),
        json!({"sql": "SELECT a FROM b"}).to_string(),
        json!({"sql": "SELECT 1 AS one"}).to_string(),
    ];
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut answers = classify(lines.as_bytes());
    for answer in &mut answers {
        assert!(answer["micros"].is_u64());
        answer.as_object_mut().unwrap().remove("micros");
    }
    let text: Vec<String> = answers.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn no_line_ends_the_process() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let chain = |first: &str, next: &str| first.to_owned() + &next.repeat(100_000);
    let good = case(&json!({"id": "good", "sql": "SELECT address FROM members"}));
    let mut lines: Vec<Vec<u8>> = [
        String::new(),
        "no json".to_owned(),
        "[1, 2]".to_owned(),
        "null".to_owned(),
        r#"[{}, {}, {}, {}, [], null, "SELECT 1"]"#.to_owned(),
        "{\"id\": 7}".to_owned(),
        "{\"sql\": 7}".to_owned(),
        deep("[", "]"),
        case(&json!({"id": "a", "sql": "SELECT 1", "policy": {"masks": []}})),
        case(&json!({"id": "b", "sql": "SELECT 1", "session": {"rolle": "X"}})),
        case(&json!({"id": "c", "sql": "SELECT 1", "policy": {"deny": ["NO_SUCH_KIND"]}})),
        case(&json!({"id": "d", "sql": "SELECT 1", "policy": {"mask": ["A..B"]}})),
        case(&json!({"id": "e", "sql": "SELECT 1", "schema": {"T": {"A": "INT"}}})),
    ]
    .map(String::into_bytes)
    .to_vec();
    lines.push(b"{\"sql\": \"SELECT '\xff'\"}".to_vec());
    lines.push(vec![b' '; 17 << 20]);
    let bad = lines.len();
    let texts = [
        deep("(", ")"),
        format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        chain("SELECT 1", "+1"),
        chain("SELECT 1", " UNION ALL SELECT 1"),
        chain("SELECT a FROM t WHERE a", " AND a"),
        chain("SELECT a", ":b"),
        chain("SELECT ", "NOT "),
        chain("SELECT ", "CASE WHEN 1 THEN "),
        chain("SHOW TABLES", " ->> SHOW TABLES"),
        chain("EXPLAIN ", "EXPLAIN "),
        chain("WITH a AS (", "WITH a AS ("),
        "\u{0}".to_owned(),
    ];
    lines.extend(texts.iter().map(|text| json!({"sql": text}).to_string().into_bytes()));
    let count = lines.len();
    let mut input = Vec::new();
    for line in lines {
        input.extend(line);
        // Between any two bad lines a good one is judged as ever.
        input.extend(format!("\n{good}\n").into_bytes());
    }
    let answers = classify(&input);
    assert_eq!(answers.len(), 2 * count);
    for (index, pair) in answers.chunks(2).enumerate() {
        assert_eq!(pair[0]["verdict"], "deny", "{}", pair[0]);
        assert_eq!(pair[0]["code"] == "BAD_CASE", index < bad, "{index} {}", pair[0]);
        assert_eq!((&pair[1]["id"], &pair[1]["verdict"]), (&"good".into(), &"mask:[0]".into()));
    }
}

#[test]
#[ignore = "judges the cases of a file of your own: FROSTGATE_CASES=<file> cargo test -- --ignored"]
#[expect(clippy::disallowed_methods, reason = "the file is given by whoever runs the test")]
fn every_case_of_a_given_file_has_the_verdict_it_expects() {
    let text = std::fs::read(std::env::var("FROSTGATE_CASES").unwrap()).unwrap();
    let cases: Vec<Value> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let mut wrong = Vec::new();
    for (case, answer) in cases.iter().zip(classify(&text)) {
        let redacts =
            case.get("error_redact").is_none_or(|expected| *expected == answer["error_redact"]);
        if case["expect"] != answer["verdict"] || !redacts {
            wrong.push(format!("{} expects {}: {answer}", case["sql"], case["expect"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
