//! # What it finds
//! Settings for leaving out failing endpoints (`outliers`) that never help:
//! * how long or how many is set, and nothing says after how many errors;
//! * the time that an endpoint is left out is zero;
//! * a service or subset has a single endpoint: there is no other to use instead;
//! * leaving out a single one already falls below `minHealthyPercent`, and then all are used again.
//!
//! Endpoints are counted where they are listed; with DNS or a file nobody knows how many there are. A setting for the whole
//! mesh is not held against services with one endpoint, and a threshold of zero is the way to turn it off.
//!
//! # Why it matters
//! People rely on it, and the failing endpoint keeps its share of the requests.
//!
//! # Example
//! ```yaml
//! kind: TrafficPolicy
//! spec:
//!   targetRefs: [ { kind: Service, name: cart } ]               # which has two endpoints
//!   outliers: { consecutiveErrors: 5, minHealthyPercent: 60 }   # one of two is 50 %
//! ```
//!
//! # Fix
//! Say after how many errors, add endpoints, or lower `minHealthyPercent`.
//!
//! # References
//! Envoy, outlier detection (`success_rate_minimum_hosts`, panic threshold); istio/istio#22164.

use std::collections::BTreeMap;

use super::levels::{Level, Levels, Place, Said};
use crate::diagnostic::Diagnostic;
use crate::model::settings::Setting;
use crate::model::{Mesh, Part, Settings};
use crate::yaml::Span;

/// One finding per place that asks for it.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut found: BTreeMap<Span, Diagnostic> = BTreeMap::new();
    for part in mesh.parts() {
        if let Some((place, why)) = judge(mesh, part) {
            found.entry(place.span).or_insert_with(|| report(place, &why));
        }
    }
    found.into_values().collect()
}

fn judge<'m>(mesh: &'m Mesh, part: Part<'m>) -> Option<(Place<'m>, String)> {
    let levels = Levels::of_part(mesh, part);
    let said: Vec<Said<'m, u32>> = THRESHOLDS.into_iter().filter_map(|number| levels.get(number)).collect();
    let base = levels.get(Settings::BASE_EJECTION);
    let Some(threshold) = first_threshold(&levels) else {
        let percent = levels.get(Settings::MAX_EJECTED_PERCENT).map(|said| said.place);
        let how = percent.or(base.map(|said| said.place)).filter(|_| said.is_empty());
        return how.map(|place| {
            (place, "endpoints are never left out: nothing says after how many errors".to_owned())
        });
    };
    if let Some(base) = base.filter(|base| base.value.is_zero()) {
        return Some((base.place, "endpoints are left out for no time at all".to_owned()));
    }
    // What is said for the whole service was not chosen for a subset of it.
    let whole = first_threshold(&Levels::of_part(mesh, Part { subset: None, ..part }));
    if part.subset.is_some() && whole.is_some_and(|whole| whole.place == threshold.place) {
        return None;
    }
    let count = listed(part)?;
    let name = part.spoken();
    if count == 1 && threshold.level == Level::Near {
        return Some((
            threshold.place,
            format!("{name} has one endpoint, and no other to use when that is left out"),
        ));
    }
    let least = levels.get(Settings::MIN_HEALTHY_PERCENT).filter(|least| *least.value > 0)?;
    let left = count.saturating_sub(1).saturating_mul(100);
    (count > 1 && left < count.saturating_mul(usize::try_from(*least.value).unwrap_or(100))).then(|| {
        let share = left / count;
        let why = format!(
            "with one of {count} endpoints left out, {name} has {share} % and not {} % of them, so all are used again",
            least.value
        );
        (least.place, why)
    })
}

/// After how many errors in a row an endpoint is left out, by kind of error.
const THRESHOLDS: [Setting<u32>; 3] = [
    Settings::CONSECUTIVE_ERRORS,
    Settings::CONSECUTIVE_GATEWAY_ERRORS,
    Settings::CONSECUTIVE_LOCAL_FAILURES,
];

/// The first number of errors that is not zero.
fn first_threshold<'m>(levels: &Levels<'m>) -> Option<Said<'m, u32>> {
    THRESHOLDS.into_iter().filter_map(|number| levels.get(number)).find(|said| *said.value > 0)
}

/// How many endpoints there are; none if that is not written here.
fn listed(part: Part<'_>) -> Option<usize> {
    let count = part.endpoints().count();
    (part.told.service.discovery.is_none() && count > 0).then_some(count)
}

fn report(place: Place<'_>, why: &str) -> Diagnostic {
    Diagnostic::warning("ejection-cannot-happen", why)
        .object(place.object)
        .at(place.span)
        .label("does not help")
        .help("say after how many errors and for how long, add endpoints, or lower `minHealthyPercent`")
}
