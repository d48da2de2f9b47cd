//! A connection to an endpoint of a cluster, for bytes that are not looked at.
//!
//! A connection that cannot be opened may be tried again at another endpoint, where policy lists `connect-failure`: nothing
//! was sent, so that is always safe. Once bytes can pass nothing is tried again.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use weft_bundle::body::{Retry, RetryOn};

use super::relay::{self, End, Meter, Wire};
use super::wire::Io;
use crate::cluster::balancer::{Pending, Wish};
use crate::cluster::checkout;
use crate::cluster::connect::ConnectError;
use crate::cluster::limits::{Limit, RequestGuard};
use crate::cluster::outliers::Outcome;
use crate::cluster::{Cluster, Endpoint};
use crate::forward::{Backoff, Failure, nowhere, take_retry};
use crate::telemetry::Reason;
use crate::telemetry::metrics::OpenGuard;

/// What a success counts as to the endpoint's health.
const WELL: u16 = 200;

/// A connection to an endpoint, and all that it holds of its cluster: a place among the requests in flight and among the
/// connections, and load on the endpoint.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) io: Io,
    /// How long it took to open.
    took: Duration,
    pending: Pending,
    _open: OpenGuard,
    _permit: Option<OwnedSemaphorePermit>,
    _request: RequestGuard,
}

/// Opens one, by the cluster's balancer and limits. `note` is told of each endpoint that is tried.
pub(crate) async fn dial(
    cluster: &Cluster,
    wish: Wish,
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
        let mut draw = || fastrand::u64(..);
        let Some(pending) = cluster.pick(wish, &tried, Instant::now(), &mut draw) else {
            return Err(nowhere(cluster));
        };
        note(pending.endpoint().address);
        let begun = Instant::now();
        let failure = match checkout::alone(cluster, &pending).await {
            Ok((io, permit)) => {
                let open = OpenGuard::new(cluster.spec.metrics.open.clone());
                let took = begun.elapsed();
                return Ok(Upstream { io, took, pending, _open: open, _permit: permit, _request: request });
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

impl Upstream {
    /// Moves bytes between it and whoever called, and says how that ended. The endpoint counts as well at its first byte,
    /// or at a proper end without any; as failing if it breaks before.
    pub(crate) async fn relay<N: Wire>(&mut self, near: &mut N, idle: Duration, meter: &impl Meter) -> Ended {
        let heard = Heard { meter, upstream: (&self.pending, self.took), once: std::cell::Cell::new(false) };
        let end = relay::relay(near, &mut self.io, idle, &heard).await;
        match &end {
            End::Done => heard.hear(),
            End::Far(_) if !heard.once.get() => {
                self.pending.failed(Outcome::NoAnswer, Instant::now());
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
        let is_tls =
            |error: &std::io::Error| error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        let (reason, detail) = match end {
            End::Done => (Reason::Ok, None),
            End::Near(error) => (Reason::DownstreamClosed, Some(error.to_string())),
            // The far side's verdict on our certificate comes after its handshake, in TLS 1.3.
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
    upstream: (&'a Pending, Duration),
    once: std::cell::Cell<bool>,
}

impl<M> Heard<'_, M> {
    fn hear(&self) {
        if !self.once.replace(true) {
            let (pending, took) = self.upstream;
            pending.answered(took, Instant::now(), WELL);
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
