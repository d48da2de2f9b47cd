//! A connection to an endpoint of a cluster, for bytes that are not looked at.
//!
//! A connection that cannot be opened may be tried again at another endpoint, where policy lists `connect-failure`: nothing
//! was sent, so that is always safe. Once bytes can pass nothing is tried again.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use weft_bundle::body::{Retry, RetryOn};

use super::relay::{self, End, Meter, Wire};
use super::wire::Prefixed;
use crate::cluster::balancer::{Pending, Wish};
use crate::cluster::checkout;
use crate::cluster::connect::{ConnectError, chain};
use crate::cluster::limits::{Limit, RequestGuard};
use crate::cluster::outliers::Outcome;
use crate::cluster::pool::Carrier;
use crate::cluster::terms::Terms;
use crate::cluster::{Cluster, Endpoint, Lease};
use crate::forward::{Backoff, Failure, nowhere, take_retry};
use crate::telemetry::Reason;
use crate::telemetry::metrics::OpenGuard;

/// What a success counts as to the endpoint's health.
const WELL: u16 = 200;

/// A connection to an endpoint, and all that it holds of its cluster: a place among the requests in flight and among the
/// connections, and load on the endpoint.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) io: Prefixed,
    hold: Hold,
}

/// What a connection holds of its cluster.
#[derive(Debug)]
pub(crate) struct Hold {
    /// How long it took to open.
    took: Duration,
    pub(super) pending: Pending,
    open: OpenGuard,
    permit: Option<OwnedSemaphorePermit>,
    request: RequestGuard,
}

/// Opens one, by the cluster's balancer and limits. `note` is told of each endpoint that is tried.
pub(crate) async fn dial(
    cluster: &Cluster,
    wish: Wish,
    terms: &Terms,
    retry: Option<&Retry>,
    mut note: impl FnMut(SocketAddr),
) -> Result<Upstream, Failure> {
    let retry = retry.filter(|retry| retry.on.contains(&RetryOn::ConnectFailure));
    let Some(request) = cluster.spec.circuit.request() else {
        cluster.spec.metrics.overflow(Limit::Requests).inc();
        let detail = format!("{}: the limit of requests is reached", cluster.spec.id);
        return Err(Failure { reason: Reason::Overflow, detail });
    };
    let mut left = retry.map_or(0, |retry| retry.attempts);
    let mut backoff = Backoff::new(retry);
    let mut tried: Vec<Rc<Endpoint>> = Vec::new();
    let mut retrying = None;
    loop {
        let Some(pending) = cluster.pick_soon(wish, &tried).await else {
            return Err(nowhere(cluster));
        };
        note(pending.endpoint().address);
        let begun = Instant::now();
        let failure = match checkout::alone(cluster, &pending, terms).await {
            Ok((io, permit)) => {
                let open = OpenGuard::new(cluster.spec.metrics.open.clone());
                let hold = Hold { took: begun.elapsed(), pending, open, permit, request };
                return Ok(Upstream { io: Prefixed::from(io), hold });
            }
            Err(error) => failed(&pending, &error),
        };
        drop(retrying.take());
        if left == 0 || failure.reason == Reason::Overflow {
            return Err(failure);
        }
        let Some(again) = take_retry(cluster) else { return Err(failure) };
        retrying = Some(again);
        left -= 1;
        tried.push(Rc::clone(pending.endpoint()));
        drop(pending);
        backoff.pause().await;
    }
}

fn failed(pending: &Pending, error: &ConnectError) -> Failure {
    let reason = match error {
        ConnectError::Overflow(_) => Reason::Overflow,
        ConnectError::Tls(_) => Reason::TlsFailure,
        ConnectError::Timeout | ConnectError::Tcp(_) | ConnectError::Http(_) => Reason::ConnectFailure,
    };
    if reason != Reason::Overflow {
        pending.failed(Outcome::NoConnection, Instant::now());
    }
    Failure { reason, detail: format!("{}: {error}", pending.endpoint().address) }
}

