//! Running a statement: the request, and the answer field by field.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::chunks::{self, Chunk};
use crate::decode::{self, Limits, Malformed};
use crate::login::SessionInfo;
use crate::parameters::{self, Parameter, STATEMENT_COUNT};
use crate::rows::{self, Column, Layout};

/// A driver's request to run a statement.
#[derive(Clone, Debug, Default)]
pub struct QueryRequest {
    /// The SQL.
    pub sql: String,
    /// The driver comes back later for the result.
    pub asynchronous: bool,
    /// Only the columns are asked for.
    pub describe_only: bool,
    /// The driver's counter.
    pub sequence_id: Option<i64>,
    /// When the driver sent it, Unix milliseconds.
    pub submitted_ms: Option<i64>,
    /// Parameters for this statement alone.
    pub parameters: Vec<Parameter>,
    /// Binds as they were sent, and decoded.
    pub bindings: Option<Box<RawValue>>,
    /// The binds, decoded.
    pub binds: Vec<Bind>,
    /// A stage with uploaded binds.
    pub bind_stage: Option<String>,
    /// Opaque context of the account.
    pub query_context: Option<Box<RawValue>>,
    /// Query id of an earlier describe.
    pub described_job: Option<String>,
}

/// One bind.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// Position (`1`) or name.
    pub name: String,
    /// Type, such as `TEXT`.
    pub data_type: String,
    /// Text, null, or a list of them.
    pub value: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    sql_text: String,
    async_exec: Option<bool>,
    describe_only: Option<bool>,
    sequence_id: Option<i64>,
    query_submission_time: Option<i64>,
    parameters: Option<BTreeMap<String, Box<RawValue>>>,
    bindings: Option<Box<RawValue>>,
    bind_stage: Option<String>,
    #[serde(rename = "queryContextDTO")]
    query_context: Option<Box<RawValue>>,
    described_job_id: Option<String>,
}

#[derive(Deserialize)]
struct RawBind {
    #[serde(rename = "type")]
    data_type: String,
    value: Option<serde_json::Value>,
}

impl QueryRequest {
    /// Reads the body.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, Malformed> {
        decode::strict(body, limits)?;
        let body: Body = decode::from_slice(body)?;
        let bindings = body.bindings.filter(|raw| raw.get() != "null");
        let binds = binds(bindings.as_deref(), limits)?;
        let parameters = body.parameters.unwrap_or_default();
        Ok(Self {
            sql: within(body.sql_text, limits)?,
            asynchronous: body.async_exec.unwrap_or(false),
            describe_only: body.describe_only.unwrap_or(false),
            sequence_id: body.sequence_id,
            submitted_ms: body.query_submission_time,
            parameters: parameters
                .into_iter()
                .map(|(name, value)| Parameter { name, value })
                .collect(),
            bindings,
            binds,
            bind_stage: body.bind_stage.filter(|stage| !stage.is_empty()),
            query_context: body.query_context,
            described_job: body.described_job_id,
        })
    }

    /// What makes two requests the same request: everything that gives the statement its meaning.
    #[must_use]
    pub fn identity(&self) -> Vec<u8> {
        let raw = |raw: &Option<Box<RawValue>>| raw.as_ref().map(|raw| raw.get().to_owned());
        let parameters: Vec<(&str, &str)> = self
            .parameters
            .iter()
            .map(|parameter| (parameter.name.as_str(), parameter.value.get()))
            .collect();
        let identity = (
            &self.sql,
            raw(&self.bindings),
            &self.bind_stage,
            parameters,
            self.describe_only,
            self.asynchronous,
        );
        // Text, lists and truth values: serializing them cannot fail.
        serde_json::to_vec(&identity).unwrap_or_default()
    }

    /// The body for the account: re-serialized from what was understood, opaque parts as they came. The account is
    /// always asked to wait: who comes back later comes back to us. It is told how many statements were counted, and
    /// refuses where it counts others.
    #[must_use]
    pub fn encode(&self, statements: usize) -> Vec<u8> {
        self.write(false, serde_json::value::to_raw_value(&statements).ok().as_deref())
    }

    /// The body as its driver sent it, as far as it was understood: reading it gives this again.
    #[must_use]
    pub fn keep(&self) -> Vec<u8> {
        self.write(self.asynchronous, None)
    }

    fn write(&self, asynchronous: bool, count: Option<&RawValue>) -> Vec<u8> {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Out<'a> {
            sql_text: &'a str,
            async_exec: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            sequence_id: Option<i64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            query_submission_time: Option<i64>,
            // Internal statements are judged elsewhere; nothing a client says makes one.
            is_internal: bool,
            describe_only: bool,
            parameters: BTreeMap<&'a str, &'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            bindings: Option<&'a RawValue>,
            #[serde(rename = "queryContextDTO", skip_serializing_if = "Option::is_none")]
            query_context: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            described_job_id: Option<&'a str>,
            disable_offline_chunks: bool,
        }
        let mut parameters: BTreeMap<&str, &RawValue> = self
            .parameters
            .iter()
            .map(|parameter| (parameter.name.as_str(), &*parameter.value))
            .collect();
        if let Some(count) = count {
            parameters.insert(STATEMENT_COUNT, count);
        }
        let out = Out {
            sql_text: &self.sql,
            async_exec: asynchronous,
            sequence_id: self.sequence_id,
            query_submission_time: self.submitted_ms,
            is_internal: false,
            describe_only: self.describe_only,
            parameters,
            bindings: self.bindings.as_deref(),
            query_context: self.query_context.as_deref(),
            described_job_id: self.described_job.as_deref(),
            disable_offline_chunks: false,
        };
        serde_json::to_vec(&out).unwrap_or_default()
    }
}

