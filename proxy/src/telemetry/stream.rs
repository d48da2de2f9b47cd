//! Connections whose bytes are not looked at: what is counted about them, and one connection's story, which is told once,
//! when it ends. Tunnels that begin with a request are counted here too; their line in the log is the request's.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use weft_bundle::body::Origin;

use super::metrics::{Direction, InjectedFault, OpenGuard, ServiceMetrics};
use super::reason::Reason;
use super::record::{InFlight, Record};
use crate::stream::dial::Ended;
use crate::stream::relay::Meter;

/// How a stream of bytes began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// As a connection.
    Tcp,
    /// With a `CONNECT` request.
    Connect,
    /// With a request to change the protocol.
    Upgrade,
}

impl StreamKind {
    /// How many there are.
    pub(super) const COUNT: usize = 3;

    /// The name used in logs and labels.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Connect => "connect",
            Self::Upgrade => "upgrade",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabels {
    direction: Direction,
    service: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    direction: Direction,
    service: String,
    kind: &'static str,
    reason: &'static str,
}

/// The families behind [`StreamMetrics`].
#[derive(Clone, Debug, Default)]
pub(super) struct StreamFamilies {
    ended: Family<EndLabels, Counter>,
    open: Family<StreamLabels, Gauge>,
    received: Family<StreamLabels, Counter>,
    sent: Family<StreamLabels, Counter>,
    /// Callers who said nothing while it was looked at what they speak.
    pub(super) silent: Counter,
}

impl StreamFamilies {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("weft_streams", "Opaque connections and tunnels that ended", self.ended.clone());
        registry.register("weft_streams_open", "Opaque connections and tunnels, now", self.open.clone());
        registry.register(
            "weft_stream_received_bytes",
            "Bytes from callers through opaque connections and tunnels",
            self.received.clone(),
        );
        registry.register(
            "weft_stream_sent_bytes",
            "Bytes to callers through opaque connections and tunnels",
            self.sent.clone(),
        );
        registry.register(
            "weft_stream_detection_timeouts",
            "Connections that said nothing in time while it was looked at what they speak, and were taken for clear text",
            self.silent.clone(),
        );
    }

    /// The handles for one kind of stream of one service.
    pub(super) fn handles(&self, direction: Direction, service: &str, kind: StreamKind) -> StreamMetrics {
        let labels = StreamLabels { direction, service: service.to_owned(), kind: kind.as_str() };
        StreamMetrics {
            open: self.open.get_or_create_owned(&labels),
            received: self.received.get_or_create_owned(&labels),
            sent: self.sent.get_or_create_owned(&labels),
            by_end: Reason::ALL.iter().map(|_| OnceLock::new()).collect(),
            families: self.clone(),
            labels,
        }
    }
}

/// What is counted about one kind of stream of one service.
#[derive(Debug)]
pub(crate) struct StreamMetrics {
    open: Gauge,
    received: Counter,
    sent: Counter,
    by_end: Vec<OnceLock<Counter>>,
    families: StreamFamilies,
    labels: StreamLabels,
}

impl StreamMetrics {
    fn ended(&self, reason: Reason) {
        let Some(cell) = self.by_end.get(reason as usize) else { return };
        cell.get_or_init(|| {
            let StreamLabels { direction, service, kind } = self.labels.clone();
            let labels = EndLabels { direction, service, kind, reason: reason.as_str() };
            self.families.ended.get_or_create_owned(&labels)
        })
        .inc();
    }
}

/// Counts one stream while it lives, and its bytes as they pass.
#[derive(Debug)]
pub(crate) struct StreamCount {
    service: Arc<ServiceMetrics>,
    kind: StreamKind,
    _open: OpenGuard,
    /// Why it ended. Until somebody says otherwise, the caller went away.
    reason: Reason,
    received: Cell<u64>,
    sent: Cell<u64>,
}

impl StreamCount {
    /// Of a stream that begins now.
    pub(crate) fn start(service: &Arc<ServiceMetrics>, kind: StreamKind) -> Self {
        let open = OpenGuard::new(service.stream(kind).open.clone());
        let (service, reason) = (Arc::clone(service), Reason::DownstreamClosed);
        Self { service, kind, _open: open, reason, received: Cell::new(0), sent: Cell::new(0) }
    }

    /// Says why it ended, or will end.
    pub(crate) fn because(&mut self, reason: Reason) {
        self.reason = reason;
    }

    /// Bytes from the caller so far, and bytes to it.
    pub(crate) fn bytes(&self) -> [u64; 2] {
        [self.received.get(), self.sent.get()]
    }
}

fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Meter for StreamCount {
    fn received(&self, bytes: usize) {
        self.received.set(self.received.get().saturating_add(as_u64(bytes)));
        self.service.stream(self.kind).received.inc_by(as_u64(bytes));
    }

    fn sent(&self, bytes: usize) {
        self.sent.set(self.sent.get().saturating_add(as_u64(bytes)));
        self.service.stream(self.kind).sent.inc_by(as_u64(bytes));
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.service.stream(self.kind).ended(self.reason);
    }
}

