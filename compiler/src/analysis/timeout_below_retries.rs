//! # What it finds
//! A rule or a policy that asks for tries that cannot happen if tries take their time: `retry.attempts` times
//! `timeouts.perTry` is more than `timeouts.request`, so that the whole request is over before the last try begins.
//! Pauses between tries are not counted, as they may be next to nothing, nor are tries that fail at once.
//!
//! # Why it matters
//! The retries are there for the day on which the callee is slow, and on that day they do not happen.
//!
//! # Example
//! ```yaml
//! kind: TrafficPolicy
//! spec:
//!   timeouts: { request: 5s, perTry: 4s }
//!   retry: { attempts: 3 }                # the second try is cut short, the third and fourth never begin
//! ```
//!
//! # Fix
//! Give the request as long as all of its tries, or each try less, or ask for fewer.
//!
//! # References
//! Gateway API v1, HTTPRouteTimeouts ("the value of BackendRequest must be <= the value of Request timeout"); Envoy,
//! `per_try_timeout` and the global timeout; istio/istio#28240.

use std::collections::BTreeMap;

use super::levels::{Level, Levels, Place, limit, passages};
use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, ServiceIndex, Settings};
use crate::parallel;
use crate::yaml::Span;

/// One finding per place that sets the limit of a try.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let found = parallel::map(&mesh.services, |place, _| of_service(mesh, ServiceIndex(place)));
    let mut by_place: BTreeMap<Span, Diagnostic> = BTreeMap::new();
    for (span, finding) in found.into_iter().flatten() {
        by_place.entry(span).or_insert(finding);
    }
    by_place.into_values().collect()
}

fn of_service(mesh: &Mesh, service: ServiceIndex) -> Vec<(Span, Diagnostic)> {
    let judge = |passage| {
        let levels = Levels::of(mesh, passage);
        let attempts = levels.get(Settings::RETRY_ATTEMPTS).filter(|said| *said.value > 0)?;
        let per_try = levels.get(Settings::PER_TRY)?;
        let request = levels.get(Settings::REQUEST)?;
        let (each, whole) = (limit(*per_try.value)?, limit(*request.value)?);
        let needed = each.saturating_mul(u128::from(*attempts.value));
        // Nobody chose all three of them if the attempts are a dialect's own.
        let meant = attempts.level != Level::Dialect || each >= whole;
        (needed > whole && meant).then(|| {
            let spoken = format!(
                "the last of {} tries cannot begin: {} tries of {} take longer than the {} of the whole request",
                u64::from(*attempts.value) + 1,
                attempts.value,
                per_try.value,
                request.value
            );
            (per_try.place.span, report(spoken, per_try.place, request.place, attempts.place))
        })
    };
    passages(mesh, service).filter_map(judge).collect()
}

fn report(message: String, per_try: Place<'_>, request: Place<'_>, attempts: Place<'_>) -> Diagnostic {
    let finding = Diagnostic::warning("timeout-below-retries", message)
        .object(per_try.object)
        .at(per_try.span)
        .label("the limit of one try is set here");
    let others =
        [(request, "the limit of the whole request is set here"), (attempts, "the tries are asked for here")];
    let apart = others.into_iter().filter(|(at, _)| at.span != per_try.span);
    apart
        .fold(finding, |finding, (at, text)| finding.related(at.span, text))
        .help("give the request as long as all of its tries, or each try less, or ask for fewer")
}