/// The SQL text, if it is no longer than it may be.
pub(crate) fn within(sql: String, limits: &Limits) -> Result<String, Malformed> {
    if sql.len() > limits.sql {
        return Err(Malformed::TooLarge { what: "the SQL text", limit: limits.sql });
    }
    Ok(sql)
}

/// Binds, decoded.
pub(crate) fn binds(raw: Option<&RawValue>, limits: &Limits) -> Result<Vec<Bind>, Malformed> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let entries: IndexMap<String, RawBind> = decode::from_slice(raw.get().as_bytes())?;
    if entries.len() > limits.binds {
        return Err(Malformed::TooLarge { what: "the number of binds", limit: limits.binds });
    }
    let scalar = |value: &serde_json::Value| value.is_string() || value.is_null();
    entries
        .into_iter()
        .map(|(name, RawBind { data_type, value })| {
            let value = value.unwrap_or_default();
            let fits = match &value {
                serde_json::Value::Array(items) => items.iter().all(scalar),
                single => scalar(single),
            };
            if !fits {
                return Err(Malformed::Field("bindings"));
            }
            Ok(Bind { name, data_type, value })
        })
        .collect()
}

/// One row with one text, as the account answers a call of a function; for what is answered without it.
#[must_use]
pub fn one_text(query_id: uuid::Uuid, column: &str, text: &str, stands: &SessionInfo) -> Vec<u8> {
    let column = serde_json::json!({
        "name": column, "database": "", "schema": "", "table": "", "type": "text", "nullable": true,
        "length": 16_777_216, "byteLength": 16_777_216, "precision": null, "scale": null, "collation": null,
    });
    crate::error::success(&serde_json::json!({
        "parameters": [],
        "rowtype": [column],
        "rowset": [[text]],
        "queryResultFormat": "json",
        "total": 1,
        "returned": 1,
        "queryId": query_id,
        "databaseProvider": null,
        "finalDatabaseName": stands.database_name,
        "finalSchemaName": stands.schema_name,
        "finalWarehouseName": stands.warehouse_name,
        "finalRoleName": stands.role_name,
        "numberOfBinds": 0,
        "arrayBindSupported": false,
        "statementTypeId": 0x1000,
        "version": 1,
    }))
}

