//! Opening a session: the driver's login, and ours.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::decode::{self, Limits, Malformed, UrlParameters};
use crate::parameters::{self, Parameter};
use crate::rest::Place;

/// A driver's login. Whatever secret it carries besides [`LoginRequest::token`] is not even kept.
#[derive(Clone)]
pub struct LoginRequest {
    /// `ACCOUNT_NAME`.
    pub account: String,
    /// `LOGIN_NAME` of the placeholder credential.
    pub login_name: Option<String>,
    /// `AUTHENTICATOR`, upper case; absent means a password.
    pub authenticator: Option<String>,
    /// `PROVIDER`, with `WORKLOAD_IDENTITY`.
    pub provider: Option<String>,
    /// `TOKEN`: an identity token where the authenticator says so.
    pub token: Option<String>,
    /// `CLIENT_APP_ID`: the account turns features on by it.
    pub app_id: String,
    /// `CLIENT_APP_VERSION`.
    pub app_version: String,
    /// `CLIENT_ENVIRONMENT`, its strings.
    pub environment: BTreeMap<String, String>,
    /// `SESSION_PARAMETERS`.
    pub parameters: Vec<Parameter>,
    /// `CLIENT_CAPABILITIES`, opaque.
    pub capabilities: Option<Box<RawValue>>,
    /// `SECONDARY_ROLES`.
    pub secondary_roles: Option<String>,
    /// `roleName` of the URL.
    pub role: Option<String>,
    /// `databaseName` of the URL.
    pub database: Option<String>,
    /// `schemaName` of the URL.
    pub schema: Option<String>,
    /// `warehouse` of the URL.
    pub warehouse: Option<String>,
    /// No driver asked: the session serves requests that know none, those of the SQL REST API.
    pub stateless: bool,
}

#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Data {
    account_name: Option<String>,
    login_name: Option<String>,
    authenticator: Option<String>,
    provider: Option<String>,
    token: Option<String>,
    client_app_id: Option<String>,
    client_app_version: Option<String>,
    secondary_roles: Option<String>,
    client_environment: Option<BTreeMap<String, Value>>,
    session_parameters: Option<BTreeMap<String, Box<RawValue>>>,
    client_capabilities: Option<Box<RawValue>>,
}

impl LoginRequest {
    /// Reads the URL's parameters and the body.
    pub fn decode(url: &UrlParameters, body: &[u8], limits: &Limits) -> Result<Self, Malformed> {
        decode::strict(body, limits)?;
        let Body { data } = decode::from_slice(body)?;
        let text = |value: Value| match value {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        };
        let environment = data.client_environment.unwrap_or_default();
        let parameters = data.session_parameters.unwrap_or_default();
        Ok(Self {
            account: data.account_name.ok_or(Malformed::Field("ACCOUNT_NAME"))?,
            login_name: data.login_name.filter(|name| !name.is_empty()),
            authenticator: data.authenticator.map(|word| word.to_ascii_uppercase()),
            provider: data.provider,
            token: data.token.filter(|token| !token.is_empty()),
            app_id: data.client_app_id.unwrap_or_default(),
            app_version: data.client_app_version.unwrap_or_default(),
            environment: environment
                .into_iter()
                // JDBC repeats its own options here, the masked password among them.
                .filter(|(name, _)| !name.eq_ignore_ascii_case("password"))
                .filter_map(|(name, value)| Some((name, text(value)?)))
                .collect(),
            parameters: parameters
                .into_iter()
                .map(|(name, value)| Parameter { name, value })
                .collect(),
            capabilities: data.client_capabilities,
            secondary_roles: data.secondary_roles,
            role: url.get("roleName").map(str::to_owned),
            database: url.get("databaseName").map(str::to_owned),
            schema: url.get("schemaName").map(str::to_owned),
            warehouse: url.get("warehouse").map(str::to_owned),
            stateless: false,
        })
    }

