//! What a proxy tells about requests: policies of all levels, nearest first, field by field.

use weft_bundle::body::Telemetry;

use crate::model::{Mesh, ServiceIndex, TelemetrySettings, TelemetryTarget};

/// The telemetry of a service.
pub(super) fn of_service(mesh: &Mesh, service: ServiceIndex) -> Telemetry {
    of(mesh, TelemetryTarget::Service(service), &mesh.service(service).namespace)
}

/// What holds for a target in a namespace.
pub(super) fn of(mesh: &Mesh, target: TelemetryTarget, namespace: &str) -> Telemetry {
    let levels = [target, TelemetryTarget::Namespace(namespace.to_owned()), TelemetryTarget::Mesh];
    let places = levels.iter().flat_map(|level| mesh.index.telemetry(level));
    let policies = places.filter_map(|place| mesh.telemetry.get(*place));
    let settings = policies.fold(TelemetrySettings::default(), |nearer, policy| nearer.or(&policy.settings));
    settings.into_body()
}
