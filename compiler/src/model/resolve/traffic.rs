//! TrafficPolicies: targets bound, clashes on one level reported.

use std::collections::BTreeMap;

use super::access::port_number;
use super::{Context, traffic_settings};
use crate::dialect::weft::{self, TargetKind, TargetRef};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{Mesh, TrafficPolicy, TrafficTarget};
use crate::yaml::Spanned;

/// Adds all traffic policies.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    for document in documents {
        if let Kind::TrafficPolicy(spec) = &document.spec {
            let policy = policy(context, document, spec, mesh);
            mesh.traffic.push(policy);
        }
    }
    clashes(context, mesh);
}

fn policy(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &weft::TrafficPolicy,
    mesh: &Mesh,
) -> TrafficPolicy {
    let targets =
        spec.target_refs.iter().filter_map(|target| self::target(context, document, target, mesh)).collect();
    TrafficPolicy { at: context.at_document(document), targets, settings: traffic_settings::of(spec) }
}

fn target(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    target: &Spanned<TargetRef>,
    mesh: &Mesh,
) -> Option<TrafficTarget> {
    let namespace = target.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
    match target.kind.value {
        TargetKind::Mesh => {
            context.mesh_name(document, mesh, &target.name);
            Some(TrafficTarget::Mesh)
        }
        TargetKind::Service => {
            let index = context.service(mesh, document, namespace, &target.name)?;
            if let Some(port) = &target.port {
                let number = port_number(context, document, port, mesh.service(index))?;
                return Some(TrafficTarget::Port(index, number));
            }
            let Some(subset) = &target.subset else { return Some(TrafficTarget::Service(index)) };
            if !context.subset(document, mesh.service(index), subset) {
                return None;
            }
            Some(TrafficTarget::Subset(index, subset.value.clone()))
        }
        TargetKind::HttpRoute | TargetKind::GrpcRoute | TargetKind::VirtualService => {
            route_target(context, document, target, namespace, mesh)
        }
        // Reported while reading.
        TargetKind::Namespace | TargetKind::Gateway => None,
    }
}

fn route_target(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    target: &TargetRef,
    namespace: &str,
    mesh: &Mesh,
) -> Option<TrafficTarget> {
    let kind = target.kind.value.route_kind()?;
    let object = format!("{kind} {namespace}/{}", target.name);
    let Some(index) = mesh.routes.iter().position(|route| route.at.origin.object == object) else {
        if context.is_unread(kind, namespace, &target.name) {
            return None;
        }
        let prefix = format!("{kind} {namespace}/");
        let known: Vec<&str> =
            mesh.routes.iter().filter_map(|route| route.at.origin.object.strip_prefix(&prefix)).collect();
        let what = format!("{kind} in namespace `{namespace}` called");
        context.unknown(document, target.name.span, &what, &target.name, &known);
        return None;
    };
    let Some(wanted) = &target.rule else { return Some(TrafficTarget::Route(index)) };
    let names: Vec<&str> =
        mesh.routes.get(index)?.rules.iter().filter_map(|rule| rule.at.origin.rule.as_deref()).collect();
    let found = names.iter().position(|name| *name == wanted.value);
    if found.is_none() {
        context.unknown(document, wanted.span, &format!("rule of `{object}` called"), wanted, &names);
    }
    found.map(|rule| TrafficTarget::Rule(index, rule))
}

/// Two policies that set one field of one target: neither is nearer, so neither wins.
fn clashes(context: &mut Context<'_>, mesh: &Mesh) {
    let mut by_target: BTreeMap<&TrafficTarget, Vec<&TrafficPolicy>> = BTreeMap::new();
    for policy in &mesh.traffic {
        for target in &policy.targets {
            by_target.entry(target).or_default().push(policy);
        }
    }
    for policies in by_target.values() {
        for (place, policy) in policies.iter().enumerate() {
            for earlier in policies.iter().take(place) {
                let fields = policy.settings.clashes(&earlier.settings);
                if fields.is_empty() {
                    continue;
                }
                let place = |policy: &TrafficPolicy| {
                    let field = fields.first().and_then(|name| policy.settings.place_named(name));
                    field.map_or(policy.at.span, |place| place.span)
                };
                let (one, other) = (place(earlier), place(policy));
                context.clash(&fields, (&earlier.at.origin, one), (&policy.at.origin, other));
            }
        }
    }
}
