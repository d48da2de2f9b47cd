//! Which endpoints are preferred for being near, and when requests go farther. Pure.
//!
//! Endpoints stand in *tiers*, the nearest first:
//! ```text
//! priority of an SRV record ── labels of ours that it shares, in their order ── its place: ours, our zone, our region,
//!                                                                               the region that stands in, elsewhere
//! ```
//! What policy does not mention makes no difference. Where policy says shares by place for callers from here, all stand in
//! one tier, in *groups* with a share each, and an endpoint that no share is for gets nothing.
//!
//! A tier takes all requests while at least five of seven of its endpoints are well (Envoy's overprovisioning factor of 1.4: the
//! rest has room for that many more). Below, it takes 1.4 times its well share and the next tiers take what is left, in the
//! same way; so requests spill over little by little, and come back so. If all tiers together cannot take everything, what
//! there is is spread over them by what they can take, and a tier with fewer well endpoints than the floor uses all of its
//! own. The shares of groups shrink alike when their endpoints fail.

use std::collections::BTreeMap;

use weft_bundle::body::{Distribution, Locality};

use super::place::{Here, Place, exactness, label};

/// Everything, in parts.
pub(super) const WHOLE: u64 = 10_000;

/// How much more than its own part a well endpoint can take, in per cent (Envoy, `overprovisioning_factor`).
const ROOM: u64 = 140;

/// What is asked of an endpoint to place it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traits {
    /// Smaller is preferred above all else.
    pub(crate) priority: u16,
    pub(crate) place: Option<Place>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Where an endpoint stands: a tier, and a group within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stand {
    pub(crate) tier: usize,
    pub(crate) group: usize,
}

/// Tiers and groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tiers {
    /// By endpoint; none for one that gets nothing.
    pub(super) stands: Vec<Option<Stand>>,
    /// How many tiers there are.
    pub(super) count: usize,
    /// By group: its share, of the shares of all groups of its tier.
    pub(super) shares: Vec<u32>,
}

impl Tiers {
    /// Places endpoints for a proxy that is `here`.
    pub(super) fn new(policy: Option<&Locality>, here: &Here, endpoints: &[Traits]) -> Self {
        let nothing = Locality::default();
        let is_asked = policy.is_some();
        let policy = policy.unwrap_or(&nothing);
        let fits =
            |distribution: &&Distribution| exactness(&distribution.from, here.place.as_ref()).is_some();
        match policy.distribute.iter().find(fits) {
            Some(distribution) => Self::by_share(distribution, endpoints),
            None => {
                let is_plain = !is_asked || !policy.distribute.is_empty();
                let key = |traits: &Traits| match is_plain {
                    true => (traits.priority, 0, 0),
                    false => (traits.priority, misses(policy, here, traits), distance(policy, here, traits)),
                };
                Self::by_key(endpoints.iter().map(|traits| Some((key(traits), 0))).collect(), vec![1])
            }
        }
    }

    fn by_share(distribution: &Distribution, endpoints: &[Traits]) -> Self {
        let shares = distribution.to.values().copied().collect();
        let group = |traits: &Traits| {
            let fitting = distribution.to.iter().enumerate().filter_map(|(group, (pattern, share))| {
                Some((exactness(pattern, traits.place.as_ref())?, group, *share))
            });
            // The most exact; the first of several.
            let (_, group, share) =
                fitting.max_by_key(|(exact, group, _)| (*exact, std::cmp::Reverse(*group)))?;
            (share > 0).then_some(((traits.priority, 0, 0), group))
        };
        Self::by_key(endpoints.iter().map(group).collect(), shares)
    }

    /// Numbers the tiers by their keys.
    fn by_key(keys: Vec<Option<((u16, usize, u8), usize)>>, shares: Vec<u32>) -> Self {
        let mut order: Vec<_> = keys.iter().flatten().map(|(key, _)| *key).collect();
        order.sort_unstable();
        order.dedup();
        let stand = |(key, group): (_, usize)| {
            let tier = order.partition_point(|other| *other < key);
            Stand { tier, group }
        };
        let stands = keys.into_iter().map(|key| key.map(stand)).collect();
        Self { stands, count: order.len(), shares }
    }
}

