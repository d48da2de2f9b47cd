//! Services: what clients call, where it is, and what it declares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use weft_bundle::body::{Discovery, Limits, PeerTls, Protocol, ServerTls};
use weft_bundle::spiffe::SpiffeId;

use super::routing::{Audience, Viewer};
use super::{At, Settings};
use crate::yaml::Span;

/// A service of [`super::Mesh::services`], by place.
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
    pub settings: Arc<Settings>,
    /// Whether it is outside the mesh. Such a service has no workloads of ours, and no bundle is made for it.
    pub external: bool,
    /// More names that it answers to, in every namespace: lower case, patterns only for external ones. Sorted.
    pub hosts: Vec<String>,
    /// Addresses that it answers to where callers connect to an address. Sorted.
    pub addresses: Vec<IpNet>,
    /// Where endpoints come from that are not listed here, by port; the port of a name is the port's target.
    pub discovery: Option<Discovery>,
    /// Namespaces whose callers see it; every one if none.
    pub visible_to: Option<Vec<String>>,
    /// Names of which its certificate must have one, where callers begin TLS as on the web and say no other.
    pub subject_alt_names: Vec<String>,
    /// How much each port takes at once, by number.
    pub inbound_limits: BTreeMap<u16, Limits>,
    /// What callers of some namespaces are told instead of the above.
    pub views: Vec<View>,
    /// Labels that all its workloads carry, whatever their endpoints say (a Kubernetes Service's selector).
    pub labels: BTreeMap<String, String>,
    /// What runs it, where documents say so: then its workloads carry these labels and no others.
    pub workloads: Vec<Workload>,
    /// Whether its endpoints are found where it runs, and no document lists them.
    pub endpoints_later: bool,
}

impl Service {
    /// A service of the mesh about which nothing else is said.
    pub fn new(namespace: &str, name: &str, at: At, identity: SpiffeId) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            at,
            identity,
            ports: Vec::new(),
            endpoints: Vec::new(),
            subsets: BTreeMap::new(),
            calls: None,
            settings: Settings::default().shared(),
            external: false,
            hosts: Vec::new(),
            addresses: Vec::new(),
            discovery: None,
            visible_to: None,
            subject_alt_names: Vec::new(),
            inbound_limits: BTreeMap::new(),
            views: Vec::new(),
            labels: BTreeMap::new(),
            workloads: Vec::new(),
            endpoints_later: false,
        }
    }

    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether callers of a namespace see it.
    pub fn is_visible_to(&self, namespace: &str) -> bool {
        self.visible_to.as_ref().is_none_or(|namespaces| namespaces.iter().any(|own| own == namespace))
    }

    /// Whether its workloads carry these labels: all of them, or none; no answer if they differ, or nothing says.
    ///
    /// A workload of which nothing is known but its service's own labels may carry more; of one that a document describes,
    /// everything is known.
    pub fn workloads_carry(&self, labels: &BTreeMap<String, String>) -> Option<bool> {
        let missing = |(key, value): (&String, &String)| self.labels.get(key) != Some(value);
        let open: Vec<_> = labels.iter().filter(|(key, value)| missing((key, value))).collect();
        if open.is_empty() {
            return Some(true);
        }
        // A label of the service with another value decides for all.
        if open.iter().any(|(key, _)| self.labels.contains_key(*key)) {
            return Some(false);
        }
        let carries = |endpoint: &Endpoint| match endpoint.labels.is_empty() {
            true => None,
            false => Some(open.iter().all(|(key, value)| endpoint.labels.get(*key) == Some(*value))),
        };
        let described = self.workloads.iter().map(|workload| {
            let has = |(key, value): &&(&String, &String)| workload.labels.get(*key) == Some(*value);
            let later =
                |(key, _): &(&String, &String)| !workload.labels.contains_key(*key) && is_added_later(key);
            let mut missing = open.iter().filter(|label| !has(label)).peekable();
            match missing.peek() {
                None => Some(true),
                Some(_) => (!missing.all(later)).then_some(false),
            }
        });
        // Endpoints without labels are those of workloads that are described.
        let listed = self.endpoints.iter().map(carries);
        let listed = listed.filter(|answer| answer.is_some() || self.workloads.is_empty());
        let mut answers = described.chain(listed);
        let first = answers.next()??;
        answers.all(|answer| answer == Some(first)).then_some(first)
    }

    /// Whether there are workloads of it, as far as documents say.
    pub fn is_served(&self) -> bool {
        !self.endpoints.is_empty() || self.discovery.is_some() || self.endpoints_later
    }

    /// What a caller is told, if not the same as most.
    pub fn view(&self, viewer: &(impl Viewer + ?Sized)) -> Option<&View> {
        let here = self.views.iter().filter(|view| view.namespace == viewer.namespace());
        here.clone()
            .find(|view| !view.labels.is_empty() && viewer.carries(&view.labels))
            .or_else(|| here.clone().find(|view| view.labels.is_empty()))
    }

    /// The dependencies that it names, each of which it means to call.
    pub fn named_calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().flatten().filter(|call| !call.by_pattern)
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