/// The account's answer to a statement, borrowed from its bytes.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Whether it succeeded; in progress counts as success.
    pub success: bool,
    /// The account's code.
    pub code: Option<String>,
    /// The account's words.
    pub message: Option<String>,
    data: Fields<'a>,
}

/// The fields of an object, each once, their values untouched.
#[derive(Debug, Default)]
struct Fields<'a>(IndexMap<Cow<'a, str>, &'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
                Ok(Fields::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = IndexMap::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if fields.insert(Cow::Owned(key), value).is_some() {
                        return Err(A::Error::custom("a field is given twice"));
                    }
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_any(Collect)
    }
}

/// What an answer says about the statement's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is not done; the result will be at this path.
    Running {
        /// `/queries/<id>/result`.
        path: String,
    },
    /// It is done.
    Done,
}

/// The fields of a final answer that a driver gets; everything else (stage credentials above all) stays here.
const PASSED: &[&str] = &[
    "parameters",
    "rowtype",
    "rowset",
    "rowsetBase64",
    "total",
    "returned",
    "queryId",
    "sqlState",
    "databaseProvider",
    "finalDatabaseName",
    "finalSchemaName",
    "finalWarehouseName",
    "finalRoleName",
    "numberOfBinds",
    "arrayBindSupported",
    "metaDataOfBinds",
    "statementTypeId",
    "version",
    "sendResultTime",
    "queryResultFormat",
    "queryContext",
    "stats",
    "resultIds",
    "resultTypes",
];

/// The fields of a failure that a driver gets.
const PASSED_ON_FAILURE: &[&str] = &[
    "internalError",
    "unredactedFromSecureObject",
    "errorCode",
    "age",
    "sqlState",
    "queryId",
    "line",
    "pos",
    "type",
    "queryContext",
];

/// Whether a field says what its name promises: words where there could be a sentence about values stay here.
fn says_no_more(name: &str, raw: &str) -> bool {
    let is_number = |raw: &str| raw.parse::<f64>().is_ok();
    match name {
        "errorCode" | "sqlState" | "type" | "databaseProvider" => {
            let word = raw.trim_matches('"');
            word.len() <= 32
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }
        "resultIds" | "resultTypes" => {
            let list = raw.trim_matches('"');
            list.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b','))
        }
        "internalError" | "unredactedFromSecureObject" | "arrayBindSupported" => {
            matches!(raw, "true" | "false" | "null")
        }
        "age" | "line" | "pos" | "total" | "returned" | "numberOfBinds" | "statementTypeId"
        | "version" | "sendResultTime" => raw == "null" || is_number(raw),
        "stats" => serde_json::from_str::<BTreeMap<&str, &RawValue>>(raw)
            .is_ok_and(|stats| stats.values().all(|count| is_number(count.get()))),
        _ => true,
    }
}

