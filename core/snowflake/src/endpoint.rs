//! The closed list of what clients call, and what each gets: [`DOORS`] is the only place that says so.

use uuid::Uuid;

/// Where the proxy serves chunks of large results: `/frostgate/chunks/<256 bit, hex>`.
pub const CHUNKS: &str = "/frostgate/chunks/";

/// One thing a client asks for.
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
    /// Known, and refused in the form that its callers understand.
    Refused(Refused),
}

/// How a known endpoint is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As a login is: drivers show the message.
    Login,
    /// As a statement of the SQL REST API is: HTTP 422.
    Statement,
    /// As RFC 6749 has it: HTTP 400 and `error`, `error_description`.
    OAuth,
    /// HTTP 404: its callers do not come again.
    Absent,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is work for the account, under a decision.
    Served,
    /// It is answered here and nothing leaves the pod.
    Local,
    /// It is refused.
    Refused(Refused),
}

/// One line of the list.
#[derive(Debug)]
pub struct Door {
    /// The method that clients use; any, where the door is shut.
    pub method: &'static str,
    /// The path; `{}` stands for one segment, a final `/...` for whatever follows.
    pub path: &'static str,
    /// What becomes of a request.
    pub answer: Answer,
    /// Who calls it, and what they get.
    pub about: &'static str,
    /// Its word in metrics.
    word: &'static str,
    open: fn(&str) -> Option<Endpoint>,
}

const ANY: &str = "any";

const fn door(
    method: &'static str,
    path: &'static str,
    answer: Answer,
    word: &'static str,
    about: &'static str,
    open: fn(&str) -> Option<Endpoint>,
) -> Door {
    Door { method, path, answer, about, word, open }
}

const fn shut(
    path: &'static str,
    refused: Refused,
    word: &'static str,
    about: &'static str,
) -> Door {
    let open: fn(&str) -> Option<Endpoint> = match refused {
        Refused::Login => |_| Some(Endpoint::Refused(Refused::Login)),
        Refused::Statement => |_| Some(Endpoint::Refused(Refused::Statement)),
        Refused::OAuth => |_| Some(Endpoint::Refused(Refused::OAuth)),
        Refused::Absent => |_| Some(Endpoint::Refused(Refused::Absent)),
    };
    door(ANY, path, Answer::Refused(refused), word, about, open)
}

/// Every endpoint that clients of the account know. What is not here is refused with 404.
pub const DOORS: &[Door] = &[
    door(
        "POST",
        "/session/v1/login-request",
        Answer::Served,
        "login",
        "every driver; the session is opened with a credential of its own, the driver's is a placeholder",
        |_| Some(Endpoint::Login),
    ),
    door(
        "POST",
        "/session/token-request",
        Answer::Local,
        "renew",
        "drivers after 390112; both tokens are Frostgate's, the account's are renewed apart from them",
        |_| Some(Endpoint::Renew),
    ),
    door(
        "POST",
        "/session",
        Answer::Served,
        "logout",
        "drivers, with `?delete=true` only; closes the session everywhere",
        |_| Some(Endpoint::Logout),
    ),
    door(
        "POST",
        "/session/heartbeat",
        Answer::Local,
        "heartbeat",
        "drivers that keep sessions alive; counts as use of the session",
        |_| Some(Endpoint::Heartbeat),
    ),
    door(
        "POST",
        "/queries/v1/query-request",
        Answer::Served,
        "query",
        "every statement: decided, recorded, held, masked",
        |_| Some(Endpoint::Query),
    ),
    door(
        "POST",
        "/queries/v1/abort-request",
        Answer::Served,
        "abort",
        "drivers, by request id; ends the statement or withdraws its question",
        |_| Some(Endpoint::Abort),
    ),
    door(
        "POST",
        "/queries/{}/abort-request",
        Answer::Served,
        "abort",
        "Python 5, ODBC on its core: the same by query id",
        |id| query_id(id).map(Endpoint::AbortQuery),
    ),
    door(
        "GET",
        "/queries/{}/result",
        Answer::Served,
        "result",
        "polls, results fetched later, parts of several statements; only ids of the same session",
        |id| query_id(id).map(Endpoint::QueryResult),
    ),
    door(
        "GET",
        "/monitoring/queries/{}",
        Answer::Local,
        "monitoring",
        "drivers that run asynchronously; only ids of the same session",
        |id| query_id(id).map(Endpoint::Monitoring),
    ),
    door(
        "POST",
        "/telemetry/send",
        Answer::Local,
        "telemetry",
        "drivers about themselves; dropped, and turned off at login",
        |_| Some(Endpoint::Telemetry),
    ),
    door(
        "POST",
        "/telemetry/send/sessionless",
        Answer::Local,
        "telemetry",
        "JDBC; dropped",
        |_| Some(Endpoint::Telemetry),
    ),
    door(
        "GET",
        "/frostgate/chunks/{}",
        Answer::Served,
        "chunk",
        "parts of large results, by names that Frostgate gave out",
        |name| chunk_name(name).map(Endpoint::Chunk),
    ),
    shut(
        "/session/authenticator-request",
        Refused::Login,
        "session",
        "logins by browser and Okta: they need somebody at a screen",
    ),
    shut("/console/...", Refused::Absent, "console", "the browser's part of such logins"),
    shut(
        "/oauth/token-request",
        Refused::OAuth,
        "oauth",
        "tokens of Snowflake's own authorization server would leave the pod",
    ),
    shut("/oauth/...", Refused::Absent, "oauth", "the browser's part of such logins"),
    door(
        "POST",
        "/api/v2/statements",
        Answer::Served,
        "rest",
        "the SQL REST API: a statement with its place, by the token of an identity",
        |_| Some(Endpoint::Statements),
    ),
    door(
        "GET",
        "/api/v2/statements/{}",
        Answer::Served,
        "rest",
        "its answer, or a partition of its result",
        |id| query_id(id).map(Endpoint::Statement),
    ),
    door("POST", "/api/v2/statements/{}/cancel", Answer::Served, "rest", "ends it", |id| {
        query_id(id).map(Endpoint::CancelStatement)
    }),
    shut(
        "/api/v2/statements/...",
        Refused::Statement,
        "api",
        "whatever else is said to a statement of the SQL REST API",
    ),
    shut(
        "/api/...",
        Refused::Absent,
        "api",
        "the REST APIs for objects, Cortex and builds work past every policy on statements",
    ),
    shut("/v1/...", Refused::Absent, "streaming", "Snowpipe and Snowpipe Streaming"),
    shut("/v2/...", Refused::Absent, "streaming", "Snowpipe Streaming"),
    shut("/fileserver/...", Refused::Absent, "other", "files and results by account URL"),
    shut("/graphql/...", Refused::Absent, "other", "the web interface"),
    shut("/ocsp_response_cache.json", Refused::Absent, "other", "lives on another host"),
];

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
    /// Finds the endpoint and its word in metrics, deciding on the path with repeated slashes collapsed: one driver
    /// sends `/monitoring/queries//<id>`. Everything else that is not plain is refused.
    pub fn of(method: &str, path: &str) -> Result<(Self, &'static str), Unknown> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
        if !path.starts_with('/') || path.len() > 256 || !path.bytes().all(plain) {
            return Err(Unknown::NotPlain);
        }
        let trailing = path.len() > 1 && path.ends_with('/');
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if trailing || segments.iter().any(|part| part.starts_with('.')) {
            return Err(Unknown::NotPlain);
        }
        let found = DOORS.iter().find_map(|door| {
            let endpoint = (door.open)(door.matches(&segments)?)?;
            Some((door, endpoint))
        });
        match found {
            None => Err(Unknown::Path),
            Some((door, endpoint)) if door.method == ANY || door.method == method => {
                Ok((endpoint, door.word))
            }
            Some(_) => Err(Unknown::Method),
        }
    }
}

