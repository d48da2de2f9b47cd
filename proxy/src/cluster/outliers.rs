//! How endpoints do: which are left out for a while because they fail (passive health, Envoy's outlier detection), and
//! which said that they are unwell ([`super::checks`]).
//!
//! Each try's outcome is counted on its endpoint, over all workers; so many in a row leave it out:
//! ```text
//! answer from 500 ─────────────┐
//! no connection, no answer ────┼─ errors          (unless those have a count of their own)
//!        │                     └─ gateway errors   only 502, 503, 504, and no connection
//!        └──────────────────────── local failures
//! ```
//! The n-th time it is left out n times as long, but not longer than five minutes or the base; each interval in which it
//! stays makes the next time shorter again. It returns at the first look after its time, and looks are an interval apart. A
//! lone endpoint is never left out, and of several no more than the share that policy allows, but always one. Where fewer
//! are well than the floor, all are used.
//!
//! The state of an address outlives a change of its cluster's section: endpoints come and go, and a bad one stays bad. All
//! of it is atomics. Leaving out and returning are rare, and one at a time; who comes second comes again with its next
//! failure.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use weft_bundle::body::Outliers;

use crate::telemetry::cluster::ClusterMetrics;

/// The longest that an endpoint is left out, unless already the first time is longer (Envoy, `max_ejection_time`).
const LONGEST: Duration = Duration::from_secs(300);

/// Before every time that is asked about.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the process began, at least one: zero stands for never.
pub(super) fn millis(now: Instant) -> u64 {
    in_millis(now.saturating_duration_since(*EPOCH)).saturating_add(1)
}

fn in_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What became of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer, with this status or one that a gRPC status stands for.
    Answered(u16),
    /// No connection could be made.
    NoConnection,
    /// There was a connection, and no answer.
    NoAnswer,
}

/// What is known of one address, over all workers and as long as policy has it.
#[derive(Debug, Default)]
pub(crate) struct EndpointState {
    /// Failures in a row.
    errors: AtomicU32,
    gateway_errors: AtomicU32,
    local_failures: AtomicU32,
    /// How often it was left out, less what it made good.
    times: AtomicU32,
    /// Until when it is left out; zero if it is not.
    out_until: AtomicU64,
    /// When it was added, or came back; zero if it was there from the start.
    here_since: AtomicU64,
    /// Whether it said that it is unwell, or nothing, when it was asked.
    is_unwell: AtomicBool,
}

impl EndpointState {
    /// Whether no request goes there.
    pub(super) fn is_out(&self) -> bool {
        self.is_left_out() || self.is_unwell()
    }

    pub(super) fn is_left_out(&self) -> bool {
        self.out_until.load(Ordering::Relaxed) > 0
    }

    /// Whether it said that it is unwell, or nothing, when it was asked.
    pub(super) fn is_unwell(&self) -> bool {
        self.is_unwell.load(Ordering::Relaxed)
    }

    pub(super) fn here_since(&self) -> u64 {
        self.here_since.load(Ordering::Relaxed)
    }

    fn forget_failures(&self) {
        for count in [&self.errors, &self.gateway_errors, &self.local_failures] {
            forget(count);
        }
    }
}

/// Written only where there is something to forget: most requests succeed, and cores should not pass a line around.
fn forget(count: &AtomicU32) {
    if count.load(Ordering::Relaxed) > 0 {
        count.store(0, Ordering::Relaxed);
    }
}

/// An address, and what is known of it.
type Known = (SocketAddr, Arc<EndpointState>);

/// The health of a cluster's endpoints.
#[derive(Debug)]
pub(crate) struct Health {
    settings: Option<Outliers>,
    /// In the order of the endpoints, which may change.
    states: ArcSwap<Vec<Known>>,
    /// Grows whenever an endpoint is left out or returns, comes or goes.
    version: AtomicU64,
    /// When the next one returns.
    next_return: AtomicU64,
    /// Held while one is left out or returns; never waited for.
    changing: AtomicBool,
    metrics: Arc<ClusterMetrics>,
}

impl Health {
    /// Of these addresses. Those that `previous` has keep their state; others are new, unless there is none before.
    pub(crate) fn new(
        settings: Option<Outliers>,
        addresses: impl Iterator<Item = SocketAddr>,
        previous: Option<&Self>,
        metrics: Arc<ClusterMetrics>,
        now: Instant,
    ) -> Arc<Self> {
        let before = previous.map(|previous| previous.states.load_full()).unwrap_or_default();
        let states = carry_on(&before, addresses, now);
        if settings.is_none() {
            // Nobody would let it return.
            states.iter().for_each(|(_, state)| state.out_until.store(0, Ordering::Relaxed));
        }
        let health = Self {
            settings,
            states: ArcSwap::from_pointee(states),
            version: AtomicU64::new(0),
            next_return: AtomicU64::new(u64::MAX),
            changing: AtomicBool::new(false),
            metrics,
        };
        health.changed();
        Arc::new(health)
    }

