//! # What it finds
//! A rule that sends a share of its requests to a service or subset without a single endpoint, as some of its callers know
//! the subset. Where no document lists the endpoints of a service of Kubernetes, that is one `unlisted-endpoints` for all of
//! them; a subset that none of its workloads can belong to is a finding here.
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
use crate::model::{BackendRef, Mesh, Route, Service, Subset, Workload};

/// One finding per backend, and per declaration of its subset if callers know several.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let rules = mesh.routes.iter().flat_map(|route| route.rules.iter().map(move |rule| (route, rule)));
    let backends =
        rules.flat_map(|(route, rule)| rule.action.backends().iter().map(move |backend| (route, backend)));
    backends.flat_map(|(route, backend)| of_backend(mesh, route, backend)).collect()
}

fn of_backend(mesh: &Mesh, route: &Route, backend: &BackendRef) -> Vec<Diagnostic> {
    let Some(target) = backend.target.as_ref().filter(|_| backend.weight > 0) else { return Vec::new() };
    let service = mesh.service(target.service);
    let Some(name) = &target.subset else {
        return report(route, backend, service, None).into_iter().collect();
    };
    let callers = mesh.told(target.service).filter(|told| told.takes(mesh, route));
    let mut declared: Vec<(&String, &Subset)> =
        callers.filter_map(|told| told.subsets().get_key_value(name)).collect();
    declared.sort_by_key(|(_, subset)| subset.at.span);
    declared.dedup_by_key(|(_, subset)| subset.at.span);
    declared.into_iter().filter_map(|subset| report(route, backend, service, Some(subset))).collect()
}

/// Whether endpoints may be found when a proxy looks for them. Addresses of a name carry no labels for a subset.
fn found_later(service: &Service, subset: Option<&Subset>) -> bool {
    let carried = || subset.is_none_or(|subset| service.workloads.is_empty() || is_carried(service, subset));
    let discovered = |found: &Discovery| subset.is_none() || matches!(found, Discovery::File { .. });
    service.discovery.as_ref().is_some_and(discovered) || (service.endpoints_later && carried())
}

/// Whether some workload that documents describe has a subset's labels.
fn is_carried(service: &Service, subset: &Subset) -> bool {
    let carries = |workload: &Workload| {
        subset.labels.iter().all(|(key, value)| workload.labels.get(key) == Some(value))
    };
    service.workloads.iter().any(carries)
}

fn report(
    route: &Route,
    backend: &BackendRef,
    service: &Service,
    subset: Option<(&String, &Subset)>,
) -> Option<Diagnostic> {
    if service.endpoints_of(subset.map(|(_, subset)| subset)).next().is_some()
        || found_later(service, subset.map(|(_, subset)| subset))
    {
        return None;
    }
    let (name, declared) = match subset {
        Some((name, subset)) => (format!("subset `{name}` of `{}`", service.id()), &subset.at),
        None => (format!("`{}`", service.id()), &service.at),
    };
    let workloads = service.workloads.len();
    let count = match service.endpoints.len() {
        0 if workloads > 0 && subset.is_some() => {
            "none of the service's workloads carries its labels".to_owned()
        }
        0 => "the service has no endpoints".to_owned(),
        count => format!("none of the {count} endpoints of the service carries its labels"),
    };
    let unlabelled = service.endpoints.iter().all(|endpoint| endpoint.labels.is_empty());
    let help = match subset {
        Some((_, subset)) if unlabelled && is_carried(service, subset) => {
            "add the Pods that the EndpointSlices refer to: their labels say which subset an address belongs to"
        }
        _ => "correct the labels, add endpoints, or set the weight to 0",
    };
    Some(
        Diagnostic::warning(
            "dead-backend",
            format!("{name} has no endpoints, so its share is answered with 503"),
        )
        .object(route.at.origin.object.clone())
        .at(backend.span)
        .related(declared.span, count)
        .help(help),
    )
}
