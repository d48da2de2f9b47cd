//! # What it finds
//! A part of a document that this version compiles and its proxies do not do yet, such as UDP, or
//! sending spans to a collector: once for each document and thing, at the first line that asks.
//!
//! # Why it matters
//! A proxy refuses a bundle that asks for more than it does, and keeps the one that it has: leaving the part out would run
//! another policy than the one that was reviewed.
//!
//! # Example
//! ```yaml
//! kind: Telemetry
//! spec: { tracing: { endpoint: "http://collector:4317" } }
//! ```
//!
//! # Fix
//! Take it out until the proxies do it; the changelog says when. To compile for other proxies, say so in the Mesh document
//! with `analyses: { unserved-feature: note }`.
//!
//! # References
//! `bundle/src/feature.rs` is the table that both programs read.

use std::collections::BTreeSet;

use weft_bundle::body::{Discovery, ListenerTls, LoadBalancer, Protocol};
use weft_bundle::feature::Feature;

use super::levels::Place;
use crate::diagnostic::Diagnostic;
use crate::model::settings::Setting;
use crate::model::{Mesh, RouteRule, ServiceIndex, Settings, Told};
use crate::yaml::Span;

/// One finding per document and feature.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut asked = Asked::default();
    asked.settings(&mesh.defaults, Place::from(&mesh.at));
    mesh.indexed().for_each(|(index, _)| asked.service(mesh, index));
    for gateway in &mesh.gateways {
        asked.add(true, Feature::Gateway, &gateway.at.origin.object, gateway.at.span);
        for listener in &gateway.listeners {
            let is_opaque = matches!(listener.protocol, Protocol::Tcp | Protocol::Tls)
                || listener.tls == Some(ListenerTls::Passthrough);
            asked.add(is_opaque, Feature::OpaqueListeners, &gateway.at.origin.object, listener.span);
        }
    }
    for route in &mesh.routes {
        route.rules.iter().for_each(|rule| asked.rule(rule, &route.at.origin.object));
    }
    for policy in &mesh.traffic {
        asked.settings(&policy.settings, Place::from(&policy.at));
    }
    for policy in &mesh.tokens {
        asked.add(!policy.providers.is_empty(), Feature::Tokens, &policy.at.origin.object, policy.at.span);
    }
    for policy in &mesh.telemetry {
        let (object, span) = (&policy.at.origin.object, policy.at.span);
        asked.add(!policy.settings.is_empty(), Feature::Telemetry, object, span);
        asked.add(policy.settings.endpoint.is_some(), Feature::SpanExport, object, span);
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

    fn service(&mut self, mesh: &'m Mesh, index: ServiceIndex) {
        let service = mesh.service(index);
        let (object, span) = (&service.at.origin.object, service.at.span);
        let by_pattern = service.hosts.iter().any(|host| host.contains('*'));
        let as_called = service.discovery == Some(Discovery::OriginalDestination);
        self.add(service.discovery.is_some() && !as_called, Feature::Discovery, object, span);
        self.add(as_called, Feature::OriginalDestination, object, span);
        self.add(by_pattern || !service.addresses.is_empty(), Feature::Addresses, object, span);
        for port in &service.ports {
            self.add(port.protocol == Protocol::Udp, Feature::Udp, object, port.span);
            self.add(port.server_tls.is_some(), Feature::ServerTls, object, port.span);
        }
        for part in mesh.told(index).flat_map(Told::parts) {
            self.settings(part.settings(), Place::from(part.at()));
            let (own, told) = (part.port.server_tls.as_ref(), part.told.server_tls(part.port.number));
            let at = part.told.at();
            self.add(told.is_some() && told != own, Feature::ServerTls, &at.origin.object, at.span);
        }
    }

    fn rule(&mut self, rule: &'m RouteRule, object: &'m str) {
        if let Some(mirror) = rule.mirrors.first() {
            self.add(true, Feature::Mirror, object, mirror.span);
        }
        self.add(rule.cors.is_some(), Feature::Cors, object, rule.at.span);
        self.settings(&rule.settings, Place { object, span: rule.at.span });
    }

    fn settings(&mut self, settings: &'m Settings, place: Place<'m>) {
        if settings.is_empty() {
            return;
        }
        let of = Wanted { settings, place };
        let hashes =
            |balancer: &LoadBalancer| matches!(balancer, LoadBalancer::RingHash | LoadBalancer::Maglev);
        let limit = |setting| of.field(setting, |_| true);
        let count = |setting| of.field(setting, |count| *count > 0);
        let asked = [
            (Feature::Fault, of.field(Settings::FAULT, |_| true)),
            (Feature::SessionPersistence, of.field(Settings::SESSION, |_| true)),
            (
                Feature::HashBalancing,
                of.field(Settings::LOAD_BALANCER, hashes).or_else(|| of.field(Settings::HASH, |_| true)),
            ),
            (Feature::Locality, of.field(Settings::LOCALITY, |_| true)),
            (Feature::Warmup, of.field(Settings::WARMUP, |_| true)),
            (
                Feature::Limits,
                limit(Settings::MAX_CONNECTIONS)
                    .or_else(|| limit(Settings::MAX_PENDING))
                    .or_else(|| limit(Settings::MAX_REQUESTS))
                    .or_else(|| limit(Settings::MAX_RETRIES)),
            ),
            (
                Feature::Outliers,
                count(Settings::CONSECUTIVE_ERRORS)
                    .or_else(|| count(Settings::CONSECUTIVE_GATEWAY_ERRORS))
                    .or_else(|| count(Settings::CONSECUTIVE_LOCAL_FAILURES)),
            ),
            (Feature::HealthChecks, of.field(Settings::HEALTH_CHECK, |_| true)),
            (Feature::ConnectionSettings, of.connection()),
            (Feature::ProxyProtocol, of.field(Settings::PROXY_PROTOCOL, |_| true)),
            (Feature::RateLimits, of.field(Settings::RATE_LIMITS, |limits| !limits.is_empty())),
        ];
        for (feature, place) in asked {
            if let Some(Place { object, span }) = place {
                self.add(true, feature, object, span);
            }
        }
    }
}

/// Settings, asked for what they want.
struct Wanted<'m> {
    settings: &'m Settings,
    place: Place<'m>,
}

impl<'m> Wanted<'m> {
    /// Where a field is set, if it is set to something that counts.
    fn field<T>(&self, setting: Setting<T>, counts: impl Fn(&T) -> bool) -> Option<Place<'m>> {
        self.settings.get(setting).filter(|value| counts(value))?;
        Some(self.place.of(self.settings, setting))
    }

    /// Where something is asked of connections.
    fn connection(&self) -> Option<Place<'m>> {
        self.field(Settings::REQUESTS_PER_CONNECTION, |requests| *requests > 0)
            .or_else(|| self.field(Settings::CONNECTION_AGE, |age| !age.is_zero()))
            .or_else(|| self.field(Settings::STREAMS_PER_CONNECTION, |_| true))
            .or_else(|| self.field(Settings::KEEPALIVE, |_| true))
            .or_else(|| self.field(Settings::UPGRADE_TO_HTTP2, |upgrade| *upgrade))
    }
}
