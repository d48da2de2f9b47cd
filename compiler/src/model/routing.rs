//! Which routes a caller sees on a service's port, and in which order: one list, first match wins.
//!
//! 1. **Which routes.** Those attached to the service and port whose scope includes the caller's namespace. If any of
//!    them is a consumer route of that namespace, only those; else the others (GEP-1294).
//! 2. **Which order.** [`Order::Specificity`] entries of all routes are sorted by [`Rank`] (Gateway API v1,
//!    `HTTPRouteRule.matches`), then by `weft.dev/priority`, then by namespace and name, then as listed. An
//!    [`Order::Listed`] route has the frontend to itself: among it and others, the one of higher priority wins.
//!    Routes of several kinds do not mix: the first of [`RouteKind`] takes the port (GEP-1294).
//! 3. **Ties.** What only namespace and name, or nothing, decides is a tie. Callers of this module decide whether it
//!    matters: `ambiguous-routes` reports ties that share a request.
//!
//! No match answers 404 once any route is attached; without any, the service itself is the destination.
//!
//! A listener of a gateway has a list too ([`listener_plan`]): of the routes attached to it, each for the names that both
//! are for, the most specific name first. Nothing is behind it but its routes. Listed routes on one listener are put one
//! after the other, by priority; the names of such a listener all have the same routes.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_bundle::body::{PathMatch, RequestMatch};
use weft_bundle::engine::HostPattern;

use super::levels::Levels;
use super::rank::{Rank, tiers};
use super::{
    GatewayIndex, Mesh, Order, Port, Route, RouteEntry, RouteKind, RouteRule, Scope, Service, ServiceIndex,
    Settings, Told, View,
};

/// What a caller's namespace sees of one port of a service.
#[derive(Clone, Debug, Default)]
pub struct FrontendPlan<'m> {
    /// Ordered; the first that matches decides. Empty if no route is attached.
    pub entries: Vec<PlannedEntry<'m>>,
    /// The routes that take part, by place in [`Mesh::routes`].
    pub routes: Cow<'m, [usize]>,
    /// If an [`Order::Listed`] route wants this frontend to itself: it and all others that want it, in the order they
    /// rank.
    pub rivals: Cow<'m, [usize]>,
    /// Routes that others of another kind leave out, as (who stays, who is left out).
    pub outranked: Cow<'m, [(usize, usize)]>,
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
    /// The names it is for on a listener, all of one rank; none on a service.
    pub hosts: &'m [HostPattern],
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

    /// Whether the names that another is for on a listener are of the same rank.
    pub fn has_names_like(&self, other: &Self) -> bool {
        self.rank.host == other.rank.host
    }

    /// What must hold: the entry's condition, and on a listener one of the names.
    pub fn condition(&self) -> RequestMatch {
        let mut condition = self.entry.condition.clone();
        if self.hosts.is_empty() {
            return condition;
        }
        let names = match self.hosts.contains(&HostPattern::Any) {
            true => Vec::new(),
            false => self.hosts.iter().map(HostPattern::to_string).collect(),
        };
        match self.route.kind {
            RouteKind::Grpc | RouteKind::Http => condition.hosts = names,
            RouteKind::Tls => condition.server_names = names,
            // Their routes have no names: whatever the listener takes is theirs.
            RouteKind::Tcp | RouteKind::Udp => {}
        }
        condition
    }
}

/// Whether a condition holds for every request.
fn holds_always(condition: &RequestMatch) -> bool {
    let every_path = match &condition.path {
        None => true,
        Some(PathMatch::Prefix(path)) => path == "/",
        Some(PathMatch::Regex(pattern)) => matches!(pattern.as_str(), ".*" | "*"),
        Some(_) => false,
    };
    let rest = RequestMatch { path: None, path_ignore_case: false, ..condition.clone() };
    every_path && rest == RequestMatch::default()
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

/// The ordered list of a port for callers of one namespace, as places in the mesh.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    /// Route, entry of the route, and its rank.
    entries: Vec<(usize, usize, Rank)>,
    /// See [`FrontendPlan::routes`].
    routes: Vec<usize>,
    /// See [`FrontendPlan::rivals`].
    rivals: Vec<usize>,
    /// See [`FrontendPlan::outranked`].
    outranked: Vec<(usize, usize)>,
}

