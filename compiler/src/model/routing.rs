//! Which routes a caller sees on a service's port, and in which order: one list, first match wins.
//!
//! 1. **Which routes.** Those attached to the service and port whose scope includes the caller's namespace. If any of
//!    them is a consumer route of that namespace, only those; else the others (GEP-1294).
//! 2. **Which order.** [`Order::Specificity`] entries of all routes are sorted by [`Rank`] (Gateway API v1,
//!    `HTTPRouteRule.matches`), then by `weft.dev/priority`, then by namespace and name, then as listed. An
//!    [`Order::Listed`] route has the frontend to itself: among it and others, the one of higher priority wins.
//! 3. **Ties.** What only namespace and name, or nothing, decides is a tie. Callers of this module decide whether it
//!    matters: `ambiguous-routes` reports ties that share a request.
//!
//! No match answers 404 once any route is attached; without any, the service itself is the destination.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::{PathMatch, RequestMatch};

use super::{
    Mesh, Order, Port, Route, RouteEntry, RouteRule, Scope, Service, ServiceIndex, Settings, TrafficTarget,
};

/// What a caller's namespace sees of one port of a service.
#[derive(Clone, Debug)]
pub struct FrontendPlan<'m> {
    /// Ordered; the first that matches decides. Empty if no route is attached.
    pub entries: Vec<PlannedEntry<'m>>,
    /// The routes that take part, by place in [`Mesh::routes`].
    pub routes: Vec<usize>,
    /// If an [`Order::Listed`] route wants this frontend to itself: it and all others that want it, in the order they
    /// rank.
    pub rivals: Vec<usize>,
}

/// One entry of a plan.
#[derive(Clone, Copy, Debug)]
pub struct PlannedEntry<'m> {
    /// The route's place in [`Mesh::routes`].
    pub route_index: usize,
    /// The route.
    pub route: &'m Route,
    /// The entry.
    pub entry: &'m RouteEntry,
    /// How much it says.
    pub rank: Rank,
}

impl<'m> PlannedEntry<'m> {
    /// The rule it leads to.
    ///
    /// # Panics
    /// Never: the front ends number the rules that they make.
    pub fn rule(&self) -> &'m RouteRule {
        self.route.rules.get(self.entry.rule).expect("an entry's rule is a rule of its route")
    }
}

/// How much a condition says, greater first: the criteria of Gateway API v1, `HTTPRouteRule.matches`, in their order.
///
/// The standard leaves the rank of regular expressions open; here they come after prefixes, as in Istio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    path_kind: u8,
    path_length: usize,
    method: bool,
    headers: usize,
    query: usize,
}

impl Rank {
    /// The rank of a condition.
    pub fn of(condition: &RequestMatch) -> Self {
        let (path_kind, path_length) = match &condition.path {
            Some(PathMatch::Exact(path)) => (3, path.len()),
            Some(PathMatch::SegmentPrefix(path) | PathMatch::Prefix(path)) => (2, path.len()),
            Some(PathMatch::Regex(pattern)) => (1, pattern.len()),
            // No dialect that ranks has these; they stand with expressions.
            Some(PathMatch::Suffix(text) | PathMatch::Template(text)) => (1, text.len()),
            None => (2, 1), // as the prefix `/`, which is the default
        };
        let method = condition.method.is_some();
        Self {
            path_kind,
            path_length,
            method,
            headers: condition.headers.len(),
            query: condition.query.len(),
        }
    }
}

/// Who looks at a service: a namespace, or more of a caller.
pub trait Viewer {
    /// The caller's namespace.
    fn namespace(&self) -> &str;

    /// Whether all its workloads carry these labels.
    fn carries(&self, labels: &BTreeMap<String, String>) -> bool;
}

/// A caller of that namespace about whose labels nothing is known.
impl Viewer for str {
    fn namespace(&self) -> &str {
        self
    }

    fn carries(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.is_empty()
    }
}

/// As [`str`].
impl Viewer for String {
    fn namespace(&self) -> &str {
        self
    }

    fn carries(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.is_empty()
    }
}

/// Callers that a list may treat apart: a namespace, and the labels that their workloads carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Audience {
    /// The namespace.
    pub namespace: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

