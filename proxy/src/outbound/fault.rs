//! Faults that policy injects: a wait, then perhaps an answer. Which request meets them is the engine's decision.

use std::time::Duration;

use weft_bundle::body::Fault;
use weft_bundle::engine::{Injected, inject};

use super::timed_out;
use crate::answer::Refusal;
use crate::telemetry::record::Record;

/// Lets a request meet its faults. Waits as long as policy says, but not past the time that the request may take, of which
/// what is left is given back; and not past its caller, with whom this future ends.
pub(super) async fn meet<'r>(
    fault: Option<&'r Fault>,
    limit: Option<Duration>,
    record: &mut Record,
) -> Result<(Injected<'r>, Option<Duration>), Refusal> {
    let Some(fault) = fault else { return Ok((Injected::default(), limit)) };
    let injected = inject(fault, [fastrand::u64(..), fastrand::u64(..)]);
    let Some(delay) = injected.delay else { return Ok((injected, limit)) };
    record.delayed(delay);
    match limit {
        Some(limit) if limit <= delay => {
            tokio::time::sleep(limit).await;
            Err(timed_out(limit))
        }
        Some(limit) => {
            tokio::time::sleep(delay).await;
            Ok((injected, Some(limit - delay)))
        }
        None => {
            tokio::time::sleep(delay).await;
            Ok((injected, None))
        }
    }
}
