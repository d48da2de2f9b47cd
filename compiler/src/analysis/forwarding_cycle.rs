//! # What it finds
//! Requests that make each other in a circle, by what routes do with them:
//! * a service is called, a route sends or copies the request to another service, and that one declares a call back; a
//!   circle that its `calls` alone make is `dependency-cycle`;
//! * gateways that forward to each other, or to themselves, on ports that they listen on.
//!
//! The graph has a node for each service and an edge for each service where a declared call arrives: routes apply once, at
//! the caller's proxy, so backends are not followed further by routes of their own. Circles of redirects are
//! `redirect-loop`; delegates are bound while reading.
//!
//! # Why it matters
//! A mirror in a circle makes each request into endlessly many: every copy is copied again. A gateway that forwards to
//! itself does so until a time limit ends it.
//!
//! # Example
//! ```yaml
//! kind: HTTPRoute
//! spec:
//!   parentRefs: [ { kind: Service, name: cart } ]
//!   rules:
//!   - filters: [ { type: RequestMirror, requestMirror: { backendRef: { name: audit, port: 80 } } } ]
//!     backendRefs: [ { name: cart, port: 80 } ]
//! ---
//! kind: Service
//! metadata: { name: audit }
//! spec: { calls: [ { name: cart } ] }          # each of these calls is copied to audit
//! ```
//!
//! # Fix
//! Send the copy to a service that does not call back, or let it call under a name without the mirror.
//!
//! # References
//! GEP-1294 and GAMMA (a mesh route applies to requests for its parent); R. E. Tarjan (1972) for the groups, linear in
//! services and edges; RFC 9110, section 7.6.3, on loops of intermediaries.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use super::arrivals::{self, Arrival, Via};
use crate::diagnostic::Diagnostic;
use crate::model::{BackendTarget, GatewayIndex, Mesh, RuleAction, ServiceIndex};
use crate::yaml::Span;

/// One finding per group of services, and one per group of gateways.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut found = services(mesh);
    found.extend(gateways(mesh));
    found
}

fn services(mesh: &Mesh) -> Vec<Diagnostic> {
    let arrivals = arrivals::all(mesh, |_| (), |(), ()| ());
    // What is called is where it arrives, unless a route says otherwise.
    let by_route = |arrival: &Arrival<()>| {
        !matches!(arrival.via, Via::Itself)
            && (arrival.to != arrival.call.service || matches!(arrival.via, Via::Mirror(_)))
    };
    if !arrivals.iter().flatten().any(by_route) {
        return Vec::new();
    }
    let groups =
        groups(&arrivals.iter().map(|from| from.iter().map(|a| a.to.0).collect()).collect::<Vec<_>>());
    let mut reported = BTreeSet::new();
    let mut found = Vec::new();
    for (from, edges) in arrivals.iter().enumerate() {
        for arrival in edges.iter().filter(|arrival| by_route(arrival)) {
            let group = groups.get(from);
            if group != groups.get(arrival.to.0) || reported.contains(&group) {
                continue;
            }
            if let Some(back) = way(&arrivals, arrival.to.0, from) {
                reported.insert(group);
                found.push(report(mesh, from, arrival, &back));
            }
        }
    }
    found
}

/// The strongly connected group of each node.
fn groups(edges: &[Vec<usize>]) -> Vec<usize> {
    let mut graph = DiGraph::<(), ()>::new();
    let nodes: Vec<_> = edges.iter().map(|_| graph.add_node(())).collect();
    for (from, targets) in edges.iter().enumerate() {
        for to in targets {
            if let (Some(from), Some(to)) = (nodes.get(from), nodes.get(*to)) {
                graph.add_edge(*from, *to, ());
            }
        }
    }
    let mut groups = vec![0; edges.len()];
    for (number, members) in tarjan_scc(&graph).into_iter().enumerate() {
        for member in members {
            if let Some(group) = groups.get_mut(member.index()) {
                *group = number;
            }
        }
    }
    groups
}

/// A shortest way along calls, as (caller, arrival); empty if both ends are one.
fn way(arrivals: &[Vec<Arrival<()>>], start: usize, end: usize) -> Option<Vec<(usize, Arrival<()>)>> {
    let mut reached_by: BTreeMap<usize, (usize, Arrival<()>)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        if node == end {
            let mut way = Vec::new();
            let mut at = end;
            while at != start
                && let Some((from, arrival)) = reached_by.get(&at)
            {
                way.push((*from, *arrival));
                at = *from;
            }
            way.reverse();
            return Some(way);
        }
        for arrival in arrivals.get(node).into_iter().flatten() {
            if arrival.to.0 != start
                && let std::collections::btree_map::Entry::Vacant(entry) = reached_by.entry(arrival.to.0)
            {
                entry.insert((node, *arrival));
                queue.push_back(arrival.to.0);
            }
        }
    }
    None
}

