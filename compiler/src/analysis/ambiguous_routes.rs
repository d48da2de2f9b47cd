//! # What it finds
//! Two documents that both claim a request, and nothing in them says which one decides:
//! * entries of two HTTPRoutes on one service or listener that rank equal (Gateway API's criteria: path kind and length, method, number
//!   of headers, number of query parameters) and match a common request, which is printed;
//! * a GRPCRoute and an HTTPRoute for one host of a listener: their rules are never merged;
//! * two VirtualServices, or a VirtualService and an HTTPRoute, for the same callers of one service and port;
//! * rules of two VirtualServices for one host of a gateway that match a common request, which is printed.
//!
//! Equal documents for different requests are no finding, nor are ties inside one document: there the first rule decides.
//! A request that repeats a header or parameter with different values is not looked for. What is too large to compare counts
//! as a common request, with one finding for each service or listener.
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

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Diagnostic;
use crate::model::routing::{self, FrontendPlan, PlannedEntry};
use crate::model::{Gateway, GatewayIndex, Mesh, Order, Port, Route, Service, ServiceIndex};
use crate::reach::{self, Budget, Entry, Reachability, entry_of, ration};

/// One finding per pair of documents.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let services = ration::map(&mesh.services, |place, service, budget| {
        of_service(mesh, ServiceIndex(place), service, budget)
    });
    let gateways = ration::map(&mesh.gateways, |place, gateway, budget| {
        of_gateway(mesh, GatewayIndex(place), gateway, budget)
    });
    let found = services.into_iter().chain(gateways);
    found.flatten().filter(|(pair, _)| seen.insert(*pair)).map(|(_, finding)| finding).collect()
}

/// The findings on one service, each with the pair of routes that it is about.
fn of_service(
    mesh: &Mesh,
    index: ServiceIndex,
    service: &Service,
    budget: &Budget,
) -> Vec<(Pair, Diagnostic)> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for port in &service.ports {
        for namespace in routing::audiences(mesh, index, port) {
            let plan = routing::plan(mesh, index, port, namespace);
            findings.extend(rivals(mesh, &plan, service, port, &mut seen));
            let what = format!("port {} ({})", port.number, port.name);
            findings.extend(ties(&plan, &what, budget, &mut seen));
        }
    }
    findings
}

/// The findings on the listeners of one gateway.
fn of_gateway(
    mesh: &Mesh,
    index: GatewayIndex,
    gateway: &Gateway,
    budget: &Budget,
) -> Vec<(Pair, Diagnostic)> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for (place, listener) in gateway.listeners.iter().enumerate() {
        let plan = routing::listener_plan(mesh, index, place);
        let what = format!("listener `{}` of `{}`", listener.name, gateway.id());
        findings.extend(mixed(mesh, &plan, &what, &mut seen));
        findings.extend(ties(&plan, &what, budget, &mut seen));
    }
    findings
}

/// Two routes, or two entries of a list, by place, the smaller first.
type Pair = (usize, usize);

/// Routes that each want the frontend to themselves, and that no priority tells apart.
fn rivals(
    mesh: &Mesh,
    plan: &FrontendPlan<'_>,
    service: &Service,
    port: &Port,
    seen: &mut BTreeSet<Pair>,
) -> Option<(Pair, Diagnostic)> {
    let (first, others) = plan.rivals.split_first()?;
    let alone = |index: &usize| mesh.routes.get(*index).is_some_and(|route| route.order == Order::Listed);
    // HTTPRoutes go well together; each of them is a rival of a route that goes with nobody.
    let second = others.iter().find(|other| alone(first) || alone(other))?;
    let (first, second) = (*first, *second);
    let (winner, loser) = (mesh.routes.get(first)?, mesh.routes.get(second)?);
    let pair = (first.min(second), first.max(second));
    if priority(winner) != priority(loser) || !seen.insert(pair) {
        return None;
    }
    let (winner, loser) = if first < second { (winner, loser) } else { (loser, winner) };
    let (a, b) = (&winner.at.origin.object, &loser.at.origin.object);
    let message = format!("`{b}` and `{a}` both decide for `{}:{}`", service.id(), port.number);
    let whole = "a VirtualService has the whole host to itself; it is not merged with other routes";
    let finding = Diagnostic::error("ambiguous-routes", message)
        .object(b.clone())
        .at(loser.at.span)
        .label("this one")
        .related(winner.at.span, "and this one")
        .with_note(whole)
        .help("merge them, or say which one wins with the annotation `weft.dev/priority`");
    Some((pair, finding))
}

/// Routes of different kinds that share a name on a listener, where their rules are never merged, and that no priority
/// tells apart.
fn mixed(
    mesh: &Mesh,
    plan: &FrontendPlan<'_>,
    what: &str,
    seen: &mut BTreeSet<Pair>,
) -> Vec<(Pair, Diagnostic)> {
    let mut findings = Vec::new();
    for (first, second) in plan.outranked.iter() {
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
        findings.push((pair, finding));
    }
    findings
}

