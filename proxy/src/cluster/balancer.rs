//! Which endpoint gets a request.
//!
//! Two are drawn at random, by weight, and the less loaded one wins: for `peak-ewma` load is a moving average of latency,
//! sensitive to peaks, times the requests in flight (linkerd2-proxy, Finagle); for `least-request` the requests in
//! flight alone. Pure over what it is told: the clock and the draws are arguments.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use weft_bundle::body::LoadBalancer;

use super::{Cluster, Endpoint};

/// What an endpoint is taken to need before anything was measured.
const DEFAULT_RTT: Duration = Duration::from_millis(30);

/// How fast what was measured is forgotten.
const DECAY: Duration = Duration::from_secs(10);

/// What a refusal or failure counts as: quick errors must not look attractive (linkerd2-proxy, load biaser).
const PENALTY: Duration = Duration::from_secs(5);

/// How often another endpoint is drawn when one was tried already.
const REDRAWS: usize = 5;

/// Load of one endpoint, as this worker sees it.
#[derive(Debug)]
pub(super) struct Load {
    pending: Cell<u32>,
    /// Moving average of latency in nanoseconds, and when it was updated.
    average: Cell<(f64, Instant)>,
}

impl Load {
    pub(super) fn new(now: Instant) -> Self {
        Self { pending: Cell::new(0), average: Cell::new((nanos(DEFAULT_RTT), now)) }
    }

    /// A value above the average replaces it; one below pulls it down, the more the longer ago the last one was.
    fn observe(&self, rtt: Duration, now: Instant) {
        let (average, updated) = self.average.get();
        let rtt = nanos(rtt);
        let new = if rtt >= average {
            rtt
        } else {
            let kept = (-nanos(now.saturating_duration_since(updated)) / nanos(DECAY)).exp();
            average * kept + rtt * (1.0 - kept)
        };
        self.average.set((new, now));
    }

    /// The average, drifting back to the default where nothing was measured for long, so that a slow endpoint is tried
    /// again.
    fn latency(&self, now: Instant) -> f64 {
        let (average, updated) = self.average.get();
        let kept = (-nanos(now.saturating_duration_since(updated)) / nanos(DECAY)).exp();
        nanos(DEFAULT_RTT) + (average - nanos(DEFAULT_RTT)) * kept
    }
}

