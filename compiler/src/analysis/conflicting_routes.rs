//! # What it finds
//! A route that has no effect because one of another kind has its place: on one port of a Service the first of GRPCRoute,
//! HTTPRoute, TLSRoute and TCPRoute takes everything; and of a GRPCRoute and an HTTPRoute for one host of a listener, the
//! one of higher `weft.dev/priority`.
//!
//! # Why it matters
//! Rules of different kinds are never merged. What the other document says looks like policy and is none; requests that only
//! it would match are answered with 404.
//!
//! # Example
//! ```yaml
//! kind: HTTPRoute
//! metadata: { name: web }
//! spec: { parentRefs: [ { kind: Service, name: shop } ], … }
//! ---
//! kind: GRPCRoute                                             # takes the port, and the HTTPRoute does nothing
//! metadata: { name: calls }
//! spec: { parentRefs: [ { kind: Service, name: shop } ], … }
//! ```
//!
//! # Fix
//! Write all rules for one port in routes of one kind, or give each kind a port or a host of its own.
//!
//! # References
//! GEP-1294, "Multiple route types"; Gateway API v1, GRPCRouteSpec.hostnames.

use std::collections::BTreeSet;

use crate::diagnostic::Diagnostic;
use crate::model::routing::{self, FrontendPlan};
use crate::model::{GatewayIndex, Mesh};

/// One finding per pair of documents.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for (index, service) in mesh.indexed() {
        for port in &service.ports {
            for namespace in routing::audiences(mesh, index, port) {
                let plan = routing::plan(mesh, index, port, namespace);
                let what = format!("port {} of `{}`", port.number, service.id());
                findings.extend(report(mesh, &plan, &what, &mut seen));
            }
        }
    }
    for (index, gateway) in mesh.gateways.iter().enumerate() {
        for (place, listener) in gateway.listeners.iter().enumerate() {
            let mut plan = routing::listener_plan(mesh, GatewayIndex(index), place);
            // A tie is an error of its own.
            let priority =
                |route: &usize| mesh.routes.get(*route).and_then(|route| route.priority).unwrap_or(0);
            plan.outranked.to_mut().retain(|(winner, loser)| priority(winner) != priority(loser));
            let what = format!("a host of listener `{}` of `{}`", listener.name, gateway.id());
            findings.extend(report(mesh, &plan, &what, &mut seen));
        }
    }
    findings
}

fn report(
    mesh: &Mesh,
    plan: &FrontendPlan<'_>,
    what: &str,
    seen: &mut BTreeSet<(usize, usize)>,
) -> Vec<Diagnostic> {
    let pairs = plan.outranked.iter().filter(|pair| seen.insert(**pair));
    let pairs =
        pairs.filter_map(|(winner, loser)| Some((mesh.routes.get(*winner)?, mesh.routes.get(*loser)?)));
    let finding = |(winner, loser): (&crate::model::Route, &crate::model::Route)| {
        let (a, b) = (&winner.at.origin.object, &loser.at.origin.object);
        Diagnostic::warning("conflicting-routes", format!("`{b}` has no effect for {what}, which is `{a}`'s"))
            .object(b.clone())
            .at(loser.at.span)
            .related(winner.at.span, "this one has it")
            .with_note("routes of different kinds are never merged")
            .help("write all rules in routes of one kind, or give each kind a place of its own")
    };
    pairs.map(finding).collect()
}