impl<'a> Answer<'a> {
    /// Reads an answer.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(borrow, default)]
            data: Fields<'a>,
            code: Option<Cow<'a, str>>,
            message: Option<Cow<'a, str>>,
            success: bool,
        }
        let envelope: Envelope<'a> = decode::from_slice(body)?;
        Ok(Self {
            success: envelope.success,
            code: envelope.code.map(Cow::into_owned),
            message: envelope.message.map(Cow::into_owned),
            data: envelope.data,
        })
    }

    /// A field's raw JSON; null counts as absent.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.data.0.get(name).map(|value| value.get()).filter(|raw| *raw != "null")
    }

    /// A field, decoded.
    pub fn get<T: Deserialize<'a>>(&self, name: &'static str) -> Result<Option<T>, Malformed> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(raw).map(Some).map_err(|_| Malformed::Field(name))
    }

    /// Whether the statement is done.
    pub fn progress(&self) -> Result<Progress, Malformed> {
        let pending = matches!(self.code.as_deref(), Some("333333" | "333334"));
        let path: Option<String> = self.get("getResultUrl")?;
        match path {
            Some(path) if pending => Ok(Progress::Running { path }),
            None if pending => Err(Malformed::Field("getResultUrl")),
            _ => Ok(Progress::Done),
        }
    }

    /// The account's id of the statement.
    pub fn query_id(&self) -> Result<Option<uuid::Uuid>, Malformed> {
        self.get("queryId")
    }

    /// The account's ids of the statements that ran together, in order; none for a statement that ran alone.
    pub fn result_ids(&self) -> Result<Vec<uuid::Uuid>, Malformed> {
        let ids: Option<Cow<'_, str>> = self.get("resultIds")?;
        let ids = ids.unwrap_or_default();
        let ids = ids.split(',').map(str::trim).filter(|id| !id.is_empty());
        ids.map(|id| uuid::Uuid::try_parse(id).map_err(|_| Malformed::Field("resultIds"))).collect()
    }

    /// The columns of the result, if it has any.
    pub fn columns(&self) -> Result<Vec<Column>, Malformed> {
        self.raw("rowtype").map_or(Ok(Vec::new()), rows::columns)
    }

    /// The further parts of a large result.
    pub fn chunks(&self) -> Result<Vec<Chunk>, Malformed> {
        Ok(self.get("chunks")?.unwrap_or_default())
    }

    /// The headers that a GET of a chunk needs.
    pub fn chunk_headers(&self) -> Result<BTreeMap<String, String>, Malformed> {
        let qrmk: Option<String> = self.get("qrmk")?;
        Ok(chunks::headers(self.get("chunkHeaders")?, qrmk.as_deref()))
    }

    /// Whether rows come as Arrow.
    pub fn is_arrow(&self) -> Result<bool, Malformed> {
        let format: Option<Cow<'_, str>> = self.get("queryResultFormat")?;
        Ok(format.is_some_and(|format| format.eq_ignore_ascii_case("arrow")))
    }

    /// SQLSTATE of a failure: five letters and digits, or it is none.
    #[must_use]
    pub fn sql_state(&self) -> Option<String> {
        let state: Option<String> = self.get("sqlState").ok().flatten();
        state.filter(|state| {
            state.len() == 5 && state.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    }

    /// Whether the account wants the driver to move files: it carries stage credentials.
    #[must_use]
    pub fn is_transfer(&self) -> bool {
        self.raw("stageInfo").is_some() || self.raw("encryptionMaterial").is_some()
    }

    /// Where the session stands after the statement, as far as the answer says so.
    pub fn state(&self) -> Result<SessionInfo, Malformed> {
        Ok(SessionInfo {
            database_name: self.get("finalDatabaseName")?,
            schema_name: self.get("finalSchemaName")?,
            warehouse_name: self.get("finalWarehouseName")?,
            role_name: self.get("finalRoleName")?,
        })
    }

    /// Session parameters that the answer reports.
    pub fn parameters(&self) -> Result<Vec<Parameter>, Malformed> {
        Ok(self.get("parameters")?.unwrap_or_default())
    }

    /// The answer for the driver: known fields as they came, `edits` in their place, chunks by their new names.
    pub fn encode(&self, layout: &Layout, edits: &Edits) -> Result<Vec<u8>, Malformed> {
        let rowtype = match self.raw("rowtype") {
            Some(rowtype) => rows::rewritten(rowtype, layout)?,
            None => None,
        };
        let parameters = match self.raw("parameters").filter(|raw| parameters::names_ours(raw)) {
            Some(_) => {
                let ours = parameters::with_ours(&self.parameters()?, false);
                Some(serde_json::to_vec(&ours).map_err(|_| Malformed::Field("parameters"))?)
            }
            None => None,
        };
        let passed = if self.success { PASSED } else { PASSED_ON_FAILURE };
        let mut out =
            Vec::with_capacity(1024 + edits.rows.as_ref().map_or(0, |(_, raw)| raw.len()));
        out.extend_from_slice(b"{\"data\":{");
        let mut first = true;
        let mut field = |out: &mut Vec<u8>, name: &str, raw: &[u8]| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(raw);
        };
        for (name, value) in &self.data.0 {
            let raw = match (name.as_ref(), &rowtype, &edits.rows) {
                ("rowtype", Some(rowtype), _) => rowtype.as_bytes(),
                ("parameters", ..) if parameters.is_some() => {
                    parameters.as_deref().unwrap_or_default()
                }
                (name, _, Some((replaced, rows))) if name == *replaced => rows,
                (name, ..) if passed.contains(&name) && says_no_more(name, value.get()) => {
                    value.get().as_bytes()
                }
                _ => continue,
            };
            field(&mut out, name, raw);
        }
        if !edits.chunks.is_empty() {
            let chunks =
                serde_json::to_vec(&edits.chunks).map_err(|_| Malformed::Field("chunks"))?;
            field(&mut out, "chunks", &chunks);
        }
        let code = self.code.as_deref().filter(|code| code.parse::<u32>().is_ok());
        let tail =
            serde_json::json!({ "code": code, "message": edits.message, "success": self.success });
        let tail = tail.to_string();
        out.extend_from_slice(b"},");
        out.extend_from_slice(tail.trim_start_matches('{').as_bytes());
        Ok(out)
    }
}

