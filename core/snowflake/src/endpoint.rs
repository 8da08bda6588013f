//! The closed list of what drivers call.

use uuid::Uuid;

/// Where the proxy serves chunks of large results: `/frostgate/chunks/<256 bit, hex>`.
pub const CHUNKS: &str = "/frostgate/chunks/";

/// One thing a driver asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Open a session.
    Login,
    /// Renew the session token with the master token.
    Renew,
    /// Close the session (`?delete=true`).
    Logout,
    /// Keep the session alive.
    Heartbeat,
    /// Run a statement.
    Query,
    /// Cancel a statement by its request id.
    Abort,
    /// Cancel a statement by its query id.
    AbortQuery(Uuid),
    /// Poll or fetch the result of a statement.
    QueryResult(Uuid),
    /// Ask how a statement is doing.
    Monitoring(Uuid),
    /// What the driver tells about itself; answered and dropped.
    Telemetry,
    /// A part of a large result, by its unguessable name.
    Chunk(String),
    /// Run a statement, by the SQL REST API.
    Statements,
    /// Ask for a statement of the SQL REST API, or for a part of its result.
    Statement(Uuid),
    /// Cancel a statement of the SQL REST API.
    CancelStatement(Uuid),
}

/// Why a request is for nothing on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// The path could be read in two ways: dot segments, encoded bytes, parameters, a trailing slash.
    #[error("the path is not in its plain form")]
    NotPlain,
    /// The path is on no list.
    #[error("the endpoint is not served")]
    Path,
    /// The path is known, the method is not the one drivers use.
    #[error("the method is not the endpoint's")]
    Method,
}

impl Endpoint {
    /// Finds the endpoint, deciding on the path with repeated slashes collapsed: one driver sends
    /// `/monitoring/queries//<id>`. Everything else that is not plain is refused.
    pub fn of(method: &str, path: &str) -> Result<Self, Unknown> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
        if !path.starts_with('/') || path.len() > 256 || !path.bytes().all(plain) {
            return Err(Unknown::NotPlain);
        }
        let trailing = path.len() > 1 && path.ends_with('/');
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if trailing || segments.iter().any(|part| part.starts_with('.')) {
            return Err(Unknown::NotPlain);
        }
        let (expected, endpoint) = match segments.as_slice() {
            ["session", "v1", "login-request"] => ("POST", Self::Login),
            ["session", "token-request"] => ("POST", Self::Renew),
            ["session"] => ("POST", Self::Logout),
            ["session", "heartbeat"] => ("POST", Self::Heartbeat),
            ["queries", "v1", "query-request"] => ("POST", Self::Query),
            ["queries", "v1", "abort-request"] => ("POST", Self::Abort),
            ["queries", id, "abort-request"] => ("POST", Self::AbortQuery(query_id(id)?)),
            ["queries", id, "result"] => ("GET", Self::QueryResult(query_id(id)?)),
            ["monitoring", "queries", id] => ("GET", Self::Monitoring(query_id(id)?)),
            ["telemetry", "send"] | ["telemetry", "send", "sessionless"] => {
                ("POST", Self::Telemetry)
            }
            ["frostgate", "chunks", name] => ("GET", Self::Chunk(chunk_name(name)?)),
            ["api", "v2", "statements"] => ("POST", Self::Statements),
            ["api", "v2", "statements", id] => ("GET", Self::Statement(query_id(id)?)),
            ["api", "v2", "statements", id, "cancel"] => {
                ("POST", Self::CancelStatement(query_id(id)?))
            }
            _ => return Err(Unknown::Path),
        };
        if method == expected { Ok(endpoint) } else { Err(Unknown::Method) }
    }

    /// The endpoint's word in metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Renew => "renew",
            Self::Logout => "logout",
            Self::Heartbeat => "heartbeat",
            Self::Query => "query",
            Self::Abort | Self::AbortQuery(_) => "abort",
            Self::QueryResult(_) => "result",
            Self::Monitoring(_) => "monitoring",
            Self::Telemetry => "telemetry",
            Self::Chunk(_) => "chunk",
            Self::Statements | Self::Statement(_) | Self::CancelStatement(_) => "rest",
        }
    }
}

/// A query id in the one spelling drivers send: lower or upper case, with hyphens.
fn query_id(text: &str) -> Result<Uuid, Unknown> {
    if text.len() != 36 {
        return Err(Unknown::Path);
    }
    Uuid::try_parse(text).map_err(|_| Unknown::Path)
}

fn chunk_name(text: &str) -> Result<String, Unknown> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 64 && text.bytes().all(hex) { Ok(text.to_owned()) } else { Err(Unknown::Path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01b2c3d4-0000-4000-8000-000000000001";

    #[test]
    fn every_endpoint_is_found_by_its_own_method_only() {
        for (method, path) in [
            ("POST", "/session/v1/login-request".to_owned()),
            ("POST", "/session/token-request".to_owned()),
            ("POST", "/session".to_owned()),
            ("POST", "/session/heartbeat".to_owned()),
            ("POST", "/queries/v1/query-request".to_owned()),
            ("POST", "/queries/v1/abort-request".to_owned()),
            ("POST", format!("/queries/{ID}/abort-request")),
            ("GET", format!("/queries/{ID}/result")),
            ("GET", format!("/monitoring/queries/{ID}")),
            ("GET", format!("/monitoring/queries//{ID}")),
            ("POST", "/telemetry/send".to_owned()),
            ("POST", "/telemetry/send/sessionless".to_owned()),
            ("GET", format!("{CHUNKS}{}", "0f".repeat(32))),
            ("POST", "/api/v2/statements".to_owned()),
            ("GET", format!("/api/v2/statements/{ID}")),
            ("POST", format!("/api/v2/statements/{ID}/cancel")),
        ] {
            assert!(Endpoint::of(method, &path).is_ok(), "{method} {path}");
            for other in ["PUT", "TRACE", "get", if method == "GET" { "POST" } else { "GET" }] {
                assert_eq!(Endpoint::of(other, &path), Err(Unknown::Method), "{other} {path}");
            }
        }
    }

    #[test]
    fn hostile_spellings_lead_nowhere() {
        for path in [
            "",
            "/",
            "*",
            "queries/v1/query-request",
            "/queries/v1/../../session",
            "/queries/./v1/query-request",
            "/queries/v1/query-request/",
            "/queries/v1%2fquery-request",
            "/queries/v1/query-request%00",
            "/queries/v1/query-request;x=1",
            "/Queries/V1/Query-Request",
            "/queries/v1/query-request\\",
            "http://other/queries/v1/query-request",
            "/queries/not-an-id/result",
            "/queries/01b2c3d4000040008000000000000001/result",
            "/queries/{01b2c3d4-0000-4000-8000-000000000001}/result",
            "/monitoring/queries/",
            "/api/v2/statements/",
            "/api/v2/statements/not-an-id",
            "/api/v2/databases",
            "/oauth/token-request",
            "/console/login",
            "/session/authenticator-request",
            "/frostgate/chunks/abc",
        ] {
            for method in ["GET", "POST"] {
                assert!(Endpoint::of(method, path).is_err(), "{method} {path}");
            }
        }
    }
}
