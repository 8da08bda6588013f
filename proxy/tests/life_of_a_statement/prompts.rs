//! Model traffic through the sidecar: as it was, and known to the statements that come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control::update::{PromptCapture, Prompts};
use http_body_util::BodyExt as _;
use recording::Fact;
use recording::entry::{Attempted, Prompted};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::Scene;
use crate::driver::Driver;
use crate::messages::{Client, KEY, PROVIDER, Provider, Say, calling, wire};

struct Talk {
    scene: Scene,
    provider: Arc<Provider>,
}

impl Talk {
    async fn start(capture: PromptCapture) -> Self {
        let provider = Provider::start().await;
        let address = provider.address;
        let scene = Scene::with(|config| {
            config.resolve.insert(PROVIDER.into(), address);
        })
        .await;
        let ca_bundle = Some(provider.ca.clone());
        scene.operator.change(|snapshot| {
            snapshot.connection.prompts = Some(Prompts {
                capture,
                upstream: format!("https://{PROVIDER}"),
                ca_bundle,
                private_networks: Vec::new(),
                https_proxy: None,
            });
        });
        let talk = Self { scene, provider };
        // The change is on its way.
        for _ in 0..200 {
            if talk.client().send("GET", "/v1/models", b"").await.status() == 200 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        talk.provider.heard.lock().unwrap().clear();
        talk
    }

    fn client(&self) -> Client {
        Client::at(self.scene.prompts)
    }

    /// Ends everything; gives what was recorded.
    async fn recorded(self) -> (Vec<Prompted>, Vec<Attempted>, Vec<u8>) {
        let operator = Arc::clone(&self.scene.operator);
        self.scene.end().await;
        let stored = operator.stored.lock().unwrap().clone();
        let mut files: BTreeMap<String, BTreeMap<u64, Vec<u8>>> = BTreeMap::new();
        for file in &stored {
            let header = recording::segment::Header::of(file).unwrap();
            files.entry(header.session).or_default().insert(header.segment, file.to_vec());
        }
        let (mut prompts, mut attempts, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (session, files) in &files {
            let report = recording::verify::read(session, files, |item| {
                all.extend(serde_json::to_vec(&item.entry).unwrap());
                match item.entry.fact {
                    Fact::Prompted(it) => prompts.push(*it),
                    Fact::Attempted(it) => attempts.push(*it),
                    _ => {}
                }
            });
            assert!(report.contradictions.is_empty(), "{report:?}");
        }
        (prompts, attempts, all)
    }
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn results(ids: &[&str]) -> Value {
    let result = |id: &&str| json!({"type": "tool_result", "tool_use_id": id, "content": "7"});
    json!({"role": "user", "content": ids.iter().map(result).collect::<Vec<_>>()})
}

#[tokio::test(flavor = "multi_thread")]
async fn model_traffic_passes_byte_for_byte_and_no_byte_waits_for_the_next() {
    let talk = Talk::start(PromptCapture::Full).await;
    let events = calling(&[("toolu_1", "run_sql", json!({"sql": "select id from customers"}))]);
    let bytes = wire(&events);
    let (open, gate) = watch::channel(0);
    let say = Say { gate: Some(gate), ..Say::events(&events, 13) };
    talk.provider.says(move |_| say.clone());

    let mut client = talk.client();
    client.headers.push(("anthropic-beta", "context-1m-2025-08-07".into()));
    client.headers.push(("x-frostgate-container", "agent".into()));
    // As no serializer would write it: it must arrive so.
    let body = b"{ \"model\":\"claude-test\" ,\"messages\":[ {\"role\":\"user\",\"content\":\"\\u0067o\"}], \"x\":1e2 }";
    let answer = client.send("POST", "/v1/messages?beta=true", body).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["request-id"], "req_011");
    let mut answer = answer.into_body();
    let mut got = Vec::new();
    for number in 0..bytes.chunks(13).len() {
        open.send_replace(number);
        // The next part is not sent before this one is here.
        while got.len() < bytes.len().min((number + 1) * 13) {
            got.extend_from_slice(&answer.frame().await.unwrap().unwrap().into_data().unwrap());
        }
    }
    assert!(answer.frame().await.is_none());
    assert_eq!(got, bytes);

    let heard = talk.provider.heard.lock().unwrap()[0].clone();
    assert_eq!((heard.method.as_str(), heard.path.as_str()), ("POST", "/v1/messages?beta=true"));
    assert_eq!(heard.body, body);
    assert_eq!(heard.headers["x-api-key"], KEY);
    assert_eq!(heard.headers["anthropic-beta"], "context-1m-2025-08-07");
    assert_eq!(heard.headers["accept-encoding"], "gzip");
    assert_eq!(heard.headers["host"], PROVIDER);
    assert!(!heard.headers.contains_key("x-frostgate-container"));
    talk.scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_other_endpoints_and_odd_answers_pass_as_they_are() {
    let talk = Talk::start(PromptCapture::Full).await;
    let client = talk.client();
    let overloaded =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    for (method, path, say) in [
        ("POST", "/v1/messages", Say::json(529, &overloaded)),
        ("POST", "/v1/messages/count_tokens", Say::json(200, &json!({"input_tokens": 7}))),
        ("GET", "/v1/models/claude-x?a=b", Say::json(404, &json!({"type": "error"}))),
        ("DELETE", "/v1/files/file_1", Say::json(200, &json!({}))),
        (
            "POST",
            "/v1/messages",
            Say { parts: vec![b"data: {broken\n\n\xff\x00".to_vec()], ..Say::events(&[], 1) },
        ),
        (
            "POST",
            "/v1/messages",
            Say { parts: vec![vec![b'{'; 3 << 20]], ..Say::json(200, &json!({})) },
        ),
        // It says gzip and is not.
        (
            "POST",
            "/v1/messages",
            Say {
                headers: vec![
                    ("content-type", "application/json".into()),
                    ("content-encoding", "gzip".into()),
                ],
                ..Say::json(200, &json!({}))
            },
        ),
    ] {
        let (status, expected) = (say.status, say.parts.concat());
        talk.provider.says(move |_| say.clone());
        let answer = client.send(method, path, b"no request either").await;
        assert_eq!(answer.status(), status, "{path}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body == expected, "{path}");
        assert_eq!(talk.provider.heard.lock().unwrap().last().unwrap().path, path);
    }
    talk.scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_pass_is_refused_in_the_form_of_the_messages_api() {
    let scene = Scene::set().await;
    let client = Client::at(scene.prompts);
    let refused = async |client: &Client, path: &str| {
        let answer = client.send("POST", path, b"{}").await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["type"], "error");
        let message = body["error"]["message"].as_str().unwrap().to_owned();
        (status, body["error"]["type"].as_str().unwrap().to_owned(), message)
    };
    let (status, kind, message) = refused(&client, "/v1/messages").await;
    assert_eq!((status, kind.as_str()), (403, "permission_error"));
    assert!(message.starts_with("FG-6007"), "{message}");
    scene.end().await;

    let talk = Talk::start(PromptCapture::Full).await;
    let client = talk.client();
    for path in ["/", "/api/hello", "/v1/../admin", "/v1//messages"] {
        let (status, kind, message) = refused(&client, path).await;
        assert_eq!((status, kind.as_str()), (404, "not_found_error"), "{path}");
        assert!(message.starts_with("FG-6003"), "{message}");
    }
    let mut foreign = talk.client();
    foreign.headers.push(("host", "evil.example".into()));
    assert_eq!(refused(&foreign, "/v1/messages").await.0, 404);

    // Nobody trusts this provider any more.
    talk.scene.operator.change(|snapshot| {
        snapshot.connection.prompts.as_mut().unwrap().ca_bundle = None;
    });
    for _ in 0..200 {
        if client.send("GET", "/v1/models", b"").await.status() != 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let (status, kind, message) = refused(&client, "/v1/messages").await;
    assert_eq!((status, kind.as_str()), (502, "api_error"));
    assert!(message.starts_with("FG-4005") && message.contains("spec.prompts"), "{message}");
    talk.scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_on_record_with_the_prompt_and_the_call_that_led_to_it() {
    let talk = Talk::start(PromptCapture::Full).await;
    let driver = talk.scene.driver().await;
    driver.query("select 1 as before_anything").await;
    let input =
        json!({"command": "snow sql -q \"select id from customers; delete from customers\""});
    let events = calling(&[("toolu_1", "Bash", input)]);
    talk.provider.says(move |_| Say::events(&events, 100).gzipped());
    let mut client = talk.client();
    client.headers.push(("x-claude-code-session-id", "0b7e".into()));
    client.headers.push(("x-frostgate-container", "agent".into()));
    client.ask(&json!([user("clean up the customers")])).await;

    driver.query("select id from customers").await;
    let pending = driver.submit("DELETE FROM customers").await;
    let (statement, ask) = talk.scene.operator.questions(1).await.remove(0);
    let intent = ask.intent.clone().unwrap();
    assert_eq!(intent.excerpt.as_deref(), Some("clean up the customers"));
    assert_eq!(
        (intent.confidence.as_str(), intent.tool_use.as_deref()),
        ("HashNormalised", Some("toolu_1"))
    );
    talk.scene.operator.approve("0190a000-0000-7000-8000-000000000001", &statement, &ask.digest);
    driver.wait(pending).await;
    let events = calling(&[]);
    talk.provider.says(move |_| Say::events(&events, 100));
    client.ask(&json!([user("clean up the customers"),
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}]},
        results(&["toolu_1"])])).await;
    // Whatever runs now runs for another reason.
    driver.query("select id from customers").await;

    let (prompts, attempts, all) = talk.recorded().await;
    assert_eq!(prompts.len(), 1);
    assert_eq!((prompts[0].text.as_str(), prompts[0].masked), ("clean up the customers", false));
    let links: Vec<_> = attempts.iter().map(|it| it.prompt.clone().unwrap()).collect();
    let sure: Vec<&str> = links.iter().map(|link| link.confidence.as_str()).collect();
    assert_eq!(sure, ["None", "Hash", "HashNormalised", "None"]);
    let link = &links[1];
    assert_eq!(link.digest, Some(prompts[0].digest));
    assert_eq!(link.tool_use.as_deref(), Some("toolu_1"));
    assert_eq!(link.tool.as_deref(), Some("Bash"));
    assert_eq!(link.model.as_deref(), Some("claude-test"));
    assert_eq!(link.request.as_deref(), Some("req_011"));
    assert_eq!(link.conversation.as_deref(), Some("0b7e"));
    assert_eq!(link.container.as_deref(), Some("agent"));
    assert_eq!(links[0].digest, None);
    assert!(!String::from_utf8_lossy(&all).contains(KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masked_prompt_keeps_no_secret_and_off_keeps_nothing() {
    for capture in [PromptCapture::Masked, PromptCapture::Off] {
        let talk = Talk::start(capture).await;
        let driver = talk.scene.driver().await;
        let message = json!({"id": "msg_1", "model": "claude-test", "content": [
            {"type": "tool_use", "id": "toolu_1", "name": "q", "input": {"sql": "select id from customers"}}]});
        talk.provider.says(move |_| Say::json(200, &message));
        talk.client()
            .ask(&json!([user("refund ada@example.com on 4111 1111 1111 1111 please")]))
            .await;
        driver.query("select id from customers").await;
        let (prompts, attempts, all) = talk.recorded().await;
        let all = String::from_utf8_lossy(&all).into_owned();
        assert!(!all.contains("ada@example.com") && !all.contains("4111 1111"), "{all}");
        if capture == PromptCapture::Off {
            assert!(prompts.is_empty() && attempts[0].prompt.is_none());
        } else {
            assert!(prompts[0].masked && prompts[0].text.starts_with("refund "), "{prompts:?}");
            assert_eq!(attempts[0].prompt.as_ref().unwrap().confidence, "Hash");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_conversations_at_once_are_never_mixed_up() {
    let talk = Talk::start(PromptCapture::Full).await;
    // The call that the request asks for is the one it gets.
    talk.provider.says(|heard| {
        let body: Value = serde_json::from_slice(&heard.body).unwrap();
        let last = body["messages"].as_array().unwrap().last().unwrap().clone();
        let Some(text) = last["content"].as_str() else { return Say::events(&calling(&[]), 50) };
        let (id, sql) = text.split_once(' ').unwrap();
        let filler = "x".repeat(20_000);
        let input = json!({"note": filler, "command": format!("snow sql -q '{sql}'")});
        Say::events(&calling(&[(id, "Bash", input)]), 1000 + id.len())
    });
    let conversations = (0..4).map(async |conversation| {
        let driver = talk.scene.driver().await;
        let client = talk.client();
        for round in 0..8 {
            let id = format!("toolu_{conversation}_{round}");
            // Half of them ask for the same as everybody else does.
            let number = if round % 2 == 0 { conversation * 100 + round } else { 7 };
            let sql = format!("select id from customers where id = {number}");
            let said = format!("{id} {sql}");
            client.ask(&json!([user(&said)])).await;
            let by = format!("/* by {conversation}_{round} */");
            driver.query(&format!("{sql} {by}")).await;
            driver.query(&format!("select id from customers where id = -1 {by}")).await;
            client.ask(&json!([user(&said),
                {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "Bash", "input": {}}]},
                results(&[&id])])).await;
        }
    });
    futures::future::join_all(conversations).await;
    let (prompts, attempts, _) = talk.recorded().await;
    let texts: BTreeMap<_, _> =
        prompts.iter().map(|prompt| (prompt.digest, &prompt.text)).collect();
    let mut linked = BTreeSet::new();
    for attempt in &attempts {
        let link = attempt.prompt.as_ref().unwrap();
        let (_, by) = attempt.sql.split_once("/* by ").unwrap();
        let by = format!("toolu_{}", by.trim_end_matches(" */"));
        let Some(digest) = link.digest else { continue };
        assert!(texts[&digest].starts_with(&format!("{by} ")), "{} by {link:?}", attempt.sql);
        assert_eq!(link.tool_use.as_ref(), Some(&by));
        if link.confidence != "Time" {
            assert!(!attempt.sql.contains("= -1"), "{} by {link:?}", attempt.sql);
            linked.insert(by);
        }
    }
    assert_eq!(attempts.len(), 64);
    assert!(linked.len() >= 16, "{linked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_or_a_name_links_what_the_text_does_not_show() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let talk = Talk::start(PromptCapture::Full).await;
    let events = calling(&[("toolu_1", "Bash", json!({"command": "dbt run"}))]);
    talk.provider.says(move |_| Say::events(&events, 64));
    let driver = talk.scene.driver().await;
    let mut tagged = Driver::at(talk.scene.proxy);
    tagged.log_in(json!({"SESSION_PARAMETERS": {"QUERY_TAG": PARENT}})).await;
    let mut client = talk.client();
    client.headers.push(("traceparent", PARENT.into()));
    client.ask(&json!([user("build the models")])).await;

    tagged.query("select id from customers").await;
    driver.query(&format!("select id from customers /*traceparent='{PARENT}'*/")).await;
    driver.query("select id from customers /* tool_use_id='toolu_1' */").await;
    let statement =
        json!({"sqlText": "select id from customers", "parameters": {"QUERY_TAG": "toolu_1"}});
    driver.query_as("tagged", &statement).await;
    driver
        .query_as(
            "forged",
            &json!({"sqlText": "select id from customers", "parameters": {"QUERY_TAG": "toolu_2"}}),
        )
        .await;
    let (prompts, attempts, _) = talk.recorded().await;
    let found: BTreeSet<String> = attempts
        .iter()
        .map(|it| {
            let link = it.prompt.as_ref().unwrap();
            format!("{} {} {:?}", link.confidence, link.source, link.tool_use)
        })
        .collect();
    insta::assert_debug_snapshot!(found);
    assert_eq!(
        prompts.iter().map(|it| it.text.as_str()).collect::<BTreeSet<_>>(),
        ["build the models"].into()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_by_address_is_looked_at_like_one_by_name() {
    let provider = Provider::start().await;
    let scene = Scene::set().await;
    let port = provider.address.port();
    let client = Client::at(scene.prompts);
    let change = |upstream: String, private_networks: Vec<String>| {
        let ca_bundle = Some(provider.ca.clone());
        scene.operator.change(|snapshot| {
            let capture = PromptCapture::Full;
            snapshot.connection.prompts =
                Some(Prompts { capture, upstream, ca_bundle, private_networks, https_proxy: None });
        });
    };
    let refused = async |upstream: String| {
        change(upstream.clone(), Vec::new());
        let mut said = String::new();
        for _ in 0..200 {
            let answer = client.send("GET", "/v1/models", b"").await;
            assert_ne!(answer.status(), 200);
            let answer = answer.into_body().collect().await.unwrap().to_bytes();
            said = String::from_utf8_lossy(&answer).into_owned();
            if said.contains("FG-4005") && said.contains("is not public") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{upstream}: {said}");
    };
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
        refused(format!("https://{host}:{port}")).await;
    }
    assert!(provider.heard.lock().unwrap().is_empty());
    scene.end().await;
}
