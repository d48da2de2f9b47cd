//! # What it finds
//! A `timeouts.poolIdle` of a minute or more, or without limit, for a service of the mesh: callers then keep unused
//! connections at least as long as the callee's proxy, which closes them after a minute. For services outside the mesh
//! nothing is known of the other side, and nothing is said.
//!
//! # Why it matters
//! A request may travel on a connection while the callee closes it. The caller sees a reset, now and then, that no log of
//! the callee explains; requests that are not safe to repeat fail.
//!
//! # Example
//! ```yaml
//! kind: TrafficPolicy
//! spec: { targetRefs: [ { kind: Service, name: cart } ], timeouts: { poolIdle: 5m } }
//! ```
//!
//! # Fix
//! Choose less than a minute, or leave it out: 50 s is the default.
//!
//! # References
//! RFC 9112, section 9.5 (a client or server may close an idle connection at any time); istio/istio#27513,
//! envoyproxy/envoy#1979: resets by closing connections, the fault reported most often.

use std::collections::BTreeMap;

use weft_bundle::duration::DurationText;

use super::levels::{Level, Levels, Said, limit};
use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, Service, Settings};
use crate::yaml::Span;

/// When a callee's proxy closes an unused connection.
const CALLEE_MILLIS: u128 = 60_000;

/// One finding per place that sets it.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut found: BTreeMap<Span, Diagnostic> = BTreeMap::new();
    for part in mesh.parts().filter(|part| !part.told.service.external) {
        let said = Levels::of_part(mesh, part).get(Settings::POOL_IDLE);
        if let Some(said) = said.filter(|said| is_too_long(said)) {
            found.entry(said.place.span).or_insert_with(|| report(part.told.service, &said));
        }
    }
    found.into_values().collect()
}

fn is_too_long(said: &Said<'_, DurationText>) -> bool {
    said.level != Level::BuiltIn && limit(*said.value).is_none_or(|millis| millis >= CALLEE_MILLIS)
}

fn report(service: &Service, said: &Said<'_, DurationText>) -> Diagnostic {
    let kept = match limit(*said.value) {
        Some(_) => format!("for {}", said.value),
        None => "without limit".to_owned(),
    };
    let id = service.id();
    let message =
        format!("callers keep unused connections to `{id}` {kept}, and its proxy closes them after 60s");
    Diagnostic::warning("keepalive-mismatch", message)
        .object(said.place.object)
        .at(said.place.span)
        .label("longer than the other side")
        .with_note("a request on a connection that is just being closed fails, and may not be repeated")
        .help("set `timeouts.poolIdle` below 60s, or leave it out for 50s")
}
