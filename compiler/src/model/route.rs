//! Routes: conditions in order, and what happens to a request that fits one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_bundle::body::{Cors, Fraction, HeaderEdits, Protocol, Redirect, RequestMatch, Rewrite};
use weft_bundle::engine::HostPattern;

use super::{At, GatewayIndex, Mesh, ServiceIndex, Settings};
use crate::yaml::Span;

/// A document that decides where requests to a service go.
#[derive(Clone, Debug)]
pub struct Route {
    /// The document.
    pub at: At,
    /// Its namespace, which a consumer route is for.
    pub namespace: String,
    /// What it routes.
    pub kind: RouteKind,
    /// The services it decides for.
    pub attachments: Vec<Attachment>,
    /// The gateways' listeners it decides for.
    pub listeners: Vec<ListenerAttachment>,
    /// How its entries are ordered.
    pub order: Order,
    /// The annotation `weft.dev/priority`: breaks ties, higher first.
    pub priority: Option<i64>,
    /// In document order.
    pub entries: Vec<RouteEntry>,
    /// In document order.
    pub rules: Vec<RouteRule>,
    /// What its dialect says where nobody says anything.
    pub dialect_defaults: Arc<Settings>,
}

/// What a route routes. Where several kinds meet on one port of a service, the first of these takes it (GEP-1294); datagrams
/// are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// gRPC calls.
    Grpc,
    /// HTTP requests.
    Http,
    /// TLS connections, by server name.
    Tls,
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl RouteKind {
    /// Whether it can route what is spoken on a port.
    pub fn routes(self, protocol: Protocol) -> bool {
        match self {
            Self::Grpc | Self::Http => protocol.is_http(),
            Self::Tls => protocol == Protocol::Tls,
            Self::Tcp => matches!(protocol, Protocol::Tcp | Protocol::Tls),
            Self::Udp => protocol == Protocol::Udp,
        }
    }
}

impl Route {
    /// Whether callers of some namespace that fits may take it, to whatever service or listener it is attached.
    pub fn is_taken(&self, mesh: &Mesh, fits: impl Fn(&str) -> bool) -> bool {
        let mut gateways = self.listeners.iter().map(|listener| mesh.gateway(listener.gateway));
        self.attachments.iter().any(|attachment| attachment.scope.has(&fits))
            || gateways.any(|gateway| fits(&gateway.namespace))
    }
}

/// A listener of a gateway that a route decides for.
#[derive(Clone, Debug)]
pub struct ListenerAttachment {
    /// The gateway.
    pub gateway: GatewayIndex,
    /// The listener, by place in [`super::Gateway::listeners`].
    pub listener: usize,
    /// The names that both the listener and the route are for. Never empty.
    pub hosts: Vec<HostPattern>,
    /// Where that is written.
    pub span: Span,
}

/// A service, and the callers, that a route decides for.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The service.
    pub service: ServiceIndex,
    /// One port of it, or all.
    pub port: Option<u16>,
    /// Which callers.
    pub scope: Scope,
    /// Where that is written.
    pub span: Span,
}

/// Which callers a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All, unless their namespace has a consumer route (Gateway API producer routes).
    Everyone,
    /// Those of one namespace, instead of any producer route (Gateway API consumer routes, GEP-1294).
    Consumers(String),
    /// Those of some namespaces (Istio `exportTo`).
    Namespaces(Vec<String>),
}

impl Scope {
    /// Whether callers of a namespace are among them. That consumer routes replace producer routes is another matter.
    pub fn includes(&self, namespace: &str) -> bool {
        self.has(|own| own == namespace)
    }

    /// Whether callers of some namespace that fits are among them; all namespaces are taken to have one that does.
    pub fn has(&self, fits: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Everyone => true,
            Self::Consumers(own) => fits(own),
            Self::Namespaces(own) => own.iter().any(|own| fits(own)),
        }
    }
}

/// How the entries of routes on one frontend are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By how much a condition says (Gateway API v1, `HTTPRouteRule.matches`); entries of several routes mix.
    Specificity,
    /// As listed (Istio); one route has the frontend to itself.
    Listed,
}

