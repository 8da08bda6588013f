//! Renewal, abort, and the answers that say only "fine".

use serde::Deserialize;
use serde_json::json;

use crate::decode::{self, Limits, Malformed};

/// A driver renews its session token with its master token.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Renewal {
    /// The session token that ends.
    pub old_session_token: String,
    /// `RENEW`.
    #[serde(default)]
    pub request_type: Option<String>,
}

impl Renewal {
    /// Reads the body.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, Malformed> {
        decode::strict(body, limits)?;
        decode::from_slice(body)
    }

    /// The body of our own renewal.
    #[must_use]
    pub fn encode(old_session_token: &str) -> Vec<u8> {
        json!({ "oldSessionToken": old_session_token, "requestType": "RENEW" })
            .to_string()
            .into_bytes()
    }
}

/// The account's answer to our renewal.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Renewed {
    /// The new session token.
    pub session_token: String,
    /// The new master token.
    pub master_token: Option<String>,
    /// Seconds.
    #[serde(rename = "validityInSecondsST")]
    pub validity: Option<u64>,
    /// Seconds.
    #[serde(rename = "validityInSecondsMT")]
    pub master_validity: Option<u64>,
}

impl Renewed {
    /// Reads the account's answer; a refusal gives its code.
    pub fn decode(body: &[u8]) -> Result<Result<Self, String>, Malformed> {
        #[derive(Deserialize)]
        struct Envelope {
            data: Option<serde_json::Value>,
            code: Option<String>,
            success: bool,
        }
        let envelope: Envelope = decode::from_slice(body)?;
        if !envelope.success {
            return Ok(Err(envelope.code.unwrap_or_default()));
        }
        let data = envelope.data.ok_or(Malformed::Field("data"))?;
        serde_json::from_value(data).map(Ok).map_err(|_| Malformed::Field("data"))
    }

    /// Our answer to a driver's renewal.
    #[must_use]
    pub fn encode(
        token: &str,
        master_token: &str,
        session_id: Option<&serde_json::value::RawValue>,
    ) -> Vec<u8> {
        crate::error::success(&json!({
            "sessionToken": token,
            "validityInSecondsST": 3600,
            "masterToken": master_token,
            "validityInSecondsMT": 14_400,
            "sessionId": session_id,
        }))
    }
}

/// A driver cancels a statement by its request id.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Abort {
    /// The request id of the statement.
    pub request_id: String,
}

impl Abort {
    /// Reads the body: the target is here, the request id of the URL is the abort's own.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, Malformed> {
        decode::strict(body, limits)?;
        decode::from_slice(body)
    }

    /// The body of our own abort.
    #[must_use]
    pub fn encode(request_id: &str, sql: &str) -> Vec<u8> {
        json!({ "sqlText": sql, "requestId": request_id }).to_string().into_bytes()
    }
}

/// The answer to a heartbeat, a logout, an abort, telemetry.
#[must_use]
pub fn fine() -> Vec<u8> {
    json!({ "data": null, "code": null, "message": null, "success": true }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_names_its_target_in_the_body() {
        let abort =
            Abort::decode(br#"{"sqlText":"select 1","requestId":"r1"}"#, &Limits::default());
        assert_eq!(abort.unwrap().request_id, "r1");
        assert!(Abort::decode(br#"{"sqlText":"select 1"}"#, &Limits::default()).is_err());
    }

    #[test]
    fn a_renewal_is_read_both_ways() {
        let limits = Limits::default();
        let renewal = Renewal::decode(br#"{"requestType":"RENEW","oldSessionToken":"t"}"#, &limits);
        assert_eq!(renewal.unwrap().old_session_token, "t");
        let renewed = br#"{"data":{"sessionToken":"n","validityInSecondsST":3600,"masterToken":"m","validityInSecondsMT":14400,"sessionId":1},"success":true}"#;
        assert_eq!(Renewed::decode(renewed).unwrap().ok().unwrap().session_token, "n");
        let refused = br#"{"data":null,"code":"390114","message":"x","success":false}"#;
        assert_eq!(Renewed::decode(refused).unwrap().err().unwrap(), "390114");
    }
}
