//! What the DestinationRules of one scope say of a service: subsets and settings, united.
//!
//! A policy of a port replaces the policy of the service, also in what it leaves out; a policy of a subset replaces it part by
//! part: what it says about balancing, pools or outliers stands for all there is about that
//! (istio:pilot/pkg/networking/core/cluster_traffic_policy.go). So that levels may still be merged field by field, a subset's
//! part writes out Istio's default for each field that the service's sets.
//!
//! Where two rules set one field, the one of higher priority decides; without, that is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::super::{Context, services};
use super::super::settings::{self, Parts};
use super::super::tls::{self, Said};
use super::Rule;
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::TrafficPolicy;
use crate::dialect::{NOT_SUPPORTED, ParsedDocument};
use crate::model::{Service, Settings, Subset};
use crate::yaml::{Span, Spanned};

/// Who said what so far; a field is the first one's.
#[derive(Default)]
struct Before<'d> {
    fields: BTreeMap<&'static str, (&'d ParsedDocument, Span, i64)>,
    ports: BTreeMap<u16, (&'d ParsedDocument, Span, i64)>,
    tls: Said<'d>,
}

/// A service with what some rules say of it, which come by priority. Notes which were looked at.
pub(super) fn applied<'d>(
    context: &mut Context<'_>,
    mut service: Service,
    rules: &[(usize, &Rule<'d>)],
    used: &mut BTreeSet<usize>,
) -> Service {
    let mut before = Before::default();
    for (place, rule) in rules {
        used.insert(*place);
        bind_one(context, rule, &mut service, &mut before);
    }
    service
}

fn bind_one<'d>(context: &mut Context<'_>, rule: &Rule<'d>, service: &mut Service, before: &mut Before<'d>) {
    let (document, spec) = (rule.document, rule.spec);
    let top = spec.traffic_policy.as_ref();
    for subset in &spec.subsets {
        let at = context.at(document, subset.name.span, Some(subset.name.value.clone()));
        let own = subset.traffic_policy.as_ref();
        let made = Subset {
            at,
            labels: subset.labels.clone(),
            settings: subset_settings(context, document, own, top, None).shared(),
            ports: own.map(|own| subset_ports(context, document, own, top, service)).unwrap_or_default(),
        };
        if let Some(tls) = own.and_then(|own| own.tls.as_ref()) {
            tls::refuse_of_subset(context, document, tls);
        }
        services::add_subset(context, document, &mut service.subsets, &subset.name, made);
    }
    if let Some(policy) = top {
        bind_policy(context, rule, policy, service, before);
    }
}

fn bind_policy<'d>(
    context: &mut Context<'_>,
    rule: &Rule<'d>,
    policy: &Spanned<TrafficPolicy>,
    service: &mut Service,
    before: &mut Before<'d>,
) {
    let document = rule.document;
    let object = document.object();
    let own = settings::of(&Parts::of(policy)).made_by(&object);
    clash(context, rule, policy.span, service, &own, before);
    let whole = Settings::clone(&service.settings).or(&own);
    for port in &mut service.ports {
        let of_port = policy
            .port_level_settings
            .iter()
            .find(|of| of.port.as_ref().is_some_and(|selector| selector.number.value == port.number));
        let settings = match of_port {
            Some(of_port) => {
                let made = settings::of(&Parts::of_port(of_port)).made_by(&object);
                match before.ports.get(&port.number) {
                    Some((other, span, priority)) => {
                        if *priority == rule.priority {
                            let what = format!("has a policy for port {} too", port.number);
                            twice(context, document, of_port.span, (other, *span), &what);
                        }
                        None
                    }
                    None => {
                        before.ports.insert(port.number, (document, of_port.span, rule.priority));
                        Some(made)
                    }
                }
            }
            // A policy of the port replaces this one.
            None if before.ports.contains_key(&port.number) => None,
            // Time without traffic is limited on connections, not on requests.
            None => match (
                port.settings.take().map(Arc::unwrap_or_clone),
                settings::idle_connections(policy, port),
            ) {
                (None, None) => None,
                (before, idle) => {
                    let idle = idle.unwrap_or_default().made_by(&object);
                    Some(before.unwrap_or_default().or(&idle).or(&whole))
                }
            },
        };
        if settings.is_some() {
            port.settings = settings.map(Settings::shared);
        }
    }
    service.settings = whole.shared();
    for of_port in &policy.port_level_settings {
        if let Some(selector) = &of_port.port {
            context.port(document, service, selector.number.value, selector.span);
        }
    }
    tls::bind(context, (document, rule.priority), policy, service, &mut before.tls);
}

/// Reports fields that a rule of the same priority has set, and notes the others.
fn clash<'d>(
    context: &mut Context<'_>,
    rule: &Rule<'d>,
    span: Span,
    service: &Service,
    own: &Settings,
    before: &mut Before<'d>,
) {
    let mut others: BTreeMap<Span, Clash<'d>> = BTreeMap::new();
    for field in own.clashes(own) {
        let here = own.place_named(field).map_or(span, |place| place.span);
        match before.fields.get(field) {
            Some((other, at, priority)) if *priority == rule.priority => {
                let clash = Clash { here, other, at: *at, fields: Vec::new() };
                others.entry(other.metadata.name.span).or_insert(clash).fields.push(field);
            }
            Some(_) => {}
            None => drop(before.fields.insert(field, (rule.document, here, rule.priority))),
        }
    }
    for Clash { here, other, at, fields } in others.into_values() {
        let what = format!("sets `{}` of `{}` too", fields.join("`, `"), service.id());
        twice(context, rule.document, here, (other, at), &what);
    }
}

/// Fields that two rules set, at the places of the first of them.
struct Clash<'d> {
    here: Span,
    other: &'d ParsedDocument,
    at: Span,
    fields: Vec<&'static str>,
}

fn twice(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    span: Span,
    (other, at): (&ParsedDocument, Span),
    what: &str,
) {
    let finding = Diagnostic::error("conflicting-settings", format!("`{other}` {what}"))
        .object(document.object())
        .at(span)
        .related(at, "the other one")
        .with_note("Istio lets the older one win; Git has no such time")
        .help("set it in one of them, or say which one decides with the annotation `weft.dev/priority`");
    context.report(finding);
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
