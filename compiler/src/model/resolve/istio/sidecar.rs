//! Sidecars: what services call, where their applications listen, and how much these take at once.
//!
//! A service has one: that whose selector its workloads fit, else that of its namespace without a selector, else that of the
//! root namespace (istio:pilot/pkg/model/sidecar.go). Its `egress` stands for `calls` where the service declares none.

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::Limits;
use weft_bundle::engine::HostPattern;

use super::super::Context;
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::Sidecar;
use crate::dialect::istio::destination_rule::ConnectionPoolSettings;
use crate::dialect::istio::service_entry::protocol_named;
use crate::dialect::istio::sidecar::{IngressListener, SidecarPort};
use crate::dialect::{Kind, NOT_SUPPORTED, ParsedDocument};
use crate::model::{Call, Mesh, Port, Service, ServiceIndex};
use crate::yaml::{Span, Spanned};

#[derive(Clone, Copy)]
struct Found<'d> {
    document: &'d ParsedDocument,
    spec: &'d Spanned<Sidecar>,
}

/// Gives each service of the mesh what its Sidecar says.
pub(in crate::model::resolve) fn bind(
    context: &mut Context<'_>,
    documents: &[&ParsedDocument],
    mesh: &mut Mesh,
) {
    let mut by_namespace: BTreeMap<&str, Vec<Found<'_>>> = BTreeMap::new();
    for document in documents {
        if let Kind::Sidecar(spec) = &document.spec {
            by_namespace.entry(document.namespace()).or_default().push(Found { document, spec });
        }
    }
    if by_namespace.is_empty() {
        return;
    }
    for found in by_namespace.values() {
        one_without_selector(context, found);
    }
    let mut reported = BTreeSet::new();
    let ours: Vec<ServiceIndex> =
        mesh.indexed().filter(|(_, service)| !service.external).map(|(index, _)| index).collect();
    for index in ours {
        let found = sidecar_of(context, &by_namespace, mesh.service(index), &mesh.root_namespace);
        let Some(found) = found else { continue };
        let calls = calls(context, found, mesh, index, &mut reported);
        let Some(service) = mesh.services.get_mut(index.0) else { continue };
        service.calls = service.calls.take().or(calls);
        for listener in &found.spec.ingress {
            ingress(context, found, listener, service);
        }
        unlisted(context, found, service);
        if let Some(pool) = &found.spec.inbound_connection_pool {
            for number in service.ports.iter().map(|port| port.number).collect::<Vec<_>>() {
                service.inbound_limits.entry(number).or_insert_with(|| limits(pool));
            }
        }
    }
}

fn one_without_selector(context: &mut Context<'_>, found: &[Found<'_>]) {
    let mut general = found.iter().filter(|found| found.spec.workload_selector.is_none());
    let Some(first) = general.next() else { return };
    for other in general {
        let message = format!("`{}` is for the whole namespace too", first.document);
        overlap(context, *first, *other, &message);
    }
}

fn overlap(context: &mut Context<'_>, first: Found<'_>, other: Found<'_>, message: &str) {
    let finding = Diagnostic::error("conflicting-settings", message)
        .object(other.document.object())
        .at(other.document.metadata.name.span)
        .related(first.document.metadata.name.span, "the other one")
        .with_note("Istio lets the older one win; Git has no such time")
        .help("merge them, or give them different selectors");
    context.report(finding);
}

fn sidecar_of<'d>(
    context: &mut Context<'_>,
    by_namespace: &BTreeMap<&str, Vec<Found<'d>>>,
    service: &Service,
    root_namespace: &str,
) -> Option<Found<'d>> {
    let own = by_namespace.get(service.namespace.as_str()).map(Vec::as_slice).unwrap_or_default();
    let mut selected: Option<Found<'d>> = None;
    for found in own {
        let Some(selector) = &found.spec.workload_selector else { continue };
        match (service.workloads_carry(&selector.labels), selected) {
            (Some(true), None) => selected = Some(*found),
            (Some(true), Some(first)) => {
                let message = format!("`{}` selects the workloads of `{}` too", first.document, service.id());
                overlap(context, first, *found, &message);
            }
            (Some(false), _) => {}
            (None, _) => undecided(context, *found, selector.span, service),
        }
    }
    let general =
        |list: &[Found<'d>]| list.iter().find(|found| found.spec.workload_selector.is_none()).copied();
    selected
        .or_else(|| general(own))
        .or_else(|| by_namespace.get(root_namespace).and_then(|root| general(root)))
}

