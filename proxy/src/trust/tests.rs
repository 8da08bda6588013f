//! The certificates are believed by OpenSSL and limited as they say.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use tempfile::TempDir;

use super::*;

const HOST: &str = "acme-dev.snowflakecomputing.com";
const OCSP: &str = "http://127.0.0.1:15988";

fn places() -> (TempDir, Places) {
    let root = tempfile::tempdir().unwrap();
    let places =
        Places { private: root.path().join("private"), public: root.path().join("public") };
    fs::create_dir(&places.private).unwrap();
    fs::create_dir(&places.public).unwrap();
    (root, places)
}

fn establish_at(places: &Places) -> Trust {
    establish(HOST, OCSP, places, SystemTime::now()).unwrap()
}

fn openssl(arguments: &[&str], folder: &Path) -> (bool, String) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_restart_keeps_the_authority_that_applications_already_trust() {
    let (_root, places) = places();
    establish_at(&places);
    let first = fs::read(places.public.join("ca.crt")).unwrap();
    establish_at(&places);
    assert_eq!(first, fs::read(places.public.join("ca.crt")).unwrap());
}

#[test]
fn the_authority_is_limited_to_the_host_and_to_no_further_authority() {
    let (_root, places) = places();
    establish_at(&places);
    let (_, text) = openssl(&["x509", "-in", "ca.crt", "-noout", "-text"], &places.public);
    assert!(text.contains("X509v3 Name Constraints: critical"), "{text}");
    assert!(text.contains("DNS:acme-dev.snowflakecomputing.com"), "{text}");
    assert!(text.contains("pathlen:0"), "{text}");
}

#[test]
fn the_bundle_and_the_trust_store_hold_the_public_roots_and_the_authority() {
    let (_root, places) = places();
    establish_at(&places);
    let bundle = fs::read_to_string(places.public.join("bundle.pem")).unwrap();
    let roots = TLS_SERVER_ROOT_CERTS.len();
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), roots + 1);
    let store = fs::read(places.public.join("truststore.p12")).unwrap();
    let policy = p12_keystore::Pkcs12ImportPolicy::Strict;
    let store = KeyStore::from_pkcs12(&store, TRUST_STORE_PASSWORD, policy).unwrap();
    assert_eq!(store.entries_len(), roots + 1);
    assert!(store.entry("frostgate").is_some());
}

#[test]
fn the_key_of_the_authority_is_not_in_the_folder_that_the_agent_reads() {
    let (_root, places) = places();
    establish_at(&places);
    for entry in fs::read_dir(&places.public).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"PRIVATE KEY"));
    }
}

#[test]
fn openssl_takes_the_ocsp_answer_for_good_and_an_unknown_serial_for_unknown() {
    let (root, places) = places();
    let trust = establish_at(&places);
    let folder = root.path();
    let serial = trust_serial(&trust);
    for (serial, expected) in [(serial.as_str(), "good"), ("0x4242", "unknown")] {
        let ca = places.public.join("ca.crt");
        let ca = ca.to_str().unwrap();
        let asked = ["ocsp", "-issuer", ca, "-serial", serial, "-reqout", "request.der"];
        assert!(openssl(&asked, folder).0);
        let request = fs::read(folder.join("request.der")).unwrap();
        fs::write(folder.join("response.der"), trust.responder.answer(&request, SystemTime::now()))
            .unwrap();
        let check = [
            "ocsp",
            "-reqin",
            "request.der",
            "-respin",
            "response.der",
            "-CAfile",
            ca,
            "-issuer",
            ca,
            "-resp_text",
        ];
        let (ok, text) = openssl(&check, folder);
        assert!(ok && text.contains("Response verify OK"), "{text}");
        assert!(text.contains(&format!("Cert Status: {expected}")), "{text}");
        // The one signature on an OCSP answer that every driver which asks can check.
        assert!(text.contains("sha256WithRSAEncryption"), "{text}");
    }
}

#[test]
fn bytes_that_are_no_request_get_the_answer_that_says_so() {
    let (_root, places) = places();
    let trust = establish_at(&places);
    for nonsense in [&b""[..], b"GET /", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(trust.responder.answer(nonsense, SystemTime::now()), [0x30, 3, 0x0a, 1, 1]);
    }
}

fn trust_serial(trust: &Trust) -> String {
    trust
        .responder
        .serial_for_tests()
        .iter()
        .fold("0x".to_owned(), |text, byte| format!("{text}{byte:02X}"))
}
