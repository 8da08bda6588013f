//! A driver, as far as the wire can tell, that keeps every byte it gets.

use std::cell::RefCell;
use std::io::Read as _;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use recording::entry::Format as Shape;
use recording::rows::Table;
use serde_json::{Value, json};
use uuid::Uuid;

/// In which format it asks for rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Arrow,
}

pub(crate) struct Driver {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    token: String,
    /// What came since this was last taken.
    seen: RefCell<Seen>,
}

/// What a client was shown.
#[derive(Default)]
pub(crate) struct Seen {
    /// Headers and bodies as they came, and inflated.
    pub(crate) bytes: Vec<u8>,
    /// Rows, decoded.
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// Who it says it is.
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) database: &'a str,
    pub(crate) schema: &'a str,
}

impl Driver {
    /// A session at `base`; `roots` vouch for it where it speaks TLS.
    pub(crate) async fn connect(
        base: &str,
        roots: rustls::RootCertStore,
        format: Format,
        login: &Login<'_>,
    ) -> Self {
        let tls =
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let mut driver = Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: base.to_owned(),
            token: "None".to_owned(),
            seen: RefCell::default(),
        };
        let word = if format == Format::Arrow { "ARROW" } else { "JSON" };
        let body = json!({"data": {
            "ACCOUNT_NAME": "demo", "LOGIN_NAME": login.user, "PASSWORD": login.password,
            "CLIENT_APP_ID": "PythonConnector", "CLIENT_APP_VERSION": "5.2.0",
            // The engine follows a cycle for ever, where the account would find it.
            "SESSION_PARAMETERS": {"PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": word, "STATEMENT_TIMEOUT_IN_SECONDS": 2},
        }});
        let path = format!(
            "/session/v1/login-request?databaseName={}&schemaName={}",
            login.database, login.schema
        );
        let answer = driver.post(&path, &body).await;
        assert_eq!(answer["success"], true, "{answer}");
        driver.token = answer["data"]["token"].as_str().unwrap().to_owned();
        driver
    }

    /// Everything that came since the last call.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.take()
    }

    /// Runs a statement to its end and reads all its rows.
    pub(crate) async fn run(&self, sql: &str) -> Value {
        self.ask(Uuid::new_v4(), &json!({"sqlText": sql})).await
    }

    /// The same under a request id of the caller: the second time it is a retry.
    pub(crate) async fn ask(&self, request_id: Uuid, body: &Value) -> Value {
        let path = format!("/queries/v1/query-request?requestId={request_id}");
        let mut answer = self.post(&path, body).await;
        while matches!(answer["code"].as_str(), Some("333333" | "333334")) {
            let path = answer["data"]["getResultUrl"].as_str().unwrap().to_owned();
            answer = self.get(&path).await;
        }
        self.read(&answer).await;
        answer
    }

    /// Reads the rows of an answer, here and in its chunks.
    pub(crate) async fn read(&self, answer: &Value) {
        let table = Table::read(Shape::Response, answer.to_string().as_bytes()).unwrap();
        let mut rows = table.rows;
        for chunk in answer["data"]["chunks"].as_array().into_iter().flatten() {
            let url = chunk["url"].as_str().unwrap();
            let headers = answer["data"]["chunkHeaders"].as_object();
            let bytes = self.exchange(Method::GET, url, Bytes::new(), headers).await;
            let shape = if answer["data"]["queryResultFormat"] == "arrow" {
                Shape::ArrowStream
            } else {
                Shape::JsonRows
            };
            rows.extend(Table::read(shape, &bytes).unwrap().rows);
        }
        self.seen.borrow_mut().rows.extend(rows);
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let bytes = self.exchange(Method::POST, path, body.to_string().into(), None).await;
        serde_json::from_slice(&bytes).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let bytes = self.exchange(Method::GET, path, Bytes::new(), None).await;
        serde_json::from_slice(&bytes).unwrap()
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        headers: Option<&serde_json::Map<String, Value>>,
    ) -> Vec<u8> {
        // The account's chunks are on a host that no name server knows.
        let link: Option<Uri> = path.starts_with("http").then(|| path.parse().unwrap());
        let path = link.as_ref().map_or(path, |link| link.path_and_query().unwrap().as_str());
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::ACCEPT, "application/snowflake")
            .header(header::USER_AGENT, "PythonConnector/5.2.0");
        if let Some(link) = &link {
            request = request.header(header::HOST, link.authority().unwrap().as_str());
        } else {
            let token = format!("Snowflake Token=\"{}\"", self.token);
            request = request.header(header::AUTHORIZATION, token);
        }
        for (name, value) in headers.into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap());
        }
        let request = request.body(Full::new(body)).unwrap();
        let response = self.client.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let raw = body.collect().await.unwrap().to_bytes();
        let is_gzip = head.headers.get(header::CONTENT_ENCODING).is_some_and(|it| it == "gzip");
        let mut bytes = raw.to_vec();
        if is_gzip {
            bytes.clear();
            flate2::read::GzDecoder::new(&raw[..]).read_to_end(&mut bytes).unwrap();
        }
        let mut seen = self.seen.borrow_mut();
        seen.bytes.extend_from_slice(format!("{} {:?}\n", head.status, head.headers).as_bytes());
        seen.bytes.extend_from_slice(&bytes);
        seen.bytes.push(b'\n');
        bytes
    }
}
