//! # What it finds
//! Services that call each other in a circle: `a` calls `b`, `b` calls `c`, `c` calls `a`. The graph has a node for each
//! service and an edge for each call it declares in `calls`. One finding per group of services that reach each other,
//! with one shortest circle through the group's first service.
//!
//! # Why it matters
//! No order of starting, upgrading or failing over satisfies a circle: each service waits for the next. A slow member
//! slows itself, and retries go round and multiply.
//!
//! # Example
//! ```yaml
//! kind: Service
//! metadata: { name: orders }
//! spec: { calls: [ { name: stock } ] }
//! ---
//! kind: Service
//! metadata: { name: stock }
//! spec: { calls: [ { name: orders } ] }      # and so on round
//! ```
//!
//! # Fix
//! Let one of the calls become an event, or move what both need into a service of its own. If the circle is meant, say so
//! in the Mesh document: `analyses: { dependency-cycle: note }`.
//!
//! # References
//! R. E. Tarjan, Depth-first search and linear graph algorithms (1972): groups in time linear in services and calls.

use std::collections::{BTreeMap, VecDeque};

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::diagnostic::Diagnostic;
use crate::model::{Call, Mesh, ServiceIndex};

/// One finding per strongly connected group.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut graph = DiGraph::<ServiceIndex, Call>::new();
    let nodes: Vec<NodeIndex> = mesh.indexed().map(|(index, _)| graph.add_node(index)).collect();
    for (from, service) in mesh.indexed() {
        for call in service.named_calls() {
            if let (Some(from), Some(to)) = (nodes.get(from.0), nodes.get(call.service.0)) {
                graph.add_edge(*from, *to, *call);
            }
        }
    }
    let mut findings: Vec<_> = tarjan_scc(&graph)
        .into_iter()
        // A service alone is in a circle only if it calls itself.
        .filter(|group| group.len() > 1 || group.iter().any(|node| graph.contains_edge(*node, *node)))
        .filter_map(|group| group.into_iter().min())
        .filter_map(|first| shortest_cycle(&graph, first))
        .collect();
    findings.sort_by_key(|cycle| cycle.first().map(|(from, _)| *from));
    findings.iter().map(|cycle| report(mesh, cycle)).collect()
}

/// A shortest way from a node back to itself, as (caller, call) pairs; none if there is no way.
fn shortest_cycle(
    graph: &DiGraph<ServiceIndex, Call>,
    start: NodeIndex,
) -> Option<Vec<(ServiceIndex, Call)>> {
    let mut reached_by: BTreeMap<NodeIndex, (NodeIndex, Call)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        // petgraph lists edges newest first; the calls of a document are shown in its own order.
        let mut edges: Vec<_> =
            graph.edges(node).map(|edge| (*edge.weight(), petgraph::visit::EdgeRef::target(&edge))).collect();
        edges.reverse();
        for (call, target) in edges {
            if target == start {
                return Some(walk_back(graph, &reached_by, start, node, call));
            }
            if let std::collections::btree_map::Entry::Vacant(entry) = reached_by.entry(target) {
                entry.insert((node, call));
                queue.push_back(target);
            }
        }
    }
    None
}

fn walk_back(
    graph: &DiGraph<ServiceIndex, Call>,
    reached_by: &BTreeMap<NodeIndex, (NodeIndex, Call)>,
    start: NodeIndex,
    last: NodeIndex,
    closing: Call,
) -> Vec<(ServiceIndex, Call)> {
    let service = |node: NodeIndex| graph.node_weight(node).copied().unwrap_or(ServiceIndex(0));
    let mut cycle = vec![(service(last), closing)];
    let mut node = last;
    while node != start
        && let Some((previous, call)) = reached_by.get(&node)
    {
        cycle.push((service(*previous), *call));
        node = *previous;
    }
    cycle.reverse();
    cycle
}

fn report(mesh: &Mesh, cycle: &[(ServiceIndex, Call)]) -> Diagnostic {
    let names: Vec<String> = cycle.iter().map(|(from, _)| mesh.service(*from).id()).collect();
    let first = names.first().cloned().unwrap_or_default();
    let round = names.iter().chain([&first]).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" → ");
    let message = match names.len() {
        1 => format!("`{first}` declares a call to itself"),
        count => format!("{count} services call each other in a circle: {round}"),
    };
    let mut finding = Diagnostic::error("dependency-cycle", message).object(format!("Service {first}")).help(
        "break the circle, or accept it with `analyses: { dependency-cycle: note }` in the Mesh document",
    );
    for (place, (from, call)) in cycle.iter().enumerate() {
        let text = format!("`{}` calls `{}` here", mesh.service(*from).id(), mesh.service(call.service).id());
        finding = match place {
            0 => finding.at(call.span).label(text),
            _ => finding.related(call.span, text),
        };
    }
    finding
}
