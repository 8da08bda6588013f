//! An account that answers as it is told, over TLS, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The account's host, and where it puts chunks.
pub(crate) const HOST: &str = "acme-dev.snowflakecomputing.com";
pub(crate) const STORE: &str = "chunks.store.example";
/// The account's id of every statement, unless it is told otherwise.
pub(crate) const QUERY_ID: &str = "01b2c3d4-0000-4000-8000-000000000001";

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) token: Option<String>,
    pub(crate) body: Value,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) gzip: bool,
    /// It is told only once this is true.
    pub(crate) gate: Option<watch::Receiver<bool>>,
    /// The connection is cut instead.
    pub(crate) cut: bool,
    /// The connection is cut after so many bytes of the body.
    pub(crate) breaks_at: Option<usize>,
    /// What follows so many bytes of the body comes only once this is true.
    pub(crate) pauses_at: Option<(usize, watch::Receiver<bool>)>,
}

impl Told {
    pub(crate) fn json(body: &Value) -> Self {
        Self {
            status: 200,
            body: body.to_string().into_bytes(),
            gzip: false,
            gate: None,
            cut: false,
            breaks_at: None,
            pauses_at: None,
        }
    }
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::json(&json!({})) }
    }
    pub(crate) fn cut() -> Self {
        Self { cut: true, ..Self::json(&json!({})) }
    }
    pub(crate) fn once(self, gate: watch::Receiver<bool>) -> Self {
        Self { gate: Some(gate), ..self }
    }
}

type Script = Box<dyn Fn(&Asked) -> Option<Told> + Send + Sync>;

pub(crate) struct Account {
    pub(crate) address: SocketAddr,
    pub(crate) ca: String,
    pub(crate) asked: Mutex<Vec<Asked>>,
    script: Mutex<Script>,
}

impl Account {
    pub(crate) async fn start() -> Arc<Self> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([HOST.to_owned(), STORE.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            ca: certificate.pem(),
            asked: Mutex::default(),
            script: Mutex::new(Box::new(|_| None)),
        });
        let serving = Arc::clone(&this);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, this) = (tls.clone(), Arc::clone(&serving));
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let this = Arc::clone(&this);
                        async move { this.answer(request).await }
                    });
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        this
    }

    /// From now on it answers like this; what the script leaves out is answered as usual.
    pub(crate) fn answers(&self, script: impl Fn(&Asked) -> Option<Told> + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Requests to a path so far.
    pub(crate) fn requests(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// Statements that reached it.
    pub(crate) fn statements(&self) -> Vec<Asked> {
        self.requests("/queries/v1/query-request")
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, std::io::Error>>, std::io::Error> {
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let asked = Asked {
            host: header("host").unwrap_or_default(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            token: header("authorization"),
            body: Value::Null,
        };
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let asked = Asked { body: serde_json::from_slice(&body).unwrap_or_default(), ..asked };
        self.asked.lock().unwrap().push(asked.clone());
        let told = (self.script.lock().unwrap())(&asked);
        let told = told.unwrap_or_else(|| usual(&asked));
        if let Some(mut gate) = told.gate {
            gate.wait_for(|open| *open).await.unwrap();
        }
        if told.cut {
            return Err(std::io::Error::other("cut"));
        }
        let mut response = Response::builder().status(told.status);
        let body = if told.gzip {
            use std::io::Write as _;
            response = response.header("content-encoding", "gzip");
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&told.body).unwrap();
            gzip.finish().unwrap()
        } else {
            told.body
        };
        let body = Bytes::from(body);
        if let Some((at, mut gate)) = told.pauses_at {
            let (first, further) = (body.slice(..at), body.slice(at..));
            let further = futures::stream::once(async move {
                gate.wait_for(|open| *open).await.unwrap();
                Ok(Frame::data(further))
            });
            let first = futures::stream::iter([Ok(Frame::data(first))]);
            let body = StreamBody::new(futures::StreamExt::chain(first, further));
            return Ok(response.body(body.boxed_unsync()).unwrap());
        }
        let Some(at) = told.breaks_at else {
            let body = Full::new(body).map_err(|never| match never {});
            return Ok(response.body(body.boxed_unsync()).unwrap());
        };
        let pieces = [Ok(Frame::data(body.slice(..at))), Err(std::io::Error::other("cut"))];
        let body = StreamBody::new(futures::stream::iter(pieces));
        Ok(response.body(body.boxed_unsync()).unwrap())
    }
}

fn usual(asked: &Asked) -> Told {
    match asked.path.as_str() {
        "/session/v1/login-request" => Told::json(&json!({
            "data": {
                "token": "UPSTREAM-SESSION", "masterToken": "UPSTREAM-MASTER",
                "validityInSeconds": 3600, "masterValidityInSeconds": 14400,
                "sessionId": 9_007_199_254_740_993_u64,
                "parameters": [{"name": "AUTOCOMMIT", "value": true}],
                "sessionInfo": {"databaseName": "DEMO", "schemaName": "PUBLIC",
                                "warehouseName": "COMPUTE_WH", "roleName": "ANALYST"},
            },
            "code": null, "message": null, "success": true,
        })),
        "/session/token-request" => Told::json(&json!({
            "data": {"sessionToken": "UPSTREAM-SESSION-2", "validityInSecondsST": 3600,
                     "masterToken": "UPSTREAM-MASTER-2", "validityInSecondsMT": 14400, "sessionId": 1},
            "success": true,
        })),
        "/queries/v1/query-request" => {
            Told::json(&rows(&["ID", "EMAIL"], &[&["1", "ada@example.com"]]))
        }
        _ => Told::json(&json!({"data": null, "code": null, "message": null, "success": true})),
    }
}

/// A result in JSON.
pub(crate) fn rows(columns: &[&str], rows: &[&[&str]]) -> Value {
    let rowtype: Vec<Value> = columns
        .iter()
        .map(|name| {
            let number = *name == "ID";
            json!({
                "name": name, "database": "DEMO", "schema": "PUBLIC", "table": "CUSTOMERS",
                "type": if number { "fixed" } else { "text" }, "nullable": true,
                "precision": if number { json!(10) } else { Value::Null },
                "scale": if number { json!(0) } else { Value::Null },
                "length": if number { Value::Null } else { json!(120) },
                "byteLength": null, "collation": null,
            })
        })
        .collect();
    json!({
        "data": {
            "parameters": [{"name": "TIMEZONE", "value": "Etc/UTC"}], "rowtype": rowtype, "rowset": rows,
            "total": rows.len(), "returned": rows.len(), "queryId": QUERY_ID,
            "statementTypeId": 4096, "queryResultFormat": "json",
            "finalDatabaseName": "DEMO", "finalSchemaName": "PUBLIC",
            "finalWarehouseName": "COMPUTE_WH", "finalRoleName": "ANALYST",
        },
        "code": null, "message": null, "success": true,
    })
}

/// A failure.
pub(crate) fn failure(code: &str, message: &str) -> Value {
    json!({
        "data": {"errorCode": code, "sqlState": "22000", "queryId": QUERY_ID, "line": 1, "pos": 7},
        "code": code, "message": message, "success": false,
    })
}

/// In progress.
pub(crate) fn pending() -> Value {
    json!({
        "data": {"queryId": QUERY_ID, "getResultUrl": format!("/queries/{QUERY_ID}/result")},
        "code": "333333", "message": "Query execution in progress.", "success": true,
    })
}
