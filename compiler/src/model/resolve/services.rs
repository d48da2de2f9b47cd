//! Services: Weft's own, and Kubernetes' with their EndpointSlices.
//!
//! A Weft Service and a Kubernetes Service of one name are one service: what the Weft document says holds, and the
//! endpoints of both count.

use std::collections::BTreeMap;

use weft_bundle::body::{Discovery, PeerTls, Protocol};
use weft_bundle::spiffe::SpiffeId;

use super::{Context, external, gateway, istio};
use crate::diagnostic::Diagnostic;
use crate::dialect::kubernetes::{self, EndpointSlice, SERVICE_NAME_LABEL, ServicePort};
use crate::dialect::weft::{self, DnsRecord, EndpointPort, PortRef};
use crate::dialect::{Kind, NOT_SUPPORTED, ParsedDocument};
use crate::model::{Call, Endpoint, Mesh, Port, Service, Settings, Subset};
use crate::yaml::INVALID_VALUE;
use crate::yaml::Spanned;

/// All services, sorted by namespace and name; their calls are still to be bound.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &Mesh) -> Vec<Service> {
    let slices = slices_by_service(documents);
    let datagrams = gateway::datagram_services(documents);
    let mut services: BTreeMap<(String, String), Service> = BTreeMap::new();
    for document in documents {
        let key = (document.namespace().to_owned(), document.name().to_owned());
        if let Kind::Service(spec) = &document.spec
            && let Some(service) = weft_service(context, document, spec, mesh)
        {
            services.insert(key, service);
        }
    }
    for document in documents {
        let key = (document.namespace().to_owned(), document.name().to_owned());
        if let Kind::KubeService(spec) = &document.spec
            && spec.external_name.is_none()
        {
            let found = slices.get(&key).map(Vec::as_slice).unwrap_or_default();
            let endpoints = found.iter().flat_map(|slice| slice_endpoints(slice));
            match services.get_mut(&key) {
                Some(service) => {
                    service.endpoints.extend(endpoints);
                    service.labels.extend(spec.selector.clone());
                }
                None => {
                    let endpoints = endpoints.collect();
                    services.extend(
                        kube_service(
                            context,
                            document,
                            spec,
                            (found, datagrams.contains(&key)),
                            endpoints,
                            mesh,
                        )
                        .map(|s| (key, s)),
                    );
                }
            }
        }
    }
    external::resolve(context, documents, mesh, &mut services);
    istio::service_entry::add(context, documents, mesh, &mut services);
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
            settings: Settings::default(),
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

type Slices<'d> = BTreeMap<(String, String), Vec<&'d EndpointSlice>>;

fn slices_by_service<'d>(documents: &[&'d ParsedDocument]) -> Slices<'d> {
    let mut slices: Slices<'d> = BTreeMap::new();
    for document in documents {
        if let Kind::EndpointSlice(slice) = &document.spec
            && let Some(service) = document.metadata.labels.get(SERVICE_NAME_LABEL)
        {
            slices.entry((document.namespace().to_owned(), service.clone())).or_default().push(slice);
        }
    }
    slices
}

/// Endpoints that may be called; `ready` unset counts as ready.
fn slice_endpoints(slice: &EndpointSlice) -> impl Iterator<Item = Endpoint> {
    let named = |port: &Spanned<kubernetes::EndpointPort>| {
        let name = port.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
        Some((name, port.port.as_ref()?.value))
    };
    let ports: BTreeMap<String, u16> = slice.ports.iter().filter_map(named).collect();
    let ready = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready != Some(false));
    ready.filter_map(move |endpoint| {
        Some(Endpoint {
            address: endpoint.addresses.first()?.value,
            ports: ports.clone(),
            labels: BTreeMap::new(),
            weight: 1,
            locality: endpoint.zone.as_ref().map(|zone| zone.value.clone()),
        })
    })
}

