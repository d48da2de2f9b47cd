//! Copies of requests, to see how another service does with them. Which request is copied is the engine's decision.
//!
//! A copy never delays or fails the request that it is of: it is a task of its own, which waits until the request's body
//! has passed, sends what was remembered of it, and reads the answer only to let the connection be used again. Bodies of
//! more than 64 KiB are not copied. Everything that is not copied is counted.
//!
//! A copy has the path, the authority and the header fields that the rule makes; it is not tried again. It counts against
//! the limits of its own cluster, and so many at once are the most.

use std::rc::Rc;
use std::time::Duration;

use http::Request;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use weft_bundle::engine;

use super::{Place, hashed, limit, tell_source};
use crate::cluster::Cluster;
use crate::cluster::balancer::Wish;
use crate::cluster::limits::CopyGuard;
use crate::forward::{self, Plan};
use crate::inbound::address;
use crate::message::body::RequestBody;
use crate::message::fields;
use crate::message::tap::{Missed, Tap};
use crate::telemetry::cluster::CopyOutcome;
use crate::worker::Plane;
use crate::worker::connection::Connection;

/// How long a copy may take where the rule has no time for the request.
const LONGEST: Duration = Duration::from_secs(15);

/// How much of an answer is read.
const ANSWER_BYTES: usize = 64 * 1024;

/// Begins the copies of a request that is about to be sent; its head is as the rule makes it, without what one backend
/// changes.
pub(super) fn begin(
    connection: &Connection,
    plane: &Plane,
    place: &Place<'_>,
    head: &Parts,
    body: &mut RequestBody,
) {
    let rule = place.rule;
    let mut tap = None;
    for mirror in engine::copies(&rule.mirrors, || fastrand::u64(..)) {
        let Some(spec) = plane.upstream(&mirror.cluster) else { continue };
        let cluster = connection.worker.clusters.of(spec);
        let Some(guard) = spec.circuit.copy() else {
            spec.metrics.copied(CopyOutcome::TooMany);
            continue;
        };
        let http2 = spec.takes_http2(head.version);
        let mut head = same(head);
        if !spec.external {
            head.headers.insert(fields::HOP, connection.worker.shared.hop.clone());
        }
        if address(spec, place.target, &place.path, place.authority, &mut head, http2).is_err() {
            // The request itself is refused for it.
            spec.metrics.copied(CopyOutcome::Failed);
            continue;
        }
        let hash = hashed(connection, spec, place.target, &head).map(|hashed| hashed.value);
        let wish = Wish { endpoint: None, hash };
        tell_source(connection, spec, &mut head);
        let plan = Plan { http2, wish, request: None, per_try: None, retry: None };
        let time = limit(rule.timeouts.request).unwrap_or(LONGEST);
        let tap = tap.get_or_insert_with(|| body.tap()).clone();
        // The worker owns the task; the time, and that of the request's body, end it.
        tokio::task::spawn_local(async move {
            let end = send(&cluster, plan, head, tap, time, &guard).await;
            cluster.spec.metrics.copied(end);
        });
    }
}

/// The head once more.
fn same(head: &Parts) -> Parts {
    let mut copy = Request::new(());
    *copy.method_mut() = head.method.clone();
    *copy.headers_mut() = head.headers.clone();
    copy.into_parts().0
}

async fn send(
    cluster: &Rc<Cluster>,
    plan: Plan<'_>,
    head: Parts,
    tap: Tap,
    time: Duration,
    _guard: &CopyGuard,
) -> CopyOutcome {
    let body = match tap.whole().await {
        Ok(body) => RequestBody::Copied(body),
        Err(Missed::TooLarge) => return CopyOutcome::LargeBody,
        Err(Missed::Incomplete) => return CopyOutcome::IncompleteBody,
    };
    let exchange = async {
        let (response, lease) = forward::send(cluster, plan, head, body, None).await.ok()?;
        if let Some(()) = discard(response.into_body()).await {
            lease.give_back();
        }
        Some(())
    };
    match tokio::time::timeout(time, exchange).await {
        Ok(Some(())) => CopyOutcome::Answered,
        Ok(None) | Err(_) => CopyOutcome::Failed,
    }
}

/// Reads a body to its end; none if that is too far away, or does not come.
async fn discard(mut body: Incoming) -> Option<()> {
    let mut read = 0usize;
    while let Some(frame) = body.frame().await {
        read = read.saturating_add(frame.ok()?.data_ref().map_or(0, bytes::Bytes::len));
        if read > ANSWER_BYTES {
            return None;
        }
    }
    Some(())
}
