//! Kubernetes' Services, with what the documents say of their workloads: EndpointSlices, and pods (`pods`).
//!
//! A service has the identity of its workloads' account; without workloads in the documents, one with the service's own
//! name. Its endpoints are those of its EndpointSlices, else the Pods that have an address. A Service without either is
//! served where it runs, and these documents do not say by what.

use std::collections::BTreeMap;

use weft_bundle::body::{PeerTls, Protocol};

use super::pods::{self, PodSet, Pods};
use super::{Context, gateway, services};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::dialect::kubernetes::workload::ContainerPort;
use crate::dialect::kubernetes::{self, EndpointSlice, SERVICE_NAME_LABEL, ServicePort};
use crate::dialect::weft::PortRef;
use crate::dialect::{Kind, NOT_SUPPORTED, ParsedDocument};
use crate::model::{Endpoint, Mesh, Port, Service};
use crate::yaml::{Span, Spanned};

/// What is known of the workloads of a Service.
struct Behind<'p, 'd> {
    slices: &'p [&'d EndpointSlice],
    pods: Vec<&'p PodSet<'d>>,
    /// Whether a route of datagrams is attached to it.
    datagrams: bool,
    /// Whether its endpoints, if it has none here, are found where it runs.
    later: bool,
}

/// What a Weft Service says of the identity of its workloads.
enum Said {
    Identity,
    Account(Span),
    Nothing,
}

/// Adds the Services of Kubernetes to those of Weft.
pub(super) fn resolve<'d>(
    context: &mut Context<'_>,
    documents: &[&'d ParsedDocument],
    pods: &Pods<'d>,
    mesh: &Mesh,
    services: &mut BTreeMap<(String, String), Service>,
) {
    let slices = slices_by_service(documents);
    // Slices that somebody wrote for a Service without a selector say nothing of the others.
    let exported = documents.iter().any(|document| match &document.spec {
        Kind::KubeService(spec) => {
            let key = (document.namespace().to_owned(), document.name().to_owned());
            !spec.selector.is_empty() && slices.contains_key(&key)
        }
        _ => false,
    });
    let datagrams = gateway::datagram_services(documents);
    let said = said_by_weft(documents);
    for document in documents {
        let key = (document.namespace().to_owned(), document.name().to_owned());
        let Kind::KubeService(spec) = &document.spec else { continue };
        if spec.external_name.is_some() {
            continue;
        }
        let own = slices.get(&key).map(Vec::as_slice).unwrap_or_default();
        let selected = pods.selected(document.namespace(), &spec.selector);
        // A cluster whose EndpointSlices are here has no other endpoints, except for what it does not run yet.
        let known = exported && selected.is_empty();
        let behind = Behind {
            slices: own,
            later: own.is_empty() && !spec.selector.is_empty() && !known,
            pods: selected,
            datagrams: datagrams.contains(&key),
        };
        let Some(made) = kube_service(context, document, spec, &behind, pods, mesh) else { continue };
        match services.get_mut(&key) {
            None => drop(services.insert(key, made)),
            Some(service) => {
                let said = said.get(&(document.namespace(), document.name())).unwrap_or(&Said::Nothing);
                join(context, document, service, made, (said, &behind));
            }
        }
    }
}

fn said_by_weft<'d>(documents: &[&'d ParsedDocument]) -> BTreeMap<(&'d str, &'d str), Said> {
    let said = documents.iter().filter_map(|document| {
        let Kind::Service(spec) = &document.spec else { return None };
        let said = match (&spec.identity, &spec.service_account) {
            (Some(_), _) => Said::Identity,
            (None, Some(account)) => Said::Account(account.span),
            (None, None) => Said::Nothing,
        };
        Some(((document.namespace(), document.name()), said))
    });
    said.collect()
}

