//! The mesh with every reference bound: what all dialects mean, in one vocabulary.
//!
//! ```text
//! Mesh ── services ── ports, endpoints, subsets, declared calls
//!      ── routes   ── attached to services; entries (condition → rule) in their own order
//!      ── access   ── who may call which service
//!      ── traffic  ── timeouts, retries, balancing, by level
//! ```
//!
//! Names become ids in [`resolve`], here and only here; what cannot be bound is a diagnostic and a hole, never a guess.
//! Analyses and lowering read the model and never ask which dialect a thing came from: dialects differ only in data,
//! such as [`Order`]. [`routing`] says which routes a caller sees and in which order; [`callers`] who may call whom.
//!
//! Conditions, header edits, redirects and balancing are the bundle's own types: they mean the same on both sides.

pub mod settings;
pub mod routing;
pub mod callers;
pub mod resolve;
mod index;

use std::collections::BTreeMap;

use weft_bundle::body::{
    Effect, HeaderEdits, IdentityMatch, OperationMatch, Origin, PeerTls, Predicate, Protocol, Redirect,
    RequestMatch, Rewrite, Verdict,
};
use weft_bundle::spiffe::{SpiffeId, TrustDomain};

pub use self::index::Index;
pub use self::settings::Settings;
use crate::yaml::Span;

/// Where something is written: for people ([`Origin`]) and for excerpts ([`Span`]).
#[derive(Clone, Debug)]
pub struct At {
    /// Object, rule, file and line.
    pub origin: Origin,
    /// The bytes to underline.
    pub span: Span,
}

/// A whole mesh.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// Its name, which every bundle carries.
    pub name: String,
    /// The Mesh document.
    pub at: At,
    /// The trust domain of its workloads.
    pub trust_domain: TrustDomain,
    /// The certificates to believe, per trust domain: base64 DER, sorted.
    pub trust_anchors: BTreeMap<TrustDomain, Vec<String>>,
    /// What holds for a service that no allow policy names.
    pub default_access: Verdict,
    /// What holds for a port that says nothing about its peers.
    pub default_peer_tls: PeerTls,
    /// What holds where no TrafficPolicy and no dialect says otherwise.
    pub defaults: Settings,
    /// Levels of analyses that the Mesh document sets, by name.
    pub levels: BTreeMap<String, crate::analysis::Level>,
    /// Sorted by namespace, then name.
    pub services: Vec<Service>,
    /// In the order of their files, then lines.
    pub routes: Vec<Route>,
    /// In the order of their files, then lines.
    pub access: Vec<AccessPolicy>,
    /// In the order of their files, then lines.
    pub traffic: Vec<TrafficPolicy>,
    /// Which of the above concern which service.
    pub index: Index,
}

/// A service of [`Mesh::services`], by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceIndex(pub usize);

/// A service: the name clients use, and what one bundle is for.
#[derive(Clone, Debug)]
pub struct Service {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The document that declares it.
    pub at: At,
    /// The identity of its workloads.
    pub identity: SpiffeId,
    /// Sorted by number.
    pub ports: Vec<Port>,
    /// Sorted by address.
    pub endpoints: Vec<Endpoint>,
    /// By name.
    pub subsets: BTreeMap<String, Subset>,
    /// The dependencies it declares; none if it declares nothing, which is not the same as an empty list.
    pub calls: Option<Vec<Call>>,
    /// Traffic settings that a dialect attaches to the service itself (Istio's `DestinationRule.trafficPolicy`).
    pub settings: Settings,
}

impl Service {
    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The port of that number.
    pub fn port(&self, number: u16) -> Option<&Port> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// The endpoints whose labels have all of a subset's.
    pub fn endpoints_of<'s>(&'s self, subset: Option<&'s Subset>) -> impl Iterator<Item = &'s Endpoint> {
        let wanted = subset.map(|subset| &subset.labels);
        self.endpoints.iter().filter(move |endpoint| {
            wanted.is_none_or(|labels| {
                labels.iter().all(|(key, value)| endpoint.labels.get(key) == Some(value))
            })
        })
    }
}

/// A port of a service.
#[derive(Clone, Debug)]
pub struct Port {
    /// The name.
    pub name: String,
    /// The number callers use.
    pub number: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// The number that endpoints without one of their own listen on.
    pub target: u16,
    /// Where the application listens, `ip:port`.
    pub application: String,
    /// Whether peers must prove who they are.
    pub peer_tls: PeerTls,
    /// The bytes to underline.
    pub span: Span,
}

