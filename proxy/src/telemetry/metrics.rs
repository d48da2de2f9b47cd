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

use super::cluster::{ClusterFamilies, ClusterMetrics};
use super::control::Ages;
pub use super::control::ControlMetrics;
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
struct FaultLabels {
    service: String,
    fault: &'static str,
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
    latency: Arc<Latency>,
    faults: Family<FaultLabels, Counter>,
    /// Delays, and aborts.
    injected: [OnceLock<Counter>; 2],
    stream_families: StreamFamilies,
    /// By [`StreamKind`]; made at first use, as few services have any.
    streams: [OnceLock<StreamMetrics>; StreamKind::COUNT],
    pub(crate) audited: Counter,
    pub(crate) would_deny: Counter,
}

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl ServiceMetrics {
    /// The service, as labelled.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Counts the end of one request, or of a tunnel that it became; `elapsed` is then the time until it did. `status` is zero
    /// if no response began.
    pub(crate) fn ended(&self, status: u16, reason: Reason, elapsed: Duration) {
        let class = usize::from(status / 100).min(CLASSES.len() - 1);
        let place = reason as usize * CLASSES.len() + class;
        if let Some(cell) = self.by_end.get(place) {
            cell.get_or_init(|| {
                let labels = RequestLabels {
                    direction: self.direction,
                    service: self.service.clone(),
                    code_class: CLASSES.get(class).copied().unwrap_or("none"),
                    reason: reason.as_str(),
                };
                self.requests.get_or_create_owned(&labels)
            })
            .inc();
        }
        self.latency.observe(elapsed);
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

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<ServiceLabels, LatencyMetric>,
    audited: Family<ServiceLabels, Counter>,
    would_deny: Family<ServiceLabels, Counter>,
    faults: Family<FaultLabels, Counter>,
    clusters: ClusterFamilies,
    streams: StreamFamilies,
    connections: Family<DirectionLabels, Counter>,
    open: Family<DirectionLabels, Gauge>,
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
            audited: Family::default(),
            would_deny: Family::default(),
            faults: Family::default(),
            clusters: ClusterFamilies::default(),
            streams: StreamFamilies::default(),
            connections: Family::default(),
            open: Family::default(),
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
        self.clusters.register(registry);
        self.streams.register(registry);
        registry.register("weft_connections", "Connections accepted", self.connections.clone());
        registry.register("weft_connections_open", "Connections accepted, open now", self.open.clone());
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
                latency: self.durations.get_or_create_owned(&labels).0,
                faults: self.faults.clone(),
                injected: Default::default(),
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
