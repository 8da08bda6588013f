//! Opening, renewing and closing a session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A driver logged in at the sidecar: who is it, and with which credential may the sidecar log in upstream?
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenSession {
    /// The raw identity token that the driver brought (an OIDC JWT); verified by the operator, stored by nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_token: Option<String>,
    /// What the driver said about itself; recorded, never trusted.
    pub client: Client,
    /// DER SubjectPublicKeyInfo of the session's RSA key, base64: the ephemeral user is made with it.
    pub session_public_key: String,
    /// Raw Ed25519 public key, base64: the operator certifies it for the recording.
    pub recording_public_key: String,
    /// The role the driver asked for, if any; granted only if it is the mapped one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_role: Option<String>,
}

/// What the driver said about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// `CLIENT_APP_ID`, such as `PythonConnector`.
    pub app_id: String,
    /// `CLIENT_APP_VERSION`.
    pub app_version: String,
    /// `LOGIN_NAME` of the placeholder login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_name: Option<String>,
    /// `CLIENT_ENVIRONMENT`, strings only.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// The answer to [`OpenSession`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenedSession {
    /// The session's id, a UUIDv7; it names the recording.
    pub session: String,
    /// Who asks, verified.
    pub principal: Principal,
    /// The account for the login body and the JWT, such as `myorg-analytics`.
    pub account: String,
    /// The one role of the session.
    pub role: String,
    /// The warehouse, where the connection or the role mapping names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warehouse: Option<String>,
    /// Default database of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Default schema of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// How the sidecar logs in upstream.
    pub credential: Credential,
    /// The operator's certificate over the recording key, as `recording::Certificate` JSON.
    pub certificate: serde_json::Value,
    /// The session must be renewed before this time (Unix milliseconds) or it ends.
    pub expires_at_ms: i64,
}

/// How the sidecar logs in upstream. Never recorded but for mode, user and expiry.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all_fields = "camelCase")]
pub enum Credential {
    /// An ephemeral user made with the session's public key; the sidecar signs its own login JWT.
    EphemeralUser {
        /// The user's name.
        user: String,
        /// When the operator drops the user, Unix milliseconds.
        expires_at_ms: i64,
    },
    /// A fixed service user; the operator signed the login JWT.
    KeyPair {
        /// The user's name.
        user: String,
        /// The login JWT.
        jwt: String,
        /// When the JWT ends, Unix milliseconds.
        expires_at_ms: i64,
    },
}

/// Who asks, as the operator verified it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    /// The pod.
    pub workload: Workload,
    /// The human or service behind it, by a verified token; absent when the driver brought none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub human: Option<Human>,
}

/// The pod that asks, from the bound token and the live Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub pod_uid: String,
    /// Its ServiceAccount.
    pub service_account: String,
    /// Kind of the owner at the top (`Deployment`, `Job`, ...), `Pod` if there is none.
    pub kind: String,
    /// Name of that owner.
    pub name: String,
    /// Node that runs it.
    #[serde(default)]
    pub node: String,
}

/// A verified human or service identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Human {
    /// `iss` of the token; `local` for a flag identity in local mode.
    pub issuer: String,
    /// `sub` of the token.
    pub subject: String,
    /// The groups claim.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The user name the API server would give the same token, where the issuer says how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_username: Option<String>,
    /// False where the identity was only claimed (local mode): no group rule matches it.
    pub verified: bool,
    /// `exp` of the token, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
}

/// The answer to a renewal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewedSession {
    /// The new end, Unix milliseconds.
    pub expires_at_ms: i64,
}

/// Why a session ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloseSession {
    /// `Logout`, `Idle`, `Drain`, `Refused`, `UpstreamLost`.
    pub reason: String,
}

impl std::fmt::Debug for Credential {
    /// Leaves the JWT out: a credential must never reach a log by accident.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EphemeralUser { user, expires_at_ms } => f
                .debug_struct("EphemeralUser")
                .field("user", user)
                .field("expires_at_ms", expires_at_ms)
                .finish(),
            Self::KeyPair { user, expires_at_ms, .. } => f
                .debug_struct("KeyPair")
                .field("user", user)
                .field("expires_at_ms", expires_at_ms)
                .finish_non_exhaustive(),
        }
    }
}