/// Adds what Kubernetes knows of a service that Weft describes.
fn join(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    service: &mut Service,
    made: Service,
    (said, behind): (&Said, &Behind<'_, '_>),
) {
    service.endpoints_later =
        made.endpoints_later && service.endpoints.is_empty() && service.discovery.is_none();
    service.endpoints.extend(made.endpoints);
    service.labels.extend(made.labels);
    service.workloads = made.workloads;
    let Some(first) = behind.pods.first() else { return };
    match said {
        Said::Nothing => service.identity = made.identity,
        Said::Account(span) if service.identity != made.identity => {
            let message = format!("the workloads of `{}` run as another account", service.id());
            let finding = Diagnostic::error("conflicting-settings", message)
                .object(service.at.origin.object.clone())
                .at(*span)
                .related(first.account_span(), format!("`{}` runs as `{}`", first.document, first.account()))
                .with_note(format!("`{document}` selects them"))
                .help("remove `serviceAccount`; the account of the workloads holds then");
            context.report(finding);
        }
        Said::Account(_) | Said::Identity => {}
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
fn slice_endpoints<'p>(
    slice: &'p EndpointSlice,
    namespace: &'p str,
    pods: &'p Pods<'_>,
) -> impl Iterator<Item = Endpoint> + use<'p> {
    let named = |port: &Spanned<kubernetes::EndpointPort>| {
        let name = port.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
        Some((name, port.port.as_ref()?.value))
    };
    let ports: BTreeMap<String, u16> = slice.ports.iter().filter_map(named).collect();
    let ready = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready != Some(false));
    ready.filter_map(move |endpoint| {
        let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
        let pod = pod.and_then(|pod| pods.labels_of(namespace, pod.name.as_deref()?));
        Some(Endpoint {
            address: endpoint.addresses.first()?.value,
            ports: ports.clone(),
            labels: pod.cloned().unwrap_or_default(),
            weight: 1,
            locality: endpoint.zone.as_ref().map(|zone| zone.value.clone()),
        })
    })
}