impl Door {
    /// The segment that stands for `{}`, empty where there is none; nothing where the path is another.
    fn matches<'a>(&self, segments: &[&'a str]) -> Option<&'a str> {
        let mut given = segments.iter();
        let mut captured = "";
        for expected in self.path.split('/').skip(1) {
            match (expected, given.next()) {
                ("...", _) => return Some(captured),
                ("{}", Some(segment)) => captured = segment,
                (expected, Some(segment)) if expected == *segment => {}
                _ => return None,
            }
        }
        given.next().is_none().then_some(captured)
    }
}

/// A query id in the one spelling drivers send: lower or upper case, with hyphens.
fn query_id(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

fn chunk_name(text: &str) -> Option<String> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == 64 && text.bytes().all(hex)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01b2c3d4-0000-4000-8000-000000000001";

    /// A path that leads to the door.
    fn example(door: &Door) -> String {
        let captured = if door.path.starts_with(CHUNKS) { "0f".repeat(32) } else { ID.to_owned() };
        door.path.replace("{}", &captured).replace("...", "x/y")
    }

    #[test]
    fn every_door_is_found_by_its_own_method_only() {
        for door in DOORS {
            let path = example(door);
            let doubled = path.replace('/', "//");
            let method = if door.method == ANY { "POST" } else { door.method };
            for path in [&path, &doubled] {
                let (endpoint, word) = Endpoint::of(method, path).unwrap();
                assert_eq!(word, door.word, "{path}");
                let refused = matches!(endpoint, Endpoint::Refused(_));
                assert_eq!(refused, matches!(door.answer, Answer::Refused(_)), "{path}");
            }
            for other in ["PUT", "TRACE", "get", if method == "GET" { "POST" } else { "GET" }] {
                match Endpoint::of(other, &path) {
                    Ok((endpoint, _)) => {
                        assert!(matches!(endpoint, Endpoint::Refused(_)), "{path}");
                    }
                    Err(error) => assert_eq!(error, Unknown::Method, "{other} {path}"),
                }
            }
        }
    }

    /// One line of the documentation for each door.
    fn line(door: &Door) -> String {
        let answer = match door.answer {
            Answer::Served => "served",
            Answer::Local => "answered here",
            Answer::Refused(Refused::Login) => "refused as a login",
            Answer::Refused(Refused::Statement) => "refused with 422",
            Answer::Refused(Refused::OAuth) => "refused with 400",
            Answer::Refused(Refused::Absent) => "refused with 404",
        };
        let path =
            door.path.replacen("{}", if door.word == "chunk" { "{name}" } else { "{queryId}" }, 1);
        format!("| `{path}` | {} | {answer} | {} |\n", door.method, door.about)
    }

    #[test]
    fn the_documentation_lists_every_door() {
        let page = include_str!("../../../docs/protocol.md");
        let listed: String = DOORS.iter().map(line).collect();
        assert!(page.contains(&listed), "docs/protocol.md should hold these lines:\n{listed}");
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
            "/frostgate/chunks/abc",
            "/session/heartbeat/x",
            "/api/v2/../../queries/v1/query-request",
        ] {
            for method in ["GET", "POST"] {
                assert!(Endpoint::of(method, path).is_err(), "{method} {path}");
            }
        }
    }
}
