//! The ordered lists of all ports of all services, made once: every analysis and every caller's body asks for them.
//!
//! A list is kept as places, not references, so that the mesh owns it: (route, entry, rank), already in order. What
//! depends on more of a caller than its namespace (labels, [`super::RouteEntry::source_labels`]) is left to
//! [`super::routing::plan`], which reads a list and leaves entries out. One list stands for all namespaces that no
//! document treats specially, as in [`super::routing::audiences`].

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
    /// Of the namespaces that documents treat specially.
    special: BTreeMap<String, List>,
    /// Of all others.
    general: List,
}

impl Frontend {
    /// The list of a namespace.
    pub(super) fn list(&self, namespace: &str) -> &List {
        self.special.get(namespace).unwrap_or(&self.general)
    }
}

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
                let special = namespaces.into_iter().map(|name| (name.clone(), list(name))).collect();
                Frontend { special, general: list(""), audiences }
            };
            service.ports.iter().map(|port| frontend(port.number)).collect()
        }))
    }

    /// The lists of a port.
    pub(super) fn get(&self, mesh: &Mesh, service: ServiceIndex, number: u16) -> Option<&Frontend> {
        let place = mesh.service(service).ports.iter().position(|port| port.number == number)?;
        self.0.get(service.0)?.get(place)
    }
}