/// What a caller sees of a service's port.
pub fn plan<'m>(
    mesh: &'m Mesh,
    target: ServiceIndex,
    port: &Port,
    viewer: &(impl Viewer + ?Sized),
) -> FrontendPlan<'m> {
    let Some(frontend) = mesh.frontends.get(mesh, target, port.number) else {
        return FrontendPlan::default();
    };
    let kept = frontend.list(viewer.namespace()).map(Cow::Borrowed);
    let list = kept.unwrap_or_else(|| Cow::Owned(list(mesh, target, port.number, viewer.namespace())));
    let planned = |(route_index, place, rank): &(usize, usize, Rank)| {
        let route = mesh.routes.get(*route_index)?;
        let entry = route.entries.get(*place)?;
        let sees = viewer.carries(&entry.source_labels);
        sees.then_some(PlannedEntry { route_index: *route_index, route, entry, hosts: &[], rank: *rank })
    };
    let entries = list.entries.iter().filter_map(planned).collect();
    match list {
        Cow::Borrowed(List { routes, rivals, outranked, .. }) => FrontendPlan {
            entries,
            routes: routes.into(),
            rivals: rivals.into(),
            outranked: outranked.into(),
        },
        Cow::Owned(List { routes, rivals, outranked, .. }) => FrontendPlan {
            entries,
            routes: routes.into(),
            rivals: rivals.into(),
            outranked: outranked.into(),
        },
    }
}

/// Makes the list of a port for callers of one namespace, whatever labels they carry.
pub(super) fn list(mesh: &Mesh, target: ServiceIndex, number: u16, namespace: &str) -> List {
    let (mut routes, listed) = visible_routes(mesh, target, number, namespace);
    let outranked = keep_first_kind(mesh, &mut routes);
    let mut rivals = Vec::new();
    if !listed.is_empty() {
        rivals = listed.iter().chain(&routes).copied().collect();
        rivals.sort_by_key(|index| standing(mesh, *index));
        // HTTPRoutes share the frontend with each other, a listed route with nobody.
        if let Some(first) = rivals.first().filter(|first| listed.contains(first)) {
            routes = vec![*first];
        }
    }
    let mut entries = Vec::new();
    for (route_index, route) in routes.iter().filter_map(|index| Some((*index, mesh.routes.get(*index)?))) {
        for (place, entry) in route.entries.iter().enumerate() {
            let here = entry.is_for_services() && entry.port.is_none_or(|wanted| wanted == number);
            if here && entry.source_namespace.as_deref().is_none_or(|wanted| wanted == namespace) {
                entries.push((route_index, place, Rank::of(route.kind, &entry.condition, &[])));
            }
        }
    }
    let ranks =
        |index: &usize| mesh.routes.get(*index).is_some_and(|route| route.order == Order::Specificity);
    if routes.iter().all(ranks) {
        // Stable: what is equal stays as listed in its document.
        entries.sort_by_key(|(route, _, rank)| (Reverse(*rank), standing(mesh, *route)));
    }
    List { entries, routes, rivals, outranked }
}

/// What callers of a gateway see of one of its listeners, by its place in [`super::Gateway::listeners`].
pub fn listener_plan(mesh: &Mesh, gateway: GatewayIndex, listener: usize) -> FrontendPlan<'_> {
    let mut routes = mesh.index.listener(gateway, listener).to_vec();
    let outranked = keep_one_kind_per_host(mesh, &mut routes, (gateway, listener));
    let mut entries = Vec::new();
    for (route_index, route) in routes.iter().filter_map(|index| Some((*index, mesh.routes.get(*index)?))) {
        if route.order == Order::Listed {
            entries.extend(listed_on(mesh, (route_index, route), (gateway, listener)));
            continue;
        }
        for hosts in tiers(names_on(route, (gateway, listener))) {
            // The entries of a TLSRoute differ only in names, which are narrowed here.
            let count = if route.kind == RouteKind::Tls { 1 } else { route.entries.len() };
            let ranked = route.entries.iter().take(count).map(|entry| PlannedEntry {
                route_index,
                route,
                entry,
                hosts,
                rank: Rank::of(route.kind, &entry.condition, hosts),
            });
            entries.extend(ranked);
        }
    }
    rank(mesh, &mut entries);
    FrontendPlan { entries, routes: routes.into(), rivals: Cow::default(), outranked: outranked.into() }
}

