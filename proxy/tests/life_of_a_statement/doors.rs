//! Every endpoint and every hostile spelling through a real listener: what comes back, and that nothing goes on.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use snowflake::endpoint::{Answer, DOORS, Refused};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Driver, Scene, message};

/// Writes bytes as they are and reads whatever comes until the other side is done.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(5), reading).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request that a driver with a session could send, were it not for its first line and headers.
fn request(driver: &Driver, line: &str, headers: &str) -> Vec<u8> {
    let body = json!({"sqlText": "select id from customers"}).to_string();
    format!(
        "{line}\r\nhost: localhost\r\nauthorization: Snowflake Token=\"{}\"\r\nconnection: close\r\n{headers}\
         content-length: {}\r\n\r\n{body}",
        driver.token,
        body.len()
    )
    .into_bytes()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
}

fn body(answer: &str) -> Value {
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_that_is_shut_answers_in_its_callers_form_and_nothing_goes_on() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let before = scene.account.asked.lock().unwrap().len();
    for door in DOORS {
        let Answer::Refused(form) = door.answer else { continue };
        let path = door.path.replace("...", "a/b");
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let answer =
                raw(scene.proxy, &request(&driver, &format!("{method} {path} HTTP/1.1"), "")).await;
            let said = body(&answer);
            let text = match form {
                Refused::Login => {
                    assert_eq!(
                        (status(&answer), &said["code"]),
                        (200, &json!("390100")),
                        "{answer}"
                    );
                    message(&said).to_owned()
                }
                Refused::Statement => {
                    assert_eq!(status(&answer), 422, "{answer}");
                    assert!(
                        said["statementHandle"].is_string() && said["sqlState"] == "42501",
                        "{said}"
                    );
                    message(&said).to_owned()
                }
                Refused::OAuth => {
                    assert_eq!(
                        (status(&answer), &said["error"]),
                        (400, &json!("invalid_request")),
                        "{answer}"
                    );
                    said["error_description"].as_str().unwrap().to_owned()
                }
                Refused::Absent => {
                    assert_eq!(
                        (status(&answer), &said["success"]),
                        (404, &json!(false)),
                        "{answer}"
                    );
                    message(&said).to_owned()
                }
            };
            assert!(text.starts_with("FG-6003 "), "{path}: {text}");
        }
    }
    // Whoever has no session gets no further at the doors that are open.
    let nobody = Driver::at(scene.proxy);
    for door in DOORS.iter().filter(|door| !matches!(door.answer, Answer::Refused(_))) {
        let id =
            if door.path.contains("chunks") { "0".repeat(64) } else { super::QUERY_ID.to_owned() };
        let path = door.path.replace("{}", &id);
        let answer =
            raw(scene.proxy, &request(&nobody, &format!("{} {path} HTTP/1.1", door.method), ""))
                .await;
        assert!(matches!(status(&answer), 200 | 401 | 404), "{path}: {answer}");
    }
    assert_eq!(scene.account.asked.lock().unwrap().len(), before);
    let (_, page) = Driver::at(scene.admin).fetch("/metrics").await;
    let page = String::from_utf8(page).unwrap();
    assert!(
        page.contains("frostgate_proxy_unhandled_endpoint_total{path_class=\"api\"} 8"),
        "{page}"
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_spellings_of_a_request_never_reach_the_account() {
    let scene = Scene::set().await;
    let driver = scene.driver().await;
    let before = scene.account.asked.lock().unwrap().len();
    let query = "/queries/v1/query-request";
    let lines = [
        (format!("POST {query}/ HTTP/1.1"), 404),
        (format!("POST {query}/. HTTP/1.1"), 404),
        (format!("POST /x/..{query} HTTP/1.1"), 404),
        ("POST /queries/v1/./query-request HTTP/1.1".to_owned(), 404),
        ("POST /queries/v1/%71uery-request HTTP/1.1".to_owned(), 404),
        ("POST /queries/v1%2Fquery-request HTTP/1.1".to_owned(), 404),
        ("POST /queries/v1/%2e%2e/v1/query-request HTTP/1.1".to_owned(), 404),
        (format!("POST {query};a=b HTTP/1.1"), 404),
        (format!("POST {query}%00 HTTP/1.1"), 404),
        ("POST /QUERIES/V1/QUERY-REQUEST HTTP/1.1".to_owned(), 404),
        (format!("POST http://localhost{query} HTTP/1.1"), 404),
        (format!("POST http://evil.example{query} HTTP/1.1"), 404),
        ("CONNECT acme-dev.snowflakecomputing.com:443 HTTP/1.1".to_owned(), 404),
        (format!("CONNECT {query} HTTP/1.1"), 0),
        ("OPTIONS * HTTP/1.1".to_owned(), 404),
        (format!("get {query} HTTP/1.1"), 404),
        (format!("GET {query} HTTP/1.1"), 404),
        (format!("PUT {query} HTTP/1.1"), 404),
        (format!("POST {query} HTTP/1.0"), 505),
        (format!("POST {query} HTTP/2.0"), 0),
        (format!("POST {query} HTTP/1.1 HTTP/1.1"), 0),
        (format!("POST {query}?requestId=a&requestId=b HTTP/1.1"), 200),
        (format!("POST {query}?requestId=a&REQUESTID=b HTTP/1.1"), 200),
        (format!("POST {query}?requestId=%ff HTTP/1.1"), 200),
    ];
    for (line, expected) in lines {
        let answer = raw(scene.proxy, &request(&driver, &line, "")).await;
        // What the HTTP layer does not even take for a request ends with 400 or without a word.
        let got = status(&answer);
        let fits = if expected == 0 { matches!(got, 0 | 400 | 404) } else { got == expected };
        assert!(fits, "{line}: {answer}");
        assert!(expected != 200 || message(&body(&answer)).starts_with("FG-6001"), "{answer}");
    }
    let token = &driver.token;
    let heads = [
        ("GET", "x-http-method-override: POST\r\n".to_owned(), 404),
        ("GET", "x-method-override: POST\r\nx-http-method: POST\r\n".to_owned(), 404),
        (
            "GET",
            "x-original-url: /queries/v1/query-request\r\nx-rewrite-url: /session\r\n".to_owned(),
            404,
        ),
        ("GET", "connection: upgrade\r\nupgrade: websocket\r\n".to_owned(), 404),
        ("POST", "host: evil.example\r\n".to_owned(), 421),
        ("POST", format!("authorization: Snowflake Token=\"{token}\"\r\n"), 400),
        ("POST", "content-encoding: identity\r\ncontent-encoding: gzip\r\n".to_owned(), 400),
        ("POST", "content-encoding: gzip, gzip\r\n".to_owned(), 200),
        ("POST", "content-length: 5\r\n".to_owned(), 400),
        ("POST", "transfer-encoding: gzip\r\n".to_owned(), 400),
        // Its chunks say that the body is empty; its length says that it holds a statement. The chunks win.
        ("POST", "transfer-encoding: chunked\r\n".to_owned(), 400),
    ];
    for (method, headers, expected) in heads {
        let line = format!("{method} {query}?requestId=r HTTP/1.1");
        let answer = raw(scene.proxy, &request(&driver, &line, &headers)).await;
        assert_eq!(status(&answer), expected, "{headers}: {answer}");
    }
    assert_eq!(scene.account.asked.lock().unwrap().len(), before);
    // None of it did anything to the session.
    assert_eq!(driver.query("select id, email from customers").await["success"], true);
    scene.end().await;
}
