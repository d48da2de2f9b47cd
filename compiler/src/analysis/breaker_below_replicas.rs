//! # What it finds
//! A limit of connections or of requests in flight to a service or subset that is lower than the number of its endpoints.
//! Limits count at each caller's proxy. Endpoints are counted where they are listed; with DNS or a file nobody knows how
//! many there are.
//!
//! # Why it matters
//! A caller can never use all endpoints at once. With two connections to twenty replicas, requests wait, and then fail with
//! 503, while eighteen are idle. The limit was probably chosen for another number of them, or per endpoint.
//!
//! # Example
//! ```yaml
//! kind: TrafficPolicy
//! spec:
//!   targetRefs: [ { kind: Service, name: cart } ]     # which has three endpoints
//!   limits: { connections: 1 }
//! ```
//!
//! # Fix
//! Allow at least one connection and request for each endpoint.
//!
//! # References
//! Envoy, circuit breaking (limits are per cluster and process); Istio, ConnectionPoolSettings.

use std::collections::BTreeMap;

use super::levels::{Level, Levels, Place};
use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, Part, Settings};
use crate::yaml::Span;

/// One finding per place that sets the limit.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut found: BTreeMap<Span, Diagnostic> = BTreeMap::new();
    for part in mesh.parts().filter(|part| part.told.service.discovery.is_none()) {
        if let Some((place, why)) = judge(mesh, part) {
            found.entry(place.span).or_insert_with(|| report(place, &why));
        }
    }
    found.into_values().collect()
}

fn judge<'m>(mesh: &'m Mesh, part: Part<'m>) -> Option<(Place<'m>, String)> {
    let levels = Levels::of_part(mesh, part);
    let limits = [
        (Settings::MAX_CONNECTIONS.name, levels.get(Settings::MAX_CONNECTIONS)),
        (Settings::MAX_REQUESTS.name, levels.get(Settings::MAX_REQUESTS)),
    ];
    let count = part.endpoints().count();
    limits.into_iter().find_map(|(field, said)| {
        // What holds for the whole mesh was not chosen for this service.
        let said = said.filter(|said| said.level == Level::Near)?;
        let low = usize::try_from(*said.value).is_ok_and(|value| value < count);
        low.then(|| {
            let name = part.spoken();
            (said.place, format!("`{field}: {}` is less than the {count} endpoints of {name}", said.value))
        })
    })
}

fn report(place: Place<'_>, why: &str) -> Diagnostic {
    Diagnostic::warning("breaker-below-replicas", why)
        .object(place.object)
        .at(place.span)
        .label("a caller never uses all of them at once")
        .help("allow at least one for each endpoint")
}