/// How many of the labels, from the first in which it differs from us, an endpoint lacks.
fn misses(policy: &Locality, here: &Here, traits: &Traits) -> usize {
    let same = |key: &&String| {
        let ours = label(&here.labels, here.place.as_ref(), key);
        ours.is_some() && ours == label(&traits.labels, traits.place.as_ref(), key)
    };
    policy.priority.len() - policy.priority.iter().take_while(same).count()
}

/// How far its place is: as [`Place::distance`], and 4 where another region stands in for ours.
fn distance(policy: &Locality, here: &Here, traits: &Traits) -> u8 {
    let Some(place) = &here.place else { return 0 };
    if !policy.priority.is_empty() && policy.failover.is_empty() {
        return 0;
    }
    match (place.distance(traits.place.as_ref()), policy.failover.get(place.region())) {
        (3, Some(stand_in)) if traits.place.as_ref().is_none_or(|place| place.region() != stand_in) => 4,
        (distance, _) => distance,
    }
}

/// How the endpoints of a tier or group do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) all: usize,
    pub(super) well: usize,
}

impl Standing {
    /// How much of everything it can take, of [`WHOLE`].
    pub(super) fn available(self) -> u64 {
        let [all, well] = [self.all, self.well].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        (WHOLE * ROOM).saturating_mul(well).checked_div(all.saturating_mul(100)).unwrap_or(0).min(WHOLE)
    }

    fn is_under(self, floor_percent: u32) -> bool {
        let floor = usize::try_from(floor_percent).unwrap_or(usize::MAX);
        self.well.saturating_mul(100) < self.all.saturating_mul(floor)
    }
}

/// What a tier takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Its part of all requests; the parts of all tiers come to [`WHOLE`] at most.
    pub(super) part: u64,
    /// Whether it uses endpoints that are not well too.
    pub(super) is_panic: bool,
}

