//! Arrow streams: made from the bytes and then damaged by them, or the bytes themselves.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, ListArray,
    NullArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::{Buffer, NullBuffer};
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};
use policy::Mask;
use snowflake::rows::{self, Column};

use super::{Choices, MARKER, chosen, is_masked, layout};

#[test]
fn no_arrow_stream_shows_what_is_masked() {
    bolero::check!().with_iterations(0).for_each(check);
}

/// How the account writes one type: the word of the row type, the scale, and the array.
type Encoding = (&'static str, u32, fn(&[Option<u8>]) -> ArrayRef);

const ENCODINGS: &[Encoding] = &[
    ("fixed", 0, |cells| {
        Arc::new(Int8Array::from_iter(cells.iter().map(|cell| cell.map(|byte| byte as i8))))
    }),
    ("fixed", 0, |cells| {
        Arc::new(Int16Array::from_iter(
            cells.iter().map(|cell| cell.map(|byte| i16::from(byte) * 128)),
        ))
    }),
    ("fixed", 2, |cells| {
        Arc::new(Int32Array::from_iter(
            cells.iter().map(|cell| cell.map(|byte| i32::from(byte) << 23)),
        ))
    }),
    ("fixed", 0, |cells| Arc::new(Int64Array::from_iter(cells.iter().map(|cell| cell.map(wide))))),
    ("fixed", 5, |cells| {
        let array: Decimal128Array =
            cells.iter().map(|cell| cell.map(|byte| i128::from(wide(byte)) << 56)).collect();
        Arc::new(array.with_precision_and_scale(38, 5).unwrap())
    }),
    ("real", 0, |cells| {
        Arc::new(Float64Array::from_iter(
            cells.iter().map(|cell| cell.map(|byte| f64::from_bits(u64::from(byte) << 56))),
        ))
    }),
    ("text", 0, |cells| Arc::new(StringArray::from_iter(cells.iter().map(|cell| cell.map(text))))),
    ("text", 0, |cells| {
        Arc::new(LargeStringArray::from_iter(cells.iter().map(|cell| cell.map(text))))
    }),
    ("text", 0, |cells| {
        Arc::new(DictionaryArray::<Int32Type>::from_iter(cells.iter().map(|cell| cell.map(text))))
    }),
    ("variant", 0, |cells| {
        Arc::new(StringArray::from_iter(cells.iter().map(|cell| cell.map(text))))
    }),
    ("boolean", 0, |cells| {
        Arc::new(BooleanArray::from_iter(cells.iter().map(|cell| cell.map(|byte| byte % 2 == 0))))
    }),
    ("date", 0, |cells| {
        Arc::new(Date32Array::from_iter(
            cells.iter().map(|cell| cell.map(|byte| i32::from(byte) << 24)),
        ))
    }),
    ("time", 3, |cells| {
        Arc::new(Int32Array::from_iter(
            cells.iter().map(|cell| cell.map(|byte| i32::from(byte) << 20)),
        ))
    }),
    ("time", 9, |cells| Arc::new(Int64Array::from_iter(cells.iter().map(|cell| cell.map(wide))))),
    ("timestamp_ntz", 3, |cells| {
        Arc::new(Int64Array::from_iter(cells.iter().map(|cell| cell.map(wide))))
    }),
    ("timestamp_ltz", 9, |cells| parts(&["epoch", "fraction"], cells)),
    ("timestamp_tz", 9, |cells| parts(&["epoch", "fraction", "timezone"], cells)),
    ("timestamp_tz", 0, |cells| parts(&["epoch", "timezone"], cells)),
    ("binary", 0, |cells| {
        Arc::new(BinaryArray::from_iter(cells.iter().map(|cell| cell.map(text))))
    }),
    ("array", 0, |cells| {
        let lists = cells.iter().map(|cell| cell.map(|byte| [Some(i32::from(byte)), None]));
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))
    }),
    // What the account does not do, or not yet.
    ("text", 0, |cells| Arc::new(NullArray::new(cells.len()))),
    ("fixed", 0, |cells| Arc::new(StringArray::from_iter(cells.iter().map(|cell| cell.map(text))))),
    ("timestamp_tz", 9, |cells| {
        Arc::new(Int64Array::from_iter(cells.iter().map(|cell| cell.map(wide))))
    }),
];

fn wide(byte: u8) -> i64 {
    i64::from_be_bytes([byte; 8])
}

fn text(byte: u8) -> &'static str {
    const TEXTS: [&str; 8] = [
        MARKER,
        "somebody@example.com",
        "",
        "ann",
        "{\"a\": [1, null]}",
        "Łódź 4111-1111",
        "x@y@z.w",
        "\0",
    ];
    TEXTS[usize::from(byte) % TEXTS.len()]
}

