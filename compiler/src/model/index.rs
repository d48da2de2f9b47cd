//! Which documents concern which service, looked up instead of searched for: a mesh of ten thousand services asks this
//! for every pair of caller and callee.

use std::collections::BTreeMap;

use weft_bundle::body::{Effect, IdentityMatch};
use weft_bundle::spiffe::SpiffeId;

use super::{
    AccessRule, CallerKind, GatewayIndex, Mesh, Route, ServiceIndex, TelemetryTarget, TrafficTarget,
};

/// Places in [`Mesh::routes`], [`Mesh::access`], [`Mesh::traffic`], [`Mesh::tokens`] and [`Mesh::telemetry`], each list in
/// document order.
#[derive(Clone, Debug, Default)]
pub struct Index {
    routes: Lists,
    listeners: BTreeMap<(GatewayIndex, usize), Vec<usize>>,
    senders: Lists,
    access: Lists,
    traffic: Lists,
    /// For whatever is not a whole service: the mesh, ports, subsets, routes and rules.
    nearer_traffic: BTreeMap<TrafficTarget, Vec<usize>>,
    tokens: Lists,
    telemetry: BTreeMap<TelemetryTarget, Vec<usize>>,
    identities: BTreeMap<SpiffeId, ServiceIndex>,
    allowed: Allowed,
}

/// A list for each service, by its place.
type Lists = Vec<Vec<usize>>;

/// The services that allow policies open, by whom they name. Whoever they are not listed for, they do not let in.
#[derive(Clone, Debug, Default)]
struct Allowed {
    by_identity: BTreeMap<SpiffeId, Vec<usize>>,
    by_namespace: BTreeMap<String, Vec<usize>>,
    by_others: Vec<usize>,
}

impl Index {
    /// The index of a mesh whose documents are all bound.
    pub(crate) fn of(mesh: &Mesh) -> Self {
        let lists = || vec![Vec::new(); mesh.services.len()];
        let mut index = Self {
            routes: lists(),
            senders: lists(),
            access: lists(),
            traffic: lists(),
            tokens: lists(),
            ..Self::default()
        };
        for (place, route) in mesh.routes.iter().enumerate() {
            route.attachments.iter().for_each(|attachment| add(&mut index.routes, attachment.service, place));
            destinations(route).for_each(|service| add(&mut index.senders, service, place));
            for attachment in &route.listeners {
                let key = (attachment.gateway, attachment.listener);
                push(index.listeners.entry(key).or_default(), place);
            }
        }
        for (place, policy) in mesh.access.iter().enumerate() {
            policy.targets.iter().for_each(|target| add(&mut index.access, target.service, place));
            if policy.effect == Effect::Allow {
                let targets = || policy.targets.iter().map(|target| target.service.0);
                policy.rules.iter().for_each(|rule| index.allowed.add(mesh, rule, targets));
            }
        }
        for (place, policy) in mesh.traffic.iter().enumerate() {
            for target in &policy.targets {
                match target {
                    TrafficTarget::Service(service) => add(&mut index.traffic, *service, place),
                    other => push(index.nearer_traffic.entry(other.clone()).or_default(), place),
                }
            }
        }
        for (place, service) in mesh.indexed().filter(|(_, service)| !service.external) {
            index.identities.entry(service.identity.clone()).or_insert(place);
        }
        for (place, policy) in mesh.tokens.iter().enumerate() {
            policy.services.iter().for_each(|service| add(&mut index.tokens, *service, place));
        }
        for (place, policy) in mesh.telemetry.iter().enumerate() {
            for target in &policy.targets {
                push(index.telemetry.entry(target.clone()).or_default(), place);
            }
        }
        index
    }

    /// The routes attached to a service.
    pub(crate) fn routes(&self, service: ServiceIndex) -> &[usize] {
        list(&self.routes, service)
    }

    /// The routes attached to a listener of a gateway.
    pub(crate) fn listener(&self, gateway: GatewayIndex, listener: usize) -> &[usize] {
        self.listeners.get(&(gateway, listener)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The routes that send requests to a service.
    pub(crate) fn senders(&self, service: ServiceIndex) -> &[usize] {
        list(&self.senders, service)
    }

    /// The access policies for a service.
    pub(crate) fn access(&self, service: ServiceIndex) -> &[usize] {
        list(&self.access, service)
    }

    /// The token policies for a service.
    pub(crate) fn tokens(&self, service: ServiceIndex) -> &[usize] {
        list(&self.tokens, service)
    }

    /// The telemetry policies for a target.
    pub(crate) fn telemetry(&self, target: &TelemetryTarget) -> &[usize] {
        self.telemetry.get(target).map(Vec::as_slice).unwrap_or_default()
    }

    /// The traffic policies for a target.
    pub(crate) fn traffic(&self, target: &TrafficTarget) -> &[usize] {
        match target {
            TrafficTarget::Service(service) => list(&self.traffic, *service),
            other => self.nearer_traffic.get(other).map(Vec::as_slice).unwrap_or_default(),
        }
    }

    /// The first service of that identity.
    pub(crate) fn identity(&self, identity: &SpiffeId) -> Option<ServiceIndex> {
        self.identities.get(identity).copied()
    }

    /// The services with an allow policy that may let an identity in; others let it in only by default. Not sorted, and
    /// may repeat one.
    pub(super) fn may_be_allowed(&self, caller: &SpiffeId) -> impl Iterator<Item = ServiceIndex> {
        let named = self.allowed.by_identity.get(caller);
        let near = caller.namespace().and_then(|namespace| self.allowed.by_namespace.get(namespace));
        let lists = named.into_iter().chain(near).chain([&self.allowed.by_others]);
        lists.flatten().map(|place| ServiceIndex(*place))
    }
}

impl Allowed {
    fn add<I: Iterator<Item = usize>>(&mut self, mesh: &Mesh, rule: &AccessRule, targets: impl Fn() -> I) {
        if rule.from.is_empty() {
            self.by_others.extend(targets());
        }
        for caller in &rule.from {
            let list = match &caller.who {
                CallerKind::Service(service) => {
                    self.by_identity.entry(mesh.service(*service).identity.clone()).or_default()
                }
                CallerKind::Identity(IdentityMatch::Exact(id)) => {
                    self.by_identity.entry(id.clone()).or_default()
                }
                CallerKind::Identity(IdentityMatch::Namespace { namespace, .. }) => {
                    self.by_namespace.entry(namespace.clone()).or_default()
                }
                // Sets of identities that have no key to look up; they are few.
                CallerKind::Identity(_) | CallerKind::Network(_) => &mut self.by_others,
            };
            list.extend(targets());
        }
    }
}

/// The services that a route sends requests to.
fn destinations(route: &Route) -> impl Iterator<Item = ServiceIndex> {
    let backends = route.rules.iter().flat_map(|rule| rule.action.backends());
    backends.filter_map(|backend| Some(backend.target.as_ref()?.service))
}

fn list(lists: &Lists, service: ServiceIndex) -> &[usize] {
    lists.get(service.0).map(Vec::as_slice).unwrap_or_default()
}

fn add(lists: &mut Lists, service: ServiceIndex, place: usize) {
    if let Some(list) = lists.get_mut(service.0) {
        push(list, place);
    }
}

/// Adds a place to a list once; places come in order.
fn push(list: &mut Vec<usize>, place: usize) {
    if list.last() != Some(&place) {
        list.push(place);
    }
}