/// One condition of a route, and the rule it leads to.
#[derive(Clone, Debug)]
pub struct RouteEntry {
    /// What must hold.
    pub condition: RequestMatch,
    /// The port it is limited to, if any.
    pub port: Option<u16>,
    /// The namespace of callers it is limited to, if any.
    pub source_namespace: Option<String>,
    /// Labels that the calling workload must carry.
    pub source_labels: BTreeMap<String, String>,
    /// Where it holds, if not wherever its route does.
    pub only: Option<Places>,
    /// The index into [`Route::rules`].
    pub rule: usize,
    /// Where the condition is written.
    pub span: Span,
}

/// Some of the places that a route decides for (Istio's `match.gateways`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Whether its services are among them.
    pub services: bool,
    /// The listeners among them.
    pub listeners: BTreeSet<(GatewayIndex, usize)>,
}

impl RouteEntry {
    /// Whether it holds for callers inside the mesh.
    pub fn is_for_services(&self) -> bool {
        self.only.as_ref().is_none_or(|places| places.services)
    }

    /// Whether it holds on a listener of its route.
    pub fn is_for_listener(&self, gateway: GatewayIndex, listener: usize) -> bool {
        self.only.as_ref().is_none_or(|places| places.listeners.contains(&(gateway, listener)))
    }
}

/// Changes to the headers of requests and of responses. A pointer, as most rules make none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Option<Box<(HeaderEdits, HeaderEdits)>>);

impl Headers {
    /// These changes.
    pub fn new(request: HeaderEdits, response: HeaderEdits) -> Self {
        let any = !request.is_empty() || !response.is_empty();
        Self(any.then(|| Box::new((request, response))))
    }

    /// Those of requests.
    pub fn request(&self) -> HeaderEdits {
        self.0.as_ref().map(|edits| edits.0.clone()).unwrap_or_default()
    }

    /// Those of responses.
    pub fn response(&self) -> HeaderEdits {
        self.0.as_ref().map(|edits| edits.1.clone()).unwrap_or_default()
    }
}

/// What a route does with a request.
#[derive(Clone, Debug)]
pub struct RouteRule {
    /// Where it is written.
    pub at: At,
    /// What it does.
    pub action: RuleAction,
    /// Changes to headers.
    pub headers: Headers,
    /// Changes to where the request says it goes.
    pub rewrite: Option<Box<Rewrite>>,
    /// Copies that go elsewhere.
    pub mirrors: Vec<MirrorRef>,
    /// What browsers of other origins may do.
    pub cors: Option<Box<Cors>>,
    /// Timeouts, retries, faults and affinity written in the rule itself.
    pub settings: Arc<Settings>,
}

impl RouteRule {
    /// A rule that does this and nothing beside it.
    pub fn new(at: At, action: RuleAction) -> Self {
        Self {
            at,
            action,
            headers: Headers::default(),
            rewrite: None,
            mirrors: Vec::new(),
            cors: None,
            settings: Settings::default().shared(),
        }
    }
}

/// Where a share of the requests is copied to.
#[derive(Clone, Debug)]
pub struct MirrorRef {
    /// The service; none if the reference could not be bound, which drops the copies.
    pub target: Option<BackendTarget>,
    /// The share.
    pub share: Fraction,
    /// Where that is written.
    pub span: Span,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum RuleAction {
    /// Send to one of these, by weight.
    Forward(Vec<BackendRef>),
    /// Answer with another place to go.
    Redirect(Box<Redirect>),
    /// Answer directly.
    Respond {
        /// The status.
        status: u16,
        /// The body.
        body: Option<String>,
    },
}

impl RuleAction {
    /// Where it sends requests; nowhere if it answers them.
    pub fn backends(&self) -> &[BackendRef] {
        match self {
            Self::Forward(backends) => backends,
            Self::Redirect(_) | Self::Respond { .. } => &[],
        }
    }
}

/// Where a rule sends a share of its requests.
#[derive(Clone, Debug)]
pub struct BackendRef {
    /// The backend; none if the reference could not be bound, which answers 500 for its share.
    pub target: Option<BackendTarget>,
    /// Its share.
    pub weight: u32,
    /// Changes to the headers of requests that go there, and of responses that come from there.
    pub headers: Headers,
    /// Where that is written.
    pub span: Span,
}

/// A bound backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendTarget {
    /// The service.
    pub service: ServiceIndex,
    /// Its port.
    pub port: u16,
    /// The subset, a key of [`super::Service::subsets`].
    pub subset: Option<String>,
}
