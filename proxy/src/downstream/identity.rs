//! Who is the agent: what a login claims, before the operator verifies it.

use std::collections::BTreeMap;

use control::Client;
use snowflake::login::LoginRequest;

use super::refusal::{Form, Refusal};

/// What the operator is asked about the agent's login.
pub(crate) struct Claim {
    /// The raw token, where the driver brought one. It is verified by the operator and kept by nobody.
    pub(crate) token: Option<String>,
    /// What the driver says about itself.
    pub(crate) client: Client,
}

/// Reads the claim of a login to `account`. A way of logging in that could not work, or a token that cannot be one,
/// is refused: an identity is never silently dropped.
pub(crate) fn claim(
    request: &LoginRequest,
    account: &str,
    token_limit: usize,
) -> Result<Claim, Refusal> {
    let refused = |code, message: String| Err(Refusal::new(Form::Login, code, message));
    if !is_account(&request.account, account) {
        return refused(
            "FG-6006",
            format!(
                "this pod is attached to the account {account}; set the driver's account to it or attach the pod to \
                 another SnowflakeConnection"
            ),
        );
    }
    if !request.is_single_step() {
        let way = request.authenticator.as_deref().unwrap_or_default();
        return refused(
            "FG-6006",
            format!(
                "the authenticator {} needs a browser or a second step; log in with any user and password, or with \
                 authenticator=oauth and an identity token",
                super::refusal::one_line(way)
            ),
        );
    }
    let token = request.identity_token();
    if token.is_some_and(str::is_empty) {
        return refused(
            "FG-1001",
            "the login says that it brings an identity token and brings none: set token or token_file_path".to_owned(),
        );
    }
    if token.is_some_and(|token| token.len() > token_limit) {
        return refused("FG-6002", format!("the identity token exceeds {token_limit} bytes"));
    }
    let environment: BTreeMap<String, String> = request
        .environment
        .iter()
        .take(64)
        .map(|(name, value)| (name.clone(), value.chars().take(256).collect()))
        .collect();
    Ok(Claim {
        token: token.map(str::to_owned),
        client: Client {
            app_id: request.app_id.clone(),
            app_version: request.app_version.clone(),
            login_name: request.login_name.clone(),
            environment,
        },
    })
}

/// Whether the driver means the connection's account: its name up to a region, hyphens and underscores alike.
fn is_account(asked: &str, account: &str) -> bool {
    let fold = |name: &str| {
        let name = name.split('.').next().unwrap_or_default();
        name.to_ascii_uppercase().replace('_', "-")
    };
    fold(asked) == fold(account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use snowflake::Limits;
    use snowflake::decode::UrlParameters;

    fn request(data: &str) -> LoginRequest {
        let body = format!(r#"{{"data":{{"ACCOUNT_NAME":"acme-dev",{data}"CLIENT_APP_ID":"x"}}}}"#);
        LoginRequest::decode(&UrlParameters::default(), body.as_bytes(), &Limits::default())
            .unwrap()
    }

    #[test]
    fn a_login_to_another_account_is_refused() {
        for (account, fits) in [
            ("acme-dev", true),
            ("ACME_DEV.eu-west-1", true),
            ("acme", false),
            ("acme-dev2", false),
            ("evil.acme-dev", false),
        ] {
            assert_eq!(claim(&request(""), account, 100).is_ok(), fits, "{account}");
        }
    }

    #[test]
    fn an_identity_token_is_taken_or_refused_and_never_dropped() {
        let code = |data| claim(&request(data), "acme-dev", 10).err().map(|refusal| refusal.code);
        assert_eq!(code(r#""AUTHENTICATOR":"OAUTH","TOKEN":"abc","#), None);
        assert_eq!(code(r#""AUTHENTICATOR":"OAUTH","#), Some("FG-1001".into()));
        assert_eq!(
            code(r#""AUTHENTICATOR":"OAUTH","TOKEN":"01234567890","#),
            Some("FG-6002".into())
        );
        assert_eq!(code(r#""AUTHENTICATOR":"EXTERNALBROWSER","#), Some("FG-6006".into()));
        assert_eq!(code(r#""PASSWORD":"placeholder","#), None);
    }
}
