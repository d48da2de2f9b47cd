//! Policies: who may call whom, and how traffic is treated.

use weft_bundle::body::{self, Effect, IdentityMatch, OperationMatch};

use super::{At, GatewayIndex, ServiceIndex, Settings, TelemetrySettings};
use crate::yaml::Span;

/// A document that says who may call services.
#[derive(Clone, Debug)]
pub struct AccessPolicy {
    /// The document.
    pub at: At,
    /// The services it decides for.
    pub targets: Vec<AccessTarget>,
    /// The gateways it decides for, for callers from outside.
    pub gateways: Vec<GatewayIndex>,
    /// What its rules do.
    pub effect: Effect,
    /// Any of them.
    pub rules: Vec<AccessRule>,
}

/// A service that an access policy decides for.
#[derive(Clone, Debug)]
pub struct AccessTarget {
    /// The service.
    pub service: ServiceIndex,
    /// One port of it, or all.
    pub port: Option<u16>,
    /// Where that is written.
    pub span: Span,
}

/// One rule of an access policy.
#[derive(Clone, Debug)]
pub struct AccessRule {
    /// Where it is written.
    pub at: At,
    /// Any of these callers; empty: everyone.
    pub from: Vec<Caller>,
    /// Any of these operations; empty: everything.
    pub to: Vec<Operation>,
    /// What must hold besides, of the request, its caller and its connection.
    pub when: Option<body::Predicate>,
}

/// An operation in an access rule.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What is asked for.
    pub condition: OperationMatch,
    /// The ports it is limited to, with their services: one name may stand for different numbers. None: all.
    pub ports: Option<Vec<(ServiceIndex, u16)>>,
}

impl Operation {
    /// Whether it is about a port of a service.
    pub fn is_for(&self, service: ServiceIndex, port: u16) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.contains(&(service, port)))
    }
}

/// A caller in an access rule.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub who: CallerKind,
    /// Where that is written.
    pub span: Span,
}

/// Who a caller is.
#[derive(Clone, Debug)]
pub enum CallerKind {
    /// A service of the mesh: whoever has its identity.
    Service(ServiceIndex),
    /// An identity, or a set of them.
    Identity(IdentityMatch),
    /// An address.
    Network(ipnet::IpNet),
}

/// A document that sets timeouts, retries and balancing.
#[derive(Clone, Debug)]
pub struct TrafficPolicy {
    /// The document.
    pub at: At,
    /// What it is for.
    pub targets: Vec<TrafficTarget>,
    /// What it sets.
    pub settings: Settings,
}

/// What a traffic policy is for. Nearer levels win, field by field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrafficTarget {
    /// The whole mesh.
    Mesh,
    /// A service.
    Service(ServiceIndex),
    /// A port of a service.
    Port(ServiceIndex, u16),
    /// A subset of a service.
    Subset(ServiceIndex, String),
    /// A route, by place in [`super::Mesh::routes`].
    Route(usize),
    /// A rule of a route.
    Rule(usize, usize),
}

/// A document that names issuers whose tokens services read.
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    /// The document.
    pub at: At,
    /// The services that read them.
    pub services: Vec<ServiceIndex>,
    /// The gateways that read them.
    pub gateways: Vec<GatewayIndex>,
    /// Each with its id, which is unique in the mesh.
    pub providers: Vec<(String, body::TokenProvider)>,
    /// When key sets end, of those that do.
    pub expiries: Vec<KeyExpiry>,
}

/// When no key of a set is good any more.
#[derive(Clone, Copy, Debug)]
pub struct KeyExpiry {
    /// In seconds since 1970.
    pub at: i64,
    /// Where the set is named.
    pub span: Span,
}

/// A document that says what proxies tell about requests.
#[derive(Clone, Debug)]
pub struct TelemetryPolicy {
    /// The document.
    pub at: At,
    /// What it is for. Nearer levels win, field by field.
    pub targets: Vec<TelemetryTarget>,
    /// What it sets.
    pub settings: TelemetrySettings,
}

/// What a telemetry policy is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TelemetryTarget {
    /// The whole mesh.
    Mesh,
    /// All services and gateways of a namespace.
    Namespace(String),
    /// A service.
    Service(ServiceIndex),
    /// A gateway.
    Gateway(GatewayIndex),
}
