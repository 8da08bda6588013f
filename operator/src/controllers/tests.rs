//! What is written to the API server, and what is not, against a scripted one.

use std::time::Duration;

use crds::conditions::{self, Saying, reason};
use crds::{AccessPolicy, AccessPolicyStatus};
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

fn policy() -> AccessPolicy {
    serde_json::from_value(json!({
        "apiVersion": "frostgate.dev/v1alpha1", "kind": "AccessPolicy",
        "metadata": {"namespace": "agents", "name": "support", "generation": 4, "resourceVersion": "7"},
        "spec": {"connectionRef": {"name": "prod"}, "subjects": [{}]},
    }))
    .unwrap()
}

fn status(message: &str) -> AccessPolicyStatus {
    let mut status = AccessPolicyStatus { observed_generation: Some(4), ..Default::default() };
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    conditions::set(
        &mut status.conditions,
        Saying::no(conditions::READY, reason::INVALID, message),
        Some(4),
        now,
    );
    status
}

#[tokio::test]
async fn a_status_is_applied_with_our_field_manager_and_nothing_but_the_status() {
    let (service, mut api_server) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    let script = tokio::spawn(async move {
        let (request, answer) = api_server.next_request().await.expect("a write");
        let (parts, body) = request.into_parts();
        let body: Value =
            serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        answer.send_response(Response::new(Body::from(serde_json::to_vec(&policy()).unwrap())));
        (parts.method, parts.uri.to_string(), body)
    });
    apply_status(&client, &policy(), None, &status("no")).await.unwrap();
    let (method, uri, body) =
        tokio::time::timeout(Duration::from_secs(5), script).await.unwrap().unwrap();
    assert_eq!(method, "PATCH");
    assert_eq!(
        uri,
        "/apis/frostgate.dev/v1alpha1/namespaces/agents/accesspolicies/support/status?&force=true&fieldManager=frostgate-operator"
    );
    let mut keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["apiVersion", "kind", "status"]);
    assert_eq!(body["status"]["conditions"][0]["observedGeneration"], 4);
}

#[tokio::test]
async fn a_status_that_says_the_same_is_not_written() {
    let (service, mut api_server) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    apply_status(&client, &policy(), Some(&status("no")), &status("no")).await.unwrap();
    drop(client);
    assert!(api_server.next_request().await.is_none());
}
