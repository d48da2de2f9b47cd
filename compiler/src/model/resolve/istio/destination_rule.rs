//! DestinationRules, into subsets and settings of services.

use weft_bundle::body::LoadBalancer;

use super::super::{Context, services};
use super::hosts::Hosts;
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::{self, DestinationRule, SimpleLb};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{Mesh, ServiceIndex, Settings, Subset};

/// Adds the subsets and settings of all DestinationRules to their services.
pub(in crate::model::resolve) fn bind(
    context: &mut Context<'_>,
    documents: &[&ParsedDocument],
    mesh: &mut Mesh,
) {
    let hosts = Hosts::of(mesh);
    for document in documents {
        let Kind::DestinationRule(spec) = &document.spec else { continue };
        let Some(index) = hosts.service(context, mesh, document, &spec.host) else { continue };
        bind_destination_rule(context, document, spec, mesh, index);
    }
}

fn bind_destination_rule(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &DestinationRule,
    mesh: &mut Mesh,
    index: ServiceIndex,
) {
    let Some(service) = mesh.services.get_mut(index.0) else { return };
    for subset in &spec.subsets {
        let at = context.at(document, subset.name.span, Some(subset.name.value.clone()));
        let settings = balancing(subset.traffic_policy.as_deref());
        let made = Subset { at, labels: subset.labels.clone(), settings };
        services::add_subset(context, document, &mut service.subsets, &subset.name, made);
    }
    let own = balancing(spec.traffic_policy.as_deref());
    if let (false, Some(policy)) = (own.clashes(&service.settings).is_empty(), &spec.traffic_policy) {
        let message = format!("another DestinationRule sets the load balancer of `{}` too", service.id());
        context.report(
            Diagnostic::error("conflicting-settings", message).object(document.object()).at(policy.span),
        );
    }
    service.settings = std::mem::take(&mut service.settings).or(&own);
}

fn balancing(policy: Option<&istio::TrafficPolicy>) -> Settings {
    let simple = policy.and_then(|policy| policy.load_balancer.as_ref()).and_then(|lb| lb.simple.as_deref());
    let load_balancer = simple.and_then(|simple| match simple {
        SimpleLb::Random => Some(LoadBalancer::Random),
        SimpleLb::RoundRobin => Some(LoadBalancer::RoundRobin),
        SimpleLb::LeastConn | SimpleLb::LeastRequest => Some(LoadBalancer::LeastRequest),
        SimpleLb::Unspecified | SimpleLb::Passthrough => None,
    });
    Settings { load_balancer, ..Settings::default() }
}