fn kube_service(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &kubernetes::Service,
    (slices, datagrams): (&[&EndpointSlice], bool),
    endpoints: Vec<Endpoint>,
    mesh: &Mesh,
) -> Option<Service> {
    let of = |wanted: &'static str| {
        spec.ports.iter().filter(move |port| {
            port.protocol.as_deref().map_or("TCP", |protocol| protocol.as_str()) == wanted
        })
    };
    // A number stands for one port; where connections and datagrams share one, it is that of connections.
    let free = |port: &&Spanned<ServicePort>| of("TCP").all(|other| other.port.value != port.port.value);
    let udp = of("UDP").filter(|_| datagrams).filter(free);
    let ports: Vec<Port> = of("TCP")
        .chain(udp)
        .map(|port| kube_port(context, document, port, slices, mesh.default_peer_tls))
        .collect();
    one_protocol_per_target(context, document, &ports);
    let (at, identity) = (context.at_document(document), identity(context, document, mesh, document.name())?);
    Some(Service {
        ports,
        endpoints,
        labels: spec.selector.clone(),
        ..Service::new(document.namespace(), document.name(), at, identity)
    })
}

/// Two ports may lead to one port of the workloads, which then cannot tell them apart.
fn one_protocol_per_target(context: &mut Context<'_>, document: &ParsedDocument, ports: &[Port]) {
    for (place, port) in ports.iter().enumerate() {
        let twin = ports
            .iter()
            .take(place)
            .find(|other| other.target == port.target && other.protocol != port.protocol);
        if let Some(twin) = twin {
            let message = format!(
                "ports `{}` and `{}` lead to one port, {}, but are to speak {} and {}",
                twin.name,
                port.name,
                port.target,
                twin.protocol.as_str(),
                port.protocol.as_str()
            );
            let finding = Diagnostic::error(NOT_SUPPORTED, message)
                .object(document.object())
                .at(port.span)
                .related(twin.span, "the other one")
                .help("set the same `appProtocol` on both, or a `targetPort` of its own");
            context.report(finding);
        }
    }
}

fn kube_port(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    port: &Spanned<ServicePort>,
    slices: &[&EndpointSlice],
    peer_tls: PeerTls,
) -> Port {
    let number = port.port.value;
    let name = port.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
    let in_slices = || {
        let ports = slices.iter().flat_map(|slice| &slice.ports);
        let same = |other: &&Spanned<kubernetes::EndpointPort>| {
            other.name.as_deref().map_or("", String::as_str) == name
        };
        ports.filter(same).find_map(|other| other.port.as_deref().copied())
    };
    let target = match port.target_port.as_deref() {
        Some(PortRef::Number(target)) => *target,
        Some(PortRef::Name(target)) => in_slices().unwrap_or_else(|| {
            let finding = Diagnostic::error(
                "unknown-reference",
                format!("the number of the workloads' port `{target}` is not known"),
            )
            .object(document.object())
            .at(port.target_port.as_ref().map_or(port.span, |target| target.span))
            .label("no EndpointSlice of this service has it")
            .help("write the number, or add the service's EndpointSlices");
            context.report(finding);
            number
        }),
        None => number,
    };
    let protocol = kube_protocol(port, &name);
    Port {
        protocol,
        name: if name.is_empty() { number.to_string() } else { name },
        number,
        target,
        application: format!("127.0.0.1:{target}"),
        // Datagrams travel as they are; there is no TLS of ours around them.
        peer_tls: if protocol == Protocol::Udp { PeerTls::Off } else { peer_tls },
        span: port.span,
        server_tls: None,
        settings: None,
    }
}

/// What `appProtocol` says, else what the name begins with (Istio's convention), else opaque: never guessed.
fn kube_protocol(port: &ServicePort, name: &str) -> Protocol {
    if port.protocol.as_deref().is_some_and(|protocol| protocol == "UDP") {
        return Protocol::Udp;
    }
    let declared = port.app_protocol.as_deref().map(String::as_str);
    match declared.unwrap_or_else(|| name.split('-').next().unwrap_or_default()) {
        "http" | "HTTP" | "kubernetes.io/ws" => Protocol::Http,
        "http2" | "h2c" | "kubernetes.io/h2c" => Protocol::Http2,
        "grpc" => Protocol::Grpc,
        "tls" | "https" | "HTTPS" => Protocol::Tls,
        _ => Protocol::Tcp,
    }
}
