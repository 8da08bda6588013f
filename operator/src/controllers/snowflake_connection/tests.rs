//! What is said of a connection, as a table.

use serde_json::json;

use super::*;

fn connection() -> SnowflakeConnection {
    serde_json::from_value(json!({
        "apiVersion": "frostgate.dev/v1alpha1", "kind": "SnowflakeConnection",
        "metadata": {"namespace": "data", "name": "prod", "generation": 3},
        "spec": {
            "account": "myorg-analytics", "allowedRoles": ["ANALYST"],
            "credentials": {"mode": "KeyPair", "keyPair": {"user": "SVC", "privateKeyRef": {"name": "key"}}},
        },
    }))
    .unwrap()
}

#[test]
fn a_connection_is_ready_only_when_everything_was_seen_to_work() {
    let missing = objects::Error::Missing("there is no Secret data/key".into());
    let refused = objects::Error::Refused("the operator may not read it".into());
    let unreachable = broker::Error::Unreachable("connection refused".into());
    let login = broker::Error::Login {
        user: "SVC".into(),
        code: "390144".into(),
        message: "JWT token is invalid".into(),
    };
    let cases = [
        ("all well", "", Some(Ok(())), Some(Ok(()))),
        ("invalid", "spec.account: wrong", None, None),
        ("no secret", "", Some(Err(missing)), None),
        ("secret forbidden", "", Some(Err(refused)), None),
        ("never reached", "", Some(Ok(())), Some(Err(unreachable))),
        ("login refused", "", Some(Ok(())), Some(Err(login))),
    ];
    let mut table = Vec::new();
    for (case, problems, key, login) in cases {
        let seen = Seen { problems: problems.to_owned(), key, login };
        let status = seen.status(&connection(), "2026-01-01T00:00:00Z".parse().unwrap());
        let said: Vec<String> = status
            .conditions
            .iter()
            .map(|one| format!("{}={} {}", one.type_, one.status, one.reason))
            .collect();
        table.push(format!("{case}: {}", said.join(", ")));
    }
    insta::assert_snapshot!(table.join("\n"), @r"
    all well: Accepted=True Valid, ResolvedRefs=True Resolved, CredentialsReady=True LoginAccepted, Ready=True AllChecksPassed
    invalid: Accepted=False Invalid, ResolvedRefs=Unknown Unknown, CredentialsReady=Unknown Unknown, Ready=False Invalid
    no secret: Accepted=True Valid, ResolvedRefs=False NotFound, CredentialsReady=Unknown Unknown, Ready=False NotFound
    secret forbidden: Accepted=True Valid, ResolvedRefs=False Forbidden, CredentialsReady=Unknown Unknown, Ready=False Forbidden
    never reached: Accepted=True Valid, ResolvedRefs=True Resolved, CredentialsReady=Unknown Unreachable, Ready=False Unreachable
    login refused: Accepted=True Valid, ResolvedRefs=True Resolved, CredentialsReady=False LoginRefused, Ready=False LoginRefused
    ");
}

#[test]
fn an_account_that_stops_answering_keeps_no_pod_from_starting() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut connection = connection();
    let well = Seen { problems: String::new(), key: Some(Ok(())), login: Some(Ok(())) };
    connection.status = Some(well.status(&connection, now));
    let gone = broker::Error::Unreachable("timed out".into());
    let seen = Seen { problems: String::new(), key: Some(Ok(())), login: Some(Err(gone)) };
    let status = seen.status(&connection, now);
    assert!(conditions::holds(&status.conditions, conditions::READY, Some(3)));
    assert_eq!(
        conditions::find(&status.conditions, conditions::CREDENTIALS_READY).unwrap().status,
        "Unknown"
    );
}

#[test]
fn saying_the_same_again_is_no_change() {
    let well = || Seen { problems: String::new(), key: Some(Ok(())), login: Some(Ok(())) };
    let mut connection = connection();
    connection.status = Some(well().status(&connection, "2026-01-01T00:00:00Z".parse().unwrap()));
    let again = well().status(&connection, "2026-02-01T00:00:00Z".parse().unwrap());
    assert_eq!(connection.status, Some(again));
}
