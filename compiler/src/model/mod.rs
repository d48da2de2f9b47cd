//! The mesh with every reference bound: what all dialects mean, in one vocabulary.
//!
//! ```text
//! Mesh ── services  ── ports, endpoints, subsets, declared calls; also those outside the mesh
//!      ── gateways  ── listeners for callers outside the mesh
//!      ── routes    ── attached to services and listeners; entries (condition → rule) in their own order
//!      ── access    ── who may call which service
//!      ── traffic   ── timeouts, retries, balancing, limits, by level
//!      ── tokens    ── issuers whose tokens a service reads
//!      ── telemetry ── logs, traces and labels, by level
//! ```
//!
//! Names become ids in [`resolve`], here and only here; what cannot be bound is a diagnostic and a hole, never a guess.
//! Analyses and lowering read the model and never ask which dialect a thing came from: dialects differ only in data,
//! such as [`Order`]. [`routing`] says which routes a caller sees and in which order; [`callers`] who may call whom.
//!
//! Conditions, header edits, redirects and balancing are the bundle's own types: they mean the same on both sides.

mod service;
mod route;
mod gateway;
mod policy;
mod telemetry;
pub mod settings;
pub mod rank;
pub mod routing;
pub mod callers;
pub mod policy_test;
pub mod resolve;
mod index;
mod frontends;
mod told;
pub mod levels;

use std::collections::BTreeMap;

use weft_bundle::body::{Origin, PeerTls, Verdict};
use weft_bundle::spiffe::TrustDomain;

pub use self::frontends::Frontends;
pub(crate) use self::gateway::GATEWAY_NAME_LABEL;
pub use self::gateway::{Gateway, GatewayIndex, GatewayListener};
pub use self::index::Index;
pub use self::policy::{
    AccessPolicy, AccessRule, AccessTarget, Caller, CallerKind, KeyExpiry, Operation, TelemetryPolicy,
    TelemetryTarget, TokenPolicy, TrafficPolicy, TrafficTarget,
};
pub use self::route::{
    Attachment, BackendRef, BackendTarget, Headers, ListenerAttachment, MirrorRef, Order, Places, Route,
    RouteEntry, RouteKind, RouteRule, RuleAction, Scope,
};
pub(crate) use self::service::is_added_later;
pub use self::service::{Accounts, Call, Endpoint, Port, Service, ServiceIndex, Subset, View, Workload};
pub use self::settings::Settings;
pub use self::telemetry::TelemetrySettings;
pub use self::told::{Part, Told};
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
    /// The namespace whose Istio policies are for the whole mesh.
    pub root_namespace: String,
    /// Levels of analyses that the Mesh document sets, by name.
    pub levels: BTreeMap<String, crate::analysis::Level>,
    /// Identities that the documents of a cluster name, whether a service has them or not.
    pub accounts: Accounts,
    /// Sorted by namespace, then name.
    pub services: Vec<Service>,
    /// Sorted by namespace, then name.
    pub gateways: Vec<Gateway>,
    /// In the order of their files, then lines.
    pub routes: Vec<Route>,
    /// In the order of their files, then lines.
    pub access: Vec<AccessPolicy>,
    /// In the order of their files, then lines.
    pub traffic: Vec<TrafficPolicy>,
    /// In the order of their files, then lines.
    pub tokens: Vec<TokenPolicy>,
    /// In the order of their files, then lines.
    pub telemetry: Vec<TelemetryPolicy>,
    /// What must hold, in the order of their files, then lines.
    pub tests: Vec<policy_test::PolicyTest>,
    /// Which of the above concern which service.
    pub index: Index,
    /// What the callers of every port see.
    pub frontends: Frontends,
}

/// The root namespace of a mesh that names none: Istio's own default.
pub const ROOT_NAMESPACE: &str = "istio-system";

