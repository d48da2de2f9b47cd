//! Callers that DestinationRules leave in doubt, or without what a route sends them to.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::Context;
use super::super::callers::{CallersByTarget, callers_by_target};
use crate::diagnostic::Diagnostic;
use crate::dialect::{NO_EFFECT, NOT_SUPPORTED};
use crate::model::routing::{Audience, Viewer};
use crate::model::{
    At, BackendTarget, Gateway, GatewayIndex, Mesh, Route, RouteRule, Service, ServiceIndex, Told, View,
};
use crate::yaml::Span;

/// Reports each caller of which nobody knows whether a `workloadSelector` means it, or that several mean, and each selector that
/// means nobody; and each subset that some of those who are sent to it do not know.
pub(in crate::model::resolve) fn check(context: &mut Context<'_>, mesh: &Mesh) {
    if mesh.services.iter().all(|service| service.views.is_empty()) {
        return;
    }
    let callers = callers_by_target(mesh);
    for (target, asking) in asking(mesh, &callers) {
        for caller in asking {
            undecided(context, &caller, mesh.service(target));
        }
    }
    nobody(context, mesh);
    let mut seen = BTreeSet::new();
    for route in &mesh.routes {
        for (span, target) in
            route.rules.iter().flat_map(targets).filter(|(_, target)| target.subset.is_some())
        {
            if !seen.contains(&span)
                && let Some(caller) = without(mesh, route, target, &callers)
            {
                seen.insert(span);
                unknown(context, mesh, route, (span, target), &caller);
            }
        }
    }
}

/// Who is told something of each service that tells some callers something else: whoever may call it, or is sent there by a
/// route of what it may call.
fn asking<'m>(mesh: &'m Mesh, callers: &CallersByTarget) -> BTreeMap<ServiceIndex, Vec<Caller<'m>>> {
    let mut services: BTreeMap<ServiceIndex, BTreeSet<ServiceIndex>> = BTreeMap::new();
    let mut gateways: BTreeMap<ServiceIndex, BTreeSet<GatewayIndex>> = BTreeMap::new();
    for (target, _) in mesh.indexed().filter(|(_, service)| !service.views.is_empty()) {
        services.insert(target, callers.get(&target).into_iter().flatten().copied().collect());
    }
    for route in &mesh.routes {
        for (_, target) in route.rules.iter().flat_map(targets) {
            let Some(told) = services.get_mut(&target.service) else { continue };
            for attachment in &route.attachments {
                let sent = callers.get(&attachment.service).into_iter().flatten().copied();
                told.extend(sent.filter(|own| attachment.scope.includes(&mesh.service(*own).namespace)));
            }
            for gateway in route.listeners.iter().map(|listener| listener.gateway) {
                match mesh.gateway(gateway).service {
                    Some(own) => drop(told.insert(own)),
                    None => drop(gateways.entry(target.service).or_default().insert(gateway)),
                }
            }
        }
    }
    let all = services.into_iter().map(|(target, own)| {
        let outside = gateways.get(&target).into_iter().flatten();
        let outside = outside.map(|gateway| Caller::Gateway(mesh, mesh.gateway(*gateway)));
        let own = own.into_iter().map(|caller| Caller::Service(mesh.service(caller)));
        (target, own.chain(outside).collect())
    });
    all.collect()
}

/// The backends and mirrors of a rule, with their places.
fn targets(rule: &RouteRule) -> impl Iterator<Item = (Span, &BackendTarget)> {
    let backends =
        rule.action.backends().iter().filter_map(|backend| Some((backend.span, backend.target.as_ref()?)));
    backends.chain(rule.mirrors.iter().filter_map(|mirror| Some((mirror.span, mirror.target.as_ref()?))))
}

/// A caller that the route sends to a subset which it does not know.
fn without(mesh: &Mesh, route: &Route, target: &BackendTarget, callers: &CallersByTarget) -> Option<String> {
    let service = mesh.service(target.service);
    if service.views.is_empty() {
        return None;
    }
    let knows = |viewer: &dyn Viewer| {
        let told = Told { index: target.service, service, view: service.view(viewer) };
        target.subset.as_ref().is_none_or(|subset| told.subsets().contains_key(subset))
    };
    for attachment in &route.attachments {
        for caller in callers.get(&attachment.service).into_iter().flatten() {
            let caller = mesh.service(*caller);
            if attachment.scope.includes(&caller.namespace) && !knows(caller) {
                return Some(caller.id());
            }
        }
    }
    let gateways = route.listeners.iter().map(|listener| mesh.gateway(listener.gateway));
    let mut gateways = gateways.filter(|gateway| match gateway.service {
        Some(index) => !knows(mesh.service(index)),
        None => !knows(&Audience { namespace: gateway.namespace.clone(), labels: gateway.labels.clone() }),
    });
    gateways.next().map(|gateway| gateway.id())
}

