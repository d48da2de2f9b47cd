//! # What it finds
//! A change from a base to its head during which proxies cannot work together. Each proxy takes its new bundle when it gets it,
//! so for a while some follow the base and some the head. For services that somebody calls in the base:
//! * the service, one of its ports, or a subset that a route of the base sends to, is gone, if only for some of its callers;
//! * its identity changes: callers expect one identity, and workloads show the other;
//! * a port begins to ask for TLS (`off` to `strict`), or ceases to take it, without `permissive` in between;
//! * a port's protocol or the port of its workloads changes.
//!
//! What one edit does to all services of the mesh, such as another trust domain or default of `peerTLS`, is one finding about
//! the Mesh document. A waiver stands in the document of the service in the head, in the DestinationRule by which callers no
//! longer know a subset, or in the Mesh document.
//!
//! A service that nobody in the base declares, routes to, or lets be called is no finding, nor is one that is new. Only
//! `weft check --base` runs this: it compares two meshes.
//!
//! # Why it matters
//! Both meshes are right by themselves, and tests of either pass. Requests fail in between, and the more proxies there are the
//! longer that takes.
//!
//! # Example
//! ```yaml
//! # base                                              # head: the canary is over
//! subsets: [ { name: v1, … }, { name: v2, … } ]       subsets: [ { name: v2, … } ]
//! backendRefs: [ { name: cart, subset: v1 } ]         backendRefs: [ { name: cart, subset: v2 } ]
//! ```
//!
//! # Fix
//! Make two changes of it: first the new beside the old, with all users on the new; when every proxy has that, remove the old.
//!
//! # References
//! M. Fowler, "Parallel change" (expand, migrate, contract); Istio, "Traffic management best practices" (make before break: subsets
//! before their users).

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::{PeerTls, Verdict};

use crate::diagnostic::Diagnostic;
use crate::model::routing::Audience;
use crate::model::{At, Mesh, Port, Route, RouteRule, Service, ServiceIndex, Told};
use crate::yaml::Span;

/// One finding per service and cause, at its place in the head, or at the Mesh document's if it is gone; one at the Mesh
/// document for a cause that all services have. None if either has no Mesh document.
pub fn between(base: &Mesh, head: &Mesh) -> Vec<Diagnostic> {
    let described = |mesh: &Mesh| mesh.at.origin.line > 0;
    if !described(base) || !described(head) {
        return Vec::new();
    }
    let everywhere = everywhere(base, head);
    let mut met = vec![0_usize; everywhere.len()];
    let mut used: Option<Users<'_>> = None;
    let mut found = Vec::new();
    for (index, old) in base.indexed().filter(|(_, service)| !service.external) {
        let new = head.find(&old.namespace, &old.name).map(|index| head.service(index));
        let breaks = breaks(base, index, new);
        if breaks.is_empty() {
            continue;
        }
        let users = used.get_or_insert_with(|| Users::of(base));
        let mut told = BTreeSet::new();
        for broken in breaks {
            let Some(user) = users.of_part(base, index, &broken) else { continue };
            // One declaration may be for the callers of many namespaces.
            if let Broken::Subset(gone) = &broken
                && !told.insert(gone.declared)
            {
                continue;
            }
            let of_all = everywhere.iter().position(|edit| edit.explains(&broken));
            match of_all.and_then(|place| met.get_mut(place)) {
                Some(count) => *count += 1,
                None => found.push(report(head, old, new, &broken, &user)),
            }
        }
    }
    let edits = everywhere.iter().zip(met).filter(|(_, count)| *count > 0);
    found.extend(edits.map(|(edit, count)| edit.report(head, count)));
    found
}

/// A change that all services of the mesh have alike.
enum Everywhere {
    TrustDomain(String, String),
    Tls(PeerTls, PeerTls),
}

/// What changed for all services of a mesh that has several.
fn everywhere(base: &Mesh, head: &Mesh) -> Vec<Everywhere> {
    let ours = base.indexed().filter(|(_, service)| !service.external);
    let both = ours.filter_map(|(_, old)| {
        let new = head.find(&old.namespace, &old.name).map(|index| head.service(index))?;
        Some((old, new))
    });
    let both: Vec<_> = both.collect();
    if both.len() < 2 {
        return Vec::new();
    }
    let mut found = Vec::new();
    if base.trust_domain != head.trust_domain {
        found.push(Everywhere::TrustDomain(base.trust_domain.to_string(), head.trust_domain.to_string()));
    }
    for (from, to) in UNSAFE_TLS {
        let ports = both.iter().flat_map(|(old, new)| {
            old.ports.iter().filter_map(|port| Some((port.peer_tls, new.port(port.number)?.peer_tls)))
        });
        let mut alike = ports.filter(|(old, _)| *old == from).peekable();
        if alike.peek().is_some() && alike.all(|(_, new)| new == to) {
            found.push(Everywhere::Tls(from, to));
        }
    }
    found
}