impl Hold {
    pub(super) fn address(&self) -> SocketAddr {
        self.pending.endpoint().address
    }

    /// Notes that the endpoint gave no answer, and gives the failure to report.
    pub(super) fn no_answer(&self, error: &hyper::Error) -> Failure {
        self.pending.failed(Outcome::NoAnswer, Instant::now());
        let reason = match () {
            () if error.is_parse() => Reason::UpstreamProtocol,
            () if is_tls(error) => Reason::TlsFailure,
            () => Reason::UpstreamReset,
        };
        Failure { reason, detail: format!("{}: {}", self.address(), chain(error)) }
    }

    /// The same for the rest of a response, which `driven` moves.
    pub(super) fn lease(self, driven: impl std::fmt::Debug + 'static) -> Lease {
        let Self { pending, open, permit, request, .. } = self;
        Lease::new(Carrier::alone((driven, open, permit)), Some(pending)).with(request)
    }

    /// The same for bytes again.
    pub(super) fn upstream(self, io: Prefixed) -> Upstream {
        Upstream { io, hold: self }
    }
}

/// Whether an error comes from TLS: the far side's verdict on our certificate comes after its handshake, in TLS 1.3.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if io.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl Upstream {
    /// What sessions call the endpoint that it leads to.
    pub(crate) fn endpoint(&self) -> u64 {
        self.hold.pending.endpoint().id
    }

    pub(super) fn into_parts(self) -> (Prefixed, Hold) {
        (self.io, self.hold)
    }

    /// Ends it and the near side as connections that broke.
    pub(crate) fn break_off(&self, near: &impl Wire) {
        near.break_off();
        self.io.break_off();
    }

    /// Moves bytes between it and whoever called, and says how that ended. The endpoint counts as well at its first byte,
    /// or at a proper end without any; as failing if it breaks before.
    pub(crate) async fn relay<N: Wire>(&mut self, near: &mut N, idle: Duration, meter: &impl Meter) -> Ended {
        let Self { io, hold } = self;
        let heard = Heard { meter, hold, once: Cell::new(false) };
        let end = relay::relay(near, io, idle, &heard).await;
        match &end {
            End::Done => heard.hear(),
            End::Far(_) if !heard.once.get() => {
                hold.pending.failed(Outcome::NoAnswer, Instant::now());
            }
            End::Far(_) | End::Near(_) | End::Idle => {}
        }
        Ended::from(end)
    }
}

/// How a stream ended, as it is counted and logged.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) reason: Reason,
    pub(crate) detail: Option<String>,
}

impl From<Failure> for Ended {
    fn from(Failure { reason, detail }: Failure) -> Self {
        Self { reason, detail: Some(detail) }
    }
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        let (reason, detail) = match end {
            End::Done => (Reason::Ok, None),
            End::Near(error) => (Reason::DownstreamClosed, Some(error.to_string())),
            End::Far(error) if is_tls(&error) => (Reason::TlsFailure, Some(error.to_string())),
            End::Far(error) => (Reason::UpstreamReset, Some(error.to_string())),
            End::Idle => (Reason::IdleTimeout, None),
        };
        Self { reason, detail }
    }
}

/// Reports the first byte from the far side to its endpoint's health.
struct Heard<'a, M> {
    meter: &'a M,
    hold: &'a Hold,
    once: Cell<bool>,
}

impl<M> Heard<'_, M> {
    fn hear(&self) {
        if !self.once.replace(true) {
            self.hold.pending.answered(self.hold.took, Instant::now(), WELL);
        }
    }
}

impl<M: Meter> Meter for Heard<'_, M> {
    fn received(&self, bytes: usize) {
        self.meter.received(bytes);
    }

    fn sent(&self, bytes: usize) {
        self.hear();
        self.meter.sent(bytes);
    }
}
