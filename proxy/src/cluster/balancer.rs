//! Which endpoint gets a request.
//!
//! Two are drawn at random, by weight, and the less loaded one wins: for `peak-ewma` load is a moving average of latency,
//! sensitive to peaks, times the requests in flight (linkerd2-proxy, Finagle); for `least-request` the requests in
//! flight alone. Pure over what it is told: the clock and the draws are arguments.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use weft_bundle::body::LoadBalancer;

use super::outliers::{Outcome, millis};
use super::view::View;
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

/// Where a request would like to go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    /// The endpoint that its session is with.
    pub(crate) endpoint: Option<u64>,
    /// What its key hashes to, for a balancer that hashes.
    pub(crate) hash: Option<u64>,
}

/// One request on an endpoint; counts as its load while it lives.
#[derive(Debug)]
pub(crate) struct Pending {
    endpoint: Rc<Endpoint>,
    /// Whether it waits for others to be done with their connections, for which the endpoint is not to blame.
    in_line: Cell<bool>,
}

impl Pending {
    fn on(endpoint: &Rc<Endpoint>) -> Self {
        endpoint.load.pending.set(endpoint.load.pending.get() + 1);
        Self { endpoint: Rc::clone(endpoint), in_line: Cell::new(false) }
    }

    pub(crate) fn endpoint(&self) -> &Rc<Endpoint> {
        &self.endpoint
    }

    /// Notes the time from sending to a response's head, and its status, which may be one that a gRPC status stands for.
    pub(crate) fn answered(&self, rtt: Duration, now: Instant, status: u16) {
        let busy = status == 429 || status >= 500;
        self.endpoint.load.observe(if busy { rtt.max(PENALTY) } else { rtt }, now);
        self.endpoint.health.report(self.endpoint.place, Outcome::Answered(status), now);
    }

    /// Notes that nothing came.
    pub(crate) fn failed(&self, outcome: Outcome, now: Instant) {
        self.endpoint.load.observe(PENALTY, now);
        self.endpoint.health.report(self.endpoint.place, outcome, now);
    }

    /// Notes that nothing came in time.
    pub(crate) fn timed_out(&self, now: Instant) {
        if !self.in_line.get() {
            self.failed(Outcome::NoAnswer, now);
        }
    }

    pub(super) fn stands_in_line(&self, in_line: bool) {
        self.in_line.set(in_line);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let pending = &self.endpoint.load.pending;
        pending.set(pending.get().saturating_sub(1));
    }
}

impl Cluster {
    /// Chooses an endpoint, if there is one that is well; not one of `tried` if others can be had. A request with a wish has
    /// it; one without goes anywhere.
    pub(crate) fn pick(
        &self,
        wish: Wish,
        tried: &[Rc<Endpoint>],
        now: Instant,
        draw: &mut impl FnMut() -> u64,
    ) -> Option<Pending> {
        self.refresh(now);
        let view = self.view.borrow();
        let home = wish.endpoint.and_then(|id| self.by_id(&view, id, tried));
        let wished = home.or_else(|| self.by_hash(&view, wish.hash?, tried));
        if let Some(endpoint) = wished {
            return Some(Pending::on(endpoint));
        }
        let mut endpoint = self.choose(&view, now, draw)?;
        for _ in 0..REDRAWS {
            if !tried.iter().any(|other| Rc::ptr_eq(other, endpoint)) {
                break;
            }
            endpoint = self.choose(&view, now, draw)?;
        }
        Some(Pending::on(endpoint))
    }

