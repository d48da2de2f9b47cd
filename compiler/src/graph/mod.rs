//! The mesh as a graph: who calls whom, and where routes send requests.
//!
//! ```text
//! node: a service or a gateway (or, collapsed, a namespace)
//! edge: call    declared in `calls`
//!       access  not declared, but access policy lets the caller in
//!       route   from the service that callers name, or the gateway they come to, to a backend, with its share
//! ```
//!
//! [`Graph`] is data: [`build`](Graph::build) makes it of the model, [`focus`](Graph::focus),
//! [`of_namespace`](Graph::of_namespace), [`of_kind`](Graph::of_kind) and [`collapse`](Graph::collapse) cut it down, and
//! the renderers beside it ([`mermaid`], [`dot`], [`json`]) only write down what it holds. Everything is sorted, so
//! equal meshes give equal pictures.
//!
//! A service that every other may call has no edge for each of them, but says so itself ([`Node::open`]): in an open
//! mesh there would be as many edges as pairs.

pub mod dot;
pub mod json;
pub mod mermaid;
mod build;
mod label;
mod select;

use std::collections::BTreeSet;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::model::At;

/// Nodes and edges.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Sorted by namespace, then id.
    pub nodes: Vec<Node>,
    /// Sorted by caller, then callee, then kind, then place.
    pub edges: Vec<Edge>,
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A service.
    Service,
    /// A gateway, where callers from outside come in.
    Gateway,
    /// All services and gateways of a namespace.
    Namespace,
}

impl NodeKind {
    /// The name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Gateway => "gateway",
            Self::Namespace => "namespace",
        }
    }
}

/// A service, a gateway, or a namespace.
#[derive(Clone, Debug)]
pub struct Node {
    /// `namespace/name`, `gateway:namespace/name`, or the name of the namespace.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// The namespace.
    pub namespace: String,
    /// The name; none for a namespace.
    pub name: Option<String>,
    /// Whether every service of the mesh may call it, but for [`Node::except`].
    pub open: bool,
    /// Those that may not, if it is open; sorted.
    pub except: Vec<String>,
    /// Whether it is part of a cycle.
    pub in_cycle: bool,
    /// Whether the graph is drawn around it.
    pub in_focus: bool,
    /// Where it is declared; none for a namespace.
    pub at: Option<At>,
}

/// An arrow from one node to another, or to itself.
#[derive(Clone, Debug)]
pub struct Edge {
    /// An index into [`Graph::nodes`].
    pub from: usize,
    /// An index into [`Graph::nodes`].
    pub to: usize,
    /// What it stands for.
    pub kind: EdgeKind,
    /// How many edges between services it stands for; more than one only in a collapsed graph.
    pub count: usize,
    /// The share of requests, for a route.
    pub share: Option<Share>,
    /// Whether it closes, or is part of, a cycle.
    pub in_cycle: bool,
    /// What says so; none in a collapsed graph.
    pub at: Option<At>,
}

/// What an edge stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EdgeKind {
    /// A dependency that a service declares in `calls`.
    Call,
    /// A call that nobody declares and access policy allows.
    Access,
    /// A share of the requests to one service or gateway that a route sends to a backend.
    Route,
}

impl EdgeKind {
    /// The name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Access => "access",
            Self::Route => "route",
        }
    }
}

/// The part of a rule's requests that goes to one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The port of the backend.
    pub port: u16,
    /// The subset, if it is not the whole service.
    pub subset: Option<String>,
    /// The weight, as written.
    pub weight: u32,
    /// The sum of the rule's weights.
    pub total: u64,
}

/// Which edges are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// [`EdgeKind::Call`] and [`EdgeKind::Access`].
    Calls,
    /// [`EdgeKind::Route`].
    Routes,
    /// All.
    All,
}

impl Graph {
    /// Marks nodes and edges that lie on a cycle: strongly connected groups of more than one node, and calls of a
    /// service to itself. A route of a service to its own subsets is no cycle, and what access merely allows makes none.
    /// Time is linear in nodes and edges (Tarjan 1972).
    fn mark_cycles(&mut self) {
        let mut graph = DiGraph::<(), ()>::new();
        let nodes: Vec<NodeIndex> = self.nodes.iter().map(|_| graph.add_node(())).collect();
        for edge in self.edges.iter().filter(|edge| edge.counts_for_cycles()) {
            if let (Some(from), Some(to)) = (nodes.get(edge.from), nodes.get(edge.to)) {
                graph.add_edge(*from, *to, ());
            }
        }
        let mut group_of = vec![0; self.nodes.len()];
        let mut in_cycle = BTreeSet::new();
        for (number, group) in tarjan_scc(&graph).into_iter().enumerate() {
            for node in &group {
                group_of.iter_mut().skip(node.index()).take(1).for_each(|group| *group = number);
                if group.len() > 1 || graph.contains_edge(*node, *node) {
                    in_cycle.insert(node.index());
                }
            }
        }
        for (place, node) in self.nodes.iter_mut().enumerate() {
            node.in_cycle = in_cycle.contains(&place);
        }
        for edge in &mut self.edges {
            let same_group = group_of.get(edge.from) == group_of.get(edge.to);
            edge.in_cycle = edge.counts_for_cycles() && same_group && in_cycle.contains(&edge.from);
        }
    }

    /// The nodes of each namespace, in order, by place.
    fn by_namespace(&self) -> Vec<(&str, Vec<usize>)> {
        let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            match groups.last_mut() {
                Some((namespace, members)) if *namespace == node.namespace => members.push(place),
                _ => groups.push((&node.namespace, vec![place])),
            }
        }
        groups
    }
}

impl Edge {
    fn counts_for_cycles(&self) -> bool {
        match self.kind {
            EdgeKind::Call => true,
            EdgeKind::Route => self.from != self.to,
            EdgeKind::Access => false,
        }
    }
}

#[cfg(test)]
mod tests;
