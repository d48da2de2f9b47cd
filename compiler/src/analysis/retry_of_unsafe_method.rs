//! # What it finds
//! Retries of methods that are not idempotent, such as POST and PATCH, after failures that do not exclude that the request
//! was carried out: a reset, a status. A failure to connect and a refused stream are safe to repeat, and no finding; nor are
//! rules that match idempotent methods only, and ports that speak gRPC, where every call is a POST.
//!
//! # Why it matters
//! The order is placed twice, the card charged twice.
//!
//! # Example
//! ```yaml
//! kind: TrafficPolicy
//! spec:
//!   retry: { attempts: 2, on: [ 5xx ], methods: [ GET, POST ] }
//! ```
//!
//! # Fix
//! Leave such methods out of `retry.methods`; in Istio, which repeats every method, give reads a rule of their own or retry
//! on `connect-failure,refused-stream` only. If the service recognises repetitions, say so in the Mesh document with
//! `analyses: { retry-of-unsafe-method: off }`.
//!
//! # References
//! RFC 9110, section 9.2.2 (idempotent methods: a client SHOULD NOT automatically retry others).

use std::collections::BTreeMap;

use weft_bundle::body::{Protocol, RetryOn, StringMatch};

use super::levels::{Levels, Passage, passages};
use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, Port, ServiceIndex, Settings};
use crate::parallel;
use crate::yaml::Span;

/// RFC 9110, section 9.2.2.
const IDEMPOTENT: [&str; 6] = ["DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"];

/// One finding per place that asks for the retries.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let found = parallel::map(&mesh.services, |place, _| of_service(mesh, ServiceIndex(place)));
    let mut by_place: BTreeMap<Span, Diagnostic> = BTreeMap::new();
    for (span, finding) in found.into_iter().flatten() {
        by_place.entry(span).or_insert(finding);
    }
    by_place.into_values().collect()
}

fn of_service(mesh: &Mesh, service: ServiceIndex) -> Vec<(Span, Diagnostic)> {
    let http = |port: &Port| port.protocol.is_http() && port.protocol != Protocol::Grpc;
    let risky = |passage: &Passage<'_>| http(passage.port) && !is_idempotent(mesh, passage.rule);
    passages(mesh, service).filter(risky).filter_map(|passage| judge(mesh, passage)).collect()
}

/// Whether all conditions that lead to the rule ask for an idempotent method.
fn is_idempotent(mesh: &Mesh, rule: Option<(usize, usize)>) -> bool {
    let Some((route, rule)) = rule else { return false };
    let entries = mesh.routes.get(route).into_iter().flat_map(|route| &route.entries);
    let safe = |method: &Option<StringMatch>| matches!(method, Some(StringMatch::Exact(method)) if IDEMPOTENT.contains(&method.as_str()));
    entries.into_iter().filter(|entry| entry.rule == rule).all(|entry| safe(&entry.condition.method))
}

fn judge<'m>(mesh: &'m Mesh, passage: Passage<'m>) -> Option<(Span, Diagnostic)> {
    let levels = Levels::of(mesh, passage);
    let attempts = levels.get(Settings::RETRY_ATTEMPTS).filter(|said| *said.value > 0)?;
    let on = levels.get(Settings::RETRY_ON)?;
    let methods = levels.get(Settings::RETRY_METHODS)?;
    let not_done = |on: &&RetryOn| {
        matches!(on, RetryOn::Reset | RetryOn::GatewayError | RetryOn::ServerError | RetryOn::Status(_))
    };
    let after = on.value.iter().find(not_done)?;
    let risky = methods.value.iter().filter(|method| !IDEMPOTENT.contains(&method.as_str()));
    let risky: Vec<String> = risky.map(|method| format!("`{method}`")).collect();
    if risky.is_empty() {
        return None;
    }
    // Who names the methods, unless that is a default; then who asks for retries at all.
    let place = if methods.level <= attempts.level { methods.place } else { attempts.place };
    let message = format!(
        "requests to `{}` with {} are repeated after `{after}`, which may come after they were carried out",
        passage.told.service.id(),
        risky.join(" or ")
    );
    let finding = Diagnostic::warning("retry-of-unsafe-method", message)
        .object(place.object)
        .at(place.span)
        .label("may be carried out twice")
        .help("leave these methods out of the retries, or repeat only after `connect-failure` and `refused-stream`");
    Some((place.span, finding))
}
