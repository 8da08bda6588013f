//! Who is behind an agent: verifies the OIDC token that a driver brought, against the connection's issuers.
//!
//! ```text
//! token text -> token::Token (strict decoding, nothing trusted)
//!            -> the issuer that `iss` names exactly, among those of the connection
//!            -> keys::Keys (static, or fetched and cached) -> signature
//!            -> audience, times, subject, groups -> control::Human
//! ```
//!
//! The token itself goes no further: it is neither kept nor logged, and no refusal quotes it.

mod keys;
mod token;

use control::{Human, Problem};
use jiff::Timestamp;
use serde_json::{Map, Value};

pub use self::keys::{KeySource, Keys};
use self::token::Token;

/// How far the clocks of an issuer and of the operator may be apart.
const SKEW_SECONDS: i64 = 60;
/// No clock that works says a later time than the end of the year 9999.
const TIME_MAX: f64 = 253_402_300_799.0;
/// Longest subject, group or user name: what reaches role mapping, records and terminals stays readable.
const NAME_BYTES_MAX: usize = 512;

/// One issuer that a connection trusts.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// `iss`, compared byte by byte.
    pub issuer: String,
    /// The token must be meant for one of these; none configured means none accepted.
    pub audiences: Vec<String>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// The claim with the groups; without one the human has none.
    pub groups_claim: Option<String>,
    /// How the API server would call the same human.
    pub kubernetes_username: Option<UsernameMapping>,
}

/// How a claim becomes a Kubernetes user name, as `--oidc-username-claim` and `--oidc-username-prefix` do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsernameMapping {
    /// The claim.
    pub claim: String,
    /// What stands before its value.
    pub prefix: String,
}

/// Why a token was refused. No variant carries anything of the token but names of claims and the key id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is not a signed token in compact form.
    #[error("it is not a well-formed signed token: {0}")]
    Format(&'static str),
    /// Its algorithm is none that may be used, or not that of the key.
    #[error("its signature algorithm is not allowed for the issuer's key")]
    Algorithm,
    /// Its issuer is none of the connection's.
    #[error("its issuer is not trusted by the connection; list it under spec.identity.issuers")]
    Issuer,
    /// The issuer has no key that could have signed it.
    #[error("the issuer has no key that could have signed it")]
    Key,
    /// The signature does not fit.
    #[error("its signature does not verify")]
    Signature,
    /// It is meant for somebody else.
    #[error(
        "it is not meant for Frostgate: its audience is none of the issuer's audiences in the connection"
    )]
    Audience,
    /// It is too old, too young, or without a usable time.
    #[error("its time does not hold: {0}")]
    Time(&'static str),
    /// A claim that is needed is missing or has the wrong form.
    #[error("its claim {0:?} is missing or of the wrong form")]
    Claim(String),
    /// The issuer left the groups out because they are too many.
    #[error(
        "its groups were left out by the issuer (overage); have the issuer send only the needed groups"
    )]
    Overage,
    /// The keys of the issuer could not be read.
    #[error("the keys of its issuer could not be read: {0}")]
    Unreachable(String),
}

impl Invalid {
    /// As the sidecar reads it.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem {
            code: "FG-1001".to_owned(),
            message: format!("the identity token was refused: {self}"),
            retryable: matches!(self, Self::Unreachable(_)),
        }
    }
}

/// Verifies a token against the issuers of one connection.
///
/// # Errors
/// [`Invalid`] says why; nobody may log in with such a token.
pub async fn verify(
    keys: &Keys,
    issuers: &[Issuer],
    raw: &str,
    now: Timestamp,
) -> Result<Human, Invalid> {
    let token = Token::decode(raw)?;
    let claimed = token.claims.get("iss").and_then(Value::as_str).ok_or(Invalid::Issuer)?;
    let issuer = issuers.iter().find(|known| known.issuer == claimed).ok_or(Invalid::Issuer)?;
    keys.verify(issuer, &token).await?;
    accept(issuer, &token.claims, now)
}