impl Viewer for Audience {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn carries(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

/// A service as a caller. That its workloads agree on the labels that entries ask for was checked in resolve.
impl Viewer for Service {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn carries(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.is_empty() || self.workloads_carry(labels) == Some(true)
    }
}

/// What a caller sees of a service's port.
pub fn plan<'m>(
    mesh: &'m Mesh,
    target: ServiceIndex,
    port: &Port,
    viewer: &(impl Viewer + ?Sized),
) -> FrontendPlan<'m> {
    let namespace = viewer.namespace();
    let (mut routes, listed) = visible_routes(mesh, target, port.number, namespace);
    let mut rivals = Vec::new();
    if !listed.is_empty() {
        rivals = listed.iter().chain(&routes).copied().collect();
        rivals.sort_by_key(|index| standing(mesh, *index));
        // HTTPRoutes share the frontend with each other, a listed route with nobody.
        if let Some(first) = rivals.first().filter(|first| listed.contains(first)) {
            routes = vec![*first];
        }
    }
    let mut entries: Vec<PlannedEntry<'m>> = routes
        .iter()
        .filter_map(|index| Some((*index, mesh.routes.get(*index)?)))
        .flat_map(|(route_index, route)| {
            route.entries.iter().map(move |entry| PlannedEntry {
                route_index,
                route,
                entry,
                rank: Rank::of(&entry.condition),
            })
        })
        .filter(|planned| planned.entry.port.is_none_or(|number| number == port.number))
        .filter(|planned| planned.entry.source_namespace.as_deref().is_none_or(|wanted| wanted == namespace))
        .filter(|planned| viewer.carries(&planned.entry.source_labels))
        .collect();
    if entries.iter().all(|planned| planned.route.order == Order::Specificity) {
        // Stable: what is equal here stays as listed in its document.
        entries.sort_by_key(|planned| (Reverse(planned.rank), standing(mesh, planned.route_index)));
    }
    FrontendPlan { entries, routes, rivals }
}

/// The callers that may see different lists on a port. The first is of the namespace `""`, which stands for all that no
/// document treats specially. For each set of labels that entries ask for there are callers that carry just these: they see
/// the fewest of the entries that such callers may see.
pub fn audiences(mesh: &Mesh, target: ServiceIndex, port: &Port) -> BTreeSet<Audience> {
    let mut names = BTreeSet::from([String::new()]);
    let mut labels = BTreeSet::from([BTreeMap::new()]);
    for route in mesh.index.routes(target).iter().filter_map(|place| mesh.routes.get(*place)) {
        let here = |number: Option<u16>| number.is_none_or(|number| number == port.number);
        for attachment in route.attachments.iter().filter(|a| a.service == target && here(a.port)) {
            match &attachment.scope {
                Scope::Everyone => {}
                Scope::Consumers(namespace) => drop(names.insert(namespace.clone())),
                Scope::Namespaces(namespaces) => names.extend(namespaces.iter().cloned()),
            }
            names.extend(route.entries.iter().filter_map(|entry| entry.source_namespace.clone()));
            labels.extend(route.entries.iter().map(|entry| entry.source_labels.clone()));
        }
    }
    let of = |namespace: &String| {
        let audience = |labels: &BTreeMap<String, String>| Audience {
            namespace: namespace.clone(),
            labels: labels.clone(),
        };
        labels.iter().map(audience).collect::<Vec<_>>()
    };
    names.iter().flat_map(of).collect()
}

/// The settings that hold for a rule's requests to a port of a service, nearest level first; `rule` is the route and rule they
/// come through, if any.
///
/// Timeouts and retries are those of the service that the caller names, as they span all tries and a try may go to
/// any backend. Balancing, the time to connect and the retry budget are those of the backend, whose endpoints they are
/// about.
pub fn settings(
    mesh: &Mesh,
    service: ServiceIndex,
    port: u16,
    subset: Option<&str>,
    rule: Option<(usize, usize)>,
) -> Settings {
    let mut merged = Settings::default();
    let mut dialect = Settings::default();
    if let Some((route_index, rule_index)) = rule
        && let Some(route) = mesh.routes.get(route_index)
    {
        let own = route.rules.get(rule_index).map(|rule| rule.settings.clone()).unwrap_or_default();
        merged = own
            .or(&at_level(mesh, &TrafficTarget::Rule(route_index, rule_index)))
            .or(&at_level(mesh, &TrafficTarget::Route(route_index)));
        dialect = route.dialect_defaults.clone();
    }
    if let Some(name) = subset {
        let own = mesh
            .service(service)
            .subsets
            .get(name)
            .map(|subset| subset.ports.get(&port).unwrap_or(&subset.settings).clone());
        let own = own.unwrap_or_default();
        merged = merged.or(&at_level(mesh, &TrafficTarget::Subset(service, name.to_owned()))).or(&own);
    }
    merged
        .or(&at_level(mesh, &TrafficTarget::Port(service, port)))
        .or(&at_level(mesh, &TrafficTarget::Service(service)))
        .or(service_settings(mesh, service, port))
        .or(&dialect)
        .or(&at_level(mesh, &TrafficTarget::Mesh))
        .or(&mesh.defaults)
        .or(&Settings::built_in())
}

