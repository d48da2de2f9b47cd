//! # What it finds
//! A rule that sends a share of its requests to a service or subset without a single endpoint.
//!
//! # Why it matters
//! That share is answered with 503. It is the usual sign of a label that was misspelt in a subset.
//!
//! # Example
//! ```yaml
//! kind: Service
//! spec:
//!   endpoints: { static: [ { address: 10.0.0.4, labels: { version: v1 } } ] }
//!   subsets: [ { name: canary, labels: { version: v2 } } ]        # nothing is v2
//! ```
//!
//! # Fix
//! Correct the subset's labels, add endpoints, or set the weight to 0 until there are some.
//!
//! # References
//! istioctl IST0173 (subset selects no pods).

use weft_bundle::body::Discovery;

use crate::diagnostic::Diagnostic;
use crate::model::{BackendRef, BackendTarget, Mesh, Route, RuleAction, Service};

/// One finding per backend.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let rules = mesh.routes.iter().flat_map(|route| route.rules.iter().map(move |rule| (route, rule)));
    let backends = rules.flat_map(|(route, rule)| match &rule.action {
        RuleAction::Forward(backends) => backends.iter().map(|backend| (route, backend)).collect(),
        RuleAction::Redirect(_) | RuleAction::Respond { .. } => Vec::new(),
    });
    backends.filter_map(|(route, backend)| report(mesh, route, backend)).collect()
}

/// Whether endpoints may be found when a proxy looks for them. Addresses of a name carry no labels for a subset.
fn found_later(service: &Service, is_subset: bool) -> bool {
    service.discovery.as_ref().is_some_and(|found| !is_subset || matches!(found, Discovery::File { .. }))
}

fn report(mesh: &Mesh, route: &Route, backend: &BackendRef) -> Option<Diagnostic> {
    let BackendTarget { service, subset, .. } = backend.target.as_ref().filter(|_| backend.weight > 0)?;
    let service = mesh.service(*service);
    let subset = subset.as_ref().and_then(|name| service.subsets.get_key_value(name));
    if service.endpoints_of(subset.map(|(_, subset)| subset)).next().is_some()
        || found_later(service, subset.is_some())
    {
        return None;
    }
    let (name, declared) = match subset {
        Some((name, subset)) => (format!("subset `{name}` of `{}`", service.id()), &subset.at),
        None => (format!("`{}`", service.id()), &service.at),
    };
    let count = match service.endpoints.len() {
        0 => "the service has no endpoints".to_owned(),
        count => format!("none of the {count} endpoints of the service carries its labels"),
    };
    Some(
        Diagnostic::warning(
            "dead-backend",
            format!("{name} has no endpoints, so its share is answered with 503"),
        )
        .object(route.at.origin.object.clone())
        .at(backend.span)
        .related(declared.span, count)
        .help("correct the labels, add endpoints, or set the weight to 0"),
    )
}
