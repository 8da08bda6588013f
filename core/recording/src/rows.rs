//! Rows: the recorded bytes of an answer as a table of text, for human eyes.

use std::{fmt::Write as _, io::Cursor};

use arrow_array::{Array, RecordBatch, StructArray, cast::AsArray as _, types};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, DataType, Field};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::entry::Format;

/// A table of text; absent is NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns; empty where the bytes do not say.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Option<String>>>,
}

/// The bytes are not what their entry says.
#[derive(Debug, thiserror::Error)]
pub enum NotATable {
    /// Not the JSON of an answer or a chunk.
    #[error("the answer is not the JSON it should be: {0}")]
    Json(#[from] serde_json::Error),
    /// Not base64.
    #[error("the answer's Arrow part is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// Not Arrow.
    #[error("the answer is not the Arrow it should be: {0}")]
    Arrow(#[from] ArrowError),
}

impl Table {
    /// Reads the bytes of a whole chunk.
    ///
    /// # Errors
    /// When they are not what `format` says.
    pub fn read(format: Format, bytes: &[u8]) -> Result<Self, NotATable> {
        match format {
            Format::Response => response(bytes),
            Format::JsonRows => {
                let rows: Vec<Value> = serde_json::from_slice(&[b"[", bytes, b"]"].concat())?;
                Ok(Self { columns: Vec::new(), rows: json_rows(&rows) })
            }
            Format::ArrowStream => arrow(bytes),
        }
    }
}

fn response(bytes: &[u8]) -> Result<Table, NotATable> {
    let answer: Value = serde_json::from_slice(bytes)?;
    let data = &answer["data"];
    let columns = data["rowtype"].as_array().map(Vec::as_slice).unwrap_or_default();
    let columns: Vec<String> = columns.iter().map(|it| text(&it["name"])).collect();
    if let Some(encoded) = data["rowsetBase64"].as_str().filter(|it| !it.is_empty()) {
        let table = arrow(&STANDARD.decode(encoded)?)?;
        return Ok(if columns.is_empty() { table } else { Table { columns, ..table } });
    }
    let rows = data["rowset"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Table { columns, rows: json_rows(rows) })
}

fn json_rows(rows: &[Value]) -> Vec<Vec<Option<String>>> {
    let cell = |value: &Value| (!value.is_null()).then(|| text(value));
    rows.iter()
        .map(|row| match row {
            Value::Array(cells) => cells.iter().map(cell).collect(),
            other => vec![cell(other)],
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn arrow(bytes: &[u8]) -> Result<Table, NotATable> {
    if bytes.is_empty() {
        return Ok(Table::default());
    }
    let reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let schema = reader.schema();
    let mut table = Table {
        columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
        rows: Vec::new(),
    };
    for batch in reader {
        table.rows.extend(batch_rows(&batch?)?);
    }
    Ok(table)
}

fn batch_rows(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>, ArrowError> {
    let options = FormatOptions::default();
    let schema = batch.schema();
    let mut rows = vec![Vec::with_capacity(batch.num_columns()); batch.num_rows()];
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let formatter = ArrayFormatter::try_new(column, &options)?;
        for (index, row) in rows.iter_mut().enumerate() {
            let cell = if column.is_null(index) {
                None
            } else if let Some(text) = snowflake_cell(field, column, index) {
                Some(text)
            } else {
                Some(formatter.value(index).try_to_string()?)
            };
            row.push(cell);
        }
    }
    Ok(rows)
}

/// Snowflake sends decimals as scaled integers and timestamps as seconds with a fraction; the field says so.
fn snowflake_cell(field: &Field, column: &dyn Array, index: usize) -> Option<String> {
    let logical = field.metadata().get("logicalType")?;
    let scale: u32 = field.metadata().get("scale").and_then(|it| it.parse().ok()).unwrap_or(0);
    if let Some(parts) = column.as_any().downcast_ref::<StructArray>() {
        let epoch = parts.column_by_name("epoch")?.as_primitive_opt::<types::Int64Type>()?;
        let fraction = parts.column_by_name("fraction")?.as_primitive_opt::<types::Int32Type>()?;
        return timestamp(epoch.value(index), fraction.value(index));
    }
    let number = integer(column, index)?;
    match logical.as_str() {
        "FIXED" | "TIME" if scale > 0 => Some(decimal(number, scale)),
        "TIMESTAMP_NTZ" | "TIMESTAMP_LTZ" => {
            let unit = 10_i64.checked_pow(scale)?;
            let nanos = 10_i64.checked_pow(9_u32.checked_sub(scale)?)?;
            let fraction = number.rem_euclid(unit) * nanos;
            timestamp(number.div_euclid(unit), i32::try_from(fraction).ok()?)
        }
        _ => None,
    }
}

fn integer(column: &dyn Array, index: usize) -> Option<i64> {
    Some(match column.data_type() {
        DataType::Int8 => column.as_primitive::<types::Int8Type>().value(index).into(),
        DataType::Int16 => column.as_primitive::<types::Int16Type>().value(index).into(),
        DataType::Int32 => column.as_primitive::<types::Int32Type>().value(index).into(),
        DataType::Int64 => column.as_primitive::<types::Int64Type>().value(index),
        _ => return None,
    })
}

fn decimal(number: i64, scale: u32) -> String {
    let digits = format!("{:0width$}", number.unsigned_abs(), width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{whole}.{fraction}")
}

fn timestamp(seconds: i64, nanos: i32) -> Option<String> {
    jiff::Timestamp::new(seconds, nanos).ok().map(|it| it.to_string())
}

impl Table {
    /// The table as text, each line indented, cells made safe for a terminal.
    #[must_use]
    pub fn render(&self, indent: &str) -> String {
        let head = (!self.columns.is_empty())
            .then(|| self.columns.iter().map(|it| Some(it.clone())).collect::<Vec<_>>());
        let lines: Vec<Vec<String>> = head
            .iter()
            .chain(&self.rows)
            .map(|row| {
                let cell = |it: &Option<String>| {
                    it.as_deref().map_or("NULL".to_owned(), crate::transcript::safe)
                };
                row.iter().map(cell).collect()
            })
            .collect();
        let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|it| it.chars().count()).max()
        };
        let widths: Vec<usize> =
            (0..columns).map(|column| width(column).unwrap_or(0).min(60)).collect();
        let mut out = String::new();
        for line in lines {
            let mut text = String::new();
            for (cell, width) in line.iter().zip(&widths) {
                // Writing to a String cannot fail.
                let _ = write!(text, "{cell:<width$}  ");
            }
            let _ = writeln!(out, "{indent}{}", text.trim_end());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_integer_reads_as_its_decimal() {
        let table = [
            (12345, 2, "123.45"),
            (-5, 2, "-0.05"),
            (0, 3, "0.000"),
            (i64::MIN, 1, "-922337203685477580.8"),
        ];
        for (number, scale, expected) in table {
            assert_eq!(decimal(number, scale), expected);
        }
    }

    #[test]
    fn a_json_chunk_has_no_outer_brackets() {
        let table = Table::read(Format::JsonRows, br#"["a",null],["b","2"]"#).unwrap();
        assert_eq!(table.rows.len(), 2);
        assert_eq!(table.rows[0], [Some("a".to_owned()), None]);
    }
}
