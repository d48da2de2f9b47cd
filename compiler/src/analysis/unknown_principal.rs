//! # What it finds
//! A rule that names an identity of the mesh's own trust domain which no service, no gateway, no workload and no
//! ServiceAccount has, or a namespace of it in which there is none. Identities of other trust domains are not ours to know.
//! The nearest identity is offered.
//!
//! # Why it matters
//! The usual cause is a misspelt service account. A rule that allows it lets nobody in; one that denies it refuses nobody.
//!
//! # Example
//! ```yaml
//! rules:
//! - from: [ { identity: spiffe://shop.example/ns/shop/sa/frontned } ]
//! ```
//!
//! # Fix
//! Correct the name; with `service:` instead of `identity:` the reference is checked. If workloads outside of these documents
//! have the identity, say so with `analyses: { unknown-principal: off }` in the Mesh document.
//!
//! # References
//! Kiali KIA0106 (service account for this principal was not found); SPIFFE ID, section 2.

use std::collections::BTreeSet;

use weft_bundle::body::IdentityMatch;
use weft_bundle::spiffe::SpiffeId;

use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::model::{AccessPolicy, Caller, CallerKind, Mesh, Service};

/// How many names are compared at most, all together.
const GUESSES: usize = 1_000_000;

/// One finding per identity and rule.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let services = mesh.services.iter().filter(|service| !service.external && !is_guess(mesh, service));
    let gateways = mesh.gateways.iter().map(|gateway| &gateway.identity);
    let known: BTreeSet<&SpiffeId> =
        services.map(|service| &service.identity).chain(gateways).chain(&mesh.accounts.known).collect();
    let namespaces: BTreeSet<&str> = known.iter().filter_map(|identity| identity.namespace()).collect();
    let mut guesses = GUESSES;
    let mut found = Vec::new();
    for policy in &mesh.access {
        for caller in policy.rules.iter().flat_map(|rule| &rule.from) {
            found.extend(judge(mesh, policy, caller, &known, &namespaces, &mut guesses));
        }
    }
    found
}

/// Whether an identity is only that of a Kubernetes Service's own name, and the documents list the accounts of its namespace
/// without that one.
fn is_guess(mesh: &Mesh, service: &Service) -> bool {
    let listed = |namespace: &str| mesh.accounts.listed.contains(namespace);
    !service.labels.is_empty()
        && service.identity.namespace().is_some_and(listed)
        && !mesh.accounts.known.contains(&service.identity)
}

fn judge(
    mesh: &Mesh,
    policy: &AccessPolicy,
    caller: &Caller,
    known: &BTreeSet<&SpiffeId>,
    namespaces: &BTreeSet<&str>,
    guesses: &mut usize,
) -> Option<Diagnostic> {
    let (message, near) = match &caller.who {
        CallerKind::Identity(IdentityMatch::Exact(identity))
            if *identity.trust_domain() == mesh.trust_domain && !known.contains(identity) =>
        {
            let texts: Vec<String> = known.iter().map(ToString::to_string).collect();
            let near = near(&identity.to_string(), texts.iter().map(String::as_str), texts.len(), guesses);
            (nobody(mesh, identity), near)
        }
        CallerKind::Identity(IdentityMatch::Namespace { trust_domain, namespace })
            if *trust_domain == mesh.trust_domain && !namespaces.contains(namespace.as_str()) =>
        {
            let near = near(namespace, namespaces.iter().copied(), namespaces.len(), guesses);
            (format!("no service has an identity in namespace `{namespace}`"), near)
        }
        _ => return None,
    };
    let finding = Diagnostic::warning("unknown-principal", message)
        .object(policy.at.origin.object.clone())
        .at(caller.span)
        .label("nobody has it")
        .maybe_help(near.map(|near| format!("did you mean `{near}`?")));
    Some(finding)
}

/// Where a namespace's accounts are in the documents, the one that is missing is said by its name.
fn nobody(mesh: &Mesh, identity: &SpiffeId) -> String {
    let listed = |namespace: &&str| mesh.accounts.listed.contains(*namespace);
    match (identity.namespace().filter(listed), identity.service_account()) {
        (Some(namespace), Some(account)) => {
            format!("there is no ServiceAccount in namespace `{namespace}` called `{account}`")
        }
        (_, _) => format!("no service has the identity `{identity}`"),
    }
}

/// The known name that was probably meant, while there are guesses left.
fn near<'k>(
    name: &str,
    known: impl Iterator<Item = &'k str>,
    count: usize,
    guesses: &mut usize,
) -> Option<String> {
    *guesses = guesses.checked_sub(count)?;
    did_you_mean(name, known).map(str::to_owned)
}
