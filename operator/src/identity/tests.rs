//! Hostile tokens, as a table: what each is, and why it is refused.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://idp.example";
const NOW: i64 = 1_800_000_000;

/// Keys of the issuer: `rsa`, `ec` (P-256), `ec384`, `ed`; and one of somebody else.
struct Signer {
    rsa: EncodingKey,
    ec: EncodingKey,
    ec384: EncodingKey,
    ed: EncodingKey,
    stranger: EncodingKey,
    ed_public: Vec<u8>,
    rsa_public_pem: String,
}

static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
    let pair = |algorithm| rcgen::KeyPair::generate_for(algorithm).unwrap();
    let rsa = pair(&rcgen::PKCS_RSA_SHA256);
    let ed = pair(&rcgen::PKCS_ED25519);
    Signer {
        ed_public: ed.public_key_raw().to_vec(),
        rsa_public_pem: rsa.public_key_pem(),
        rsa: EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap(),
        ec: EncodingKey::from_ec_der(&pair(&rcgen::PKCS_ECDSA_P256_SHA256).serialize_der()),
        ec384: EncodingKey::from_ec_der(&pair(&rcgen::PKCS_ECDSA_P384_SHA384).serialize_der()),
        ed: EncodingKey::from_ed_der(&ed.serialize_der()),
        stranger: EncodingKey::from_rsa_pem(
            pair(&rcgen::PKCS_RSA_SHA256).serialize_pem().as_bytes(),
        )
        .unwrap(),
    }
});

fn jwk(id: &str, key: &EncodingKey, algorithm: Algorithm) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    jwk["kid"] = id.into();
    jwk["use"] = "sig".into();
    jwk
}

fn key_set() -> Value {
    json!({ "keys": [
        jwk("rsa", &SIGNER.rsa, Algorithm::RS256),
        jwk("ec", &SIGNER.ec, Algorithm::ES256),
        jwk("ec384", &SIGNER.ec384, Algorithm::ES384),
        { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": URL_SAFE_NO_PAD.encode(&SIGNER.ed_public) },
    ]})
}

fn issuer() -> Issuer {
    Issuer {
        issuer: ISSUER.into(),
        audiences: vec!["frostgate".into(), "frostgate-test".into()],
        keys: KeySource::Static(key_set().to_string()),
        groups_claim: Some("groups".into()),
        kubernetes_username: Some(UsernameMapping {
            claim: "email".into(),
            prefix: "oidc:".into(),
        }),
    }
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "alice", "aud": "frostgate", "exp": NOW + 300, "iat": NOW,
        "groups": ["analysts"], "email": "alice@corp", "email_verified": true })
}

fn with(change: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// Header and claims as text, signed.
fn raw(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm).unwrap();
    format!("{signed}.{signature}")
}

fn rsa(claims: &Value) -> String {
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "rsa" }).to_string();
    raw(&header, &claims.to_string(), &SIGNER.rsa, Algorithm::RS256)
}

fn header(change: &Value) -> String {
    let mut header = json!({ "alg": "RS256", "typ": "JWT", "kid": "rsa" });
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            header.as_object_mut().unwrap().remove(name);
        } else {
            header[name] = value.clone();
        }
    }
    raw(&header.to_string(), &claims().to_string(), &SIGNER.rsa, Algorithm::RS256)
}

async fn ask(token: &str) -> Result<Human, Invalid> {
    verify(&Keys::default(), &[issuer()], token, Timestamp::from_second(NOW).unwrap()).await
}

#[tokio::test]
async fn a_good_token_gives_subject_groups_and_user_name() {
    let human = ask(&rsa(&claims())).await.unwrap();
    assert_eq!(
        human,
        Human {
            issuer: ISSUER.into(),
            subject: "alice".into(),
            groups: vec!["analysts".into()],
            kubernetes_username: Some("oidc:alice@corp".into()),
            verified: true,
            expires_at_ms: Some((NOW + 300) * 1000),
        }
    );
    let body = claims().to_string();
    for (key, kid, algorithm) in [
        (&SIGNER.ec, "ec", Algorithm::ES256),
        (&SIGNER.ec384, "ec384", Algorithm::ES384),
        (&SIGNER.ed, "ed", Algorithm::EdDSA),
    ] {
        let header = json!({ "alg": algorithm, "kid": kid, "typ": "at+jwt" }).to_string();
        let token = raw(&header, &body, key, algorithm);
        assert!(ask(&token).await.is_ok(), "{kid}");
    }
    let several = rsa(&with(&json!({ "aud": ["other", "frostgate-test"] })));
    assert!(ask(&several).await.is_ok(), "one of several audiences is ours");
    let edge = rsa(&with(&json!({ "exp": NOW - 59, "nbf": NOW + 59, "iat": NOW + 59 })));
    assert!(ask(&edge).await.is_ok(), "clocks may be a minute apart");
}

