//! Who may come: every service of the mesh, and one stranger for each way in which policy can tell strangers apart.

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::{Access, IdentityMatch};
use weft_bundle::spiffe::{SpiffeId, TrustDomain};

use crate::model::policy_test::{Selector, Who};
use crate::model::{Mesh, ServiceIndex};

/// The services of each identity, but for those of one service alone: that a service calls itself is nobody's concern.
pub(super) fn services(mesh: &Mesh, of: ServiceIndex) -> BTreeMap<SpiffeId, Vec<ServiceIndex>> {
    let mut services: BTreeMap<SpiffeId, Vec<ServiceIndex>> = BTreeMap::new();
    for (index, service) in mesh.indexed() {
        services.entry(service.identity.clone()).or_default().push(index);
    }
    services.retain(|_, services| services.as_slice() != [of]);
    services
}

/// Peers that stand for all others: each identity that a rule or a selector names; for each namespace and trust domain
/// that one names, and for the mesh, somebody whom nobody names; and somebody without an identity. Of trust domains
/// that the mesh does not believe, nobody can connect.
pub(super) fn strangers(
    mesh: &Mesh,
    access: &[&Access],
    selectors: &[Selector],
) -> BTreeSet<Option<SpiffeId>> {
    let rules = access.iter().flat_map(|access| &access.rules).flat_map(|rule| &rule.from);
    let mut exact: BTreeSet<SpiffeId> = BTreeSet::new();
    let mut namespaces: BTreeSet<(TrustDomain, String)> = BTreeSet::new();
    let mut domains = BTreeSet::from([mesh.trust_domain.clone()]);
    for identity in rules.flat_map(|from| &from.identities) {
        match identity {
            IdentityMatch::Exact(id) => drop(exact.insert(id.clone())),
            IdentityMatch::Namespace { trust_domain, namespace } => {
                namespaces.insert((trust_domain.clone(), namespace.clone()));
            }
            IdentityMatch::TrustDomain(domain) => drop(domains.insert(domain.clone())),
        }
    }
    for selector in selectors {
        match &selector.who {
            Who::Identity(id) => drop(exact.insert(id.clone())),
            Who::Namespace(domain, namespace) => drop(namespaces.insert((domain.clone(), namespace.clone()))),
        }
    }
    // Names that nothing above has, nor any service.
    let taken = |text: &str| {
        let same = |id: &SpiffeId| id.path().split('/').any(|segment| segment == text);
        exact.iter().any(same)
            || namespaces.iter().any(|(_, namespace)| namespace == text)
            || mesh.services.iter().any(|service| same(&service.identity))
    };
    let fresh = |text: &str| {
        let numbered = (1u32..).map(|number| format!("{text}-{number}"));
        std::iter::once(text.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
    };
    let (nobody, nowhere) = (fresh("somebody"), fresh("elsewhere"));
    let unnamed: Vec<_> = domains.into_iter().map(|domain| (domain, nowhere.clone())).collect();
    let made = namespaces.iter().chain(&unnamed);
    let made =
        made.filter_map(|(domain, namespace)| SpiffeId::for_service_account(domain, namespace, &nobody).ok());
    let mut all: BTreeSet<SpiffeId> = made.collect();
    all.extend(exact);
    let believed = |id: &SpiffeId| {
        *id.trust_domain() == mesh.trust_domain || mesh.trust_anchors.contains_key(id.trust_domain())
    };
    all.into_iter().filter(believed).map(Some).chain([None]).collect()
}
