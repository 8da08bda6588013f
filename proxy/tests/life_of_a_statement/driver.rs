//! A driver, as far as the wire can tell.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) struct Driver {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    pub(crate) token: String,
    pub(crate) master: String,
    pub(crate) login: Value,
}

impl Driver {
    /// Without a session.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            base: format!("http://{address}"),
            token: String::new(),
            master: String::new(),
            login: Value::Null,
        }
    }

    /// Logged in.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut driver = Self::at(address);
        driver.log_in(json!({"LOGIN_NAME": "agent", "PASSWORD": "placeholder"})).await;
        assert_eq!(driver.login["success"], true, "{}", driver.login);
        driver
    }

    /// Whether it gets as far as a session.
    pub(crate) async fn try_log_in(&mut self, data: Value) -> bool {
        let url = format!("{}/session/heartbeat", self.base).parse().unwrap();
        if self.client.get(url).await.is_err() {
            return false;
        }
        self.log_in(data).await;
        self.login["success"] == true
    }

    pub(crate) async fn log_in(&mut self, data: Value) {
        let mut all = json!({
            "ACCOUNT_NAME": "acme-dev", "CLIENT_APP_ID": "PythonConnector", "CLIENT_APP_VERSION": "5.2.0",
            "SESSION_PARAMETERS": {"QUERY_TAG": "t", "CLIENT_RUNTIME_NAME": "CPython"},
            "CLIENT_ENVIRONMENT": {"APPLICATION": "test"},
        });
        for (name, value) in data.as_object().unwrap() {
            all[name] = value.clone();
        }
        let (_, login) = self
            .post("/session/v1/login-request?databaseName=&schemaName=", &json!({"data": all}))
            .await;
        self.token = login["data"]["token"].as_str().unwrap_or_default().to_owned();
        self.master = login["data"]["masterToken"].as_str().unwrap_or_default().to_owned();
        self.login = login;
    }

    /// Runs a statement to its end.
    pub(crate) async fn query(&self, sql: &str) -> Value {
        self.wait(self.submit(sql).await).await
    }

    /// The first answer to a statement: it may be that it is not done.
    pub(crate) async fn submit(&self, sql: &str) -> Value {
        self.query_as(&Uuid::new_v4().to_string(), &json!({"sqlText": sql})).await
    }

    /// Sends a request, by its id, and waits for its end.
    pub(crate) async fn ask(&self, request_id: &str, body: &Value) -> Value {
        self.wait(self.query_as(request_id, body).await).await
    }

    /// The first answer to a request, by its id.
    pub(crate) async fn query_as(&self, request_id: &str, body: &Value) -> Value {
        let path = format!(
            "/queries/v1/query-request?requestId={request_id}&request_guid={}",
            Uuid::new_v4()
        );
        let (status, answer) = self.post(&path, body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Polls until the statement is done, as every driver does.
    pub(crate) async fn wait(&self, mut answer: Value) -> Value {
        for _ in 0..100 {
            if !matches!(answer["code"].as_str(), Some("333333" | "333334")) {
                return answer;
            }
            assert_eq!(answer["success"], true);
            let path = answer["data"]["getResultUrl"].as_str().unwrap().to_owned();
            answer = self.get(&path).await.1;
        }
        panic!("it never ended");
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string().into_bytes();
        let (status, answer) = self.send(Method::POST, path, &self.token, body, &[]).await;
        (status, serde_json::from_slice(&answer).unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let (status, answer) = self.fetch(path).await;
        (status, serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// A plain GET without a token, of a path or of a link.
    pub(crate) async fn fetch(&self, path: &str) -> (u16, Vec<u8>) {
        self.send(Method::GET, path, &self.token, Vec::new(), &[]).await
    }

    /// A plain GET whose body is still to come.
    pub(crate) async fn open(&self, path: &str) -> Response<Incoming> {
        self.exchange(Method::GET, path, &self.token, Vec::new(), &[]).await
    }

    /// Of which type the answer to a plain GET is: the Node driver parses by it.
    pub(crate) async fn type_of(&self, path: &str) -> String {
        let answer = self.open(path).await;
        answer.headers()["content-type"].to_str().unwrap().to_owned()
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> (u16, Vec<u8>) {
        let response = self.exchange(method, path, token, body, headers).await;
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    /// The answer, unless nobody is there.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Option<Value> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("authorization", format!("Snowflake Token=\"{}\"", self.token))
            .header("accept", "application/snowflake")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let answer = self.client.request(request).await.ok()?;
        let answer = answer.into_body().collect().await.ok()?.to_bytes();
        serde_json::from_slice(&answer).ok()
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Response<Incoming> {
        let url =
            if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("Snowflake Token=\"{token}\""))
            .header("accept", "application/snowflake")
            .header("user-agent", "PythonConnector/5.2.0");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        self.client.request(request).await.unwrap()
    }
}
