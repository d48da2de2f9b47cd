//! The endpoints that requests may go to now, and their shares: those that are not left out, new ones with less, by tiers
//! and groups ([`super::tiers`]).
//!
//! A worker makes it again when an endpoint is left out or returns, comes or goes, and from time to time while one is being
//! eased in. A new endpoint's share grows over the time of [`Warmup`] from its minimum: `share × (age / duration) ^ (1 /
//! aggression)`, as in Envoy's slow start. An endpoint that was there when the proxy started is not new: all would be, and
//! none would have less.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use weft_bundle::body::Warmup;

use super::Endpoint;
use super::members::Set;
use super::outliers::Health;
use super::tiers::{Load, Stand, Standing, loads};

/// Shares are counted in thousandths of a weight while somebody is eased in.
const FINE: u64 = 1000;

/// A share that grows does so in this many steps.
const STEPS: u64 = 50;

/// Groups share in fine parts too.
const GROUP_FINE: u64 = 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct View {
    pub(super) set: Arc<Set>,
    /// In the order of the set.
    pub(super) endpoints: Vec<Rc<Endpoint>>,
    /// By place: the group whose requests it may get.
    group_of: Vec<Option<usize>>,
    /// The nearest first. None is without endpoints.
    groups: Vec<Group>,
    /// Running sums of the groups' shares, for draws.
    sums: Vec<u64>,
    /// By place, in parts of [`FINE`]: how much of its share each gets. Empty while nobody is eased in.
    parts: Vec<u64>,
    /// The version of the health that it was made from.
    pub(super) version: u64,
    /// When it has to be made again, in milliseconds.
    pub(super) until: u64,
}

/// Endpoints of one tier, and of one place if policy has shares by place.
#[derive(Debug)]
pub(super) struct Group {
    stand: Stand,
    pub(super) endpoints: Vec<Rc<Endpoint>>,
    /// Running sums of their shares, for draws.
    sums: Vec<u64>,
    /// Whether shares are fine, so that turns have to be spread over them.
    is_fine: bool,
    /// The next turn of round robin.
    turn: Cell<u64>,
}

impl View {
    /// Of endpoints in the order of the set, with the version of the health that was read before all else. Turns go on
    /// from the view before.
    pub(super) fn new(
        set: Arc<Set>,
        endpoints: Vec<Rc<Endpoint>>,
        health: &Health,
        version: u64,
        warmup: Option<Warmup>,
        now: u64,
        before: Option<&Self>,
    ) -> Self {
        let parts = parts(&endpoints, warmup, now);
        let mut view = Self {
            group_of: vec![None; endpoints.len()],
            set,
            endpoints,
            groups: Vec::new(),
            sums: Vec::new(),
            parts,
            version,
            until: u64::MAX,
        };
        if let Some(warmup) = warmup.filter(|_| !view.parts.is_empty()) {
            view.until = now.saturating_add((in_millis(warmup) / STEPS).max(1));
        }
        view.group(health.floor(), before);
        view
    }

    /// Makes the groups, the nearest first.
    fn group(&mut self, floor_percent: u32, before: Option<&Self>) {
        let groups = self.set.shares().len().max(1);
        let mut standings = vec![vec![Standing::default(); groups]; self.set.tiers()];
        let is_well: Vec<bool> = self.endpoints.iter().map(|endpoint| !endpoint.state.is_out()).collect();
        for (stand, is_well) in self.set.stands().zip(&is_well) {
            let tier = stand.and_then(|stand| standings.get_mut(stand.tier));
            if let Some(standing) = stand.zip(tier).and_then(|(stand, tier)| tier.get_mut(stand.group)) {
                standing.all += 1;
                standing.well += usize::from(*is_well);
            }
        }
        let of_tiers: Vec<Standing> = standings
            .iter()
            .map(|tier| Standing {
                all: tier.iter().map(|group| group.all).sum(),
                well: tier.iter().map(|group| group.well).sum(),
            })
            .collect();
        let loads = loads(&of_tiers, floor_percent);
        let mut by_stand = vec![vec![None; groups]; standings.len()];
        for (place, (stand, is_well)) in self.set.stands().zip(&is_well).enumerate() {
            let Some(stand) = stand else { continue };
            let is_panic = loads.get(stand.tier).is_some_and(|load| load.is_panic);
            if !(is_panic || *is_well) {
                continue;
            }
            let Some(number) = by_stand.get_mut(stand.tier).and_then(|tier| tier.get_mut(stand.group)) else {
                continue;
            };
            let (Some(endpoint), Some(group_of)) = (self.endpoints.get(place), self.group_of.get_mut(place))
            else {
                continue;
            };
            let number = *number.get_or_insert_with(|| {
                self.groups.push(Group::new(stand, !self.parts.is_empty(), before));
                self.groups.len() - 1
            });
            *group_of = Some(number);
            let weight = self.set.endpoints.get(place).map_or(1, |spec| u64::from(spec.weight.max(1)));
            let share = match self.parts.get(place) {
                None => weight,
                Some(part) => weight * part,
            };
            if let Some(group) = self.groups.get_mut(number) {
                group.add(endpoint, share);
            }
        }
        self.share_out(&standings, &loads);
    }

