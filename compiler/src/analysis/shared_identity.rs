//! # What it finds
//! A rule that lets a *service* in whose identity other services have too, without naming them. One finding per identity of
//! a rule.
//!
//! # Why it matters
//! A proxy sees the identity of a caller and nothing else, so the rule lets all services with that identity in. The usual
//! cause are workloads of Kubernetes without `serviceAccountName`: all of a namespace run as `default`.
//!
//! # Example
//! ```yaml
//! kind: AccessPolicy
//! spec: { action: allow, rules: [ { from: [ { service: web } ] } ] }     # `batch` runs as `default`, as `web` does
//! ```
//!
//! # Fix
//! Give the service an account of its own (`serviceAccountName` of its workloads, `serviceAccount` of a Weft Service), or name
//! every service that is meant.
//!
//! # References
//! Kubernetes, "Configure Service Accounts for Pods" (a Pod without one uses `default`); SPIFFE ID, section 2.

use std::collections::BTreeMap;

use weft_bundle::body::Effect;
use weft_bundle::spiffe::SpiffeId;

use crate::diagnostic::Diagnostic;
use crate::model::{AccessPolicy, AccessRule, Caller, CallerKind, Mesh, Service, ServiceIndex};

/// The services of each identity.
type ByIdentity<'m> = BTreeMap<&'m SpiffeId, Vec<ServiceIndex>>;

/// One finding per identity of a rule.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut by_identity: ByIdentity<'_> = BTreeMap::new();
    for (index, service) in mesh.indexed().filter(|(_, service)| !service.external) {
        by_identity.entry(&service.identity).or_default().push(index);
    }
    let allowing = mesh.access.iter().filter(|policy| policy.effect == Effect::Allow);
    let rules = allowing.flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
    let callers = rules.flat_map(|(policy, rule)| rule.from.iter().map(move |from| (policy, rule, from)));
    callers.filter_map(|(policy, rule, from)| judge(mesh, &by_identity, (policy, rule, from))).collect()
}

fn judge(
    mesh: &Mesh,
    by_identity: &ByIdentity<'_>,
    (policy, rule, from): (&AccessPolicy, &AccessRule, &Caller),
) -> Option<Diagnostic> {
    let CallerKind::Service(meant) = from.who else { return None };
    let service = mesh.service(meant);
    let named: Vec<ServiceIndex> = rule
        .from
        .iter()
        .filter_map(|from| match from.who {
            CallerKind::Service(index) if mesh.service(index).identity == service.identity => Some(index),
            _ => None,
        })
        .collect();
    if named.first() != Some(&meant) {
        return None;
    }
    let mut others = by_identity.get(&service.identity)?.iter().filter(|index| !named.contains(index));
    let other = mesh.service(*others.next()?);
    Some(report(policy, from, service, other, others.count()))
}

fn report(
    policy: &AccessPolicy,
    from: &Caller,
    service: &Service,
    other: &Service,
    more: usize,
) -> Diagnostic {
    let more = match more {
        0 => String::new(),
        1 => " and one more service".to_owned(),
        more => format!(" and {more} more services"),
    };
    let message = format!("this lets `{}`{more} in too, with the identity of `{}`", other.id(), service.id());
    Diagnostic::warning("shared-identity", message)
        .object(policy.at.origin.object.clone())
        .at(from.span)
        .label(format!("known as `{}`", service.identity))
        .related(other.at.span, format!("`{}` has the same identity", other.id()))
        .with_note("a proxy sees the identity of a caller, not the name of its service")
        .help(format!("give `{}` an account of its own, or name all that are meant", service.id()))
}