fn undecided(context: &mut Context<'_>, found: Found<'_>, span: Span, service: &Service) {
    let message = format!("nothing says whether this selects all workloads of `{}`, or none", service.id());
    let finding = Diagnostic::error(NOT_SUPPORTED, message)
        .object(found.document.object())
        .at(span)
        .related(service.at.span, "the service")
        .with_note("one bundle holds for all workloads of a service")
        .help(
            "give its endpoints the labels, or declare a service of its own for the workloads that are meant",
        );
    context.report(finding);
}

/// The services that `egress` names; none if it does not narrow anything.
///
/// A listener for a port shows that port only, and of the port nothing else is shown
/// (iapi:networking/v1alpha3/sidecar.proto, `IstioEgressListener.port`).
fn calls(
    context: &mut Context<'_>,
    found: Found<'_>,
    mesh: &Mesh,
    caller: ServiceIndex,
    reported: &mut BTreeSet<Span>,
) -> Option<Vec<Call>> {
    let own = &mesh.service(caller).namespace;
    let egress = found.spec.egress.as_ref()?;
    let of_ports: BTreeSet<u16> =
        egress.iter().filter_map(|listener| Some(listener.port.as_ref()?.number.value)).collect();
    let mut shown: BTreeMap<ServiceIndex, Shown> = BTreeMap::new();
    for listener in egress {
        let port = listener.port.as_ref();
        for (namespace, name, written) in listener.pairs() {
            if (namespace, name) == ("*", "*") && of_ports.is_empty() {
                return None;
            }
            if namespace == "~" {
                continue;
            }
            let namespace = if namespace == "." { own.as_str() } else { namespace };
            let Ok(pattern) = HostPattern::parse(name) else { continue };
            let mut any = false;
            let seen = mesh.indexed().filter(|(_, service)| service.is_visible_to(own));
            for (index, service) in seen.filter(|(_, service)| fits(service, namespace, &pattern)) {
                any = true;
                // What one Sidecar says of many services, each says of the others.
                if index != caller {
                    let by_pattern = !matches!(pattern, HostPattern::Exact(_));
                    let shown = shown.entry(index).or_insert_with(|| Shown::at(written.span));
                    shown.add(service, port.map(|port| port.number.value), &of_ports, by_pattern);
                    if let Some(protocol) = port.and_then(|port| port.protocol.as_ref()) {
                        other_protocol(context, found, service, (port, protocol), reported);
                    }
                }
            }
            let missing = !any && !["Service", "ServiceEntry"].iter().any(|kind| context.has_unread(kind));
            if missing && matches!(pattern, HostPattern::Exact(_)) && reported.insert(written.span) {
                let message = format!("no service has the host `{name}` in that namespace");
                let finding = Diagnostic::error("unknown-reference", message).object(found.document.object());
                let help = "hosts are written in full, as in `shop/cart.shop.svc.cluster.local`";
                context.report(finding.at(written.span).label("not found").help(help));
            }
        }
    }
    let mut calls = Vec::new();
    for (index, shown) in shown {
        let service = mesh.service(index);
        match service.ports.iter().find(|port| !shown.ports.contains(&port.number)) {
            Some(_) if shown.ports.is_empty() => continue,
            Some(hidden) if reported.insert(shown.span) => in_part(context, found, service, &shown, hidden),
            _ => {}
        }
        calls.push(Call { service: index, span: shown.span, by_pattern: shown.by_pattern });
    }
    Some(calls)
}

/// What is shown of a service.
struct Shown {
    span: Span,
    ports: BTreeSet<u16>,
    by_pattern: bool,
}

impl Shown {
    fn at(span: Span) -> Self {
        Self { span, ports: BTreeSet::new(), by_pattern: true }
    }

    fn add(&mut self, service: &Service, only: Option<u16>, of_ports: &BTreeSet<u16>, by_pattern: bool) {
        let numbers = service.ports.iter().map(|port| port.number);
        let here = |number: &u16| match only {
            Some(only) => *number == only,
            None => !of_ports.contains(number),
        };
        self.ports.extend(numbers.filter(here));
        self.by_pattern &= by_pattern;
    }
}

