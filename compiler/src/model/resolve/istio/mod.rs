//! Istio's networking kinds: Gateways, into gateways; VirtualServices, into routes that have their frontends to themselves;
//! DestinationRules, into subsets and settings of services.
//!
//! What Istio does by default is written out ([`http::defaults`]). A document that asks for what cannot be done is refused.

mod backends;
pub(super) mod callers;
mod conditions;
mod delegate;
pub(super) mod destination_rule;
pub(super) mod gateway;
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
use self::gateway::{Asked, Bound, Gates, Part};
use self::hosts::{Claim, Hosts};
use self::layer4::{Lists, Share};
use super::{Context, convert};
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::VirtualService;
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{
    Attachment, ListenerAttachment, Mesh, Order, Places, Port, Route, RouteKind, Service, Settings,
};
use crate::yaml::{Span, Spanned};

/// Adds the listeners of all Gateways, and the routes of all VirtualServices.
pub(super) fn resolve(
    context: &mut Context<'_>,
    documents: &[&ParsedDocument],
    gates: &Gates<'_>,
    mesh: &mut Mesh,
) {
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
            roots.push((*document, spec.as_ref()));
        }
    }
    hosts::most_specific_wins(mesh, &mut claims);
    let bound = gateway::bind(context, mesh, &hosts, gates, &roots);
    for (((document, spec), claims), bound) in roots.into_iter().zip(claims).zip(&bound) {
        let priority = convert::priority(context, document);
        let stage = Stage { document, spec, claims: &claims, bound, priority };
        let routes = stage.routes(context, &mut delegates, &hosts, mesh);
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

/// A VirtualService, and where it decides.
struct Stage<'s, 'd> {
    document: &'d ParsedDocument,
    spec: &'d Spanned<VirtualService>,
    /// Of services of the mesh.
    claims: &'s [Claim],
    /// On listeners.
    bound: &'s Bound<'d>,
    priority: Option<i64>,
}

impl<'d> Stage<'_, 'd> {
    /// What it decides: requests, TLS connections and others are apart.
    fn routes(
        &self,
        context: &mut Context<'_>,
        delegates: &mut Delegates<'d>,
        hosts: &Hosts,
        mesh: &Mesh,
    ) -> Vec<Route> {
        let binder = Binder { mesh, hosts };
        let mut made = Vec::new();
        if !self.spec.http.is_empty() {
            made.push(self.requests(context, delegates, &binder));
        }
        let mut tls_ports = Vec::new();
        if !self.spec.tls.is_empty() {
            made.push(self.server_names(context, &binder, &mut tls_ports));
        }
        if !self.spec.tcp.is_empty() {
            made.extend(self.connections(context, &binder, &tls_ports));
        }
        made
    }

    fn requests(
        &self,
        context: &mut Context<'_>,
        delegates: &mut Delegates<'d>,
        binder: &Binder<'_>,
    ) -> Route {
        let what = Some(("`http` routes requests", HTTP_HELP));
        let attachments = attach(context, self.document, self.claims, Protocol::is_http, what, binder.mesh);
        let listeners = self.bound.attachments(|part| part == Part::Requests);
        let inside = attachments.iter().filter_map(|attachment| attachment.port).map(|port| (port, false));
        let ports = Ports::of(inside.chain(self.bound.ports()));
        let mut lists = Lists::default();
        for (number, effective) in delegates.routes(context, self.document, self.spec).iter().enumerate() {
            lists.entries.extend(http::entries(context, self, binder.mesh, effective, number));
            lists.rules.push(http::rule(context, effective, &ports, binder));
        }
        self.route(context, RouteKind::Http, (attachments, listeners), lists, http::defaults())
    }

    fn server_names(
        &self,
        context: &mut Context<'_>,
        binder: &Binder<'_>,
        tls_ports: &mut Vec<u16>,
    ) -> Route {
        let is_tls = |protocol| protocol == Protocol::Tls;
        let help = "declare the port's protocol as `tls` if that is what it speaks";
        let what = Some(("`tls` routes TLS connections", help));
        let attachments = attach(context, self.document, self.claims, is_tls, what, binder.mesh);
        tls_ports.extend(attachments.iter().filter_map(|attachment| attachment.port));
        let listeners = self.bound.attachments(|part| matches!(part, Part::ServerName(..)));
        let mut lists = Lists::default();
        lists.add_tls(context, self, binder);
        // On a port that speaks TLS, what no server name decides is left to the other connections' routes.
        let here = |port: Option<u16>| port.is_none_or(|port| tls_ports.contains(&port));
        lists.add_tcp(context, self, (Share::WithServerNames, &here), binder);
        self.route(context, RouteKind::Tls, (attachments, listeners), lists, Settings::default())
    }

    fn connections(
        &self,
        context: &mut Context<'_>,
        binder: &Binder<'_>,
        tls_ports: &[u16],
    ) -> Option<Route> {
        let no_names = self.spec.tls.is_empty();
        let own = |protocol| protocol == Protocol::Tcp || (protocol == Protocol::Tls && no_names);
        let what = no_names.then_some(("`tcp` routes connections", "route requests by `http`"));
        let attachments = attach(context, self.document, self.claims, own, what, binder.mesh);
        let listeners = self.bound.attachments(|part| part == Part::Connections);
        if attachments.is_empty() && listeners.is_empty() {
            return None;
        }
        let mut lists = Lists::default();
        let here = |port: Option<u16>| port.is_none_or(|port| !tls_ports.contains(&port));
        lists.add_tcp(context, self, (Share::Alone, &here), binder);
        Some(self.route(context, RouteKind::Tcp, (attachments, listeners), lists, Settings::default()))
    }

    fn route(
        &self,
        context: &mut Context<'_>,
        kind: RouteKind,
        (attachments, listeners): (Vec<Attachment>, Vec<ListenerAttachment>),
        lists: Lists,
        dialect_defaults: Settings,
    ) -> Route {
        Route {
            at: context.at_document(self.document),
            namespace: self.document.namespace().to_owned(),
            kind,
            attachments,
            listeners,
            order: Order::Listed,
            priority: self.priority,
            entries: lists.entries,
            rules: lists.rules,
            dialect_defaults: dialect_defaults.shared(),
        }
    }

    /// Where a condition holds, if not wherever its route does.
    fn only(&self, context: &mut Context<'_>, mesh: &Mesh, part: Part, asked: &Asked<'_>) -> Option<Places> {
        let services = for_mesh(self.spec, asked.gateways);
        self.bound.only(context, mesh, self.document, (part, services), asked)
    }
}

/// The ports that requests of a route come to, and how.
struct Ports {
    numbers: Vec<u16>,
    /// Whether all, or none, come over TLS; none if some do.
    over_tls: Option<bool>,
}

impl Ports {
    fn of(ports: impl Iterator<Item = (u16, bool)>) -> Self {
        let (mut numbers, ways): (Vec<u16>, Vec<bool>) = ports.unzip();
        numbers.sort_unstable();
        numbers.dedup();
        let first = ways.first().copied().unwrap_or(false);
        Self { numbers, over_tls: ways.iter().all(|way| *way == first).then_some(first) }
    }
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
