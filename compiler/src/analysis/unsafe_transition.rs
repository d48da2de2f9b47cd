//! # What it finds
//! A change from a base to its head during which proxies cannot work together. Each proxy takes its new bundle when it gets it,
//! so for a while some follow the base and some the head. For services that somebody calls in the base:
//! * the service, one of its ports, or a subset that a route of the base sends to, is gone;
//! * its identity changes: callers expect one identity, and workloads show the other;
//! * a port begins to ask for TLS (`off` to `strict`), or ceases to take it, without `permissive` in between;
//! * a port's protocol or the port of its workloads changes.
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

/// One finding per service and cause, at its place in the head, or at the Mesh document's if it is gone.
pub fn between(base: &Mesh, head: &Mesh) -> Vec<Diagnostic> {
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
            if let Some(user) = users.of_part(base, index, &broken) {
                found.push(report(head, old, new, &broken, &user));
            }
        }
    }
    found
}

/// What a change takes away.
enum Broken {
    Service,
    Identity(String, String),
    Port(u16),
    Tls(u16, &'static str, &'static str),
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
    match (old.peer_tls, new.peer_tls) {
        (PeerTls::Off, PeerTls::Strict) => broken.push(Broken::Tls(old.number, "off", "strict")),
        (PeerTls::Strict, PeerTls::Off) => broken.push(Broken::Tls(old.number, "strict", "off")),
        // Callers of a permissive port come with TLS.
        (PeerTls::Permissive, PeerTls::Off) => broken.push(Broken::Tls(old.number, "permissive", "off")),
        _ => {}
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
                "`peerTLS` of port {number} of `{id}` changes from `{from}` to `{to}`, and callers do either the one or the other"
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
        Broken::Tls(..) => "set `peerTLS: permissive` first, and the other when every proxy has that",
        Broken::Identity(..) => {
            "give the new identity to a new service, move the callers, then remove this one"
        }
        _ => "keep the old one until every proxy has the change that moves its users",
    };
    Diagnostic::warning("unsafe-transition", message)
        .object(old.at.origin.object.clone())
        .at(span.unwrap_or(place.span))
        .with_note(format!("in the base, {user}"))
        .help(help)
}
