//! A session opens: the operator says who it is, the account takes the login, the recording begins.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::{Credential, OpenSession, OpenedSession};
use http::HeaderValue;
use recording::entry::{self, CredentialLeased, SessionOpened};
use recording::{Fact, SigningKey};
use snowflake::login::{LoginRequest, SessionInfo, UpstreamSession};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Filtered, Session, Sessions, filter};
use crate::Parts;
use crate::downstream::identity;
use crate::downstream::refusal::{Form, Refusal};
use crate::living;
use crate::operator::standing::Ruling;
use crate::recorder;
use crate::telemetry::OutcomeLabels;
use crate::upstream::{self, credentials::SessionKey};

/// A session that is open now.
pub(crate) struct Opened {
    pub(crate) session: Arc<Session>,
    /// What the account said to our login.
    pub(crate) answer: UpstreamSession,
}

impl Sessions {
    /// Opens a session: asks the operator who this is, logs in, starts the recording.
    pub(crate) async fn open(
        &self,
        request: &LoginRequest,
        user_agent: Option<HeaderValue>,
        parts: &Arc<Parts>,
    ) -> Result<Opened, Refusal> {
        let opened = self.try_open(request, user_agent, parts).await;
        let outcome = if opened.is_ok() { "opened" } else { "refused" };
        parts.metrics.logins.get_or_create(&OutcomeLabels { outcome }).inc();
        opened.map_err(Refusal::for_login)
    }

    /// Opens a session for a driver, and gives the login's answer.
    pub(crate) async fn log_in(
        &self,
        request: &LoginRequest,
        user_agent: Option<HeaderValue>,
        parts: &Arc<Parts>,
    ) -> Result<Vec<u8>, Refusal> {
        let Opened { session, answer } = self.open(request, user_agent, parts).await?;
        let tokens = self
            .issue(&session, parts.timings.session_token, parts.timings.session)
            .map_err(Refusal::for_login)?;
        Ok(snowflake::login::encode_answer(
            &answer,
            &tokens.session,
            &tokens.master,
            request.login_name.as_deref(),
        ))
    }