/// The Pods that have an address, where no EndpointSlice says which do.
fn pod_endpoints(spec: &kubernetes::Service, pods: &[&PodSet<'_>]) -> Vec<Endpoint> {
    let found = pods.iter().filter_map(|pod| {
        let number = |port: &Spanned<ServicePort>| {
            let Some(PortRef::Name(target)) = port.target_port.as_deref() else { return None };
            let number = pod.port(target, transport(port))?.container_port.value;
            Some((port_name(port), number))
        };
        Some(Endpoint {
            address: pod.address?,
            ports: spec.ports.iter().filter_map(number).collect(),
            labels: pod.labels.clone(),
            weight: 1,
            locality: None,
        })
    });
    found.collect()
}

fn kube_service(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &kubernetes::Service,
    behind: &Behind<'_, '_>,
    pods: &Pods<'_>,
    mesh: &Mesh,
) -> Option<Service> {
    let of = |wanted: &'static str| spec.ports.iter().filter(move |port| transport(port) == wanted);
    // A number stands for one port; where connections and datagrams share one, it is that of connections.
    let free = |port: &&Spanned<ServicePort>| of("TCP").all(|other| other.port.value != port.port.value);
    let udp = of("UDP").filter(|_| behind.datagrams).filter(free);
    let ports: Vec<Port> = of("TCP")
        .chain(udp)
        .map(|port| kube_port(context, document, port, behind, mesh.default_peer_tls))
        .collect();
    one_protocol_per_target(context, document, &ports);
    let account = pods::account(context, document, &behind.pods).unwrap_or(document.name());
    let identity = services::identity(context, document, mesh, account)?;
    let namespace = document.namespace();
    let sliced = behind.slices.iter().flat_map(|slice| slice_endpoints(slice, namespace, pods));
    let endpoints: Vec<Endpoint> = match behind.slices {
        [] => pod_endpoints(spec, &behind.pods),
        _ => sliced.collect(),
    };
    Some(Service {
        ports,
        endpoints_later: behind.later && endpoints.is_empty(),
        endpoints,
        labels: spec.selector.clone(),
        workloads: behind.pods.iter().map(|pods| pods.workload()).collect(),
        ..Service::new(namespace, document.name(), context.at_document(document), identity)
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
    behind: &Behind<'_, '_>,
    peer_tls: PeerTls,
) -> Port {
    let number = port.port.value;
    let target = match port.target_port.as_deref() {
        Some(PortRef::Number(target)) => *target,
        Some(PortRef::Name(target)) => in_slices(behind.slices, port)
            .or_else(|| in_pods(context, document, port, target, &behind.pods))
            .unwrap_or(number),
        None => number,
    };
    if !matches!(port.target_port.as_deref(), Some(PortRef::Name(_))) {
        nobody_listens(context, document, port, target, &behind.pods);
    }
    let protocol = kube_protocol(port);
    Port {
        protocol,
        name: port_name(port),
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

/// The name of a port; its number if it has none.
fn port_name(port: &ServicePort) -> String {
    let written = port.name.as_ref().filter(|name| !name.is_empty());
    written.map_or_else(|| port.port.value.to_string(), |name| name.value.clone())
}

/// `TCP`, `UDP` or `SCTP`.
fn transport(port: &ServicePort) -> &str {
    port.protocol.as_deref().map_or("TCP", String::as_str)
}

fn target_span(port: &Spanned<ServicePort>) -> Span {
    port.target_port.as_ref().map_or(port.span, |target| target.span)
}

/// The number that EndpointSlices give a port of their Service.
fn in_slices(slices: &[&EndpointSlice], port: &ServicePort) -> Option<u16> {
    let name = port.name.as_deref().map_or("", String::as_str);
    let ports = slices.iter().flat_map(|slice| &slice.ports);
    let same =
        |other: &&Spanned<kubernetes::EndpointPort>| other.name.as_deref().map_or("", String::as_str) == name;
    ports.filter(same).find_map(|other| other.port.as_deref().copied())
}

/// The number that all workloads give a port of that name; a finding if there is none, or they differ.
fn in_pods(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    port: &Spanned<ServicePort>,
    target: &str,
    pods: &[&PodSet<'_>],
) -> Option<u16> {
    let of = |pods: &&PodSet<'_>| Some(pods.port(target, transport(port))?.container_port);
    let mut numbers = pods.iter().filter_map(of);
    let Some(first) = numbers.next() else {
        no_such_name(context, document, port, target, pods);
        return None;
    };
    if let Some(other) = numbers.find(|other| other.value != first.value) {
        let message = format!("the workloads' port `{target}` has several numbers");
        let finding = Diagnostic::error(NOT_SUPPORTED, message)
            .object(document.object())
            .at(target_span(port))
            .related(first.span, format!("{first} here"))
            .related(other.span, format!("{other} here"))
            .with_note(
                "one bundle serves all workloads of a service, and each port of it has one number there",
            )
            .help("give them one number, or a Service each");
        context.report(finding);
    }
    Some(first.value)
}

fn no_such_name(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    port: &Spanned<ServicePort>,
    target: &str,
    pods: &[&PodSet<'_>],
) {
    let finding = match pods.first() {
        None if context.has_unread_workloads() => return,
        None => {
            let message = format!("the number of the workloads' port `{target}` is not known");
            Diagnostic::error("unknown-reference", message)
                .label("no EndpointSlice of this service has it")
                .help("write the number, or add the service's EndpointSlices or its workloads")
        }
        Some(first) => {
            let speaking = |other: &&Spanned<ContainerPort>| other.speaks(transport(port));
            let ports = || pods.iter().flat_map(|pods| pods.spec.ports());
            let known = ports().filter(speaking).filter_map(|port| Some(port.name.as_ref()?.as_str()));
            let known: Vec<&str> = known.collect();
            let near = did_you_mean(target, known);
            let message =
                format!("no workload of this service has a {} port called `{target}`", transport(port));
            let finding = Diagnostic::error("unknown-reference", message)
                .label("not found")
                .maybe_help(near.map(|near| format!("did you mean `{near}`?")));
            let other = ports().find_map(|port| port.name.as_ref().filter(|name| name.value == target));
            match other {
                Some(other) => finding.related(other.span, "this one is of another protocol"),
                None => finding
                    .related(first.document.metadata.name.span, format!("`{}` has none", first.document)),
            }
        }
    };
    context.report(finding.object(document.object()).at(target_span(port)));
}

/// Reports a number that no container declares although it declares others. A container may listen without saying so,
/// which is why this is no error.
fn nobody_listens(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    port: &Spanned<ServicePort>,
    target: u16,
    pods: &[&PodSet<'_>],
) {
    let declares = |pods: &PodSet<'_>| {
        let mut ports = pods.spec.ports().filter(|other| other.speaks(transport(port))).peekable();
        ports.peek().is_some() && ports.all(|other| other.container_port.value != target)
    };
    let Some(other) = pods.iter().find(|pods| declares(pods)) else { return };
    let declared: Vec<String> = other.spec.ports().map(|port| format!("`{}`", port.container_port)).collect();
    let message = format!("no container of `{}` declares port {target}", other.document);
    let finding = Diagnostic::warning("unknown-reference", message)
        .object(document.object())
        .at(target_span(port))
        .related(other.document.metadata.name.span, format!("it declares {}", declared.join(", ")))
        .help("correct `targetPort`, or add the port to the container");
    context.report(finding);
}

/// What `appProtocol` says, else what the name begins with (Istio's convention), else opaque: never guessed.
fn kube_protocol(port: &ServicePort) -> Protocol {
    let name = port.name.as_deref().map_or("", String::as_str);
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
