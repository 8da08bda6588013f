//! The SQL REST API: its requests as statements, its answers made of the drivers' answers.
//!
//! ```text
//! POST /api/v2/statements               -> 200 the first partition | 202 not done yet | 422 failed
//! GET  /api/v2/statements/{handle}      -> the same; with ?partition=n the rows of a further part
//! POST /api/v2/statements/{handle}/cancel
//! ```
//!
//! Snowflake's SQL API reference is the source of the field names and codes. Rows are the JSON cells that drivers get, in
//! the same spelling (`jsonv2`): days and seconds since the epoch, hexadecimal bytes; only truth values are words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::decode::{self, Limits, Malformed};
use crate::parameters::Parameter;
use crate::query::{self, Answer, QueryRequest};
use crate::rows::Column;
use crate::table::Row;
use crate::value::Kind;

/// The statement succeeded.
const DONE: &str = "090001";
/// It is not done yet.
const RUNNING: &str = "333334";
/// The SQLSTATE of a success.
const FINE: &str = "00000";

/// A request to run a statement, and where.
#[derive(Clone, Debug)]
pub struct StatementRequest {
    /// The statement as a driver would ask for it.
    pub query: QueryRequest,
    /// Where it runs: these requests know no session.
    pub place: Place,
}

/// Where a statement runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The role.
    pub role: Option<String>,
    /// The warehouse.
    pub warehouse: Option<String>,
    /// The database.
    pub database: Option<String>,
    /// The schema.
    pub schema: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    statement: String,
    timeout: Option<u64>,
    role: Option<String>,
    warehouse: Option<String>,
    database: Option<String>,
    schema: Option<String>,
    bindings: Option<Box<RawValue>>,
    parameters: Option<BTreeMap<String, Box<RawValue>>>,
    result_set_meta_data: Option<Wanted>,
}

/// How the rows are wanted: there is one form.
#[derive(Deserialize)]
struct Wanted {
    format: Option<String>,
}

impl StatementRequest {
    /// Reads the body; `asynchronous` is what the URL says.
    ///
    /// # Errors
    /// When it is no such request. A field that is not known is refused rather than ignored: it was written to have an
    /// effect.
    pub fn decode(body: &[u8], asynchronous: bool, limits: &Limits) -> Result<Self, Malformed> {
        decode::strict(body, limits)?;
        let body: Body = decode::from_slice(body)?;
        let format = body.result_set_meta_data.and_then(|wanted| wanted.format);
        if format.is_some_and(|format| !matches!(format.as_str(), "json" | "jsonv2")) {
            return Err(Malformed::Field("resultSetMetaData.format"));
        }
        let mut parameters: Vec<Parameter> = body
            .parameters
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| Parameter { name, value })
            .collect();
        if let Some(seconds) = body.timeout.filter(|seconds| *seconds > 0) {
            let value = RawValue::from_string(seconds.to_string());
            let value = value.map_err(|_| Malformed::Field("timeout"))?;
            parameters.push(Parameter { name: "STATEMENT_TIMEOUT_IN_SECONDS".to_owned(), value });
        }
        let bindings = body.bindings.filter(|raw| raw.get() != "null");
        let given = |name: Option<String>| name.filter(|name| !name.is_empty());
        Ok(Self {
            query: QueryRequest {
                sql: query::within(body.statement, limits)?,
                asynchronous,
                describe_only: false,
                sequence_id: None,
                submitted_ms: None,
                parameters,
                binds: query::binds(bindings.as_deref(), limits)?,
                bindings,
                bind_stage: None,
                query_context: None,
                described_job: None,
            },
            place: Place {
                role: given(body.role),
                warehouse: given(body.warehouse),
                database: given(body.database),
                schema: given(body.schema),
            },
        })
    }
}

/// What every answer about one statement says.
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    /// The statement's handle.
    pub handle: Uuid,
    /// The id of the request that brought it.
    pub request_id: &'a str,
    /// When it came, Unix milliseconds.
    pub created_ms: i64,
    /// Whether NULL is `null`; otherwise it is the text `"null"`, for clients that cannot tell.
    pub nullable: bool,
}

