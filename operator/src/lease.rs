//! One leader: a Lease that one replica holds. Every replica serves; only the holder writes status, appends to the
//! ledger and touches Snowflake.
//!
//! Whether a lease ran out is judged by how long *we* have not seen it change, on our own monotonic clock: the clock
//! of another machine proves nothing.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How a lease is held.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who we are: pod name and UID, so that a restarted pod is somebody else.
    pub identity: String,
    /// How long it holds without being renewed.
    pub duration: Duration,
}

/// Takes and keeps the lease until `shutdown`, then gives it up so that the next one need not wait.
///
/// `leading` is false from a third of the duration before the lease could pass to another, so that nothing that was
/// started as leader is still on its way when somebody else leads.
pub async fn hold(
    client: Client,
    settings: Settings,
    leading: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let api = Api::namespaced(client, &settings.namespace);
    let mut claim = Claim { settings, seen: None, renewed: None };
    let interval = claim.settings.duration / 5;
    loop {
        if let Err(error) = claim.renew(&api).await {
            tracing::warn!(%error, "lease not renewed");
        }
        let leads = claim.leads();
        leading.send_if_modified(|now| {
            let changed = *now != leads;
            if changed {
                tracing::info!(leads, "leadership changed");
            }
            *now = leads;
            changed
        });
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = shutdown.cancelled() => break,
        }
    }
    leading.send_replace(false);
    if let Err(error) = claim.vacate(&api).await {
        tracing::warn!(%error, "lease not given up");
    }
}

/// What we know of the lease.
struct Claim {
    settings: Settings,
    /// The version we saw last, and when we first saw it.
    seen: Option<(Option<String>, Instant)>,
    /// When we last knew it ours: before the request that made it so was sent.
    renewed: Option<Instant>,
}

impl Claim {
    fn leads(&self) -> bool {
        self.renewed.is_some_and(|at| at.elapsed() < self.settings.duration * 2 / 3)
    }

    async fn renew(&mut self, api: &Api<Lease>) -> Result<(), kube::Error> {
        let asked = Instant::now();
        let deadline = self.settings.duration / 3;
        let written = match tokio::time::timeout(deadline, self.write(api)).await {
            Ok(written) => written?,
            Err(_) => {
                tracing::warn!("the API server did not answer in time");
                return Ok(());
            }
        };
        if let Some(lease) = written {
            self.seen = Some((lease.resource_version(), asked));
            self.renewed = Some(asked);
        } else {
            self.renewed = None;
        }
        Ok(())
    }

    /// Writes the lease as ours where it is free, ours, or has run out; none where another holds it.
    async fn write(&mut self, api: &Api<Lease>) -> Result<Option<Lease>, kube::Error> {
        let Some(current) = api.get_opt(&self.settings.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.settings.name.clone()),
                    ..Default::default()
                },
                spec: Some(self.spec(None)),
            };
            return none_if_conflict(api.create(&PostParams::default(), &lease).await);
        };
        let version = current.resource_version();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => Instant::now(),
        };
        self.seen = Some((version, since));
        let spec = current.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let length = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let length = length.map_or(self.settings.duration, Duration::from_secs);
        if !(holder.is_empty() || holder == self.settings.identity || since.elapsed() >= length) {
            return Ok(None);
        }
        // The resource version stays in it: if another was quicker, this is a conflict.
        let lease = Lease { spec: Some(self.spec(Some(&spec))), ..current };
        let params = PostParams::default();
        none_if_conflict(api.replace(&self.settings.name, &params, &lease).await)
    }

    async fn vacate(&mut self, api: &Api<Lease>) -> Result<(), kube::Error> {
        let Some(current) = api.get_opt(&self.settings.name).await? else { return Ok(()) };
        let spec = current.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_ref() != Some(&self.settings.identity) {
            return Ok(());
        }
        let spec = LeaseSpec { holder_identity: None, ..spec };
        let lease = Lease { spec: Some(spec), ..current };
        none_if_conflict(api.replace(&self.settings.name, &PostParams::default(), &lease).await)
            .map(|_| ())
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours =
            before.filter(|spec| spec.holder_identity.as_ref() == Some(&self.settings.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.settings.identity.clone()),
            lease_duration_seconds: i32::try_from(self.settings.duration.as_secs()).ok(),
            acquire_time: ours.map_or(Some(now.clone()), |spec| spec.acquire_time.clone()),
            renew_time: Some(now),
            lease_transitions: Some(if ours.is_some() { transitions } else { transitions + 1 }),
            ..Default::default()
        }
    }
}

fn none_if_conflict(result: Result<Lease, kube::Error>) -> Result<Option<Lease>, kube::Error> {
    match result {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}
