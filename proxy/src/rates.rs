//! Rate limits of our own ports: how many requests are taken, counted over all workers without a lock.
//!
//! Whether one more is taken, and what counts apart, is the engine's decision; here is only the memory. A limit for all has
//! one number. One that counts apart has a table of fixed size, as its keys come from requests:
//! ```text
//! key → a row of eight slots → its own (key, arrival), a free one, or one whose time is over
//!                            → the row's last place, shared by all that find none
//! ```
//! So memory is bounded whatever callers send; more keys at once than fit count together, which never lets more through
//! than each of them may have.
//!
//! The state outlives reloads that leave a port's limits as they are.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weft_bundle::body::{RateLimit, RateLimitKey};
use weft_bundle::engine::{Peer, Request, admit, rate_key};

/// Rows of a table.
const ROWS: usize = 512;

/// Keys in a row.
const SLOTS: usize = 8;

/// From which arrival times are counted.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The limits of one port.
#[derive(Debug)]
pub(crate) struct Rates {
    limits: Vec<(RateLimit, Memory)>,
    /// Nobody outside knows which keys share a row.
    seed: u64,
}

#[derive(Debug)]
enum Memory {
    One(AtomicU64),
    Apart(Box<[Row]>),
}

#[derive(Debug, Default)]
struct Row {
    slots: [Slot; SLOTS],
    /// For keys that find no slot.
    crowd: AtomicU64,
}

/// A key, zero if there is none, and its arrival time.
#[derive(Debug, Default)]
struct Slot {
    key: AtomicU64,
    arrival: AtomicU64,
}

impl Rates {
    /// Nothing taken yet; what was taken before, if the limits are the same as those of `previous`.
    pub(crate) fn new(limits: &[RateLimit], previous: Option<&Arc<Self>>) -> Arc<Self> {
        let same = |previous: &&Arc<Self>| previous.limits.iter().map(|(limit, _)| limit).eq(limits);
        if let Some(previous) = previous.filter(same) {
            return Arc::clone(previous);
        }
        let memory = |limit: &RateLimit| match limit.by {
            RateLimitKey::All => Memory::One(AtomicU64::new(0)),
            RateLimitKey::Identity | RateLimitKey::Header(_) => {
                Memory::Apart((0..ROWS).map(|_| Row::default()).collect())
            }
        };
        let limits = limits.iter().map(|limit| (limit.clone(), memory(limit))).collect();
        Arc::new(Self { limits, seed: fastrand::u64(..) })
    }

    /// Takes a request, or a connection whose requests cannot be seen, if every limit does.
    ///
    /// # Errors
    /// How long until the one that does not would.
    pub(crate) fn take(&self, peer: &Peer<'_>, request: Option<&Request<'_>>) -> Result<(), Duration> {
        match self.limits.as_slice() {
            [] => Ok(()),
            _ => self.take_at(peer, request, nanos(EPOCH.elapsed())),
        }
    }

    fn take_at(&self, peer: &Peer<'_>, request: Option<&Request<'_>>, now: u64) -> Result<(), Duration> {
        let arrival = |(limit, memory)| (limit, self.arrival(limit, memory, peer, request, now));
        let arrivals = || self.limits.iter().map(|(limit, memory)| arrival((limit, memory)));
        // First a look at all: what one refuses is not taken from the others.
        for (limit, arrival) in arrivals() {
            admit(limit, arrival.load(Ordering::Relaxed), now)?;
        }
        for (limit, arrival) in arrivals() {
            let mut wait = Duration::ZERO;
            let next = |arrival| admit(limit, arrival, now).map_err(|longer| wait = longer).ok();
            if arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_err() {
                return Err(wait);
            }
        }
        Ok(())
    }

    fn arrival<'m>(
        &self,
        limit: &RateLimit,
        memory: &'m Memory,
        peer: &Peer<'_>,
        request: Option<&Request<'_>>,
        now: u64,
    ) -> &'m AtomicU64 {
        static NEVER: AtomicU64 = AtomicU64::new(0);
        match memory {
            Memory::One(arrival) => arrival,
            Memory::Apart(rows) => {
                let key = rate_key(&limit.by, peer, request, self.seed).unwrap_or_default().max(1);
                // The rows are not empty, so there always is one.
                let row =
                    usize::try_from(key).unwrap_or(0).checked_rem(rows.len()).and_then(|row| rows.get(row));
                row.map_or(&NEVER, |row| row.arrival(key, now))
            }
        }
    }
}

