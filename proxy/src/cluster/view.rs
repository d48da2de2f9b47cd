//! The endpoints that requests may go to now, and their shares: those that are not left out, new ones with less.
//!
//! A worker makes it again when an endpoint is left out or returns, and from time to time while one is being eased in. A new
//! endpoint's share grows over the time of [`Warmup`] from its minimum: `share × (age / duration) ^ (1 / aggression)`, as in
//! Envoy's slow start. An endpoint that was there when the proxy started is not new: all would be, and none would have less.

use std::rc::Rc;

use weft_bundle::body::Warmup;

use super::Endpoint;
use super::outliers::Health;

/// Shares are counted in thousandths of a weight while somebody is eased in.
const FINE: u64 = 1000;

/// A share that grows does so in this many steps.
const STEPS: u64 = 50;

/// See the module.
#[derive(Debug)]
pub(super) struct View {
    pub(super) endpoints: Vec<Rc<Endpoint>>,
    /// Running sums of their shares, for draws.
    sums: Vec<u64>,
    /// The version of the health that it was made from.
    pub(super) version: u64,
    /// When it has to be made again, in milliseconds.
    pub(super) until: u64,
    /// Whether endpoints that are left out are used all the same.
    is_panic: bool,
    /// Whether shares are fine, so that turns have to be spread over them.
    is_fine: bool,
}

impl View {
    pub(super) fn new(all: &[Rc<Endpoint>], health: &Health, warmup: Option<Warmup>, now: u64) -> Self {
        // Read before the states: a change in between makes it again.
        let version = health.version();
        let well = || {
            all.iter().filter(|endpoint| health.state(endpoint.place).is_some_and(|state| !state.is_out()))
        };
        let is_panic = health.is_panic(well().count());
        let endpoints: Vec<_> = if is_panic { all.to_vec() } else { well().cloned().collect() };
        let age = |endpoint: &Endpoint| {
            let since = health.state(endpoint.place).map_or(0, |state| state.here_since());
            (since > 0).then(|| now.saturating_sub(since))
        };
        let eased = |endpoint: &Endpoint| {
            let warmup = warmup?;
            let duration = u64::try_from(warmup.duration.get().as_millis()).unwrap_or(u64::MAX);
            age(endpoint).filter(|age| *age < duration).map(|age| (warmup, age, duration))
        };
        let is_fine = endpoints.iter().any(|endpoint| eased(endpoint).is_some());
        let share = |endpoint: &Rc<Endpoint>| match (is_fine, eased(endpoint)) {
            (false, _) => u64::from(endpoint.weight),
            (true, None) => u64::from(endpoint.weight) * FINE,
            (true, Some((warmup, age, duration))) => {
                let part = part(warmup, age, duration) * FINE as f64;
                // Between 1 and FINE.
                u64::from(endpoint.weight) * (part as u64).clamp(1, FINE)
            }
        };
        let mut total = 0u64;
        let sums = endpoints.iter().map(|endpoint| {
            total = total.saturating_add(share(endpoint));
            total
        });
        let sums = sums.collect();
        let step = warmup.map_or(u64::MAX, |warmup| {
            u64::try_from(warmup.duration.get().as_millis()).unwrap_or(u64::MAX) / STEPS
        });
        let until = if is_fine { now.saturating_add(step.max(1)) } else { u64::MAX };
        Self { endpoints, sums, version, until, is_panic, is_fine }
    }

    /// Whether requests may go to an endpoint now.
    pub(super) fn has(&self, endpoint: &Endpoint) -> bool {
        self.is_panic || !endpoint.health.state(endpoint.place).is_some_and(|state| state.is_out())
    }

    /// The place of the endpoint that a point falls on, each as wide as its share.
    pub(super) fn by_share(&self, point: u64) -> Option<usize> {
        let point = point.checked_rem(*self.sums.last()?)?;
        Some(self.sums.partition_point(|sum| *sum <= point))
    }

    /// The place of the endpoint whose turn it is.
    pub(super) fn by_turn(&self, turn: u64) -> Option<usize> {
        // Multiples of the golden ratio spread evenly over any range; plain turns would stay with one for a long time.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        if self.is_fine {
            let point = u128::from(turn.wrapping_mul(GOLDEN)) * u128::from(*self.sums.last()?);
            return self.by_share(u64::try_from(point >> 64).unwrap_or(0));
        }
        self.by_share(turn)
    }

    /// The share of the endpoint in a place.
    pub(super) fn share(&self, place: usize) -> u64 {
        let before = place.checked_sub(1).and_then(|before| self.sums.get(before)).copied().unwrap_or(0);
        self.sums.get(place).map_or(1, |sum| sum - before).max(1)
    }
}

/// Which part of its share an endpoint of that age gets.
fn part(warmup: Warmup, age: u64, duration: u64) -> f64 {
    let aggression = f64::from(warmup.aggression_thousandths.max(1)) / 1000.0;
    let grown = (age as f64 / duration.max(1) as f64).powf(1.0 / aggression);
    grown.max(f64::from(warmup.minimum_percent) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use weft_bundle::duration::DurationText;

    #[test]
    fn a_share_grows_from_its_minimum_evenly_or_faster() {
        let warmup = |minimum_percent, aggression_thousandths| Warmup {
            duration: DurationText::new(Duration::from_secs(10)),
            minimum_percent,
            aggression_thousandths,
        };
        let percent = |warmup, age| (part(warmup, age, 10_000) * 100.0).round() as u32;
        let even = [0, 1000, 2500, 5000, 10_000].map(|age| percent(warmup(10, 1000), age));
        assert_eq!(even, [10, 10, 25, 50, 100]);
        let fast = [0, 1000, 2500, 5000, 10_000].map(|age| percent(warmup(0, 2000), age));
        assert_eq!(fast, [0, 32, 50, 71, 100]);
    }
}
