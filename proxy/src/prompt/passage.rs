//! One request of the agent's model client, to the provider and back: every byte of the bodies as it was.

use std::sync::Arc;

use control::update::PromptCapture;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use prompt::{Asked, Exchange, Form};
use tokio::sync::oneshot;

use super::copy::{Copied, Counted};
use super::hearing::{Ear, Heard, Hearing};
use super::refusal::Refusal;
use crate::Parts;
use crate::downstream::router::{host, is_loopback};
use crate::telemetry::OutcomeLabels;

/// Requests above this are read off the threads that serve.
const LARGE: usize = 128 << 10;
/// Headers that are for us alone.
const OURS: &str = "x-frostgate-";
/// Names the container that a request comes from; the injector has clients send it.
const CONTAINER: &str = "x-frostgate-container";
/// Claude Code's name for its conversation.
const CONVERSATION: &str = "x-claude-code-session-id";
/// Headers that belong to one connection, not to the request.
const HOPS: &[&str] = &[
    "connection",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Passes one request on.
pub(crate) async fn pass(
    request: Request<Incoming>,
    _tls: bool,
    parts: Arc<Parts>,
) -> Response<Hearing> {
    let passed = try_pass(request, &parts).await;
    let outcome = if passed.is_ok() { "passed" } else { "refused" };
    parts.metrics.model_requests.get_or_create(&OutcomeLabels { outcome }).inc();
    passed.unwrap_or_else(|refusal| {
        tracing::warn!(%refusal, "model traffic did not pass");
        refusal.answer()
    })
}

async fn try_pass(
    request: Request<Incoming>,
    parts: &Arc<Parts>,
) -> Result<Response<Hearing>, Refusal> {
    if !host(request.headers()).is_some_and(|host| is_loopback(&host)) {
        return Err(Refusal::Misdirected);
    }
    let path = request.uri().path();
    if request.uri().authority().is_some() || !is_plain(path) {
        return Err(Refusal::Unknown);
    }
    let ruling = parts.first_ruling().await.map_err(|_| Refusal::Early)?;
    let settings = ruling.connection.prompts.as_ref().ok_or(Refusal::Closed)?;
    let gateway = parts
        .prompts
        .gateway(settings, &ruling.connection, parts)
        .map_err(|error| Refusal::Unusable(error.to_string()))?;
    let reads = settings.capture != PromptCapture::Off
        && request.method() == Method::POST
        && path == "/v1/messages";
    let url = request.uri().path_and_query().and_then(|path| gateway.url(path.as_str()));
    let url = url.ok_or(Refusal::Unknown)?;

    let (head, body) = request.into_parts();
    let said = |name: &str| {
        let value = head.headers.get(name)?.to_str().ok()?;
        (!value.is_empty()).then(|| value.chars().take(256).collect::<String>())
    };
    let conversation = said(CONVERSATION);
    let exchange = Exchange {
        container: said(CONTAINER),
        trace: said("traceparent").and_then(|parent| prompt::trace_id(&parent)),
        ..Exchange::default()
    };
    let mut headers = onward(&head.headers);
    let (body, copy) = if reads {
        // Compressed in a way that can be read, or not at all.
        let encoding = if takes_gzip(&head.headers) { "gzip" } else { "identity" };
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        let (body, copy) = Copied::copying(body, &parts.prompts.copied);
        (body, Some(copy))
    } else {
        (Copied::passing(body), None)
    };
    let heard = copy.map(|copy| hear(copy, conversation, Arc::clone(parts)));
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = url;
    *request.headers_mut() = headers;

    let answer = gateway.send(request).await;
    let answer = answer.map_err(|error| Refusal::Unreachable(crate::causes(&error)))?;
    let (mut head, body) = answer.into_parts();
    let ear = heard
        .filter(|_| head.status == StatusCode::OK)
        .and_then(|heard| ear(&head.headers, exchange, heard, parts));
    head.headers = onward(&head.headers);
    head.version = http::Version::default();
    Ok(Response::from_parts(head, Hearing::of(body, ear)))
}

/// Whether a path is one below `/v1/`, with nothing in it that could lead elsewhere.
fn is_plain(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/v1/") else { return false };
    let lower = rest.to_ascii_lowercase();
    !["%2e", "%2f", "%5c", "\\"].iter().any(|way| lower.contains(way))
        && rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The headers that go on: all but those of one connection, and those for us.
fn onward(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let goes_on = |name: &HeaderName| {
        !HOPS.contains(&name.as_str()) && !name.as_str().starts_with(OURS) && !named.contains(name)
    };
    let mut onward = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| goes_on(name)) {
        onward.append(name, value.clone());
    }
    onward
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(header::ACCEPT_ENCODING).iter();
    encodings.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |encoding| {
            let mut parts = encoding.split(';').map(str::trim);
            let gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map(str::parse::<f32>);
            gzip && !matches!(weight, Some(Ok(0.0)))
        },
    )
}

/// Reads the request apart from its passing; results in it end their calls.
fn hear(copy: oneshot::Receiver<Counted>, name: Option<String>, parts: Arc<Parts>) -> Heard {
    tokio::spawn(async move {
        let copy = copy.await.ok()?;
        let asked = if copy.bytes.len() > LARGE {
            tokio::task::spawn_blocking(move || Asked::read(&copy.bytes)).await.ok()??
        } else {
            Asked::read(&copy.bytes)?
        };
        let conversation = parts.prompts.memory().hear(&asked, name.as_deref());
        Some((asked, conversation))
    })
}

/// What reads the answer, if it is of a form that can be read.
fn ear(headers: &HeaderMap, head: Exchange, heard: Heard, parts: &Arc<Parts>) -> Option<Ear> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(header::CONTENT_TYPE)?.split(';').next()?.trim().to_ascii_lowercase();
    let form = match kind.as_str() {
        "text/event-stream" => Form::Events,
        "application/json" => Form::Whole,
        _ => return None,
    };
    let gzip = match text(header::CONTENT_ENCODING).map(str::to_ascii_lowercase).as_deref() {
        None | Some("identity" | "") => false,
        Some("gzip") => true,
        Some(_) => return None,
    };
    let request = headers.get("request-id").and_then(|value| value.to_str().ok());
    let request = request.map(|id| id.chars().take(256).collect());
    Some(Ear::new(Arc::clone(parts), form, gzip, Exchange { request, ..head }, heard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_v1_pass() {
        for path in ["/v1/messages", "/v1/messages/count_tokens", "/v1/models/claude-x"] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v2/messages",
            "/v1/../admin",
            "/v1/./a",
            "/v1//a",
            "/v1/%2e%2e/a",
            "/v1/a%2Fb",
            "/v1/..\\a",
            "/v1/a/",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn headers_of_one_connection_and_those_for_us_do_not_go_on() {
        let headers: HeaderMap = [
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("host", "127.0.0.1"),
            ("te", "trailers"),
            ("x-frostgate-container", "agent"),
            ("x-api-key", "sk-1"),
            ("anthropic-beta", "a"),
            ("anthropic-beta", "b"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
        let mut headers = headers;
        headers.append("anthropic-beta", HeaderValue::from_static("c"));
        let onward = onward(&headers);
        let names: Vec<&str> = onward.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-api-key", "anthropic-beta"]);
        assert!(onward.get_all("anthropic-beta").iter().count() > 1);
    }

    #[test]
    fn an_answer_is_compressed_only_as_the_client_can_take_it() {
        for (accepted, expected) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("br, zstd", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            assert_eq!(takes_gzip(&headers), expected, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
