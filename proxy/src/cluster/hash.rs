//! Which endpoint a hash means: a ring, or a Maglev table. Both change little when endpoints come and go.
//!
//! * *Ring* (Karger et al. 1997; ketama): each endpoint has points on a circle, as many as its weight is worth; a hash means
//!   the endpoint of the next point.
//! * *Maglev* (Eisenbud et al., NSDI 2016): a table that endpoints fill in turns, each in an order of its own; a hash means
//!   its place. More even, one look, and a little more change.
//!
//! An endpoint that is left out keeps its places, so that its keys come back to it; meanwhile the next points, or other
//! places by further hashes, stand in. A new one that is eased in has a part of its hashes, the same ones each time, and more as
//! it grows. Tables are made when endpoints change, and shared by all workers.

use weft_bundle::body::LoadBalancer;
use weft_bundle::engine::{mix, stable_hash};

use super::members::EndpointSpec;

/// The fewest points of a ring, where policy does not say (Envoy, `minimum_ring_size`).
const RING: usize = 1024;

/// The size of a Maglev table, where policy does not say (Envoy, `table_size`). A prime number.
const MAGLEV: usize = 65_537;

/// The most entries of either.
const LARGEST: usize = 1 << 23;
const MOST_POINTS: u64 = 1 << 23;

/// The points that a ring may have for the sake of its keys, where policy does not ask for more.
const POINTS: u64 = 1 << 18;

/// How many other places are looked at before any endpoint will do.
const PROBES: usize = 64;

/// See the module. Endpoints are named by their place in the spec.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Sorted by hash.
    Ring(Vec<(u64, u32)>),
    /// Its length is a prime number.
    Maglev(Vec<u32>),
}

impl Table {
    /// For a balancer that hashes, if there is an endpoint.
    pub(crate) fn new(balancer: LoadBalancer, size: Option<u32>, endpoints: &[EndpointSpec]) -> Option<Self> {
        let size = |default: usize| {
            let size = size.map_or(default, |size| usize::try_from(size).unwrap_or(usize::MAX));
            size.max(endpoints.len()).min(LARGEST)
        };
        match balancer {
            _ if endpoints.is_empty() => None,
            LoadBalancer::RingHash => Some(Self::Ring(ring(size(RING), endpoints))),
            LoadBalancer::Maglev => Some(Self::Maglev(maglev(next_prime(size(MAGLEV)), endpoints))),
            LoadBalancer::PeakEwma
            | LoadBalancer::LeastRequest
            | LoadBalancer::RoundRobin
            | LoadBalancer::Random => None,
        }
    }

    /// The endpoint that a hash means, of those that will do.
    pub(super) fn pick(&self, hash: u64, will_do: impl Fn(usize) -> bool) -> Option<usize> {
        let place = |entry: u32| usize::try_from(entry).ok().filter(|place| will_do(*place));
        match self {
            Self::Ring(points) => {
                let next = points.partition_point(|(point, _)| *point < hash);
                let (before, after) = points.split_at_checked(next)?;
                after.iter().chain(before).find_map(|(_, entry)| place(*entry))
            }
            Self::Maglev(entries) => {
                let length = u64::try_from(entries.len()).ok()?;
                let at = |hash: u64| usize::try_from(hash.checked_rem(length)?).ok();
                let probes = std::iter::successors(Some(hash), |hash| Some(mix(*hash))).take(PROBES);
                let found = probes.filter_map(at).find_map(|at| place(*entries.get(at)?));
                found.or_else(|| {
                    let (before, after) = entries.split_at_checked(at(hash)?)?;
                    after.iter().chain(before).find_map(|entry| place(*entry))
                })
            }
        }
    }
}

