//! The broker at a scripted account: what it says, in which order, and what is left when something fails.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::scripted::account::{self, Fault, User};
use crate::scripted::objects::Scripted;
use crate::scripted::{Served, connection, private_key, serve, session_key};

const SESSION: &str = "0190f3a0-0000-7000-8000-000000000001";

struct Setting {
    account: account::Account,
    connection: SnowflakeConnection,
    broker: Broker,
    _served: Served,
}

async fn setting() -> Setting {
    let account = account::Account::default();
    let served = account.serve().await;
    let connection = connection(&served);
    let objects = Scripted::new(connection.clone(), private_key());
    Setting { account, connection, broker: Broker::new(objects, "cluster one"), _served: served }
}

async fn mint(setting: &Setting, user: &str) -> Result<(), Error> {
    let key = public_key(&session_key()).unwrap();
    let mint =
        Mint { session: SESSION, user, public_key: &key, role: "analyst", warehouse: Some("WH") };
    setting.broker.mint(&setting.connection, &mint).await
}

const RETIRED: [&str; 3] = ["ALTER USER", "ALTER USER", "DROP USER"];

#[tokio::test]
async fn the_account_is_asked_through_the_connection_s_egress_proxy() {
    let mut setting = setting().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    setting.connection.spec.endpoint.as_mut().unwrap().https_proxy = Some(proxy);
    let leading = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let asked = head.split(' ').nth(1).unwrap().to_owned();
        let mut there = TcpStream::connect(&asked).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        tokio::spawn(async move {
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
        });
        (head.starts_with("CONNECT "), asked)
    });
    mint(&setting, "FG_A").await.unwrap();
    assert_eq!(setting.account.users(), ["FG_A"]);
    let account = format!("127.0.0.1:{}", setting.connection.spec.port());
    assert_eq!(leading.await.unwrap(), (true, account));
}

#[tokio::test]
async fn a_user_is_made_with_one_role_and_dropped_in_order() {
    let setting = setting().await;
    mint(&setting, "FG_A").await.unwrap();
    let user = setting.account.with(|state| state.users["FG_A"].clone());
    assert_eq!(user.roles, ["ANALYST"]);
    assert_eq!(user.comment, format!("frostgate cluster-one {SESSION}"));
    for part in [
        "TYPE = SERVICE",
        "DEFAULT_SECONDARY_ROLES = ()",
        "DAYS_TO_EXPIRY = 1",
        "NETWORK_POLICY = \"EGRESS\"",
    ] {
        assert!(user.text.contains(part), "{part} in {}", user.text);
    }
    setting.broker.retire(&setting.connection, "FG_A").await.unwrap();
    assert_eq!(setting.account.users(), [""; 0]);
    setting.broker.retire(&setting.connection, "FG_A").await.expect("gone already is dropped");
    let mut expected = vec!["CREATE USER", "GRANT ROLE"];
    expected.extend(RETIRED);
    expected.extend(RETIRED);
    assert_eq!(setting.account.verbs(), expected);
    let logins = setting.account.with(|state| state.logins.clone());
    assert_eq!(logins.len(), 1, "one admin session serves all");
    assert_eq!(logins[0]["AUTHENTICATOR"], "SNOWFLAKE_JWT");
    assert_eq!(logins[0]["LOGIN_NAME"], "broker");
}

#[tokio::test]
async fn whatever_fails_while_a_user_is_made_leaves_none() {
    for (begin, fault) in [
        ("CREATE USER", Fault::Refused),
        ("CREATE USER", Fault::AnswerLost),
        ("GRANT ROLE", Fault::Refused),
        ("GRANT ROLE", Fault::AnswerLost),
    ] {
        let setting = setting().await;
        setting.account.with(|state| state.faults.push((begin, fault)));
        mint(&setting, "FG_A").await.expect_err(begin);
        assert_eq!(setting.account.users(), [""; 0], "{begin} {fault:?}");
        let verbs = setting.account.verbs();
        assert_eq!(verbs[verbs.len() - 3..], RETIRED, "{begin} {fault:?}");
    }
}

#[tokio::test]
async fn a_session_that_ended_is_replaced_once_and_nothing_runs_twice() {
    let setting = setting().await;
    setting.broker.check(&setting.connection).await.unwrap();
    setting.account.with(|state| state.faults.push(("CREATE USER", Fault::SessionOver)));
    mint(&setting, "FG_A").await.unwrap();
    assert_eq!(setting.account.with(|state| state.logins.len()), 2);
    setting.account.with(|state| {
        state
            .faults
            .extend([("SHOW USERS", Fault::SessionOver), ("SHOW USERS", Fault::SessionOver)]);
    });
    setting.broker.users(&setting.connection).await.unwrap_err();
}

#[tokio::test]
async fn only_users_of_this_broker_are_found() {
    let setting = setting().await;
    mint(&setting, "FG_OURS").await.unwrap();
    let ours = format!("frostgate cluster-one {SESSION}");
    let user = |comment: &str, owner: &str| User {
        comment: comment.into(),
        owner: owner.into(),
        ..User::default()
    };
    setting.account.with(|state| {
        for (name, foreign) in [
            ("ALICE", user(&ours, "PROVISIONER")),
            ("FGXOTHER", user(&ours, "PROVISIONER")),
            ("FG_HUMAN", user("the finance group", "PROVISIONER")),
            ("FG_BARE", user("", "PROVISIONER")),
            ("FG_OTHER_CLUSTER", user(&format!("frostgate cluster-two {SESSION}"), "PROVISIONER")),
            (
                "FG_LONGER_CLUSTER",
                user(&format!("frostgate cluster-one-b {SESSION}"), "PROVISIONER"),
            ),
            ("FG_OTHER_OWNER", user(&ours, "USERADMIN")),
            ("FG_NO_SESSION", user("frostgate cluster-one somebody", "PROVISIONER")),
        ] {
            state.users.insert(name.into(), foreign);
        }
    });
    let found = setting.broker.users(&setting.connection).await.unwrap();
    assert_eq!(found, [FoundUser { name: "FG_OURS".into(), session: SESSION.into() }]);
}