impl Mesh {
    /// A mesh without anything in it, that lets nobody in.
    pub fn new(name: &str, at: At, trust_domain: TrustDomain) -> Self {
        Self {
            name: name.to_owned(),
            at,
            trust_domain,
            trust_anchors: BTreeMap::new(),
            default_access: Verdict::Deny,
            default_peer_tls: PeerTls::Strict,
            defaults: Settings::default(),
            root_namespace: ROOT_NAMESPACE.to_owned(),
            levels: BTreeMap::new(),
            accounts: Accounts::default(),
            services: Vec::new(),
            gateways: Vec::new(),
            routes: Vec::new(),
            access: Vec::new(),
            traffic: Vec::new(),
            tokens: Vec::new(),
            telemetry: Vec::new(),
            tests: Vec::new(),
            index: Index::default(),
            frontends: Frontends::default(),
        }
    }

    /// Looks which documents concern which service and what callers see, once all are bound.
    pub(crate) fn reindex(&mut self) {
        self.index = Index::of(self);
        self.frontends = Frontends::of(self);
    }

    /// The service at that place.
    ///
    /// # Panics
    /// Never for an index made by [`resolve`] for this mesh.
    pub fn service(&self, index: ServiceIndex) -> &Service {
        self.services.get(index.0).expect("service indices are made by resolve for this mesh")
    }

    /// The gateway at that place.
    ///
    /// # Panics
    /// Never for an index made by [`resolve`] for this mesh.
    pub fn gateway(&self, index: GatewayIndex) -> &Gateway {
        self.gateways.get(index.0).expect("gateway indices are made by resolve for this mesh")
    }

    /// The service called `namespace/name`.
    pub fn find(&self, namespace: &str, name: &str) -> Option<ServiceIndex> {
        let key = |service: &Service| {
            (service.namespace.as_str().cmp(namespace)).then(service.name.as_str().cmp(name))
        };
        self.services.binary_search_by(key).ok().map(ServiceIndex)
    }

    /// The gateway called `namespace/name`.
    pub fn find_gateway(&self, namespace: &str, name: &str) -> Option<GatewayIndex> {
        let key = |gateway: &Gateway| {
            (gateway.namespace.as_str().cmp(namespace)).then(gateway.name.as_str().cmp(name))
        };
        self.gateways.binary_search_by(key).ok().map(GatewayIndex)
    }

    /// The one gateway that a name stands for: its own, or that of an Istio Gateway whose servers it has. If there is none,
    /// or several, their names.
    ///
    /// # Errors
    /// Those of the gateways that have the servers of one Istio Gateway, if there are several; empty if there is none.
    pub fn gateway_named(&self, namespace: &str, name: &str) -> Result<GatewayIndex, Vec<String>> {
        if let Some(found) = self.find_gateway(namespace, name) {
            return Ok(found);
        }
        match self.declared_by(namespace, name).collect::<Vec<_>>().as_slice() {
            [only] => Ok(*only),
            several => Err(several.iter().map(|index| self.gateway(*index).id()).collect()),
        }
    }

    /// The gateways that have servers of Istio's Gateway `namespace/name`.
    pub fn declared_by(&self, namespace: &str, name: &str) -> impl Iterator<Item = GatewayIndex> {
        let has = move |gateway: &Gateway| {
            gateway.declared_by.iter().any(|(own, of)| own == namespace && of == name)
        };
        let found = self.gateways.iter().enumerate().filter(move |(_, gateway)| has(gateway));
        found.map(|(place, _)| GatewayIndex(place))
    }

    /// The services of a namespace, by name.
    pub fn in_namespace<'m>(&'m self, namespace: &'m str) -> impl Iterator<Item = &'m Service> {
        let start = self.services.partition_point(|service| service.namespace.as_str() < namespace);
        let rest = self.services.get(start..).unwrap_or_default();
        rest.iter().take_while(move |service| service.namespace == namespace)
    }

    /// Every service, with its index.
    pub fn indexed(&self) -> impl Iterator<Item = (ServiceIndex, &Service)> {
        self.services.iter().enumerate().map(|(place, service)| (ServiceIndex(place), service))
    }
}
