//! Who may call whom, as far as it can be said without a request.
//!
//! A caller may call a service if some request of it would pass: an allow rule can match its identity, or the service
//! has no allow policy and the default is to allow; and no denial without conditions on the request names it.
//! Conditions on addresses are taken as possible, as nobody knows a workload's address here. Of a rule's `when`, what is
//! about the caller's identity is known, and the rest is possible either way.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use weft_bundle::body::{
    Attribute, Effect, IdentityMatch, NumberAttribute, OperationMatch, Predicate, Verdict,
};
use weft_bundle::engine::{Facts, Peer, PredicateMatcher, Truth};
use weft_bundle::spiffe::SpiffeId;

use super::{
    AccessPolicy, AccessRule, Caller, CallerKind, GatewayIndex, Mesh, Operation, Port, Route, ServiceIndex,
};

/// The services whose frontends a service's bundle holds: what it declares in `calls`, or, without a declaration,
/// every service that it may call, and every one whose routes lead to such a service: a Service that only carries
/// routes has neither endpoints nor policies of its own (GEP-1294). Sorted; never itself, unless declared.
pub fn dependencies(mesh: &Mesh, caller: ServiceIndex) -> BTreeSet<ServiceIndex> {
    let namespace = &mesh.service(caller).namespace;
    let sees = |target: &ServiceIndex| mesh.service(*target).is_visible_to(namespace);
    if let Some(calls) = &mesh.service(caller).calls {
        return calls.iter().map(|call| call.service).filter(sees).collect();
    }
    let direct: BTreeSet<ServiceIndex> = callees(mesh, caller).into_iter().filter(sees).collect();
    let senders: BTreeSet<usize> =
        direct.iter().flat_map(|target| mesh.index.senders(*target)).copied().collect();
    let leading = senders.iter().filter_map(|place| mesh.routes.get(*place));
    let leading = leading.filter(|route| leads_to_callee(mesh, caller, route));
    let fronts = leading.flat_map(|route| &route.attachments).filter(|a| a.scope.includes(namespace));
    let fronts: Vec<ServiceIndex> = fronts.map(|attachment| attachment.service).collect();
    direct.into_iter().chain(fronts).filter(|target| *target != caller && sees(target)).collect()
}

/// The services that a service may call; itself too, if it may.
fn callees(mesh: &Mesh, caller: ServiceIndex) -> BTreeSet<ServiceIndex> {
    let may = |target: &ServiceIndex| may_call(mesh, caller, *target);
    match mesh.default_access {
        // Nobody is let in without a policy that says so, and those are few.
        Verdict::Deny => mesh.index.may_be_allowed(&mesh.service(caller).identity).filter(may).collect(),
        Verdict::Allow => mesh.indexed().map(|(target, _)| target).filter(may).collect(),
    }
}

fn leads_to_callee(mesh: &Mesh, caller: ServiceIndex, route: &Route) -> bool {
    let identity = &mesh.service(caller).identity;
    let backends = route.rules.iter().flat_map(|rule| rule.action.backends());
    backends.filter_map(|backend| backend.target.as_ref()).any(|target| {
        let port = mesh.service(target.service).port(target.port);
        port.is_some_and(|port| may_call_port(mesh, identity, target.service, port))
    })
}

/// The services that the routes of a gateway send requests to. Sorted.
pub fn behind(mesh: &Mesh, gateway: GatewayIndex) -> BTreeSet<ServiceIndex> {
    let listeners = 0..mesh.gateway(gateway).listeners.len();
    let places = listeners.flat_map(|listener| mesh.index.listener(gateway, listener));
    let rules = places.filter_map(|place| mesh.routes.get(*place)).flat_map(|route| &route.rules);
    let backends = rules.flat_map(|rule| rule.action.backends());
    backends.filter_map(|backend| Some(backend.target.as_ref()?.service)).collect()
}

/// Whether some request that a gateway sends to some port of the target would pass: the target sees the gateway's
/// identity, whoever called the gateway.
pub fn gateway_may_call(mesh: &Mesh, gateway: GatewayIndex, target: ServiceIndex) -> bool {
    let identity = &mesh.gateway(gateway).identity;
    mesh.service(target).ports.iter().any(|port| may_call_port(mesh, identity, target, port))
}

/// Whether some request of the caller to some port of the target would pass.
pub fn may_call(mesh: &Mesh, caller: ServiceIndex, target: ServiceIndex) -> bool {
    let service = mesh.service(target);
    service.ports.iter().any(|port| may_call_port(mesh, &mesh.service(caller).identity, target, port))
}

