//! Which endpoint gets a request.
//!
//! Two are drawn at random, by weight, and the less loaded one wins: for `peak-ewma` load is a moving average of latency,
//! sensitive to peaks, times the requests in flight (linkerd2-proxy, Finagle); for `least-request` the requests in
//! flight alone. Before that one group of near endpoints is drawn ([`super::tiers`]). Pure over what it is told: the clock and
//! the draws are arguments.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use weft_bundle::body::LoadBalancer;
use weft_bundle::engine::mix;

use super::outliers::Outcome;
use super::view::{Group, View};
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
        self.endpoint.health.report(&self.endpoint.state, Outcome::Answered(status), now);
    }

    /// Notes that nothing came.
    pub(crate) fn failed(&self, outcome: Outcome, now: Instant) {
        self.endpoint.load.observe(PENALTY, now);
        self.endpoint.health.report(&self.endpoint.state, outcome, now);
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
        let is_tried = |endpoint: &Rc<Endpoint>| tried.iter().any(|other| Rc::ptr_eq(other, endpoint));
        let mut endpoint = self.choose(&view, now, draw)?;
        for _ in 0..REDRAWS {
            if !is_tried(endpoint) {
                return Some(Pending::on(endpoint));
            }
            endpoint = self.choose(&view, now, draw)?;
        }
        if is_tried(endpoint) {
            // The group may be small: then one that is farther away will do.
            let mut of_groups = view.groups().iter().filter_map(|group| self.choose_in(group, now, draw));
            endpoint = of_groups.find(|endpoint| !is_tried(endpoint)).unwrap_or(endpoint);
        }
        Some(Pending::on(endpoint))
    }

    fn by_id<'v>(&self, view: &'v View, id: u64, tried: &[Rc<Endpoint>]) -> Option<&'v Rc<Endpoint>> {
        let place = view.endpoints.iter().position(|endpoint| endpoint.id == id)?;
        if view.has(place) && tried.is_empty() { view.endpoints.get(place) } else { None }
    }

    fn by_hash<'v>(&self, view: &'v View, hash: u64, tried: &[Rc<Endpoint>]) -> Option<&'v Rc<Endpoint>> {
        let table = view.set.table.as_ref()?;
        let group = view.by_share(mix(hash))?;
        let endpoint = |place: usize| view.endpoints.get(place);
        let is_new = |place: usize| {
            endpoint(place).is_some_and(|one| !tried.iter().any(|other| Rc::ptr_eq(one, other)))
        };
        let has_hash =
            |place: usize| endpoint(place).is_some_and(|one| view.has_hash(place, mix(hash ^ one.id)));
        let place = table
            .pick(hash, |place| view.is_in(place, group) && is_new(place) && has_hash(place))
            .or_else(|| table.pick(hash, |place| view.is_in(place, group) && is_new(place)))
            .or_else(|| table.pick(hash, |place| view.has(place) && is_new(place)))
            .or_else(|| table.pick(hash, |place| view.has(place)));
        endpoint(place?)
    }

    fn choose<'v>(
        &self,
        view: &'v View,
        now: Instant,
        draw: &mut impl FnMut() -> u64,
    ) -> Option<&'v Rc<Endpoint>> {
        let group = match view.groups() {
            [only] => only,
            groups => groups.get(view.by_share(draw())?)?,
        };
        self.choose_in(group, now, draw)
    }

    fn choose_in<'v>(
        &self,
        group: &'v Group,
        now: Instant,
        draw: &mut impl FnMut() -> u64,
    ) -> Option<&'v Rc<Endpoint>> {
        if let [only] = group.endpoints.as_slice() {
            return Some(only);
        }
        let place = match self.spec.load_balancer {
            // Without a hash.
            LoadBalancer::Random | LoadBalancer::RingHash | LoadBalancer::Maglev => group.by_share(draw()),
            LoadBalancer::RoundRobin => group.by_turn(),
            LoadBalancer::PeakEwma => {
                better(group, draw, |e, _| e.load.latency(now) * f64::from(e.load.pending.get() + 1))
            }
            LoadBalancer::LeastRequest => {
                // Shares have far fewer than 52 bits.
                better(group, draw, |e, share| f64::from(e.load.pending.get() + 1) / share as f64)
            }
        };
        group.endpoints.get(place?)
    }
}

