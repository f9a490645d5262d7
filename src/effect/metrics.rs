//! What is counted; the text form is served by the admin listener.

use super::{Decision, Health};
use crate::model::Code;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Labels of `claimgate_decisions_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabels {
    decision: &'static str,
    code: &'static str,
}

/// Labels of `claimgate_mode`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RuleLabels {
    rule: String,
}

/// Labels of `claimgate_upstream_seconds`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PhaseLabels {
    phase: &'static str,
}

/// The gate's metrics. Cheap to clone and to count; one instance a process.
#[derive(Clone, Debug)]
pub struct Metrics {
    decisions: Family<DecisionLabels, Counter>,
    modes: Family<RuleLabels, Gauge>,
    lane_wait: Histogram,
    upstream: Family<PhaseLabels, Histogram, fn() -> Histogram>,
    /// Guarded sections under way.
    pub in_flight: Gauge,
    /// Connections open at the edge.
    pub connections: Gauge,
    /// Connections and requests that were one too many.
    pub turned_away: Counter,
    /// Items in doubt.
    pub doubt: Gauge,
    /// Holdings whose holder is silent for longer than `assignment.stale_after`.
    pub stale: Gauge,
    /// Agents at work by a singleton rule.
    pub singletons: Gauge,
    /// How much of the disk the ledger takes, bytes.
    pub ledger_bytes: Gauge,
    /// Holdings that a late write or an outside edit contests.
    pub contested: Counter,
    /// Holdings that an outside edit ended.
    pub revoked: Counter,
    /// Holdings of silent agents that another's claim ended.
    pub taken_over: Counter,
    /// Holdings that ended because their item is closed or gone.
    pub finished: Counter,
    /// Releases by the operator.
    pub released: Counter,
    /// Modes that the operator switched.
    pub mode_switches: Counter,
    /// Attempts that an ended process left.
    pub recovered: Counter,
    /// Shared-looking accounts: claims of one account from two client addresses without an instance.
    pub unnamed_instances: Counter,
    /// Calls of the web interface that are not known and passed, since they name no guarded form.
    pub unknown_web_calls: Counter,
    /// Reads that were older than what was seen of their item already.
    pub stale_reads: Counter,
    /// Answers by which the tracker limits who asks too much (429).
    pub upstream_limited: Counter,
    /// JSON answers whose URLs could not be rewritten.
    pub unrewritten: Counter,
    /// Clients that do not trust the gate's private authority.
    pub distrusted: Counter,
    /// What the gate needs, and whether it is there.
    pub health: Health,
    /// When the rules were read last, seconds since 1970, and whether that read was taken.
    pub reloaded_at: Gauge,
    /// Whether the last read of the configuration was taken.
    pub reload_taken: Gauge,
    /// How long a write without a certain answer keeps its item closed, seconds (Q).
    pub doubt_period: Gauge<f64, AtomicU64>,
    longest_send_seconds: Gauge<f64, AtomicU64>,
    longest_send: std::sync::Arc<AtomicU64>,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Self {
            decisions: Family::default(),
            modes: Family::default(),
            lane_wait: seconds(),
            upstream: Family::new_with_constructor(seconds),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            turned_away: Counter::default(),
            doubt: Gauge::default(),
            stale: Gauge::default(),
            singletons: Gauge::default(),
            ledger_bytes: Gauge::default(),
            contested: Counter::default(),
            revoked: Counter::default(),
            taken_over: Counter::default(),
            finished: Counter::default(),
            released: Counter::default(),
            mode_switches: Counter::default(),
            recovered: Counter::default(),
            unnamed_instances: Counter::default(),
            unknown_web_calls: Counter::default(),
            stale_reads: Counter::default(),
            upstream_limited: Counter::default(),
            unrewritten: Counter::default(),
            distrusted: Counter::default(),
            health: Health::default(),
            reloaded_at: Gauge::default(),
            reload_taken: Gauge::default(),
            doubt_period: Gauge::default(),
            longest_send_seconds: Gauge::default(),
            longest_send: std::sync::Arc::default(),
        }
    }
}

impl Metrics {
    /// Registers everything under `claimgate_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("claimgate");
        registry.register("decisions", "Decisions over guarded writes", self.decisions.clone());
        registry.register("mode", "Whether a rule refuses (1), or only observes (0)", self.modes.clone());
        registry.register_with_unit("lane_wait", "Wait for an item's turn", Unit::Seconds, self.lane_wait.clone());
        registry.register_with_unit("upstream", "Guarded calls to the tracker", Unit::Seconds, self.upstream.clone());
        registry.register("in_flight", "Guarded sections under way", self.in_flight.clone());
        registry.register("connections", "Open client connections", self.connections.clone());
        registry.register("turned_away", "Connections and requests over a limit of [server]", self.turned_away.clone());
        registry.register("doubt", "Items whose last write has an unknown outcome", self.doubt.clone());
        registry.register("stale", "Holdings whose holder is silent for too long", self.stale.clone());
        registry.register_with_unit("ledger", "Disk that the ledger takes", Unit::Bytes, self.ledger_bytes.clone());
        registry.register_with_unit(
            "longest_send",
            "The longest guarded write since the start",
            Unit::Seconds,
            self.longest_send_seconds.clone(),
        );
        registry.register_with_unit(
            "doubt_period",
            "How long a write without an answer keeps its item closed",
            Unit::Seconds,
            self.doubt_period.clone(),
        );
        registry.register("singletons", "Agents at work by a singleton rule", self.singletons.clone());
        registry.register(
            "contested",
            "Writes seen that did not pass the gate and are not settled",
            self.contested.clone(),
        );
        registry.register("revoked", "Holdings ended by an outside edit", self.revoked.clone());
        registry.register("taken_over", "Holdings of silent agents ended by another's claim", self.taken_over.clone());
        registry.register("finished", "Holdings ended because their item is closed or gone", self.finished.clone());
        registry.register("released", "Releases by the operator", self.released.clone());
        registry.register("mode_switches", "Switches of a mode by the operator", self.mode_switches.clone());
        registry.register("recovered", "Writes that an ended process left unfinished", self.recovered.clone());
        registry.register(
            "unnamed_instances",
            "Claims of one account from a second client address without an instance",
            self.unnamed_instances.clone(),
        );
        registry.register(
            "unknown_web_calls",
            "Calls below an item's page that are not known and passed, since they name no guarded form",
            self.unknown_web_calls.clone(),
        );
        registry.register(
            "stale_reads",
            "Reads that showed an item as it was before a write that was seen already; each was repeated",
            self.stale_reads.clone(),
        );
        registry.register(
            "upstream_limited",
            "Answers by which the tracker limits who asks too much (429)",
            self.upstream_limited.clone(),
        );
        registry.register(
            "unrewritten",
            "JSON answers whose URLs could not be rewritten (server.rewrite_urls)",
            self.unrewritten.clone(),
        );
        registry.register(
            "distrusted",
            "TLS handshakes that ended because the client does not trust the private authority",
            self.distrusted.clone(),
        );
    }

    /// Registers what the gate needs, and what it made of its configuration; the token and the links where there are any.
    pub fn register_health(&self, registry: &mut Registry, token: bool, links: bool) {
        let registry = registry.sub_registry_with_prefix("claimgate");
        let conditions = [
            ("ledger_up", "Whether the ledger can be written", &self.health.ledger, true),
            ("upstream_up", "Whether the tracker can be reached", &self.health.tracker, true),
            ("service_token_valid", "Whether the tracker knows upstream.service_token_file", &self.health.token, token),
            (
                "public_url_matches",
                "Whether the tracker's links lead to upstream.public_url",
                &self.health.links,
                links,
            ),
        ];
        for (name, help, condition, _) in conditions.into_iter().filter(|(.., shown)| *shown) {
            registry.register(name, help, condition.gauge());
        }
        registry.register(
            "config_last_reload_successful",
            "Whether the configuration that was read last is in force",
            self.reload_taken.clone(),
        );
        registry.register(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration in force was read, in seconds since 1970",
            self.reloaded_at.clone(),
        );
    }

    /// Counts one decision.
    pub fn decided(&self, decision: Decision, code: Option<Code>) {
        let code = code.map_or("", Code::as_str);
        self.decisions.get_or_create(&DecisionLabels { decision: decision.as_str(), code }).inc();
    }

    /// Which rules there are, and whether each refuses.
    pub fn set_modes(&self, modes: impl IntoIterator<Item = (String, bool)>) {
        self.modes.clear();
        for (rule, refuses) in modes {
            self.modes.get_or_create(&RuleLabels { rule }).set(i64::from(refuses));
        }
    }

    /// How long a request waited for its turn.
    pub fn waited(&self, span: Duration) {
        self.lane_wait.observe(span.as_secs_f64());
    }

    /// How long the tracker took: `resolve`, `observe`, `send`, `read_back`, `whoami`.
    pub fn upstream_took(&self, phase: &'static str, span: Duration) {
        self.upstream.get_or_create(&PhaseLabels { phase }).observe(span.as_secs_f64());
    }

    /// Remembers the longest send; true if this one is the longest so far.
    pub fn is_longest_send(&self, span: Duration) -> bool {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let is_longest = self.longest_send.fetch_max(micros, Ordering::Relaxed) < micros;
        if is_longest {
            self.longest_send_seconds.set(span.as_secs_f64());
        }
        is_longest
    }
}

fn seconds() -> Histogram {
    const BOUNDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0];
    Histogram::new(BOUNDS)
}