/// What is told of a stream on its way to an upstream, whether it began as a connection or with a request.
pub(crate) trait Story {
    /// This rule decides.
    fn by_rule(&mut self, origin: &Origin);
    /// It goes to this cluster.
    fn to_cluster(&mut self, id: &str);
    /// This endpoint is tried.
    fn tried(&mut self, endpoint: SocketAddr);
    /// Policy makes it wait.
    fn delayed(&mut self, delay: Duration);
    /// Policy ends it.
    fn aborted(&mut self);
}

impl Story for Record {
    fn by_rule(&mut self, origin: &Origin) {
        self.log(|log| log.rule = Some(origin.to_string()));
    }

    fn to_cluster(&mut self, id: &str) {
        self.log(|log| log.cluster = Some(id.to_owned()));
    }

    fn tried(&mut self, endpoint: SocketAddr) {
        self.tries += 1;
        self.log(|log| log.endpoint = Some(endpoint));
    }

    fn delayed(&mut self, delay: Duration) {
        Self::delayed(self, delay);
    }

    fn aborted(&mut self) {
        Self::aborted(self);
    }
}

/// What is known of an opaque connection so far. Dropping it is its end.
#[derive(Debug)]
pub(crate) struct StreamRecord {
    direction: Direction,
    started: Instant,
    in_flight: Arc<InFlight>,
    pub(crate) count: StreamCount,
    /// Tries upstream.
    tries: u32,
    log: Option<Box<StreamLog>>,
}

/// What only the access log needs; absent when nobody reads it.
#[derive(Debug, Default)]
pub(crate) struct StreamLog {
    pub(crate) client: Option<SocketAddr>,
    /// Where the caller connected to, before any redirection.
    pub(crate) destination: Option<SocketAddr>,
    /// The server name in a TLS greeting that was read.
    pub(crate) server_name: Option<String>,
    pub(crate) peer: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) sequence: u64,
    pub(crate) detail: Option<String>,
    /// What policy made it wait.
    pub(crate) delay: Option<Duration>,
}

impl StreamRecord {
    /// Of a connection that begins now, and counts among those of a service.
    pub(crate) fn start(
        direction: Direction,
        in_flight: &Arc<InFlight>,
        service: &Arc<ServiceMetrics>,
    ) -> Self {
        in_flight.of(direction).fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        let log = tracing::enabled!(target: "access", tracing::Level::INFO).then(Box::default);
        let count = StreamCount::start(service, StreamKind::Tcp);
        let in_flight = Arc::clone(in_flight);
        Self { direction, started: Instant::now(), in_flight, count, tries: 0, log }
    }

    /// Fills in what the access log shows; the closure does not run when nobody reads it.
    pub(crate) fn log(&mut self, fill: impl FnOnce(&mut StreamLog)) {
        if let Some(fields) = self.log.as_deref_mut() {
            fill(fields);
        }
    }

    /// Ends it, and says why.
    pub(crate) fn ended(mut self, Ended { reason, detail }: Ended) {
        self.count.because(reason);
        self.log(|log| log.detail = detail);
    }
}

impl Story for StreamRecord {
    fn by_rule(&mut self, origin: &Origin) {
        self.log(|log| log.rule = Some(origin.to_string()));
    }

    fn to_cluster(&mut self, id: &str) {
        self.log(|log| log.cluster = Some(id.to_owned()));
    }

    fn tried(&mut self, endpoint: SocketAddr) {
        self.tries += 1;
        self.log(|log| log.endpoint = Some(endpoint));
    }

    fn delayed(&mut self, delay: Duration) {
        self.count.service.fault(InjectedFault::Delay);
        self.log(|log| log.delay = Some(delay));
    }

    fn aborted(&mut self) {
        self.count.service.fault(InjectedFault::Abort);
    }
}

impl Drop for StreamRecord {
    fn drop(&mut self) {
        self.in_flight.of(self.direction).fetch_sub(1, std::sync::atomic::Ordering::AcqRel);
        let Some(log) = &self.log else { return };
        let [received, sent] = self.count.bytes();
        tracing::info!(
            target: "access",
            direction = self.direction.as_str(),
            service = self.count.service.service(),
            kind = self.count.kind.as_str(),
            reason = self.count.reason.as_str(),
            detail = log.detail,
            injected_delay_ms = log.delay.map(|delay| delay.as_secs_f64() * 1000.0),
            duration_ms = self.started.elapsed().as_secs_f64() * 1000.0,
            received,
            sent,
            client = log.client.map(tracing::field::display),
            destination = log.destination.map(tracing::field::display),
            server_name = log.server_name,
            peer = log.peer,
            rule = log.rule,
            cluster = log.cluster,
            endpoint = log.endpoint.map(tracing::field::display),
            tries = self.tries,
            sequence = log.sequence,
        );
    }
}
