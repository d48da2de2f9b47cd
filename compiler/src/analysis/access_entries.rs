//! Access rules as the reachability core reads them: who, from where, with which method and path.
//!
//! A rule is any of its callers with any of its operations, so it becomes several entries. The caller's identity and
//! address are facts of their own. A caller without an identity is one without that fact, so a rule for everybody is never
//! covered by rules for identities. What a rule asks `when` is left out (`access_conditions` reads some of it): what a rule
//! without that covers, the rule with it covers no more of.

use weft_bundle::body::{IdentityMatch, RequestMatch, StringMatch};
use weft_bundle::engine::literal_regex;

use super::access_conditions::{is_identity, is_in};
use crate::model::{AccessRule, Caller, CallerKind, Mesh, ServiceIndex};
use crate::reach::{Entry, FieldCondition, entry_of};

/// A rule that becomes more entries than this is not decided.
const MOST_ENTRIES: usize = 256;

/// Whether one of the operations of a rule is for the port.
pub(super) fn is_for(rule: &AccessRule, service: ServiceIndex, port: u16) -> bool {
    rule.to.is_empty() || rule.to.iter().any(|operation| operation.is_for(service, port))
}

/// The entries of a rule on a port; empty if none of its operations is for the port, none if they are too many.
pub(super) fn entries(
    mesh: &Mesh,
    rule: &AccessRule,
    service: ServiceIndex,
    port: u16,
) -> Option<Vec<Entry>> {
    let operations = operations(rule, service, port);
    let callers: Vec<Option<FieldCondition>> = match rule.from.is_empty() {
        true => vec![None],
        false => rule.from.iter().map(|caller| Some(condition(mesh, caller))).collect(),
    };
    if callers.len().saturating_mul(operations.len()) > MOST_ENTRIES {
        return None;
    }
    let with = |caller: &Option<FieldCondition>| {
        let caller = caller.clone();
        operations
            .iter()
            .map(move |operation| Entry { facts: caller.clone().into_iter().collect(), ..operation.clone() })
    };
    Some(callers.iter().flat_map(with).collect())
}

/// One entry for each path of each operation.
fn operations(rule: &AccessRule, service: ServiceIndex, port: u16) -> Vec<Entry> {
    if rule.to.is_empty() {
        return vec![Entry::default()];
    }
    let mut entries = Vec::new();
    for operation in rule.to.iter().filter(|operation| operation.is_for(service, port)) {
        let methods: Vec<String> =
            operation.condition.methods.iter().map(|method| literal_regex(method)).collect();
        let method = (!methods.is_empty()).then(|| StringMatch::Regex(methods.join("|")));
        let asks = |path| entry_of(&RequestMatch { path, method: method.clone(), ..RequestMatch::default() });
        match operation.condition.paths.is_empty() {
            true => entries.push(asks(None)),
            false => entries.extend(operation.condition.paths.iter().map(|path| asks(Some(path.clone())))),
        }
    }
    entries
}

fn condition(mesh: &Mesh, caller: &Caller) -> FieldCondition {
    match &caller.who {
        CallerKind::Service(service) => {
            is_identity(&IdentityMatch::Exact(mesh.service(*service).identity.clone()))
        }
        CallerKind::Identity(wanted) => is_identity(wanted),
        CallerKind::Network(network) => is_in(network),
    }
}

/// Entries that ask for more.
pub(super) fn narrowed(entries: Vec<Entry>, conditions: &[FieldCondition]) -> Vec<Entry> {
    let narrow = |mut entry: Entry| {
        entry.facts.extend_from_slice(conditions);
        entry
    };
    entries.into_iter().map(narrow).collect()
}

/// Whether a caller may be one that the other names too; exact for one that is covered by the other alone.
pub(super) fn meet(mesh: &Mesh, a: &Caller, b: &Caller) -> bool {
    let identity = |caller: &Caller| match &caller.who {
        CallerKind::Service(service) => Some(IdentityMatch::Exact(mesh.service(*service).identity.clone())),
        CallerKind::Identity(identity) => Some(identity.clone()),
        CallerKind::Network(_) => None,
    };
    match (&a.who, &b.who) {
        (CallerKind::Network(a), CallerKind::Network(b)) => a.contains(b) || b.contains(a),
        _ => identity(a).zip(identity(b)).is_some_and(|(a, b)| is_inside(&a, &b) || is_inside(&b, &a)),
    }
}

fn is_inside(narrow: &IdentityMatch, wide: &IdentityMatch) -> bool {
    match (narrow, wide) {
        (IdentityMatch::Exact(a), IdentityMatch::Exact(b)) => a == b,
        (IdentityMatch::Exact(id), IdentityMatch::Namespace { trust_domain, namespace }) => {
            id.trust_domain() == trust_domain && id.namespace() == Some(namespace)
        }
        (IdentityMatch::Exact(id), IdentityMatch::TrustDomain(trust_domain)) => {
            id.trust_domain() == trust_domain
        }
        (IdentityMatch::Namespace { trust_domain: own, .. }, IdentityMatch::TrustDomain(wide)) => own == wide,
        (narrow, wide) => narrow == wide,
    }
}