/// One part of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    row_count: u64,
    uncompressed_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compressed_size: Option<u64>,
}

impl Reply<'_> {
    /// The statement runs: come back to its URL.
    #[must_use]
    pub fn running(&self) -> Vec<u8> {
        let message = "Asynchronous execution in progress. Use provided query id to perform query monitoring and \
                       management.";
        Value::Object(self.status(RUNNING, message)).to_string().into_bytes()
    }

    /// It was cancelled.
    #[must_use]
    pub fn cancelled(&self) -> Vec<u8> {
        Value::Object(self.status(DONE, "Statement was cancelled.")).to_string().into_bytes()
    }

    /// It succeeded; `answer` is what a driver would read.
    ///
    /// # Errors
    /// When the rows came as Arrow, or are no rows.
    pub fn done(&self, answer: &Answer<'_>) -> Result<Vec<u8>, Malformed> {
        if answer.is_arrow()? {
            return Err(Malformed::Field("queryResultFormat"));
        }
        let columns = answer.columns()?;
        let rowset = answer.raw("rowset").unwrap_or("[]");
        let rows = self.rows(rowset, &columns)?;
        let first = Part {
            row_count: rows.len() as u64,
            uncompressed_size: rowset.len() as u64,
            compressed_size: None,
        };
        let further = answer.chunks()?.into_iter().map(|chunk| Part {
            row_count: chunk.row_count,
            uncompressed_size: chunk.uncompressed_size,
            compressed_size: Some(chunk.compressed_size),
        });
        let parts: Vec<Part> = std::iter::once(first).chain(further).collect();
        let raw = |name| answer.raw(name).and_then(|raw| serde_json::from_str::<Value>(raw).ok());
        let mut body = self.status(DONE, "Statement executed successfully.");
        body.insert(
            "resultSetMetaData".to_owned(),
            json!({
                "numRows": parts.iter().map(|part| part.row_count).sum::<u64>(),
                "format": "jsonv2",
                "partitionInfo": parts,
                "rowType": raw("rowtype").unwrap_or_else(|| json!([])),
            }),
        );
        body.insert("sqlState".to_owned(), json!(FINE));
        if let Some(stats) = raw("stats") {
            body.insert("stats".to_owned(), stats);
        }
        body.insert("data".to_owned(), json!(rows));
        let together = answer.result_ids()?;
        if !together.is_empty() {
            body.insert("statementHandles".to_owned(), json!(together));
        }
        Ok(Value::Object(body).to_string().into_bytes())
    }

    /// The rows of a further part: `chunk` is rows with commas between them, as drivers get it.
    ///
    /// # Errors
    /// When it is no such thing.
    pub fn partition(&self, chunk: &[u8], columns: &[Column]) -> Result<Vec<u8>, Malformed> {
        let list = [b"[", chunk, b"]"].concat();
        let list = std::str::from_utf8(&list).map_err(|_| Malformed::Field("rows"))?;
        let rows = self.rows(list, columns)?;
        Ok(json!({ "data": rows }).to_string().into_bytes())
    }

    fn rows(&self, list: &str, columns: &[Column]) -> Result<Vec<Row>, Malformed> {
        let mut rows: Vec<Row> = decode::from_slice(list.as_bytes())?;
        for row in &mut rows {
            if row.len() != columns.len() {
                return Err(Malformed::Field("rowset"));
            }
            for (cell, column) in row.iter_mut().zip(columns) {
                match cell.as_deref() {
                    None if !self.nullable => *cell = Some("null".to_owned()),
                    Some("1") if column.kind == Kind::Boolean => *cell = Some("true".to_owned()),
                    Some("0") if column.kind == Kind::Boolean => *cell = Some("false".to_owned()),
                    _ => {}
                }
            }
        }
        Ok(rows)
    }

    fn status(&self, code: &str, message: &str) -> serde_json::Map<String, Value> {
        let Self { handle, request_id, created_ms, .. } = self;
        let escaped: String = url::form_urlencoded::byte_serialize(request_id.as_bytes()).collect();
        let url = format!("/api/v2/statements/{handle}?requestId={escaped}");
        serde_json::Map::from_iter([
            ("code".to_owned(), json!(code)),
            ("message".to_owned(), json!(message)),
            ("statementHandle".to_owned(), json!(handle)),
            ("requestId".to_owned(), json!(request_id)),
            ("createdOn".to_owned(), json!(created_ms)),
            ("statementStatusUrl".to_owned(), json!(url)),
        ])
    }
}

