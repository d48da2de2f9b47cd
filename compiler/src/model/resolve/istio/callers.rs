//! Conditions on the labels of callers (`sourceLabels`), which one body decides once and for all workloads of a service.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Context;
use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::model::callers::dependencies;
use crate::model::{Mesh, Route, RouteEntry, Service, ServiceIndex};

/// Reports each caller whose workloads differ in a label that an entry asks for, or of whose labels too little is known.
pub(in crate::model::resolve) fn check(context: &mut Context<'_>, mesh: &Mesh) {
    let asking: Vec<&Route> = mesh.routes.iter().filter(|route| asks(route)).collect();
    if asking.is_empty() {
        return;
    }
    let callers = callers_by_target(mesh);
    for route in asking {
        let entries = route.entries.iter().filter(|entry| entry.is_for_services());
        for entry in entries.filter(|entry| !entry.source_labels.is_empty()) {
            for caller in callers_of(mesh, route, entry, &callers) {
                undecided(context, route, entry, caller);
            }
        }
    }
}

fn asks(route: &Route) -> bool {
    route.entries.iter().any(|entry| !entry.source_labels.is_empty())
}

/// The services that may call each service.
pub(super) type CallersByTarget = BTreeMap<ServiceIndex, Vec<ServiceIndex>>;

/// Who may call whom.
pub(super) fn callers_by_target(mesh: &Mesh) -> CallersByTarget {
    let mut callers = CallersByTarget::new();
    for (caller, _) in mesh.indexed().filter(|(_, service)| !service.external) {
        for target in dependencies(mesh, caller) {
            callers.entry(target).or_default().push(caller);
        }
    }
    callers
}

/// The callers whose bodies hold an entry, or would.
fn callers_of<'m>(
    mesh: &'m Mesh,
    route: &Route,
    entry: &RouteEntry,
    callers: &CallersByTarget,
) -> impl Iterator<Item = &'m Service> + use<'m> {
    let mut found = BTreeSet::new();
    for attachment in &route.attachments {
        let here = callers.get(&attachment.service).into_iter().flatten().copied();
        found.extend(here.filter(|caller| {
            let namespace = &mesh.service(*caller).namespace;
            attachment.scope.includes(namespace)
                && entry.source_namespace.as_ref().is_none_or(|wanted| wanted == namespace)
        }));
    }
    found.into_iter().map(|caller| mesh.service(caller))
}

fn undecided(context: &mut Context<'_>, route: &Route, entry: &RouteEntry, caller: &Service) {
    if caller.workloads_carry(&entry.source_labels).is_some() {
        return;
    }
    let wanted: Vec<String> =
        entry.source_labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let wanted = wanted.join(", ");
    let known = caller.endpoints.iter().filter(|endpoint| !endpoint.labels.is_empty()).count();
    let (message, help) = match known {
        0 => (
            format!("nothing says whether the workloads of `{}` carry `{wanted}`", caller.id()),
            "give its endpoints labels, or declare a service for the workloads that are meant",
        ),
        _ => (
            format!("some workloads of `{}` carry `{wanted}`, and others do not", caller.id()),
            "declare a service of its own for the workloads that are meant: each service has a bundle of its own",
        ),
    };
    let finding = Diagnostic::error(NOT_SUPPORTED, message)
        .object(route.at.origin.object.clone())
        .at(entry.span)
        .related(caller.at.span, "this service may call the host")
        .with_note(
            "one bundle holds for all workloads of a service, so they all see this route, or none does",
        )
        .help(help);
    context.report(finding);
}
