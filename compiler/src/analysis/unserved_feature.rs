//! # What it finds
//! A part of a document that this version compiles and its proxies do not do yet, such as copying requests or limiting
//! their rate: once for each document and thing, at the first line that asks.
//!
//! # Why it matters
//! A proxy refuses a bundle that asks for more than it does, and keeps the one that it has: leaving the part out would run
//! another policy than the one that was reviewed.
//!
//! # Example
//! ```yaml
//! kind: TrafficPolicy
//! spec: { rateLimits: [ { requests: 100, per: 1s } ] }
//! ```
//!
//! # Fix
//! Take it out until the proxies do it; the changelog says when. To compile for other proxies, say so in the Mesh document
//! with `analyses: { unserved-feature: note }`.
//!
//! # References
//! `bundle/src/feature.rs` is the table that both programs read.

use std::collections::BTreeSet;

use weft_bundle::body::{LoadBalancer, Protocol};
use weft_bundle::feature::Feature;

use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, RouteRule, Service, Settings};
use crate::yaml::Span;

/// One finding per document and feature.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut asked = Asked::default();
    asked.settings(&mesh.defaults, &mesh.at.origin.object, mesh.at.span);
    mesh.services.iter().for_each(|service| asked.service(service));
    for gateway in &mesh.gateways {
        asked.add(true, Feature::Gateway, &gateway.at.origin.object, gateway.at.span);
    }
    for route in &mesh.routes {
        route.rules.iter().for_each(|rule| asked.rule(rule, &route.at.origin.object));
    }
    for policy in &mesh.traffic {
        asked.settings(&policy.settings, &policy.at.origin.object, policy.at.span);
    }
    for policy in &mesh.tokens {
        asked.add(!policy.providers.is_empty(), Feature::Tokens, &policy.at.origin.object, policy.at.span);
    }
    for policy in &mesh.telemetry {
        asked.add(!policy.settings.is_empty(), Feature::Telemetry, &policy.at.origin.object, policy.at.span);
    }
    asked.found
}

#[derive(Default)]
struct Asked<'m> {
    seen: BTreeSet<(&'m str, Feature)>,
    found: Vec<Diagnostic>,
}

impl<'m> Asked<'m> {
    fn add(&mut self, asked: bool, feature: Feature, object: &'m str, span: Span) {
        if asked && !feature.is_served() && self.seen.insert((object, feature)) {
            let message = format!("proxies of this version do not do this yet: {feature}");
            let finding = Diagnostic::warning("unserved-feature", message)
                .object(object)
                .at(span)
                .label("asked for here")
                .with_note("a proxy refuses a bundle that asks for it, and keeps the one that it has")
                .help("take it out until proxies do it");
            self.found.push(finding);
        }
    }

    fn service(&mut self, service: &'m Service) {
        let (object, span) = (&service.at.origin.object, service.at.span);
        let by_pattern = service.hosts.iter().any(|host| host.contains('*'));
        self.add(service.discovery.is_some(), Feature::Discovery, object, span);
        self.add(by_pattern || !service.addresses.is_empty(), Feature::Addresses, object, span);
        self.settings(&service.settings, object, span);
        for port in &service.ports {
            self.add(port.protocol == Protocol::Udp, Feature::Udp, object, port.span);
            self.add(port.server_tls.is_some(), Feature::ServerTls, object, port.span);
            if let Some(settings) = &port.settings {
                self.settings(settings, object, port.span);
            }
        }
        let told = service.views.iter().flat_map(|view| view.subsets.values());
        for subset in service.subsets.values().chain(told) {
            self.settings(&subset.settings, &subset.at.origin.object, subset.at.span);
        }
        for view in &service.views {
            self.settings(&view.settings, object, span);
            for (settings, server_tls) in view.ports.values() {
                self.add(server_tls.is_some(), Feature::ServerTls, object, span);
                if let Some(settings) = settings {
                    self.settings(settings, object, span);
                }
            }
        }
    }

    fn rule(&mut self, rule: &'m RouteRule, object: &'m str) {
        if let Some(mirror) = rule.mirrors.first() {
            self.add(true, Feature::Mirror, object, mirror.span);
        }
        self.add(rule.cors.is_some(), Feature::Cors, object, rule.at.span);
        self.settings(&rule.settings, object, rule.at.span);
    }

    fn settings(&mut self, settings: &Settings, object: &'m str, span: Span) {
        let hashes = matches!(settings.load_balancer, Some(LoadBalancer::RingHash | LoadBalancer::Maglev));
        let limits =
            [settings.max_connections, settings.max_pending, settings.max_requests, settings.max_retries];
        let thresholds = [
            settings.consecutive_errors,
            settings.consecutive_gateway_errors,
            settings.consecutive_local_failures,
        ];
        let connection = settings.requests_per_connection.is_some_and(|requests| requests > 0)
            || settings.connection_age.is_some_and(|age| !age.is_zero())
            || settings.streams_per_connection.is_some()
            || settings.keepalive.is_some()
            || settings.upgrade_to_http2 == Some(true)
            || settings.proxy_protocol.is_some();
        let asked = [
            (settings.fault.is_some(), Feature::Fault),
            (settings.session.is_some(), Feature::SessionPersistence),
            (hashes || settings.hash.is_some(), Feature::HashBalancing),
            (settings.locality.is_some(), Feature::Locality),
            (settings.warmup.is_some(), Feature::Warmup),
            (limits.iter().any(Option::is_some), Feature::Limits),
            (thresholds.into_iter().flatten().any(|count| count > 0), Feature::Outliers),
            (settings.health_check.is_some(), Feature::HealthChecks),
            (connection, Feature::ConnectionSettings),
            (settings.rate_limits.as_ref().is_some_and(|limits| !limits.is_empty()), Feature::RateLimits),
        ];
        for (asked, feature) in asked {
            self.add(asked, feature, object, span);
        }
    }
}