    fn by_id(&self, view: &View, id: u64, tried: &[Rc<Endpoint>]) -> Option<&Rc<Endpoint>> {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.id == id)?;
        (view.has(endpoint) && tried.is_empty()).then_some(endpoint)
    }

    fn by_hash(&self, view: &View, hash: u64, tried: &[Rc<Endpoint>]) -> Option<&Rc<Endpoint>> {
        let table = self.spec.table.as_ref()?;
        let is_well = |place: usize| self.endpoints.get(place).is_some_and(|endpoint| view.has(endpoint));
        let is_new = |place: usize| !tried.iter().any(|tried| tried.place == place);
        let place = table.pick(hash, |place| is_well(place) && is_new(place));
        self.endpoints.get(place.or_else(|| table.pick(hash, is_well))?)
    }

    /// Makes the view again if it is not true any more.
    fn refresh(&self, now: Instant) {
        let health = &self.spec.health;
        health.look(now);
        let now = millis(now);
        let mut view = self.view.borrow_mut();
        if view.version != health.version() || view.until <= now {
            *view = View::new(&self.endpoints, health, self.spec.warmup, now);
        }
    }

    fn choose<'v>(
        &self,
        view: &'v View,
        now: Instant,
        draw: &mut impl FnMut() -> u64,
    ) -> Option<&'v Rc<Endpoint>> {
        if let [only] = view.endpoints.as_slice() {
            return Some(only);
        }
        let place = match self.spec.load_balancer {
            // Without a hash.
            LoadBalancer::Random | LoadBalancer::RingHash | LoadBalancer::Maglev => view.by_share(draw()),
            LoadBalancer::RoundRobin => {
                let turn = self.turn.get();
                self.turn.set(turn.wrapping_add(1));
                view.by_turn(turn)
            }
            LoadBalancer::PeakEwma => {
                better(view, draw, |e, _| e.load.latency(now) * f64::from(e.load.pending.get() + 1))
            }
            LoadBalancer::LeastRequest => {
                // Shares have far fewer than 52 bits.
                better(view, draw, |e, share| f64::from(e.load.pending.get() + 1) / share as f64)
            }
        };
        view.endpoints.get(place?)
    }
}

/// The place of the better of two that differ.
fn better(
    view: &View,
    draw: &mut impl FnMut() -> u64,
    load: impl Fn(&Endpoint, u64) -> f64,
) -> Option<usize> {
    let first = view.by_share(draw())?;
    let mut second = view.by_share(draw())?;
    for _ in 0..REDRAWS {
        if first != second {
            break;
        }
        second = view.by_share(draw())?;
    }
    let load = |place: usize| Some(load(view.endpoints.get(place)?, view.share(place)));
    Some(if load(second)? < load(first)? { second } else { first })
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
            let pick = cluster.pick(Wish::default(), &[], Instant::now(), &mut || 0).unwrap();
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
        let first = cluster.pick(Wish::default(), &[], now, &mut draw).unwrap();
        let second = cluster.pick(Wish::default(), &[], now, &mut draw).unwrap();
        assert_ne!(first.endpoint().address, second.endpoint().address);
        let kept = second.endpoint().address;
        drop(second);
        assert_eq!(cluster.pick(Wish::default(), &[], now, &mut draw).unwrap().endpoint().address, kept);
    }

    #[test]
    fn slow_and_failing_endpoints_are_shunned_until_forgotten() {
        let cluster = cluster(LoadBalancer::PeakEwma, &[1, 1]);
        let now = Instant::now();
        let mut draws = [0, 1].into_iter().cycle();
        let mut draw = || draws.next().unwrap();
        let first = cluster.pick(Wish::default(), &[], now, &mut draw).unwrap();
        let bad = Rc::clone(first.endpoint());
        first.answered(Duration::from_millis(1), now, 503);
        drop(first);
        for _ in 0..10 {
            assert!(!Rc::ptr_eq(
                cluster.pick(Wish::default(), &[], now, &mut draw).unwrap().endpoint(),
                &bad
            ));
        }
        let good = cluster.pick(Wish::default(), &[], now, &mut draw).unwrap();
        let later = now + Duration::from_secs(120);
        let next = cluster.pick(Wish::default(), &[], later, &mut draw).unwrap();
        assert!(Rc::ptr_eq(next.endpoint(), &bad), "one in flight there, none here");
        drop(good);
    }

    #[test]
    fn another_endpoint_is_preferred_for_another_try() {
        let cluster = cluster(LoadBalancer::Random, &[1, 1]);
        let mut draws = [0, 0, 0, 1].into_iter().cycle();
        let tried = [Rc::clone(&cluster.endpoints[0])];
        let pick =
            cluster.pick(Wish::default(), &tried, Instant::now(), &mut || draws.next().unwrap()).unwrap();
        assert_eq!(pick.endpoint().address, cluster.endpoints[1].address);
        assert!(
            super::super::tests::cluster(LoadBalancer::Random, &[])
                .pick(Wish::default(), &[], Instant::now(), &mut || 0)
                .is_none()
        );
    }
}
