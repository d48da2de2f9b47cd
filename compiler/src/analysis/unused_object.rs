//! # What it finds
//! A document, or a part of one, that has no effect:
//! * a policy, or a route, that is for nothing that exists, such as one whose selector no workload carries;
//! * a TrafficPolicy that sets nothing, and a deny or audit policy without rules;
//! * settings of a subset that no route sends to, of those whose callers know it.
//!
//! An allow policy without rules has an effect: it denies everything. A subset that is merely declared is no finding.
//! While documents are broken, nothing is said: what is missing may be in them.
//!
//! # Why it matters
//! It is read as policy, and is none.
//!
//! # Example
//! ```yaml
//! kind: TrafficPolicy
//! spec: { targetRefs: [ { kind: Service, name: cart, subset: v3 } ], timeouts: { connect: 1s } }   # nobody routes to v3
//! ```
//!
//! # Fix
//! Remove it, or correct what it is meant to be for.
//!
//! # References
//! Kiali KIA0004 (no matching workload found for the selector), KIA1301; istioctl IST0127 (no matching workloads).

use std::collections::BTreeMap;

use weft_bundle::body::Effect;

use crate::diagnostic::Diagnostic;
use crate::model::{At, Mesh, Route, ServiceIndex, Subset, TrafficTarget};
use crate::yaml::Span;

/// One finding per document and subset.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    found.extend(mesh.routes.iter().filter_map(route));
    for policy in &mesh.access {
        let nothing = match policy.effect {
            Effect::Allow => None,
            Effect::Deny | Effect::Audit => policy.rules.is_empty().then_some("it has no rules"),
        };
        let nowhere = policy.targets.is_empty() && policy.gateways.is_empty();
        found.extend(unused(&policy.at, nowhere.then_some(NOWHERE).or(nothing)));
    }
    for policy in &mesh.tokens {
        let nowhere = policy.services.is_empty() && policy.gateways.is_empty();
        found.extend(unused(&policy.at, nowhere.then_some(NOWHERE)));
    }
    for policy in &mesh.telemetry {
        let nothing = policy.settings.is_empty().then_some("it sets nothing");
        found.extend(unused(&policy.at, policy.targets.is_empty().then_some(NOWHERE).or(nothing)));
    }
    let sent = subsets_in_use(mesh);
    for policy in &mesh.traffic {
        let nothing = policy.settings.is_empty().then_some("it sets nothing");
        let idle = |target: &TrafficTarget| match target {
            TrafficTarget::Subset(service, subset) => !sent.contains_key(&(*service, subset.as_str())),
            _ => false,
        };
        let why = if policy.targets.is_empty() {
            Some(NOWHERE)
        } else if policy.targets.iter().all(idle) {
            Some("no route sends requests to the subset")
        } else {
            nothing
        };
        found.extend(unused(&policy.at, why));
    }
    found.extend(mesh.indexed().flat_map(|(index, _)| idle_subsets(mesh, index, &sent)));
    found
}

/// Subsets with settings that none of the callers who know them are sent to; each once, whoever knows it.
fn idle_subsets(mesh: &Mesh, index: ServiceIndex, sent: &Sent<'_>) -> Vec<Diagnostic> {
    let mut declared: BTreeMap<Span, (&str, &Subset, bool)> = BTreeMap::new();
    for told in mesh.told(index) {
        let sets =
            |subset: &Subset| !subset.settings.is_empty() || subset.ports.values().any(|own| !own.is_empty());
        for (name, subset) in told.subsets().iter().filter(|(_, subset)| sets(subset)) {
            let routes = sent.get(&(index, name.as_str())).into_iter().flatten();
            let used = routes.into_iter().any(|route| told.takes(mesh, route));
            declared.entry(subset.at.span).or_insert((name, subset, false)).2 |= used;
        }
    }
    let idle = declared.into_values().filter(|(.., used)| !used);
    let report = |(name, subset, _): (&str, &Subset, bool)| {
        let mut finding = unused(&subset.at, Some("no route sends requests to it"))?;
        finding.message = format!(
            "the settings of subset `{name}` of `{}` have no effect: no route sends requests to it",
            mesh.service(index).id()
        );
        Some(finding)
    };
    idle.filter_map(report).collect()
}

const NOWHERE: &str = "it is for nothing that exists";

fn route(route: &Route) -> Option<Diagnostic> {
    let nowhere = route.attachments.is_empty() && route.listeners.is_empty();
    unused(&route.at, nowhere.then_some(NOWHERE))
}

fn unused(at: &At, why: Option<&str>) -> Option<Diagnostic> {
    let message = format!("`{}` has no effect: {}", at.origin.object, why?);
    let finding = Diagnostic::note("unused-object", message)
        .object(at.origin.object.clone())
        .at(at.span)
        .label("has no effect")
        .help("remove it, or correct what it is meant to be for");
    Some(finding)
}

/// The routes that send requests or copies to each subset.
type Sent<'m> = BTreeMap<(ServiceIndex, &'m str), Vec<&'m Route>>;

fn subsets_in_use(mesh: &Mesh) -> Sent<'_> {
    let mut sent = Sent::new();
    for (route, rule) in
        mesh.routes.iter().flat_map(|route| route.rules.iter().map(move |rule| (route, rule)))
    {
        let targets = rule.action.backends().iter().filter_map(|backend| backend.target.as_ref());
        let targets = targets.chain(rule.mirrors.iter().filter_map(|mirror| mirror.target.as_ref()));
        for target in targets {
            let Some(subset) = target.subset.as_deref() else { continue };
            let routes = sent.entry((target.service, subset)).or_default();
            if routes.last().is_none_or(|last| !std::ptr::eq(*last, route)) {
                routes.push(route);
            }
        }
    }
    sent
}