/// Whether a label is one that a cluster adds to pods, whatever their template says: those of Istio's injection, and the
/// hashes of the controllers.
pub(crate) fn is_added_later(label: &str) -> bool {
    let domain = label.split_once('/').map(|(domain, _)| domain).unwrap_or_default();
    domain == "istio.io"
        || domain.ends_with(".istio.io")
        || matches!(label, "pod-template-hash" | "controller-revision-hash")
}

/// What some callers are told of a service, in place of what its own fields say to most (Istio's DestinationRules, of which
/// a caller's namespace may have its own).
#[derive(Clone, Debug)]
pub struct View {
    /// The namespace of the callers.
    pub namespace: String,
    /// Labels that their workloads must carry; such a view comes before one without.
    pub labels: BTreeMap<String, String>,
    /// Where it is written whom that is for: the labels, else the host that it is about. None if it is that nothing is told.
    pub at: Option<At>,
    /// As [`Service::subsets`].
    pub subsets: BTreeMap<String, Subset>,
    /// As [`Service::settings`].
    pub settings: Arc<Settings>,
    /// By port, as [`Port::settings`] and [`Port::server_tls`].
    pub ports: BTreeMap<u16, (Option<Arc<Settings>>, Option<ServerTls>)>,
}

impl View {
    /// The callers that are told this.
    pub fn audience(&self) -> Audience {
        Audience { namespace: self.namespace.clone(), labels: self.labels.clone() }
    }

    /// A view in which the service is as it is here.
    pub fn of(service: Service, namespace: &str, labels: BTreeMap<String, String>) -> Self {
        let ports = service.ports.into_iter().map(|port| (port.number, (port.settings, port.server_tls)));
        Self {
            namespace: namespace.to_owned(),
            labels,
            at: None,
            ports: ports.collect(),
            subsets: service.subsets,
            settings: service.settings,
        }
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
    /// TLS as on the web, for what is not of the mesh; then `peer_tls` says nothing.
    pub server_tls: Option<ServerTls>,
    /// Traffic settings for this port (Istio's `portLevelSettings`), which replace the service's own.
    pub settings: Option<Arc<Settings>>,
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
    pub settings: Arc<Settings>,
    /// Those of single ports, instead.
    pub ports: BTreeMap<u16, Settings>,
}

/// A declared dependency.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// What is called.
    pub service: ServiceIndex,
    /// Where that is written.
    pub span: Span,
    /// Whether it is one of many that a pattern stands for, as a Sidecar's `./*`: that says what the caller sees, not that it
    /// calls it.
    pub by_pattern: bool,
}

/// Workloads of a service that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What makes them, as messages have it: `Deployment shop/web`.
    pub name: String,
    /// Their labels, all of them.
    pub labels: BTreeMap<String, String>,
}

/// The identities of a cluster's accounts.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// Those that ServiceAccounts and workloads have.
    pub known: BTreeSet<SpiffeId>,
    /// The namespaces whose ServiceAccounts are in the documents.
    pub listed: BTreeSet<String>,
}
