//! Parts of a graph: around a service, of a namespace, of a kind; and whole namespaces as nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Edge, EdgeKind, Graph, Kinds, Node, NodeKind};

impl Graph {
    /// The edges of the wanted kinds, and all nodes. Cycles are those of what is left.
    #[must_use]
    pub fn of_kind(mut self, kinds: Kinds) -> Self {
        self.edges.retain(|edge| match kinds {
            Kinds::All => true,
            Kinds::Calls => edge.kind != EdgeKind::Route,
            Kinds::Routes => edge.kind == EdgeKind::Route,
        });
        self.mark_cycles();
        self
    }

    /// The services of a namespace, what touches them, and what is at the other end.
    #[must_use]
    pub fn of_namespace(self, namespace: &str) -> Self {
        let inside = |place: usize| self.nodes.get(place).is_some_and(|node| node.namespace == namespace);
        let edges: Vec<Edge> =
            self.edges.iter().filter(|edge| inside(edge.from) || inside(edge.to)).cloned().collect();
        let ends = edges.iter().flat_map(|edge| [edge.from, edge.to]);
        let kept = (0..self.nodes.len()).filter(|place| inside(*place)).chain(ends).collect();
        Self { nodes: self.nodes, edges }.only(&kept)
    }

    /// What the node reaches in at most `depth` steps, and what reaches it; none if there is no such node.
    #[must_use]
    pub fn focus(mut self, id: &str, depth: usize) -> Option<Self> {
        let start = self.nodes.iter().position(|node| node.id == id)?;
        self.nodes.get_mut(start)?.in_focus = true;
        let mut kept = self.within(start, depth, |edge| (edge.from, edge.to));
        kept.extend(self.within(start, depth, |edge| (edge.to, edge.from)));
        Some(self.only(&kept))
    }

    /// The ids of the nodes that a text means: the one that it is the id of, or else all that it is the name of.
    pub fn named(&self, text: &str) -> Vec<&str> {
        if let Some(node) = self.nodes.iter().find(|node| node.id == text) {
            return vec![&node.id];
        }
        let same = self.nodes.iter().filter(|node| node.name.as_deref() == Some(text));
        same.map(|node| node.id.as_str()).collect()
    }

    fn within(&self, start: usize, depth: usize, ends: fn(&Edge) -> (usize, usize)) -> BTreeSet<usize> {
        let mut steps: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (from, to) in self.edges.iter().map(ends) {
            steps.entry(from).or_default().push(to);
        }
        let mut reached = BTreeSet::from([start]);
        let mut frontier = vec![start];
        for _ in 0..depth {
            let next = frontier.iter().filter_map(|node| steps.get(node)).flatten();
            frontier = next.copied().filter(|node| reached.insert(*node)).collect();
            if frontier.is_empty() {
                break;
            }
        }
        reached
    }

    /// The nodes at these places, and the edges between them.
    fn only(self, kept: &BTreeSet<usize>) -> Self {
        let places: BTreeMap<usize, usize> = kept.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let moved = |edge: Edge| {
            let (from, to) = (*places.get(&edge.from)?, *places.get(&edge.to)?);
            Some(Edge { from, to, ..edge })
        };
        let edges = self.edges.into_iter().filter_map(moved).collect();
        let nodes = self.nodes.into_iter().enumerate();
        Self { nodes: nodes.filter(|(place, _)| kept.contains(place)).map(|(_, node)| node).collect(), edges }
    }

    /// A node for each namespace; edges of one kind between two of them become one that counts them. What stays inside
    /// a namespace is not shown.
    #[must_use]
    pub fn collapse(self) -> Self {
        let groups = self.by_namespace();
        let mut group_of = BTreeMap::new();
        for (number, (_, members)) in groups.iter().enumerate() {
            group_of.extend(members.iter().map(|member| (*member, number)));
        }
        let mut counts: BTreeMap<(usize, usize, EdgeKind), usize> = BTreeMap::new();
        for edge in &self.edges {
            if let (Some(from), Some(to)) = (group_of.get(&edge.from), group_of.get(&edge.to))
                && from != to
            {
                *counts.entry((*from, *to, edge.kind)).or_default() += edge.count;
            }
        }
        let nodes = groups.iter().map(|(namespace, members)| Node {
            id: (*namespace).to_owned(),
            kind: NodeKind::Namespace,
            namespace: (*namespace).to_owned(),
            name: None,
            open: false,
            except: Vec::new(),
            in_cycle: false,
            in_focus: members.iter().filter_map(|member| self.nodes.get(*member)).any(|node| node.in_focus),
            at: None,
        });
        let edges = counts.into_iter().map(|((from, to, kind), count)| Edge {
            from,
            to,
            kind,
            count,
            share: None,
            in_cycle: false,
            at: None,
        });
        let mut graph = Self { nodes: nodes.collect(), edges: edges.collect() };
        graph.mark_cycles();
        graph
    }
}