/// One address of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub address: std::net::IpAddr,
    /// Port numbers of its own, by port name; `""` stands for every port.
    pub ports: BTreeMap<String, u16>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its share among its neighbours.
    pub weight: u32,
    /// `region/zone/subzone`.
    pub locality: Option<String>,
}

impl Endpoint {
    /// The number it listens on for a port of its service.
    pub fn port_number(&self, port: &Port) -> u16 {
        self.ports.get(&port.name).or_else(|| self.ports.get("")).copied().unwrap_or(port.target)
    }
}

/// The endpoints of a service that have some labels.
#[derive(Clone, Debug)]
pub struct Subset {
    /// Where it is declared.
    pub at: At,
    /// What endpoints must carry.
    pub labels: BTreeMap<String, String>,
    /// Traffic settings of its own (Istio's `DestinationRule.subsets[].trafficPolicy`).
    pub settings: Settings,
}

/// A declared dependency.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// What is called.
    pub service: ServiceIndex,
    /// Where that is written.
    pub span: Span,
}

/// A document that decides where requests to a service go.
#[derive(Clone, Debug)]
pub struct Route {
    /// The document.
    pub at: At,
    /// Its namespace, which a consumer route is for.
    pub namespace: String,
    /// What it decides for.
    pub attachments: Vec<Attachment>,
    /// How its entries are ordered.
    pub order: Order,
    /// The annotation `weft.dev/priority`: breaks ties, higher first.
    pub priority: Option<i64>,
    /// In document order.
    pub entries: Vec<RouteEntry>,
    /// In document order.
    pub rules: Vec<RouteRule>,
    /// What its dialect says where nobody says anything.
    pub dialect_defaults: Settings,
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
        match self {
            Self::Everyone => true,
            Self::Consumers(own) => own == namespace,
            Self::Namespaces(own) => own.iter().any(|own| own == namespace),
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
    /// The index into [`Route::rules`].
    pub rule: usize,
    /// Where the condition is written.
    pub span: Span,
}

/// What a route does with a request.
#[derive(Clone, Debug)]
pub struct RouteRule {
    /// Where it is written.
    pub at: At,
    /// What it does.
    pub action: RuleAction,
    /// Changes to the request's headers.
    pub request_headers: HeaderEdits,
    /// Changes to the response's headers.
    pub response_headers: HeaderEdits,
    /// Changes to where the request says it goes.
    pub rewrite: Option<Rewrite>,
    /// Timeouts and retries written in the rule itself.
    pub settings: Settings,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum RuleAction {
    /// Send to one of these, by weight.
    Forward(Vec<BackendRef>),
    /// Answer with another place to go.
    Redirect(Redirect),
    /// Answer directly.
    Respond {
        /// The status.
        status: u16,
        /// The body.
        body: Option<String>,
    },
}

/// Where a rule sends a share of its requests.
#[derive(Clone, Debug)]
pub struct BackendRef {
    /// The backend; none if the reference could not be bound, which answers 500 for its share.
    pub target: Option<BackendTarget>,
    /// Its share.
    pub weight: u32,
    /// Changes to the headers of requests that go there.
    pub request_headers: HeaderEdits,
    /// Changes to the headers of responses that come from there.
    pub response_headers: HeaderEdits,
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
    /// The subset, a key of [`Service::subsets`].
    pub subset: Option<String>,
}

/// A document that says who may call services.
#[derive(Clone, Debug)]
pub struct AccessPolicy {
    /// The document.
    pub at: At,
    /// What it decides for.
    pub targets: Vec<AccessTarget>,
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
    /// A further condition.
    pub when: Option<Predicate>,
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
    /// A subset of a service.
    Subset(ServiceIndex, String),
    /// A route, by place in [`Mesh::routes`].
    Route(usize),
    /// A rule of a route.
    Rule(usize, usize),
}

impl Mesh {
    /// The service at that place.
    ///
    /// # Panics
    /// Never for an index made by [`resolve`] for this mesh.
    pub fn service(&self, index: ServiceIndex) -> &Service {
        self.services.get(index.0).expect("service indices are made by resolve for this mesh")
    }

    /// The service called `namespace/name`.
    pub fn find(&self, namespace: &str, name: &str) -> Option<ServiceIndex> {
        let key = |service: &Service| {
            (service.namespace.as_str().cmp(namespace)).then(service.name.as_str().cmp(name))
        };
        self.services.binary_search_by(key).ok().map(ServiceIndex)
    }

    /// Every service, with its index.
    pub fn indexed(&self) -> impl Iterator<Item = (ServiceIndex, &Service)> {
        self.services.iter().enumerate().map(|(place, service)| (ServiceIndex(place), service))
    }
}
