//! The model, lowered to one body per service: defaults explicit, precedence decided, order fixed.
//!
//! A body holds the service's own inbound ports, the frontends of the services it may call or declares, and the
//! clusters that their rules name; nothing of the rest of the mesh. Everything is sorted, so equal meshes give equal
//! bytes.

mod inbound;
mod outbound;
mod cluster;
mod telemetry;

use std::collections::BTreeMap;

use weft_bundle::body::Body;

use crate::model::callers::dependencies;
use crate::model::{Mesh, ServiceIndex};

/// The body of a service.
pub fn lower(mesh: &Mesh, index: ServiceIndex) -> Body {
    let service = mesh.service(index);
    let mut clusters = BTreeMap::new();
    let mut outbound = Vec::new();
    for target in dependencies(mesh, index) {
        outbound.extend(outbound::frontends(mesh, index, target, &mut clusters));
    }
    outbound.sort_by(|a, b| (&a.service, a.port).cmp(&(&b.service, b.port)));
    Body {
        mesh: mesh.name.clone(),
        service: service.id(),
        identity: service.identity.clone(),
        trust_anchors: mesh.trust_anchors.clone(),
        inbound: inbound::ports(mesh, index),
        listeners: Vec::new(),
        token_providers: inbound::token_providers(mesh, index).cloned().collect(),
        outbound,
        clusters,
        telemetry: telemetry::of_service(mesh, index),
    }
}
