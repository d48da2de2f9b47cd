//! # What it finds
//! A rule that forwards, and whose backends together have the weight zero, so that it can send nothing anywhere. A single
//! backend of weight zero beside others is the usual way to take it out, and no finding.
//!
//! # Why it matters
//! Every request that the rule matches is answered with 503, or 500 where Gateway API asks for that. The rules after it do
//! not get them.
//!
//! # Example
//! ```yaml
//! backendRefs:
//! - { name: cart-v1, port: 80, weight: 0 }
//! - { name: cart-v2, port: 80, weight: 0 }      # the canary was to get all of it
//! ```
//!
//! # Fix
//! Give one backend a weight. To answer directly, say so with a redirect or a direct response.
//!
//! # References
//! Gateway API v1, BackendRef.weight ("If weight is set to 0, no traffic should be forwarded for this entry").

use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, Route, RouteRule, RuleAction};

/// One finding per rule.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let rules = mesh.routes.iter().flat_map(|route| route.rules.iter().map(move |rule| (route, rule)));
    rules.filter_map(|(route, rule)| report(route, rule)).collect()
}

fn report(route: &Route, rule: &RouteRule) -> Option<Diagnostic> {
    let RuleAction::Forward(backends) = &rule.action else { return None };
    // A rule without backends answers as its dialect says, and is written so on purpose.
    if backends.is_empty() || backends.iter().any(|backend| backend.weight > 0) {
        return None;
    }
    let name = rule.at.origin.rule.as_deref().unwrap_or_default();
    let count = match backends.len() {
        1 => "its only backend has".to_owned(),
        count => format!("all {count} backends have"),
    };
    let finding =
        Diagnostic::warning("zero-weight", format!("`{name}` can send nothing anywhere: {count} weight 0"))
            .object(route.at.origin.object.clone())
            .at(rule.at.span)
            .label("every request is answered with an error")
            .help("give one backend a weight, or answer with a redirect or a direct response");
    Some(backends.iter().fold(finding, |finding, backend| finding.related(backend.span, "weight 0")))
}
