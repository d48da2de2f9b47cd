//! # What it finds
//! A path of declared calls along which retries multiply: one request at its beginning may become more than 8 tries at its
//! end. Each hop counts one try and its `retry.attempts`, the most of all rules that lead on; hops multiply. Retries only
//! on failures that never reached the next service (`connect-failure`, `refused-stream`) count as none. Circles are left
//! to `dependency-cycle`. One finding per end of such paths, with a path of the greatest product.
//!
//! Retry budgets are not taken off: they bound the share of retries among many requests, and always leave a few.
//!
//! # Why it matters
//! When the last service is slow, every hop tries again while the hops above it do the same: it gets many times its load
//! in the moment in which it can bear least.
//!
//! # Example
//! ```yaml
//! # web → cart → stock → db, each with `retry: { attempts: 2, on: [ 5xx ] }`: 27 tries at db for one request
//! kind: TrafficPolicy
//! spec: { targetRefs: [ { kind: Service, name: db } ], retry: { attempts: 2, on: [ 5xx ] } }
//! ```
//!
//! # Fix
//! Retry at one place of a path, best next to the service that fails, and let the others pass failures on.
//!
//! # References
//! B. Beyer et al., Site Reliability Engineering (2016), chapter 22, "Retries": four tries on three layers make 64. The
//! longest path in an acyclic graph is linear in services and calls.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;
use weft_bundle::body::RetryOn;

use super::arrivals::{self, Arrival, Via};
use super::levels::{Levels, Passage, Place};
use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, ServiceIndex, Settings};

/// More tries than this of the last service, for one request, are a finding.
const MOST_TRIES: u64 = 8;

/// The tries of one hop, and who asks for them.
#[derive(Clone, Copy)]
struct Tries<'m> {
    count: u64,
    place: Option<Place<'m>>,
}

/// One finding per last service.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let more = |a: Tries<'_>, b: Tries<'_>| a.count >= b.count;
    let arrivals = arrivals::all(mesh, |passage| tries(mesh, passage), |a, b| if more(a, b) { a } else { b });
    if !arrivals.iter().flatten().any(|arrival| arrival.weight.count > 1) {
        return Vec::new();
    }
    let paths = Paths::of(&arrivals);
    let ends = paths.ends(&arrivals).into_iter();
    ends.map(|(end, product)| report(mesh, &paths.to(end), product)).collect()
}

fn tries<'m>(mesh: &'m Mesh, passage: Passage<'m>) -> Tries<'m> {
    let levels = Levels::of(mesh, passage);
    let attempts = levels.get(Settings::RETRY_ATTEMPTS).filter(|said| *said.value > 0);
    let repeats = |on: &RetryOn| !matches!(on, RetryOn::ConnectFailure | RetryOn::RefusedStream);
    let on = levels.get(Settings::RETRY_ON);
    match attempts {
        Some(said) if on.is_some_and(|on| on.value.iter().any(repeats)) => {
            Tries { count: 1 + u64::from(*said.value), place: Some(said.place) }
        }
        _ => Tries { count: 1, place: None },
    }
}

/// The greatest product of a path to each service, and its last hop.
struct Paths<'m> {
    best: BTreeMap<usize, (u64, usize, Arrival<Tries<'m>>)>,
    groups: Vec<usize>,
}

