//! What no mask rule names, and is found all the same.

use e2e::agent::Driver;
use e2e::evidence::{Evidence, frostgate};
use e2e::world::World;
use serde_json::json;

const DETECTORS: &str = r#"{"spec": {"detectors": [
    {"find": ["CardNumber", "SocialSecurityNumber"]}, {"find": ["Secret"], "mask": "Null"}]}}"#;

#[test]
fn a_card_in_free_text_a_number_and_json_is_hidden_from_every_format_and_on_record() {
    let world = World::new("detectors");
    let patch = ["patch", "accesspolicy", "support-agents", "--type=merge", "-p", DETECTORS];
    let answer = world.kubectl(&patch);
    assert!(answer.ok, "{}", answer.err);
    let agent = world.agent(Driver::Python5);
    let sql = format!(
        "SELECT id, name || ' paid by 4111 1111 1111 1111' AS note, 4111111111111111 AS amount, \
         '{{\"ssn\": 178051120}}' AS payload, 'AKIAIOSFODNN7EXAMPLE' AS credential, 'nothing' AS clean \
         FROM customers ORDER BY id LIMIT 3 /* {} */",
        world.marker
    );
    for format in ["ARROW", "JSON"] {
        let connect =
            json!({"session_parameters": {"PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": format}});
        let reply = agent.run(Driver::Python4, &json!({"sql": sql, "connect": connect}));
        assert_eq!(reply["ok"], true, "{format}: {reply}");
        let rows = reply["rows"].as_array().unwrap_or_else(|| panic!("{reply}"));
        assert_eq!(rows.len(), 3, "{format}: {reply}");
        for row in rows {
            assert_eq!((&row[1], &row[3]), (&json!("****"), &json!("****")), "{format}: {reply}");
            assert_eq!((&row[4], &row[5]), (&json!(null), &json!("nothing")), "{format}: {reply}");
            assert!(!row[2].to_string().contains("4111"), "{format}: {reply}");
        }
    }
    // Without a column name or separators that say so, digits are digits.
    let reply = agent.sql("SELECT 178051120 AS quantity, '178051120' AS code");
    assert!(reply["rows"][0].to_string().matches("178051120").count() == 2, "{reply}");

    let evidence = Evidence::of(&world.marker);
    let line = evidence.line(&world.marker);
    let session = line["session"].as_str().unwrap_or_else(|| panic!("{line}"));
    let replay = frostgate(&["replay", &evidence.path(), "--session", session, "--rows"]);
    assert!(replay.ok, "{}", replay.err);
    for hidden in [
        "NOTE (CardNumber, 3 cells)",
        "PAYLOAD (SocialSecurityNumber, 3 cells)",
        "CREDENTIAL (Secret, 3 cells)",
    ] {
        assert!(replay.out.contains(hidden), "{hidden}: {}", replay.out);
    }
    let shown = replay.out.lines().filter(|line| line.trim_start().starts_with('|'));
    assert!(
        shown.clone().count() > 0 && shown.into_iter().all(|row| !row.contains("4111")),
        "{}",
        replay.out
    );
}
