//! Bodies of answers: made from the bytes, or the bytes themselves.

use policy::Mask;
use serde_json::{Value, json};
use snowflake::query::{Answer, Edits};
use snowflake::rows;

use super::{Choices, MARKER, chosen, is_masked, layout};

#[test]
fn no_answer_shows_what_is_masked() {
    bolero::check!().with_iterations(0).for_each(check);
}

const WORDS: &[&str] = &[
    "fixed",
    "real",
    "text",
    "boolean",
    "date",
    "time",
    "timestamp_ntz",
    "timestamp_ltz",
    "timestamp_tz",
    "binary",
    "variant",
    "object",
    "array",
    "vector",
];

/// The first byte says how many columns, then come a type, a scale and a mask for each; the rest is an answer's body,
/// or cells with line feeds between them.
fn check(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let is_raw = choices.next() % 2 == 1;
    let mut masks = Vec::new();
    let mut types = Vec::new();
    for _ in 0..=choices.below(6) {
        masks.push(chosen(&mut choices));
        if !is_raw {
            types.push((WORDS[choices.below(WORDS.len())], choices.next()));
        }
    }
    if is_raw {
        through(choices.0, &masks);
        return;
    }
    let text = String::from_utf8_lossy(choices.0);
    let cells: Vec<&str> = text.split('\n').collect();
    let rows: Vec<Vec<Option<String>>> = cells
        .chunks_exact(types.len())
        .map(|row| {
            let cell = |(cell, mask): (&&str, &Option<Mask>)| match (*cell, mask) {
                ("", _) => None,
                ("m", Some(_)) => Some(MARKER.to_owned()),
                (cell, _) => Some(cell.replace(MARKER, "")),
            };
            row.iter().zip(&masks).map(cell).collect()
        })
        .collect();
    let rowtype: Vec<Value> = types
        .iter()
        .enumerate()
        .map(|(index, (word, scale))| {
            json!({"name": format!("C{index}"), "type": word, "scale": scale, "precision": 38, "nullable": false})
        })
        .collect();
    let body = json!({
        "data": {"rowtype": rowtype, "rowset": rows, "queryResultFormat": "json", "total": rows.len()},
        "success": true,
    });
    if let Some(masked) = through(body.to_string().as_bytes(), &masks) {
        assert!(!String::from_utf8_lossy(&masked).contains(MARKER), "the marker is still there");
    }
}

/// Masks the rows of an answer as the sidecar does, and looks at what came of it; `None` where it is refused.
fn through(body: &[u8], masks: &[Option<Mask>]) -> Option<Vec<u8>> {
    let answer = Answer::decode(body).ok()?;
    let columns = answer.columns().ok()?;
    let (width, layout) = (columns.len(), layout(columns, masks));
    let rows = match answer.raw("rowset") {
        Some(raw) if answer.success && !answer.is_arrow().ok()? => {
            Some(("rowset", rows::mask_rowset(raw.as_bytes(), &layout).ok()?.bytes))
        }
        _ => None,
    };
    let edits = Edits { rows: rows.clone(), chunks: answer.chunks().ok()?, message: None };
    let encoded = answer.encode(&layout, &edits).ok()?;
    let written: Value = serde_json::from_slice(&encoded).expect("what was written can be read");
    assert_eq!(written["success"], answer.success);
    if rows.is_some() {
        let before: Vec<Vec<Option<String>>> =
            serde_json::from_str(answer.raw("rowset")?).expect("what was masked can be read");
        let after: Vec<Vec<Option<String>>> =
            serde_json::from_value(written["data"]["rowset"].clone()).expect("rows were written");
        assert_eq!(before.len(), after.len());
        for position in 0..width {
            let cells = before
                .iter()
                .zip(&after)
                .map(|(before, after)| (before[position].clone(), after[position].clone()));
            match masks.get(position) {
                Some(Some(mask)) => is_masked(mask, &cells.collect::<Vec<_>>()),
                _ => assert!(cells.into_iter().all(|(before, after)| before == after)),
            }
        }
    }
    Some(encoded)
}
