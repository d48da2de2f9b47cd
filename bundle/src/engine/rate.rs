//! Rate limits: what is counted apart, and whether one more request is taken. Pure over what was taken before and the time.
//!
//! The arithmetic is GCRA, a leaky bucket that needs one number: the time at which everything taken so far would have
//! arrived had it come evenly (ITU-T I.371, *theoretical arrival time*). A burst may run ahead of it.

use std::time::Duration;

use super::Request;
use super::access::Peer;
use super::hash::stable_hash;
use crate::body::{RateLimit, RateLimitKey};

/// What a limit counts a request under, or a connection whose requests cannot be seen, which has no fields. Seeded so that
/// nobody can choose to share another's; none if all count together.
pub fn rate_key(by: &RateLimitKey, peer: &Peer<'_>, request: Option<&Request<'_>>, seed: u64) -> Option<u64> {
    let seed = &seed.to_le_bytes()[..];
    match by {
        RateLimitKey::All => None,
        RateLimitKey::Identity => Some(match peer.identity {
            Some(identity) => stable_hash(&[seed, b"identity", identity.to_string().as_bytes()]),
            None => stable_hash(&[seed, b"nobody"]),
        }),
        RateLimitKey::Header(name) => {
            let mut parts = vec![seed, b"header"];
            let values = request.iter().flat_map(|request| request.headers.get_all(name));
            parts.extend(values.map(http::HeaderValue::as_bytes));
            Some(stable_hash(&parts))
        }
    }
}

/// The new arrival time if one more request is taken at a time, both in nanoseconds from the same beginning.
///
/// # Errors
/// How long to wait until one is taken again.
pub fn admit(limit: &RateLimit, arrival: u64, now: u64) -> Result<u64, Duration> {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let apart = (nanos(limit.per.get()) / u64::from(limit.requests.max(1))).max(1);
    let ahead = apart.saturating_mul(u64::from(limit.burst.max(1)) - 1);
    let arrival = arrival.max(now);
    match (arrival - now).checked_sub(ahead) {
        None | Some(0) => Ok(arrival.saturating_add(apart)),
        Some(early) => Err(Duration::from_nanos(early)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::DurationText;

    const SECOND: u64 = 1_000_000_000;

    fn limit(requests: u32, seconds: u64, burst: u32) -> RateLimit {
        let per = DurationText::new(Duration::from_secs(seconds));
        RateLimit { requests, per, burst, by: RateLimitKey::All }
    }

    /// How many of so many requests per second are taken, in each second.
    fn taken(limit: &RateLimit, rate: u64, seconds: u64) -> Vec<usize> {
        let mut arrival = 0;
        let mut second = |second: u64| {
            let times = (0..rate).map(|n| (1000 + second) * SECOND + n * SECOND / rate);
            times
                .filter(|now| match admit(limit, arrival, *now) {
                    Ok(next) => {
                        arrival = next;
                        true
                    }
                    Err(_) => false,
                })
                .count()
        };
        (0..seconds).map(&mut second).collect()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        assert_eq!(taken(&limit(10, 1, 1), 10, 3), [10, 10, 10]);
        assert_eq!(taken(&limit(10, 1, 1), 100, 3), [10, 10, 10]);
        let burst = taken(&limit(10, 1, 20), 1000, 3);
        assert!((29..=30).contains(&burst[0]) && burst[1..] == [10, 10], "{burst:?}");
        assert_eq!(taken(&limit(60, 60, 1), 4, 3), [1, 1, 1]);
    }

    #[test]
    fn who_is_refused_is_told_how_long() {
        let limit = limit(1, 10, 2);
        let first = admit(&limit, 0, SECOND).unwrap();
        let second = admit(&limit, first, SECOND).unwrap();
        assert_eq!(admit(&limit, second, SECOND), Err(Duration::from_secs(10)));
        assert_eq!(admit(&limit, second, 5 * SECOND), Err(Duration::from_secs(6)));
        assert!(admit(&limit, second, 11 * SECOND).is_ok());
    }
}
