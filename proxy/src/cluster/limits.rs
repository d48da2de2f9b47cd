//! How much may be in flight from this proxy to a cluster, counted over all workers.
//!
//! | limit | counts | at the limit |
//! |---|---|---|
//! | requests | from the choice of an endpoint to the end of the response, all tries together | the request is refused |
//! | retries | from the decision to try again until that try has an answer | what there is is delivered |
//! | connections | from the beginning of opening to the end of the socket | the request waits, and unused ones make room |
//! | pending | requests without a connection: it is being opened, or waited for | the request is refused |
//!
//! The retry budget is one more bound on retries, a share of the requests with a floor. The pause before a retry counts:
//! retries that wait are load that is about to come (envoyproxy/envoy#30205).
//!
//! Requests and retries are atomics. Connections are a semaphore, which is asked only when one is opened or ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use weft_bundle::body::{Limits, RetryBudget};

/// How many copies of requests go to a cluster at once.
const MAX_COPIES: u32 = 256;

/// What a limit is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Connections,
    Pending,
    Requests,
    Retries,
}

impl Limit {
    /// All of them, in order of declaration.
    pub(crate) const ALL: [Self; 4] = [Self::Connections, Self::Pending, Self::Requests, Self::Retries];

    /// The name in documents, and in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Pending => "pending",
            Self::Requests => "requests",
            Self::Retries => "retries",
        }
    }
}

/// Why a request is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRetry {
    /// The share of requests that may be retries is used up.
    Budget,
    /// The limit of retries is reached.
    Limit,
}

/// The limits of one cluster, and what is in flight.
#[derive(Debug)]
pub(crate) struct Circuit {
    budget: RetryBudget,
    limits: Limits,
    requests: AtomicU32,
    retries: AtomicU32,
    pending: AtomicU32,
    copies: AtomicU32,
    connections: Option<Connections>,
}

/// The bound on connections.
#[derive(Debug)]
pub(crate) struct Connections {
    permits: Arc<Semaphore>,
    /// Requests that wait because of it, over all workers.
    waiting: AtomicU32,
    /// Tells other workers that somebody waits, so that they close what they do not use.
    pub(super) wanted: Notify,
}

impl Circuit {
    pub(crate) fn new(budget: RetryBudget, limits: Limits) -> Arc<Self> {
        let connections = limits.connections.map(|limit| Connections {
            permits: Arc::new(Semaphore::new(permits(limit))),
            waiting: AtomicU32::new(0),
            wanted: Notify::new(),
        });
        let [requests, retries, pending, copies] = [0; 4].map(AtomicU32::new);
        Arc::new(Self { budget, limits, requests, retries, pending, copies, connections })
    }

    /// Counts a request as in flight while the guard lives; none if there are too many.
    pub(crate) fn request(self: &Arc<Self>) -> Option<RequestGuard> {
        match self.limits.requests {
            None => {
                self.requests.fetch_add(1, Ordering::Relaxed);
            }
            Some(limit) => take(&self.requests, limit)?,
        }
        Some(RequestGuard(Arc::clone(self)))
    }

    /// Takes a retry, if there is one left.
    pub(crate) fn retry(self: &Arc<Self>) -> Result<RetryGuard, NoRetry> {
        let RetryBudget { percent, min } = self.budget;
        let share = u64::from(self.requests.load(Ordering::Relaxed)) * u64::from(percent) / 100;
        let budget = u32::try_from(share).unwrap_or(u32::MAX).max(min);
        let limit = self.limits.retries.unwrap_or(u32::MAX);
        match take(&self.retries, budget.min(limit)) {
            Some(()) => Ok(RetryGuard(Arc::clone(self))),
            None if budget <= limit => Err(NoRetry::Budget),
            None => Err(NoRetry::Limit),
        }
    }

    /// Counts a request as without a connection while the guard lives; none if there are too many. Somebody has to open
    /// the first connection, so one request is always let through here.
    pub(super) fn pending(self: &Arc<Self>) -> Option<PendingGuard> {
        take(&self.pending, self.limits.pending.unwrap_or(u32::MAX).max(1))?;
        Some(PendingGuard(Arc::clone(self)))
    }

    /// Counts a copy of a request as under way while the guard lives; none if there are too many.
    pub(crate) fn copy(self: &Arc<Self>) -> Option<CopyGuard> {
        take(&self.copies, MAX_COPIES)?;
        Some(CopyGuard(Arc::clone(self)))
    }