/// The entries of a listed route on a listener, whose names all have the same routes. What holds for every request, and
/// whatever is listed behind it, comes after the rest, so that a route does not take what is another's
/// (istio:pilot/pkg/networking/core/route/route.go, `SortVHostRoutes`).
fn listed_on<'m>(
    mesh: &'m Mesh,
    (route_index, route): (usize, &'m Route),
    (gateway, place): (GatewayIndex, usize),
) -> impl Iterator<Item = PlannedEntry<'m>> {
    let port = mesh.gateways.get(gateway.0).and_then(|gateway| gateway.listeners.get(place));
    let port = port.map(|listener| listener.port);
    let here = move |entry: &&RouteEntry| {
        entry.is_for_listener(gateway, place) && entry.port.is_none_or(|number| Some(number) == port)
    };
    let mut over = false;
    route.entries.iter().filter(here).map(move |entry| {
        over |= holds_always(&entry.condition);
        PlannedEntry { route_index, route, entry, hosts: &[], rank: Rank::listed(over) }
    })
}

/// The names for which a route is attached to a listener, the most specific first.
fn names_on(route: &Route, (gateway, listener): (GatewayIndex, usize)) -> &[HostPattern] {
    let here = route.listeners.iter().find(|a| a.gateway == gateway && a.listener == listener);
    here.map(|attachment| attachment.hosts.as_slice()).unwrap_or_default()
}

/// Stable: what is equal stays as listed in its document.
fn rank(mesh: &Mesh, entries: &mut [PlannedEntry<'_>]) {
    entries.sort_by_key(|planned| (Reverse(planned.rank), standing(mesh, planned.route_index)));
}

/// Leaves only the routes of the first kind that is there, and says who was left out for whom.
fn keep_first_kind(mesh: &Mesh, routes: &mut Vec<usize>) -> Vec<(usize, usize)> {
    let kind = |index: &usize| mesh.routes.get(*index).map(|route| route.kind);
    let Some(first) = routes.iter().filter_map(kind).min() else { return Vec::new() };
    let winner = routes.iter().find(|index| kind(index) == Some(first)).copied().unwrap_or_default();
    let (kept, left_out): (Vec<_>, Vec<_>) = routes.iter().partition(|index| kind(index) == Some(first));
    *routes = kept;
    left_out.into_iter().map(|loser| (winner, loser)).collect()
}

/// Leaves out of two routes of different kinds that share a name the one that ranks lower: their rules are never merged
/// (Gateway API v1, `GRPCRouteSpec.hostnames`).
fn keep_one_kind_per_host(
    mesh: &Mesh,
    routes: &mut Vec<usize>,
    place: (GatewayIndex, usize),
) -> Vec<(usize, usize)> {
    let route = |index: usize| mesh.routes.get(index).map(|route| (route.kind, names_on(route, place)));
    let mut kinds = routes.iter().filter_map(|index| route(*index)).map(|(kind, _)| kind);
    let first = kinds.next();
    if kinds.all(|kind| Some(kind) == first) {
        return Vec::new();
    }
    let mut ordered = routes.clone();
    ordered.sort_by_key(|index| standing(mesh, *index));
    let mut kept: Vec<usize> = Vec::new();
    let mut outranked = Vec::new();
    for index in ordered {
        let Some((kind, names)) = route(index) else { continue };
        let shares = |other: &&usize| {
            route(**other).is_some_and(|(of, theirs)| {
                let mut pairs = names.iter().flat_map(|a| theirs.iter().map(move |b| (a, b)));
                of != kind && pairs.any(|(a, b)| a.intersection(b).is_some())
            })
        };
        match kept.iter().find(shares) {
            Some(winner) => outranked.push((*winner, index)),
            None => kept.push(index),
        }
    }
    routes.retain(|index| kept.contains(index));
    outranked
}

/// The callers that may see different lists on a port. The first is of the namespace `""`, which stands for all that no
/// document treats specially. For each set of labels that entries ask for there are callers that carry just these: they see
/// the fewest of the entries that such callers may see.
pub fn audiences<'m>(
    mesh: &'m Mesh,
    target: ServiceIndex,
    port: &Port,
) -> impl Iterator<Item = &'m Audience> + use<'m> {
    mesh.frontends.get(mesh, target, port.number).into_iter().flat_map(|frontend| &frontend.audiences)
}

