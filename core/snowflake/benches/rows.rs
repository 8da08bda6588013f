//! What it costs to read requests and answers and to mask rows, as ratios in the same run: to an untyped reading of the
//! same JSON, and to arrow-rs decoding and encoding the same stream.

#![expect(clippy::expect_used, reason = "a program that ends where its own input is wrong")]

// The sidecar's own; it needs nothing else of the sidecar.
#[allow(dead_code, unused_imports, reason = "only its masks are of interest here")]
#[path = "../../../proxy/src/statement/rows/mask.rs"]
mod mask;
#[path = "../../measure.rs"]
mod measure;

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};
use policy::MaskKey;
use policy::document::MaskMethod;
use serde_json::{Value, json};
use snowflake::Limits;
use snowflake::query::{Answer, QueryRequest};
use snowflake::rows::{Layout, columns, mask_rowset, mask_stream};

use mask::ColumnMask;
use measure::measure;

const ROWS: usize = 20_000;

/// The rows that are measured, column by column: two of them, a text and a number, are masked.
const COLUMNS: &str = r#"[
    {"name":"EMAIL","type":"text"}, {"name":"BALANCE","type":"fixed","precision":18,"scale":0},
    {"name":"ID","type":"fixed","precision":18,"scale":0}, {"name":"NAME","type":"text"},
    {"name":"CITY","type":"text"}, {"name":"TOTAL","type":"fixed","precision":38,"scale":2},
    {"name":"SCORE","type":"real"}, {"name":"TIER","type":"fixed","precision":9,"scale":0}
]"#;

fn main() {
    let request = json!({
        "sqlText": "SELECT id, name, email FROM customers WHERE id IN (1, 2, 3) ORDER BY name",
        "asyncExec": false, "sequenceId": 7, "querySubmissionTime": 1_763_726_400_000_u64,
        "bindings": {"1": {"type": "FIXED", "value": "17"}, "2": {"type": "TEXT", "value": "somebody"}},
        "parameters": {"QUERY_TAG": "bench"},
    })
    .to_string();
    let limits = Limits::default();
    measure(
        "read a request",
        "serde_json",
        // As often as it takes for the clock to tell.
        [vec![request; 100]],
        |requests| {
            for request in requests {
                black_box(QueryRequest::decode(request.as_bytes(), &limits)).expect("a request");
            }
        },
        |requests| {
            for request in requests {
                black_box(serde_json::from_str::<Value>(request)).expect("JSON");
            }
        },
    );
    let rowset = rowset();
    let answer = format!(
        r#"{{"data":{{"rowtype":{COLUMNS},"rowset":{rowset},"queryResultFormat":"json"}},"success":true}}"#
    );
    measure(
        "read an answer of 20,000 rows",
        "serde_json",
        [answer],
        |answer| {
            black_box(Answer::decode(answer.as_bytes())).expect("an answer");
        },
        |answer| untyped(answer),
    );
    let stream = stream();
    let masks = [
        ("nothing", None),
        ("null", Some(MaskMethod::Null)),
        ("full", Some(MaskMethod::Full)),
        ("partial", Some(MaskMethod::Partial { keep_first: 1, keep_last: 2 })),
        ("hash", Some(MaskMethod::Hash { domain: None })),
    ];
    for (name, method) in &masks {
        let layout = layout(method.as_ref());
        measure(
            &format!("mask 2 of 8 columns of Arrow: {name}"),
            "arrow-rs decoding and encoding",
            [&stream],
            |stream| {
                black_box(mask_stream(stream, &layout)).expect("rows");
            },
            |stream| again(stream),
        );
    }
    for (name, method) in &masks {
        let layout = layout(method.as_ref());
        measure(
            &format!("mask 2 of 8 columns of JSON: {name}"),
            "serde_json",
            [&rowset],
            |rowset| {
                black_box(mask_rowset(rowset.as_bytes(), &layout)).expect("rows");
            },
            |rowset| untyped(rowset),
        );
    }
}

fn layout(method: Option<&MaskMethod>) -> Layout {
    let mut layout = Layout::plain(columns(COLUMNS).expect("columns"));
    if let Some(method) = method {
        let mask =
            policy::Mask { method: method.clone(), domain: "D.S.T.C".into(), derived: false };
        let key = MaskKey::new(b"a key for measuring only, 32 by.");
        for position in [0, 1] {
            let column = &layout.columns[position];
            layout.masks[position] =
                Some(Arc::new(ColumnMask::new(mask.clone(), key.clone(), column)));
        }
    }
    layout
}

fn email(row: usize) -> String {
    format!("somebody.{row}@example.com")
}

fn balance(row: usize) -> i64 {
    i64::try_from(row).unwrap_or_default() * 7919 - 1_000_000
}

fn stream() -> Vec<u8> {
    let whole = |row: usize| i64::try_from(row).unwrap_or_default();
    let totals: Decimal128Array = (0..ROWS).map(|row| Some(i128::from(whole(row)) * 101)).collect();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values((0..ROWS).map(email))),
        Arc::new(Int64Array::from_iter_values((0..ROWS).map(balance))),
        Arc::new(Int64Array::from_iter_values((0..ROWS).map(whole))),
        Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("Somebody {row}")))),
        Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| ["Lodz", "Lima"][row % 2]))),
        Arc::new(totals.with_precision_and_scale(38, 2).expect("38 digits")),
        Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| 0.5 + f64::from(row as u32)))),
        Arc::new(Int32Array::from_iter_values((0..ROWS).map(|row| (row % 4) as i32))),
    ];
    let fields: Vec<Field> = arrays
        .iter()
        .enumerate()
        .map(|(index, array)| Field::new(format!("C{index}"), array.data_type().clone(), true))
        .collect();
    write(&[RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a batch")])
}

fn write(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer =
        StreamWriter::try_new(Vec::with_capacity(4 << 20), &batches[0].schema()).expect("a writer");
    for batch in batches {
        writer.write(batch).expect("a batch");
    }
    writer.into_inner().expect("a stream")
}

/// What everybody must do who only passes a stream on batch by batch.
fn again(stream: &[u8]) {
    let reader = StreamReader::try_new(stream, None).expect("a stream");
    let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("a batch")).collect();
    black_box(write(&batches));
}

fn rowset() -> String {
    let rows: Vec<Value> = (0..ROWS)
        .map(|row| {
            json!([
                email(row),
                balance(row).to_string(),
                row.to_string(),
                format!("Somebody {row}"),
                "Lodz",
                format!("{row}.01"),
                format!("{row}.5"),
                (row % 4).to_string(),
            ])
        })
        .collect();
    Value::from(rows).to_string()
}

fn untyped(text: &str) {
    black_box(serde_json::from_str::<Value>(text)).expect("JSON");
}