    /// The login of a request that brings its identity token along and knows no session: the SQL REST API.
    #[must_use]
    pub fn by_token(account: &str, token: &str, place: &Place) -> Self {
        Self {
            account: account.to_owned(),
            login_name: None,
            authenticator: Some("OAUTH".to_owned()),
            provider: None,
            token: Some(token.to_owned()),
            // No driver's name: the account gives these Arrow, and everybody else JSON.
            app_id: "Frostgate".to_owned(),
            app_version: env!("CARGO_PKG_VERSION").to_owned(),
            environment: BTreeMap::from([("APPLICATION".to_owned(), "SQL REST API".to_owned())]),
            parameters: Vec::new(),
            capabilities: None,
            secondary_roles: None,
            role: place.role.clone(),
            database: place.database.clone(),
            schema: place.schema.clone(),
            warehouse: place.warehouse.clone(),
            stateless: true,
        }
    }

    /// The raw identity token, where the driver says that it brings one (`oauth`, or workload identity by OIDC).
    #[must_use]
    pub fn identity_token(&self) -> Option<&str> {
        let oidc = self.provider.as_deref().is_some_and(|word| word.eq_ignore_ascii_case("OIDC"));
        match self.authenticator.as_deref() {
            Some("OAUTH") => Some(self.token.as_deref().unwrap_or_default()),
            Some("WORKLOAD_IDENTITY") if oidc => Some(self.token.as_deref().unwrap_or_default()),
            _ => None,
        }
    }

    /// Whether the way of logging in can be a placeholder: flows that need a browser or a second step cannot.
    #[must_use]
    pub fn is_single_step(&self) -> bool {
        matches!(
            self.authenticator.as_deref(),
            None | Some(
                "SNOWFLAKE"
                    | "SNOWFLAKE_JWT"
                    | "OAUTH"
                    | "PROGRAMMATIC_ACCESS_TOKEN"
                    | "WORKLOAD_IDENTITY"
                    | "USERNAME_PASSWORD_MFA"
            )
        )
    }
}

/// Our own login at the account: key pair, one role, no secondary roles.
pub struct UpstreamLogin<'a> {
    /// Account identifier.
    pub account: &'a str,
    /// The user.
    pub user: &'a str,
    /// The signed JWT.
    pub jwt: &'a str,
    /// The client's `CLIENT_APP_ID`: result formats depend on it.
    pub app_id: &'a str,
    /// The client's `CLIENT_APP_VERSION`.
    pub app_version: &'a str,
    /// The client's environment.
    pub environment: &'a BTreeMap<String, String>,
    /// The client's capabilities.
    pub capabilities: Option<&'a RawValue>,
    /// Session parameters, filtered, with ours.
    pub parameters: BTreeMap<String, Box<RawValue>>,
    /// The role.
    pub role: &'a str,
    /// The warehouse.
    pub warehouse: Option<&'a str>,
    /// The database.
    pub database: Option<&'a str>,
    /// The schema.
    pub schema: Option<&'a str>,
}

impl UpstreamLogin<'_> {
    /// Path with query, and body.
    #[must_use]
    pub fn encode(&self, request_id: uuid::Uuid) -> (String, Vec<u8>) {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("requestId", &request_id.to_string());
        for (name, value) in [
            ("roleName", Some(self.role)),
            ("warehouse", self.warehouse),
            ("databaseName", self.database),
            ("schemaName", self.schema),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let mut data = json!({
            "ACCOUNT_NAME": self.account,
            "LOGIN_NAME": self.user,
            "AUTHENTICATOR": "SNOWFLAKE_JWT",
            "TOKEN": self.jwt,
            "CLIENT_APP_ID": self.app_id,
            "CLIENT_APP_VERSION": self.app_version,
            "CLIENT_ENVIRONMENT": self.environment,
            "SECONDARY_ROLES": "NONE",
            "SESSION_PARAMETERS": self.parameters,
        });
        if let Some(capabilities) = self.capabilities
            && let Ok(capabilities) = serde_json::from_str::<Value>(capabilities.get())
        {
            data["CLIENT_CAPABILITIES"] = capabilities;
        }
        let path = format!("/session/v1/login-request?{}", query.finish());
        (path, json!({ "data": data }).to_string().into_bytes())
    }
}

