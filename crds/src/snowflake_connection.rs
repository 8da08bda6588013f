//! SnowflakeConnection: an account, the right to log in to it, and who may attach.

#![allow(unreachable_pub, reason = "the schema derive copies each type into a function body")]
#![allow(clippy::duplicated_attributes, reason = "each printer column is an attribute of its own")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;
use crate::access_policy::{DetectorRule, Guards, MaskRule, ObjectRule};

/// One Snowflake account as agents may use it: where it is, how Frostgate logs in, and who may attach.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "frostgate.dev",
    version = "v1alpha1",
    kind = "SnowflakeConnection",
    plural = "snowflakeconnections",
    shortname = "sfc",
    category = "frostgate",
    namespaced,
    derive = "PartialEq",
    status = "SnowflakeConnectionStatus",
    doc = "One Snowflake account as agents may use it: where it is, how Frostgate logs in, and who may attach.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name must be at most 63 characters: it is used as a label"),
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.account"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.credentials.mode"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SnowflakeConnectionSpec {
    /// Account identifier as in the account's URL, such as `myorg-analytics`.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$")
    )]
    pub account: String,
    /// Where the account is reached; absent means `<account>.snowflakecomputing.com:443` with public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// How sessions get their short-lived right to log in.
    pub credentials: Credentials,
    /// Defaults and limits of sessions.
    #[serde(default)]
    pub session: Session,
    /// Roles that an AccessPolicy may map to, and no others.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 255)))]
    pub allowed_roles: Vec<String>,
    /// Whose pods may attach; absent means those of the connection's own namespace.
    #[serde(default)]
    pub allowed_workloads: AllowedWorkloads,
    /// Who vouches for the humans behind the agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// How columns, views and functions of the account are read; without it whatever needs them is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<Catalog>,
    /// Rules that hold for every session and that no AccessPolicy can widen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// The door for the agents' model traffic, which tells the prompt behind each statement; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Prompts>,
    /// How long a sidecar goes on with the policies it has when it cannot reach the operator.
    #[serde(default = "policy_lease")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')").message("must be between 10s and 24h"))]
    pub policy_lease: Duration,
    /// Stops every session of this connection: statements are refused until it is false again.
    #[serde(default)]
    pub suspend: bool,
}

fn policy_lease() -> Duration {
    Duration::from_secs(15 * 60)
}

/// Where the account is reached.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Host of the account as drivers name it; absent means `<account>.snowflakecomputing.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)+$")
    )]
    pub host: Option<String>,
    /// Port of the account.
    #[serde(default = "https")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// PEM certificates that vouch for the account's host instead of the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262_144))]
    pub ca_bundle: Option<String>,
    /// Networks (CIDR) with private addresses that the account's and chunk hosts may resolve to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 43)))]
    pub private_networks: Vec<String>,
    /// Addresses that stand in for DNS, as a Pod's do for its containers; of an account behind a private link, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub host_aliases: Vec<HostAlias>,
    /// The egress proxy that the account and its chunk hosts are reached through, by CONNECT: `http://host:port`. It then
    /// finds their addresses; TLS stays between the sidecar and the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 1024), regex(pattern = r"^http://[^\s/?#@]+$"))]
    pub https_proxy: Option<String>,
}

/// An address, and the hosts that are reached there.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostAlias {
    /// The address; a private one must be in one of `privateNetworks` as well.
    #[schemars(length(min = 2, max = 45))]
    pub ip: String,
    /// The hosts, as the account names them.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
}

fn https() -> u16 {
    443
}

/// How sessions get their short-lived right to log in.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode == 'EphemeralUser' ? has(self.ephemeralUser) && !has(self.keyPair) : true")
        .message("mode EphemeralUser needs ephemeralUser and no keyPair"),
    validation = Rule::new("self.mode == 'KeyPair' ? has(self.keyPair) && !has(self.ephemeralUser) : true")
        .message("mode KeyPair needs keyPair and no ephemeralUser")
)]
pub struct Credentials {
    /// `EphemeralUser`: a Snowflake user per session; `KeyPair`: one service user, login tokens that live for minutes.
    #[serde(default)]
    pub mode: CredentialMode,
    /// For mode `EphemeralUser`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_user: Option<EphemeralUser>,
    /// For mode `KeyPair`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_pair: Option<KeyPair>,
}

/// How sessions get their right to log in.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CredentialMode {
    /// A Snowflake user that lives as long as the session.
    #[default]
    EphemeralUser,
    /// One service user; the operator signs login tokens that live for minutes.
    KeyPair,
}