fn nanos(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

/// One request on an endpoint; counts as its load while it lives.
#[derive(Debug)]
pub(crate) struct Pending(Rc<Endpoint>);

impl Pending {
    pub(crate) fn endpoint(&self) -> &Rc<Endpoint> {
        &self.0
    }

    /// Notes the time from sending to a response's head.
    pub(crate) fn answered(&self, rtt: Duration, now: Instant, status: http::StatusCode) {
        let busy = status == http::StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        self.0.load.observe(if busy { rtt.max(PENALTY) } else { rtt }, now);
    }

    /// Notes that nothing came.
    pub(crate) fn failed(&self, now: Instant) {
        self.0.load.observe(PENALTY, now);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.load.pending.set(self.0.load.pending.get().saturating_sub(1));
    }
}

impl Cluster {
    /// Chooses an endpoint, if there is one; not one of `tried` if others can be had.
    pub(crate) fn pick(
        &self,
        tried: &[Rc<Endpoint>],
        now: Instant,
        draw: &mut impl FnMut() -> u64,
    ) -> Option<Pending> {
        let mut endpoint = self.choose(now, draw)?;
        for _ in 0..REDRAWS {
            if !tried.iter().any(|other| Rc::ptr_eq(other, endpoint)) {
                break;
            }
            endpoint = self.choose(now, draw)?;
        }
        endpoint.load.pending.set(endpoint.load.pending.get() + 1);
        Some(Pending(Rc::clone(endpoint)))
    }

    fn choose(&self, now: Instant, draw: &mut impl FnMut() -> u64) -> Option<&Rc<Endpoint>> {
        if let [only] = self.endpoints.as_slice() {
            return Some(only);
        }
        match self.spec.load_balancer {
            // A body that asks for a hash is refused before it comes here.
            LoadBalancer::Random | LoadBalancer::RingHash | LoadBalancer::Maglev => self.by_weight(draw()),
            LoadBalancer::RoundRobin => {
                let turn = self.turn.get();
                self.turn.set(turn.wrapping_add(1));
                self.by_weight(turn)
            }
            LoadBalancer::PeakEwma => {
                self.better(draw, |e| e.load.latency(now) * f64::from(e.load.pending.get() + 1))
            }
            LoadBalancer::LeastRequest => {
                self.better(draw, |e| f64::from(e.load.pending.get() + 1) / f64::from(e.weight))
            }
        }
    }

    /// The better of two that differ.
    fn better(
        &self,
        draw: &mut impl FnMut() -> u64,
        load: impl Fn(&Endpoint) -> f64,
    ) -> Option<&Rc<Endpoint>> {
        let first = self.by_weight(draw())?;
        let mut second = self.by_weight(draw())?;
        for _ in 0..REDRAWS {
            if !Rc::ptr_eq(first, second) {
                break;
            }
            second = self.by_weight(draw())?;
        }
        Some(if load(second) < load(first) { second } else { first })
    }

    /// The endpoint that a point falls on, each as wide as its weight.
    fn by_weight(&self, point: u64) -> Option<&Rc<Endpoint>> {
        let point = point.checked_rem(*self.sums.last()?)?;
        self.endpoints.get(self.sums.partition_point(|sum| *sum <= point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::cluster;

    #[test]
    fn weights_share_out_and_turns_go_round() {
        let cluster = cluster(LoadBalancer::RoundRobin, &[1, 3]);
        let mut counts = [0; 2];
        for _ in 0..400 {
            let pick = cluster.pick(&[], Instant::now(), &mut || 0).unwrap();
            counts[usize::from(pick.endpoint().address.port()) - 1] += 1;
        }
        assert_eq!(counts, [100, 300]);
    }

    #[test]
    fn fewer_requests_in_flight_win() {
        let cluster = cluster(LoadBalancer::LeastRequest, &[1, 1]);
        let now = Instant::now();
        let mut draws = [0, 1].into_iter().cycle();
        let mut draw = || draws.next().unwrap();
        let first = cluster.pick(&[], now, &mut draw).unwrap();
        let second = cluster.pick(&[], now, &mut draw).unwrap();
        assert_ne!(first.endpoint().address, second.endpoint().address);
        let kept = second.endpoint().address;
        drop(second);
        assert_eq!(cluster.pick(&[], now, &mut draw).unwrap().endpoint().address, kept);
    }

    #[test]
    fn slow_and_failing_endpoints_are_shunned_until_forgotten() {
        let cluster = cluster(LoadBalancer::PeakEwma, &[1, 1]);
        let now = Instant::now();
        let mut draws = [0, 1].into_iter().cycle();
        let mut draw = || draws.next().unwrap();
        let first = cluster.pick(&[], now, &mut draw).unwrap();
        let bad = Rc::clone(first.endpoint());
        first.answered(Duration::from_millis(1), now, http::StatusCode::SERVICE_UNAVAILABLE);
        drop(first);
        for _ in 0..10 {
            assert!(!Rc::ptr_eq(cluster.pick(&[], now, &mut draw).unwrap().endpoint(), &bad));
        }
        let good = cluster.pick(&[], now, &mut draw).unwrap();
        let later = now + Duration::from_secs(120);
        let next = cluster.pick(&[], later, &mut draw).unwrap();
        assert!(Rc::ptr_eq(next.endpoint(), &bad), "one in flight there, none here");
        drop(good);
    }

    #[test]
    fn another_endpoint_is_preferred_for_another_try() {
        let cluster = cluster(LoadBalancer::Random, &[1, 1]);
        let mut draws = [0, 0, 0, 1].into_iter().cycle();
        let tried = [Rc::clone(&cluster.endpoints[0])];
        let pick = cluster.pick(&tried, Instant::now(), &mut || draws.next().unwrap()).unwrap();
        assert_eq!(pick.endpoint().address, cluster.endpoints[1].address);
        assert!(
            super::super::tests::cluster(LoadBalancer::Random, &[])
                .pick(&[], Instant::now(), &mut || 0)
                .is_none()
        );
    }
}