    /// Puts the groups in order and gives each its share of all requests.
    fn share_out(&mut self, standings: &[Vec<Standing>], loads: &[Load]) {
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        order.sort_by_key(|number| self.groups.get(*number).map(|group| group.stand));
        let mut places = vec![0; order.len()];
        for (place, number) in order.iter().enumerate() {
            if let Some(entry) = places.get_mut(*number) {
                *entry = place;
            }
        }
        for group in self.group_of.iter_mut().flatten() {
            *group = places.get(*group).copied().unwrap_or(*group);
        }
        self.groups.sort_by_key(|group| group.stand);
        let room = |stand: Stand, load: &Load| {
            let standing = standings.get(stand.tier).and_then(|tier| tier.get(stand.group)).copied();
            let share = self.set.shares().get(stand.group).copied().unwrap_or(1);
            let can = match load.is_panic {
                true => super::tiers::WHOLE,
                false => standing.unwrap_or_default().available(),
            };
            u64::from(share) * can
        };
        let load = |group: &Group| loads.get(group.stand.tier).copied().unwrap_or_default();
        let mut total = 0u64;
        let sums = self.groups.iter().map(|group| {
            let own = load(group);
            let tier = self.groups.iter().filter(|other| other.stand.tier == group.stand.tier);
            let all: u64 = tier.map(|other| room(other.stand, &own)).sum();
            let share = (own.part * GROUP_FINE).saturating_mul(room(group.stand, &own)).checked_div(all);
            total = total.saturating_add(share.unwrap_or(0));
            total
        });
        self.sums = sums.collect();
    }

    /// Whether requests may go to the endpoint in a place now.
    pub(super) fn has(&self, place: usize) -> bool {
        self.group_of.get(place).is_some_and(Option::is_some)
    }

    /// The group that a point falls on, each as wide as its share.
    pub(super) fn by_share(&self, point: u64) -> Option<usize> {
        if self.groups.len() == 1 {
            return Some(0);
        }
        by_share(&self.sums, point)
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether the endpoint in a place is in a group.
    pub(super) fn is_in(&self, place: usize, group: usize) -> bool {
        self.group_of.get(place) == Some(&Some(group))
    }

    /// Whether the endpoint in a place has its share of hashes, or so much of it while it is eased in. A hash that it has
    /// once it keeps.
    pub(super) fn has_hash(&self, place: usize, hash: u64) -> bool {
        self.parts.get(place).is_none_or(|part| hash % FINE < *part)
    }
}

impl Group {
    fn new(stand: Stand, is_fine: bool, before: Option<&View>) -> Self {
        let before = before.and_then(|view| view.groups.iter().find(|group| group.stand == stand));
        let turn = before.map_or_else(|| fastrand::u64(..), |group| group.turn.get());
        Self { stand, endpoints: Vec::new(), sums: Vec::new(), is_fine, turn: Cell::new(turn) }
    }

    fn add(&mut self, endpoint: &Rc<Endpoint>, share: u64) {
        let total = self.sums.last().copied().unwrap_or(0);
        self.sums.push(total.saturating_add(share));
        self.endpoints.push(Rc::clone(endpoint));
    }

    /// The place of the endpoint that a point falls on, each as wide as its share.
    pub(super) fn by_share(&self, point: u64) -> Option<usize> {
        by_share(&self.sums, point)
    }

    /// The place of the endpoint whose turn it is.
    pub(super) fn by_turn(&self) -> Option<usize> {
        // Multiples of the golden ratio spread evenly over any range; plain turns would stay with one for a long time.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        const MANY: usize = 16;
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let all = *self.sums.last()?;
        // Small weights are exact after few turns, and no endpoint has many in a row.
        let is_small = usize::try_from(all).is_ok_and(|all| all <= self.sums.len() * MANY);
        if self.is_fine || !is_small {
            let point = u128::from(turn.wrapping_mul(GOLDEN)) * u128::from(all);
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

fn by_share(sums: &[u64], point: u64) -> Option<usize> {
    let point = point.checked_rem(*sums.last()?)?;
    Some(sums.partition_point(|sum| *sum <= point))
}

fn in_millis(warmup: Warmup) -> u64 {
    u64::try_from(warmup.duration.get().as_millis()).unwrap_or(u64::MAX)
}

/// How much of its share each endpoint gets, from 1 to [`FINE`]; nothing if all get all.
fn parts(endpoints: &[Rc<Endpoint>], warmup: Option<Warmup>, now: u64) -> Vec<u64> {
    let Some(warmup) = warmup else { return Vec::new() };
    let duration = in_millis(warmup);
    let eased = |endpoint: &Rc<Endpoint>| {
        let since = endpoint.state.here_since();
        let age = now.saturating_sub(since);
        (since > 0 && age < duration).then(|| {
            let part = part(warmup, age, duration) * FINE as f64;
            (part as u64).clamp(1, FINE)
        })
    };
    let parts: Vec<_> = endpoints.iter().map(eased).collect();
    if parts.iter().all(Option::is_none) {
        return Vec::new();
    }
    parts.into_iter().map(|part| part.unwrap_or(FINE)).collect()
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