/// A timestamp taken apart.
fn parts(names: &[&str], cells: &[Option<u8>]) -> ArrayRef {
    let part = |name: &&str| -> (Field, ArrayRef) {
        let values = cells.iter().map(|cell| cell.unwrap_or(0));
        let array: ArrayRef = match *name {
            "epoch" => Arc::new(Int64Array::from_iter_values(values.map(wide))),
            // Some of them no offsets and no nanoseconds at all.
            _ => Arc::new(Int32Array::from_iter_values(
                values.map(|byte| i32::from(byte as i8) << 24 | 1440),
            )),
        };
        (Field::new(*name, array.data_type().clone(), true), array)
    };
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = names.iter().map(part).unzip();
    let nulls: NullBuffer = cells.iter().map(Option::is_some).collect();
    Arc::new(StructArray::new(Fields::from(fields), arrays, Some(nulls)))
}

/// A masked column never holds the marker, and a plain one always may.
fn cells(choices: &mut Choices<'_>, rows: usize, masked: bool) -> Vec<Option<u8>> {
    let cell = |byte: u8| (!byte.is_multiple_of(5)).then_some(if masked { byte } else { byte | 1 });
    (0..rows).map(|_| cell(choices.next())).collect()
}

fn check(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let is_raw = choices.next() % 4 == 1;
    let mut columns = Vec::new();
    let mut masks = Vec::new();
    let mut encodings = Vec::new();
    for _ in 0..=choices.below(6) {
        let encoding = &ENCODINGS[choices.below(ENCODINGS.len())];
        encodings.push(encoding);
        columns.push(format!(
            r#"{{"name":"C{}","type":"{}","scale":{},"precision":38,"nullable":true}}"#,
            columns.len(),
            encoding.0,
            encoding.1
        ));
        masks.push(chosen(&mut choices));
    }
    let columns = rows::columns(&format!("[{}]", columns.join(","))).unwrap();
    if is_raw {
        through(choices.0, columns, &masks);
        return;
    }
    let mut batches = Vec::new();
    for _ in 0..=choices.below(3) {
        let rows = choices.below(12);
        let arrays = encodings
            .iter()
            .zip(&masks)
            .map(|((.., build), mask)| build(&cells(&mut choices, rows, mask.is_some())))
            .collect::<Vec<ArrayRef>>();
        batches.push(arrays);
    }
    let mut stream = stream(&batches);
    let damage: Vec<&[u8]> = choices.0.chunks(3).collect();
    for piece in &damage {
        match piece {
            [high, low, value] => {
                let at = usize::from(u16::from_be_bytes([*high, *low])) % stream.len();
                stream[at] ^= value;
            }
            [cut] => stream.truncate(stream.len() - usize::from(*cut) % stream.len()),
            _ => {}
        }
    }
    let masked = through(&stream, columns, &masks);
    if damage.is_empty() {
        let masked = masked.expect("a whole stream is masked");
        let shows = masked.windows(MARKER.len()).any(|window| window == MARKER.as_bytes());
        assert!(!shows, "the marker is still in the stream");
    }
}

fn stream(batches: &[Vec<ArrayRef>]) -> Vec<u8> {
    let fields: Vec<Field> = batches[0]
        .iter()
        .enumerate()
        .map(|(index, array)| Field::new(format!("C{index}"), array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    for arrays in batches {
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), arrays.clone()).unwrap()).unwrap();
    }
    writer.into_inner().unwrap()
}

/// Masks a stream and looks at what came of it; `None` where it is refused.
fn through(stream: &[u8], columns: Vec<Column>, masks: &[Option<Mask>]) -> Option<Vec<u8>> {
    let masked = rows::mask_stream(stream, &layout(columns, masks)).ok()?;
    let before = read(stream).expect("what was masked can be read");
    let after = read(&masked.bytes).expect("what was written can be read");
    assert_eq!(before.len(), after.len());
    let rows: usize = after.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows as u64, masked.rows);
    for (position, mask) in masks.iter().enumerate() {
        let mut shown = Vec::new();
        for (before, after) in before.iter().zip(&after) {
            let (before, after) = (before.column(position), after.column(position));
            match mask {
                None => assert_eq!(before, after, "column {position} has no mask"),
                Some(_) => shown.extend(texts(before).into_iter().zip(texts(after))),
            }
        }
        if let Some(mask) = mask {
            is_masked(mask, &shown);
        }
    }
    Some(masked.bytes)
}

/// Reads as the sidecar does: a reader that pulls is stricter about messages of no type.
fn read(stream: &[u8]) -> Result<Vec<RecordBatch>, ArrowError> {
    let (mut decoder, mut bytes, mut batches) =
        (StreamDecoder::new(), Buffer::from(stream), Vec::new());
    while !bytes.is_empty() {
        batches.extend(decoder.decode(&mut bytes)?);
    }
    decoder.finish()?;
    Ok(batches)
}

/// An array as texts, row by row; a dictionary is read through its keys.
fn texts(array: &ArrayRef) -> Vec<Option<String>> {
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        let values = texts(dictionary.values());
        let keys = if values.is_empty() { Vec::new() } else { dictionary.normalized_keys() };
        let value = |row| if array.is_null(row) { None } else { values[keys[row]].clone() };
        return (0..array.len()).map(value).collect();
    }
    let nulls = array.logical_nulls();
    let text = |row| match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).to_owned(),
        _ => format!("{:?}", array.slice(row, 1)),
    };
    (0..array.len())
        .map(|row| (!nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))).then(|| text(row)))
        .collect()
}