/// Reports a service of which the listeners show some ports.
fn in_part(context: &mut Context<'_>, found: Found<'_>, service: &Service, shown: &Shown, hidden: &Port) {
    let message = format!("this shows only a part of `{}`, and not its port {}", service.id(), hidden.number);
    let finding = Diagnostic::error(NOT_SUPPORTED, message)
        .object(found.document.object())
        .at(shown.span)
        .related(hidden.span, "the port is declared here")
        .with_note("a caller sees a service with all of its ports, or not at all")
        .help("list the other ports too, or declare a service of its own for the port that is meant");
    context.report(finding);
}

/// Reports a listener for a port of another protocol.
fn other_protocol(
    context: &mut Context<'_>,
    found: Found<'_>,
    service: &Service,
    (listener, protocol): (Option<&Spanned<SidecarPort>>, &Spanned<String>),
    reported: &mut BTreeSet<Span>,
) {
    let port = listener.and_then(|listener| service.port(listener.number.value));
    let Some(port) = port.filter(|port| protocol_named(protocol) != Some(port.protocol)) else { return };
    if reported.insert(protocol.span) {
        let message = format!("port {} of `{}` speaks {}", port.number, service.id(), port.protocol.as_str());
        let finding = Diagnostic::error("protocol-mismatch", message)
            .object(found.document.object())
            .at(protocol.span)
            .related(port.span, "the port is declared here");
        context.report(finding);
    }
}

fn fits(service: &Service, namespace: &str, pattern: &HostPattern) -> bool {
    let full = || format!("{}.{}.svc.cluster.local", service.name, service.namespace);
    let inside =
        |host: &String| HostPattern::parse(host).is_ok_and(|host| pattern.intersection(&host).is_some());
    (namespace == "*" || service.namespace == namespace)
        && (service.hosts.iter().any(inside) || (!service.external && pattern.matches(&full())))
}

fn ingress(
    context: &mut Context<'_>,
    found: Found<'_>,
    listener: &Spanned<IngressListener>,
    service: &mut Service,
) {
    let number = &listener.port.number;
    let id = service.id();
    let Some(port) = service.ports.iter_mut().find(|port| port.target == number.value) else {
        let message = format!("`{id}` has no port that leads to {number}");
        let finding = Diagnostic::error("unknown-reference", message)
            .object(found.document.object())
            .at(number.span)
            .related(service.at.span, "the service")
            .help("a workload is reached at the ports of its service; declare it there");
        context.report(finding);
        return;
    };
    if let Some(protocol) = &listener.port.protocol
        && protocol_named(protocol) != Some(port.protocol)
    {
        let message = format!("port {} of `{id}` speaks {}", port.number, port.protocol.as_str());
        let finding = Diagnostic::error("protocol-mismatch", message)
            .object(found.document.object())
            .at(protocol.span)
            .related(port.span, "the port is declared here");
        context.report(finding);
    }
    if let Some(application) = listener.application() {
        port.application = application.to_string();
    }
    if let Some(pool) = &listener.connection_pool {
        service.inbound_limits.insert(port.number, limits(pool));
    }
}

/// Istio leaves ports that an `ingress` does not list without a listener, and so without policy.
fn unlisted(context: &mut Context<'_>, found: Found<'_>, service: &Service) {
    let Some(first) = found.spec.ingress.first() else { return };
    let listed = |target| found.spec.ingress.iter().any(|listener| listener.port.number.value == target);
    for port in service.ports.iter().filter(|port| !listed(port.target)) {
        let message = format!("port {} of `{}` has no listener here", port.target, service.id());
        let finding = Diagnostic::error(NOT_SUPPORTED, message)
            .object(found.document.object())
            .at(first.span)
            .related(port.span, "the port is declared here")
            .with_note(
                "Istio lets its traffic pass without any policy; here every port of a service is guarded",
            )
            .help("list it too");
        context.report(finding);
    }
}

/// What of a pool bounds what comes in; the rest was refused while reading.
fn limits(pool: &ConnectionPoolSettings) -> Limits {
    let number =
        |written: Option<Spanned<u32>>| written.map(|number| number.value).filter(|number| *number > 0);
    let http = pool.http.as_deref();
    Limits {
        connections: number(pool.tcp.as_ref().and_then(|tcp| tcp.max_connections)),
        pending: number(http.and_then(|http| http.http1_max_pending_requests)),
        requests: number(http.and_then(|http| http.http2_max_requests)),
        retries: None,
    }
}
