//! What callers are told of a service, one group of callers after the other.
//!
//! Most are told what the service's own fields say; those of some namespaces have a [`View`] instead. Whoever looks at
//! subsets or settings without a caller in mind looks at each [`Told`], or at each [`Part`] of it.

use std::collections::BTreeMap;

use weft_bundle::body::ServerTls;

use super::{At, Endpoint, Mesh, Port, Route, Scope, Service, ServiceIndex, Settings, Subset, View};

/// What one group of callers is told of a service.
#[derive(Clone, Copy, Debug)]
pub struct Told<'m> {
    /// The service, by place.
    pub index: ServiceIndex,
    /// The service.
    pub service: &'m Service,
    /// The view that the callers have; none for all who have none.
    pub view: Option<&'m View>,
}

/// A service or a subset of it, on one of its ports, as a group of callers is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Part<'m> {
    /// What the callers are told of the service.
    pub told: Told<'m>,
    /// The subset and its name; none for the service itself.
    pub subset: Option<(&'m str, &'m Subset)>,
    /// The port.
    pub port: &'m Port,
}

impl Mesh {
    /// What the callers of a service are told: first those without a view, then those with each.
    pub fn told(&self, index: ServiceIndex) -> impl Iterator<Item = Told<'_>> {
        let service = self.service(index);
        let views = std::iter::once(None).chain(service.views.iter().map(Some));
        views.map(move |view| Told { index, service, view })
    }

    /// Every part of every service.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.indexed().flat_map(|(index, _)| self.told(index)).flat_map(Told::parts)
    }
}

impl<'m> Told<'m> {
    /// Where that is written: the rule that makes the view, else the service.
    pub fn at(self) -> &'m At {
        self.view.and_then(|view| view.at.as_ref()).unwrap_or(&self.service.at)
    }

    /// By name.
    pub fn subsets(self) -> &'m BTreeMap<String, Subset> {
        self.view.map_or(&self.service.subsets, |view| &view.subsets)
    }

    /// The service itself on each of its ports, then each subset.
    pub fn parts(self) -> impl Iterator<Item = Part<'m>> {
        let subsets = self.subsets().iter().map(|(name, subset)| Some((name.as_str(), subset)));
        let whole = std::iter::once(None).chain(subsets);
        whole.flat_map(move |subset| {
            self.service.ports.iter().map(move |port| Part { told: self, subset, port })
        })
    }

    /// The settings of requests to a port: the port's own, else the service's.
    pub fn settings(self, port: u16) -> &'m Settings {
        self.port_settings(port)
            .unwrap_or_else(|| self.view.map_or(&self.service.settings, |view| &view.settings))
    }

    /// The settings that a port has instead of the service's.
    pub fn port_settings(self, port: u16) -> Option<&'m Settings> {
        match self.view {
            Some(view) => view.ports.get(&port).and_then(|(settings, _)| settings.as_deref()),
            None => self.service.port(port).and_then(|port| port.settings.as_deref()),
        }
    }

    /// TLS as on the web that callers begin on a port.
    pub fn server_tls(self, port: u16) -> Option<&'m ServerTls> {
        match self.view {
            Some(view) => view.ports.get(&port).and_then(|(_, server_tls)| server_tls.as_ref()),
            None => self.service.port(port).and_then(|port| port.server_tls.as_ref()),
        }
    }

    /// Whether some callers of a namespace are told this.
    pub fn is_for(self, namespace: &str) -> bool {
        match self.view {
            Some(view) => view.namespace == namespace,
            // Beside a view for all workloads of a namespace nobody there is without one.
            None => !self.service.views.iter().any(|v| v.namespace == namespace && v.labels.is_empty()),
        }
    }

    /// Whether some of the callers may take a route, whatever that is attached to.
    pub fn takes(self, mesh: &Mesh, route: &Route) -> bool {
        route.is_taken(mesh, |namespace| self.is_for(namespace))
    }

    /// Whether some of the callers are among those of a scope.
    pub fn is_in(self, scope: &Scope) -> bool {
        scope.has(|namespace| self.is_for(namespace))
    }
}

impl<'m> Part<'m> {
    /// The endpoints that are listed for it.
    pub fn endpoints(self) -> impl Iterator<Item = &'m Endpoint> {
        self.told.service.endpoints_of(self.subset.map(|(_, subset)| subset))
    }

    /// The settings of its own.
    pub fn settings(self) -> &'m Settings {
        let port = self.port.number;
        match self.subset {
            Some((_, subset)) => subset.ports.get(&port).unwrap_or(&subset.settings),
            None => self.told.settings(port),
        }
    }

    /// Where it is declared.
    pub fn at(self) -> &'m At {
        self.subset.map_or_else(|| self.told.at(), |(_, subset)| &subset.at)
    }

    /// As messages name it: `shop/cart` in backticks, or a subset of that.
    pub fn spoken(self) -> String {
        match self.subset {
            Some((subset, _)) => format!("subset `{subset}` of `{}`", self.told.service.id()),
            None => format!("`{}`", self.told.service.id()),
        }
    }
}