/// What the account answers to our login.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamSession {
    /// Session token.
    pub token: String,
    /// Master token.
    pub master_token: Option<String>,
    /// Seconds.
    #[serde(default = "one_hour")]
    pub validity_in_seconds: u64,
    /// Seconds.
    #[serde(default = "four_hours")]
    pub master_validity_in_seconds: u64,
    /// The account's number of the session, exact.
    pub session_id: Option<Box<RawValue>>,
    /// The account's release.
    pub server_version: Option<String>,
    /// Where the session stands.
    #[serde(default)]
    pub session_info: SessionInfo,
    /// Session parameters as the account has them.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// Set where the account wants a second step.
    pub next_action: Option<String>,
}

fn one_hour() -> u64 {
    3600
}
fn four_hours() -> u64 {
    14_400
}

/// Where a session stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionInfo {
    /// Current database.
    pub database_name: Option<String>,
    /// Current schema.
    pub schema_name: Option<String>,
    /// Current warehouse.
    pub warehouse_name: Option<String>,
    /// Current role.
    pub role_name: Option<String>,
}

/// Why the account refused our login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRefused {
    /// The account's code.
    pub code: String,
    /// The account's words.
    pub message: String,
}

#[derive(Deserialize)]
struct LoginEnvelope<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    code: Option<String>,
    message: Option<String>,
    success: bool,
}

/// Reads the account's answer to a login.
pub fn decode_answer(body: &[u8]) -> Result<Result<UpstreamSession, LoginRefused>, Malformed> {
    let envelope: LoginEnvelope<'_> = decode::from_slice(body)?;
    if !envelope.success {
        return Ok(Err(LoginRefused {
            code: envelope.code.unwrap_or_default(),
            message: envelope.message.unwrap_or_default(),
        }));
    }
    let data = envelope.data.ok_or(Malformed::Field("data"))?;
    let session: UpstreamSession = decode::from_slice(data.get().as_bytes())?;
    if session.next_action.as_deref().is_some_and(|action| action != "EXT_AUTHN_SUCCESS") {
        return Ok(Err(LoginRefused {
            code: String::new(),
            message: "the account asks for a second factor".to_owned(),
        }));
    }
    Ok(Ok(session))
}