impl Row {
    fn arrival(&self, key: u64, now: u64) -> &AtomicU64 {
        let is_ours = |slot: &&Slot| slot.key.load(Ordering::Acquire) == key;
        if let Some(slot) = self.slots.iter().find(is_ours) {
            return &slot.arrival;
        }
        for slot in &self.slots {
            let other = slot.key.load(Ordering::Acquire);
            if other == key {
                return &slot.arrival;
            }
            // What arrived before now is forgotten anyway.
            let is_over = other == 0 || slot.arrival.load(Ordering::Relaxed) <= now;
            if is_over {
                match slot.key.compare_exchange(other, key, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return &slot.arrival,
                    // Another worker was faster, perhaps for the same key.
                    Err(taken) if taken == key => return &slot.arrival,
                    Err(_) => {}
                }
            }
        }
        &self.crowd
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};
    use weft_bundle::duration::DurationText;
    use weft_bundle::engine::path::CanonicalPath;

    const HOUR: u64 = 3_600_000_000_000;

    fn per_hour(requests: u32, by: RateLimitKey) -> RateLimit {
        RateLimit { requests, per: DurationText::new(Duration::from_secs(3600)), burst: requests, by }
    }

    /// How many of the requests of users are taken, at a time.
    fn taken(rates: &Rates, users: impl IntoIterator<Item = u32>, now: u64) -> usize {
        let peer = Peer { identity: None, address: "10.0.0.1".parse().unwrap() };
        let path = CanonicalPath::parse("/").unwrap();
        let take = |user: u32| {
            let mut headers = HeaderMap::new();
            headers.insert("x-user", HeaderValue::from(user));
            let request = Request {
                method: "GET",
                scheme: "http",
                authority: "a",
                path: &path,
                query: None,
                headers: &headers,
            };
            rates.take_at(&peer, Some(&request), now).is_ok()
        };
        users.into_iter().filter(|user| take(*user)).count()
    }

    #[test]
    fn each_key_has_its_own_and_all_must_hold() {
        let by_user = RateLimitKey::Header("x-user".to_owned());
        let rates = Rates::new(&[per_hour(2, by_user.clone())], None);
        assert_eq!(taken(&rates, [1, 1, 1, 2, 2, 2], HOUR), 4);
        let both = Rates::new(&[per_hour(2, by_user), per_hour(3, RateLimitKey::All)], None);
        assert_eq!(taken(&both, [1, 1, 1, 1, 2, 2], HOUR), 3);
        // What the limit for users refused was not taken from the limit for all.
        let nobody = Rates::new(&[per_hour(3, RateLimitKey::All), per_hour(1, RateLimitKey::Identity)], None);
        assert_eq!(taken(&nobody, [1; 9], HOUR), 1);
        assert_eq!(taken(&nobody, [1; 9], 2 * HOUR), 1, "and an hour later");
    }

    #[test]
    fn any_number_of_keys_fits_and_none_gets_more() {
        let rates = Rates::new(&[per_hour(1, RateLimitKey::Header("x-user".to_owned()))], None);
        let first = taken(&rates, 0..20_000, HOUR);
        assert!((2_000..=5_000).contains(&first), "{first}");
        assert_eq!(taken(&rates, 0..20_000, HOUR), 0, "nobody twice");
        // When their time is over they make room.
        assert!(taken(&rates, 20_000..22_000, 3 * HOUR) > 1_900);
    }

    #[test]
    fn equal_limits_keep_what_was_taken() {
        let limits = [per_hour(1, RateLimitKey::All)];
        let before = Rates::new(&limits, None);
        assert_eq!(taken(&before, [1, 1], HOUR), 1);
        let after = Rates::new(&limits, Some(&before));
        assert_eq!(taken(&after, [1, 1], HOUR), 0);
        let other = Rates::new(&[per_hour(2, RateLimitKey::All)], Some(&before));
        assert_eq!(taken(&other, [1, 1, 1], HOUR), 2);
    }

    #[test]
    fn threads_together_take_no_more() {
        let rates =
            Rates::new(&[per_hour(100, RateLimitKey::All), per_hour(30, RateLimitKey::Identity)], None);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let rates = Arc::clone(&rates);
                std::thread::spawn(move || taken(&rates, [1; 50], HOUR))
            })
            .collect();
        let total: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(total, 30);
    }
}
