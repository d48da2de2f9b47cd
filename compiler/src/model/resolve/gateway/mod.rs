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

use self::facts::Facts;
use self::listeners::Doors;
pub(super) use self::parents::datagram_services;
use super::{Context, convert};
use crate::dialect::gateway::RouteSpec;
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{Mesh, Order, Route, RouteEntry, RouteKind, RouteRule, Settings};

/// What routes are bound to.
struct Scene<'d, 'm> {
    mesh: &'m Mesh,
    facts: Facts<'d>,
    doors: Doors<'d>,
}

/// Adds all gateways and routes, and says how services prove who they are.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    let facts = Facts::of(documents);
    tls_policy::resolve(context, documents, &facts, mesh);
    let doors = listeners::resolve(context, documents, &facts, mesh);
    let scene = Scene { mesh, facts, doors };
    let routes: Vec<Route> =
        documents.iter().filter_map(|document| self::route(context, &scene, document)).collect();
    mesh.routes.extend(routes);
}

fn route(context: &mut Context<'_>, scene: &Scene<'_, '_>, document: &ParsedDocument) -> Option<Route> {
    Some(match &document.spec {
        Kind::HttpRoute(spec) => http::route(context, scene, document, spec),
        Kind::GrpcRoute(spec) => grpc::route(context, scene, document, spec),
        Kind::TlsRoute(spec) => layer4::route(context, scene, document, &spec.0, RouteKind::Tls),
        Kind::TcpRoute(spec) => layer4::route(context, scene, document, &spec.0, RouteKind::Tcp),
        Kind::UdpRoute(spec) => layer4::route(context, scene, document, &spec.0, RouteKind::Udp),
        _ => return None,
    })
}

/// A route of one kind, from its parents and its rules with their entries.
fn made<R>(
    context: &mut Context<'_>,
    scene: &Scene<'_, '_>,
    document: &ParsedDocument,
    spec: &RouteSpec<R>,
    kind: RouteKind,
    (entries, rules): (Vec<RouteEntry>, Vec<RouteRule>),
) -> Route {
    let parents = parents::attach(context, scene, document, spec, kind);
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
        dialect_defaults: Settings::default(),
    }
}