/// A failure, in the form that callers of the REST API understand.
#[must_use]
pub fn failed(code: &str, sql_state: &str, message: &str, handle: Option<Uuid>) -> Vec<u8> {
    let mut body = json!({ "code": code, "sqlState": sql_state, "message": message });
    if let Some(handle) = handle {
        body["statementHandle"] = json!(handle);
    }
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLE: Uuid = Uuid::from_u128(0x01b2_c3d4_0000_4000_8000_0000_0000_0001);

    fn reply(nullable: bool) -> Reply<'static> {
        Reply { handle: HANDLE, request_id: "r 1", created_ms: 1_700_000_000_000, nullable }
    }

    fn decode(body: &str) -> Result<StatementRequest, Malformed> {
        StatementRequest::decode(body.as_bytes(), false, &Limits::default())
    }

    #[test]
    fn a_request_is_a_statement_and_a_place() {
        let request = decode(
            r#"{"statement":"SELECT ?","timeout":30,"database":"D","schema":"","warehouse":"W","role":"R",
                "bindings":{"1":{"type":"FIXED","value":"12345678901234567890"}},"parameters":{"query_tag":"t"}}"#,
        )
        .unwrap();
        assert_eq!(request.place.role.as_deref(), Some("R"));
        assert_eq!(request.place.schema, None);
        assert_eq!(request.query.binds.len(), 1);
        insta::assert_snapshot!(String::from_utf8(request.query.encode(1)).unwrap());
    }

    #[test]
    fn requests_that_are_none_are_refused() {
        for body in [
            "{}",
            r#"{"statement":1}"#,
            r#"{"statement":"a","statement":"b"}"#,
            r#"{"statement":"a","timeout":-1}"#,
            r#"{"statement":"a","surprise":1}"#,
            r#"{"statement":"a","bindings":[]}"#,
            r#"{"statement":"a","resultSetMetaData":{"format":"arrow"}}"#,
        ] {
            assert!(decode(body).is_err(), "{body}");
        }
    }

    const RESULT: &str = r#"{"data":{"rowtype":[{"name":"A","type":"boolean","nullable":true},{"name":"B","type":"text","nullable":true}],
        "rowset":[["1",null],["0","1"]],"total":3,"returned":3,"queryId":"01b2c3d4-0000-4000-8000-000000000009","queryResultFormat":"json",
        "chunks":[{"url":"/frostgate/chunks/x","rowCount":1,"uncompressedSize":9,"compressedSize":7}]},
        "code":null,"message":null,"success":true}"#;

    #[test]
    fn a_result_has_partitions_and_words_for_truth() {
        let answer = Answer::decode(RESULT.as_bytes()).unwrap();
        let done = reply(true).done(&answer).unwrap();
        let done: Value = serde_json::from_slice(&done).unwrap();
        insta::assert_json_snapshot!(done);
        let text = reply(false).done(&answer).unwrap();
        let text: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(text["data"][0][1], "null");
    }

    #[test]
    fn a_part_is_its_rows() {
        let columns = Answer::decode(RESULT.as_bytes()).unwrap().columns().unwrap();
        let part = reply(true).partition(br#"["1","x"],[null,"y"]"#, &columns).unwrap();
        assert_eq!(String::from_utf8(part).unwrap(), r#"{"data":[["true","x"],[null,"y"]]}"#);
        assert!(reply(true).partition(br#"["1"]"#, &columns).is_err());
        assert!(reply(true).partition(b"no rows", &columns).is_err());
    }

    #[test]
    fn what_is_not_done_names_where_to_come_back() {
        insta::assert_snapshot!(String::from_utf8(reply(true).running()).unwrap());
    }
}
