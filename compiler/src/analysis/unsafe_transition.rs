//! # What it finds
//! A change from a base to its head during which proxies cannot work together. Each proxy takes its new bundle when it gets it,
//! so for a while some follow the base and some the head. For services that somebody calls in the base:
//! * the service, one of its ports, or a subset that a route of the base sends to, is gone;
//! * its identity changes: callers expect one identity, and workloads show the other;
//! * a port begins to ask for TLS (`off` to `strict`), or ceases to take it, without `permissive` in between;
//! * a port's protocol or the port of its workloads changes.
//!
//! What one edit does to all services of the mesh, such as another trust domain or default of `peerTLS`, is one finding about
//! the Mesh document. A waiver stands in the document of the service in the head, or in the Mesh document.
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
use crate::model::{Mesh, Port, RouteRule, RuleAction, Service, ServiceIndex};

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
        let breaks = breaks(old, new);
        if breaks.is_empty() {
            continue;
        }
        let users = used.get_or_insert_with(|| Users::of(base));
        for broken in breaks {
            let Some(user) = users.of_part(base, index, &broken) else { continue };
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
    fn explains(&self, broken: &Broken) -> bool {
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
enum Broken {
    Service,
    Identity(String, String),
    Port(u16),
    Tls(u16, PeerTls, PeerTls),
    Spoken(u16, String),
    Subset(String),
}

fn breaks(old: &Service, new: Option<&Service>) -> Vec<Broken> {
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
    let gone = old.subsets.keys().filter(|name| !new.subsets.contains_key(*name));
    broken.extend(gone.map(|name| Broken::Subset(name.clone())));
    broken
}

fn port_breaks(old: &Port, new: &Port) -> Vec<Broken> {
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
    subsets: BTreeMap<(ServiceIndex, &'m str), String>,
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
                let place = || format!("{} sends requests there", route.at.origin);
                users.targets.entry(target.service).or_insert_with(place);
                if let Some(subset) = &target.subset {
                    users.subsets.entry((target.service, subset)).or_insert_with(place);
                }
            }
        }
        users
    }

    /// Somebody who uses the part that breaks.
    fn of_part(&self, base: &Mesh, index: ServiceIndex, broken: &Broken) -> Option<String> {
        if let Broken::Subset(name) = broken {
            return self.subsets.get(&(index, name.as_str())).cloned();
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

fn targets(rule: &RouteRule) -> BTreeSet<&crate::model::BackendTarget> {
    let backends = match &rule.action {
        RuleAction::Forward(backends) => backends.as_slice(),
        RuleAction::Redirect(_) | RuleAction::Respond { .. } => &[],
    };
    let sent =
        backends.iter().filter(|backend| backend.weight > 0).filter_map(|backend| backend.target.as_ref());
    sent.chain(rule.mirrors.iter().filter_map(|mirror| mirror.target.as_ref())).collect()
}

fn report(head: &Mesh, old: &Service, new: Option<&Service>, broken: &Broken, user: &str) -> Diagnostic {
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
        Broken::Subset(name) => {
            (format!("subset `{name}` of `{id}` is gone while proxies still send requests to it"), None)
        }
    };
    let place = new.map_or(&head.at, |new| &new.at);
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
