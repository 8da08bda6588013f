//! What is shown of statements that hold passwords, keys or tokens.

use std::borrow::Cow;

use sql::{Catalog, Session, analyze, without_secrets};

fn shown(text: &str) -> Cow<'_, str> {
    without_secrets(text, &analyze(text, &Session::default(), &Catalog::default()))
}

#[test]
fn a_secret_is_hidden_and_everything_else_is_shown() {
    let texts = [
        (
            "CREATE USER u PASSWORD = 'hunter2' DEFAULT_ROLE = 'r'",
            "CREATE USER u PASSWORD = '****' DEFAULT_ROLE = 'r'",
        ),
        ("create user u password='it''s' /* c */", "create user u password='****' /* c */"),
        ("ALTER USER u SET PASSWORD = $$hunter2$$", "ALTER USER u SET PASSWORD = '****'"),
        ("ALTER USER u SET \"PASSWORD\" = 'hunter2'", "ALTER USER u SET \"PASSWORD\" = '****'"),
        ("CREATE USER u IDENTIFIED BY 'hunter2'", "CREATE USER u IDENTIFIED BY '****'"),
        ("CREATE ACCOUNT a ADMIN_PASSWORD = 'x'", "CREATE ACCOUNT a ADMIN_PASSWORD = '****'"),
        (
            "CREATE SECRET s TYPE = GENERIC_STRING SECRET_STRING = 'k' COMMENT = 'c'",
            "CREATE SECRET s TYPE = GENERIC_STRING SECRET_STRING = '****' COMMENT = 'c'",
        ),
        (
            "CREATE SECRET s TYPE = OAUTH2 OAUTH_REFRESH_TOKEN = 'k'",
            "CREATE SECRET s TYPE = OAUTH2 OAUTH_REFRESH_TOKEN = '****'",
        ),
        (
            "CREATE STAGE s URL = 's3://b' CREDENTIALS = (AWS_KEY_ID = 'a' AWS_SECRET_KEY = 'b') ENCRYPTION = (TYPE = 'AWS_CSE' MASTER_KEY = 'c')",
            "CREATE STAGE s URL = 's3://b' CREDENTIALS = (AWS_KEY_ID = '****' AWS_SECRET_KEY = '****') ENCRYPTION = (TYPE = 'AWS_CSE' MASTER_KEY = '****')",
        ),
        (
            "COPY INTO t FROM 'azure://x' CREDENTIALS=(AZURE_SAS_TOKEN='?sv=1') FILE_FORMAT = (TYPE = 'CSV')",
            "COPY INTO t FROM 'azure://x' CREDENTIALS=(AZURE_SAS_TOKEN='****') FILE_FORMAT = (TYPE = 'CSV')",
        ),
        (
            "COPY INTO 's3://b/' FROM t CREDENTIALS = (AWS_ROLE = ('x'))",
            "COPY INTO 's3://b/' FROM t CREDENTIALS = (AWS_ROLE = ('****'))",
        ),
        (
            "CREATE SECURITY INTEGRATION i TYPE = API_AUTHENTICATION OAUTH_CLIENT_ID = 'i' OAUTH_CLIENT_SECRET = 's'",
            "CREATE SECURITY INTEGRATION i TYPE = API_AUTHENTICATION OAUTH_CLIENT_ID = 'i' OAUTH_CLIENT_SECRET = '****'",
        ),
        ("EXPLAIN CREATE USER u PASSWORD = 'x'", "EXPLAIN CREATE USER u PASSWORD = '****'"),
        (
            "SELECT 1; ALTER USER u SET PASSWORD = 'x'",
            "SELECT 1; ALTER USER u SET PASSWORD = '****'",
        ),
        ("CREAT USER u PASSWORD 'x'", "CREAT USER u PASSWORD '****'"),
        // Statements inside of literals.
        ("EXECUTE IMMEDIATE 'ALTER USER u SET PASSWORD = ''hunter2'''", "EXECUTE IMMEDIATE '****'"),
        (
            "EXECUTE IMMEDIATE $$BEGIN ALTER USER u SET PASSWORD = 'hunter2'; RETURN 'x'; END$$",
            "EXECUTE IMMEDIATE $$BEGIN ALTER USER u SET PASSWORD = '****'; RETURN 'x'; END$$",
        ),
        (
            "CREATE TASK e AS ALTER USER u SET PASSWORD = 'hunter2'",
            "CREATE TASK e AS ALTER USER u SET PASSWORD = '****'",
        ),
        // What cannot be read to its end is not shown to its end.
        ("CREATE USER u PASSWORD = 'hunter2", "CREATE USER u PASSWORD = ****"),
        ("CREATE USER u # PASSWORD = 'hunter2'", "CREATE USER u ****"),
    ];
    for (text, expected) in texts {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn what_holds_no_secret_is_shown_as_it_is() {
    for text in [
        "SELECT id FROM users WHERE password = 'hunter2' AND token = 'x'",
        "UPDATE users SET password = 'hunter2' WHERE id = 1",
        "CREATE USER u DEFAULT_ROLE = 'r' MUST_CHANGE_PASSWORD = TRUE COMMENT = 'his PASSWORD is elsewhere'",
        "ALTER USER u SET RSA_PUBLIC_KEY = 'MIIB'",
        "CREATE TABLE t (password VARCHAR, note VARCHAR DEFAULT 'x')",
        "CREATE STAGE s STORAGE_INTEGRATION = i DIRECTORY = (ENABLE = TRUE)",
        "COPY INTO t FROM @s FILE_FORMAT = (TYPE = 'CSV')",
        "CREATE VIEW v AS SELECT 'a' AS b",
    ] {
        assert!(matches!(shown(text), Cow::Borrowed(_)), "{}", shown(text));
    }
}

#[test]
fn what_is_said_about_a_statement_with_a_secret_does_not_quote_it() {
    for text in [
        "COPY INTO t FROM 's3://b' CREDENTIALS = (AWS_KEY_ID = 'hunter2' 'hunter2')",
        "CREATE USER u PASSWORD = 'hunter2' 'hunter2' SELECT",
        "CREATE TABLE t (a INT) PASSWORD = 'hunter2'",
    ] {
        let problem = analyze(text, &Session::default(), &Catalog::default()).problem;
        let message = problem.map(|problem| problem.message).unwrap_or_default();
        assert!(!message.is_empty() && !message.contains("hunter2"), "{text}: {message}");
    }
}