fn may_call_port(mesh: &Mesh, caller: &SpiffeId, target: ServiceIndex, port: &Port) -> bool {
    let policies = || policies_on(mesh, target, port);
    let of = |effect| policies().filter(move |policy| policy.effect == effect);
    let denies = |rule: &AccessRule| denies_all(mesh, rule, caller, target, port);
    let denied = of(Effect::Deny).flat_map(|policy| &policy.rules).any(denies);
    let allows = |rule: &AccessRule| is_for(rule, target, port) && can_match(mesh, rule, caller);
    let allowed = || of(Effect::Allow).flat_map(|policy| &policy.rules).any(allows);
    !denied
        && if of(Effect::Allow).next().is_some() { allowed() } else { mesh.default_access == Verdict::Allow }
}

/// The policies that decide for a port, in document order.
pub fn policies_on<'m>(
    mesh: &'m Mesh,
    service: ServiceIndex,
    port: &'m Port,
) -> impl Iterator<Item = &'m AccessPolicy> {
    mesh.index.access(service).iter().filter_map(|place| mesh.access.get(*place)).filter(move |policy| {
        let hits = |number: Option<u16>| number.is_none_or(|number| number == port.number);
        policy.targets.iter().any(|target| target.service == service && hits(target.port))
    })
}

fn is_for(rule: &AccessRule, target: ServiceIndex, port: &Port) -> bool {
    rule.to.is_empty() || rule.to.iter().any(|operation| operation.is_for(target, port.number))
}

fn can_match(mesh: &Mesh, rule: &AccessRule, caller: &SpiffeId) -> bool {
    (rule.from.is_empty() || rule.from.iter().any(|from| names(mesh, from, caller)))
        && rule.when.as_ref().is_none_or(|when| of_caller(when, caller) != Some(false))
}

fn denies_all(mesh: &Mesh, rule: &AccessRule, caller: &SpiffeId, target: ServiceIndex, port: &Port) -> bool {
    let surely = |from: &Caller| !matches!(from.who, CallerKind::Network(_)) && names(mesh, from, caller);
    let everything = |operation: &Operation| {
        operation.is_for(target, port.number) && operation.condition == OperationMatch::default()
    };
    (rule.to.is_empty() || rule.to.iter().any(everything))
        && (rule.from.is_empty() || rule.from.iter().any(surely))
        && rule.when.as_ref().is_none_or(|when| of_caller(when, caller) == Some(true))
}

/// What a predicate says of every request of a caller; none if that depends on the request, or is an error.
fn of_caller(predicate: &Predicate, caller: &SpiffeId) -> Option<bool> {
    let decided = |parts: &[Predicate], decisive: bool| {
        let mut all = Some(!decisive);
        for part in parts {
            match of_caller(part, caller) {
                Some(truth) if truth == decisive => return Some(decisive),
                Some(_) => {}
                None => all = None,
            }
        }
        all
    };
    let known = |of: &Attribute| {
        use Attribute::{Identity, Namespace, ServiceAccount, TrustDomain};
        matches!(of, Identity | TrustDomain | Namespace | ServiceAccount)
    };
    let about_caller = match predicate {
        Predicate::All(parts) => return decided(parts, false),
        Predicate::Any(parts) => return decided(parts, true),
        Predicate::Not(part) => return of_caller(part, caller).map(|truth| !truth),
        Predicate::Identity(_) => true,
        Predicate::Text { of, .. } | Predicate::Has(of) => known(of),
        Predicate::Number { of: NumberAttribute::Size(of), .. } => known(of),
        _ => false,
    };
    let matcher = about_caller.then(|| PredicateMatcher::compile(predicate).ok()).flatten()?;
    let peer = Peer { identity: Some(caller), address: IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    match matcher.evaluate(&Facts::of(peer)) {
        Truth::True => Some(true),
        Truth::False => Some(false),
        Truth::Error => None,
    }
}

fn names(mesh: &Mesh, from: &Caller, caller: &SpiffeId) -> bool {
    match &from.who {
        CallerKind::Service(service) => mesh.service(*service).identity == *caller,
        CallerKind::Identity(IdentityMatch::Exact(id)) => id == caller,
        CallerKind::Identity(IdentityMatch::Namespace { trust_domain, namespace }) => {
            caller.trust_domain() == trust_domain && caller.namespace() == Some(namespace)
        }
        CallerKind::Identity(IdentityMatch::TrustDomain(trust_domain)) => {
            caller.trust_domain() == trust_domain
        }
        CallerKind::Network(_) => true,
    }
}
