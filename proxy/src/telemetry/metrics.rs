//! What Prometheus sees. Every label comes from the bundle or from a closed list, never from a request.
//!
//! Handles are resolved when policy is applied; a request only adds to atomics.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{
    EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use weft_bundle::engine::TokenFault;

use super::cluster::{ClusterFamilies, ClusterMetrics};
use super::control::Ages;
pub use super::control::ControlMetrics;
use super::labels::{Added, Handles, Pairs, Sets};
use super::reason::Reason;
use super::stream::{StreamFamilies, StreamKind, StreamMetrics};

/// Which way a request travels, seen from our application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From a peer to our application.
    Inbound,
    /// From our application to a service.
    Outbound,
}

impl Direction {
    /// The name used in logs and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

impl EncodeLabelValue for Direction {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

/// Seconds; few on purpose, and the ones people set limits at.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    direction: Direction,
    service: String,
    code_class: &'static str,
    reason: &'static str,
    #[prometheus(flatten)]
    added: Added,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    direction: Direction,
    service: String,
    #[prometheus(flatten)]
    added: Added,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    service: String,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    direction: Direction,
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: Direction,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefusalLabels {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CertificateLabels {
    pub(super) certificate: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabels {
    service: String,
    fault: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    service: String,
    outcome: &'static str,
}

/// What was said of the token of a request, where tokens are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenOutcome {
    Accepted,
    Missing,
    /// By the place of the fault in [`TokenFault::NAMES`].
    Refused(usize),
}

/// What policy does to a request on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InjectedFault {
    Delay,
    Abort,
}

/// A histogram of atomics: adding takes no lock, unlike the library's.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Latency {
    pub(crate) fn observe(&self, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Shares a [`Latency`] with the registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatencyMetric(Arc<Latency>);

impl TypedMetric for LatencyMetric {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for LatencyMetric {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = BOUNDS.iter().copied().chain([f64::INFINITY]).zip(counts).collect();
        let total = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.0.nanos.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, total, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// What is counted about the requests of one service in one direction; handles are made at first use and then kept.
#[derive(Debug)]
pub(crate) struct ServiceMetrics {
    direction: Direction,
    service: String,
    requests: Family<RequestLabels, Counter>,
    by_end: Vec<OnceLock<Counter>>,
    durations: Family<DurationLabels, LatencyMetric>,
    latency: Arc<Latency>,
    /// Tells services apart.
    number: u64,
    /// Where policy asks for more labels.
    sets: Sets,
    /// Bytes of bodies.
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    decisions: Family<DecisionLabels, Counter>,
    /// Allowed, and denied.
    decided: [OnceLock<Counter>; 2],
    faults: Family<FaultLabels, Counter>,
    /// Delays, and aborts.
    injected: [OnceLock<Counter>; 2],
    tokens: Family<TokenLabels, Counter>,
    /// Accepted, missing, and the faults.
    judged: [OnceLock<Counter>; 2 + TokenFault::NAMES.len()],
    stream_families: StreamFamilies,
    /// By [`StreamKind`]; made at first use, as few services have any.
    streams: [OnceLock<StreamMetrics>; StreamKind::COUNT],
    pub(crate) audited: Counter,
    pub(crate) would_deny: Counter,
}

/// Numbers of services, over all [`Metrics`].
static NUMBERS: AtomicU64 = AtomicU64::new(0);

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl ServiceMetrics {
    /// The service, as labelled.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Counts the end of one request, or of a tunnel that it became; `elapsed` is then the time until it did. `status` is zero
    /// if no response began.
    pub(crate) fn ended(&self, status: u16, reason: Reason, elapsed: Duration) {
        let (class, place) = end(status, reason);
        if let Some(cell) = self.by_end.get(place) {
            cell.get_or_init(|| self.requests(class, reason, Added::default())).inc();
        }
        self.latency.observe(elapsed);
    }

    /// The same, with more labels.
    pub(super) fn ended_with(&self, pairs: Pairs, status: u16, reason: Reason, elapsed: Duration) {
        let (class, place) = end(status, reason);
        let handles = self.sets.handles(self.number, place, pairs, |added| {
            let (direction, service) = (self.direction, self.service.clone());
            let durations = DurationLabels { direction, service, added: added.clone() };
            Handles {
                requests: self.requests(class, reason, added),
                latency: self.durations.get_or_create_owned(&durations).0,
            }
        });
        handles.requests.inc();
        handles.latency.observe(elapsed);
    }

    fn requests(&self, class: usize, reason: Reason, added: Added) -> Counter {
        self.requests.get_or_create_owned(&RequestLabels {
            direction: self.direction,
            service: self.service.clone(),
            code_class: CLASSES.get(class).copied().unwrap_or("none"),
            reason: reason.as_str(),
            added,
        })
    }

    /// Counts what access policy said.
    pub(crate) fn decided(&self, is_allowed: bool) {
        let [allowed, denied] = &self.decided;
        let (cell, decision) = if is_allowed { (allowed, "allow") } else { (denied, "deny") };
        cell.get_or_init(|| {
            self.decisions.get_or_create_owned(&DecisionLabels { service: self.service.clone(), decision })
        })
        .inc();
    }

    /// Counts what was said of a token.
    pub(crate) fn token(&self, outcome: TokenOutcome) {
        let (place, name) = match outcome {
            TokenOutcome::Accepted => (0, "accepted"),
            TokenOutcome::Missing => (1, "missing"),
            TokenOutcome::Refused(fault) => {
                (2 + fault, TokenFault::NAMES.get(fault).copied().unwrap_or_default())
            }
        };
        if let Some(cell) = self.judged.get(place) {
            cell.get_or_init(|| {
                let labels = TokenLabels { service: self.service.clone(), outcome: name };
                self.tokens.get_or_create_owned(&labels)
            })
            .inc();
        }
    }

    /// What is counted about its streams of one kind.
    pub(super) fn stream(&self, kind: StreamKind) -> &StreamMetrics {
        let [tcp, connect, upgrade] = &self.streams;
        let cell = match kind {
            StreamKind::Tcp => tcp,
            StreamKind::Connect => connect,
            StreamKind::Upgrade => upgrade,
        };
        cell.get_or_init(|| self.stream_families.handles(self.direction, &self.service, kind))
    }

    /// Counts a fault that policy injected.
    pub(crate) fn fault(&self, fault: InjectedFault) {
        let [delays, aborts] = &self.injected;
        let (cell, name) = match fault {
            InjectedFault::Delay => (delays, "delay"),
            InjectedFault::Abort => (aborts, "abort"),
        };
        cell.get_or_init(|| {
            let labels = FaultLabels { service: self.service.clone(), fault: name };
            self.faults.get_or_create_owned(&labels)
        })
        .inc();
    }
}

/// The class of a status, and where the requests that end so are counted.
fn end(status: u16, reason: Reason) -> (usize, usize) {
    let class = usize::from(status / 100).min(CLASSES.len() - 1);
    (class, reason as usize * CLASSES.len() + class)
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<DurationLabels, LatencyMetric>,
    received: Family<ServiceLabels, Counter>,
    sent: Family<ServiceLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    audited: Family<ServiceLabels, Counter>,
    would_deny: Family<ServiceLabels, Counter>,
    faults: Family<FaultLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    clusters: ClusterFamilies,
    streams: StreamFamilies,
    connections: Family<DirectionLabels, Counter>,
    open: Family<DirectionLabels, Gauge>,
    resting: Family<DirectionLabels, Gauge>,
    refused: Family<RefusalLabels, Counter>,
    /// What the control half counts.
    pub control: ControlMetrics,
    services: Mutex<HashMap<(Direction, String), Arc<ServiceMetrics>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::default(),
            received: Family::default(),
            sent: Family::default(),
            decisions: Family::default(),
            audited: Family::default(),
            would_deny: Family::default(),
            faults: Family::default(),
            tokens: Family::default(),
            clusters: ClusterFamilies::default(),
            streams: StreamFamilies::default(),
            connections: Family::default(),
            open: Family::default(),
            resting: Family::default(),
            refused: Family::default(),
            control: ControlMetrics::default(),
            services: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let control = &self.control;
        registry.register("weft_requests", "Requests that ended", self.requests.clone());
        registry.register(
            "weft_request_duration_seconds",
            "Time from a request's head to its response's end",
            self.durations.clone(),
        );
        registry.register(
            "weft_request_body_bytes",
            "Bytes of the bodies of requests",
            self.received.clone(),
        );
        registry.register("weft_response_body_bytes", "Bytes of the bodies of responses", self.sent.clone());
        registry.register(
            "weft_access_decisions",
            "What access policy said of requests",
            self.decisions.clone(),
        );
        registry.register(
            "weft_access_audited",
            "Requests that an audit rule recorded",
            self.audited.clone(),
        );
        registry.register(
            "weft_access_would_deny",
            "Requests in clear text on a permissive port, which a strict one would refuse",
            self.would_deny.clone(),
        );
        registry.register(
            "weft_faults_injected",
            "Delays and errors that policy injected",
            self.faults.clone(),
        );
        registry.register(
            "weft_tokens",
            "Requests to ports that read tokens, by what was said of theirs",
            self.tokens.clone(),
        );
        self.clusters.register(registry);
        self.streams.register(registry);
        registry.register("weft_connections", "Connections accepted", self.connections.clone());
        registry.register("weft_connections_open", "Connections accepted, open now", self.open.clone());
        registry.register(
            "weft_connections_resting",
            "Connections of HTTP/1.1 among them without a request for two seconds",
            self.resting.clone(),
        );
        registry.register(
            "weft_connections_refused",
            "Connections ended before a request, or by a change of policy",
            self.refused.clone(),
        );
        registry.register("weft_bundle_rejected", "Bundles refused", control.rejected.clone());
        registry.register("weft_bundle_applied", "Bundles applied", control.applied.clone());
        registry.register("weft_bundle_sequence", "Sequence of the running bundle", control.sequence.clone());
        registry.register(
            "weft_bundle_stale",
            "Whether the running bundle is past its stale_after",
            control.stale.clone(),
        );
        registry.register(
            "weft_identity_rejected",
            "Certificates and keys that were not taken",
            control.identity_rejected.clone(),
        );
        registry.register(
            "weft_identity_expiry_timestamp_seconds",
            "When the certificate in use ends",
            control.identity_expiry.clone(),
        );
        registry.register(
            "weft_certificate_rejected",
            "Certificates that policy names and that were not taken",
            control.certificate_rejected.clone(),
        );
        registry.register(
            "weft_certificate_expiry_timestamp_seconds",
            "When a certificate that policy names ends",
            control.certificate_expiry.clone(),
        );
        registry.register_collector(Box::new(Ages(control.clone())));
    }

    /// The handles of a service.
    pub(crate) fn service(&self, direction: Direction, service: &str) -> Arc<ServiceMetrics> {
        let mut services = lock(&self.services);
        let entry = services.entry((direction, service.to_owned())).or_insert_with(|| {
            let labels = ServiceLabels { direction, service: service.to_owned() };
            Arc::new(ServiceMetrics {
                direction,
                service: service.to_owned(),
                requests: self.requests.clone(),
                by_end: (0..Reason::ALL.len() * CLASSES.len()).map(|_| OnceLock::new()).collect(),
                durations: self.durations.clone(),
                latency: self
                    .durations
                    .get_or_create_owned(&DurationLabels {
                        direction,
                        service: service.to_owned(),
                        added: Added::default(),
                    })
                    .0,
                number: NUMBERS.fetch_add(1, Ordering::Relaxed),
                sets: Sets::default(),
                received: self.received.get_or_create_owned(&labels),
                sent: self.sent.get_or_create_owned(&labels),
                decisions: self.decisions.clone(),
                decided: Default::default(),
                faults: self.faults.clone(),
                injected: Default::default(),
                tokens: self.tokens.clone(),
                judged: Default::default(),
                stream_families: self.streams.clone(),
                streams: Default::default(),
                audited: self.audited.get_or_create_owned(&labels),
                would_deny: self.would_deny.get_or_create_owned(&labels),
            })
        });
        Arc::clone(entry)
    }

    /// The handles of a cluster.
    pub(crate) fn cluster(&self, cluster: &str) -> Arc<ClusterMetrics> {
        self.clusters.cluster(cluster)
    }

    /// Counts a connection as open for as long as the guard lives.
    pub(crate) fn connection(&self, direction: Direction) -> OpenGuard {
        let labels = DirectionLabels { direction };
        self.connections.get_or_create_owned(&labels).inc();
        OpenGuard::new(self.open.get_or_create_owned(&labels))
    }

    /// Counts a connection that was taken for clear text because it said nothing.
    pub(crate) fn silent_caller(&self) {
        self.streams.silent.inc();
    }

    /// Counts a connection as one without requests for as long as the guard lives.
    pub(crate) fn resting(&self, direction: Direction) -> OpenGuard {
        OpenGuard::new(self.resting.get_or_create_owned(&DirectionLabels { direction }))
    }

    /// Counts a connection that ended before a request, or by a change of policy.
    pub(crate) fn refused(&self, refusal: Refusal) {
        self.refused.get_or_create_owned(&RefusalLabels { reason: refusal.as_str() }).inc();
    }

    /// The text that Prometheus reads.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail; an encoder that did would leave what it wrote so far.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a connection ended before a request, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The TLS handshake failed: no certificate, a wrong one, or not TLS at all.
    Handshake,
    /// TLS where the port has none, or no policy for the port.
    NoPolicy,
    /// A server name that no listener of the port takes.
    ServerName,
    /// Nothing, or half a request head, for too long.
    HeadTimeout,
    /// The trust domain or the anchor of the peer is not trusted any more.
    TrustRevoked,
    /// Too many connections.
    Limit,
}

impl Refusal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::NoPolicy => "no-policy",
            Self::ServerName => "server-name",
            Self::HeadTimeout => "head-timeout",
            Self::TrustRevoked => "trust-revoked",
            Self::Limit => "limit",
        }
    }
}

/// One more while it lives, one less afterwards.
#[derive(Debug)]
pub(crate) struct OpenGuard(Gauge);

impl OpenGuard {
    pub(crate) fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_under_closed_labels() {
        let metrics = Metrics::new();
        let service = metrics.service(Direction::Outbound, "shop/cart");
        service.ended(200, Reason::Ok, Duration::from_millis(3));
        service.ended(200, Reason::Ok, Duration::from_secs(60));
        service.ended(0, Reason::DownstreamClosed, Duration::ZERO);
        metrics.control.rejected("rollback");
        metrics.control.applied(7, true);
        let text = metrics.encode();
        for line in [
            r#"weft_requests_total{direction="outbound",service="shop/cart",code_class="2xx",reason="ok"} 2"#,
            r#"weft_requests_total{direction="outbound",service="shop/cart",code_class="none",reason="downstream-closed"} 1"#,
            r#"weft_request_duration_seconds_bucket{le="0.005",direction="outbound",service="shop/cart"} 2"#,
            r#"weft_request_duration_seconds_bucket{le="+Inf",direction="outbound",service="shop/cart"} 3"#,
            r#"weft_bundle_rejected_total{reason="rollback"} 1"#,
            "weft_bundle_sequence 7",
            "weft_bundle_stale 1",
            "weft_bundle_age_seconds 0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