impl Everywhere {
    /// Whether it is why something of one service breaks.
    fn explains(&self, broken: &Broken<'_>) -> bool {
        match (self, broken) {
            (Self::TrustDomain(from, to), Broken::Identity(old, new)) => {
                let path = |id: &str, domain: &str| {
                    id.strip_prefix("spiffe://")?.strip_prefix(domain).map(str::to_owned)
                };
                path(old, from).is_some_and(|old| path(new, to) == Some(old))
            }
            (Self::Tls(from, to), Broken::Tls(_, old, new)) => (from, to) == (old, new),
            _ => false,
        }
    }

    fn report(&self, head: &Mesh, count: usize) -> Diagnostic {
        let (message, help) = match self {
            Self::TrustDomain(from, to) => (
                format!(
                    "the trust domain changes from `{from}` to `{to}`, and with it every identity: callers take either the old ones or the new ones"
                ),
                "keep the trust domain; workloads of another one are let in by `federated` domains",
            ),
            Self::Tls(from, to) => (
                format!(
                    "`peerTLS` of all ports that had `{}` becomes `{}`, and callers do either the one or the other",
                    tls_word(*from),
                    tls_word(*to)
                ),
                PERMISSIVE_FIRST,
            ),
        };
        let count = match count {
            1 => "one service or port that others use has this change".to_owned(),
            count => format!("{count} services or ports that others use have this change"),
        };
        Diagnostic::warning("unsafe-transition", message)
            .object(head.at.origin.object.clone())
            .at(head.at.span)
            .with_note(count)
            .help(help)
    }
}

/// What callers cannot follow in one step. Callers of a permissive port come with TLS.
const UNSAFE_TLS: [(PeerTls, PeerTls); 3] =
    [(PeerTls::Off, PeerTls::Strict), (PeerTls::Strict, PeerTls::Off), (PeerTls::Permissive, PeerTls::Off)];

const PERMISSIVE_FIRST: &str = "set `peerTLS: permissive` first, and the other when every proxy has that";

fn tls_word(tls: PeerTls) -> &'static str {
    match tls {
        PeerTls::Strict => "strict",
        PeerTls::Permissive => "permissive",
        PeerTls::Off => "off",
    }
}

/// What a change takes away.
enum Broken<'m> {
    Service,
    Identity(String, String),
    Port(u16),
    Tls(u16, PeerTls, PeerTls),
    Spoken(u16, String),
    Subset(Gone<'m>),
}

/// A subset that some callers know in the base, and not in the head.
struct Gone<'m> {
    name: &'m str,
    /// Where the base declares it.
    declared: Span,
    /// What the callers are told in the base.
    told: Told<'m>,
    /// Their namespace; none for those who have no view in either mesh.
    namespace: Option<String>,
    /// The rule by which they are told something else in the head, if there is one.
    at: Option<&'m At>,
}

impl Gone<'_> {
    fn is_missed_on(&self, base: &Mesh, route: &Route) -> bool {
        match &self.namespace {
            Some(namespace) => route.is_taken(base, |own| own == namespace),
            None => self.told.takes(base, route),
        }
    }
}

fn breaks<'m>(base: &'m Mesh, index: ServiceIndex, new: Option<&'m Service>) -> Vec<Broken<'m>> {
    let old = base.service(index);
    let Some(new) = new else { return vec![Broken::Service] };
    let mut broken = Vec::new();
    if old.identity != new.identity {
        broken.push(Broken::Identity(old.identity.to_string(), new.identity.to_string()));
    }
    for port in &old.ports {
        match new.port(port.number) {
            None => broken.push(Broken::Port(port.number)),
            Some(other) => broken.extend(port_breaks(port, other)),
        }
    }
    broken.extend(gone_subsets(base, index, new).into_iter().map(Broken::Subset));
    broken
}

/// The subsets that callers no longer know: of callers without a view in either mesh, then of those who have one.
fn gone_subsets<'m>(base: &'m Mesh, index: ServiceIndex, new: &'m Service) -> Vec<Gone<'m>> {
    let old = base.service(index);
    let views = old.views.iter().chain(&new.views).map(|view| Some(view.audience()));
    let audiences: BTreeSet<Option<Audience>> = std::iter::once(None).chain(views).collect();
    let mut gone = Vec::new();
    for audience in audiences {
        let view = |service: &'m Service| audience.as_ref().and_then(|audience| service.view(audience));
        let (before, after) = (view(old), view(new));
        let kept = after.map_or(&new.subsets, |view| &view.subsets);
        let told = Told { index, service: old, view: before };
        for (name, subset) in told.subsets().iter().filter(|(name, _)| !kept.contains_key(*name)) {
            gone.push(Gone {
                name,
                declared: subset.at.span,
                told,
                namespace: audience.as_ref().map(|audience| audience.namespace.clone()),
                at: after.and_then(|view| view.at.as_ref()),
            });
        }
    }
    gone
}

