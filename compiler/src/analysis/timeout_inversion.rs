//! # What it finds
//! A service that waits longer for what it calls than its own caller waits for it: whichever rules the two requests take,
//! the caller's limit is over first. Only a limit that a document sets for the inner call counts (on a rule, a route, a
//! subset or a service, not a default), and only declared calls. It does not know which request makes which call, so it
//! compares the longest limit of the outer call with the shortest of the inner one.
//!
//! # Why it matters
//! The caller gives up and perhaps tries again, while the callee still works, and waits, for an answer that nobody reads.
//!
//! # Example
//! ```yaml
//! kind: TrafficPolicy                    # web gives cart 2s …
//! spec: { targetRefs: [ { kind: Service, name: cart } ], timeouts: { request: 2s } }
//! ---
//! kind: TrafficPolicy                    # … and cart gives stock 10s
//! spec: { targetRefs: [ { kind: Service, name: stock } ], timeouts: { request: 10s } }
//! ```
//!
//! # Fix
//! Let limits shrink from the outside to the inside, with something to spare for each service's own work.
//!
//! # References
//! B. Beyer et al., Site Reliability Engineering (2016), chapter 22, "Latency and deadlines"; gRPC, deadline propagation.

use super::arrivals::{self, Arrival, Via};
use super::levels::{Level, Levels, Passage, Place, limit};
use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, ServiceIndex, Settings};

/// How long a hop may take, over all rules that lead there; a missing number is no limit.
#[derive(Clone, Copy)]
struct Patience<'m> {
    longest: Option<u128>,
    longest_at: Place<'m>,
    shortest: Option<u128>,
    shortest_at: Place<'m>,
    /// Whether a document sets each of them for just this.
    meant: bool,
}

/// One finding per outer and inner call.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let arrivals = arrivals::all(mesh, |passage| patience(mesh, passage), merged);
    let mut found = Vec::new();
    for (caller, outer) in arrivals.iter().enumerate() {
        for outer in outer.iter().filter(|outer| !is_copy(outer)) {
            let Some(limit) = outer.weight.longest else { continue };
            for inner in arrivals.get(outer.to.0).into_iter().flatten() {
                let longer = inner.weight.shortest.is_none_or(|inner| inner > limit);
                if inner.weight.meant && longer && !is_copy(inner) {
                    found.push(report(mesh, caller, outer, inner));
                }
            }
        }
    }
    // Many callers of one service have one fault, which is told where the limits are.
    found.sort_by_key(|finding: &Diagnostic| (finding.span, finding.related.first().map(|r| r.span)));
    found.dedup_by(|a, b| {
        a.span == b.span && a.related.first().map(|r| r.span) == b.related.first().map(|r| r.span)
    });
    found
}

fn is_copy(arrival: &Arrival<Patience<'_>>) -> bool {
    matches!(arrival.via, Via::Mirror(_))
}

fn patience<'m>(mesh: &'m Mesh, passage: Passage<'m>) -> Patience<'m> {
    let said = Levels::of(mesh, passage).get(Settings::REQUEST);
    let value = said.and_then(|said| limit(*said.value));
    let at = said.map_or_else(|| Place::from(&mesh.at), |said| said.place);
    let meant = said.is_some_and(|said| said.level == Level::Near);
    Patience { longest: value, longest_at: at, shortest: value, shortest_at: at, meant }
}

fn merged<'m>(a: Patience<'m>, b: Patience<'m>) -> Patience<'m> {
    let order = |limit: Option<u128>| limit.unwrap_or(u128::MAX);
    let longest = if order(b.longest) > order(a.longest) { b } else { a };
    let shortest = if order(b.shortest) < order(a.shortest) { b } else { a };
    Patience {
        longest: longest.longest,
        longest_at: longest.longest_at,
        shortest: shortest.shortest,
        shortest_at: shortest.shortest_at,
        meant: a.meant && b.meant,
    }
}

fn report(
    mesh: &Mesh,
    caller: usize,
    outer: &Arrival<Patience<'_>>,
    inner: &Arrival<Patience<'_>>,
) -> Diagnostic {
    let (a, b) = (mesh.service(ServiceIndex(caller)).id(), mesh.service(outer.to).id());
    let c = mesh.service(inner.call.service).id();
    let text = |limit: Option<u128>| match limit {
        Some(millis) if millis % 1000 == 0 => format!("{}s", millis / 1000),
        Some(millis) => format!("{millis}ms"),
        None => "without limit".to_owned(),
    };
    let (waits, longer) = (text(outer.weight.longest), text(inner.weight.shortest));
    let message = format!("`{a}` waits {waits} for `{b}`, which itself waits {longer} for `{c}`");
    let (outer_at, inner_at) = (outer.weight.longest_at, inner.weight.shortest_at);
    Diagnostic::warning("timeout-inversion", message)
        .object(inner_at.object)
        .at(inner_at.span)
        .label(format!("the inner call: {longer}"))
        .related(outer_at.span, format!("the outer call: {waits}"))
        .related(inner.call.span, format!("`{b}` calls `{c}` here"))
        .help("let limits shrink from the outside to the inside")
}