/// What is changed in an answer on its way to the driver.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// The field with the inline rows and its new raw JSON.
    pub rows: Option<(&'static str, Vec<u8>)>,
    /// The chunks under their new names.
    pub chunks: Vec<Chunk>,
    /// What is said in words; the account's own words are never passed on by themselves, as they may quote values.
    pub message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str) -> Result<QueryRequest, Malformed> {
        QueryRequest::decode(body.as_bytes(), &Limits::default())
    }

    #[test]
    fn opaque_parts_and_big_numbers_pass_exactly() {
        let request = decode(
            r#"{"sqlText":"select ?","sequenceId":9007199254740993,"bindings":{"1":{"type":"FIXED","value":"12345678901234567890"}},
                "queryContextDTO":{"entries":[{"id":9007199254740993,"context":{"base64Data":"x"}}]},"isInternal":true,"asyncExec":true,
                "parameters":{"QUERY_TAG":"a"},"dataframeAst":"x","bindStage":null,"describedJobId":null}"#,
        )
        .unwrap();
        let encoded = String::from_utf8(request.encode(1)).unwrap();
        insta::assert_snapshot!(encoded);
        let again = QueryRequest::decode(&request.keep(), &Limits::default()).unwrap();
        assert_eq!(again.identity(), request.identity());
        assert_eq!(again.encode(1), request.encode(1));
        assert_eq!(again.binds, request.binds);
        assert_eq!(request.binds.len(), 1);
    }

    #[test]
    fn requests_that_are_none_are_refused() {
        for body in [
            "{}",
            r#"{"sqlText":null}"#,
            r#"{"sqlText":1}"#,
            r#"{"sqlText":"a","sqlText":"b"}"#,
            r#"{"sqlText":"a","asyncExec":"true"}"#,
            r#"{"sqlText":"a","bindings":{"1":{"type":"TEXT","value":{"a":1}}}}"#,
            r#"{"sqlText":"a","bindings":{"1":{"value":"x"}}}"#,
            r#"{"sqlText":"a","bindings":[]}"#,
            r#"{"sqlText":"a","parameters":[]}"#,
        ] {
            assert!(decode(body).is_err(), "{body}");
        }
        let long = format!(r#"{{"sqlText":"{}"}}"#, "x".repeat((1 << 20) + 1));
        assert!(decode(&long).unwrap_err().to_string().starts_with("the SQL text exceeds"));
    }

    #[test]
    fn the_identity_of_a_request_is_its_meaning() {
        let one = decode(r#"{"sqlText":"a","sequenceId":1}"#).unwrap();
        let retried = decode(r#"{"sqlText":"a","sequenceId":2,"querySubmissionTime":5}"#).unwrap();
        assert_eq!(one.identity(), retried.identity());
        for other in [
            r#"{"sqlText":"b"}"#,
            r#"{"sqlText":"a","describeOnly":true}"#,
            r#"{"sqlText":"a","asyncExec":true}"#,
            r#"{"sqlText":"a","bindStage":"@s"}"#,
            r#"{"sqlText":"a","parameters":{"X":1}}"#,
            r#"{"sqlText":"a","bindings":{"1":{"type":"TEXT","value":"x"}}}"#,
        ] {
            assert_ne!(one.identity(), decode(other).unwrap().identity(), "{other}");
        }
    }

    const RESULT: &str = r#"{"data":{"parameters":[{"name":"TIMEZONE","value":"UTC"}],"rowtype":[{"name":"A","type":"text","nullable":false}],
        "rowset":[["x"]],"total":2,"returned":2,"queryId":"01b2c3d4-0000-4000-8000-000000000001","queryResultFormat":"json",
        "finalDatabaseName":"D","finalRoleName":"R","stageInfo":null,"surprise":{"creds":"x"},
        "chunks":[{"url":"https://store/a?sig=1","rowCount":1,"uncompressedSize":5,"compressedSize":4}],"qrmk":"key"},
        "code":null,"message":null,"success":true}"#;

    #[test]
    fn an_answer_passes_known_fields_and_replaces_rows_and_chunks() {
        let answer = Answer::decode(RESULT.as_bytes()).unwrap();
        assert_eq!(answer.progress().unwrap(), Progress::Done);
        assert_eq!(answer.state().unwrap().database_name.as_deref(), Some("D"));
        assert_eq!(answer.chunk_headers().unwrap().len(), 2);
        let edits = Edits {
            rows: Some(("rowset", b"[[\"***\"]]".to_vec())),
            chunks: vec![Chunk {
                url: "https://host/frostgate/chunks/1".into(),
                row_count: 1,
                uncompressed_size: 7,
                compressed_size: 7,
            }],
            message: None,
        };
        let layout = Layout::plain(answer.columns().unwrap());
        let out = String::from_utf8(answer.encode(&layout, &edits).unwrap()).unwrap();
        assert!(!out.contains("store") && !out.contains("qrmk") && !out.contains("creds"));
        insta::assert_snapshot!(out);
    }

    #[test]
    fn a_field_that_says_more_than_its_name_stays_here() {
        let answer = |success: bool| {
            format!(
                r#"{{"data":{{"rowtype":[{{"name":"A","type":"text","sample":"secret"}}],"rowset":[],"total":"secret",
                "stats":{{"numRowsInserted":1,"first":"secret"}},"statementTypeId":4096,"errorCode":"the secret",
                "sqlState":"a secret","type":"EXECUTION","line":"secret","pos":7,"warnings":["secret"],
                "queryContext":{{"entries":[]}}}},
                "code":"the secret","message":"secret","success":{success}}}"#
            )
        };
        for success in [true, false] {
            let body = answer(success);
            let answer = Answer::decode(body.as_bytes()).unwrap();
            let layout = Layout::plain(answer.columns().unwrap());
            let out =
                String::from_utf8(answer.encode(&layout, &Edits::default()).unwrap()).unwrap();
            assert!(!out.contains("secret"), "{out}");
            let kept = if success { "4096" } else { "EXECUTION" };
            assert!(out.contains(kept) && out.contains("entries"), "{out}");
            assert_eq!(answer.sql_state(), None);
        }
    }

    #[test]
    fn an_answer_in_progress_names_where_to_come_back() {
        let body = r#"{"data":{"getResultUrl":"/queries/x/result","queryId":"01b2c3d4-0000-4000-8000-000000000001"},"code":"333333","message":"m","success":true}"#;
        let answer = Answer::decode(body.as_bytes()).unwrap();
        assert_eq!(
            answer.progress().unwrap(),
            Progress::Running { path: "/queries/x/result".into() }
        );
    }

    #[test]
    fn answers_that_are_none_are_errors() {
        for body in [
            "<html></html>",
            "",
            r#"{"data":{}}"#,
            r#"{"data":{},"success":"true"}"#,
            r#"{"data":[],"success":true}"#,
            r#"{"data":{"a":1,"a":2},"success":true}"#,
            &RESULT[..RESULT.len() - 3],
        ] {
            assert!(Answer::decode(body.as_bytes()).is_err(), "{body}");
        }
    }
}
