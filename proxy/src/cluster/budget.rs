//! How many retries a cluster may have at once: a share of the requests in flight, with a floor.
//!
//! A retry counts from the decision to try again until that try has an answer, the pause before it included: retries
//! that wait are load that is about to come (envoyproxy/envoy#30205).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use weft_bundle::body::RetryBudget;

/// The budget of one cluster, over all workers.
#[derive(Debug)]
pub(crate) struct Budget {
    percent: u32,
    min: u32,
    active: AtomicU32,
    retrying: AtomicU32,
}

impl Budget {
    pub(crate) fn new(budget: RetryBudget) -> Arc<Self> {
        let RetryBudget { percent, min } = budget;
        Arc::new(Self { percent, min, active: AtomicU32::new(0), retrying: AtomicU32::new(0) })
    }

    /// Counts a request as in flight while the guard lives.
    pub(crate) fn active(self: &Arc<Self>) -> ActiveGuard {
        self.active.fetch_add(1, Ordering::Relaxed);
        ActiveGuard(Arc::clone(self))
    }

    /// Takes a retry, if there is one left.
    pub(crate) fn retry(self: &Arc<Self>) -> Option<RetryGuard> {
        let active = u64::from(self.active.load(Ordering::Relaxed));
        let share = active * u64::from(self.percent) / 100;
        let limit = share.max(u64::from(self.min));
        let take = |retrying: u32| (u64::from(retrying) < limit).then(|| retrying + 1);
        let taken = self.retrying.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok().then(|| RetryGuard(Arc::clone(self)))
    }
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct ActiveGuard(Arc<Budget>);

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One retry.
#[derive(Debug)]
pub(crate) struct RetryGuard(Arc<Budget>);

impl Drop for RetryGuard {
    fn drop(&mut self) {
        self.0.retrying.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_and_then_a_share() {
        let budget = Budget::new(RetryBudget { percent: 20, min: 3 });
        let floor: Vec<_> = (0..4).map(|_| budget.retry()).collect();
        assert_eq!(floor.iter().filter(|retry| retry.is_some()).count(), 3);
        let _active: Vec<_> = (0..50).map(|_| budget.active()).collect();
        let share: Vec<_> = (0..20).map(|_| budget.retry()).collect();
        assert_eq!(share.iter().filter(|retry| retry.is_some()).count(), 7, "10 of 50, 3 are taken");
        drop((floor, share));
        assert!(budget.retry().is_some());
        let none = Budget::new(RetryBudget { percent: 0, min: 0 });
        assert!(none.retry().is_none());
    }
}
