//! Where routes are attached: to ports of Services, for callers inside the mesh (GAMMA, GEP-1294), and to listeners, for
//! those outside.

use std::collections::BTreeSet;

use weft_bundle::engine::HostPattern;

use super::super::Context;
use super::Scene;
use super::listeners::{Door, admits, unknown_parent};
use crate::diagnostic::Diagnostic;
use crate::dialect::gateway::{BackendRef, From, GROUP, ParentKind, ParentRef, RouteSpec};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{Attachment, ListenerAttachment, Port, RouteKind, Scope, Service};
use crate::yaml::{Span, Spanned};

/// Where a route is attached.
#[derive(Default)]
pub(super) struct Parents {
    pub(super) services: Vec<Attachment>,
    pub(super) listeners: Vec<ListenerAttachment>,
}

/// Binds the parents of a route. Kinds that are no parents were reported while reading.
pub(super) fn attach<R>(
    context: &mut Context<'_>,
    scene: &Scene<'_, '_>,
    document: &ParsedDocument,
    spec: &RouteSpec<R>,
    kind: RouteKind,
) -> Parents {
    let mut parents = Parents::default();
    let hosts: Vec<HostPattern> =
        spec.hostnames.iter().filter_map(|hostname| HostPattern::parse(hostname).ok()).collect();
    for parent in &spec.parent_refs {
        match parent.parent_kind() {
            None => {}
            Some(ParentKind::Service) => {
                parents.services.extend(to_service(context, scene, document, parent, kind));
            }
            Some(of @ (ParentKind::Gateway | ParentKind::ListenerSet)) => {
                let route = Candidate { document, hosts: &hosts };
                parents.listeners.extend(to_listeners(context, scene, &route, parent, of));
            }
        }
    }
    // One listener may be named twice: by its gateway, and by its own name.
    let mut seen = BTreeSet::new();
    parents.listeners.retain(|attachment| seen.insert((attachment.gateway, attachment.listener)));
    if let Some(host) = spec.hostnames.first().filter(|_| kind != RouteKind::Tls && !is_outside(spec)) {
        let finding = Diagnostic::warning(
            "ignored-hostnames",
            "`hostnames` have no effect on a route of a Service",
        )
        .object(document.object())
        .at(host.span)
        .with_note(
            "callers reach a Service by its own names; Gateway API says that a mesh ignores this field",
        )
        .help("remove `hostnames`");
        context.report(finding);
    }
    untaken(context, document, spec, &parents.listeners);
    parents
}

/// Reports names of a route that none of the listeners that take the route is for.
fn untaken<R>(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &RouteSpec<R>,
    taken: &[ListenerAttachment],
) {
    if taken.is_empty() {
        return;
    }
    for hostname in &spec.hostnames {
        let Ok(own) = HostPattern::parse(hostname) else { continue };
        // An attachment has the names that both sides are for: one of this name is within it.
        let mut all = taken.iter().flat_map(|attachment| &attachment.hosts);
        if all.any(|host| host.intersection(&own).is_some()) {
            continue;
        }
        let message = format!("no listener takes `{hostname}`, so no request for it comes to the route");
        let finding = Diagnostic::warning("ignored-hostnames", message)
            .object(document.object())
            .at(hostname.span)
            .label("has no effect")
            .help("remove it, or name a listener in `parentRefs` that is for it");
        context.report(finding);
    }
}

/// Whether a route is for callers outside the mesh, so that its references need grants.
pub(super) fn is_outside<R>(spec: &RouteSpec<R>) -> bool {
    let kinds = || spec.parent_refs.iter().filter_map(|parent| parent.parent_kind());
    kinds().any(|kind| kind != ParentKind::Service)
}

// ------------------------------------------------------------------------------------------------- Services

