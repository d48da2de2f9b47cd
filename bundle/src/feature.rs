//! What bodies may ask of a proxy beyond the basics, and whether the proxies of this version do it.
//!
//! One table for both programs: `weft check` says when a policy asks for what proxies do not do yet, and a proxy refuses a
//! body that asks for it, by the same names. A feature is never skipped: a proxy that left out a fault, a limit or a
//! mirror would run another policy than the one that was reviewed.
//!
//! To serve a feature: write it in the proxy, then move it to the served ones in [`Feature::is_served`].

use std::collections::BTreeMap;
use std::fmt;

use crate::body::{
    Body, Cluster, ConnectionSettings, Discovery, InboundPort, Limits, ListenerTls, Origin, Protocol, Rule,
    UpstreamTls,
};

/// Something that a body may ask of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Listeners for callers outside the mesh.
    Gateway,
    /// Listeners among them that pass bytes on which are not HTTP.
    OpaqueListeners,
    /// Copies of requests.
    Mirror,
    /// Cross-origin answers.
    Cors,
    /// Injected delays and aborts.
    Fault,
    /// Callers that stay with one endpoint.
    SessionPersistence,
    /// Datagrams.
    Udp,
    /// Endpoints by DNS or from a file.
    Discovery,
    /// Endpoints as the caller has them.
    OriginalDestination,
    /// TLS to servers outside the mesh.
    ServerTls,
    /// Balancing by hash.
    HashBalancing,
    /// Preferring near endpoints.
    Locality,
    /// Easing new endpoints in.
    Warmup,
    /// Bounds on what is in flight.
    Limits,
    /// Leaving out endpoints that fail.
    Outliers,
    /// Asking endpoints whether they are well.
    HealthChecks,
    /// How connections are kept.
    ConnectionSettings,
    /// Connections that begin with the PROXY protocol.
    ProxyProtocol,
    /// Tokens of callers.
    Tokens,
    /// Rate limits.
    RateLimits,
    /// A configured access log, traces, or more metric labels.
    Telemetry,
    /// Sending spans somewhere.
    SpanExport,
    /// Routing by the address that the caller connects to, or by a pattern of names.
    Addresses,
}

impl Feature {
    /// Whether the proxies of this version do it.
    pub fn is_served(self) -> bool {
        match self {
            Self::Gateway
            | Self::ServerTls
            | Self::ProxyProtocol
            | Self::Limits
            | Self::Fault
            | Self::Cors
            | Self::Outliers
            | Self::Warmup
            | Self::ConnectionSettings
            | Self::Mirror
            | Self::HashBalancing
            | Self::SessionPersistence
            | Self::RateLimits
            | Self::HealthChecks
            | Self::Tokens
            | Self::Telemetry
            | Self::Discovery
            | Self::Locality
            | Self::Addresses => true,
            Self::OpaqueListeners | Self::Udp | Self::OriginalDestination | Self::SpanExport => false,
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gateway => "listening for callers outside the mesh",
            Self::OpaqueListeners => "passing on opaque connections of callers outside the mesh",
            Self::Mirror => "copying requests to another service",
            Self::Cors => "answering cross-origin requests",
            Self::Fault => "injecting faults",
            Self::SessionPersistence => "keeping callers with one endpoint",
            Self::Udp => "forwarding datagrams",
            Self::Discovery => "finding endpoints by DNS or in a file",
            Self::OriginalDestination => "connecting to the address that the caller has",
            Self::ServerTls => "TLS to servers outside the mesh",
            Self::HashBalancing => "balancing by a hash",
            Self::Locality => "preferring near endpoints",
            Self::Warmup => "easing new endpoints in",
            Self::Limits => "bounding what is in flight",
            Self::Outliers => "leaving out endpoints that fail",
            Self::HealthChecks => "asking endpoints whether they are well",
            Self::ConnectionSettings => "settings of single connections",
            Self::ProxyProtocol => "opening connections with the PROXY protocol",
            Self::Tokens => "reading tokens",
            Self::RateLimits => "rate limits",
            Self::SpanExport => "sending spans to an OTLP endpoint",
            Self::Telemetry => "a configured access log, traces or metric labels",
            Self::Addresses => "routing by the address or the pattern of names that the caller uses",
        })
    }
}

