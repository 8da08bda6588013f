//! Tracing, and the one table of metrics.
//!
//! No label holds the name of an object, SQL or the text of an error: those have no bound.

use std::fmt::Write as _;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Starts logging: one JSON object per event.
pub fn trace(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails only where a subscriber is set already, as in tests.
    let _ = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).try_init();
}

/// The kind that was reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// `SnowflakeConnection`, `AccessPolicy`, `ApprovalRequest`.
    pub kind: &'static str,
}

/// How something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// One word.
    pub result: &'static str,
}

/// Which webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WebhookLabel {
    /// `inject`, `validate`, `decide`.
    pub webhook: &'static str,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `Approved`, `Denied`, `Expired`, `Withdrawn`.
    pub outcome: &'static str,
}

/// A way to log in that was made, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MintLabel {
    /// `EphemeralUser`, `KeyPair`.
    pub mode: &'static str,
    /// `made`, `failed`.
    pub result: &'static str,
}

/// Why a credential ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// `Closed`, `Expired`, `Orphaned`.
    pub reason: &'static str,
}

/// Every metric of the operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Reconciles that ended.
    pub reconciles: Family<KindLabel, Counter>,
    /// Reconciles that failed and will be tried again.
    pub reconcile_errors: Family<KindLabel, Counter>,
    /// How long a reconcile took.
    pub reconcile_seconds: Family<KindLabel, Histogram>,
    /// Pods that asked for injection: `injected`, `refused`, `unchanged`.
    pub injections: Family<ResultLabel, Counter>,
    /// How long an admission took.
    pub webhook_seconds: Family<WebhookLabel, Histogram>,
    /// 1 while this replica leads.
    pub leader: Gauge,
    /// When the newest CA certificate ends.
    pub ca_expires: Gauge,
    /// Requests that were closed.
    pub approvals: Family<OutcomeLabel, Counter>,
    /// Requests that wait.
    pub approvals_pending: Gauge,
    /// From the request to the human's decision.
    pub approval_seconds: Histogram,
    /// Decisions refused because the approver was the requester.
    pub self_approvals: Counter,
    /// Ways to log in that sessions asked for.
    pub mints: Family<MintLabel, Counter>,
    /// How long it took to make one.
    pub mint_seconds: Histogram,
    /// Ways to log in that are out.
    pub credentials: Gauge,
    /// Ways to log in that were taken back.
    pub drops: Family<ReasonLabel, Counter>,
    /// Snowflake users that cannot be dropped at the moment.
    pub overdue: Gauge,
    /// Sidecars that listen.
    pub streams: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("frostgate"),
            reconciles: Family::default(),
            reconcile_errors: Family::default(),
            reconcile_seconds: Family::new_with_constructor(fast),
            injections: Family::default(),
            webhook_seconds: Family::new_with_constructor(fast),
            leader: Gauge::default(),
            ca_expires: Gauge::default(),
            approvals: Family::default(),
            approvals_pending: Gauge::default(),
            approval_seconds: Histogram::new(exponential_buckets(1.0, 3.0, 9)),
            self_approvals: Counter::default(),
            mints: Family::default(),
            mint_seconds: Histogram::new(exponential_buckets(0.05, 2.0, 10)),
            credentials: Gauge::default(),
            drops: Family::default(),
            overdue: Gauge::default(),
            streams: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

/// From 1 ms to 8 s.
fn fast() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 14))
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("reconcile", "Reconciles that ended", self.reconciles.clone());
        registry.register(
            "reconcile_errors",
            "Reconciles that failed and will be tried again",
            self.reconcile_errors.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "How long a reconcile took",
            Unit::Seconds,
            self.reconcile_seconds.clone(),
        );
        registry.register(
            "injection",
            "Pods that asked for the sidecar, by what became of them",
            self.injections.clone(),
        );
        registry.register_with_unit(
            "webhook_duration",
            "How long an admission took",
            Unit::Seconds,
            self.webhook_seconds.clone(),
        );
        registry.register("leader", "1 while this replica leads", self.leader.clone());
        registry.register_with_unit(
            "ca_expiry_timestamp",
            "When the operator's CA ends, Unix time",
            Unit::Seconds,
            self.ca_expires.clone(),
        );
        registry.register(
            "approval_requests",
            "Approval requests that were closed, by outcome",
            self.approvals.clone(),
        );
        registry.register(
            "approval_pending",
            "Approval requests that wait for a human",
            self.approvals_pending.clone(),
        );
        registry.register_with_unit(
            "approval_decision",
            "From an approval request to its end",
            Unit::Seconds,
            self.approval_seconds.clone(),
        );
        registry.register(
            "approval_self_rejected",
            "Decisions refused because the approver had asked",
            self.self_approvals.clone(),
        );
        registry.register(
            "credential_minted",
            "Ways to log in that sessions asked for, by what became of them",
            self.mints.clone(),
        );
        registry.register_with_unit(
            "credential_mint",
            "How long it took to make a way to log in",
            Unit::Seconds,
            self.mint_seconds.clone(),
        );
        registry.register(
            "credential_active",
            "Ways to log in that are out",
            self.credentials.clone(),
        );
        registry.register(
            "credential_revoked",
            "Ways to log in that were taken back, by why",
            self.drops.clone(),
        );
        registry.register(
            "credential_overdue",
            "Snowflake users that should be dropped and could not be yet",
            self.overdue.clone(),
        );
        registry.register("sidecar_streams", "Sidecars that listen", self.streams.clone());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("operator_build", "The version that runs", build);
    }

    /// Where the other parts of the operator put their metrics.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// The page.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::new();
        if encode(&mut page, &self.registry).is_err() {
            // Only a failing metric of our own can do this; a scraper must see that the page is not whole.
            let _ = writeln!(page, "# incomplete");
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_metric() {
        let metrics = Metrics::default();
        metrics.reconciles.get_or_create(&KindLabel { kind: "AccessPolicy" }).inc();
        metrics.reconcile_seconds.get_or_create(&KindLabel { kind: "AccessPolicy" }).observe(0.002);
        metrics.reconcile_errors.get_or_create(&KindLabel { kind: "AccessPolicy" }).inc();
        metrics.injections.get_or_create(&ResultLabel { result: "injected" }).inc();
        metrics.webhook_seconds.get_or_create(&WebhookLabel { webhook: "inject" }).observe(0.1);
        metrics.approvals.get_or_create(&OutcomeLabel { outcome: "Denied" }).inc();
        metrics.mints.get_or_create(&MintLabel { mode: "KeyPair", result: "made" }).inc();
        metrics.drops.get_or_create(&ReasonLabel { reason: "Orphaned" }).inc();
        let page = metrics.page();
        let names: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        insta::assert_snapshot!(names.join("\n"));
        assert!(page.ends_with("# EOF\n"));
    }
}