/// What each tier takes, the nearest first. All parts are zero only if no endpoint may be used.
pub(super) fn loads(tiers: &[Standing], floor_percent: u32) -> Vec<Load> {
    let can: Vec<u64> = tiers.iter().map(|tier| tier.available()).collect();
    let total: u64 = can.iter().sum();
    // What is enough needs no panic; a lone tier is held to its floor all the same.
    let may_panic = total < WHOLE || tiers.len() == 1;
    let panics = |tier: &Standing| may_panic && tier.is_under(floor_percent);
    let all_panic = !tiers.is_empty() && tiers.iter().all(panics);
    let endpoints: usize = tiers.iter().map(|tier| tier.all).sum();
    let mut left = WHOLE;
    let part = |(tier, can): (&Standing, &u64)| {
        let part = if all_panic {
            let [own, of] = [tier.all, endpoints].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
            WHOLE.saturating_mul(own).checked_div(of).unwrap_or(0).max(1)
        } else if total < WHOLE {
            (can * WHOLE).checked_div(total).unwrap_or(0)
        } else {
            (*can).min(left)
        };
        left = left.saturating_sub(part);
        Load { part, is_panic: panics(tier) }
    };
    tiers.iter().zip(&can).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn traits(place: &str) -> Traits {
        Traits { place: place.parse().ok(), ..Traits::default() }
    }

    fn here(place: &str) -> Here {
        Here { place: place.parse().ok(), labels: BTreeMap::new() }
    }

    fn locality(json: serde_json::Value) -> Locality {
        serde_json::from_value(json).unwrap()
    }

    /// The tier of each place, or `-`; with shares, its group.
    fn stands(policy: &Locality, from: &str, places: &[&str]) -> String {
        let endpoints: Vec<_> = places.iter().map(|place| traits(place)).collect();
        let tiers = Tiers::new(Some(policy), &here(from), &endpoints);
        let many = tiers.shares.len() > 1;
        let show = |stand: &Option<Stand>| match stand {
            None => "-".to_owned(),
            Some(stand) if many => format!("{}.{}", stand.tier, stand.group),
            Some(stand) => stand.tier.to_string(),
        };
        tiers.stands.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    const PLACES: [&str; 7] = ["eu/a/1", "eu/a/2", "eu/b", "us/a", "ap/a", "eu/a/1", ""];

    #[test]
    fn the_nearer_the_sooner() {
        let plain = Locality::default();
        assert_eq!(stands(&plain, "eu/a/1", &PLACES), "0 1 2 3 3 0 3");
        assert_eq!(stands(&plain, "us/a", &PLACES), "1 1 1 0 1 1 1", "no gaps");
        assert_eq!(stands(&plain, "", &PLACES), "0 0 0 0 0 0 0", "who knows where we are");
        let none = Tiers::new(None, &here("eu/a"), &PLACES.map(traits));
        assert!(none.stands.iter().all(|stand| *stand == Some(Stand { tier: 0, group: 0 })));
        let failover = locality(serde_json::json!({"failover": {"eu": "ap", "us": "eu"}}));
        assert_eq!(stands(&failover, "eu/a/1", &PLACES), "0 1 2 4 3 0 4");
        assert_eq!(stands(&failover, "us/a", &PLACES), "1 1 1 0 2 1 2");
    }

    #[test]
    fn shares_by_place_for_callers_from_here() {
        let shares = serde_json::json!({"distribute": [
            {"from": "eu/a/*", "to": {"eu/*": 70, "eu/b": 10, "us/*": 20, "ap": 0}},
            {"from": "*", "to": {"us": 100}},
        ]});
        let policy = locality(shares);
        // In order: `ap`, `eu/*`, `eu/b`, `us/*`.
        assert_eq!(stands(&policy, "eu/a/1", &PLACES), "0.1 0.1 0.2 0.3 - 0.1 -");
        assert_eq!(stands(&policy, "ap/x", &PLACES), "- - - 0 - - -");
        let only = locality(serde_json::json!({"distribute": [{"from": "eu", "to": {"eu": 100}}]}));
        assert_eq!(
            stands(&only, "us/a", &PLACES),
            "0 0 0 0 0 0 0",
            "callers from elsewhere have no preference"
        );
    }

    #[test]
    fn labels_count_in_their_order() {
        let policy =
            locality(serde_json::json!({"priority": ["topology.kubernetes.io/region", "cell", "version"]}));
        let endpoint = |place: &str, labels: &[(&str, &str)]| Traits {
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..traits(place)
        };
        let endpoints = [
            endpoint("eu/a", &[("cell", "1"), ("version", "2")]),
            endpoint("eu/b", &[("cell", "1")]),
            endpoint("eu/b", &[("version", "2")]),
            endpoint("us/b", &[("cell", "1"), ("version", "2")]),
        ];
        let labels =
            BTreeMap::from([("cell".to_owned(), "1".to_owned()), ("version".to_owned(), "2".to_owned())]);
        let here = Here { place: "eu/a".parse().ok(), labels };
        let tiers = |policy: &Locality| -> Vec<usize> {
            let tiers = Tiers::new(Some(policy), &here, &endpoints);
            tiers.stands.iter().map(|stand| stand.unwrap().tier).collect()
        };
        assert_eq!(tiers(&policy), [0, 1, 2, 3]);
        // With a region that stands in, places count among those with equal labels.
        let both = Locality { failover: [("eu".to_owned(), "us".to_owned())].into(), ..policy.clone() };
        assert_eq!(tiers(&both), [0, 1, 2, 3]);
        let none = Here { place: "eu/a".parse().ok(), labels: BTreeMap::new() };
        let alone = Tiers::new(Some(&policy), &none, &endpoints);
        let alone: Vec<_> = alone.stands.iter().map(|stand| stand.unwrap().tier).collect();
        assert_eq!(alone, [0, 0, 0, 1], "what we do not carry, none shares");
    }

    #[test]
    fn a_better_priority_comes_before_all_else() {
        let policy = Locality::default();
        let of = |priority, place| Traits { priority, ..traits(place) };
        let endpoints = [of(10, "us"), of(20, "eu"), of(10, "eu"), of(20, "us")];
        let tiers = Tiers::new(Some(&policy), &here("eu"), &endpoints);
        let tiers: Vec<_> = tiers.stands.iter().map(|stand| stand.unwrap().tier).collect();
        assert_eq!(tiers, [1, 2, 0, 3]);
    }

    fn parts(tiers: &[(usize, usize)], floor: u32) -> Vec<(u64, bool)> {
        let tiers: Vec<_> = tiers.iter().map(|&(well, all)| Standing { all, well }).collect();
        loads(&tiers, floor).into_iter().map(|load| (load.part / 100, load.is_panic)).collect()
    }

    #[test]
    fn requests_spill_over_little_by_little() {
        let two = |well| parts(&[(well, 10), (10, 10)], 0);
        assert_eq!(two(10), [(100, false), (0, false)]);
        assert_eq!(two(8), [(100, false), (0, false)]);
        assert_eq!(two(7), [(98, false), (2, false)]);
        assert_eq!(two(5), [(70, false), (30, false)]);
        assert_eq!(two(0), [(0, false), (100, false)]);
        assert_eq!(parts(&[(0, 4), (1, 4), (4, 4)], 0), [(0, false), (35, false), (65, false)]);
    }

    #[test]
    fn a_floor_counts_where_there_is_not_enough() {
        assert_eq!(parts(&[(0, 6), (2, 2)], 50), [(0, false), (100, false)], "the second tier is enough");
        assert_eq!(parts(&[(1, 4), (1, 4)], 50), [(50, true), (50, true)]);
        assert_eq!(parts(&[(2, 4), (0, 4)], 50), [(100, false), (0, true)]);
        assert_eq!(parts(&[(0, 3), (0, 1)], 50), [(75, true), (25, true)]);
        assert_eq!(parts(&[(0, 3), (0, 1)], 0), [(0, false), (0, false)]);
        assert_eq!(parts(&[(8, 10)], 90), [(100, true)], "a lone tier");
        assert_eq!(parts(&[], 50), []);
    }

    proptest! {
        #[test]
        fn parts_come_to_the_whole_and_the_nearest_is_first(
            tiers in proptest::collection::vec((1usize..2000, 0usize..2000), 1..6),
            floor in 0u32..=100,
        ) {
            let tiers: Vec<_> = tiers.into_iter().map(|(all, well)| Standing { all, well: well.min(all) }).collect();
            let loads = loads(&tiers, floor);
            let sum: u64 = loads.iter().map(|load| load.part).sum();
            let tiers_count = u64::try_from(tiers.len()).unwrap();
            let is_usable = tiers.iter().any(|tier| tier.well > 0) || floor > 0;
            prop_assert!(sum <= WHOLE + tiers_count);
            prop_assert_eq!(is_usable, sum + tiers_count >= WHOLE && sum > 0);
            let mut before = 0;
            for (tier, load) in tiers.iter().zip(&loads) {
                // Nobody is sent where no endpoint may be used.
                prop_assert!(load.part == 0 || tier.well > 0 || load.is_panic);
                // Nothing goes farther while what is nearer can take it.
                prop_assert!(before < WHOLE || load.part == 0);
                before += tier.available();
            }
        }

        #[test]
        fn a_tier_takes_no_less_when_more_of_it_is_well(all in 1usize..500, well in 0usize..500, other in 0usize..=20) {
            let part = |well: usize| {
                loads(&[Standing { all, well: well.min(all) }, Standing { all: 20, well: other }], 0)[0].part
            };
            prop_assert!(part(well + 1) >= part(well));
        }
    }
}