    /// Takes other addresses. Those that stay keep their state; others are new, unless they are the first.
    /// Gives the states, in their order; [`Health::announce`] tells workers.
    pub(super) fn replace(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
        now: Instant,
    ) -> Vec<Arc<EndpointState>> {
        let known = carry_on(&self.states.load(), addresses, now);
        let states = known.iter().map(|(_, state)| Arc::clone(state)).collect();
        self.states.store(Arc::new(known));
        states
    }

    /// Tells workers to look who is there, once all of it is in place.
    pub(super) fn announce(&self) {
        self.changed();
    }

    /// The states, in the order of the addresses.
    pub(super) fn states(&self) -> Arc<Vec<Known>> {
        self.states.load_full()
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The share of well endpoints, in per cent, under which all are used.
    pub(super) fn floor(&self) -> u32 {
        self.settings.map_or(0, |settings| settings.min_healthy_percent)
    }

    /// The addresses that are left out.
    pub(crate) fn out(&self) -> Vec<SocketAddr> {
        self.those(EndpointState::is_left_out)
    }

    /// The addresses that are unwell.
    pub(crate) fn unwell(&self) -> Vec<SocketAddr> {
        self.those(EndpointState::is_unwell)
    }

    fn those(&self, are: impl Fn(&EndpointState) -> bool) -> Vec<SocketAddr> {
        self.states.load().iter().filter(|(_, state)| are(state)).map(|(address, _)| *address).collect()
    }

    /// Notes what an endpoint is, after it was asked.
    pub(super) fn judge(&self, state: &EndpointState, is_well: bool) {
        if is_well {
            state.here_since.store(millis(Instant::now()), Ordering::Relaxed);
        }
        state.is_unwell.store(!is_well, Ordering::Relaxed);
        // Who returns when is not looked at: somebody may be leaving just now.
        self.count();
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Takes all to be well: nobody asks any more.
    pub(crate) fn forget_answers(&self) {
        self.states.load().iter().for_each(|(_, state)| state.is_unwell.store(false, Ordering::Relaxed));
        self.count();
    }

    /// Counts what became of a try on an endpoint.
    pub(super) fn report(&self, state: &EndpointState, outcome: Outcome, now: Instant) {
        let Some(settings) = &self.settings else { return };
        let reached = |count: &AtomicU32, limit: u32| {
            limit > 0 && count.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= limit
        };
        let errors = || reached(&state.errors, settings.consecutive_errors);
        let gateway_errors = || reached(&state.gateway_errors, settings.consecutive_gateway_errors);
        let fails = match outcome {
            Outcome::NoConnection | Outcome::NoAnswer if settings.consecutive_local_failures > 0 => {
                reached(&state.local_failures, settings.consecutive_local_failures)
            }
            Outcome::NoConnection | Outcome::Answered(502..=504) => {
                forget(&state.local_failures);
                // Both count.
                errors() | gateway_errors()
            }
            Outcome::NoAnswer => errors(),
            Outcome::Answered(500..) => {
                forget(&state.local_failures);
                forget(&state.gateway_errors);
                errors()
            }
            Outcome::Answered(_) => {
                state.forget_failures();
                false
            }
        };
        if fails {
            self.leave_out(settings, state, now);
        }
    }

    fn leave_out(&self, settings: &Outliers, state: &EndpointState, now: Instant) {
        let endpoints = self.states.load().len();
        if state.is_left_out() || settings.base_ejection.is_zero() || endpoints < 2 {
            return;
        }
        let Some(_change) = Change::begin(&self.changing) else { return };
        let most = usize::try_from(settings.max_ejected_percent).unwrap_or(100) * endpoints / 100;
        if self.out().len() >= most.max(1) {
            self.metrics.ejections_refused.inc();
            return;
        }
        let now = millis(now);
        let times =
            times(state.times.load(Ordering::Relaxed), now - state.here_since().min(now), settings) + 1;
        state.times.store(times, Ordering::Relaxed);
        state.out_until.store(now.saturating_add(absence(times, now, settings)), Ordering::Relaxed);
        state.forget_failures();
        self.metrics.ejections.inc();
        self.changed();
    }

    /// Lets those return whose time is over.
    pub(super) fn look(&self, now: Instant) {
        let now = millis(now);
        if now < self.next_return.load(Ordering::Relaxed) {
            return;
        }
        let Some(_change) = Change::begin(&self.changing) else { return };
        for (_, state) in self.states.load().iter() {
            let until = state.out_until.load(Ordering::Relaxed);
            if until > 0 && until <= now {
                state.here_since.store(now, Ordering::Relaxed);
                state.out_until.store(0, Ordering::Relaxed);
            }
        }
        self.changed();
    }

    /// Notes what follows from the states as they are now.
    fn changed(&self) {
        let states = self.states.load();
        let until = states.iter().map(|(_, state)| state.out_until.load(Ordering::Relaxed));
        let next = until.filter(|until| *until > 0).min().unwrap_or(u64::MAX);
        self.next_return.store(next, Ordering::Relaxed);
        self.count();
        self.version.fetch_add(1, Ordering::Release);
    }

    fn count(&self) {
        let states = self.states.load();
        let count = |are: &dyn Fn(&EndpointState) -> bool| {
            i64::try_from(states.iter().filter(|(_, state)| are(state)).count()).unwrap_or(i64::MAX)
        };
        self.metrics.ejected.set(count(&EndpointState::is_left_out));
        self.metrics.unwell.set(count(&EndpointState::is_unwell));
        self.metrics.endpoints.set(i64::try_from(states.len()).unwrap_or(i64::MAX));
        self.metrics.usable.set(count(&|state| !state.is_out()));
    }
}

/// The states of some addresses: those of before, or new ones.
fn carry_on(before: &[Known], addresses: impl Iterator<Item = SocketAddr>, now: Instant) -> Vec<Known> {
    let known: HashMap<_, _> = before.iter().map(|(address, state)| (*address, state)).collect();
    let state = |address| match known.get(&address) {
        Some(state) => Arc::clone(state),
        None => {
            let here_since = AtomicU64::new(if known.is_empty() { 0 } else { millis(now) });
            Arc::new(EndpointState { here_since, ..EndpointState::default() })
        }
    };
    addresses.map(|address| (address, state(address))).collect()
}

/// How often an endpoint counts as left out, after it has been back for so long.
fn times(before: u32, back_for: u64, settings: &Outliers) -> u32 {
    let interval = in_millis(settings.interval.get()).max(1);
    before.saturating_sub(u32::try_from(back_for / interval).unwrap_or(u32::MAX))
}

/// For how long it is left out the so-manieth time, to the first look after that.
fn absence(times: u32, now: u64, settings: &Outliers) -> u64 {
    let base = settings.base_ejection.get();
    let time = in_millis(base.saturating_mul(times).min(LONGEST.max(base)));
    let interval = in_millis(settings.interval.get()).max(1);
    let back = now.saturating_add(time).div_ceil(interval).saturating_mul(interval);
    back.saturating_sub(now)
}

/// The one change that may be under way.
struct Change<'h>(&'h AtomicBool);

impl<'h> Change<'h> {
    fn begin(changing: &'h AtomicBool) -> Option<Self> {
        (!changing.swap(true, Ordering::Acquire)).then_some(Self(changing))
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;
    use weft_bundle::duration::DurationText;

    fn text(seconds: u64) -> DurationText {
        DurationText::new(Duration::from_secs(seconds))
    }

    fn settings() -> Outliers {
        Outliers {
            consecutive_errors: 3,
            consecutive_gateway_errors: 0,
            consecutive_local_failures: 0,
            interval: text(10),
            base_ejection: text(30),
            max_ejected_percent: 50,
            min_healthy_percent: 0,
        }
    }

    fn health(settings: Outliers, endpoints: u16) -> Arc<Health> {
        let addresses = (1..=endpoints).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        Health::new(Some(settings), addresses, None, Metrics::new().cluster("test"), Instant::now())
    }

    /// The ports of the endpoints that are left out.
    fn out(health: &Health) -> Vec<u16> {
        health.out().iter().map(SocketAddr::port).collect()
    }

    fn report(health: &Health, place: usize, outcomes: &[Outcome], now: Instant) {
        let states = health.states();
        outcomes.iter().for_each(|outcome| health.report(&states[place].1, *outcome, now));
    }

    const E500: Outcome = Outcome::Answered(500);
    const E503: Outcome = Outcome::Answered(503);
    const OK: Outcome = Outcome::Answered(200);
    const NO_CONNECTION: Outcome = Outcome::NoConnection;
    const NO_ANSWER: Outcome = Outcome::NoAnswer;

    #[test]
    fn failures_in_a_row_count_each_in_their_way() {
        let errors = settings();
        let gateway = Outliers { consecutive_errors: 0, consecutive_gateway_errors: 2, ..errors };
        let local = Outliers { consecutive_errors: 2, consecutive_local_failures: 3, ..errors };
        let nothing = Outliers { consecutive_errors: 0, ..errors };
        for (settings, outcomes, fails) in [
            (errors, &[E500, E503, NO_CONNECTION][..], true),
            (errors, &[NO_ANSWER, NO_ANSWER, NO_ANSWER], true),
            (errors, &[E500, E500, OK, E500, E500], false),
            (errors, &[E500, E500, Outcome::Answered(404), E500], false),
            (gateway, &[E503, Outcome::Answered(504)], true),
            (gateway, &[E503, NO_CONNECTION], true),
            (gateway, &[E503, E500, E503], false),
            (gateway, &[E500, E500, E500, NO_ANSWER, NO_ANSWER], false),
            (local, &[NO_CONNECTION, NO_ANSWER], false),
            (local, &[NO_CONNECTION, NO_ANSWER, NO_CONNECTION], true),
            (local, &[NO_CONNECTION, NO_ANSWER, OK, NO_CONNECTION], false),
            (local, &[E500, NO_CONNECTION, E500], true),
            (nothing, &[E503, NO_CONNECTION, NO_ANSWER, E500], false),
        ] {
            let health = health(settings, 2);
            report(&health, 0, outcomes, Instant::now());
            assert_eq!(!out(&health).is_empty(), fails, "{settings:?} {outcomes:?}");
        }
    }

    #[test]
    fn never_more_than_the_share_but_always_one() {
        let now = Instant::now();
        for (percent, endpoints, expected) in [
            (50, 4, &[1, 2][..]),
            (50, 5, &[1, 2]),
            (10, 4, &[1]),
            (0, 2, &[1]),
            (100, 3, &[1, 2, 3]),
            (100, 1, &[]),
        ] {
            let health = health(Outliers { max_ejected_percent: percent, ..settings() }, endpoints);
            for place in 0..usize::from(endpoints) {
                report(&health, place, &[E500; 5], now);
            }
            assert_eq!(out(&health), expected, "{percent} % of {endpoints}");
            assert_eq!(health.metrics.ejections.get(), expected.len() as u64);
            assert_eq!(health.metrics.ejected.get(), expected.len() as i64);
        }
    }

    #[test]
    fn longer_each_time_and_shorter_again_after_good_behaviour() {
        let health = health(settings(), 2);
        let mut now = Instant::now();
        let mut absence = |good: u64| {
            now += Duration::from_secs(good);
            report(&health, 0, &[E500; 3], now);
            let begun = now;
            while !out(&health).is_empty() {
                now += Duration::from_secs(1);
                health.look(now);
            }
            (now - begun).as_secs()
        };
        // At the first look after its time; looks are ten seconds apart, and this test counts whole seconds.
        for (good, expected) in [(0, 30), (0, 60), (0, 90), (25, 60), (1, 90), (9, 120), (0, 150), (120, 30)]
        {
            let absence = absence(good);
            assert!((expected..=expected + 11).contains(&absence), "{absence} s, not {expected} s");
        }
        let longest = (0..20).map(|_| absence(0)).max().unwrap();
        assert!((300..=311).contains(&longest), "{longest}");
    }

    #[test]
    fn an_address_keeps_its_state_and_a_new_one_is_new() {
        let now = Instant::now();
        let before = health(settings(), 2);
        report(&before, 1, &[E500; 3], now);
        let addresses = (2..=4).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let metrics = Arc::clone(&before.metrics);
        let after = Health::new(Some(settings()), addresses.clone(), Some(&before), metrics, now);
        assert_eq!(out(&after), [2]);
        let since = |health: &Health| -> Vec<bool> {
            health.states().iter().map(|(_, state)| state.here_since() > 0).collect()
        };
        assert_eq!(since(&after), [false, true, true]);
        after.replace((3..=5).map(|port| SocketAddr::from(([127, 0, 0, 1], port))), now);
        assert_eq!((since(&after), out(&after)), (vec![true; 3], vec![]));
        after.replace((2..=3).map(|port| SocketAddr::from(([127, 0, 0, 1], port))), now);
        assert!(out(&after).is_empty(), "what went and comes again is new");
        let off = Health::new(None, addresses, Some(&after), Arc::clone(&before.metrics), now);
        assert!(out(&off).is_empty(), "nothing would bring it back");
    }
}
