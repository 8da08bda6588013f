//! Whose token it is, and which pods count as alive.

use serde_json::{Value, json};

use super::*;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn bearer() -> Bearer {
    Bearer {
        namespace: "agents".into(),
        service_account: "bot".into(),
        pod: "bot-1".into(),
        pod_uid: "u1".into(),
    }
}

fn pod() -> Value {
    json!({
        "metadata": {
            "name": "bot-1", "namespace": "agents", "uid": "u1",
            "annotations": {"frostgate.dev/connection": "prod"},
            "labels": {"pod-template-hash": "6c9d"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "bot-6c9d", "uid": "r", "controller": true}],
        },
        "spec": {
            "nodeName": "n1", "containers": [],
            "initContainers": [{"name": "frostgate-proxy", "image": format!("r.example/proxy@{DIGEST}")}],
        },
        "status": {
            "phase": "Running",
            "initContainerStatuses": [{"name": "frostgate-proxy", "image": "x", "imageID": format!("mallory/fake@{DIGEST}"), "ready": true, "restartCount": 0}],
        },
    })
}

fn decoded(pod: Value) -> Pod {
    serde_json::from_value(pod).unwrap()
}

#[test]
fn the_live_pod_must_be_the_tokens_and_run_our_sidecar() {
    let with = |pointer: &str, value: Value| {
        let mut pod = pod();
        *pod.pointer_mut(pointer).unwrap() = value;
        pod
    };
    let cases = [
        ("as it should be", pod(), "ok"),
        ("another pod of the same name", with("/metadata/uid", json!("u2")), "refused"),
        ("ended", with("/status/phase", json!("Succeeded")), "refused"),
        ("starting", with("/status/phase", json!("Pending")), "ok"),
        ("no connection", with("/metadata/annotations", json!({})), "refused"),
        (
            "another image",
            with("/spec/initContainers/0/image", json!("r.example/proxy:latest")),
            "refused",
        ),
        ("look-alike name", with("/spec/initContainers/0/name", json!("proxy")), "refused"),
        (
            "another image runs",
            with("/status/initContainerStatuses/0/imageID", json!("r.example/proxy@sha256:bb")),
            "refused",
        ),
        (
            "bare configuration digest",
            with("/status/initContainerStatuses/0/imageID", json!(DIGEST)),
            "ok",
        ),
        (
            "not reported yet",
            with("/status/initContainerStatuses/0/imageID", json!("")),
            "unavailable",
        ),
        ("ephemeral container", with("/spec/containers", json!([])), "ok"),
    ];
    for (case, pod, outcome) in cases {
        let got = match bearer().check(&decoded(pod), &[DIGEST.to_owned()]) {
            Ok(()) => "ok",
            Err(Error::Unavailable(_)) => "unavailable",
            Err(_) => "refused",
        };
        assert_eq!(got, outcome, "{case}");
    }
    let mut debugged = pod();
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "busybox"}]);
    assert!(bearer().check(&decoded(debugged), &[DIGEST.to_owned()]).is_err());
}

#[test]
fn a_token_counts_only_for_our_audience_and_bound_to_a_pod() {
    let review =
        |status: &Value| -> TokenReviewStatus { serde_json::from_value(status.clone()).unwrap() };
    let user = json!({
        "username": "system:serviceaccount:agents:bot",
        "extra": {"authentication.kubernetes.io/pod-name": ["bot-1"], "authentication.kubernetes.io/pod-uid": ["u1"]},
    });
    let good = json!({"authenticated": true, "audiences": ["frostgate"], "user": user});
    let found = Bearer::of(review(&good), Some(AUDIENCE)).unwrap();
    assert_eq!((found.namespace.as_str(), found.pod_uid.as_str()), ("agents", "u1"));
    let without = |key: &str| {
        let mut status = good.clone();
        status.as_object_mut().unwrap().remove(key);
        status
    };
    let mut unbound = good.clone();
    unbound["user"]["extra"] = json!({});
    let mut human = good.clone();
    human["user"]["username"] = json!("alice");
    let mut foreign = good.clone();
    foreign["audiences"] = json!(["Frostgate"]);
    for status in
        [without("authenticated"), without("audiences"), unbound, human, foreign.clone(), json!({})]
    {
        let bearer = Bearer::of(review(&status), Some(AUDIENCE));
        assert!(matches!(bearer, Err(Error::Refused(_))), "{status}");
    }
    // A token for the API server says whose it is, and admits nobody here.
    foreign["audiences"] = json!(["https://kubernetes.default.svc"]);
    assert!(Bearer::of(review(&foreign), None).is_ok());
    assert!(Bearer::of(review(&foreign), Some(AUDIENCE)).is_err());
}

#[test]
fn the_workload_is_the_owner_at_the_top() {
    assert_eq!(owner(&decoded(pod())), ("Deployment".to_owned(), "bot".to_owned()));
    let mut job = pod();
    job["metadata"]["ownerReferences"][0]["kind"] = json!("Job");
    job["metadata"]["ownerReferences"][0]["name"] = json!("nightly");
    assert_eq!(owner(&decoded(job)), ("Job".to_owned(), "nightly".to_owned()));
    let mut bare = pod();
    bare["metadata"]["ownerReferences"] = json!([]);
    assert_eq!(owner(&decoded(bare)), ("Pod".to_owned(), "bot-1".to_owned()));
}

#[test]
fn a_pod_whose_node_vanished_is_dead_half_a_minute_after_its_grace_period() {
    let mut leaving = pod();
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:30Z");
    let leaving = decoded(leaving);
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert!(lives(&leaving, at("2026-01-01T00:00:00Z")));
    assert!(lives(&leaving, at("2026-01-01T00:01:00Z")));
    assert!(!lives(&leaving, at("2026-01-01T00:01:01Z")));
}
