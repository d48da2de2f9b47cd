//! Gateway API: gateways with their listeners, and routes attached to them and to Services.
//!
//! In this order: facts that several kinds need (`facts`), TLS to backends (`tls_policy`), gateways with the listeners of
//! ListenerSets (`listeners`), then routes. Each kind of route has its own conditions (`http`, `grpc`, `layer4`); where a
//! route is attached (`parents`) and what its rules do (`rules`) is the same for all.

mod facts;
mod grants;
mod tls_policy;
mod listeners;
mod parents;
mod rules;
mod http;
mod grpc;
mod layer4;

use std::collections::BTreeMap;

use weft_bundle::body::RequestMatch;

use self::facts::Facts;
use self::listeners::Doors;
pub(super) use self::listeners::identity;
pub(super) use self::parents::datagram_services;
use self::rules::{Binder, Written};
use super::{Context, convert};
use crate::dialect::gateway::RouteSpec;
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{Mesh, Order, Route, RouteEntry, RouteKind, Settings};
use crate::yaml::{Span, Spanned};

/// What routes are bound to.
struct Scene<'d, 'm> {
    mesh: &'m Mesh,
    facts: Facts<'d>,
    doors: Doors<'d>,
}

/// Adds all gateways and routes, and says how services prove who they are. `routes` are documents, with what they say if
/// they do not say it any more; it is dropped as soon as it is bound.
pub(super) fn resolve(
    context: &mut Context<'_>,
    documents: &[&ParsedDocument],
    routes: Vec<(&ParsedDocument, Option<Kind>)>,
    mesh: &mut Mesh,
) {
    let facts = Facts::of(documents);
    tls_policy::resolve(context, documents, &facts, mesh);
    let doors = listeners::resolve(context, documents, &facts, mesh);
    let scene = Scene { mesh, facts, doors };
    let routes = context.each(routes, |context, (document, taken)| {
        self::route(context, &scene, document, taken.as_ref().unwrap_or(&document.spec))
    });
    mesh.routes.extend(routes);
}

fn route(
    context: &mut Context<'_>,
    scene: &Scene<'_, '_>,
    document: &ParsedDocument,
    spec: &Kind,
) -> Option<Route> {
    let layer4 = |spec, span| Spanned { value: spec, span };
    Some(match spec {
        Kind::HttpRoute(spec) => {
            let spec = spec.as_ref().as_ref();
            bound(context, scene, document, (spec, RouteKind::Http), http::parts, http::conditions)
        }
        Kind::GrpcRoute(spec) => {
            let spec = spec.as_ref().as_ref();
            bound(context, scene, document, (spec, RouteKind::Grpc), grpc::parts, grpc::conditions)
        }
        Kind::TlsRoute(spec) => {
            layer4::route(context, scene, document, layer4(&spec.0, spec.span), RouteKind::Tls)
        }
        Kind::TcpRoute(spec) => {
            layer4::route(context, scene, document, layer4(&spec.0, spec.span), RouteKind::Tcp)
        }
        Kind::UdpRoute(spec) => {
            layer4::route(context, scene, document, layer4(&spec.0, spec.span), RouteKind::Udp)
        }
        _ => return None,
    })
}

/// A route of one kind: `parts` says what a rule does, and `conditions` when, each with its place. A rule without
/// conditions always holds, and a route without rules has one that matches everything and has no backend.
fn bound<R: Default>(
    context: &mut Context<'_>,
    scene: &Scene<'_, '_>,
    document: &ParsedDocument,
    (spec, kind): (Spanned<&RouteSpec<R>>, RouteKind),
    parts: impl Fn(&Spanned<R>) -> Written<'_>,
    conditions: impl Fn(&R) -> Vec<(RequestMatch, Span)>,
) -> Route {
    let nothing = [Spanned::new(R::default(), spec.span)];
    let written = spec.rules.as_deref().unwrap_or(&nothing);
    let outside = parents::is_outside(spec.value);
    let mut binder = Binder { context: &mut *context, scene, document, kind, outside };
    let mut entries = Vec::new();
    let mut rules = Vec::new();
    for (index, rule) in written.iter().enumerate() {
        let parts = parts(rule);
        let place = parts.name.map_or(rule.span, |name| name.span);
        entries.extend(self::entries(conditions(rule), place, index));
        rules.push(binder.rule(&parts, index));
    }
    entries.shrink_to_fit();
    rules.shrink_to_fit();
    let parents = parents::attach(context, scene, document, spec.value, kind);
    Route {
        at: context.at_document(document),
        namespace: document.namespace().to_owned(),
        kind,
        attachments: parents.services,
        listeners: parents.listeners,
        order: Order::Specificity,
        priority: convert::priority(context, document),
        entries,
        rules,
        dialect_defaults: Settings::default().shared(),
    }
}

/// One entry for each condition of a rule; one that always holds if there is none, which is written where `otherwise`
/// is.
fn entries(conditions: Vec<(RequestMatch, Span)>, otherwise: Span, rule: usize) -> Vec<RouteEntry> {
    let conditions = match conditions.is_empty() {
        true => vec![(RequestMatch::default(), otherwise)],
        false => conditions,
    };
    let entry = |(condition, span)| RouteEntry {
        condition,
        port: None,
        source_namespace: None,
        source_labels: BTreeMap::new(),
        only: None,
        rule,
        span,
    };
    conditions.into_iter().map(entry).collect()
}
