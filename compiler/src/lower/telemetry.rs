//! What a proxy tells about requests: policies of all levels, nearest first, field by field.

use weft_bundle::body::Telemetry;

use crate::model::{GatewayIndex, Mesh, ServiceIndex, TelemetrySettings, TelemetryTarget};

/// The telemetry of a service, and of the gateway that its workloads are.
pub(super) fn of_service(mesh: &Mesh, service: ServiceIndex, gateway: Option<GatewayIndex>) -> Telemetry {
    let own = std::iter::once(TelemetryTarget::Service(service));
    let targets = own.chain(gateway.map(TelemetryTarget::Gateway));
    of(mesh, targets, &mesh.service(service).namespace)
}

/// The telemetry of a gateway that is no service.
pub(super) fn of_gateway(mesh: &Mesh, gateway: GatewayIndex) -> Telemetry {
    let target = std::iter::once(TelemetryTarget::Gateway(gateway));
    of(mesh, target, &mesh.gateway(gateway).namespace)
}

fn of(mesh: &Mesh, targets: impl Iterator<Item = TelemetryTarget>, namespace: &str) -> Telemetry {
    let wider = [TelemetryTarget::Namespace(namespace.to_owned()), TelemetryTarget::Mesh];
    let levels: Vec<TelemetryTarget> = targets.chain(wider).collect();
    let places = levels.iter().flat_map(|level| mesh.index.telemetry(level));
    let policies = places.filter_map(|place| mesh.telemetry.get(*place));
    let settings = policies.fold(TelemetrySettings::default(), |nearer, policy| nearer.or(&policy.settings));
    settings.into_body()
}
