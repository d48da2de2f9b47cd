//! DestinationRules, into subsets and settings of services.
//!
//! A policy of a port replaces the policy of the service, also in what it leaves out; a policy of a subset replaces it part by
//! part: what it says about balancing, pools or outliers stands for all there is about that
//! (istio:pilot/pkg/networking/core/cluster_traffic_policy.go). So that levels may still be merged field by field, a subset's
//! part writes out Istio's default for each field that the service's sets.

use super::super::{Context, services};
use super::hosts::Hosts;
use super::settings::{self, Parts};
use super::tls;
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::{DestinationRule, TrafficPolicy};
use crate::dialect::{Kind, NOT_SUPPORTED, ParsedDocument};
use crate::model::{Mesh, Service, ServiceIndex, Settings, Subset};
use crate::yaml::Spanned;

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
        bind_one(context, document, spec, mesh, index);
    }
}

fn bind_one(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &DestinationRule,
    mesh: &mut Mesh,
    index: ServiceIndex,
) {
    let Some(service) = mesh.services.get_mut(index.0) else { return };
    let top = spec.traffic_policy.as_ref();
    for subset in &spec.subsets {
        let at = context.at(document, subset.name.span, Some(subset.name.value.clone()));
        let own = subset.traffic_policy.as_ref();
        let made = Subset {
            at,
            labels: subset.labels.clone(),
            settings: subset_settings(context, document, own, top, None),
            ports: own.map(|own| subset_ports(context, document, own, top, service)).unwrap_or_default(),
        };
        if let Some(tls) = own.and_then(|own| own.tls.as_ref()) {
            tls::refuse_of_subset(context, document, tls);
        }
        services::add_subset(context, document, &mut service.subsets, &subset.name, made);
    }
    if let Some(policy) = top {
        bind_policy(context, document, policy, service);
    }
}

fn bind_policy(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    policy: &Spanned<TrafficPolicy>,
    service: &mut Service,
) {
    let object = document.object();
    let own = settings::of(&Parts::of(policy)).made_by(&object);
    let clashes = own.clashes(&service.settings);
    if !clashes.is_empty() {
        let set = clashes.join("`, `");
        let message = format!("another DestinationRule sets `{set}` of `{}` too", service.id());
        let place = |settings: &Settings| {
            clashes.first().and_then(|name| settings.place_named(name)).map(|place| place.span)
        };
        let finding = Diagnostic::error("conflicting-settings", message)
            .object(object.clone())
            .at(place(&own).unwrap_or(policy.span));
        let finding = match place(&service.settings) {
            Some(other) => finding.related(other, "the other one"),
            None => finding,
        };
        context.report(finding.help("set it in one of them"));
    }
    let whole = std::mem::take(&mut service.settings).or(&own);
    for port in &mut service.ports {
        let of_port = policy
            .port_level_settings
            .iter()
            .find(|of| of.port.as_ref().is_some_and(|selector| selector.number.value == port.number));
        let settings = match of_port {
            Some(of_port) => {
                let made = settings::of(&Parts::of_port(of_port)).made_by(&object);
                if port.settings.is_some() {
                    let message =
                        format!("another DestinationRule has a policy for port {} too", port.number);
                    let finding = Diagnostic::error("conflicting-settings", message);
                    context.report(finding.object(document.object()).at(of_port.span));
                }
                Some(made)
            }
            // Time without traffic is limited on connections, not on requests.
            None => settings::idle_connections(policy, port).map(|idle| idle.made_by(&object).or(&whole)),
        };
        if settings.is_some() {
            port.settings = settings;
        }
    }
    service.settings = whole;
    for of_port in &policy.port_level_settings {
        if let Some(selector) = &of_port.port {
            context.port(document, service, selector.number.value, selector.span);
        }
    }
    tls::bind(context, document, policy, service);
}

/// A subset's own policies of single ports.
fn subset_ports(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    own: &Spanned<TrafficPolicy>,
    top: Option<&Spanned<TrafficPolicy>>,
    service: &Service,
) -> std::collections::BTreeMap<u16, Settings> {
    let mut ports = std::collections::BTreeMap::new();
    for port in &service.ports {
        let named = |policy: &TrafficPolicy| {
            let mut selectors = policy.port_level_settings.iter().filter_map(|of_port| of_port.port.as_ref());
            selectors.any(|selector| selector.number.value == port.number)
        };
        if named(own) || top.is_some_and(|top| named(top)) {
            ports.insert(port.number, subset_settings(context, document, Some(own), top, Some(port.number)));
        }
    }
    ports
}

/// What a subset sets, with Istio's defaults for what it thereby takes from the service's policy.
fn subset_settings(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    own: Option<&Spanned<TrafficPolicy>>,
    top: Option<&Spanned<TrafficPolicy>>,
    port: Option<u16>,
) -> Settings {
    let Some(own) = own else { return Settings::default() };
    let own_parts = Parts::on(own, port);
    let top_parts = top.map(|top| Parts::on(top, port)).unwrap_or_default();
    if let (Some(balancer), Some(above)) = (own_parts.load_balancer, top_parts.load_balancer)
        && above.locality_lb_setting.is_some()
        && balancer.locality_lb_setting.is_none()
    {
        let message = "this replaces the service's `loadBalancer`, and with it its `localityLbSetting`";
        let finding = Diagnostic::error(NOT_SUPPORTED, message)
            .object(document.object())
            .at(balancer.span)
            .related(above.span, "the service's")
            .help("say here which `localityLbSetting` the subset has");
        context.report(finding);
    }
    settings::of(&own_parts).or(&settings::written_out(&own_parts).where_set(&settings::of(&top_parts)))
}
