//! Waiting for a condition, never for a while.

use std::time::{Duration, Instant};

use crate::{Failure, Result};

/// How long anything may take before it counts as not happening. Generous: busy machines are slow, and a condition that
/// holds ends the wait at once.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// The pause between two looks: short against everything that is waited for, long enough to leave the processor alone.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until `probe` gives something.
///
/// # Errors
/// `what` has not happened within [`DEADLINE`].
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> Result<T> {
    within(DEADLINE, what, probe)
}

/// Looks until `probe` gives something, at most this long.
///
/// # Errors
/// `what` has not happened in that time.
pub fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("waited {} s for {what}", limit.as_secs_f32())));
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_the_condition_holds_and_says_what_did_not() {
        let mut looks = 0;
        let found = until("the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, Ok(3));
        let missed = within(Duration::ZERO, "a miracle", || None::<()>);
        assert_eq!(missed.unwrap_err().to_string(), "waited 0 s for a miracle");
    }
}
