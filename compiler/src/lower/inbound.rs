//! Access policies on a port, as one ordered list: audits, denials, allowances, then an explicit end.

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::{
    Access, AccessDefault, AccessRule, Effect, IdentityMatch, InboundPort, OperationMatch, PeerMatch,
    TokenProvider, Verdict,
};

use crate::model::callers::policies_on;
use crate::model::{
    self, AccessPolicy, CallerKind, Mesh, Operation, Port, ServiceIndex, TokenPolicy, routing,
};

/// The inbound ports of a body. Where two ports of a service lead to one, which resolve lets pass only if they mean the
/// same, that is one.
pub(super) fn ports(mesh: &Mesh, index: ServiceIndex) -> Vec<InboundPort> {
    let mut seen = BTreeSet::new();
    let ports = mesh.service(index).ports.iter().filter(|port| seen.insert(port.target));
    ports.map(|port| self::port(mesh, index, port)).collect()
}

fn port(mesh: &Mesh, service: ServiceIndex, port: &Port) -> InboundPort {
    let settings = routing::settings(mesh, service, port.number, None, None);
    InboundPort {
        name: port.name.clone(),
        port: port.target,
        protocol: port.protocol,
        application: port.application.clone(),
        tls: port.peer_tls,
        access: access(mesh, service, port),
        tokens: token_providers(mesh, service).map(|(id, _)| id.clone()).collect(),
        rate_limits: settings.rate_limits.unwrap_or_default(),
        limits: mesh.service(service).inbound_limits.get(&port.number).copied().unwrap_or_default(),
    }
}

/// The issuers whose tokens a service reads, by id.
pub(super) fn token_providers(
    mesh: &Mesh,
    service: ServiceIndex,
) -> impl Iterator<Item = &(String, TokenProvider)> {
    let policies = mesh.index.tokens(service).iter().filter_map(|place| mesh.tokens.get(*place));
    providers(policies)
}

/// The issuers that some policies name, each once, by id.
pub(super) fn providers<'m>(
    policies: impl Iterator<Item = &'m TokenPolicy>,
) -> impl Iterator<Item = &'m (String, TokenProvider)> {
    let found: BTreeMap<_, _> = policies.flat_map(|policy| &policy.providers).map(|p| (&p.0, p)).collect();
    found.into_values()
}

fn access(mesh: &Mesh, service: ServiceIndex, port: &Port) -> Access {
    let policies: Vec<&AccessPolicy> = policies_on(mesh, service, port).collect();
    let here = |operation: &Operation| operation.is_for(service, port.number);
    let default = AccessDefault { effect: mesh.default_access, origin: mesh.at.origin.clone() };
    access_list(mesh, &policies, here, default)
}

/// The ordered list that some policies make; `here` says which operations are about the place that is protected, and
/// `default` what holds if no policy allows anything.
pub(super) fn access_list(
    mesh: &Mesh,
    policies: &[&AccessPolicy],
    here: impl Fn(&Operation) -> bool,
    default: AccessDefault,
) -> Access {
    let mut rules = Vec::new();
    for effect in [Effect::Audit, Effect::Deny, Effect::Allow] {
        let policies = policies.iter().filter(|policy| policy.effect == effect);
        let written = policies.flat_map(|policy| &policy.rules);
        rules.extend(written.filter_map(|rule| access_rule(mesh, effect, rule, &here)));
    }
    let allowing = policies.iter().find(|policy| policy.effect == Effect::Allow);
    let otherwise = match allowing {
        Some(policy) => AccessDefault { effect: Verdict::Deny, origin: policy.at.origin.clone() },
        None => default,
    };
    Access { rules, otherwise }
}

/// The rule as it holds in one place; none if all its operations are for other places.
fn access_rule(
    mesh: &Mesh,
    effect: Effect,
    rule: &model::AccessRule,
    here: impl Fn(&Operation) -> bool,
) -> Option<AccessRule> {
    let from = rule.from.iter().map(|caller| peer(mesh, &caller.who)).collect();
    let operations = rule.to.iter().filter(|operation| here(operation));
    let to: Vec<_> = operations.map(|operation| operation.condition.clone()).collect();
    if to.is_empty() && !rule.to.is_empty() {
        return None;
    }
    // An operation without conditions is every operation, which an empty list says more plainly.
    let to = if to.iter().any(|condition| *condition == OperationMatch::default()) { Vec::new() } else { to };
    Some(AccessRule { effect, origin: rule.at.origin.clone(), from, to, when: rule.when.clone() })
}

fn peer(mesh: &Mesh, who: &CallerKind) -> PeerMatch {
    let identity = |wanted| PeerMatch { identities: vec![wanted], networks: Vec::new() };
    match who {
        CallerKind::Service(service) => {
            identity(IdentityMatch::Exact(mesh.service(*service).identity.clone()))
        }
        CallerKind::Identity(wanted) => identity(wanted.clone()),
        CallerKind::Network(network) => PeerMatch { identities: Vec::new(), networks: vec![*network] },
    }
}
