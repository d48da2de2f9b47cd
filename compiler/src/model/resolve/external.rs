//! Services that other documents than a Service declare: those outside the mesh, and machines that are part of it.

use std::collections::BTreeMap;

use super::Context;
use crate::diagnostic::Diagnostic;
use crate::dialect::ParsedDocument;
use crate::model::Service;

/// Services by namespace and name, as they are put together.
pub(super) type Services = BTreeMap<(String, String), Service>;

/// Adds a service under its id, unless another document has the id or one of the hosts already, which is a finding. Callers
/// that no namespace sees alike may share a host.
pub(super) fn add(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    services: &mut Services,
    service: Service,
) {
    let key = (service.namespace.clone(), service.name.clone());
    if let Some(other) = services.get(&key) {
        let message = format!("`{}` is called `{}` too", other.at.origin.object, other.id());
        let finding = Diagnostic::error("duplicate-object", message)
            .object(document.object())
            .at(document.metadata.name.span)
            .label("again here")
            .related(other.at.span, "first here")
            .with_note("services have their document's namespace and name, whatever its kind")
            .help("rename one");
        context.report(finding);
        return;
    }
    let together = |a: &Service, b: &Service| match (&a.visible_to, &b.visible_to) {
        (Some(a), Some(b)) => a.iter().any(|namespace| b.contains(namespace)),
        // One of a namespace of its own stands before one that all see.
        _ => a.namespace == b.namespace || (a.visible_to.is_none() && b.visible_to.is_none()),
    };
    let shared = |other: &Service| {
        let host = other.hosts.iter().find(|host| service.hosts.contains(host)).cloned()?;
        let ports = other.ports.iter().any(|port| service.port(port.number).is_some());
        (ports && together(other, &service)).then_some(host)
    };
    let overlap = services.values().find_map(|other| Some((other, shared(other)?)));
    if let Some((other, host)) = overlap {
        let message = format!("`{}` has the host `{host}` on a common port too", other.at.origin.object);
        let finding = Diagnostic::error("duplicate-object", message)
            .object(document.object())
            .at(document.metadata.name.span)
            .label("again here")
            .related(other.at.span, "first here")
            .help("merge them, or show them to different namespaces by `exportTo`");
        context.report(finding);
    }
    services.insert(key, service);
}