    /// Whether requests may wait for a connection that others use.
    pub(super) fn may_wait(&self) -> bool {
        self.limits.pending != Some(0) && self.limits.connections != Some(0)
    }

    /// The bound on connections, if there is one.
    pub(super) fn connections(&self) -> Option<&Connections> {
        self.connections.as_ref()
    }

    /// How many requests are in flight, and how many of them have no connection yet.
    pub(crate) fn in_flight(&self) -> (u32, u32) {
        (self.requests.load(Ordering::Relaxed), self.pending.load(Ordering::Relaxed))
    }
}

/// As many as a semaphore can have, which on small machines are fewer than a document can ask for.
fn permits(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// Adds one, unless that would be more than the limit.
fn take(count: &AtomicU32, limit: u32) -> Option<()> {
    let more = |count: u32| (count < limit).then(|| count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(drop)
}

impl Connections {
    /// The right to open one, if there is one left for which nobody waits.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Waits for the right to open one, in turn.
    pub(super) async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Counts a request as one that waits.
    pub(super) fn waiting(&self) -> WaitingGuard<'_> {
        // Before unused connections are looked for: whoever gives one back later sees that it is wanted.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        WaitingGuard(&self.waiting)
    }

    /// Whether anybody waits.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct RequestGuard(Arc<Circuit>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One retry.
#[derive(Debug)]
pub(crate) struct RetryGuard(Arc<Circuit>);

impl Drop for RetryGuard {
    fn drop(&mut self) {
        self.0.retries.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One copy of a request.
#[derive(Debug)]
pub(crate) struct CopyGuard(Arc<Circuit>);

impl Drop for CopyGuard {
    fn drop(&mut self) {
        self.0.copies.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request without a connection.
#[derive(Debug)]
pub(super) struct PendingGuard(Arc<Circuit>);

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request that waits for others to be done with their connections.
#[derive(Debug)]
pub(super) struct WaitingGuard<'c>(&'c AtomicU32);

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: RetryBudget = RetryBudget { percent: 20, min: 3 };

    #[test]
    fn a_floor_and_then_a_share() {
        let circuit = Circuit::new(BUDGET, Limits::default());
        let floor: Vec<_> = (0..4).map(|_| circuit.retry()).collect();
        assert_eq!(floor.iter().filter(|retry| retry.is_ok()).count(), 3);
        let _active: Vec<_> = (0..50).map(|_| circuit.request()).collect();
        let share: Vec<_> = (0..20).map(|_| circuit.retry()).collect();
        assert_eq!(share.iter().filter(|retry| retry.is_ok()).count(), 7, "10 of 50, 3 are taken");
        drop((floor, share));
        assert!(circuit.retry().is_ok());
        let none = Circuit::new(RetryBudget { percent: 0, min: 0 }, Limits::default());
        assert!(none.retry().is_err());
    }

    #[test]
    fn each_limit_holds_and_lets_go() {
        let limits = Limits { connections: Some(2), pending: Some(2), requests: Some(2), retries: Some(2) };
        let circuit = Circuit::new(BUDGET, limits);
        let connections = circuit.connections().unwrap();
        for _ in 0..2 {
            let requests: Vec<_> = (0..3).filter_map(|_| circuit.request()).collect();
            let retries: Vec<_> = (0..3).filter_map(|_| circuit.retry().ok()).collect();
            let pending: Vec<_> = (0..3).filter_map(|_| circuit.pending()).collect();
            let open: Vec<_> = (0..3).filter_map(|_| connections.take()).collect();
            assert_eq!([requests.len(), retries.len(), pending.len(), open.len()], [2; 4]);
            assert_eq!(circuit.retry().err(), Some(NoRetry::Limit), "the budget has one more");
            assert_eq!(circuit.in_flight(), (2, 2));
        }
        assert_eq!(circuit.in_flight(), (0, 0));
    }

    #[test]
    fn without_a_queue_somebody_still_opens_a_connection() {
        let circuit = Circuit::new(BUDGET, Limits { pending: Some(0), ..Limits::default() });
        let opens = circuit.pending();
        assert!(opens.is_some() && circuit.pending().is_none() && !circuit.may_wait());
    }
}