fn unknown(
    context: &mut Context<'_>,
    mesh: &Mesh,
    route: &Route,
    (span, target): (Span, &BackendTarget),
    caller: &str,
) {
    let service = mesh.service(target.service);
    let subset = target.subset.as_deref().unwrap_or_default();
    let message =
        format!("`{caller}` is sent to the subset `{subset}` of `{}`, which it does not know", service.id());
    let views = service.views.iter();
    let declared =
        views.filter_map(|view| view.subsets.get(subset)).chain(service.subsets.get(subset)).next();
    let mut finding = Diagnostic::error("unknown-reference", message)
        .object(route.at.origin.object.clone())
        .at(span)
        .label("answers 503 to it")
        .with_note("a DestinationRule is for the callers of its own namespace, unless it is in the service's or the root namespace")
        .help("declare the subset where its callers see it: in the namespace of the service");
    if let Some(declared) = declared {
        finding = finding.related(declared.at.span, "only others see this one");
    }
    context.report(finding);
}

/// Who calls: a service, or a gateway.
enum Caller<'m> {
    Service(&'m Service),
    Gateway(&'m Mesh, &'m Gateway),
}

impl<'m> Caller<'m> {
    /// Id, namespace, and where it is declared.
    fn name(&self) -> (String, &'m str, &'m At) {
        match self {
            Self::Service(service) => (service.id(), &service.namespace, &service.at),
            Self::Gateway(_, gateway) => (gateway.id(), &gateway.namespace, &gateway.at),
        }
    }

    /// Whether all its workloads carry some labels.
    fn carries(&self, labels: &BTreeMap<String, String>) -> Option<bool> {
        match self {
            Self::Service(service) => service.workloads_carry(labels),
            Self::Gateway(mesh, gateway) => carried_by_gateway(mesh, gateway, labels),
        }
    }
}

/// Whether the workloads of a gateway carry some labels. If no document describes them and others are known to carry the
/// labels, who cannot be them, those are meant.
fn carried_by_gateway(mesh: &Mesh, gateway: &Gateway, labels: &BTreeMap<String, String>) -> Option<bool> {
    if let Some(known) = mesh.gateway_carries(gateway, labels) {
        return Some(known);
    }
    let is_its = |service: &Service| service.workloads_carry(&gateway.labels) != Some(false);
    let mut others =
        mesh.in_namespace(&gateway.namespace).filter(|s| s.workloads_carry(labels) == Some(true));
    let first = others.next()?;
    (!is_its(first) && !others.any(is_its)).then_some(false)
}

/// Reports each `workloadSelector` with labels that no workload of its namespace can have.
fn nobody(context: &mut Context<'_>, mesh: &Mesh) {
    if context.has_unread_workloads() {
        return;
    }
    let views = mesh.services.iter().flat_map(|service| &service.views);
    for view in views.filter(|view| !view.labels.is_empty()) {
        let may = |carries: Option<bool>| carries != Some(false);
        let here = mesh.gateways.iter().filter(|gateway| gateway.namespace == view.namespace);
        let known =
            mesh.in_namespace(&view.namespace).any(|service| may(service.workloads_carry(&view.labels)))
                || here.into_iter().any(|gateway| may(mesh.gateway_carries(gateway, &view.labels)));
        if let Some(at) = view.at.as_ref().filter(|_| !known) {
            let message = format!(
                "no workload in namespace `{}` is known to have the labels `{}`",
                view.namespace,
                shown(&view.labels)
            );
            let finding = Diagnostic::warning(NO_EFFECT, message)
                .object(at.origin.object.clone())
                .at(at.span)
                .label("selects nobody")
                .with_note(
                    "the selector is about the callers, which are workloads of the rule's own namespace",
                )
                .help("correct the labels, or declare the service whose workloads have them");
            context.report(finding);
        }
    }
}

fn shown(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", ")
}

fn undecided(context: &mut Context<'_>, caller: &Caller<'_>, target: &Service) {
    let mut first: Option<&View> = None;
    let (id, namespace, place) = caller.name();
    let is_gateway = matches!(caller, Caller::Gateway(..));
    let views = target.views.iter().filter(|view| view.namespace == namespace);
    for view in views.filter(|view| !view.labels.is_empty()) {
        let labels = shown(&view.labels);
        let (message, help) = match (caller.carries(&view.labels), first) {
            (Some(false), _) => continue,
            (Some(true), None) => {
                first = Some(view);
                continue;
            }
            (Some(true), Some(_)) => (
                format!("the workloads of `{id}` carry `{labels}`, and the labels of another rule too"),
                "let the selectors exclude each other",
            ),
            (None, _) if is_gateway => (
                format!("nothing says whether the workloads of the gateway `{id}` carry `{labels}`"),
                "add the gateway's Deployment to the documents, or select it by the labels of its Gateway",
            ),
            (None, _) => (
                format!("nothing says whether all workloads of `{id}` carry `{labels}`, or none"),
                "give its endpoints the labels, or declare a service of its own for the workloads that are meant",
            ),
        };
        let Some(at) = &view.at else { continue };
        let who = match is_gateway {
            true => format!("this gateway sends requests to `{}`", target.id()),
            false => format!("this service may send requests to `{}`", target.id()),
        };
        let finding = Diagnostic::error(NOT_SUPPORTED, message)
            .object(at.origin.object.clone())
            .at(at.span)
            .related(place.span, who)
            .with_note("one bundle holds for all workloads of a service, so one rule is for all of them")
            .help(help);
        context.report(finding);
    }
}