/// Entries of different documents that rank equal and share a request. What is too large to decide counts as shared:
/// a tie that cannot be excluded is not to be guessed about.
fn ties(
    plan: &FrontendPlan<'_>,
    what: &str,
    budget: &Budget,
    seen: &mut BTreeSet<Pair>,
) -> Vec<(Pair, Diagnostic)> {
    if plan.entries.iter().all(|planned| Some(planned.route_index) == plan.routes.first().copied()) {
        return Vec::new();
    }
    let entries: Vec<_> = plan.entries.iter().map(|planned| entry_of(&planned.condition())).collect();
    let (candidates, beyond) = equal_ranks(plan, &entries, budget);
    if candidates.is_empty() {
        return Vec::new();
    }
    let mut list = Reachability::new(&entries, budget);
    let mut findings = Vec::new();
    // Where the first pair is that is not decided, and how many more there are.
    let mut undecided: Option<(usize, usize)> = None;
    for (first, second) in candidates {
        let (Some(a), Some(b)) = (plan.entries.get(first), plan.entries.get(second)) else { continue };
        let pair = (a.route_index.min(b.route_index), a.route_index.max(b.route_index));
        if seen.contains(&pair) {
            continue;
        }
        let shared = match list.overlaps(first, second) {
            Ok(None) => continue,
            Ok(Some(request)) => format!("match {request}"),
            Err(unknown) => {
                if let Some((_, more)) = &mut undecided {
                    *more += usize::from(seen.insert(pair));
                    continue;
                }
                undecided = Some((findings.len(), 0));
                format!("may match one request ({unknown})")
            }
        };
        seen.insert(pair);
        findings.push((pair, report(a, b, what, &shared)));
    }
    if let Some((at, more @ 1..)) = undecided
        && let Some((_, finding)) = findings.get_mut(at)
    {
        let plural = if more == 1 { "pair" } else { "pairs" };
        finding.notes.push(format!("{more} more {plural} of documents there cannot be told apart either"));
    }
    if let Some((first, second)) = beyond
        && let (Some(a), Some(b)) = (plan.entries.get(first), plan.entries.get(second))
    {
        let pair = (a.route_index.min(b.route_index), a.route_index.max(b.route_index));
        let shared =
            "may match one request (too many conditions rank equal to compare each with each)".to_owned();
        if seen.insert(pair) {
            findings.push((pair, report(a, b, what, &shared)));
        }
    }
    findings
}

/// How many pairs of one list are compared. No list that somebody wrote has as many.
const MOST_PAIRS: usize = 20_000;

/// Steps that it takes to see whether two paths are plainly apart.
const STEPS_PER_PAIR: usize = 16;

/// Pairs of entries, by place and in order, of different routes, equal in rank and in priority, that are not plainly
/// apart; and the first pair beyond [`MOST_PAIRS`] or the budget.
fn equal_ranks(plan: &FrontendPlan<'_>, entries: &[Entry], budget: &Budget) -> (Vec<Pair>, Option<Pair>) {
    let mut pairs = Vec::new();
    let mut start = 0;
    // Entries are sorted by rank, so those of equal rank stand together.
    for group in plan.entries.chunk_by(|a, b| a.rank == b.rank) {
        let places: Vec<usize> = (start..start + group.len()).collect();
        let listed = group.first().is_some_and(|planned| planned.route.order == Order::Listed);
        let pairs_of_group: Box<dyn Iterator<Item = Pair>> = match listed {
            true => Box::new(across_routes(start, group)),
            false => Box::new(candidates(&places, entries)),
        };
        start += group.len();
        for (first, second) in pairs_of_group {
            let (Some(a), Some(b)) = (plan.entries.get(first), plan.entries.get(second)) else { continue };
            let tie = is_tie(a, b);
            let affordable = budget.spend(if tie { STEPS_PER_PAIR } else { 1 }).is_ok();
            let pair = entries.get(first).zip(entries.get(second));
            let apart = || pair.is_some_and(|(a, b)| reach::plainly_apart(a, b, budget));
            if tie && (!affordable || !apart()) {
                pairs.push((first, second));
            }
            if pairs.len() > MOST_PAIRS || (tie && !affordable) {
                let beyond = pairs.pop();
                pairs.sort_unstable();
                return (pairs, beyond);
            }
        }
    }
    pairs.sort_unstable();
    (pairs, None)
}

fn is_tie(a: &PlannedEntry<'_>, b: &PlannedEntry<'_>) -> bool {
    a.route_index != b.route_index && priority(a.route) == priority(b.route)
}

/// Pairs of entries of different listed routes of one priority: among these a wide path ranks no lower than a narrow one.
/// They are sorted by priority, then route; the first is at `start`.
fn across_routes(start: usize, group: &[PlannedEntry<'_>]) -> impl Iterator<Item = Pair> {
    let mut rivals = Vec::with_capacity(group.len());
    let mut at = start;
    for equals in group.chunk_by(|a, b| priority(a.route) == priority(b.route)) {
        let end = at + equals.len();
        for own in equals.chunk_by(|a, b| a.route_index == b.route_index) {
            let after = at + own.len();
            rivals.extend((at..after).map(|first| (first, after..end)));
            at = after;
        }
    }
    rivals.into_iter().flat_map(|(first, rivals)| rivals.map(move |second| (first, second)))
}

/// Pairs of entries of one rank that may have something in common: those with the same plain path, which are looked up,
/// and those with any other condition on the path, with all.
fn candidates(places: &[usize], entries: &[Entry]) -> impl Iterator<Item = (usize, usize)> {
    let mut alike: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut others = Vec::new();
    for place in places {
        match entries.get(*place).and_then(reach::plain_path) {
            Some(path) => alike.entry(path).or_default().push(*place),
            None => others.push(*place),
        }
    }
    let odd: BTreeSet<usize> = others.iter().copied().collect();
    let places = places.to_vec();
    let with_others = others.into_iter().flat_map(move |first| {
        // A pair of two others comes once, from its first.
        let mates: Vec<usize> =
            places.iter().copied().filter(|place| *place > first || !odd.contains(place)).collect();
        mates.into_iter().map(move |second| (first.min(second), first.max(second)))
    });
    let alike = alike.into_values().flat_map(|group| {
        let firsts = group.clone().into_iter().enumerate();
        firsts.flat_map(move |(at, first)| {
            group.iter().skip(at + 1).map(|second| (first, *second)).collect::<Vec<_>>()
        })
    });
    alike.chain(with_others)
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