/// One attachment for each port of the parent that is meant and speaks what the route routes.
fn to_service(
    context: &mut Context<'_>,
    scene: &Scene<'_, '_>,
    document: &ParsedDocument,
    parent: &Spanned<ParentRef>,
    kind: RouteKind,
) -> Vec<Attachment> {
    let namespace = parent.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
    let Some(index) = context.service(scene.mesh, document, namespace, &parent.name) else {
        return Vec::new();
    };
    let service = scene.mesh.service(index);
    let scope = match namespace == document.namespace() {
        true => Scope::Everyone,
        false => Scope::Consumers(document.namespace().to_owned()),
    };
    if let Some(number) = &parent.port
        && context.port(document, service, number.value, number.span).is_none()
    {
        return Vec::new();
    }
    if let Some(name) = &parent.section_name
        && service.ports.iter().all(|port| port.name != name.value)
    {
        let known: Vec<&str> = service.ports.iter().map(|port| port.name.as_str()).collect();
        context.unknown(document, name.span, &format!("port of `{}` called", service.id()), name, &known);
        return Vec::new();
    }
    let meant = service.ports.iter().filter(|port| {
        parent.port.as_ref().is_none_or(|number| number.value == port.number)
            && parent.section_name.as_ref().is_none_or(|name| name.value == port.name)
    });
    let (fit, other): (Vec<_>, Vec<_>) = meant.partition(|port| kind.routes(port.protocol));
    if let (true, Some(port)) = (fit.is_empty(), other.first()) {
        mismatch(context, document, parent.span, kind, service, port);
    }
    let attachment =
        |number| Attachment { service: index, port: Some(number), scope: scope.clone(), span: parent.span };
    fit.iter().map(|port| attachment(port.number)).collect()
}

/// Reports a route of one kind for a port that speaks something else.
pub(super) fn mismatch(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    span: Span,
    kind: RouteKind,
    service: &Service,
    port: &Port,
) {
    let what = match kind {
        RouteKind::Http => "an HTTPRoute routes requests",
        RouteKind::Grpc => "a GRPCRoute routes calls",
        RouteKind::Tls => "a TLSRoute routes TLS connections",
        RouteKind::Tcp => "a TCPRoute routes connections whose requests are not looked at",
        RouteKind::Udp => "a UDPRoute routes datagrams",
    };
    if matches!(kind, RouteKind::Http | RouteKind::Grpc) {
        context.not_http("protocol-mismatch", document, span, service, port, what);
        return;
    }
    let speaks = port.protocol.as_str();
    let message = format!("{what}, but port {} of `{}` speaks {speaks}", port.number, service.id());
    let finding = Diagnostic::error("protocol-mismatch", message)
        .object(document.object())
        .at(span)
        .related(port.span, "the port is declared here")
        .help("declare another protocol for the port, or write a route of the kind that goes with it");
    context.report(finding);
}

/// The Services that UDPRoutes name, by namespace and name. Only of these are ports for datagrams looked at: proxies do not
/// take part in the datagrams of others.
pub(in crate::model::resolve) fn datagram_services(
    documents: &[&ParsedDocument],
) -> BTreeSet<(String, String)> {
    let mut named = BTreeSet::new();
    for document in documents {
        let Kind::UdpRoute(spec) = &document.spec else { continue };
        let mut add = |namespace: &Option<Spanned<String>>, name: &str| {
            let namespace = namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
            named.insert((namespace.to_owned(), name.to_owned()));
        };
        let parents = spec.0.parent_refs.iter();
        for parent in parents.filter(|parent| parent.parent_kind() == Some(ParentKind::Service)) {
            add(&parent.namespace, &parent.name);
        }
        let backends = spec.0.rules.iter().flatten().flat_map(|rule| &rule.backend_refs);
        backends.for_each(|backend: &Spanned<BackendRef>| add(&backend.namespace, &backend.name));
    }
    named
}

// ------------------------------------------------------------------------------------------------ listeners

/// A route that asks to be attached.
struct Candidate<'r> {
    document: &'r ParsedDocument,
    hosts: &'r [HostPattern],
}