impl<'m> Paths<'m> {
    fn of(arrivals: &[Vec<Arrival<Tries<'m>>>]) -> Self {
        let mut graph = DiGraph::<(), ()>::new();
        let nodes: Vec<_> = arrivals.iter().map(|_| graph.add_node(())).collect();
        for (from, edges) in arrivals.iter().enumerate() {
            for arrival in edges.iter().filter(|arrival| is_retried(arrival)) {
                if let (Some(from), Some(to)) = (nodes.get(from), nodes.get(arrival.to.0)) {
                    graph.add_edge(*from, *to, ());
                }
            }
        }
        let order = tarjan_scc(&graph);
        let mut paths = Self { best: BTreeMap::new(), groups: vec![0; arrivals.len()] };
        for (number, group) in order.iter().enumerate() {
            for member in group {
                if let Some(group) = paths.groups.get_mut(member.index()) {
                    *group = number;
                }
            }
        }
        // Tarjan's groups come callees first.
        for node in order.iter().rev().flatten().map(|node| node.index()) {
            let here = paths.best.get(&node).map_or(1, |(product, ..)| *product);
            for arrival in arrivals.get(node).into_iter().flatten().filter(|arrival| is_retried(arrival)) {
                let product = here.saturating_mul(arrival.weight.count);
                let better = product > paths.best.get(&arrival.to.0).map_or(1, |(product, ..)| *product);
                if better && !paths.one_group(node, arrival.to.0) {
                    paths.best.insert(arrival.to.0, (product, node, *arrival));
                }
            }
        }
        paths
    }

    fn one_group(&self, a: usize, b: usize) -> bool {
        self.groups.get(a) == self.groups.get(b)
    }

    /// Services with too great a product, from which no path multiplies further.
    fn ends(&self, arrivals: &[Vec<Arrival<Tries<'m>>>]) -> Vec<(usize, u64)> {
        let goes_on = |node: usize| {
            let mut next = arrivals.get(node).into_iter().flatten();
            next.any(|a| is_retried(a) && a.weight.count > 1 && !self.one_group(node, a.to.0))
        };
        let great = self.best.iter().filter(|(_, (product, ..))| *product > MOST_TRIES);
        great.filter(|(node, _)| !goes_on(**node)).map(|(node, (product, ..))| (*node, *product)).collect()
    }

    /// The hops of the greatest path, from its first retry on.
    fn to(&self, end: usize) -> Vec<(usize, Arrival<Tries<'m>>)> {
        let mut hops = Vec::new();
        let mut node = end;
        while let Some((_, from, arrival)) = self.best.get(&node) {
            hops.push((*from, *arrival));
            node = *from;
        }
        hops.reverse();
        let first = hops.iter().position(|(_, arrival)| arrival.weight.count > 1).unwrap_or(0);
        hops.split_off(first)
    }
}

fn is_retried(arrival: &Arrival<Tries<'_>>) -> bool {
    !matches!(arrival.via, Via::Mirror(_))
}

fn report(mesh: &Mesh, hops: &[(usize, Arrival<Tries<'_>>)], product: u64) -> Diagnostic {
    let id = |index: ServiceIndex| mesh.service(index).id();
    let first = hops.first().map(|(from, _)| id(ServiceIndex(*from))).unwrap_or_default();
    let last = hops.last().map(|(_, arrival)| id(arrival.to)).unwrap_or_default();
    let path = hops.iter().fold(format!("`{first}`"), |path, (_, arrival)| {
        let tries = if arrival.weight.count == 1 { "try" } else { "tries" };
        format!("{path} → {} {tries} of `{}`", arrival.weight.count, id(arrival.to))
    });
    let message = format!("one request at `{first}` may become {product} tries at `{last}`: {path}");
    let mut finding = Diagnostic::warning("retry-amplification", message);
    let mut told = BTreeSet::new();
    for (place, (from, arrival)) in hops.iter().enumerate() {
        let text = format!("`{}` calls `{}` here", id(ServiceIndex(*from)), id(arrival.call.service));
        finding = match place {
            0 => finding
                .object(mesh.service(ServiceIndex(*from)).at.origin.object.clone())
                .at(arrival.call.span)
                .label(text),
            _ => finding.related(arrival.call.span, text),
        };
        if let Some(at) = arrival.weight.place.filter(|place| told.insert(place.span)) {
            finding = finding.related(at.span, format!("{} sets the retries", at.object));
        }
    }
    finding.help("retry at one place of the path, best next to the service that fails")
}