/// The place of the better of two that differ.
fn better(
    group: &Group,
    draw: &mut impl FnMut() -> u64,
    load: impl Fn(&Endpoint, u64) -> f64,
) -> Option<usize> {
    let first = group.by_share(draw())?;
    let mut second = group.by_share(draw())?;
    for _ in 0..REDRAWS {
        if first != second {
            break;
        }
        second = group.by_share(draw())?;
    }
    let load = |place: usize| Some(load(group.endpoints.get(place)?, group.share(place)));
    Some(if load(second)? < load(first)? { second } else { first })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::members::EndpointSpec;
    use crate::cluster::place::Here;
    use crate::cluster::tests::{cluster, of};
    use weft_bundle::body::Locality;

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
        let tried = [Rc::clone(&cluster.endpoints()[0])];
        let pick =
            cluster.pick(Wish::default(), &tried, Instant::now(), &mut || draws.next().unwrap()).unwrap();
        assert_eq!(pick.endpoint().address, cluster.endpoints()[1].address);
        assert!(
            super::super::tests::cluster(LoadBalancer::Random, &[])
                .pick(Wish::default(), &[], Instant::now(), &mut || 0)
                .is_none()
        );
    }

    /// Endpoints on ports counted from 1, each at a place.
    fn at(load_balancer: LoadBalancer, places: &[&str]) -> Cluster {
        let endpoint = |(port, place): (u16, &&str)| {
            let json =
                serde_json::json!({"address": "127.0.0.1", "port": port, "weight": 1, "locality": place});
            EndpointSpec::from(&serde_json::from_value::<weft_bundle::body::Endpoint>(json).unwrap())
        };
        let endpoints = (1..).zip(places).map(endpoint).collect();
        let here = Here { place: "eu/a".parse().ok(), ..Here::default() };
        of(load_balancer, endpoints, Some(Locality::default()), here)
    }

    /// How many of a thousand requests each port gets.
    fn spread(cluster: &Cluster) -> Vec<usize> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut counts = vec![0; cluster.endpoints().len()];
        for _ in 0..1000 {
            let wish =
                Wish { hash: cluster.spec.load_balancer.hashes().then(|| random.u64(..)), endpoint: None };
            let pick = cluster.pick(wish, &[], Instant::now(), &mut || random.u64(..)).unwrap();
            counts[usize::from(pick.endpoint().address.port()) - 1] += 1;
        }
        counts
    }

    const BALANCERS: [LoadBalancer; 6] = [
        LoadBalancer::PeakEwma,
        LoadBalancer::LeastRequest,
        LoadBalancer::RoundRobin,
        LoadBalancer::Random,
        LoadBalancer::RingHash,
        LoadBalancer::Maglev,
    ];

    #[test]
    fn with_every_balancer_the_nearest_come_first_and_the_next_stand_in() {
        for balancer in BALANCERS {
            let cluster = at(balancer, &["us", "eu/a", "eu/b", "eu/a", "eu/b"]);
            let near = spread(&cluster);
            assert_eq!([near[0], near[2], near[4]], [0; 3], "{balancer:?}");
            assert!(near[1] > 400 && near[3] > 400, "{balancer:?}: {near:?}");
            let unwell = |port: u16, is_well| {
                let all = cluster.endpoints();
                let endpoint = all.iter().find(|endpoint| endpoint.address.port() == port).unwrap();
                cluster.spec.health().judge(&endpoint.state, is_well);
            };
            // Half of the nearest can take seven of ten.
            unwell(4, false);
            let spilled = spread(&cluster);
            assert_eq!([spilled[0], spilled[3]], [0; 2], "{balancer:?}");
            assert!((650..750).contains(&spilled[1]), "{balancer:?}: {spilled:?}");
            unwell(2, false);
            let next = spread(&cluster);
            assert_eq!([next[0], next[1], next[3]], [0; 3], "{balancer:?}");
            unwell(3, false);
            unwell(5, false);
            assert_eq!(spread(&cluster)[0], 1000, "{balancer:?}");
            unwell(2, true);
            unwell(4, true);
            assert_eq!(spread(&cluster), near, "{balancer:?}: all come back");
        }
    }

    #[test]
    fn another_try_goes_farther_when_the_nearest_was_tried() {
        let cluster = at(LoadBalancer::RoundRobin, &["eu/a", "us"]);
        let tried = [Rc::clone(&cluster.endpoints()[0])];
        let pick = cluster.pick(Wish::default(), &tried, Instant::now(), &mut || 0).unwrap();
        assert_eq!(pick.endpoint().address.port(), 2);
        drop(pick);
        let all = cluster.endpoints();
        let pick = cluster.pick(Wish::default(), &all, Instant::now(), &mut || 0).unwrap();
        assert_eq!(pick.endpoint().address.port(), 1, "all were tried");
    }
}