/// A user per session.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EphemeralUser {
    /// The Snowflake user that makes and drops the others.
    pub provisioner: Provisioner,
    /// How the names of the users begin; no other user of the account may begin so.
    #[serde(default = "name_prefix")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[A-Z_][A-Z0-9_]*$"))]
    pub name_prefix: String,
    /// A session ends after this, whatever it does.
    #[serde(default = "max_ttl")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')").message("must be between 10s and 24h"))]
    pub max_ttl: Duration,
    /// How often users whose session is gone are looked for and dropped.
    #[serde(default = "sweep_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('1h')").message("must be between 10s and 1h"))]
    pub sweep_interval: Duration,
    /// A Snowflake network policy for every user made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub network_policy: Option<String>,
}

fn name_prefix() -> String {
    "FG_".to_owned()
}

fn max_ttl() -> Duration {
    Duration::from_secs(8 * 3600)
}

fn sweep_interval() -> Duration {
    Duration::from_secs(30)
}

/// Who makes users; its key never leaves the operator.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provisioner {
    /// The Snowflake user.
    #[schemars(length(min = 1, max = 255))]
    pub user: String,
    /// The role it works with: it may create users and grant the allowed roles, nothing else.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!(self.upperAscii() in ['ACCOUNTADMIN', 'ORGADMIN', 'GLOBALORGADMIN'])").message("give the provisioner a role of its own: it needs CREATE USER and the allowed roles, never an administrator's role"))]
    pub role: String,
    /// A warehouse for its statements, where one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub warehouse: Option<String>,
    /// Its private key.
    pub private_key_ref: SecretKeyRef,
}

/// One service user.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPair {
    /// The Snowflake user.
    #[schemars(length(min = 1, max = 255))]
    pub user: String,
    /// Its private key.
    pub private_key_ref: SecretKeyRef,
}

/// One key of a Secret in the connection's namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it: an unencrypted PKCS#8 private key in PEM.
    #[serde(default = "private_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn private_key() -> String {
    "privateKey".to_owned()
}

/// Defaults and limits of sessions.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Warehouse where the role mapping names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub warehouse: Option<String>,
    /// Database at login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub database: Option<String>,
    /// Schema at login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub schema: Option<String>,
    /// A session without a statement ends after this.
    #[serde(default = "idle_timeout")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')").message("must be between 10s and 24h"))]
    pub idle_timeout: Duration,
}

fn idle_timeout() -> Duration {
    Duration::from_secs(3600)
}

impl Default for Session {
    fn default() -> Self {
        Self { warehouse: None, database: None, schema: None, idle_timeout: idle_timeout() }
    }
}

/// Whose pods may attach.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedWorkloads {
    /// Which namespaces.
    #[serde(default)]
    pub namespaces: AllowedNamespaces,
}

/// Which namespaces may attach.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("selector belongs to from: Selector, and only there"))]
pub struct AllowedNamespaces {
    /// `Same`: the connection's own; `All`; or those with the labels of `Selector`.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Labels of the namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How namespaces are chosen.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespacesFrom {
    /// The connection's own.
    #[default]
    Same,
    /// Every namespace.
    All,
    /// Those with certain labels.
    Selector,
}

/// Who vouches for humans.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Refuse a login that brings no identity token.
    #[serde(default)]
    pub required: bool,
    /// The issuers that are believed.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["issuer".to_string()]))]
    pub issuers: Vec<Issuer>,
}

/// An OIDC issuer.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.jwks) && has(self.jwksUri))").message("give jwks or jwksUri, not both"))]
pub struct Issuer {
    /// The `iss` claim, exactly.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^https://[^\s?#]+$"))]
    pub issuer: String,
    /// One of these must be in the `aud` claim.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 1024)))]
    pub audiences: Vec<String>,
    /// Where the keys are; absent means the issuer's discovery document says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^https://[^\s#]+$"))]
    pub jwks_uri: Option<String>,
    /// The keys themselves (a JWK set as JSON), for issuers that the operator cannot reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 65_536))]
    pub jwks: Option<String>,
    /// PEM certificates that vouch for the issuer's host instead of the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262_144))]
    pub ca_bundle: Option<String>,
    /// The claim with the human's groups.
    #[serde(default = "groups_claim")]
    #[schemars(length(min = 1, max = 253))]
    pub groups_claim: String,
    /// How the API server names the same human, so that nobody approves what they asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_username: Option<KubernetesUsername>,
}

fn groups_claim() -> String {
    "groups".to_owned()
}

