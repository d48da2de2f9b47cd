//! A connection for a request: one of the pool, a new one, or, where policy bounds their number, one that is waited for.
//!
//! At the bound the request stands in line, behind those of all workers, for the right to open one; and it takes one to its
//! endpoint that another request of this worker is done with, if that comes first. Meanwhile connections that nobody uses
//! are closed to make room: of other endpoints, and of other workers. So a bound of one is enough for any number of
//! endpoints and workers, slowly.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Weak;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::Cluster;
use super::balancer::Pending;
use super::connect::{self, ConnectError};
use super::limits::{Connections, Limit};
use super::pool::{OneByOne, Shared};
use super::terms::Terms;
use crate::stream::wire::Io;

/// How long a request stands in line at most, where neither a timeout nor its caller ends it.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Whether a connection of the pool will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooled {
    Use,
    Avoid,
}

/// A connection for one request at a time, and whether it was there before.
pub(crate) async fn one_by_one(
    cluster: &Cluster,
    pending: &Pending,
    terms: &Terms,
    pooled: Pooled,
) -> Result<(OneByOne, bool), ConnectError> {
    let endpoint = pending.endpoint();
    if pooled == Pooled::Use
        && !endpoint.pool.is_waited_for()
        && let Some(connection) = endpoint.pool.take(Instant::now(), terms)
    {
        return Ok((connection, true));
    }
    // Boxed: opening is rare, and its state would make every request's future three times as large.
    Box::pin(obtain_one_by_one(cluster, pending, terms, pooled)).await
}

/// A connection with room for one more request, and whether it was there before.
pub(crate) async fn shared(
    cluster: &Cluster,
    pending: &Pending,
    terms: &Terms,
) -> Result<(Shared, bool), ConnectError> {
    let endpoint = pending.endpoint();
    if !endpoint.pool.is_waited_for()
        && let Some(connection) = endpoint.pool.share(Instant::now(), terms)
    {
        return Ok((connection, true));
    }
    Box::pin(obtain_shared(cluster, pending, terms)).await
}

/// A connection for nothing but one stream of bytes, and its place among those that are bounded.
pub(crate) async fn alone(
    cluster: &Cluster,
    pending: &Pending,
    terms: &Terms,
) -> Result<(Io, Option<OwnedSemaphorePermit>), ConnectError> {
    let spec = &cluster.spec;
    let _pending = spec.circuit.pending().ok_or_else(|| overflow(cluster, Limit::Pending))?;
    let permit = match spec.circuit.connections() {
        None => None,
        // Nobody gives one back: each is used once.
        Some(connections) => match permit(cluster, pending, connections, || None::<Infallible>).await? {
            Found::Permit(permit) => Some(permit),
            Found::Free(never) => match never {},
        },
    };
    Ok((connect::open_stream(spec, pending.endpoint(), terms).await?, permit))
}

async fn obtain_one_by_one(
    cluster: &Cluster,
    pending: &Pending,
    terms: &Terms,
    pooled: Pooled,
) -> Result<(OneByOne, bool), ConnectError> {
    let endpoint = pending.endpoint();
    let spec = &cluster.spec;
    let _pending = spec.circuit.pending().ok_or_else(|| overflow(cluster, Limit::Pending))?;
    let permit = match spec.circuit.connections() {
        None => None,
        Some(connections) => {
            if pooled == Pooled::Avoid {
                endpoint.pool.close_unused();
            }
            let free = || endpoint.pool.take(Instant::now(), terms);
            match permit(cluster, pending, connections, free).await? {
                Found::Free(connection) => return Ok((connection, true)),
                Found::Permit(permit) => Some(permit),
            }
        }
    };
    Ok((connect::open_one_by_one(spec, endpoint, terms, permit).await?, false))
}

async fn obtain_shared(
    cluster: &Cluster,
    pending: &Pending,
    terms: &Terms,
) -> Result<(Shared, bool), ConnectError> {
    let endpoint = pending.endpoint();
    let spec = &cluster.spec;
    let _pending = spec.circuit.pending().ok_or_else(|| overflow(cluster, Limit::Pending))?;
    let _opening = endpoint.pool.opening.lock().await;
    let free = || endpoint.pool.share(Instant::now(), terms);
    if let Some(connection) = free() {
        return Ok((connection, true));
    }
    let permit = match spec.circuit.connections() {
        None => None,
        Some(connections) => match permit(cluster, pending, connections, free).await? {
            Found::Free(connection) => return Ok((connection, true)),
            Found::Permit(permit) => Some(permit),
        },
    };
    let connection = connect::open_shared(spec, endpoint, terms, permit).await?;
    endpoint.pool.add(connection.clone());
    Ok((connection, false))
}

/// What a request that stands in line gets.
enum Found<C> {
    Free(C),
    Permit(OwnedSemaphorePermit),
}

/// The right to open a connection, or one that became free in the meantime.
async fn permit<C>(
    cluster: &Cluster,
    pending: &Pending,
    connections: &Connections,
    free: impl Fn() -> Option<C>,
) -> Result<Found<C>, ConnectError> {
    if let Some(permit) = connections.take() {
        return Ok(Found::Permit(permit));
    }
    cluster.spec.metrics.overflow(Limit::Connections).inc();
    if !cluster.spec.circuit.may_wait() {
        return Err(overflow(cluster, Limit::Pending));
    }
    let _waiting = connections.waiting();
    let endpoint = pending.endpoint();
    let _here = endpoint.pool.wait_here();
    // Stays so if the time is over before this ends.
    pending.stands_in_line(true);
    if !cluster.make_room() {
        connections.wanted.notify_waiters();
    }
    let wait = async {
        let mut permit = pin!(connections.wait());
        loop {
            // Before looking, so that one that comes back in between is not missed.
            let mut returned = pin!(endpoint.pool.returned.notified());
            returned.as_mut().enable();
            if let Some(connection) = free() {
                return Ok(Found::Free(connection));
            }
            tokio::select! {
                biased;
                permit = permit.as_mut() => {
                    return permit.map(Found::Permit).ok_or(ConnectError::Overflow(Limit::Connections));
                }
                () = returned => {}
            }
        }
    };
    let found = tokio::time::timeout(LONGEST_WAIT, wait).await;
    pending.stands_in_line(false);
    found.unwrap_or(Err(ConnectError::Overflow(Limit::Connections)))
}

fn overflow(cluster: &Cluster, limit: Limit) -> ConnectError {
    cluster.spec.metrics.overflow(limit).inc();
    ConnectError::Overflow(limit)
}

/// Closes a connection that this worker does not use whenever a request of another worker waits for one. The cluster owns
/// the task.
pub(super) async fn make_room_for_others(cluster: Weak<Cluster>) {
    let Some(circuit) = cluster.upgrade().map(|cluster| Arc::clone(&cluster.spec.circuit)) else { return };
    let Some(connections) = circuit.connections() else { return };
    loop {
        let mut wanted = pin!(connections.wanted.notified());
        wanted.as_mut().enable();
        if connections.is_wanted() {
            match cluster.upgrade() {
                Some(cluster) => cluster.make_room(),
                None => return,
            };
        }
        wanted.await;
    }
}