/// One unit of weight is worth a power of two of points, which does not depend on how many endpoints there are unless they
/// are hundreds, and then only steps when their number doubles: so when an endpoint comes or goes only its own keys move.
fn ring(size: usize, endpoints: &[EndpointSpec]) -> Vec<(u64, u32)> {
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    let unit = endpoints.iter().map(weight).fold(0, greatest_common_divisor).max(1);
    let total = endpoints.iter().map(|endpoint| weight(endpoint) / unit).sum::<u64>().max(1);
    let needed = size.div_ceil(total).next_power_of_two();
    let affordable = 1 << (POINTS / total).max(1).ilog2();
    let worth = needed.max(affordable.min(size.next_power_of_two() / 2));
    let points_of = |endpoint: &EndpointSpec| match weight(endpoint) / unit {
        weight if total.saturating_mul(worth) <= MOST_POINTS => weight * worth,
        weight => (weight.saturating_mul(MOST_POINTS) / total).max(1),
    };
    let mut points = Vec::new();
    for (entry, endpoint) in (0..).zip(endpoints) {
        let name = endpoint.address.to_string();
        let hash = |n: u64| stable_hash(&[name.as_bytes(), &n.to_le_bytes()]);
        points.extend((0..points_of(endpoint)).map(|n| (hash(n), entry)));
    }
    points.sort_unstable();
    points
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn weight(endpoint: &EndpointSpec) -> u64 {
    u64::from(endpoint.weight.max(1))
}

/// Endpoints take turns; in each round one takes a place for every so often that its weight is worth.
fn maglev(size: usize, endpoints: &[EndpointSpec]) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    struct Taker {
        entry: u32,
        place: usize,
        skip: usize,
        /// Its weight, and what of it was not used yet.
        weight: u64,
        left: u64,
    }
    let heaviest = endpoints.iter().map(weight).max().unwrap_or(1);
    let length = u64::try_from(size).unwrap_or(u64::MAX);
    let within = |hash: u64, length: u64| usize::try_from(hash.checked_rem(length).unwrap_or(0)).unwrap_or(0);
    let mut takers: Vec<Taker> = (0..)
        .zip(endpoints)
        .map(|(entry, endpoint)| {
            let name = endpoint.address.to_string();
            let place = within(stable_hash(&[b"offset", name.as_bytes()]), length);
            let skip = within(stable_hash(&[b"skip", name.as_bytes()]), length - 1) + 1;
            Taker { entry, place, skip, weight: weight(endpoint), left: 0 }
        })
        .collect();
    let mut entries = vec![FREE; size];
    let mut free = size;
    while free > 0 {
        for taker in &mut takers {
            taker.left += taker.weight;
            if taker.left < heaviest || free == 0 {
                continue;
            }
            taker.left -= heaviest;
            // The length is prime, so the steps lead to every place.
            while entries.get(taker.place).is_some_and(|entry| *entry != FREE) {
                taker.place = (taker.place + taker.skip) % size;
            }
            if let Some(entry) = entries.get_mut(taker.place) {
                *entry = taker.entry;
            }
            free -= 1;
        }
    }
    entries
}

fn next_prime(from: usize) -> usize {
    let is_prime = |n: usize| (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    (from.max(3)..).find(|n| is_prime(*n)).unwrap_or(MAGLEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(weights: &[(u16, u32)]) -> Vec<EndpointSpec> {
        let endpoint =
            |&(port, weight): &(u16, u32)| EndpointSpec::fixed(([127, 0, 0, 1], port).into(), weight);
        weights.iter().map(endpoint).collect()
    }

    /// The port that each of ten thousand keys goes to.
    fn spread(balancer: LoadBalancer, weights: &[(u16, u32)], out: &[u16]) -> Vec<u16> {
        let endpoints = endpoints(weights);
        let table = Table::new(balancer, None, &endpoints).unwrap();
        let port = |place: usize| endpoints[place].address.port();
        let pick =
            |key: u32| table.pick(stable_hash(&[&key.to_le_bytes()]), |place| !out.contains(&port(place)));
        (0..10_000).map(|key| port(pick(key).unwrap())).collect()
    }

    fn share(spread: &[u16], port: u16) -> usize {
        spread.iter().filter(|other| **other == port).count()
    }

    #[test]
    fn shares_follow_weights() {
        for (balancer, slack) in [(LoadBalancer::RingHash, 450), (LoadBalancer::Maglev, 200)] {
            let spread = spread(balancer, &[(1, 1), (2, 1), (3, 2)], &[]);
            for (port, expected) in [(1, 2500), (2, 2500), (3, 5000)] {
                let share = share(&spread, port);
                assert!(share.abs_diff(expected) <= slack, "{balancer:?}: {share} for {port}");
            }
        }
    }

    #[test]
    fn little_changes_when_one_goes_and_nothing_for_those_that_stay() {
        for balancer in [LoadBalancer::RingHash, LoadBalancer::Maglev] {
            let all: Vec<_> = (1..=10).map(|port| (port, 1)).collect();
            let before = spread(balancer, &all, &[]);
            // Left out: only its keys move.
            let out = spread(balancer, &all, &[4]);
            assert!(before.iter().zip(&out).all(|(before, after)| before == after || *before == 4));
            assert_eq!(share(&out, 4), 0);
            // They do not all go to one.
            assert!((1..=10).all(|port| share(&out, port) < share(&before, port) + 500));
            // Gone: a few more may move with Maglev.
            let fewer: Vec<_> = all.iter().copied().filter(|(port, _)| *port != 4).collect();
            let after = spread(balancer, &fewer, &[]);
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            assert!(moved <= share(&before, 4) + 500, "{balancer:?}: {moved}");
        }
    }

    #[test]
    fn a_table_is_full_and_a_lone_endpoint_will_do() {
        let one = endpoints(&[(1, 7)]);
        for balancer in [LoadBalancer::RingHash, LoadBalancer::Maglev] {
            for size in [None, Some(1), Some(1000)] {
                let table = Table::new(balancer, size, &one).unwrap();
                assert_eq!(table.pick(u64::MAX, |_| true), Some(0));
                assert_eq!(table.pick(0, |_| false), None);
            }
            assert_eq!(Table::new(balancer, None, &[]), None);
        }
        assert_eq!([next_prime(0), next_prime(1000), next_prime(65_537)], [3, 1009, 65_537]);
    }
}
