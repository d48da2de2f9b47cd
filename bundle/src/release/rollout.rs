//! Staged rollout, decided by each proxy for itself from what the timestamp says.
//!
//! Every instance has a bucket from 0 to 9999, drawn from the rollout's salt, its service and its own id. A stage opens
//! a range of buckets, one bucket after the other, evenly over the time until the next stage; so nobody who is eligible
//! ceases to be when a stage grows.

use serde::{Deserialize, Serialize};

use super::clock::UtcTime;
use super::digest::Digest;
use super::names::ServiceId;
use super::payload::Nonsense;
use crate::duration::DurationText;

/// The number of buckets: percents have two decimals.
pub const BUCKETS: u64 = 10_000;

/// Who may run `current` from when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// A name for people.
    pub id: String,
    /// When the first stage opens.
    pub start: UtcTime,
    /// Mixed into the buckets, so that it is not always the same instances that go first.
    pub salt: String,
    /// Nobody new moves to `current`.
    #[serde(default)]
    pub hold: bool,
    /// Everybody leaves `current`.
    #[serde(default)]
    pub abort: bool,
    /// In order. None at all means everyone at `start`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
}

/// A share of the instances, and when its turn begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// After the start of the rollout.
    pub after: DurationText,
    /// The share that has had its turn when this stage is over, with those before.
    pub percent: u64,
}

/// Which release of a timestamp an instance should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// It may run `current`.
    Current,
    /// It may not yet; from this second on it may. `None`: no stage opens its bucket.
    NotYet(Option<UtcTime>),
    /// It may stay where it is, but not move to `current`.
    Hold,
    /// It must leave `current`.
    Abort,
}

impl Rollout {
    /// What its form alone can say against it.
    ///
    /// # Errors
    /// Stages that go backwards, or past 100 percent.
    pub fn validate(&self) -> Result<(), Nonsense> {
        if self.stages.iter().any(|stage| stage.percent > 100) {
            return Err(Nonsense("a stage of the rollout is for more than 100 percent"));
        }
        let ordered = |pair: &[Stage]| match pair {
            [a, b] => a.after <= b.after && a.percent <= b.percent,
            _ => true,
        };
        if !self.stages.windows(2).all(ordered) {
            return Err(Nonsense("a stage of the rollout goes back behind the one before"));
        }
        Ok(())
    }

    /// Whose turn it is at `now`, for the instance in this bucket.
    pub fn turn(&self, bucket: u64, now: UtcTime) -> Turn {
        if self.abort {
            return Turn::Abort;
        }
        if self.hold {
            return Turn::Hold;
        }
        match self.eligible_at(bucket) {
            Some(at) if at <= now => Turn::Current,
            at => Turn::NotYet(at),
        }
    }

    /// The second from which the instance in this bucket may run `current`, leaving `hold` and `abort` aside.
    ///
    /// Stage i covers the buckets `[lo, hi)`, `lo = percent(i-1)·100`: bucket b of them is eligible at
    /// `start + after(i) + (after(i+1) − after(i))·(b − lo)/(hi − lo)`; all of the last stage at once.
    pub fn eligible_at(&self, bucket: u64) -> Option<UtcTime> {
        if self.stages.is_empty() {
            return Some(self.start);
        }
        let mut lo = 0;
        for (i, stage) in self.stages.iter().enumerate() {
            let hi = stage.percent * (BUCKETS / 100);
            if (lo..hi).contains(&bucket) {
                let after = stage.after.get().as_millis();
                let next = self.stages.get(i + 1).map_or(after, |next| next.after.get().as_millis());
                let share = next.saturating_sub(after) * u128::from(bucket - lo) / u128::from(hi - lo);
                let seconds = (after + share).div_ceil(1000);
                let at = u128::from(self.start.unix()) + seconds;
                return Some(UtcTime::from_unix(u64::try_from(at).unwrap_or(u64::MAX)));
            }
            lo = lo.max(hi);
        }
        None
    }
}

