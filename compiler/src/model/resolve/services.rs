//! Services: Weft's own, Kubernetes' (`kubernetes`), and those from outside the mesh (`external`, `istio::service_entry`).
//!
//! A Weft Service and a Kubernetes Service of one name are one service: what the Weft document says holds, and the
//! endpoints of both count.

use std::collections::BTreeMap;

use weft_bundle::body::Discovery;
use weft_bundle::spiffe::SpiffeId;

use super::pods::Pods;
use super::{Context, external, istio, kubernetes};
use crate::diagnostic::Diagnostic;
use crate::dialect::weft::{self, DnsRecord, EndpointPort};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{Call, Endpoint, Mesh, Port, Service, Settings, Subset};
use crate::yaml::INVALID_VALUE;
use crate::yaml::Spanned;

/// All services, sorted by namespace and name; their calls are still to be bound.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &Mesh) -> Vec<Service> {
    let mut services: BTreeMap<(String, String), Service> = BTreeMap::new();
    for document in documents {
        if let Kind::Service(spec) = &document.spec
            && let Some(service) = weft_service(context, document, spec, mesh)
        {
            services.insert((document.namespace().to_owned(), document.name().to_owned()), service);
        }
    }
    let pods = Pods::of(documents);
    kubernetes::resolve(context, documents, &pods, mesh, &mut services);
    external::resolve(context, documents, mesh, &mut services);
    istio::service_entry::add(context, documents, &pods, mesh, &mut services);
    let mut services: Vec<_> = services.into_values().collect();
    for service in &mut services {
        service.endpoints.sort();
        service.ports.sort_by_key(|port| port.number);
    }
    services
}

/// Binds the `calls` of Weft Services, now that all names are known.
pub(super) fn bind_calls(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    for document in documents {
        let Kind::Service(spec) = &document.spec else { continue };
        let Some(calls) = &spec.calls else { continue };
        let bound: Vec<Call> = calls
            .iter()
            .filter_map(|call| {
                let namespace = call.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
                let service = context.service(mesh, document, namespace, &call.name)?;
                Some(Call { service, span: call.span, by_pattern: false })
            })
            .collect();
        let index = mesh.find(document.namespace(), document.name());
        if let Some(service) = index.and_then(|index| mesh.services.get_mut(index.0)) {
            service.calls = Some(bound);
        }
    }
}

fn weft_service(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &Spanned<weft::Service>,
    mesh: &Mesh,
) -> Option<Service> {
    let account = spec.service_account.as_ref().map_or(document.name(), |account| account);
    let identity = match &spec.identity {
        Some(identity) => identity.value.clone(),
        None => identity(context, document, mesh, account)?,
    };
    let mut ports: Vec<Port> = Vec::new();
    for port in &spec.ports {
        // The second of a pair was reported while reading.
        if ports.iter().all(|other| other.number != port.port.value && other.name != port.name.value) {
            ports.push(weft_port(port, mesh));
        }
    }
    let endpoints = spec.endpoints.as_deref().map(|endpoints| endpoints.fixed.as_slice()).unwrap_or_default();
    let endpoints = endpoints.iter().map(|endpoint| weft_endpoint(endpoint)).collect();
    let at = context.at_document(document);
    Some(Service {
        ports,
        endpoints,
        discovery: spec.endpoints.as_deref().and_then(discovery),
        subsets: weft_subsets(context, document, spec),
        ..Service::new(document.namespace(), document.name(), at, identity)
    })
}

/// The identity of workloads with a service account.
pub(super) fn identity(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    mesh: &Mesh,
    account: &str,
) -> Option<SpiffeId> {
    let made = SpiffeId::for_service_account(&mesh.trust_domain, document.namespace(), account);
    if let Err(error) = &made {
        let message = format!("`{account}` cannot be part of an identity: {error}");
        let finding = Diagnostic::error(INVALID_VALUE, message)
            .object(document.object())
            .at(document.metadata.name.span);
        context.report(finding);
    }
    made.ok()
}

fn weft_port(port: &Spanned<weft::Port>, mesh: &Mesh) -> Port {
    let number = port.port.value;
    let application = port.application.as_ref().map(|address| address.value.to_string());
    Port {
        name: port.name.value.clone(),
        number,
        protocol: port.protocol.value,
        target: number,
        application: application.unwrap_or_else(|| format!("127.0.0.1:{number}")),
        peer_tls: port.peer_tls.as_deref().copied().unwrap_or(mesh.default_peer_tls),
        span: port.span,
        server_tls: None,
        settings: None,
    }
}

/// Where addresses come from that are not written down. The port of a name is each port's own.
pub(super) fn discovery(endpoints: &weft::Endpoints) -> Option<Discovery> {
    let file = endpoints
        .file
        .as_deref()
        .map(|file| Discovery::File { path: file.path.value.clone(), labels: BTreeMap::new() });
    let dns = endpoints.dns.as_deref().map(|dns| match dns.record.as_deref() {
        Some(DnsRecord::SRV) => Discovery::DnsService { name: dns.name.value.clone() },
        Some(DnsRecord::A) | None => Discovery::Dns { host: dns.name.value.clone(), port: 0 },
    });
    dns.or(file)
}

pub(super) fn weft_endpoint(endpoint: &weft::StaticEndpoint) -> Endpoint {
    let ports = match endpoint.port.as_deref() {
        None => BTreeMap::new(),
        Some(EndpointPort::Number(number)) => BTreeMap::from([(String::new(), *number)]),
        Some(EndpointPort::ByName(numbers)) => {
            numbers.into_iter().map(|(name, number)| (name.value.clone(), number.value)).collect()
        }
    };
    Endpoint {
        address: endpoint.address.value,
        ports,
        labels: endpoint.labels.clone(),
        weight: endpoint.weight.as_deref().copied().unwrap_or(1),
        locality: endpoint.locality.as_ref().map(|locality| locality.value.clone()),
    }
}

fn weft_subsets(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &weft::Service,
) -> BTreeMap<String, Subset> {
    let mut subsets = BTreeMap::new();
    for subset in &spec.subsets {
        let at = context.at(document, subset.name.span, Some(subset.name.value.clone()));
        let made = Subset {
            at,
            labels: subset.labels.value.clone(),
            settings: Settings::default().shared(),
            ports: BTreeMap::new(),
        };
        add_subset(context, document, &mut subsets, &subset.name, made);
    }
    subsets
}

/// Adds a subset, or reports that its name is taken.
pub(super) fn add_subset(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    subsets: &mut BTreeMap<String, Subset>,
    name: &Spanned<String>,
    subset: Subset,
) {
    match subsets.entry(name.value.clone()) {
        std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(subset)),
        // Within one document it was reported while reading.
        std::collections::btree_map::Entry::Occupied(entry)
            if entry.get().at.origin.object == document.object() => {}
        std::collections::btree_map::Entry::Occupied(entry) => {
            let finding = Diagnostic::error("duplicate-object", format!("subset `{name}` is there twice"))
                .object(document.object())
                .at(name.span)
                .label("again here")
                .related(entry.get().at.span, "first here");
            context.report(finding);
        }
    }
}
