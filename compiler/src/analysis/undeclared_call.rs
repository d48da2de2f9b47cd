//! # What it finds
//! A service that some policy lets call another, by name or identity, and that declares `calls` without it. One finding
//! per caller and callee. A service behind a route of a declared one counts as declared.
//!
//! And a route of a declared service that leads a caller's requests out of the mesh, to a service that the caller does not
//! declare. A service of the mesh decides itself who may call it; outside the mesh nobody does, and `calls` is all that says
//! who goes there. One finding per backend or copy, which names the first caller.
//!
//! # Why it matters
//! A service that declares its calls gets a bundle with exactly those. The permission then has no effect: the proxy of the
//! caller does not know the callee and answers 502. Either the declaration is out of date, or the permission is wider
//! than it needs to be. A route that leads out gives a caller a way out of the mesh that its own document does not show.
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
//! Add the callee to `calls`, or take the caller out of the policy, or the backend out of the route.
//!
//! # References
//! AWS App Mesh's `backends`, Istio's `Sidecar.egress`: declared dependencies that scope a proxy's configuration.

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::{Effect, IdentityMatch};

use crate::diagnostic::Diagnostic;
use crate::model::callers::behind;
use crate::model::{AccessPolicy, Caller, CallerKind, Mesh, RuleAction, ServiceIndex, routing};
use crate::yaml::Span;

/// One finding per caller and callee, and one per way out.
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
    findings.extend(ways_out(mesh));
    findings
}

/// What a route leads to outside the mesh, and where it says so.
type WayOut = (ServiceIndex, Span);

/// The rules that lead out of the mesh, by route and rule.
fn leading_out(mesh: &Mesh) -> BTreeMap<(usize, usize), Vec<WayOut>> {
    let mut leading: BTreeMap<_, Vec<WayOut>> = BTreeMap::new();
    for (place, route) in mesh.routes.iter().enumerate().filter(|(_, route)| !route.attachments.is_empty()) {
        for (number, rule) in route.rules.iter().enumerate() {
            let sent = rule
                .action
                .backends()
                .iter()
                .filter(|backend| backend.weight > 0)
                .map(|b| (&b.target, b.span));
            let copied = rule.mirrors.iter().map(|mirror| (&mirror.target, mirror.span));
            let targets = sent.chain(copied).filter_map(|(to, span)| Some((to.as_ref()?.service, span)));
            let out: Vec<WayOut> = targets.filter(|(to, _)| mesh.service(*to).external).collect();
            if !out.is_empty() {
                leading.insert((place, number), out);
            }
        }
    }
    leading
}

fn ways_out(mesh: &Mesh) -> Vec<Diagnostic> {
    let leading = leading_out(mesh);
    let routes = leading.keys().filter_map(|(route, _)| mesh.routes.get(*route));
    let fronts: BTreeSet<ServiceIndex> =
        routes.flat_map(|route| &route.attachments).map(|attachment| attachment.service).collect();
    if fronts.is_empty() {
        return Vec::new();
    }
    let mut found: BTreeMap<(usize, WayOut), Vec<(ServiceIndex, ServiceIndex)>> = BTreeMap::new();
    for (from, caller) in mesh.indexed() {
        let Some(calls) = &caller.calls else { continue };
        let declared = |to: ServiceIndex| to == from || calls.iter().any(|call| call.service == to);
        let mut seen = BTreeSet::new();
        for call in calls.iter().filter(|call| fronts.contains(&call.service)) {
            for port in &mesh.service(call.service).ports {
                for planned in routing::plan(mesh, call.service, port, caller).entries {
                    let out = leading.get(&(planned.route_index, planned.entry.rule));
                    for way in out.into_iter().flatten() {
                        if !declared(way.0) && seen.insert(way.0) {
                            found.entry((planned.route_index, *way)).or_default().push((from, call.service));
                        }
                    }
                }
            }
        }
    }
    found.into_iter().filter_map(|((route, way), callers)| way_out(mesh, route, way, &callers)).collect()
}

/// `callers` are pairs of a caller and what it calls.
fn way_out(
    mesh: &Mesh,
    route: usize,
    (to, span): WayOut,
    callers: &[(ServiceIndex, ServiceIndex)],
) -> Option<Diagnostic> {
    let ((from, called), more) = callers.split_first()?;
    let (caller, called, to) = (mesh.service(*from), mesh.service(*called), mesh.service(to));
    let message = format!(
        "what `{}` calls as `{}` leads out of the mesh to `{}`, which it does not declare in `calls`",
        caller.id(),
        called.id(),
        to.id()
    );
    let finding = Diagnostic::warning("undeclared-call", message)
        .object(mesh.routes.get(route)?.at.origin.object.clone())
        .at(span)
        .label("leads out")
        .related(caller.at.span, format!("`{}` declares its calls here", caller.id()))
        .with_note("outside the mesh nobody decides who may call; `calls` is what says who goes there")
        .help(format!("add `{}` to the `calls` of `{}`, or send this elsewhere", to.name, caller.id()));
    Some(match more.len() {
        0 => finding,
        1 => finding.with_note("one more caller does not declare it"),
        more => finding.with_note(format!("{more} more callers do not declare it")),
    })
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