/// Reads the claims of a token whose signature holds.
fn accept(issuer: &Issuer, claims: &Map<String, Value>, now: Timestamp) -> Result<Human, Invalid> {
    audience(issuer, claims)?;
    let expires = times(claims, now.as_second())?;
    let subject = name(claims, "sub")?;
    Ok(Human {
        issuer: issuer.issuer.clone(),
        subject,
        groups: groups(issuer, claims)?,
        kubernetes_username: username(issuer, claims),
        verified: true,
        expires_at_ms: Some(expires.saturating_mul(1000)),
    })
}

/// One of the audiences must be configured; a token for several services may name others as well.
fn audience(issuer: &Issuer, claims: &Map<String, Value>) -> Result<(), Invalid> {
    let ours = |value: &Value| {
        value.as_str().is_some_and(|value| issuer.audiences.iter().any(|known| known == value))
    };
    let meant = match claims.get("aud") {
        Some(Value::Array(values)) => {
            values.iter().all(Value::is_string) && values.iter().any(ours)
        }
        Some(value) => ours(value),
        None => false,
    };
    if meant { Ok(()) } else { Err(Invalid::Audience) }
}

/// `exp` is required, `nbf` and `iat` must have come where they are given. Returns `exp`.
fn times(claims: &Map<String, Value>, now: i64) -> Result<i64, Invalid> {
    let expires = time(claims, "exp")?.ok_or(Invalid::Time("it has no end"))?;
    if expires.saturating_add(SKEW_SECONDS) <= now {
        return Err(Invalid::Time("it has expired; log in anew"));
    }
    for claim in ["nbf", "iat"] {
        if time(claims, claim)?.is_some_and(|at| at > now.saturating_add(SKEW_SECONDS)) {
            return Err(Invalid::Time("it is from the future; check the clocks"));
        }
    }
    Ok(expires)
}

/// A time claim in whole seconds.
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<i64>, Invalid> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=TIME_MAX).contains(seconds));
    #[expect(clippy::cast_possible_truncation, reason = "the range was just checked")]
    seconds.map(|seconds| Some(seconds as i64)).ok_or(Invalid::Time("a time in it is not a time"))
}

/// A claim that must be a name.
fn name(claims: &Map<String, Value>, claim: &str) -> Result<String, Invalid> {
    claims
        .get(claim)
        .and_then(Value::as_str)
        .filter(|value| is_name(value))
        .map(str::to_owned)
        .ok_or_else(|| Invalid::Claim(claim.to_owned()))
}

fn is_name(value: &str) -> bool {
    !value.is_empty() && value.len() <= NAME_BYTES_MAX && !value.chars().any(char::is_control)
}

/// The groups, exactly as the issuer wrote them: a list of names or nothing.
fn groups(issuer: &Issuer, claims: &Map<String, Value>) -> Result<Vec<String>, Invalid> {
    let Some(claim) = &issuer.groups_claim else { return Ok(Vec::new()) };
    let elsewhere = claims.get("_claim_names").and_then(Value::as_object);
    if elsewhere.is_some_and(|names| names.contains_key(claim)) || claims.contains_key("hasgroups")
    {
        return Err(Invalid::Overage);
    }
    let wrong = || Invalid::Claim(claim.clone());
    match claims.get(claim) {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| value.as_str().filter(|value| is_name(value)).map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(wrong),
        Some(_) => Err(wrong()),
    }
}

/// Without a usable claim there is no such name: the human is then refused where self-approval must be told apart.
fn username(issuer: &Issuer, claims: &Map<String, Value>) -> Option<String> {
    let mapping = issuer.kubernetes_username.as_ref()?;
    // As the API server: an address that its owner never confirmed names nobody.
    let unconfirmed = claims.get("email_verified").is_some_and(|value| value != &Value::Bool(true));
    if mapping.claim == "email" && unconfirmed {
        return None;
    }
    let value = name(claims, &mapping.claim).ok()?;
    Some(format!("{}{value}", mapping.prefix))
}

#[cfg(test)]
mod tests;
