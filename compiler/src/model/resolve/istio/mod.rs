//! Istio's networking kinds: VirtualServices, into routes that have their frontends to themselves; DestinationRules, into
//! subsets and settings of services.
//!
//! What Istio does by default is written out ([`http::defaults`]). A document that asks for what cannot be done is refused.

mod backends;
pub(super) mod callers;
mod conditions;
mod delegate;
pub(super) mod destination_rule;
mod hosts;
mod http;
mod layer4;
pub(super) mod service_entry;
pub(super) mod sidecar;
mod settings;
mod tls;

use weft_bundle::body::Protocol;

use self::backends::Binder;
use self::delegate::Delegates;
use self::hosts::{Claim, Hosts};
use self::layer4::Lists;
use super::{Context, convert};
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::VirtualService;
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{Attachment, Mesh, Order, Port, Route, RouteKind, Service, Settings};
use crate::yaml::{Span, Spanned};

/// Adds the routes of all VirtualServices.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    let hosts = Hosts::of(mesh);
    let mut delegates = Delegates::of(documents);
    let mut roots = Vec::new();
    let mut claims = Vec::new();
    for document in documents {
        let Kind::VirtualService(spec) = &document.spec else { continue };
        if !spec.is_delegate() {
            let of_mesh = spec.applies_to_mesh();
            claims.push(if of_mesh {
                hosts::claims(context, mesh, &hosts, document, spec)
            } else {
                Vec::new()
            });
            roots.push((*document, spec));
        }
    }
    hosts::most_specific_wins(mesh, &mut claims);
    for ((document, spec), claims) in roots.into_iter().zip(claims) {
        let routes = mesh_routes(context, document, spec, &claims, &mut delegates, &hosts, mesh);
        mesh.routes.extend(routes);
    }
    delegates.report_unused(context);
}

/// Whether something that names gateways is for callers inside the mesh.
fn for_mesh(spec: &VirtualService, gateways: &[Spanned<String>]) -> bool {
    match gateways {
        [] => spec.applies_to_mesh(),
        own => own.iter().any(|gateway| gateway.value == "mesh"),
    }
}

/// What a VirtualService decides for callers inside the mesh: requests, TLS connections and others are apart.
fn mesh_routes<'d>(
    context: &mut Context<'_>,
    document: &'d ParsedDocument,
    spec: &'d Spanned<VirtualService>,
    claims: &[Claim],
    delegates: &mut Delegates<'d>,
    hosts: &Hosts,
    mesh: &Mesh,
) -> Vec<Route> {
    let binder = Binder { mesh, hosts };
    let applies = |gateways: &[Spanned<String>]| for_mesh(spec, gateways);
    let priority = convert::priority(context, document);
    let at = context.at_document(document);
    let route = |kind, attachments, lists: Lists, dialect_defaults: Settings| Route {
        at: at.clone(),
        namespace: document.namespace().to_owned(),
        kind,
        attachments,
        listeners: Vec::new(),
        order: Order::Listed,
        priority,
        entries: lists.entries,
        rules: lists.rules,
        dialect_defaults: dialect_defaults.shared(),
    };
    let mut made = Vec::new();
    if !spec.http.is_empty() {
        let attachments = attach(
            context,
            document,
            claims,
            Protocol::is_http,
            Some(("`http` routes requests", HTTP_HELP)),
            mesh,
        );
        let mut ports: Vec<u16> = attachments.iter().filter_map(|attachment| attachment.port).collect();
        ports.sort_unstable();
        ports.dedup();
        let mut lists = Lists::default();
        for (number, effective) in delegates.routes(context, document, spec).iter().enumerate() {
            lists.entries.extend(http::entries(&effective.route, effective.span, number, &applies));
            lists.rules.push(http::rule(context, effective, &ports, &binder));
        }
        made.push(route(RouteKind::Http, attachments, lists, http::defaults()));
    }
    let mut tls_ports = Vec::new();
    if !spec.tls.is_empty() {
        let is_tls = |protocol| protocol == Protocol::Tls;
        let help = "declare the port's protocol as `tls` if that is what it speaks";
        let what = Some(("`tls` routes TLS connections", help));
        let attachments = attach(context, document, claims, is_tls, what, mesh);
        tls_ports.extend(attachments.iter().filter_map(|attachment| attachment.port));
        let mut lists = Lists::default();
        lists.add_tls(context, document, &spec.tls, &applies, &binder);
        // On a port that speaks TLS, what no server name decides is left to the other connections' routes.
        let here = |port: Option<u16>| port.is_none_or(|port| tls_ports.contains(&port));
        lists.add_tcp(context, document, &spec.tcp, (&applies, &here), &binder);
        made.push(route(RouteKind::Tls, attachments, lists, Settings::default()));
    }
    if !spec.tcp.is_empty() {
        let own = |protocol| protocol == Protocol::Tcp || (protocol == Protocol::Tls && spec.tls.is_empty());
        let what = spec.tls.is_empty().then_some(("`tcp` routes connections", "route requests by `http`"));
        let attachments = attach(context, document, claims, own, what, mesh);
        if !attachments.is_empty() {
            let mut lists = Lists::default();
            let here = |port: Option<u16>| port.is_none_or(|port| !tls_ports.contains(&port));
            lists.add_tcp(context, document, &spec.tcp, (&applies, &here), &binder);
            made.push(route(RouteKind::Tcp, attachments, lists, Settings::default()));
        }
    }
    made
}

/// One attachment for each port of the claimed services that speaks what is routed; a finding where a host was named that
/// has none.
fn attach(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    claims: &[Claim],
    fits: impl Fn(Protocol) -> bool,
    what: Option<(&str, &str)>,
    mesh: &Mesh,
) -> Vec<Attachment> {
    let mut attachments = Vec::new();
    for claim in claims {
        let service = mesh.service(claim.service);
        let (meant, other): (Vec<_>, Vec<_>) = service.ports.iter().partition(|port| fits(port.protocol));
        let exact = claim.specificity.0 == 2;
        if let (true, true, Some(port), Some(what)) = (meant.is_empty(), exact, other.first(), what) {
            mismatch(context, document, claim.span, service, port, what);
        }
        let attachment = |number| Attachment {
            service: claim.service,
            port: Some(number),
            scope: claim.scope.clone(),
            span: claim.span,
        };
        attachments.extend(meant.iter().map(|port| attachment(port.number)));
    }
    attachments
}

const HTTP_HELP: &str = "declare the port's protocol as `http`, `http2` or `grpc` if that is what it speaks";

/// Reports routes of one kind on a service that speaks another; `what` says so, and what to do.
fn mismatch(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    span: Span,
    service: &Service,
    port: &Port,
    what: (&str, &str),
) {
    let (number, protocol) = (port.number, port.protocol.as_str());
    let message = format!("{}, but port {number} of `{}` speaks {protocol}", what.0, service.id());
    let finding = Diagnostic::error("protocol-mismatch", message)
        .object(document.object())
        .at(span)
        .related(port.span, "the port is declared here")
        .help(what.1);
    context.report(finding);
}
