//! Callers that DestinationRules leave in doubt, or without what a route sends them to.

use std::collections::BTreeSet;

use super::super::super::Context;
use super::super::callers::{CallersByTarget, callers_by_target};
use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::model::routing::{Audience, Viewer};
use crate::model::{BackendTarget, Mesh, Route, RouteRule, RuleAction, Service, Told, View};
use crate::yaml::Span;

/// Reports each caller of which nobody knows whether a `workloadSelector` means it, or that several mean; and each subset that
/// some of those who are sent to it do not know.
pub(in crate::model::resolve) fn check(context: &mut Context<'_>, mesh: &Mesh) {
    if mesh.services.iter().all(|service| service.views.is_empty()) {
        return;
    }
    let callers = callers_by_target(mesh);
    for (target, service) in mesh.indexed().filter(|(_, service)| !service.views.is_empty()) {
        for caller in callers.get(&target).into_iter().flatten() {
            undecided(context, mesh.service(*caller), service);
        }
    }
    let mut seen = BTreeSet::new();
    for route in &mesh.routes {
        for (span, target) in route.rules.iter().flat_map(subsets) {
            if !seen.contains(&span)
                && let Some(caller) = without(mesh, route, target, &callers)
            {
                seen.insert(span);
                unknown(context, mesh, route, (span, target), &caller);
            }
        }
    }
}

/// The backends of a rule that are subsets, with their places.
fn subsets(rule: &RouteRule) -> impl Iterator<Item = (Span, &BackendTarget)> {
    let backends = match &rule.action {
        RuleAction::Forward(backends) => backends.as_slice(),
        RuleAction::Redirect(_) | RuleAction::Respond { .. } => &[],
    };
    let backends = backends.iter().filter_map(|backend| Some((backend.span, backend.target.as_ref()?)));
    let mirrors = rule.mirrors.iter().filter_map(|mirror| Some((mirror.span, mirror.target.as_ref()?)));
    backends.chain(mirrors).filter(|(_, target)| target.subset.is_some())
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

fn undecided(context: &mut Context<'_>, caller: &Service, target: &Service) {
    let mut first: Option<&View> = None;
    let views = target.views.iter().filter(|view| view.namespace == caller.namespace);
    for view in views.filter(|view| !view.labels.is_empty()) {
        let labels = view.labels.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>();
        let labels = labels.join(", ");
        let (message, help) = match (caller.workloads_carry(&view.labels), first) {
            (Some(false), _) => continue,
            (Some(true), None) => {
                first = Some(view);
                continue;
            }
            (Some(true), Some(_)) => (
                format!(
                    "the workloads of `{}` carry `{labels}`, and the labels of another rule too",
                    caller.id()
                ),
                "let the selectors exclude each other",
            ),
            (None, _) => (
                format!("nothing says whether all workloads of `{}` carry `{labels}`, or none", caller.id()),
                "give its endpoints the labels, or declare a service of its own for the workloads that are meant",
            ),
        };
        let Some(at) = &view.at else { continue };
        let finding = Diagnostic::error(NOT_SUPPORTED, message)
            .object(at.origin.object.clone())
            .at(at.span)
            .related(caller.at.span, format!("this service may call `{}`", target.id()))
            .with_note("one bundle holds for all workloads of a service, so one rule is for all of them")
            .help(help);
        context.report(finding);
    }
}
