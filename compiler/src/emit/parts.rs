//! What the bodies of many callers hold alike: a service as they see it, made, checked and written once for all of them.
//!
//! A mesh in which each service calls eight others has eight frontends in a body and each frontend in eight bodies.
//! [`Parts`] keeps each as canonical bytes, which a body then only copies. What is kept has a bound, beyond which it is
//! made again; so has what no two callers see alike, such as a list that asks for labels.
//!
//! A body is checked by [`weft_bundle::engine::Engine::build`], as everywhere, but in pieces: each part by itself, with the
//! clusters that it names, and then the body with nothing of its parts but their names, which no two may share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use weft_bundle::body::{Action, Body, Frontend};
use weft_bundle::json::{self, Canonical};

use super::{EmitError, Emitted, checked, unwritable};
use crate::lower::{self, Circle, Seen};
use crate::model::callers::dependencies;
use crate::model::{Mesh, ServiceIndex};

/// As many bytes of parts are kept.
const MOST_KEPT: usize = 256 << 20;

/// What some callers see of a service.
struct Part {
    /// The service, `namespace/name`.
    service: String,
    /// Its frontends without what they decide.
    names: Vec<Frontend>,
    /// Its frontends.
    frontends: Vec<Canonical>,
    /// The clusters that they name, by id.
    clusters: Vec<(String, Canonical)>,
}

/// The parts of a mesh that were made so far, for all threads.
pub(super) struct Parts<'m> {
    mesh: &'m Mesh,
    kept: Mutex<Kept<'m>>,
}

#[derive(Default)]
struct Kept<'m> {
    parts: HashMap<Circle<'m>, Arc<Part>>,
    bytes: usize,
}

impl<'m> Parts<'m> {
    /// None yet.
    pub(super) fn new(mesh: &'m Mesh) -> Self {
        Self { mesh, kept: Mutex::default() }
    }

    pub(super) fn mesh(&self) -> &'m Mesh {
        self.mesh
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).parts.len()
    }

    /// The body of a service that is no gateway.
    pub(super) fn body_of(&self, index: ServiceIndex) -> Result<Emitted, EmitError> {
        let targets = dependencies(self.mesh, index).into_iter();
        let parts: Result<Vec<_>, _> = targets.map(|target| self.part(index, target)).collect();
        let mut parts = parts?;
        parts.sort_by(|a, b| a.service.cmp(&b.service));
        let names = parts.iter().flat_map(|part| &part.names).cloned().collect();
        let body = checked(lower::alone(self.mesh, index).with(names, BTreeMap::new()))?;
        let service = body.service.clone();
        let outbound = parts.iter().flat_map(|part| &part.frontends).cloned().collect();
        let clusters = parts.iter().flat_map(|part| &part.clusters).cloned().collect();
        match json::to_canonical(&body.with::<Canonical, Canonical>(outbound, clusters)) {
            Ok(bytes) => Ok(Emitted { service, bytes }),
            Err(source) => Err(unwritable(service, source)),
        }
    }

    fn part(&self, caller: ServiceIndex, target: ServiceIndex) -> Result<Arc<Part>, EmitError> {
        let circle = Circle::of(self.mesh, caller, target);
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = circle.and_then(|circle| lock().parts.get(&circle).cloned()) {
            return Ok(part);
        }
        // Not under the lock: two threads may make one part, and make it alike.
        let seen = lower::seen(self.mesh, caller, target);
        let personal = seen.personal;
        let part = Arc::new(self.make(caller, target, seen)?);
        if let Some(circle) = circle.filter(|_| !personal) {
            let mut kept = lock();
            if kept.bytes + part.size() <= MOST_KEPT {
                kept.bytes += part.size();
                kept.parts.insert(circle, Arc::clone(&part));
            }
        }
        Ok(part)
    }

    fn make(&self, caller: ServiceIndex, target: ServiceIndex, seen: Seen) -> Result<Part, EmitError> {
        let caller = self.mesh.service(caller);
        let scene = Body::new(&self.mesh.name, caller.id(), caller.identity.clone());
        let Body { outbound, clusters, .. } = checked(scene.with(seen.frontends, seen.clusters))?;
        let write = || {
            let frontends: Result<Vec<_>, _> = outbound.iter().map(Canonical::of).collect();
            let clusters = clusters.iter().map(|(id, cluster)| Ok((id.clone(), Canonical::of(cluster)?)));
            Ok((frontends?, clusters.collect::<Result<_, _>>()?))
        };
        let (frontends, clusters) = write().map_err(|source| unwritable(caller.id(), source))?;
        let names = outbound.into_iter().map(without_decisions).collect();
        Ok(Part { service: self.mesh.service(target).id(), names, frontends, clusters })
    }
}

impl Part {
    fn size(&self) -> usize {
        let clusters = self.clusters.iter().map(|(_, cluster)| cluster);
        self.frontends.iter().chain(clusters).map(|written| written.as_bytes().len()).sum()
    }
}

fn without_decisions(frontend: Frontend) -> Frontend {
    let nothing = Action::Respond { status: 404, body: None };
    Frontend {
        entries: Vec::new(),
        rules: Vec::new(),
        otherwise: lower::plain_rule(frontend.otherwise.origin, nothing),
        ..frontend
    }
}
