//! # What it finds
//! A service that some policy lets call another, by name or identity, and that declares `calls` without it. One finding
//! per caller and callee. A service behind a route of a declared one counts as declared.
//!
//! # Why it matters
//! A service that declares its calls gets a bundle with exactly those. The permission then has no effect: the proxy of the
//! caller does not know the callee and answers 502. Either the declaration is out of date, or the permission is wider
//! than it needs to be.
//!
//! # Example
//! ```yaml
//! kind: Service
//! metadata: { name: reviews }
//! spec: { calls: [] }                               # says: calls nobody
//! ---
//! kind: AccessPolicy
//! spec:
//!   targetRefs: [ { kind: Service, name: ratings } ]
//!   rules: [ { from: [ { service: reviews } ] } ]   # says: reviews calls ratings
//! ```
//!
//! # Fix
//! Add the callee to `calls`, or take the caller out of the policy.
//!
//! # References
//! AWS App Mesh's `backends`, Istio's `Sidecar.egress`: declared dependencies that scope a proxy's configuration.

use std::collections::BTreeSet;

use weft_bundle::body::{Effect, IdentityMatch};

use crate::diagnostic::Diagnostic;
use crate::model::callers::behind;
use crate::model::{AccessPolicy, Caller, CallerKind, Mesh, RuleAction, ServiceIndex};

/// One finding per caller and callee.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for policy in mesh.access.iter().filter(|policy| policy.effect == Effect::Allow) {
        for caller in policy.rules.iter().flat_map(|rule| &rule.from) {
            for (from, to) in undeclared(mesh, policy, caller) {
                if seen.insert((from, to)) {
                    findings.push(report(mesh, policy, caller, from, to));
                }
            }
        }
    }
    findings
}

fn undeclared(mesh: &Mesh, policy: &AccessPolicy, caller: &Caller) -> Vec<(ServiceIndex, ServiceIndex)> {
    let Some(from) = named_service(mesh, &caller.who) else { return Vec::new() };
    let Some(calls) = &mesh.service(from).calls else { return Vec::new() };
    let targets = policy.targets.iter().map(|target| target.service);
    // What its workloads do as a gateway is said by routes.
    let service = mesh.service(from);
    let gateway = mesh.find_gateway(&service.namespace, &service.name);
    let outside = gateway.map(|gateway| behind(mesh, gateway)).unwrap_or_default();
    let reached = |to: ServiceIndex| {
        outside.contains(&to)
            || calls.iter().any(|call| call.service == to || is_behind(mesh, call.service, to))
    };
    targets.filter(|to| *to != from && !reached(*to)).map(|to| (from, to)).collect()
}

/// Whether a route of the declared service sends requests to the other: its callers then reach that one too.
fn is_behind(mesh: &Mesh, declared: ServiceIndex, other: ServiceIndex) -> bool {
    let routes = mesh.index.routes(declared).iter().filter_map(|place| mesh.routes.get(*place));
    routes.flat_map(|route| &route.rules).any(|rule| match &rule.action {
        RuleAction::Forward(backends) => backends
            .iter()
            .filter_map(|backend| backend.target.as_ref())
            .any(|target| target.service == other),
        RuleAction::Redirect(_) | RuleAction::Respond { .. } => false,
    })
}

/// The one service that a caller names; none for sets of identities and for addresses.
fn named_service(mesh: &Mesh, who: &CallerKind) -> Option<ServiceIndex> {
    match who {
        CallerKind::Service(service) => Some(*service),
        CallerKind::Identity(IdentityMatch::Exact(id)) => mesh.index.identity(id),
        CallerKind::Identity(IdentityMatch::Namespace { .. } | IdentityMatch::TrustDomain(_))
        | CallerKind::Network(_) => None,
    }
}

fn report(
    mesh: &Mesh,
    policy: &AccessPolicy,
    caller: &Caller,
    from: ServiceIndex,
    to: ServiceIndex,
) -> Diagnostic {
    let (from, to) = (mesh.service(from), mesh.service(to));
    let message = format!("`{}` may call `{}` but does not declare it in `calls`", from.id(), to.id());
    Diagnostic::warning("undeclared-call", message)
        .object(policy.at.origin.object.clone())
        .at(caller.span)
        .label("this permission has no effect")
        .related(from.at.span, format!("`{}` declares its calls here", from.id()))
        .with_note("a bundle holds the declared calls only, so the caller's proxy does not know this service")
        .help(format!("add `{}` to the `calls` of `{}`, or remove it from this policy", to.name, from.id()))
}