/// What a dialect attaches to a port, else to its service.
fn service_settings(mesh: &Mesh, service: ServiceIndex, port: u16) -> &Settings {
    let service = mesh.service(service);
    service.port(port).and_then(|port| port.settings.as_ref()).unwrap_or(&service.settings)
}

/// What the traffic policies on one target set; the first wins where two clash, which resolve has reported.
fn at_level(mesh: &Mesh, target: &TrafficTarget) -> Settings {
    let here = mesh.index.traffic(target).iter().filter_map(|place| mesh.traffic.get(*place));
    here.fold(Settings::default(), |merged, policy| merged.or(&policy.settings))
}

/// The routes on a port that callers of a namespace see, as (specific, listed).
fn visible_routes(mesh: &Mesh, target: ServiceIndex, port: u16, namespace: &str) -> (Vec<usize>, Vec<usize>) {
    let mut consumer = Vec::new();
    let mut general = Vec::new();
    let attached = mesh.index.routes(target).iter();
    for (index, route) in attached.filter_map(|place| Some((*place, mesh.routes.get(*place)?))) {
        let here =
            route.attachments.iter().filter(|a| a.service == target && a.port.is_none_or(|n| n == port));
        for attachment in here.filter(|attachment| attachment.scope.includes(namespace)) {
            match &attachment.scope {
                Scope::Consumers(_) => consumer.push(index),
                Scope::Everyone | Scope::Namespaces(_) => general.push(index),
            }
        }
    }
    let mut seen = if consumer.is_empty() { general } else { consumer };
    // A route may name one service twice, such as `cart` and `cart.shop`; its places then stand together.
    seen.dedup();
    let listed = |index: &usize| mesh.routes.get(*index).is_some_and(|route| route.order == Order::Listed);
    let (listed, specific) = seen.into_iter().partition(listed);
    (specific, listed)
}

/// How routes of equal rank stand to each other: priority, then namespace and name.
fn standing(mesh: &Mesh, index: usize) -> (Reverse<i64>, &str, &str) {
    match mesh.routes.get(index) {
        Some(route) => (Reverse(route.priority.unwrap_or(0)), &route.namespace, &route.at.origin.object),
        None => (Reverse(0), "", ""),
    }
}

#[cfg(test)]
mod tests {
    use weft_bundle::body::{FieldMatch, StringMatch};

    use super::*;

    fn rank(path: Option<PathMatch>, method: bool, headers: usize, query: usize) -> Rank {
        let field = || FieldMatch { name: "x".into(), value: StringMatch::Present, invert: false };
        Rank::of(&RequestMatch {
            path,
            method: method.then(|| StringMatch::Exact("GET".into())),
            headers: (0..headers).map(|_| field()).collect(),
            query: (0..query).map(|_| field()).collect(),
            ..RequestMatch::default()
        })
    }

    /// Gateway API v1, `HTTPRouteRule.matches`: each criterion decides only what those above it leave equal.
    #[test]
    fn each_criterion_only_breaks_ties_of_those_above() {
        let exact = |path: &str| Some(PathMatch::Exact(path.into()));
        let prefix = |path: &str| Some(PathMatch::SegmentPrefix(path.into()));
        let ordered = [
            rank(exact("/a"), false, 0, 0),
            rank(prefix("/abc"), false, 0, 0),
            rank(prefix("/ab"), true, 0, 0),
            rank(prefix("/ab"), false, 2, 0),
            rank(prefix("/ab"), false, 1, 3),
            rank(prefix("/ab"), false, 1, 1),
            rank(prefix("/ab"), false, 0, 1),
            rank(None, false, 0, 0),
            rank(Some(PathMatch::Regex("/.*long.*".into())), true, 9, 9),
        ];
        assert!(ordered.is_sorted_by(|earlier, later| earlier > later), "{ordered:#?}");
    }
}
