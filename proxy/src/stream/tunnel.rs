//! Tunnels that begin with a request: what becomes of an HTTP/1.1 connection once its last response has been sent.
//!
//! A tunnel begins after the answer that agrees to it (101, or 200 to `CONNECT`) is on its way, and never before; what the
//! caller sent behind its request waits until then. The request's record lives on in it, and ends with it: so a drain waits
//! for tunnels as for requests, and the access log has one line, with the time and bytes of all of it.

use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response, StatusCode, Version};
use hyper::body::Incoming;

use super::dial::{Ended, Upstream};
use super::outbound::is_refused_later;
use super::proof::Proof;
use super::wire::Prefixed;
use crate::forward::Failure;
use crate::message::body::ResponseBody;
use crate::message::fields;
use crate::telemetry::record::Record;
use crate::telemetry::stream::{StreamCount, StreamKind};
use crate::worker::connection::Connection;

/// What is done with a connection whose requests are over.
pub(crate) struct Tunnel(Box<dyn FnOnce(Prefixed) -> Running>);

type Running = Pin<Box<dyn Future<Output = ()>>>;

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}

impl Tunnel {
    pub(super) fn new<F: Future<Output = ()> + 'static>(run: impl FnOnce(Prefixed) -> F + 'static) -> Self {
        Self(Box::new(move |near| Box::pin(run(near))))
    }

    /// One to an upstream that is there.
    pub(super) fn to(upstream: Upstream, idle: Duration, underway: Underway, revoked: Revoked) -> Self {
        Self::new(move |mut near: Prefixed| async move {
            underway.relay(&mut near, upstream, idle, revoked).await;
        })
    }

    /// Moves bytes until it ends.
    pub(crate) async fn run(self, near: Prefixed) {
        (self.0)(near).await;
    }
}

/// Waits until a tunnel may not go on, and says why.
pub(crate) type Revoked = Pin<Box<dyn Future<Output = Failure>>>;

/// A request that goes on as a tunnel. Dropping it is the end of both.
pub(super) struct Underway {
    pub(super) record: Record,
    count: StreamCount,
}

impl Underway {
    pub(super) fn new(
        connection: &Connection,
        mut record: Record,
        kind: StreamKind,
        status: StatusCode,
    ) -> Self {
        record.tunnelled(status.as_u16());
        let unknown = || connection.worker.shared.unknown(connection.key.direction());
        let count = StreamCount::start(record.counts().unwrap_or_else(unknown), kind);
        Self { record, count }
    }

    pub(super) fn ended(mut self, Ended { reason, detail }: Ended) {
        let [_, sent] = self.count.bytes();
        self.count.because(reason);
        self.record.because(reason);
        self.record.sent = sent;
        self.record.log(|log| log.detail = detail);
    }

    pub(super) async fn relay(
        self,
        near: &mut Prefixed,
        mut upstream: Upstream,
        idle: Duration,
        revoked: Revoked,
    ) {
        let ended = tokio::select! {
            ended = upstream.relay(near, idle, &self.count) => ended,
            failure = revoked => {
                upstream.break_off(near);
                Ended::from(failure)
            }
        };
        self.ended(ended);
    }
}

/// Passes an upstream's 101 on, and tunnels from then on.
pub(crate) fn switch(
    connection: &Connection,
    response: Response<Incoming>,
    (upstream, idle): (Upstream, Duration),
    record: Record,
    revoked: Revoked,
) -> Response<ResponseBody> {
    let (mut head, _) = response.into_parts();
    fields::strip_response(&mut head.headers);
    head.version = Version::HTTP_11;
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(UPGRADE, HeaderValue::from_static(fields::WEBSOCKET));
    let underway = Underway::new(connection, record, StreamKind::Upgrade, head.status);
    connection.tunnel_next(Tunnel::to(upstream, idle, underway, revoked));
    Response::from_parts(head, ResponseBody::none())
}

/// What ends a tunnel that two things may end.
pub(crate) fn either(one: Revoked, other: Revoked) -> Revoked {
    Box::pin(async move {
        tokio::select! {
            failure = one => failure,
            failure = other => failure,
        }
    })
}

/// What ends a tunnel of our application: its endpoint is not believed any more.
pub(crate) fn endpoint_revoked(connection: &Connection, upstream: &Upstream) -> Revoked {
    let worker = Rc::clone(&connection.worker);
    match Proof::of(upstream.io.io()) {
        None => Box::pin(pending()),
        proof => Box::pin(async move { is_refused_later(&worker, proof).await }),
    }
}
