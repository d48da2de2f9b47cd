//! # What it finds
//! Two documents that both claim a request, and nothing in them says which one decides:
//! * entries of two HTTPRoutes on one service or listener that rank equal (Gateway API's criteria: path kind and length, method, number
//!   of headers, number of query parameters) and match a common request, which is printed;
//! * a GRPCRoute and an HTTPRoute for one host of a listener: their rules are never merged;
//! * two VirtualServices, or a VirtualService and an HTTPRoute, for the same callers of one service and port.
//!
//! Equal documents for different requests are no finding, nor are ties inside one document: there the first rule decides.
//! A request that repeats a header or parameter with different values is not looked for.
//!
//! # Why it matters
//! Other meshes let the older document win, by its creation time in the cluster. Git has no such time, and a restored
//! backup or a second cluster would decide otherwise. So Weft refuses to guess.
//!
//! # Example
//! ```yaml
//! kind: HTTPRoute
//! metadata: { name: canary }
//! spec: { parentRefs: [ { kind: Service, name: shop } ], rules: [ { matches: [ { path: { value: /cart } } ], … } ] }
//! ---
//! kind: HTTPRoute
//! metadata: { name: stable }
//! spec: { parentRefs: [ { kind: Service, name: shop } ], rules: [ { matches: [ { path: { value: /cart } } ], … } ] }
//! ```
//!
//! # Fix
//! Merge the rules into one document, make one condition more specific, or say which document wins with the annotation
//! `weft.dev/priority: "10"` (higher wins; without it, 0). Priority only breaks ties: it never beats a more specific match.
//!
//! # References
//! Gateway API v1, HTTPRouteRule.matches ("ties"); Istio, VirtualService merging; GEP-1294.

use std::collections::BTreeSet;

use crate::diagnostic::Diagnostic;
use crate::model::routing::{self, FrontendPlan, PlannedEntry};
use crate::model::{GatewayIndex, Mesh, Order, Port, Route, Service};
use crate::reach::{Limits, Reachability};

use super::unreachable_route::entry_of;

/// One finding per pair of documents.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for (index, service) in mesh.indexed() {
        for port in &service.ports {
            for namespace in routing::audiences(mesh, index, port) {
                let plan = routing::plan(mesh, index, port, &namespace);
                findings.extend(rivals(mesh, &plan, service, port, &mut seen));
                findings.extend(ties(&plan, &format!("port {} ({})", port.number, port.name), &mut seen));
            }
        }
    }
    for (index, gateway) in mesh.gateways.iter().enumerate() {
        for (place, listener) in gateway.listeners.iter().enumerate() {
            let plan = routing::listener_plan(mesh, GatewayIndex(index), place);
            let what = format!("listener `{}` of `{}`", listener.name, gateway.id());
            findings.extend(mixed(mesh, &plan, &what, &mut seen));
            findings.extend(ties(&plan, &what, &mut seen));
        }
    }
    findings
}

/// Routes that each want the frontend to themselves, and that no priority tells apart.
fn rivals(
    mesh: &Mesh,
    plan: &FrontendPlan<'_>,
    service: &Service,
    port: &Port,
    seen: &mut BTreeSet<(usize, usize)>,
) -> Option<Diagnostic> {
    let (first, others) = plan.rivals.split_first()?;
    let alone = |index: &usize| mesh.routes.get(*index).is_some_and(|route| route.order == Order::Listed);
    // HTTPRoutes go well together; each of them is a rival of a route that goes with nobody.
    let second = others.iter().find(|other| alone(first) || alone(other))?;
    let (first, second) = (*first, *second);
    let (winner, loser) = (mesh.routes.get(first)?, mesh.routes.get(second)?);
    if priority(winner) != priority(loser) || !seen.insert((first.min(second), first.max(second))) {
        return None;
    }
    let (winner, loser) = if first < second { (winner, loser) } else { (loser, winner) };
    let (a, b) = (&winner.at.origin.object, &loser.at.origin.object);
    let message = format!("`{b}` and `{a}` both decide for `{}:{}`", service.id(), port.number);
    let whole = "a VirtualService has the whole host to itself; it is not merged with other routes";
    Some(
        Diagnostic::error("ambiguous-routes", message)
            .object(b.clone())
            .at(loser.at.span)
            .label("this one")
            .related(winner.at.span, "and this one")
            .with_note(whole)
            .help("merge them, or say which one wins with the annotation `weft.dev/priority`"),
    )
}

