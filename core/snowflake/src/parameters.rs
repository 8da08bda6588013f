//! Session and statement parameters: which ones a client may set.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A parameter and its value, as it was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parameter {
    /// Name, as sent.
    pub name: String,
    /// Value: bool, number or text.
    pub value: Box<RawValue>,
}

/// What becomes of a parameter that a client set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Sent on.
    Passed,
    /// Left out: unknown, or ours to set.
    Stripped,
    /// Refused: it would change what a statement means.
    Refused,
    /// Said anew with every statement: how many of them its text holds, 0 for any number.
    Count(u32),
}

/// How many statements a text holds.
pub(crate) const STATEMENT_COUNT: &str = "MULTI_STATEMENT_COUNT";

/// Parameters that change nothing about which objects a statement touches.
const PASSED: &[&str] = &[
    "ABORT_DETACHED_QUERY",
    "AUTOCOMMIT",
    "BINARY_OUTPUT_FORMAT",
    "CLIENT_MEMORY_LIMIT",
    "CLIENT_METADATA_REQUEST_USE_CONNECTION_CTX",
    "CLIENT_PREFETCH_THREADS",
    "CLIENT_SESSION_KEEP_ALIVE",
    "CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY",
    "CLIENT_TIMESTAMP_TYPE_MAPPING",
    "DATE_OUTPUT_FORMAT",
    "DOTNET_QUERY_RESULT_FORMAT",
    "ERROR_ON_NONDETERMINISTIC_MERGE",
    "ERROR_ON_NONDETERMINISTIC_UPDATE",
    "GEOGRAPHY_OUTPUT_FORMAT",
    "GEOMETRY_OUTPUT_FORMAT",
    "GO_QUERY_RESULT_FORMAT",
    "JDBC_QUERY_RESULT_FORMAT",
    "JDBC_TREAT_DECIMAL_AS_INT",
    "JDBC_TREAT_TIMESTAMP_NTZ_AS_UTC",
    "JDBC_USE_SESSION_TIMEZONE",
    "JSON_INDENT",
    "LOCK_TIMEOUT",
    "NODEJS_QUERY_RESULT_FORMAT",
    "ODBC_QUERY_RESULT_FORMAT",
    "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT",
    "QUERY_RESULT_FORMAT",
    "QUERY_TAG",
    "QUERY_TIMEOUT",
    "ROWS_PER_RESULTSET",
    "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS",
    "STATEMENT_TIMEOUT_IN_SECONDS",
    "TIMESTAMP_LTZ_OUTPUT_FORMAT",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT",
    "TIMESTAMP_OUTPUT_FORMAT",
    "TIMESTAMP_TZ_OUTPUT_FORMAT",
    "TIMEZONE",
    "TIME_OUTPUT_FORMAT",
    "TRANSACTION_ABORT_ON_ERROR",
    "USE_CACHED_RESULT",
    "WEEK_OF_YEAR_POLICY",
    "WEEK_START",
];

/// Parameters that change how names or literals are read: a decision made without them would be about another
/// statement.
const REFUSED: &[&str] = &[
    "BINARY_INPUT_FORMAT",
    "DATE_INPUT_FORMAT",
    "DEFAULT_DDL_COLLATION",
    "ENABLE_UNLOAD_PHYSICAL_TYPE_OPTIMIZATION",
    "QUOTED_IDENTIFIERS_IGNORE_CASE",
    "SEARCH_PATH",
    "SIMULATED_DATA_SHARING_CONSUMER",
    "TIMESTAMP_INPUT_FORMAT",
    "TIMESTAMP_TYPE_MAPPING",
    "TIME_INPUT_FORMAT",
    "TWO_DIGIT_CENTURY_START",
    "UNSUPPORTED_DDL_ACTION",
];

/// Parameters that the proxy decides for every client.
const OURS: [(&str, &str); 2] = [
    // Nothing of what a driver would tell about statements leaves the pod.
    ("CLIENT_TELEMETRY_ENABLED", "false"),
    // Array binds stay in the request, where they are judged and recorded, instead of going to a stage.
    ("CLIENT_STAGE_ARRAY_BINDING_THRESHOLD", "0"),
];

/// The parameters that an account names, with ours in their place: drivers take over whatever an answer says.
/// Where `complete` they are all there are, so ours are among them whatever the account has.
#[must_use]
pub fn with_ours(parameters: &[Parameter], complete: bool) -> Vec<Parameter> {
    let ours = |name: &str| OURS.iter().find(|(ours, _)| name.eq_ignore_ascii_case(ours));
    let mut all: Vec<Parameter> =
        parameters.iter().filter(|parameter| ours(&parameter.name).is_none()).cloned().collect();
    for (name, value) in OURS {
        let named = parameters.iter().any(|parameter| parameter.name.eq_ignore_ascii_case(name));
        if (complete || named)
            && let Ok(value) = RawValue::from_string(value.to_owned())
        {
            all.push(Parameter { name: name.to_owned(), value });
        }
    }
    all
}

/// Whether a list of parameters, as JSON, could name one of ours.
#[must_use]
pub(crate) fn names_ours(raw: &str) -> bool {
    OURS.iter().any(|(name, _)| raw.contains(name))
}

/// What becomes of `name = value`, whichever way it came in.
#[must_use]
pub fn fate(name: &str, value: &RawValue) -> Fate {
    let name = name.to_ascii_uppercase();
    let value = value.get().trim_matches('"');
    match name.as_str() {
        STATEMENT_COUNT => value.parse().map_or(Fate::Refused, Fate::Count),
        "QUOTED_IDENTIFIERS_IGNORE_CASE" if value.eq_ignore_ascii_case("false") => Fate::Stripped,
        name if REFUSED.contains(&name) => Fate::Refused,
        name if PASSED.contains(&name) && plain(value) => Fate::Passed,
        _ => Fate::Stripped,
    }
}

/// Lists and objects are no parameter values.
fn plain(value: &str) -> bool {
    !value.starts_with(['{', '['])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_pass_are_stripped_or_are_refused() {
        for (name, value, expected) in [
            ("QUERY_TAG", "\"x\"", Fate::Passed),
            ("query_timeout", "3", Fate::Passed),
            ("TIMEZONE", "{\"a\":1}", Fate::Stripped),
            ("CLIENT_RESULT_CHUNK_SIZE", "160", Fate::Stripped),
            ("CLIENT_TELEMETRY_ENABLED", "true", Fate::Stripped),
            ("NEW_SQL_FORMAT", "false", Fate::Stripped),
            ("quoted_identifiers_ignore_case", "true", Fate::Refused),
            ("QUOTED_IDENTIFIERS_IGNORE_CASE", "false", Fate::Stripped),
            ("SEARCH_PATH", "\"$current, X\"", Fate::Refused),
            ("MULTI_STATEMENT_COUNT", "1", Fate::Count(1)),
            ("MULTI_STATEMENT_COUNT", "\"1\"", Fate::Count(1)),
            ("MULTI_STATEMENT_COUNT", "0", Fate::Count(0)),
            ("multi_statement_count", "2", Fate::Count(2)),
            ("MULTI_STATEMENT_COUNT", "-1", Fate::Refused),
            ("MULTI_STATEMENT_COUNT", "\"two\"", Fate::Refused),
            ("MULTI_STATEMENT_COUNT", "null", Fate::Refused),
            ("NO_SUCH_THING", "1", Fate::Stripped),
        ] {
            let value = RawValue::from_string(value.to_owned()).unwrap();
            assert_eq!(fate(name, &value), expected, "{name} = {value}");
        }
    }
}