#[tokio::test]
async fn hostile_tokens_are_refused_with_the_reason() {
    let good = rsa(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let body = claims().to_string();
    let none = |algorithm: &str| {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": algorithm, "typ": "JWT" }).to_string());
        format!("{header}.{}.", parts[1])
    };
    let unsigned = |algorithm: &str| {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": algorithm, "kid": "rsa" }).to_string());
        format!("{header}.{}.{}", parts[1], parts[2])
    };
    let confused = {
        let secret = EncodingKey::from_secret(SIGNER.rsa_public_pem.as_bytes());
        raw(&json!({ "alg": "HS256", "kid": "rsa" }).to_string(), &body, &secret, Algorithm::HS256)
    };
    let zeros = {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "ES256", "kid": "ec" }).to_string());
        format!("{header}.{}.{}", parts[1], URL_SAFE_NO_PAD.encode([0; 64]))
    };
    let der = {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "ES256", "kid": "ec" }).to_string());
        format!("{header}.{}.{}", parts[1], URL_SAFE_NO_PAD.encode([0x30, 6, 2, 1, 1, 2, 1, 1]))
    };
    let other_curve = raw(
        &json!({ "alg": "ES384", "kid": "ec" }).to_string(),
        &body,
        &SIGNER.ec384,
        Algorithm::ES384,
    );
    let stranger = raw(
        &json!({ "alg": "RS256", "kid": "rsa", "jwk": jwk("rsa", &SIGNER.stranger, Algorithm::RS256) })
            .to_string(),
        &body,
        &SIGNER.stranger,
        Algorithm::RS256,
    );
    let twice = raw(
        &json!({ "alg": "RS256", "kid": "rsa" }).to_string(),
        &body.replacen('{', "{\"sub\":\"mallory\",", 1),
        &SIGNER.rsa,
        Algorithm::RS256,
    );
    let twice_deep = raw(
        &json!({ "alg": "RS256", "kid": "rsa" }).to_string(),
        &body.replacen('{', "{\"x\":{\"a\":1,\"a\":2},", 1),
        &SIGNER.rsa,
        Algorithm::RS256,
    );
    let many: Vec<String> = (0..100_000).map(|number| format!("g{number}")).collect();
    let format = "it is not a well-formed signed token";
    let algorithm = "its signature algorithm";
    let time = "its time does not hold";
    let cases: Vec<(&str, String, &str)> = vec![
        ("alg none", none("none"), algorithm),
        ("alg None", none("None"), algorithm),
        ("alg nOnE with a signature", unsigned("nOnE"), algorithm),
        ("empty signature", none("RS256"), algorithm),
        ("the public key as a shared secret", confused, algorithm),
        ("HS256 without confusion", unsigned("HS512"), algorithm),
        ("another algorithm of the same key type", header(&json!({ "alg": "PS256" })), algorithm),
        ("the algorithm of another key", header(&json!({ "alg": "ES256" })), algorithm),
        ("a key of its own in the header", stranger, "its signature does not verify"),
        (
            "a key id that is a path",
            header(&json!({ "kid": "../../etc/passwd" })),
            "the issuer has no key",
        ),
        ("a key id that is SQL", header(&json!({ "kid": "' OR 1=1" })), "the issuer has no key"),
        ("no key id", header(&json!({ "kid": null })), "ok"),
        ("a key id that is a list", header(&json!({ "kid": ["rsa"] })), format),
        ("r and s are zero", zeros, "its signature does not verify"),
        ("a DER signature", der, "its signature does not verify"),
        ("a P-384 signature under a P-256 key", other_curve, algorithm),
        ("foreign issuer", rsa(&with(&json!({ "iss": "https://evil.example" }))), "its issuer"),
        (
            "issuer with a slash",
            rsa(&with(&json!({ "iss": "https://idp.example/" }))),
            "its issuer",
        ),
        (
            "issuer in another case",
            rsa(&with(&json!({ "iss": "https://IDP.example" }))),
            "its issuer",
        ),
        ("no issuer", rsa(&with(&json!({ "iss": null }))), "its issuer"),
        (
            "another audience",
            rsa(&with(&json!({ "aud": "other" }))),
            "it is not meant for Frostgate",
        ),
        ("no audience", rsa(&with(&json!({ "aud": null }))), "it is not meant for Frostgate"),
        (
            "an empty list of audiences",
            rsa(&with(&json!({ "aud": [] }))),
            "it is not meant for Frostgate",
        ),
        (
            "an audience that begins with ours",
            rsa(&with(&json!({ "aud": "frostgate2" }))),
            "it is not meant",
        ),
        (
            "an audience that is an object",
            rsa(&with(&json!({ "aud": ["frostgate", 1] }))),
            "it is not meant",
        ),
        ("expired 61 s ago", rsa(&with(&json!({ "exp": NOW - 61 }))), time),
        ("no end", rsa(&with(&json!({ "exp": null }))), time),
        ("an end that is text", rsa(&with(&json!({ "exp": (NOW + 300).to_string() }))), time),
        ("an end beyond all time", rsa(&with(&json!({ "exp": 1e18 }))), time),
        ("a negative end", rsa(&with(&json!({ "exp": -1 }))), time),
        ("not valid for 61 s", rsa(&with(&json!({ "nbf": NOW + 61 }))), time),
        ("issued in an hour", rsa(&with(&json!({ "iat": NOW + 3600 }))), time),
        ("a claim twice", twice, format),
        ("a claim twice, deeper", twice_deep, format),
        ("an unknown critical extension", header(&json!({ "crit": ["exp"], "exp": 1 })), format),
        ("unencoded payload", header(&json!({ "b64": false })), format),
        ("encrypted", header(&json!({ "enc": "A256GCM" })), format),
        ("a token in a token", header(&json!({ "cty": "JWT" })), format),
        ("a logout token", header(&json!({ "typ": "logout+jwt" })), format),
        ("five parts", format!("{good}.a.b"), format),
        ("two parts", format!("{}.{}", parts[0], parts[1]), format),
        ("padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2]), format),
        ("white space", format!(" {good}"), format),
        ("a line feed at the end", format!("{good}\n"), format),
        ("standard base64", good.replacen("eyJ", "+yJ", 1), format),
        ("not a token", "secret".into(), format),
        ("nothing", String::new(), format),
        (
            "a claims list",
            raw(r#"{"alg":"RS256","kid":"rsa"}"#, "[]", &SIGNER.rsa, Algorithm::RS256),
            format,
        ),
        (
            "a changed claim",
            format!(
                "{}.{}.{}",
                parts[0],
                URL_SAFE_NO_PAD.encode(with(&json!({"sub": "bob"})).to_string()),
                parts[2]
            ),
            "its signature does not verify",
        ),
        ("100 000 groups", rsa(&with(&json!({ "groups": many }))), format),
        (
            "a group that is text",
            rsa(&with(&json!({ "groups": "analysts" }))),
            "its claim \"groups\"",
        ),
        ("a group that is null", rsa(&with(&json!({ "groups": [null] }))), "its claim \"groups\""),
        ("a group that is a number", rsa(&with(&json!({ "groups": [1] }))), "its claim \"groups\""),
        (
            "groups elsewhere",
            rsa(&with(&json!({ "groups": null, "_claim_names": { "groups": "src1" } }))),
            "its groups were left out",
        ),
        ("no subject", rsa(&with(&json!({ "sub": null }))), "its claim \"sub\""),
        ("an empty subject", rsa(&with(&json!({ "sub": "" }))), "its claim \"sub\""),
        (
            "a subject with a line feed",
            rsa(&with(&json!({ "sub": "alice\nbob" }))),
            "its claim \"sub\"",
        ),
        ("a subject that is a number", rsa(&with(&json!({ "sub": 7 }))), "its claim \"sub\""),
    ];
    for (case, token, expected) in cases {
        // Without a key id the algorithm still names one key; that is the only one of these that is good.
        if expected == "ok" {
            assert!(ask(&token).await.is_ok(), "{case}");
            continue;
        }
        let invalid = ask(&token).await.expect_err(case);
        let text = invalid.to_string();
        assert!(text.starts_with(expected), "{case}: {text}");
        let problem = invalid.problem();
        assert_eq!((problem.code.as_str(), problem.retryable), ("FG-1001", false), "{case}");
        assert!(!problem.message.contains("eyJ"), "{case} quotes the token: {}", problem.message);
    }
}

#[tokio::test]
async fn keys_that_must_not_verify_do_not() {
    let body = claims().to_string();
    let token = raw(&json!({ "alg": "RS256" }).to_string(), &body, &SIGNER.rsa, Algorithm::RS256);
    let good = jwk("rsa", &SIGNER.rsa, Algorithm::RS256);
    let changed = |name: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[name] = value;
        json!({ "keys": [jwk] })
    };
    let secret = URL_SAFE_NO_PAD.encode(SIGNER.rsa_public_pem.as_bytes());
    for (case, keys) in [
        ("meant for encryption", changed("use", "enc".into())),
        ("meant to wrap keys", changed("key_ops", json!(["wrapKey"]))),
        ("of another algorithm", changed("alg", "RS512".into())),
        ("exponent 1", changed("e", URL_SAFE_NO_PAD.encode([1]).into())),
        ("512 bits", changed("n", URL_SAFE_NO_PAD.encode([0xff; 64]).into())),
        ("a shared secret", json!({ "keys": [{ "kty": "oct", "k": secret, "kid": "rsa" }] })),
        (
            "two that could have signed",
            json!({ "keys": [good, jwk("b", &SIGNER.stranger, Algorithm::RS256)] }),
        ),
        ("none", json!({ "keys": [] })),
        ("65 of them", json!({ "keys": vec![good.clone(); 65] })),
        ("no key set", json!("<html>")),
    ] {
        let issuer = Issuer { keys: KeySource::Static(keys.to_string()), ..issuer() };
        let now = Timestamp::from_second(NOW).unwrap();
        let outcome = verify(&Keys::default(), &[issuer], &token, now).await;
        assert!(outcome.is_err(), "{case}");
    }
}