/// Routes of different kinds that share a name on a listener, where their rules are never merged, and that no priority
/// tells apart.
fn mixed(
    mesh: &Mesh,
    plan: &FrontendPlan<'_>,
    what: &str,
    seen: &mut BTreeSet<(usize, usize)>,
) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for (first, second) in &plan.outranked {
        let (Some(a), Some(b)) = (mesh.routes.get(*first), mesh.routes.get(*second)) else { continue };
        let pair = (*first.min(second), *first.max(second));
        if priority(a) != priority(b) || !seen.insert(pair) {
            continue;
        }
        let (a, b) = if first < second { (a, b) } else { (b, a) };
        let message =
            format!("`{}` and `{}` are for one host of {what}", b.at.origin.object, a.at.origin.object);
        let finding = Diagnostic::error("ambiguous-routes", message)
            .object(b.at.origin.object.clone())
            .at(b.at.span)
            .label("this one")
            .related(a.at.span, "and this one")
            .with_note("rules of a GRPCRoute and an HTTPRoute are never merged, so one of them has the host")
            .help("give each a host of its own, or say which one has it with the annotation `weft.dev/priority`");
        findings.push(finding);
    }
    findings
}

/// Entries of different documents that rank equal and share a request. What is too large to decide counts as shared:
/// a tie that cannot be excluded is not to be guessed about.
fn ties(plan: &FrontendPlan<'_>, what: &str, seen: &mut BTreeSet<(usize, usize)>) -> Vec<Diagnostic> {
    let candidates = equal_ranks(plan);
    if candidates.is_empty() {
        return Vec::new();
    }
    let entries: Vec<_> = plan.entries.iter().map(|planned| entry_of(&planned.condition())).collect();
    let mut list = Reachability::new(&entries, &Limits::default());
    let mut findings = Vec::new();
    for (first, second) in candidates {
        let (Some(a), Some(b)) = (plan.entries.get(first), plan.entries.get(second)) else { continue };
        let pair = (a.route_index.min(b.route_index), a.route_index.max(b.route_index));
        if seen.contains(&pair) {
            continue;
        }
        let shared = match list.overlaps(first, second) {
            Ok(None) => continue,
            Ok(Some(request)) => format!("match {request}"),
            Err(unknown) => format!("may match one request ({unknown})"),
        };
        seen.insert(pair);
        findings.push(report(a, b, what, &shared));
    }
    findings
}

/// Pairs of entries, by place, of different routes, equal in rank and in priority. Entries are sorted by rank, so those
/// of equal rank stand together.
fn equal_ranks(plan: &FrontendPlan<'_>) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (first, a) in plan.entries.iter().enumerate() {
        let later = plan.entries.iter().enumerate().skip(first + 1).take_while(|(_, b)| b.rank == a.rank);
        let rival = |b: &PlannedEntry<'_>| {
            a.route.order == Order::Specificity
                && a.route_index != b.route_index
                && priority(a.route) == priority(b.route)
        };
        pairs.extend(later.filter(|(_, b)| rival(b)).map(|(second, _)| (first, second)));
    }
    pairs
}

fn priority(route: &Route) -> i64 {
    route.priority.unwrap_or(0)
}

fn report(a: &PlannedEntry<'_>, b: &PlannedEntry<'_>, what: &str, shared: &str) -> Diagnostic {
    let (a, b) = if a.route_index < b.route_index { (a, b) } else { (b, a) };
    let (first, second) = (&a.route.at.origin.object, &b.route.at.origin.object);
    let message = format!("`{second}` and `{first}` both {shared}, and neither is more specific");
    Diagnostic::error("ambiguous-routes", message)
        .object(second.clone())
        .at(b.entry.span)
        .label("this condition")
        .related(a.entry.span, "and this one")
        .with_note(format!("both are for {what}"))
        .help("merge them, make one more specific, or say which one wins with the annotation `weft.dev/priority`")
}