fn report(mesh: &Mesh, from: usize, first: &Arrival<()>, back: &[(usize, Arrival<()>)]) -> Diagnostic {
    let id = |place: usize| mesh.service(ServiceIndex(place)).id();
    let steps: Vec<(usize, Arrival<()>)> =
        std::iter::once((from, *first)).chain(back.iter().copied()).collect();
    let mut round: Vec<String> = steps.iter().map(|(from, _)| format!("`{}`", id(*from))).collect();
    round.push(format!("`{}`", id(from)));
    let copies = steps.iter().any(|(_, arrival)| matches!(arrival.via, Via::Mirror(_)));
    let what = if copies { "requests are copied in a circle" } else { "requests go in a circle" };
    let message = format!("{what}: {}", round.join(" → "));
    let mut finding = Diagnostic::warning("forwarding-cycle", message);
    for (place, (from, arrival)) in steps.iter().enumerate() {
        let called = mesh.service(arrival.call.service).id();
        let (span, text) = match arrival.via {
            Via::Itself => (arrival.call.span, format!("`{}` calls `{called}` here", id(*from))),
            Via::Backend(span) => {
                (span, format!("what `{}` calls as `{called}` goes to `{}`", id(*from), id(arrival.to.0)))
            }
            Via::Mirror(span) => (
                span,
                format!("what `{}` calls as `{called}` is copied to `{}`", id(*from), id(arrival.to.0)),
            ),
        };
        finding = match place {
            0 => {
                let route = arrival.route.and_then(|route| mesh.routes.get(route));
                let object = route.map(|route| route.at.origin.object.clone()).unwrap_or_default();
                finding.object(object).at(span).label(text)
            }
            _ => finding.related(span, text),
        };
    }
    finding.help("send them to a service that does not call back, or let it call under another name")
}

/// A route of a gateway that leads to the workloads of a gateway.
#[derive(Clone, Copy)]
struct Step {
    to: usize,
    route: usize,
    span: Span,
}

fn gateways(mesh: &Mesh) -> Vec<Diagnostic> {
    let by_service: BTreeMap<ServiceIndex, usize> = mesh
        .gateways
        .iter()
        .enumerate()
        .filter_map(|(place, gateway)| Some((gateway.service?, place)))
        .collect();
    if by_service.is_empty() {
        return Vec::new();
    }
    let mut steps: Vec<Vec<Step>> = vec![Vec::new(); mesh.gateways.len()];
    for (place, route) in mesh.routes.iter().enumerate() {
        for GatewayIndex(from) in route.listeners.iter().map(|attached| attached.gateway) {
            for (target, span) in route.rules.iter().flat_map(targets) {
                let to = by_service.get(&target.service).filter(|to| listens(mesh, **to, target));
                if let (Some(to), Some(own)) = (to, steps.get_mut(from)) {
                    own.push(Step { to: *to, route: place, span });
                }
            }
        }
    }
    let groups =
        groups(&steps.iter().map(|own| own.iter().map(|step| step.to).collect()).collect::<Vec<_>>());
    let mut reported = BTreeSet::new();
    let mut found = Vec::new();
    for (from, own) in steps.iter().enumerate() {
        for step in own {
            let group = groups.get(from);
            if group == groups.get(step.to) && reported.insert(group) {
                found.push(gateway_report(mesh, from, *step));
            }
        }
    }
    found
}

fn targets(rule: &crate::model::RouteRule) -> Vec<(&BackendTarget, Span)> {
    let RuleAction::Forward(backends) = &rule.action else { return Vec::new() };
    let sent = backends.iter().filter(|backend| backend.weight > 0);
    let sent = sent.filter_map(|backend| Some((backend.target.as_ref()?, backend.span)));
    let copied = rule.mirrors.iter().filter(|mirror| mirror.share.numerator > 0);
    sent.chain(copied.filter_map(|mirror| Some((mirror.target.as_ref()?, mirror.span)))).collect()
}

/// Whether the gateway accepts on the port behind a port of its service.
fn listens(mesh: &Mesh, gateway: usize, target: &BackendTarget) -> bool {
    let Some(port) = mesh.service(target.service).port(target.port) else { return false };
    let listeners = mesh.gateways.get(gateway).into_iter().flat_map(|gateway| &gateway.listeners);
    listeners.into_iter().any(|listener| listener.port == port.target)
}

fn gateway_report(mesh: &Mesh, from: usize, step: Step) -> Diagnostic {
    let id = |place: usize| mesh.gateways.get(place).map(crate::model::Gateway::id).unwrap_or_default();
    let message = match from == step.to {
        true => format!("gateway `{}` forwards to itself", id(from)),
        false => {
            format!("gateway `{}` forwards to gateway `{}`, which leads back to it", id(from), id(step.to))
        }
    };
    let object = mesh.routes.get(step.route).map(|route| route.at.origin.object.clone()).unwrap_or_default();
    Diagnostic::warning("forwarding-cycle", message)
        .object(object)
        .at(step.span)
        .label("what arrives here may come round again")
        .help("forward to the service behind the gateway, not to the gateway")
}