#[tokio::test]
async fn a_user_name_comes_only_from_a_confirmed_address() {
    for (change, expected) in [
        (json!({}), Some("oidc:alice@corp")),
        (json!({ "email_verified": false }), None),
        (json!({ "email_verified": "true" }), None),
        (json!({ "email_verified": null }), Some("oidc:alice@corp")),
        (json!({ "email": null }), None),
        (json!({ "email": 5 }), None),
    ] {
        let human = ask(&rsa(&with(&change))).await.unwrap();
        assert_eq!(human.kubernetes_username.as_deref(), expected, "{change}");
    }
}

#[tokio::test]
async fn keys_are_fetched_once_and_a_flood_of_unknown_key_ids_changes_nothing() {
    static FETCHES: AtomicUsize = AtomicUsize::new(0);
    let keys = key_set();
    let router = Router::new().route(
        "/jwks",
        get(move || {
            FETCHES.fetch_add(1, Ordering::SeqCst);
            let keys = keys.clone();
            async move { axum::Json(keys) }
        }),
    );
    let served = crate::scripted::serve(router).await;
    let address = format!("https://127.0.0.1:{}/jwks", served.port);
    let fetched = KeySource::Fetched { address: Some(address), ca_bundle: Some(served.ca.clone()) };
    let issuers = [Issuer { keys: fetched, ..issuer() }];
    let now = Timestamp::from_second(NOW).unwrap();
    let known = Keys::default();
    for _ in 0..3 {
        assert!(verify(&known, &issuers, &rsa(&claims()), now).await.is_ok());
    }
    for number in 0..50 {
        let token = header(&json!({ "kid": format!("unknown-{number}") }));
        assert_eq!(verify(&known, &issuers, &token, now).await, Err(Invalid::Key));
    }
    assert!(verify(&known, &issuers, &rsa(&claims()), now).await.is_ok());
    assert_eq!(FETCHES.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_an_issuer_serves_is_believed_only_under_its_name_its_root_and_its_limits() {
    let keys = key_set();
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000));
    let discovery = json!({ "issuer": "https://other.example", "jwks_uri": "https://127.0.0.1/x" });
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(move || async { axum::Json(discovery) }))
        .route("/jwks", get(move || async { axum::Json(keys) }))
        .route("/huge", get(move || async { huge }))
        .route("/html", get(async || "<html>"))
        .route("/moved", get(async || axum::response::Redirect::temporary("/jwks")));
    let served = crate::scripted::serve(router).await;
    let base = format!("https://127.0.0.1:{}", served.port);
    let other_root = crate::scripted::serve(Router::new()).await;
    for (case, name, address, ca, reason) in [
        ("another issuer", base.clone(), None, &served.ca, "another issuer"),
        ("another root", ISSUER.into(), Some("/jwks"), &other_root.ca, "error sending request"),
        ("too long", ISSUER.into(), Some("/huge"), &served.ca, "longer than"),
        ("no key set", ISSUER.into(), Some("/html"), &served.ca, "not understood"),
        ("a redirect", ISSUER.into(), Some("/moved"), &served.ca, "307"),
    ] {
        let source = KeySource::Fetched {
            address: address.map(|path| format!("{base}{path}")),
            ca_bundle: Some(ca.clone()),
        };
        let issuers = [Issuer { issuer: name.clone(), keys: source, ..issuer() }];
        let token = rsa(&with(&json!({ "iss": name })));
        let now = Timestamp::from_second(NOW).unwrap();
        let invalid = verify(&Keys::default(), &issuers, &token, now).await.expect_err(case);
        assert!(invalid.problem().retryable, "{case}");
        assert!(invalid.to_string().contains(reason), "{case}: {invalid}");
    }
    let plain =
        KeySource::Fetched { address: Some("http://127.0.0.1/jwks".into()), ca_bundle: None };
    let issuers = [Issuer { keys: plain, ..issuer() }];
    let now = Timestamp::from_second(NOW).unwrap();
    let invalid = verify(&Keys::default(), &issuers, &rsa(&claims()), now).await.unwrap_err();
    assert!(invalid.to_string().contains("is not https"), "{invalid}");
}
