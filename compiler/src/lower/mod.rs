//! The model, lowered to one body per service and gateway: defaults explicit, precedence decided, order fixed.
//!
//! A body holds the service's own inbound ports, the frontends of the services it may call or declares, and the
//! clusters that their rules name; nothing of the rest of the mesh. Everything is sorted, so equal meshes give equal
//! bytes.

mod inbound;
mod outbound;
mod gateway;
mod cluster;
mod telemetry;

pub(crate) use self::outbound::{Circle, Seen, plain_rule, seen};

use weft_bundle::body::Body;

use self::cluster::Clusters;
use crate::model::callers::dependencies;
use crate::model::routing::Audience;
use crate::model::{GatewayIndex, Mesh, ServiceIndex};

/// What a bundle is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A service; also a gateway, if one has the service's name.
    Service(ServiceIndex),
    /// A gateway that is no service of the mesh.
    Gateway(GatewayIndex),
}

/// Everything that a bundle is made for, sorted by namespace and name.
pub fn subjects(mesh: &Mesh) -> Vec<Subject> {
    let services = mesh.indexed().filter(|(_, service)| !service.external);
    let services = services.map(|(place, service)| {
        ((service.namespace.as_str(), service.name.as_str()), Subject::Service(place))
    });
    let gateways = mesh.gateways.iter().enumerate().filter(|(_, gateway)| gateway.service.is_none());
    let gateways = gateways.map(|(place, gateway)| {
        ((gateway.namespace.as_str(), gateway.name.as_str()), Subject::Gateway(GatewayIndex(place)))
    });
    let mut subjects: Vec<_> = services.chain(gateways).collect();
    subjects.sort_by_key(|(name, _)| *name);
    subjects.into_iter().map(|(_, subject)| subject).collect()
}

/// The body of a service or a gateway.
pub fn lower_subject(mesh: &Mesh, subject: Subject) -> Body {
    match subject {
        Subject::Service(index) => lower(mesh, index),
        Subject::Gateway(index) => lower_gateway(mesh, index),
    }
}

/// The body of a service; with listeners, if a gateway has the service's name.
pub fn lower(mesh: &Mesh, index: ServiceIndex) -> Body {
    let mut body = alone(mesh, index);
    for Seen { frontends, clusters, .. } in
        dependencies(mesh, index).into_iter().map(|to| seen(mesh, index, to))
    {
        body.outbound.extend(frontends);
        body.clusters.extend(clusters);
    }
    body.outbound.sort_by(|a, b| (&a.service, a.port).cmp(&(&b.service, b.port)));
    if let Some(gateway) = gateway_of(mesh, index) {
        let mut behind = Clusters::new(mesh.service(index));
        body.listeners = gateway::listeners(mesh, gateway, &mut behind);
        gateway::join(&mut body.clusters, behind.made, &mut body.listeners);
    }
    body
}

/// The gateway that has a service's name.
pub(crate) fn gateway_of(mesh: &Mesh, index: ServiceIndex) -> Option<GatewayIndex> {
    let service = mesh.service(index);
    mesh.find_gateway(&service.namespace, &service.name)
}

/// The body of a service without what it sees of others, be it as a caller or as a gateway.
pub(crate) fn alone(mesh: &Mesh, index: ServiceIndex) -> Body {
    let service = mesh.service(index);
    let gateway = gateway_of(mesh, index);
    let own = inbound::token_providers(mesh, index).cloned();
    let outside = gateway.into_iter().flat_map(|gateway| gateway::token_providers(mesh, gateway)).cloned();
    Body {
        trust_anchors: mesh.trust_anchors.clone(),
        inbound: inbound::ports(mesh, index),
        token_providers: own.chain(outside).collect(),
        telemetry: telemetry::of_service(mesh, index, gateway),
        ..Body::new(&mesh.name, service.id(), service.identity.clone())
    }
}

/// The body of a gateway.
pub fn lower_gateway(mesh: &Mesh, index: GatewayIndex) -> Body {
    let gateway = mesh.gateway(index);
    if let Some(service) = gateway.service {
        return lower(mesh, service);
    }
    let workloads = Audience { namespace: gateway.namespace.clone(), labels: gateway.labels.clone() };
    let mut clusters = Clusters::new(&workloads);
    Body {
        trust_anchors: mesh.trust_anchors.clone(),
        listeners: gateway::listeners(mesh, index, &mut clusters),
        token_providers: gateway::token_providers(mesh, index).cloned().collect(),
        clusters: clusters.made,
        telemetry: telemetry::of_gateway(mesh, index),
        ..Body::new(&mesh.name, gateway.id(), gateway.identity.clone())
    }
}