/// The bucket of an instance:
/// `be_u64(SHA256("weft-rollout/1\0" ‖ salt ‖ "\0" ‖ service ‖ "\0" ‖ instance_id)[..8]) mod 10000`.
/// Canary instances are in bucket 0, whatever they are called.
pub fn bucket(salt: &str, service: &ServiceId, instance_id: &str, canary: bool) -> u64 {
    if canary {
        return 0;
    }
    let parts = [
        b"weft-rollout/1\0".as_slice(),
        salt.as_bytes(),
        b"\0",
        service.as_str().as_bytes(),
        b"\0",
        instance_id.as_bytes(),
    ];
    let digest = Digest::of_parts(&parts);
    let (first, _) = digest.as_bytes().split_first_chunk::<8>().expect("a digest has 32 bytes");
    u64::from_be_bytes(*first) % BUCKETS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: u64 = 1_800_000_000;

    fn rollout(stages: &[(&str, u64)]) -> Rollout {
        let stage =
            |(after, percent): &(&str, u64)| Stage { after: after.parse().unwrap(), percent: *percent };
        Rollout {
            id: "7".into(),
            start: UtcTime::from_unix(START),
            salt: "7".into(),
            hold: false,
            abort: false,
            stages: stages.iter().map(stage).collect(),
        }
    }

    fn after_start(rollout: &Rollout, bucket: u64) -> Option<u64> {
        rollout.eligible_at(bucket).map(|at| at.unix() - START)
    }

    #[test]
    fn stages_open_evenly_until_the_next() {
        let r = rollout(&[("0s", 1), ("10m", 10), ("1h", 100)]);
        let cases =
            [(0, 0), (50, 300), (99, 594), (100, 600), (550, 2100), (999, 3597), (1000, 3600), (9999, 3600)];
        for (bucket, seconds) in cases {
            assert_eq!(after_start(&r, bucket), Some(seconds), "bucket {bucket}");
        }
    }

    #[test]
    fn edges_of_stages_are_kept() {
        // Empty stages open nothing; buckets past the last stage never have their turn.
        let r = rollout(&[("0s", 0), ("10s", 50), ("20s", 50), ("30s", 60)]);
        assert_eq!(after_start(&r, 0), Some(10));
        assert_eq!(after_start(&r, 4999), Some(20));
        assert_eq!(after_start(&r, 5000), Some(30));
        assert_eq!(after_start(&r, 5999), Some(30));
        assert_eq!(after_start(&r, 6000), None);
        assert_eq!(after_start(&rollout(&[("0s", 0)]), 0), None);
        assert_eq!(after_start(&rollout(&[("0s", 100)]), 9999), Some(0));
        assert_eq!(after_start(&rollout(&[]), 9999), Some(0));
    }

    #[test]
    fn hold_and_abort_go_before_the_stages() {
        let now = UtcTime::from_unix(START + 10);
        let mut r = rollout(&[("0s", 1), ("20s", 100)]);
        assert_eq!(r.turn(0, now), Turn::Current);
        assert_eq!(r.turn(5000, now), Turn::NotYet(Some(UtcTime::from_unix(START + 20))));
        assert_eq!(r.turn(0, UtcTime::from_unix(START - 1)), Turn::NotYet(Some(r.start)));
        r.hold = true;
        assert_eq!(r.turn(0, now), Turn::Hold);
        r.abort = true;
        assert_eq!(r.turn(0, now), Turn::Abort);
    }

    #[test]
    fn stages_that_go_backwards_are_nonsense() {
        assert!(rollout(&[("0s", 1), ("10m", 100)]).validate().is_ok());
        for stages in [[("10m", 1), ("0s", 100)], [("0s", 10), ("10m", 1)], [("0s", 1), ("1m", 101)]] {
            assert!(rollout(&stages).validate().is_err(), "{stages:?}");
        }
    }

    #[test]
    fn buckets_are_exact_and_canaries_first() {
        let service: ServiceId = "payments/orders".parse().unwrap();
        // Computed with Python's hashlib from the formula.
        assert_eq!(bucket("4812", &service, "pod-1", false), BUCKET_OF_POD_1);
        assert_eq!(bucket("4812", &service, "pod-1", true), 0);
        assert_ne!(bucket("4813", &service, "pod-1", false), BUCKET_OF_POD_1);
    }

    const BUCKET_OF_POD_1: u64 = 4802;

    proptest! {
        #[test]
        fn growing_a_stage_moves_nobody_back(
            first in 0_u64..100, grow in 0_u64..100, bucket in 0_u64..BUCKETS, now in 0_u64..4000
        ) {
            let grown = (first + grow).min(100);
            let now = UtcTime::from_unix(START + now);
            let before = rollout(&[("0s", first)]);
            let after = rollout(&[("0s", grown)]);
            if before.turn(bucket, now) == Turn::Current {
                prop_assert_eq!(after.turn(bucket, now), Turn::Current);
            }
        }

        #[test]
        fn eligible_times_lie_inside_their_stage(bucket in 0_u64..BUCKETS, a in 0_u64..=100, b in 0_u64..=100) {
            let (a, b) = (a.min(b), a.max(b));
            let r = rollout(&[("5s", a), ("1m", b), ("1h", 100)]);
            let at = after_start(&r, bucket).unwrap();
            let (from, to) = if bucket < a * 100 { (5, 60) } else if bucket < b * 100 { (60, 3600) } else { (3600, 3600) };
            prop_assert!((from..=to).contains(&at));
        }
    }
}