/// The features that a body asks for, each with one place that asks.
pub fn uses(body: &Body) -> BTreeMap<Feature, String> {
    let mut uses = Uses(BTreeMap::new());
    for port in &body.inbound {
        uses.inbound(port);
    }
    for listener in &body.listeners {
        let place = || format!("listener `{}`", listener.name);
        let (protocol, is_passed) =
            (listener.frontend.protocol, listener.tls == Some(ListenerTls::Passthrough));
        uses.add(Feature::Gateway, true, place);
        uses.add(
            Feature::OpaqueListeners,
            is_passed || matches!(protocol, Protocol::Tcp | Protocol::Tls),
            place,
        );
    }
    for frontend in &body.outbound {
        let by_pattern = frontend.hosts.iter().any(|host| host.contains('*'));
        uses.add(Feature::Addresses, by_pattern, || format!("{}:{}", frontend.service, frontend.port));
    }
    let listeners = body.listeners.iter().map(|listener| &listener.frontend);
    for frontend in body.outbound.iter().chain(listeners) {
        let place = || format!("{}:{}", frontend.service, frontend.port);
        uses.add(Feature::Udp, frontend.protocol == Protocol::Udp, place);
        uses.add(Feature::Addresses, !frontend.addresses.is_empty(), place);
        for rule in frontend.rules.iter().chain([&frontend.otherwise]) {
            uses.rule(rule);
        }
    }
    for (id, cluster) in &body.clusters {
        uses.cluster(id, cluster);
    }
    for (id, provider) in &body.token_providers {
        uses.add(Feature::Tokens, true, || format!("{id}, {}", provider.origin));
    }
    let endpoint = body.telemetry.tracing.as_ref().and_then(|tracing| tracing.endpoint.as_ref());
    uses.add(Feature::SpanExport, endpoint.is_some(), || body.service.clone());
    uses.add(Feature::Telemetry, !body.telemetry.is_empty(), || body.service.clone());
    uses.0
}

struct Uses(BTreeMap<Feature, String>);

impl Uses {
    fn add(&mut self, feature: Feature, asked: bool, place: impl Fn() -> String) {
        if asked {
            self.0.entry(feature).or_insert_with(place);
        }
    }

    fn inbound(&mut self, port: &InboundPort) {
        let place = || format!("inbound port {}", port.port);
        self.add(Feature::Udp, port.protocol == Protocol::Udp, place);
        self.add(Feature::Tokens, !port.tokens.is_empty(), place);
        self.add(Feature::RateLimits, !port.rate_limits.is_empty(), place);
        self.add(Feature::Limits, port.limits != Limits::default(), place);
    }

    fn rule(&mut self, rule: &Rule) {
        let place = || Origin::to_string(&rule.origin);
        self.add(Feature::Mirror, !rule.mirrors.is_empty(), place);
        self.add(Feature::Cors, rule.cors.is_some(), place);
        self.add(Feature::Fault, rule.fault.is_some(), place);
        self.add(Feature::SessionPersistence, rule.session.is_some(), place);
    }

    fn cluster(&mut self, id: &str, cluster: &Cluster) {
        let place = || format!("cluster {id}");
        let discovery = matches!(
            cluster.discovery,
            Some(Discovery::Dns { .. } | Discovery::DnsService { .. } | Discovery::File { .. })
        );
        let as_called = cluster.discovery == Some(Discovery::OriginalDestination);
        let hashes = cluster.load_balancer.hashes();
        self.add(Feature::Discovery, discovery, place);
        self.add(Feature::OriginalDestination, as_called, place);
        self.add(Feature::ServerTls, matches!(cluster.tls, UpstreamTls::Server(_)), place);
        self.add(Feature::HashBalancing, hashes || cluster.hash.is_some(), place);
        self.add(Feature::Locality, cluster.locality.is_some(), place);
        self.add(Feature::Warmup, cluster.warmup.is_some(), place);
        self.add(Feature::Limits, cluster.limits != Limits::default(), place);
        self.add(Feature::Outliers, cluster.outliers.is_some(), place);
        self.add(Feature::HealthChecks, cluster.health_check.is_some(), place);
        let proxy_protocol = cluster.connection.proxy_protocol;
        let settings =
            cluster.connection != ConnectionSettings { proxy_protocol, ..ConnectionSettings::default() };
        self.add(Feature::ProxyProtocol, proxy_protocol.is_some(), place);
        self.add(Feature::ConnectionSettings, settings, place);
    }
}
