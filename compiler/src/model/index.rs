//! Which documents concern which service, looked up instead of searched for: a mesh of ten thousand services asks this
//! for every pair of caller and callee.

use std::collections::BTreeMap;

use super::{Mesh, ServiceIndex, TrafficTarget};

/// Places in [`Mesh::routes`], [`Mesh::access`] and [`Mesh::traffic`], each list in document order.
#[derive(Clone, Debug, Default)]
pub struct Index {
    routes: BTreeMap<ServiceIndex, Vec<usize>>,
    access: BTreeMap<ServiceIndex, Vec<usize>>,
    traffic: BTreeMap<TrafficTarget, Vec<usize>>,
}

impl Index {
    /// The index of a mesh whose documents are all bound.
    pub(super) fn of(mesh: &Mesh) -> Self {
        let mut index = Self::default();
        for (place, route) in mesh.routes.iter().enumerate() {
            route.attachments.iter().for_each(|attachment| add(&mut index.routes, attachment.service, place));
        }
        for (place, policy) in mesh.access.iter().enumerate() {
            policy.targets.iter().for_each(|target| add(&mut index.access, target.service, place));
        }
        for (place, policy) in mesh.traffic.iter().enumerate() {
            policy.targets.iter().for_each(|target| add(&mut index.traffic, target.clone(), place));
        }
        index
    }

    /// The routes attached to a service.
    pub(super) fn routes(&self, service: ServiceIndex) -> &[usize] {
        self.routes.get(&service).map(Vec::as_slice).unwrap_or_default()
    }

    /// The access policies for a service.
    pub(crate) fn access(&self, service: ServiceIndex) -> &[usize] {
        self.access.get(&service).map(Vec::as_slice).unwrap_or_default()
    }

    /// The traffic policies for a target.
    pub(super) fn traffic(&self, target: &TrafficTarget) -> &[usize] {
        self.traffic.get(target).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Adds a place to a list once; places come in order.
fn add<K: Ord>(lists: &mut BTreeMap<K, Vec<usize>>, key: K, place: usize) {
    let list = lists.entry(key).or_default();
    if list.last() != Some(&place) {
        list.push(place);
    }
}
