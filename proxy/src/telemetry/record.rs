//! The end of a request, recorded once, in one place, whether it was answered, refused or broken off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, Version};

use super::metrics::{Direction, InjectedFault, ServiceMetrics};
use super::reason::Reason;
use crate::worker::connection::Busy;

/// Requests in flight, for draining.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    inbound: AtomicUsize,
    outbound: AtomicUsize,
}

impl InFlight {
    pub(super) fn of(&self, direction: Direction) -> &AtomicUsize {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    /// How many requests have begun and not ended.
    pub(crate) fn count(&self, direction: Direction) -> usize {
        self.of(direction).load(Ordering::Acquire)
    }
}

/// What is known of a request so far. Dropping it is the end of the request.
#[derive(Debug)]
pub(crate) struct Record {
    direction: Direction,
    started: Instant,
    in_flight: Arc<InFlight>,
    /// Tells the connection that it has a request.
    _busy: Busy,
    service: Option<Arc<ServiceMetrics>>,
    /// The status sent downstream; zero before.
    pub(crate) status: u16,
    /// Why it ended. Until somebody says otherwise, the caller went away.
    reason: Reason,
    /// Tries upstream.
    pub(crate) tries: u32,
    /// Bytes of the response's body.
    pub(crate) sent: u64,
    /// How long it took until it became a tunnel.
    tunnelled: Option<Duration>,
    log: Option<Box<LogFields>>,
}

/// What only the access log needs; absent when nobody reads it.
#[derive(Debug, Default)]
pub(crate) struct LogFields {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) peer: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) sequence: u64,
    pub(crate) detail: Option<String>,
    /// What policy made it wait.
    pub(crate) delay: Option<Duration>,
}

impl LogFields {
    /// What the caller asked for, as it was received.
    pub(crate) fn head(&mut self, head: &Parts) {
        self.method = head.method.clone();
        self.version = head.version;
        let authority = head.uri.authority().map(|authority| authority.as_str().to_owned());
        let host = || head.headers.get(http::header::HOST)?.to_str().ok().map(str::to_owned);
        self.authority = authority.or_else(host).unwrap_or_default();
        self.path = head.uri.path().to_owned();
    }
}

impl Record {
    pub(crate) fn start(direction: Direction, in_flight: Arc<InFlight>, busy: Busy) -> Self {
        in_flight.of(direction).fetch_add(1, Ordering::AcqRel);
        let log = tracing::enabled!(target: "access", tracing::Level::INFO).then(Box::default);
        Self {
            direction,
            started: Instant::now(),
            in_flight,
            _busy: busy,
            service: None,
            status: 0,
            reason: Reason::DownstreamClosed,
            tries: 0,
            sent: 0,
            tunnelled: None,
            log,
        }
    }

    /// Names the service whose requests this one counts among.
    pub(crate) fn service(&mut self, service: &Arc<ServiceMetrics>) {
        self.service = Some(Arc::clone(service));
    }

    /// The service whose requests this one counts among.
    pub(crate) fn counted(&self) -> Option<&Arc<ServiceMetrics>> {
        self.service.as_ref()
    }

    /// Notes that its answer is a tunnel, which may last much longer than requests do.
    pub(crate) fn tunnelled(&mut self, status: u16) {
        self.status = status;
        self.tunnelled = Some(self.started.elapsed());
    }

    /// Fills in what the access log shows; the closure does not run when nobody reads it.
    pub(crate) fn log(&mut self, fill: impl FnOnce(&mut LogFields)) {
        if let Some(fields) = self.log.as_deref_mut() {
            fill(fields);
        }
    }

    /// Notes that policy makes it wait.
    pub(crate) fn delayed(&mut self, delay: Duration) {
        if let Some(service) = &self.service {
            service.fault(InjectedFault::Delay);
        }
        self.log(|log| log.delay = Some(delay));
    }

    /// Notes that policy answers it with an error.
    pub(crate) fn aborted(&self) {
        if let Some(service) = &self.service {
            service.fault(InjectedFault::Abort);
        }
    }

    /// Says why it ended, or will end.
    pub(crate) fn because(&mut self, reason: Reason) {
        self.reason = reason;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        if let Some(service) = &self.service {
            service.ended(self.status, self.reason, self.tunnelled.unwrap_or(elapsed));
        }
        self.in_flight.of(self.direction).fetch_sub(1, Ordering::AcqRel);
        if let Some(log) = &self.log {
            tracing::info!(
                target: "access",
                direction = self.direction.as_str(),
                service = self.service.as_ref().map(|service| service.service()),
                method = log.method.as_str(),
                authority = log.authority,
                path = log.path,
                version = ?log.version,
                status = self.status,
                reason = self.reason.as_str(),
                detail = log.detail,
                injected_delay_ms = log.delay.map(|delay| delay.as_secs_f64() * 1000.0),
                duration_ms = elapsed.as_secs_f64() * 1000.0,
                bytes = self.sent,
                client = log.client.map(tracing::field::display),
                peer = log.peer,
                rule = log.rule,
                cluster = log.cluster,
                endpoint = log.endpoint.map(tracing::field::display),
                tries = self.tries,
                sequence = log.sequence,
            );
        }
    }
}
