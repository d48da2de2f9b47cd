//! The ordered lists of all ports of all services, made once: every analysis and every caller's body asks for them.
//!
//! A list is kept as places, not references, so that the mesh owns it: (route, entry, rank), already in order. What
//! depends on more of a caller than its namespace (labels, [`super::RouteEntry::source_labels`]) is left to
//! [`super::routing::plan`], which reads a list and leaves entries out. One list stands for all namespaces that no
//! document treats specially, as in [`super::routing::audiences`]. Where documents treat so many namespaces specially that
//! keeping a list for each would fill memory, none of theirs is kept, and each is made when it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::routing::{self, Audience, List};
use super::{Mesh, ServiceIndex};
use crate::parallel;

/// The lists of a mesh, by the place of the service, then of its port.
#[derive(Clone, Debug, Default)]
pub struct Frontends(Vec<Vec<Frontend>>);

/// What the callers of one port see.
#[derive(Clone, Debug, Default)]
pub(super) struct Frontend {
    /// The callers that may see different lists.
    pub(super) audiences: BTreeSet<Audience>,
    /// Of the namespaces that documents treat specially; none if they are too many to keep.
    special: Option<BTreeMap<String, List>>,
    /// Of all others.
    general: List,
}

impl Frontend {
    /// The list of a namespace; none if it is not kept.
    pub(super) fn list(&self, namespace: &str) -> Option<&List> {
        let special = self.special.as_ref()?;
        Some(special.get(namespace).unwrap_or(&self.general))
    }
}

/// How many entries are kept for one port, all namespaces together: some tens of MiB.
const MOST_KEPT: usize = 1 << 20;

impl Frontends {
    /// The lists of a mesh that has its index.
    pub(super) fn of(mesh: &Mesh) -> Self {
        Self(parallel::map(&mesh.services, |place, service| {
            let target = ServiceIndex(place);
            let frontend = |number: u16| {
                let audiences = routing::find_audiences(mesh, target, number);
                let namespaces: BTreeSet<&String> = audiences
                    .iter()
                    .map(|audience| &audience.namespace)
                    .filter(|name| !name.is_empty())
                    .collect();
                let list = |namespace: &str| routing::list(mesh, target, number, namespace);
                let routes = mesh.index.routes(target).iter().filter_map(|place| mesh.routes.get(*place));
                let entries: usize = routes.map(|route| route.entries.len()).sum();
                let few = entries.saturating_mul(namespaces.len()) <= MOST_KEPT;
                let lists = || namespaces.iter().map(|name| ((*name).clone(), list(name))).collect();
                Frontend { special: few.then(lists), general: list(""), audiences }
            };
            service.ports.iter().map(|port| frontend(port.number)).collect()
        }))
    }

    /// A namespace whose callers see the same lists of a service as those of this one: itself, or `""` for all that no
    /// document treats specially. None if labels of a caller count, or if it is not kept.
    pub fn alike<'n>(&self, service: ServiceIndex, namespace: &'n str) -> Option<&'n str> {
        let mut alike = "";
        for frontend in self.0.get(service.0)? {
            if frontend.special.as_ref()?.contains_key(namespace) {
                alike = namespace;
            }
            if frontend.audiences.iter().any(|audience| !audience.labels.is_empty()) {
                return None;
            }
        }
        Some(alike)
    }

    /// The lists of a port.
    pub(super) fn get(&self, mesh: &Mesh, service: ServiceIndex, number: u16) -> Option<&Frontend> {
        let place = mesh.service(service).ports.iter().position(|port| port.number == number)?;
        self.0.get(service.0)?.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;

    const DOCUMENTS: &str = "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: m }
spec: { trustDomain: m.example, defaults: { access: allow } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.1 } ] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: producer, namespace: shop }
spec:
  parentRefs: [ { group: '', kind: Service, name: web } ]
  rules:
  - matches: [ { path: { value: /a } } ]
    backendRefs: [ { name: web, port: 80 } ]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: consumer, namespace: other }
spec:
  parentRefs: [ { group: '', kind: Service, name: web, namespace: shop } ]
  rules:
  - matches: [ { path: { value: /b } }, { path: { value: /longer } } ]
    filters: [ { type: RequestRedirect, requestRedirect: { hostname: elsewhere.example } } ]
";

    /// What each audience of the port sees, as the paths of its list.
    fn seen(mesh: &Mesh) -> Vec<String> {
        let web = mesh.find("shop", "web").unwrap();
        let port = mesh.service(web).ports.first().unwrap();
        let paths = |audience: &Audience| {
            let entries = routing::plan(mesh, web, port, audience).entries;
            let paths = entries.iter().map(|planned| format!("{:?}", planned.entry.condition.path));
            format!("{} {}: {}", audience.namespace, entries.len(), paths.collect::<Vec<_>>().join(" "))
        };
        routing::audiences(mesh, web, port).map(paths).collect()
    }

    #[test]
    fn lists_that_are_not_kept_are_made_alike() {
        let mut mesh = crate::compile(&Sources::in_memory([("a.yaml", DOCUMENTS)])).mesh;
        let kept = seen(&mesh);
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert!(kept.iter().any(|list| list.starts_with("other 2: ")), "{kept:?}");
        for frontend in mesh.frontends.0.iter_mut().flatten() {
            frontend.special = None;
        }
        assert_eq!(seen(&mesh), kept);
    }
}
