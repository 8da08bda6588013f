//! A model's provider that follows a script, over TLS, and the client that talks to it through the proxy.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub(crate) const PROVIDER: &str = "api.model.example";
/// A key that must never be seen anywhere but at the provider.
pub(crate) const KEY: &str = "sk-ant-api03-never-to-be-recorded";

/// What the provider was asked.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// What it says.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) parts: Vec<Vec<u8>>,
    /// Part n is said once this is at least n.
    pub(crate) gate: Option<watch::Receiver<usize>>,
}

type Script = Box<dyn Fn(&Heard) -> Say + Send + Sync>;

pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    pub(crate) ca: String,
    pub(crate) heard: Mutex<Vec<Heard>>,
    script: Mutex<Script>,
}

impl Say {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".into())],
            parts: vec![body.to_string().into_bytes()],
            gate: None,
        }
    }

    /// Events, in parts of this many bytes.
    pub(crate) fn events(events: &[Value], part: usize) -> Self {
        let bytes = wire(events);
        Self {
            status: 200,
            headers: vec![
                ("content-type", "text/event-stream; charset=utf-8".into()),
                ("request-id", "req_011".into()),
            ],
            parts: bytes.chunks(part).map(<[u8]>::to_vec).collect(),
            gate: None,
        }
    }

    pub(crate) fn gzipped(mut self) -> Self {
        use std::io::Write as _;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let parts = std::mem::take(&mut self.parts);
        for part in parts {
            gzip.write_all(&part).unwrap();
            gzip.flush().unwrap();
            self.parts.push(std::mem::take(gzip.get_mut()));
        }
        self.parts.push(gzip.finish().unwrap());
        self.headers.push(("content-encoding", "gzip".into()));
        self
    }
}

/// Events as they are sent.
pub(crate) fn wire(events: &[Value]) -> Vec<u8> {
    let event =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(event).collect::<String>().into_bytes()
}

/// An answer that asks for tool calls: `(id, tool, input)`, each input in small parts.
pub(crate) fn calling(calls: &[(&str, &str, Value)]) -> Vec<Value> {
    let mut events = vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
               "model": "claude-test", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "I look. ü"}}),
        json!({"type": "content_block_stop", "index": 0}),
    ];
    for (index, (id, tool, input)) in (1..).zip(calls) {
        events.push(json!({"type": "content_block_start", "index": index,
            "content_block": {"type": "tool_use", "id": id, "name": tool, "input": {}}}));
        let input: Vec<char> = input.to_string().chars().collect();
        for part in input.chunks(7) {
            let part: String = part.iter().collect();
            events.push(json!({"type": "content_block_delta", "index": index,
                "delta": {"type": "input_json_delta", "partial_json": part}}));
        }
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}));
    events.push(json!({"type": "message_stop"}));
    events
}

impl Provider {
    pub(crate) async fn start() -> Arc<Self> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([PROVIDER.to_owned()]).unwrap();
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
            heard: Mutex::default(),
            script: Mutex::new(Box::new(|_| Say::json(200, &json!({"content": []})))),
        });
        let serving = Arc::clone(&this);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (tls, this) = (tls.clone(), Arc::clone(&serving));
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let this = Arc::clone(&this);
                        async move { Ok::<_, Infallible>(this.answer(request).await) }
                    });
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        this
    }

    pub(crate) fn says(&self, script: impl Fn(&Heard) -> Say + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let (head, body) = request.into_parts();
        let heard = Heard {
            method: head.method.to_string(),
            path: head.uri.to_string(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        };
        self.heard.lock().unwrap().push(heard.clone());
        let say = (self.script.lock().unwrap())(&heard);
        let mut response = Response::builder().status(say.status);
        for (name, value) in &say.headers {
            response = response.header(*name, value);
        }
        let parts = futures::stream::iter(say.parts.into_iter().enumerate());
        let parts = parts.then(move |(number, part)| {
            let gate = say.gate.clone();
            async move {
                if let Some(mut gate) = gate {
                    gate.wait_for(|open| *open >= number).await.unwrap();
                }
                Ok(Frame::data(Bytes::from(part)))
            }
        });
        response.body(StreamBody::new(parts).boxed_unsync()).unwrap()
    }
}

/// A model's client.
pub(crate) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    base: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Client {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self {
            pool: Pool::builder(TokioExecutor::new()).build_http(),
            base: format!("http://{address}"),
            headers: vec![
                ("x-api-key", KEY.into()),
                ("anthropic-version", "2023-06-01".into()),
                ("accept-encoding", "gzip, br".into()),
            ],
        }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &[u8]) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        self.pool.request(request).await.unwrap()
    }

    /// Asks the model, and reads the whole answer.
    pub(crate) async fn ask(&self, messages: &Value) -> Vec<u8> {
        let body = json!({"model": "claude-test", "max_tokens": 100, "stream": true, "messages": messages});
        let answer = self.send("POST", "/v1/messages?beta=true", body.to_string().as_bytes()).await;
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap().to_bytes().to_vec()
    }
}
