//! ExternalServices: services of the model that are outside the mesh.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use weft_bundle::body::{Anchors, Discovery, PeerTls, ServerTls, StringMatch, SubjectName};

use super::{Context, mesh as trust, services};
use crate::diagnostic::Diagnostic;
use crate::dialect::weft::{ExternalPort, ExternalService, TlsOrigination};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{Mesh, Port, Service};

/// Adds all external services to those of the mesh, by namespace and name.
pub(super) fn resolve(
    context: &mut Context<'_>,
    documents: &[&ParsedDocument],
    mesh: &Mesh,
    services: &mut BTreeMap<(String, String), Service>,
) {
    for document in documents {
        if let Kind::ExternalService(spec) = &document.spec
            && let Some(service) = service(context, document, spec, mesh)
        {
            add(context, document, services, service);
        }
    }
}

/// Adds a service from outside the mesh, unless something else has its name.
pub(super) fn add(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    services: &mut BTreeMap<(String, String), Service>,
    service: Service,
) {
    match services.entry((service.namespace.clone(), service.name.clone())) {
        Entry::Vacant(entry) => drop(entry.insert(service)),
        Entry::Occupied(entry) => {
            let message = format!("`{document}` has the name of `{}`", entry.get().at.origin.object);
            context.report(
                Diagnostic::error("duplicate-object", message)
                    .object(document.object())
                    .at(document.metadata.name.span)
                    .related(entry.get().at.span, "the other one is here")
                    .with_note("both would be one service to policies and in the release")
                    .help("rename one of them"),
            );
        }
    }
}

fn service(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &ExternalService,
    mesh: &Mesh,
) -> Option<Service> {
    let identity = services::identity(context, document, mesh, document.name())?;
    let fixed = spec.endpoints.as_deref().map(|endpoints| endpoints.fixed.as_slice()).unwrap_or_default();
    let written = spec.endpoints.as_deref().and_then(services::discovery);
    let by_name = || match spec.first_name() {
        Some(host) => Discovery::Dns { host: host.to_owned(), port: 0 },
        None => Discovery::OriginalDestination,
    };
    let discovery = written.or_else(|| fixed.is_empty().then(by_name));
    let mut ports: Vec<Port> = Vec::new();
    for written in &spec.ports {
        // The second of a pair was reported while reading.
        if ports.iter().all(|other| other.number != written.port.value && other.name != written.name.value) {
            ports.push(port(context, document, written));
        }
    }
    let mut hosts: Vec<String> = spec.hosts.iter().map(|host| host.value.clone()).collect();
    hosts.sort();
    let mut addresses: Vec<_> = spec.addresses.iter().map(|network| network.value).collect();
    addresses.sort();
    let visible_to = spec.visible_to.as_ref();
    let at = context.at_document(document);
    Some(Service {
        ports,
        endpoints: fixed.iter().map(|endpoint| services::weft_endpoint(endpoint)).collect(),
        external: true,
        hosts,
        addresses,
        discovery,
        visible_to: visible_to.map(|list| list.iter().map(|namespace| namespace.value.clone()).collect()),
        ..Service::new(document.namespace(), document.name(), at, identity)
    })
}

fn port(context: &mut Context<'_>, document: &ParsedDocument, written: &ExternalPort) -> Port {
    let number = written.port.value;
    let target = written.target.as_deref().copied().unwrap_or(number);
    Port {
        name: written.name.value.clone(),
        number,
        protocol: written.protocol.value,
        target,
        application: format!("127.0.0.1:{target}"),
        peer_tls: PeerTls::Off,
        server_tls: written.tls.as_deref().map(|tls| server_tls(context, document, tls)),
        settings: None,
        span: written.name.span,
    }
}

fn server_tls(context: &mut Context<'_>, document: &ParsedDocument, written: &TlsOrigination) -> ServerTls {
    let anchors = trust::anchors(context, document, &written.trust_anchors);
    let name = |name: &crate::yaml::Spanned<String>| SubjectName::Dns(StringMatch::Exact(name.value.clone()));
    let mut names: Vec<SubjectName> = written.names.iter().map(name).collect();
    names.sort();
    ServerTls {
        server_name: written.server_name.as_ref().map(|name| name.value.clone()),
        names,
        anchors: if anchors.is_empty() { Anchors::System } else { Anchors::Certificates(anchors) },
        certificate: written.certificate.as_ref().map(|name| name.value.clone()),
        insecure: false,
    }
}