/// The API server's `--oidc-username-claim` and `--oidc-username-prefix`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesUsername {
    /// The claim.
    #[schemars(length(min = 1, max = 253))]
    pub claim: String,
    /// What the API server puts before it.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub prefix: String,
}

/// How the account's catalog is read.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalog {
    /// A role that may read the `INFORMATION_SCHEMA` of what agents use.
    #[schemars(length(min = 1, max = 255))]
    pub role: String,
    /// The warehouse it reads with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub warehouse: Option<String>,
    /// How long what was read is believed.
    #[serde(default = "refresh")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')").message("must be between 10s and 24h"))]
    pub refresh: Duration,
}

fn refresh() -> Duration {
    Duration::from_secs(5 * 60)
}

/// The door for model traffic. Agents in injected pods are pointed to it by `ANTHROPIC_BASE_URL`; requests and answers
/// pass unchanged, and what they say about tool calls links each statement to the prompt behind it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompts {
    /// What is kept of prompts. `Off` passes the traffic and reads nothing, for pods that are pointed here already.
    #[serde(default)]
    pub capture: PromptCapture,
    /// Where model traffic goes: the API itself or a gateway that speaks it, without `/v1`.
    #[serde(default = "anthropic")]
    #[schemars(length(min = 9, max = 1024), regex(pattern = r"^https://[^\s?#@]+$"))]
    pub upstream: String,
    /// PEM certificates that vouch for the upstream's host instead of the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262_144))]
    pub ca_bundle: Option<String>,
    /// Networks (CIDR) with private addresses that the upstream's host may resolve to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 43)))]
    pub private_networks: Vec<String>,
    /// The egress proxy that the upstream is reached through, by CONNECT: `http://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 1024), regex(pattern = r"^http://[^\s/?#@]+$"))]
    pub https_proxy: Option<String>,
}

/// What is kept of prompts.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PromptCapture {
    /// Nothing is read.
    #[default]
    Off,
    /// Statements are linked; in the text that is kept, what looks like a secret or personal data is masked.
    Masked,
    /// Statements are linked; the text is kept as it was.
    Full,
}

fn anthropic() -> String {
    "https://api.anthropic.com".to_owned()
}

/// What no AccessPolicy can widen: refusals, masks and limits.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// Statement kinds that never run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 64)))]
    pub deny_statements: Vec<String>,
    /// Objects that are never used; every rule has effect `Deny`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.all(rule, rule.effect == 'Deny')").message("a baseline can only deny: allow in an AccessPolicy"))]
    pub objects: Vec<ObjectRule>,
    /// Columns that are always masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub masking: Vec<MaskRule>,
    /// What is always looked for in values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub detectors: Vec<DetectorRule>,
    /// Limits.
    #[serde(default)]
    pub guards: Guards,
}

/// What the operator saw of the connection.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnowflakeConnectionStatus {
    /// The generation the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `ResolvedRefs`, `CredentialsReady`, and the summary `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}

impl SnowflakeConnectionSpec {
    /// The account's host as drivers name it.
    #[must_use]
    pub fn host(&self) -> String {
        self.endpoint.as_ref().and_then(|endpoint| endpoint.host.clone()).unwrap_or_else(|| {
            format!("{}.snowflakecomputing.com", self.account.to_ascii_lowercase())
        })
    }

    /// The account's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.endpoint.as_ref().map_or_else(https, |endpoint| endpoint.port)
    }

    /// Whether agents' model traffic shall pass the sidecar.
    #[must_use]
    pub fn reads_prompts(&self) -> bool {
        self.prompts.as_ref().is_some_and(|prompts| prompts.capture != PromptCapture::Off)
    }

    /// Addresses that stand in for name resolution, by host.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<String, IpAddr> {
        let aliases = self.endpoint.iter().flat_map(|endpoint| &endpoint.host_aliases);
        aliases
            .filter_map(|alias| Some((alias.ip.parse().ok()?, &alias.hostnames)))
            .flat_map(|(ip, hosts)| hosts.iter().map(move |host| (host.to_ascii_lowercase(), ip)))
            .collect()
    }

    /// The Secret with the privileged key.
    #[must_use]
    pub fn private_key_ref(&self) -> Option<&SecretKeyRef> {
        match self.credentials.mode {
            CredentialMode::EphemeralUser => self
                .credentials
                .ephemeral_user
                .as_ref()
                .map(|ephemeral| &ephemeral.provisioner.private_key_ref),
            CredentialMode::KeyPair => {
                self.credentials.key_pair.as_ref().map(|pair| &pair.private_key_ref)
            }
        }
    }
}