/// Our answer to the driver's login: the account's, with our tokens.
#[must_use]
pub fn encode_answer(
    upstream: &UpstreamSession,
    token: &str,
    master_token: &str,
    user: Option<&str>,
) -> Vec<u8> {
    let parameters = parameters::with_ours(&upstream.parameters, true);
    // Clients keep a session alive by our tokens alone, so the hour and the four hours are our own.
    let data = json!({
        "token": token,
        "masterToken": master_token,
        "validityInSeconds": one_hour(),
        "masterValidityInSeconds": four_hours(),
        "displayUserName": user.unwrap_or_default(),
        "serverVersion": upstream.server_version,
        "firstLogin": false,
        "remMeToken": null,
        "remMeValidityInSeconds": 0,
        "healthCheckInterval": 45,
        "newClientForUpgrade": null,
        "sessionId": upstream.session_id,
        "parameters": parameters,
        "sessionInfo": upstream.session_info,
        "idToken": null,
        "idTokenValidityInSeconds": 0,
        "responseData": null,
        "mfaToken": null,
        "mfaTokenValidityInSeconds": 0,
    });
    crate::error::success(&data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &str = r#"{"data":{"CLIENT_APP_ID":"PythonConnector","CLIENT_APP_VERSION":"5.2.0","SVN_REVISION":null,
        "ACCOUNT_NAME":"acme-dev","LOGIN_NAME":"agent","PASSWORD":"placeholder","EXT_AUTHN_DUO_METHOD":"push",
        "SESSION_PARAMETERS":{"QUERY_TAG":"t","X":{"a":true}},"CLIENT_CAPABILITIES":{"SMK_ID_AS_STRING":true},
        "CLIENT_ENVIRONMENT":{"APPLICATION":"reporting","TRACING":30,"PLATFORM":[],"password":"****"}},"inFlightCtx":null}"#;

    fn login(body: &str, query: &str) -> Result<LoginRequest, Malformed> {
        let url = UrlParameters::decode(Some(query)).unwrap();
        LoginRequest::decode(&url, body.as_bytes(), &Limits::default())
    }

    #[test]
    fn a_login_is_read_without_its_password() {
        let request = login(LOGIN, "databaseName=DB1&schemaName=&roleName=R1").unwrap();
        assert_eq!(request.account, "acme-dev");
        assert_eq!(request.login_name.as_deref(), Some("agent"));
        assert_eq!(request.database.as_deref(), Some("DB1"));
        assert_eq!(request.schema, None);
        assert_eq!(request.role.as_deref(), Some("R1"));
        assert_eq!(request.environment.len(), 2);
        assert_eq!(request.identity_token(), None);
        assert!(request.is_single_step());
    }

    #[test]
    fn an_identity_token_is_taken_only_from_authenticators_that_carry_one() {
        let with = |authenticator: &str, provider: &str| {
            let body = format!(
                r#"{{"data":{{"ACCOUNT_NAME":"a","AUTHENTICATOR":"{authenticator}","PROVIDER":"{provider}","TOKEN":"t"}}}}"#
            );
            login(&body, "").unwrap().identity_token().map(str::to_owned)
        };
        assert_eq!(with("OAUTH", ""), Some("t".into()));
        assert_eq!(with("oauth", ""), Some("t".into()));
        assert_eq!(with("WORKLOAD_IDENTITY", "OIDC"), Some("t".into()));
        assert_eq!(with("WORKLOAD_IDENTITY", "AWS"), None);
        assert_eq!(with("SNOWFLAKE_JWT", ""), None);
        // An OAuth login without a token is a token that cannot be valid, not a login without identity.
        let empty = login(r#"{"data":{"ACCOUNT_NAME":"a","AUTHENTICATOR":"OAUTH"}}"#, "").unwrap();
        assert_eq!(empty.identity_token(), Some(""));
    }

    #[test]
    fn a_login_that_is_not_one_is_refused() {
        for body in [
            "[]",
            "{}",
            r#"{"data":null}"#,
            r#"{"data":{"ACCOUNT_NAME":1}}"#,
            r#"{"data":{},"data":{"ACCOUNT_NAME":"a"}}"#,
            r#"{"data":{"ACCOUNT_NAME":"a","ACCOUNT_NAME":"b"}}"#,
        ] {
            assert!(login(body, "").is_err(), "{body}");
        }
    }

    #[test]
    fn our_answer_carries_our_tokens_and_our_parameters() {
        let upstream = r#"{"data":{"token":"up","masterToken":"upm","validityInSeconds":3600,
            "masterValidityInSeconds":14400,"sessionId":9007199254740993,"serverVersion":"9.1.0",
            "parameters":[{"name":"CLIENT_TELEMETRY_ENABLED","value":true},{"name":"CLIENT_PREFETCH_THREADS","value":4}],
            "sessionInfo":{"databaseName":"D","schemaName":"S","warehouseName":"W","roleName":"R"}},
            "code":null,"message":null,"success":true}"#;
        let upstream = decode_answer(upstream.as_bytes()).unwrap().unwrap();
        let ours = encode_answer(&upstream, "ours", "ours-master", Some("agent"));
        let ours = String::from_utf8(ours).unwrap();
        assert!(ours.contains("9007199254740993"), "{ours}");
        insta::assert_snapshot!(ours);
    }

    #[test]
    fn a_refused_login_keeps_code_and_words() {
        let body = r#"{"data":{"nextAction":"RETRY_LOGIN"},"code":"390144","message":"JWT token is invalid.","success":false}"#;
        let refused = decode_answer(body.as_bytes()).unwrap().err().unwrap();
        assert_eq!(refused.code, "390144");
        assert!(decode_answer(br#"{"success":true}"#).is_err());
    }
}
