//! The log, and the table of metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Starts the log: one JSON object per line on stderr.
pub fn start(filter: &str) {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A second subscriber in one process (tests) is no reason to stop.
    let _ = tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

/// What the proxy counts. No label ever carries SQL or a user's text.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Statements by kind and final decision.
    pub(crate) statements: Family<StatementLabels, Counter>,
    /// Seconds by phase of a statement.
    pub(crate) phases: Family<PhaseLabels, Histogram, fn() -> Histogram>,
    /// Rows relayed.
    pub(crate) rows: Family<RowLabels, Counter>,
    /// Cells that went through a mask.
    pub(crate) masked_cells: Counter,
    /// Cells in which a detector found something.
    pub(crate) detected_cells: Family<DetectorLabels, Counter>,
    /// Bytes by direction.
    pub(crate) bytes: Family<DirectionLabels, Counter>,
    /// Open sessions.
    pub(crate) sessions: Gauge,
    /// Logins by outcome.
    pub(crate) logins: Family<OutcomeLabels, Counter>,
    /// Sessions that a restart found, by what became of them.
    pub(crate) resumed: Family<OutcomeLabels, Counter>,
    /// Statements that were not understood.
    pub(crate) parse_failures: Counter,
    /// Statements whose lineage is unknown.
    pub(crate) lineage_unknown: Counter,
    /// Requests for endpoints that are not served.
    pub(crate) unhandled: Family<PathLabels, Counter>,
    /// What was not taken at all.
    turned_away: Family<AwayLabels, Counter>,
    /// Requests by endpoint.
    pub(crate) requests: Family<EndpointLabels, Counter>,
    /// Statements waiting for a human.
    pub(crate) held: Gauge,
    /// Which policies hold.
    pub(crate) policy: Family<PolicyLabels, Gauge>,
    /// Seconds since the last policy came.
    pub(crate) staleness: Gauge,
    /// Whether the stream from the operator is up.
    pub(crate) connected: Gauge,
    /// Requests sent upstream again.
    pub(crate) upstream_retries: Counter,
    /// Renewals of upstream sessions.
    pub(crate) renewals: Counter,
    /// Requests to models, by outcome.
    pub(crate) model_requests: Family<OutcomeLabels, Counter>,
    /// Statements by how surely they are linked to a prompt.
    pub(crate) links: Family<LinkLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LinkLabels {
    pub(crate) confidence: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StatementLabels {
    pub(crate) kind: String,
    pub(crate) decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PhaseLabels {
    pub(crate) phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RowLabels {
    pub(crate) masked: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DetectorLabels {
    pub(crate) detector: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DirectionLabels {
    pub(crate) direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabels {
    pub(crate) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PathLabels {
    pub(crate) path_class: &'static str,
}

/// Why something is not taken at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Away {
    /// A connection beyond the limit.
    Connection,
    /// A request larger than a limit, or beyond the memory for large ones.
    TooLarge,
    /// A request that can be read in two ways.
    Malformed,
    /// A body that broke off, or came too slowly.
    Broken,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AwayLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EndpointLabels {
    pub(crate) endpoint: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PolicyLabels {
    pub(crate) policy: String,
    pub(crate) hash: String,
    pub(crate) mode: &'static str,
}

fn seconds() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0])
}

impl Away {
    fn label(self) -> AwayLabels {
        let reason = match self {
            Self::Connection => "Connection",
            Self::TooLarge => "TooLarge",
            Self::Malformed => "Malformed",
            Self::Broken => "Broken",
        };
        AwayLabels { reason }
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            statements: Family::default(),
            phases: Family::new_with_constructor(seconds),
            rows: Family::default(),
            masked_cells: Counter::default(),
            detected_cells: Family::default(),
            bytes: Family::default(),
            sessions: Gauge::default(),
            logins: Family::default(),
            resumed: Family::default(),
            parse_failures: Counter::default(),
            lineage_unknown: Counter::default(),
            unhandled: Family::default(),
            turned_away: Family::default(),
            requests: Family::default(),
            held: Gauge::default(),
            policy: Family::default(),
            staleness: Gauge::default(),
            connected: Gauge::default(),
            upstream_retries: Counter::default(),
            renewals: Counter::default(),
            model_requests: Family::default(),
            links: Family::default(),
        }
    }

    /// Names the series.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let proxy = registry.sub_registry_with_prefix("frostgate_proxy");
        proxy.register(
            "statements",
            "Statements by kind and final decision, a held one once it is settled",
            self.statements.clone(),
        );
        proxy.register(
            "statement_duration_seconds",
            "Time of a statement by phase",
            self.phases.clone(),
        );
        proxy.register("rows", "Rows relayed", self.rows.clone());
        proxy.register("masked_cells", "Cells that were masked", self.masked_cells.clone());
        // Each from the start: a series that begins with its first hit shows no increase.
        for detector in policy::Found::anything().words() {
            self.detected(detector, 0);
        }
        proxy.register(
            "detected_cells",
            "Cells that were hidden because of what was found in them",
            self.detected_cells.clone(),
        );
        proxy.register("bytes", "Bytes by direction", self.bytes.clone());
        proxy.register("sessions_active", "Open sessions", self.sessions.clone());
        proxy.register("logins", "Logins by outcome", self.logins.clone());
        proxy.register(
            "sessions_resumed",
            "Sessions that were open before the sidecar started again, by whether they go on",
            self.resumed.clone(),
        );
        proxy.register(
            "parse_failures",
            "Statements that were not understood",
            self.parse_failures.clone(),
        );
        proxy.register(
            "lineage_unknown",
            "Statements whose columns could not be traced",
            self.lineage_unknown.clone(),
        );
        proxy.register(
            "unhandled_endpoint",
            "Requests for endpoints that are not served",
            self.unhandled.clone(),
        );
        proxy.register(
            "turned_away",
            "Connections and requests that were not taken at all",
            self.turned_away.clone(),
        );
        for away in [Away::Connection, Away::TooLarge, Away::Malformed, Away::Broken] {
            let _ = self.turned_away.get_or_create(&away.label());
        }
        proxy.register("requests", "Requests by endpoint", self.requests.clone());
        proxy.register("policy_generation_info", "Policies in force", self.policy.clone());
        proxy.register(
            "policy_staleness_seconds",
            "Time since the last policy came",
            self.staleness.clone(),
        );
        proxy.register(
            "operator_connected",
            "Whether the operator's stream is up",
            self.connected.clone(),
        );
        proxy.register(
            "upstream_retries",
            "Requests sent to the account again",
            self.upstream_retries.clone(),
        );
        proxy.register("upstream_renewals", "Renewals of sessions", self.renewals.clone());
        // From zero on: a series that first shows with its first event has no increase to alert on.
        for outcome in ["resumed", "ended"] {
            drop(self.resumed.get_or_create(&OutcomeLabels { outcome }));
        }
        for outcome in ["passed", "refused"] {
            drop(self.model_requests.get_or_create(&OutcomeLabels { outcome }));
        }
        for confidence in prompt::Confidence::ALL {
            let confidence = confidence.as_str();
            drop(self.links.get_or_create(&LinkLabels { confidence }));
        }
        let prompt = registry.sub_registry_with_prefix("frostgate_prompt");
        prompt.register("requests", "Requests to models by outcome", self.model_requests.clone());
        prompt.register(
            "links",
            "Statements by how surely they are linked to a prompt",
            self.links.clone(),
        );
        let approval = registry.sub_registry_with_prefix("frostgate_approval");
        approval.register("held_statements", "Statements waiting for a human", self.held.clone());
    }

    /// Counts what is not taken at all.
    pub(crate) fn turned_away(&self, why: Away) {
        self.turned_away.get_or_create(&why.label()).inc();
    }

    /// Counts statements, each once in its life: whether they were let through in the end.
    pub(crate) fn decided(&self, kinds: Vec<sql::Word>, let_through: bool) {
        let effect = if let_through { policy::Effect::Allow } else { policy::Effect::Deny };
        for kind in kinds {
            // A closed list of words, never a text of the statement.
            let labels = StatementLabels { kind: kind.to_string(), decision: effect.as_str() };
            self.statements.get_or_create(&labels).inc();
        }
    }

    /// Counts cells that were hidden, by what was found in them.
    pub(crate) fn detected(&self, detector: &'static str, cells: u64) {
        self.detected_cells.get_or_create(&DetectorLabels { detector }).inc_by(cells);
    }

    /// Counts what was not understood of a statement.
    pub(crate) fn understood(&self, analysis: &sql::Analysis) {
        if analysis.problem.is_some() {
            self.parse_failures.inc();
        }
        if matches!(analysis.lineage, sql::Lineage::Unknown(_)) {
            self.lineage_unknown.inc();
        }
    }

    /// Notes how long a phase took.
    pub(crate) fn phase(&self, phase: &'static str, since: tokio::time::Instant) {
        self.phases.get_or_create(&PhaseLabels { phase }).observe(since.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alerted_on_shows_from_zero_on() {
        let mut registry = Registry::default();
        Metrics::new().register(&mut registry);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        for series in [
            r#"frostgate_proxy_sessions_resumed_total{outcome="ended"} 0"#,
            r#"frostgate_proxy_turned_away_total{reason="TooLarge"} 0"#,
            r#"frostgate_prompt_requests_total{outcome="refused"} 0"#,
        ] {
            assert!(page.contains(series), "{series} is not in\n{page}");
        }
    }
}