#[tokio::test]
async fn a_refused_login_says_why_to_the_operator_and_not_to_the_agent() {
    let setting = setting().await;
    setting.account.refuse_logins(true);
    let error = setting.broker.check(&setting.connection).await.unwrap_err();
    assert!(error.to_string().contains("390144 JWT token is invalid"), "{error}");
    let problem = Problem::from(error);
    assert_eq!(problem.code, "FG-4002");
    assert!(!problem.message.contains("JWT"), "{}", problem.message);
    setting.account.refuse_logins(false);
    setting.broker.check(&setting.connection).await.unwrap();
}

#[tokio::test]
async fn an_account_that_cannot_be_reached_or_trusted_is_unreachable() {
    let setting = setting().await;
    let stranger = serve(axum::Router::new()).await;
    let mut connection = setting.connection.clone();
    connection.spec.endpoint.as_mut().unwrap().ca_bundle = Some(stranger.ca.clone());
    let error = setting.broker.check(&connection).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert_eq!(setting.account.with(|state| state.logins.len()), 0);
}

#[tokio::test]
async fn a_fixed_user_gets_a_login_that_ends_in_a_minute() {
    let setting = setting().await;
    let mut connection = setting.connection.clone();
    connection.spec.credentials = serde_json::from_value(json!({
        "mode": "KeyPair", "keyPair": { "user": "agent", "privateKeyRef": { "name": "key" } },
    }))
    .unwrap();
    let credential = setting.broker.login(&connection).await.unwrap();
    let Credential::KeyPair { user, jwt, expires_at_ms } = credential else { panic!() };
    assert_eq!((user.as_str(), jwt.split('.').count()), ("agent", 3));
    let left = expires_at_ms - Timestamp::now().as_millisecond();
    assert!((1_000..=60_000).contains(&left), "{left}");
}

#[tokio::test]
async fn the_catalog_is_read_with_its_own_role_and_remembered() {
    let setting = setting().await;
    setting.account.with(|state| {
        state.results = vec![
            (
                "INFORMATION_SCHEMA.COLUMNS",
                json!({
                "columns": ["TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME", "DATA_TYPE"],
                "rows": [["PUBLIC", "T", "ID", "NUMBER"], ["PUBLIC", "T", "SSN", "TEXT"]] }),
            ),
            (
                "INFORMATION_SCHEMA.TABLES",
                json!({
                "columns": ["TABLE_SCHEMA", "TABLE_NAME", "TABLE_TYPE"],
                "rows": [["PUBLIC", "T", "BASE TABLE"]] }),
            ),
            (
                "INFORMATION_SCHEMA.VIEWS",
                json!({
                "columns": ["TABLE_SCHEMA", "TABLE_NAME", "VIEW_DEFINITION"], "rows": [] }),
            ),
        ];
    });
    let name = |name: &str| CatalogName {
        database: "DB".into(),
        schema: "PUBLIC".into(),
        name: name.into(),
    };
    let names = [name("T"), name("it's"), name("T")];
    let read = setting.broker.catalog(&setting.connection, &names, false).await.unwrap();
    assert_eq!(read.objects.len(), 1);
    assert_eq!(read.objects[0].columns.len(), 2);
    assert_eq!(setting.account.with(|state| state.statements.len()), 3);
    setting.broker.catalog(&setting.connection, &names, false).await.unwrap();
    assert_eq!(setting.account.with(|state| state.statements.len()), 3, "it was remembered");
    setting
        .account
        .with(|state| state.results[0].1["rows"] = json!([["PUBLIC", "T", "ID", "NUMBER"]]));
    let read = setting.broker.catalog(&setting.connection, &names, true).await.unwrap();
    assert_eq!((read.objects[0].columns.len(), read.changed), (1, true));
}

#[test]
fn only_rsa_keys_of_a_useful_size_are_taken() {
    use rcgen::PublicKeyData as _;
    assert!(public_key(&session_key()).is_ok());
    let ec = rcgen::KeyPair::generate().unwrap().subject_public_key_info();
    let longer = [STANDARD.decode(session_key()).unwrap(), vec![0]].concat();
    for text in [STANDARD.encode(ec), STANDARD.encode(longer), "x".into(), String::new()] {
        assert_eq!(public_key(&text).unwrap_err().code, "FG-6001", "{text}");
    }
}

#[tokio::test]
async fn names_of_users_are_random_and_plain() {
    let setting = setting().await;
    let (one, two) = (
        Broker::user_name(&setting.connection).unwrap(),
        Broker::user_name(&setting.connection).unwrap(),
    );
    assert_ne!(one, two);
    assert!(one.starts_with("FG_") && one.len() == 23, "{one}");
    assert!(
        one.bytes().all(|byte| byte == b'_' || byte.is_ascii_uppercase() || byte.is_ascii_digit())
    );
}
