//! A request that asks to change the protocol, sent over an HTTP/1.1 connection of its own: HTTP/2 cannot carry it, and a
//! connection that has changed its protocol carries no other request.
//!
//! Only what certainly was not processed is tried again: a connection that could not be opened. An upstream that does not
//! agree answers as to any request.

use std::time::{Duration, Instant};

use http::header::{CONNECTION, TE, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::dial::{Upstream, dial};
use super::wire::Prefixed;
use crate::cluster::terms::Terms;
use crate::cluster::{Cluster, Lease};
use crate::forward::{Failure, Plan};
use crate::message::body::RequestBody;
use crate::message::fields;
use crate::message::head::MAX_HEAD_BYTES;
use crate::telemetry::Reason;
use crate::telemetry::record::Record;
use crate::telemetry::stream::Story;
use crate::worker::Task;

/// What an answer came over.
#[derive(Debug)]
pub(crate) enum Via {
    /// A connection that goes back to where it came from when the answer is over.
    Lease(Lease),
    /// A connection that now speaks something else.
    Tunnel(Upstream),
}

impl Via {
    /// What sessions call the endpoint that it leads to.
    pub(crate) fn endpoint(&self) -> Option<u64> {
        match self {
            Self::Lease(lease) => lease.endpoint(),
            Self::Tunnel(upstream) => Some(upstream.endpoint()),
        }
    }
}

/// Sends the request, which has no body.
pub(crate) async fn send(
    cluster: &Cluster,
    plan: Plan<'_>,
    mut head: Parts,
    record: &mut Record,
) -> Result<(Response<Incoming>, Via), Failure> {
    let connection = match head.headers.contains_key(TE) {
        true => HeaderValue::from_static("upgrade, te"),
        false => HeaderValue::from_static("upgrade"),
    };
    head.headers.insert(CONNECTION, connection);
    head.headers.insert(UPGRADE, HeaderValue::from_static(fields::WEBSOCKET));
    let request = Request::from_parts(head, RequestBody::Empty);
    let terms = Terms::of(&cluster.spec, &request);
    let exchange = async {
        let upstream =
            dial(cluster, plan.wish, &terms, plan.retry, |endpoint| record.tried(endpoint)).await?;
        within(plan.per_try, Reason::TryTimeout, exchange(upstream, request)).await
    };
    within(plan.request, Reason::RequestTimeout, exchange).await
}

async fn within<T>(
    limit: Option<Duration>,
    reason: Reason,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(limit) = limit else { return future.await };
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| {
        Err(Failure { reason, detail: format!("no response within {} ms", limit.as_millis()) })
    })
}

async fn exchange(
    upstream: Upstream,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Via), Failure> {
    let (io, hold) = upstream.into_parts();
    let sent = Instant::now();
    let opened = http1::Builder::new()
        .max_header_size(usize::from(MAX_HEAD_BYTES))
        .handshake::<_, RequestBody>(TokioIo::new(io))
        .await;
    let (mut sender, connection) = opened.map_err(|error| hold.no_answer(&error))?;
    let driven = Task::spawn(connection.without_shutdown());
    // Dropping the hold on a try that takes too long is no verdict on the endpoint; the connect time was.
    let response = match sender.send_request(request).await {
        Ok(response) => response,
        Err(error) => return Err(hold.no_answer(&error)),
    };
    let now = Instant::now();
    hold.pending.answered(now - sent, now, response.status().as_u16());
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok((response, Via::Lease(hold.lease(driven))));
    }
    if !fields::is_websocket(response.headers()) {
        let detail = format!("{}: a change to another protocol than was asked for", hold.address());
        return Err(Failure { reason: Reason::UpstreamProtocol, detail });
    }
    drop(sender);
    let ended = || {
        let detail = format!("{}: the connection ended with its change of protocol", hold.address());
        Failure { reason: Reason::UpstreamReset, detail }
    };
    let parts = driven.output().await.ok_or_else(ended)?.map_err(|error| hold.no_answer(&error))?;
    let io: Prefixed = parts.io.into_inner();
    Ok((response, Via::Tunnel(hold.upstream(io.and(parts.read_buf)))))
}
