//! # What it finds
//! A rule that names identities on a port whose callers need not prove theirs:
//! * where `peerTLS` is `off`, nobody has an identity: a rule that allows lets nobody in, one that denies refuses nobody;
//! * where it is `permissive`, a caller in clear text has none: a rule that denies an identity does not stop it then. A rule
//!   that allows one is fine there.
//!
//! A rule that asks about identities only in its `when` is looked at where `peerTLS` is `off`.
//!
//! # Why it matters
//! A denial that its subject can walk around is worse than none, as people rely on it.
//!
//! # Example
//! ```yaml
//! kind: Service
//! metadata: { name: cart }
//! spec: { ports: [ { name: http, port: 80, protocol: http, peerTLS: permissive } ] }
//! ---
//! kind: AccessPolicy
//! spec: { targetRefs: [ … cart ], action: deny, rules: [ { from: [ { service: guest } ] } ] }
//! ```
//!
//! # Fix
//! Set `peerTLS: strict` on the port, or turn the denial into an allow policy for everybody else.
//!
//! # References
//! Kiali KIA0105 (this field requires mTLS to be enabled); Istio, "Understanding TLS configuration"; SPIFFE, X.509-SVID.

use std::collections::BTreeMap;

use weft_bundle::body::{Attribute, Effect, PeerTls, Predicate};

use crate::diagnostic::Diagnostic;
use crate::model::{AccessPolicy, AccessRule, CallerKind, Mesh, Port, Service};
use crate::yaml::Span;

/// One finding per rule, for the first port where it matters.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut found: BTreeMap<Span, Diagnostic> = BTreeMap::new();
    for policy in &mesh.access {
        for target in &policy.targets {
            let service = mesh.service(target.service);
            let ports = service.ports.iter().filter(|port| target.port.is_none_or(|n| n == port.number));
            for port in ports.filter(|port| port.peer_tls != PeerTls::Strict) {
                for rule in &policy.rules {
                    let here = |o: &crate::model::Operation| o.is_for(target.service, port.number);
                    let applies = rule.to.is_empty() || rule.to.iter().any(here);
                    let found_here = if applies { judge(policy, rule, service, port) } else { None };
                    if let Some(finding) = found_here {
                        found.entry(rule.at.span).or_insert(finding);
                    }
                }
            }
        }
    }
    found.into_values().collect()
}

fn judge(policy: &AccessPolicy, rule: &AccessRule, service: &Service, port: &Port) -> Option<Diagnostic> {
    let named = rule.from.iter().find(|caller| !matches!(caller.who, CallerKind::Network(_)));
    let asked = rule.when.as_ref().is_some_and(asks_for_identity);
    let name = rule.at.origin.rule.as_deref().unwrap_or_default();
    let id = service.id();
    let (message, tls) = match (policy.effect, port.peer_tls) {
        (Effect::Deny, PeerTls::Permissive) if named.is_some() => (
            format!(
                "`{name}` does not stop callers of `{id}` who come in clear text, as they show no identity"
            ),
            "permissive",
        ),
        (Effect::Allow, PeerTls::Off) if named.is_some() || asked => {
            (format!("`{name}` asks callers of `{id}` for an identity, and nobody has one there"), "off")
        }
        (Effect::Deny, PeerTls::Off) if named.is_some() => {
            (format!("`{name}` refuses identities at `{id}`, and nobody has one there"), "off")
        }
        _ => return None,
    };
    let span = named.map_or(rule.at.span, |caller| caller.span);
    let finding = Diagnostic::warning("identity-without-tls", message)
        .object(policy.at.origin.object.clone())
        .at(span)
        .label("an identity that need not be shown")
        .related(port.span, format!("`peerTLS` is `{tls}` on port {}", port.number))
        .help("set `peerTLS: strict` on the port");
    Some(finding)
}

/// Whether a condition is an error for callers without an identity, wherever it matters.
fn asks_for_identity(predicate: &Predicate) -> bool {
    let of_identity = |attribute: &Attribute| {
        matches!(
            attribute,
            Attribute::Identity | Attribute::TrustDomain | Attribute::Namespace | Attribute::ServiceAccount
        )
    };
    match predicate {
        Predicate::All(parts) => parts.iter().any(asks_for_identity),
        Predicate::Any(parts) => !parts.is_empty() && parts.iter().all(asks_for_identity),
        Predicate::Not(part) => {
            matches!(**part, Predicate::Identity(_))
                || matches!(&**part, Predicate::Text { of, .. } if of_identity(of))
        }
        Predicate::Identity(_) => true,
        Predicate::Text { of, .. } | Predicate::Has(of) => of_identity(of),
        Predicate::Path { .. }
        | Predicate::Number { .. }
        | Predicate::Address { .. }
        | Predicate::Flag(_)
        | Predicate::Contains { .. } => false,
    }
}