/// The listeners of a gateway or set that take the route. That none does is an error, as in Gateway API's `Accepted`.
fn to_listeners(
    context: &mut Context<'_>,
    scene: &Scene<'_, '_>,
    route: &Candidate<'_>,
    parent: &Spanned<ParentRef>,
    of: ParentKind,
) -> Vec<ListenerAttachment> {
    let document = route.document;
    let namespace = parent.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
    let Some(doors) = scene.doors.get(&(of, namespace, parent.name.as_str())) else {
        let own = scene.doors.keys().filter(|(kind, other, _)| *kind == of && *other == namespace);
        let known: Vec<&str> = own.map(|(.., name)| *name).collect();
        unknown_parent(context, document, of, namespace, &parent.name, &known);
        return Vec::new();
    };
    let meant: Vec<&Door<'_>> = doors
        .iter()
        .filter(|door| parent.port.as_ref().is_none_or(|port| port.value == door.written.port.value))
        .filter(|door| parent.section_name.as_ref().is_none_or(|name| name.value == door.written.name.value))
        .collect();
    if meant.is_empty() && !doors.is_empty() {
        unknown_listener(context, document, parent, doors);
    }
    let mut taken = Vec::new();
    let mut refusals = Vec::new();
    for door in meant {
        match admitted(scene, door, route) {
            Ok(hosts) => taken.push(ListenerAttachment {
                gateway: door.gateway,
                listener: door.place,
                hosts,
                span: parent.span,
            }),
            Err(why) => refusals.push((door, why)),
        }
    }
    if let (true, Some((_, first))) = (taken.is_empty(), refusals.first()) {
        let name = format!("{} {namespace}/{}", of.as_str(), parent.name);
        let message = match refusals.len() {
            1 => format!("the listener of {name} does not take the route: {first}"),
            _ => format!("no listener of {name} takes the route"),
        };
        let finding = Diagnostic::error("not-admitted", message).object(document.object()).at(parent.span);
        let finding = refusals.iter().take(4).fold(finding, |finding, (door, why)| {
            finding.related(door.written.span, format!("listener `{}`: {why}", door.written.name))
        });
        context.report(finding);
    }
    taken
}

fn unknown_listener(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    parent: &ParentRef,
    doors: &[Door<'_>],
) {
    if context.has_unread("ListenerSet") {
        return;
    }
    let what = format!("listener of `{}` called", parent.name);
    match (&parent.section_name, &parent.port) {
        (Some(name), port)
            if port.is_none() || doors.iter().all(|door| door.written.name.value != name.value) =>
        {
            let known: Vec<&str> = doors.iter().map(|door| door.written.name.value.as_str()).collect();
            context.unknown(document, name.span, &what, name, &known);
        }
        (_, Some(port)) => {
            let known: BTreeSet<u16> = doors.iter().map(|door| door.written.port.value).collect();
            let known = known.iter().map(|port| format!("`{port}`")).collect::<Vec<_>>().join(", ");
            let finding = Diagnostic::error(
                "unknown-reference",
                format!("no listener that is meant of `{}` is on port `{port}`", parent.name),
            );
            let finding = finding.object(document.object()).at(port.span).label("not found");
            context.report(finding.help(format!("there are listeners on {known}")));
        }
        (_, None) => {}
    }
}

/// The names that both a listener and a route are for, the most specific first; or why the route is not taken.
fn admitted(
    scene: &Scene<'_, '_>,
    door: &Door<'_>,
    route: &Candidate<'_>,
) -> Result<Vec<HostPattern>, String> {
    let listener = &door.written;
    let kind = route.document.kind.value.as_str();
    let allowed = listener.allowed_routes.as_deref();
    let kinds = allowed.map(|allowed| allowed.kinds.as_slice()).unwrap_or_default();
    let named = kinds.iter().any(|named| {
        named.kind.value == kind && named.group.as_ref().is_none_or(|group| group.value == GROUP)
    });
    let fits = listener.protocol().is_some_and(|of| of.route_kinds(listener.tls_mode()).contains(&kind));
    if !fits {
        return Err(format!("its protocol is {}, which goes with no {kind}", listener.protocol));
    }
    if !kinds.is_empty() && !named {
        return Err(format!("its `allowedRoutes` do not name {kind}"));
    }
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_deref());
    admits(&scene.facts, namespaces, From::Same, door.namespace, route.document.namespace())?;
    if route.hosts.is_empty() {
        return Ok(door.hosts.clone());
    }
    let pairs = route.hosts.iter().flat_map(|own| door.hosts.iter().map(move |other| (own, other)));
    let mut hosts: Vec<HostPattern> = pairs.filter_map(|(own, other)| own.intersection(other)).collect();
    hosts.sort_by(|a, b| (b.specificity(), a.to_string()).cmp(&(a.specificity(), b.to_string())));
    hosts.dedup();
    match hosts.is_empty() {
        true => Err(format!(
            "it is for `{}`, and the route only for `{}`",
            listener.hostname().map_or("*", |hostname| hostname.value.as_str()),
            route.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join("`, `")
        )),
        false => Ok(hosts),
    }
}