fn port_breaks(old: &Port, new: &Port) -> Vec<Broken<'static>> {
    let mut broken = Vec::new();
    if UNSAFE_TLS.contains(&(old.peer_tls, new.peer_tls)) {
        broken.push(Broken::Tls(old.number, old.peer_tls, new.peer_tls));
    }
    if old.protocol != new.protocol {
        let (from, to) = (old.protocol.as_str(), new.protocol.as_str());
        broken.push(Broken::Spoken(old.number, format!("speaks {to} instead of {from}")));
    }
    if old.target != new.target {
        let (from, to) = (old.target, new.target);
        broken.push(Broken::Spoken(
            old.number,
            format!("leads to port {to} of its workloads instead of {from}"),
        ));
    }
    broken
}

/// Who uses what in the base, in words.
struct Users<'m> {
    callers: BTreeMap<ServiceIndex, &'m Service>,
    subsets: BTreeMap<(ServiceIndex, &'m str), Vec<&'m Route>>,
    targets: BTreeMap<ServiceIndex, String>,
}

impl<'m> Users<'m> {
    fn of(base: &'m Mesh) -> Self {
        let mut users = Self { callers: BTreeMap::new(), subsets: BTreeMap::new(), targets: BTreeMap::new() };
        for service in &base.services {
            for call in service.calls.iter().flatten() {
                users.callers.entry(call.service).or_insert(service);
            }
        }
        for route in &base.routes {
            for target in route.rules.iter().flat_map(targets) {
                users.targets.entry(target.service).or_insert_with(|| sends(route));
                if let Some(subset) = &target.subset {
                    users.subsets.entry((target.service, subset)).or_default().push(route);
                }
            }
        }
        users
    }

    /// Somebody who uses the part that breaks.
    fn of_part(&self, base: &Mesh, index: ServiceIndex, broken: &Broken<'_>) -> Option<String> {
        if let Broken::Subset(gone) = broken {
            let mut routes = self.subsets.get(&(index, gone.name)).into_iter().flatten();
            return routes.find(|route| gone.is_missed_on(base, route)).map(|route| sends(route));
        }
        let caller =
            self.callers.get(&index).map(|caller| format!("`{}` declares that it calls it", caller.id()));
        let allowed = || {
            let policies = base.index.access(index).iter().filter_map(|place| base.access.get(*place));
            let mut allowing = policies.filter(|policy| policy.effect == weft_bundle::body::Effect::Allow);
            match allowing.next() {
                Some(policy) => Some(format!("{} lets it be called", policy.at.origin)),
                None => (base.default_access == Verdict::Allow)
                    .then(|| "the mesh lets everybody call it".to_owned()),
            }
        };
        caller.or_else(|| self.targets.get(&index).cloned()).or_else(allowed)
    }
}

fn sends(route: &Route) -> String {
    format!("{} sends requests there", route.at.origin)
}

fn targets(rule: &RouteRule) -> BTreeSet<&crate::model::BackendTarget> {
    let backends = rule.action.backends();
    let sent =
        backends.iter().filter(|backend| backend.weight > 0).filter_map(|backend| backend.target.as_ref());
    sent.chain(rule.mirrors.iter().filter_map(|mirror| mirror.target.as_ref())).collect()
}

fn report(head: &Mesh, old: &Service, new: Option<&Service>, broken: &Broken<'_>, user: &str) -> Diagnostic {
    let id = old.id();
    let at_port = |number: u16| new.and_then(|new| new.port(number)).map(|port| port.span);
    let (message, span) = match broken {
        Broken::Service => (format!("`{id}` is gone while proxies still send requests to it"), None),
        Broken::Identity(from, to) => (
            format!(
                "the identity of `{id}` changes from `{from}` to `{to}`, and callers take either the one or the other"
            ),
            None,
        ),
        Broken::Port(number) => {
            (format!("port {number} of `{id}` is gone while proxies still call it"), None)
        }
        Broken::Tls(number, from, to) => (
            format!(
                "`peerTLS` of port {number} of `{id}` changes from `{}` to `{}`, and callers do either the one or the other",
                tls_word(*from),
                tls_word(*to)
            ),
            at_port(*number),
        ),
        Broken::Spoken(number, how) => (
            format!("port {number} of `{id}` {how}, and callers do either the one or the other"),
            at_port(*number),
        ),
        Broken::Subset(Gone { name, namespace: None, .. }) => {
            (format!("subset `{name}` of `{id}` is gone while proxies still send requests to it"), None)
        }
        Broken::Subset(Gone { name, namespace: Some(namespace), .. }) => (
            format!(
                "subset `{name}` of `{id}` is gone for callers of the namespace `{namespace}` while their proxies still \
                 send requests to it"
            ),
            None,
        ),
    };
    let ruled = match broken {
        Broken::Subset(gone) => gone.at,
        _ => None,
    };
    let place = ruled.unwrap_or_else(|| new.map_or(&head.at, |new| &new.at));
    let help = match broken {
        Broken::Tls(..) => PERMISSIVE_FIRST,
        Broken::Identity(..) => {
            "give the new identity to a new service, move the callers, then remove this one"
        }
        _ => "keep the old one until every proxy has the change that moves its users",
    };
    Diagnostic::warning("unsafe-transition", message)
        .object(place.origin.object.clone())
        .at(span.unwrap_or(place.span))
        .with_note(format!("in the base, {user}"))
        .help(help)
}