/// Looks for the audiences of a port.
pub(super) fn find_audiences(mesh: &Mesh, target: ServiceIndex, number: u16) -> BTreeSet<Audience> {
    let mut names = BTreeSet::from([String::new()]);
    let mut labels = BTreeSet::from([BTreeMap::new()]);
    for route in mesh.index.routes(target).iter().filter_map(|place| mesh.routes.get(*place)) {
        let here = |wanted: Option<u16>| wanted.is_none_or(|wanted| wanted == number);
        for attachment in route.attachments.iter().filter(|a| a.service == target && here(a.port)) {
            match &attachment.scope {
                Scope::Everyone => {}
                Scope::Consumers(namespace) => drop(names.insert(namespace.clone())),
                Scope::Namespaces(namespaces) => names.extend(namespaces.iter().cloned()),
            }
            let entries = || route.entries.iter().filter(|entry| entry.is_for_services() && here(entry.port));
            names.extend(entries().filter_map(|entry| entry.source_namespace.clone()));
            labels.extend(entries().map(|entry| entry.source_labels.clone()));
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
    settings_in(mesh, None, (service, port), subset, rule)
}

/// The same for callers that have a view of the service, if they have one.
pub fn settings_in(
    mesh: &Mesh,
    view: Option<&View>,
    (index, port): (ServiceIndex, u16),
    subset: Option<&str>,
    rule: Option<(usize, usize)>,
) -> Settings {
    let told = Told { index, service: mesh.service(index), view };
    Levels::of(mesh, told, port, subset, rule).merged()
}

/// The settings for requests to a port, rule by rule. Most rules set nothing, and share what holds below them.
pub struct RuleSettings<'m> {
    mesh: &'m Mesh,
    told: Told<'m>,
    port: u16,
    /// By route, whose dialect has its say.
    below: BTreeMap<usize, Arc<Settings>>,
}

impl<'m> RuleSettings<'m> {
    /// For requests to a port of a service; `view` is what the caller is told of it.
    pub fn new(mesh: &'m Mesh, view: Option<&'m View>, (index, port): (ServiceIndex, u16)) -> Self {
        let told = Told { index, service: mesh.service(index), view };
        Self { mesh, told, port, below: BTreeMap::new() }
    }

    /// Those of a rule, given as its route and place: as [`settings_in`] gives them.
    pub fn of(&mut self, rule: (usize, usize)) -> Arc<Settings> {
        let (mesh, told, port) = (self.mesh, self.told, self.port);
        let make = || Arc::new(Levels::below_rules(mesh, told, port, rule.0).merged());
        let below = self.below.entry(rule.0).or_insert_with(make);
        let own = Levels::of_rule(mesh, rule).merged();
        if own.is_empty() { Arc::clone(below) } else { Arc::new(own.or(below)) }
    }
}

/// The settings that hold for the requests of a rule on a listener, nearest level first: of the rule, of its route, of the
/// mesh. Callers outside name no service, whose settings could count.
pub fn listener_settings(mesh: &Mesh, rule: (usize, usize)) -> Settings {
    Levels::on_listener(mesh, rule).merged()
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
        let condition = RequestMatch {
            path,
            method: method.then(|| StringMatch::Exact("GET".into())),
            headers: (0..headers).map(|_| field()).collect(),
            query: (0..query).map(|_| field()).collect(),
            ..RequestMatch::default()
        };
        Rank::of(RouteKind::Http, &condition, &[])
    }

    fn call_rank(path: PathMatch, headers: usize, host: &str) -> Rank {
        let field = || FieldMatch { name: "x".into(), value: StringMatch::Present, invert: false };
        let headers = (0..headers).map(|_| field()).collect();
        let condition = RequestMatch { path: Some(path), headers, ..RequestMatch::default() };
        Rank::of(RouteKind::Grpc, &condition, &[HostPattern::parse(host).unwrap()])
    }

    /// Gateway API v1, `GRPCRouteRule.matches`.
    #[test]
    fn each_criterion_of_calls_only_breaks_ties_of_those_above() {
        let exact = |path: &str| PathMatch::Exact(path.into());
        let ordered = [
            call_rank(exact("/a/b"), 0, "x.example"),
            call_rank(exact("/longer.Service/Method"), 9, "*.long.example"),
            call_rank(exact("/longer/b"), 0, "*.example"),
            call_rank(PathMatch::Prefix("/abcd/".into()), 0, "*.example"),
            call_rank(exact("/abc/Method"), 0, "*.example"),
            call_rank(PathMatch::Regex("/(?:a.c)/(?:Met)".into()), 9, "*.example"),
            call_rank(exact("/abc/M"), 2, "*.example"),
            call_rank(exact("/abc/M"), 1, "*.example"),
            call_rank(PathMatch::Regex("/(?:ab)/[^/]+".into()), 9, "*.example"),
            call_rank(PathMatch::Regex("/[^/]+/Method".into()), 0, "*.example"),
            call_rank(PathMatch::Regex("/[^/]+/(?:M+)".into()), 0, "*.example"),
        ];
        assert!(ordered.is_sorted_by(|earlier, later| earlier > later), "{ordered:#?}");
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