    async fn try_open(
        &self,
        request: &LoginRequest,
        user_agent: Option<HeaderValue>,
        parts: &Arc<Parts>,
    ) -> Result<Opened, Refusal> {
        let ruling = parts.first_ruling().await?;
        ruling.in_force()?;
        if self.all().len() >= parts.limits.sessions {
            return Err(Refusal::denied(
                "FG-6002",
                format_args!(
                    "this pod has {} open sessions already; close some",
                    parts.limits.sessions
                ),
            ));
        }
        let limit = parts.limits.identity_token;
        let claim = identity::claim(request, &ruling.connection.account, limit)?;
        let Filtered { passed, stripped, count } = filter(&request.parameters)?;
        let key = SessionKey::generate().await.map_err(Refusal::internal)?;
        let recording_key = RecordingKey::generate()?;
        let ask = OpenSession {
            identity_token: claim.token,
            client: claim.client.clone(),
            session_public_key: key.public_base64(),
            recording_public_key: recording_key.public_base64(),
            requested_role: request.role.clone(),
        };
        let opened = parts.operator.open_session(&ask).await.map_err(|error| match error {
            crate::operator::CallError::Refused(problem) => Refusal::problem(Form::Login, &problem),
            error => Refusal::denied(
                "FG-1005",
                format_args!(
                    "no session can open now: {error}. Check the operator and the pod's way to it."
                ),
            ),
        })?;
        let login = upstream::Login { opened: &opened, request, parameters: passed, user_agent };
        let started = self
            .start(login, &key, recording_key, &ruling, (stripped, count), claim.client, parts)
            .await;
        match started {
            Ok(session) => Ok(session),
            Err(refusal) => {
                // Its credential must not outlive a session that never was.
                let closed = parts.operator.close(&opened.session, "Refused").await;
                if let Err(error) = closed {
                    tracing::warn!(%error, "the operator was not told that a login failed");
                }
                Err(refusal)
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one caller, which names each")]
    async fn start(
        &self,
        login: upstream::Login<'_>,
        key: &SessionKey,
        recording_key: RecordingKey,
        ruling: &Arc<Ruling>,
        (stripped, count): (Vec<String>, Option<u32>),
        client: control::Client,
        parts: &Arc<Parts>,
    ) -> Result<Opened, Refusal> {
        let (opened, request) = (login.opened, login.request);
        let tag = login.parameters.iter().find(|it| it.name.eq_ignore_ascii_case("QUERY_TAG"));
        let tag = tag.and_then(|tag| serde_json::from_str(tag.value.get()).ok());
        let transport = parts
            .transport(&ruling.connection, ruling.networks.clone())
            .map_err(|error| Refusal::denied("FG-4001", error))?;
        let settings = (parts.limits, parts.timings);
        let metrics = parts.metrics.clone();
        let kept = parts.living.of(&opened.session);
        let setup = upstream::Setup { transport, settings, metrics, kept: kept.clone() };
        let (upstream, answer) = upstream::Session::login(setup, key, login)
            .await
            .map_err(|error| login_refusal(&error))?;
        let opening = recorder::Opening {
            session: opened.session.clone(),
            key: recording_key.signing,
            certificate: serde_json::from_value(opened.certificate.clone())
                .map_err(|_| Refusal::internal("the operator's certificate is not readable"))?,
            opened: session_opened(opened, request, client, stripped, ruling, &answer.session_info),
        };
        let recording = match parts.recorder.open_session(opening).await {
            Ok(recording) => recording,
            Err(error) => {
                upstream.logout().await;
                return Err(Refusal::unrecorded(&error));
            }
        };
        let leased = leased(&opened.credential);
        if let Err(error) = recording.record(Fact::CredentialLeased(leased)).await {
            upstream.logout().await;
            return Err(Refusal::unrecorded(&error));
        }
        let session = Arc::new(Session {
            id: opened.session.clone(),
            principal: principal(opened.principal.human.as_ref()),
            upstream,
            recording,
            kept,
            connection: ruling.connection.clone(),
            resumed: false,
            role: opened.role.clone(),
            stateless: request.stateless,
            count: count.unwrap_or(1),
            number: answer.session_id.clone(),
            tag,
            opened_ms: crate::now_ms(),
            opened: Instant::now(),
            state: Mutex::new(sql::Session::default()),
            statements: Mutex::default(),
            used: Mutex::new(Instant::now()),
            renew_by: Mutex::new(opened.expires_at_ms),
            closing: Arc::default(),
            ended: CancellationToken::new(),
        });
        session.follow(&SessionInfo {
            role_name: Some(
                answer.session_info.role_name.clone().unwrap_or_else(|| opened.role.clone()),
            ),
            ..answer.session_info.clone()
        });
        session.follow_parameters(&answer.parameters);
        let role = answer.session_info.role_name.as_deref().unwrap_or(&opened.role);
        if role != opened.role {
            let reason = format!("the account gave the role {role} instead of {}", opened.role);
            parts.close(&session, "Refused").await;
            return Err(Refusal::denied("FG-4002", reason));
        }
        parts.living.keep(session.to_keep(opened.principal.human.clone(), recording_key.seed));
        self.write_open().insert(session.id.clone(), Arc::clone(&session));
        parts.metrics.sessions.set(i64::try_from(self.all().len()).unwrap_or(i64::MAX));
        tracing::info!(session = session.id, role = session.role, "session opened");
        Ok(Opened { session, answer })
    }
}

fn login_refusal(error: &upstream::UpstreamError) -> Refusal {
    use upstream::UpstreamError;
    match error {
        UpstreamError::Unreachable(_) => Refusal::new(Form::Login, "FG-4001", error),
        _ => Refusal::new(Form::Login, "FG-4002", error),
    }
}

/// Who asks, as policies see it.
pub(super) fn principal(human: Option<&control::Human>) -> policy::Principal {
    policy::Principal {
        human: human.map(|human| policy::Human {
            issuer: human.issuer.clone(),
            subject: human.subject.clone(),
            groups: human.groups.clone(),
            username: human.kubernetes_username.clone(),
            verified: human.verified,
        }),
    }
}

fn session_opened(
    opened: &OpenedSession,
    request: &LoginRequest,
    client: control::Client,
    stripped: Vec<String>,
    ruling: &Ruling,
    info: &SessionInfo,
) -> SessionOpened {
    let control::Workload { namespace, pod, pod_uid, service_account, kind, name, node } =
        opened.principal.workload.clone();
    SessionOpened {
        workload: entry::Workload { namespace, pod, pod_uid, service_account, kind, name, node },
        human: opened.principal.human.clone().map(|human| entry::Human {
            issuer: human.issuer,
            subject: human.subject,
            groups: human.groups,
            kubernetes_username: human.kubernetes_username,
            verified: human.verified,
            expires_at_ms: human.expires_at_ms,
        }),
        client: entry::Client {
            app_id: client.app_id,
            app_version: client.app_version,
            login_name: client.login_name,
            environment: client.environment,
        },
        connection: ruling.connection.name.clone(),
        account: opened.account.clone(),
        state: entry::State {
            role: opened.role.clone(),
            warehouse: info.warehouse_name.clone(),
            database: info.database_name.clone(),
            schema: info.schema_name.clone(),
        },
        requested_role: request.role.clone(),
        stripped,
        policy_hash: ruling.policy_hash.clone(),
        durability: format!("{:?}", ruling.connection.durability),
        recorder: concat!("frostgate-proxy ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

fn leased(credential: &Credential) -> CredentialLeased {
    let (mode, user, expires_at_ms) = match credential {
        Credential::EphemeralUser { user, expires_at_ms } => ("EphemeralUser", user, expires_at_ms),
        Credential::KeyPair { user, expires_at_ms, .. } => ("KeyPair", user, expires_at_ms),
    };
    CredentialLeased { mode: mode.to_owned(), user: user.clone(), expires_at_ms: *expires_at_ms }
}

/// A key for one recording.
pub(super) struct RecordingKey {
    pub(super) signing: SigningKey,
    /// What it is made of, base64.
    seed: living::Secret,
}

impl RecordingKey {
    fn generate() -> Result<Self, Refusal> {
        let mut seed = Zeroizing::new([0_u8; 32]);
        aws_lc_rs::rand::fill(&mut *seed)
            .map_err(|_| Refusal::internal("there is no randomness"))?;
        let seed = Zeroizing::new(STANDARD.encode(seed.as_slice()));
        Self::of(seed).ok_or_else(|| Refusal::internal("no recording key"))
    }

    /// The key that a seed makes.
    pub(super) fn of(seed: living::Secret) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(&*seed).ok()?);
        let signing = SigningKey::from_seed(bytes.as_slice().try_into().ok()?).ok()?;
        Some(Self { signing, seed })
    }

    fn public_base64(&self) -> String {
        STANDARD.encode(self.signing.public().0)
    }
}
