//! ServiceEntries with their WorkloadEntries and pods, into services: outside the mesh, or machines that are part of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_bundle::body::{Discovery, PeerTls};
use weft_bundle::spiffe::SpiffeId;

use super::super::pods::{PodSet, Pods};
use super::super::{Context, external, services};
use super::hosts;
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::service_entry::{EntryPort, Location, Resolution, ServiceEntry, WorkloadEntry};
use crate::dialect::{Kind, NOT_SUPPORTED, ParsedDocument};
use crate::model::{Endpoint, Mesh, Port, Service};
use crate::yaml::{INVALID_VALUE, Spanned};

/// Adds the services of all ServiceEntries.
pub(in crate::model::resolve) fn add(
    context: &mut Context<'_>,
    documents: &[&ParsedDocument],
    pods: &Pods<'_>,
    mesh: &Mesh,
    services: &mut BTreeMap<(String, String), Service>,
) {
    let mut workloads: BTreeMap<&str, Vec<&Spanned<WorkloadEntry>>> = BTreeMap::new();
    for document in documents {
        if let Kind::WorkloadEntry(entry) = &document.spec {
            workloads.entry(document.namespace()).or_default().push(entry);
        }
    }
    for document in documents {
        let Kind::ServiceEntry(spec) = &document.spec else { continue };
        let here = workloads.get(document.namespace()).map(Vec::as_slice).unwrap_or_default();
        let sets = selected_pods(document, spec, pods);
        let as_entries: Vec<Spanned<WorkloadEntry>> = sets.iter().map(|pods| as_entry(pods)).collect();
        let selected: Vec<&Spanned<WorkloadEntry>> = match &spec.workload_selector {
            Some(selector) => {
                let entries = here.iter().copied().filter(|entry| selector.selects(&entry.labels));
                entries.chain(&as_entries).collect()
            }
            None => spec.endpoints.iter().collect(),
        };
        let nobody = selected.is_empty() && !context.has_unread_workloads();
        if let (Some(selector), true) = (&spec.workload_selector, nobody) {
            let message = format!("no workload of namespace `{}` has these labels", document.namespace());
            let finding = Diagnostic::error("unknown-reference", message).object(document.object());
            let note = "looked at are WorkloadEntries, Pods, and Deployments and other kinds that make Pods";
            let finding = finding.at(selector.span).with_note(note);
            context.report(finding.help("add one, or list `endpoints`"));
        }
        for (name, hosts) in names(document, spec) {
            if let Some(mut service) = service(context, document, spec, &name, &hosts, &selected, mesh) {
                service.workloads = sets.iter().map(|pods| pods.workload()).collect();
                service.endpoints_later =
                    !sets.is_empty() && service.endpoints.is_empty() && service.discovery.is_none();
                host_twice(context, document, services.values(), &service);
                external::add(context, document, services, service);
            }
        }
    }
}

/// The pods that an entry selects.
fn selected_pods<'p, 'd>(
    document: &ParsedDocument,
    spec: &ServiceEntry,
    pods: &'p Pods<'d>,
) -> Vec<&'p PodSet<'d>> {
    match &spec.workload_selector {
        None => Vec::new(),
        Some(selector) if selector.labels.is_empty() => pods.in_namespace(document.namespace()).collect(),
        Some(selector) => pods.selected(document.namespace(), &selector.labels),
    }
}

/// Pods, as the WorkloadEntry that Istio takes each of them for. Those of a template have no address yet.
fn as_entry(pods: &PodSet<'_>) -> Spanned<WorkloadEntry> {
    let span = pods.account_span();
    let entry = WorkloadEntry {
        address: pods.address.map(|address| Spanned::new(address.to_string(), span)),
        labels: pods.labels.clone(),
        service_account: Some(Spanned::new(pods.account().to_owned(), span)),
        ..WorkloadEntry::default()
    };
    Spanned::new(entry, pods.document.metadata.name.span)
}

/// Reports a host and port that another document gives to the same callers.
fn host_twice<'s>(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    others: impl Iterator<Item = &'s Service>,
    service: &Service,
) {
    let together = |other: &Service| match (&other.visible_to, &service.visible_to) {
        (Some(other), Some(own)) => own.iter().any(|namespace| other.contains(namespace)),
        // One of a namespace of its own stands before one that all see.
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => other.namespace == service.namespace,
    };
    let shared = |other: &'s Service| {
        let host = other.hosts.iter().find(|host| service.hosts.contains(host))?;
        let port = other.ports.iter().any(|port| service.port(port.number).is_some());
        (port && other.id() != service.id() && together(other)).then_some((other, host))
    };
    let mut others = others;
    let Some((other, host)) = others.find_map(shared) else { return };
    let message = format!("`{}` has the host `{host}` on a common port too", other.at.origin.object);
    let finding = Diagnostic::error("duplicate-object", message)
        .object(document.object())
        .at(document.metadata.name.span)
        .label("again here")
        .related(other.at.span, "first here")
        .help("merge them, or show them to different namespaces by `exportTo`");
    context.report(finding);
}

/// The services of an entry: one, or, where each host is looked up by its own name, one for each.
fn names(document: &ParsedDocument, spec: &ServiceEntry) -> Vec<(String, Vec<String>)> {
    let hosts: Vec<String> = spec.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    let by_host = resolution(spec) == Resolution::Dns && spec.endpoints.is_empty() && hosts.len() > 1;
    match by_host {
        true => hosts.into_iter().map(|host| (format!("{}.{host}", document.name()), vec![host])).collect(),
        false => vec![(document.name().to_owned(), hosts)],
    }
}

fn resolution(spec: &ServiceEntry) -> Resolution {
    spec.resolution.map_or(Resolution::None, |resolution| resolution.value)
}

fn service(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &ServiceEntry,
    name: &str,
    hosts: &[String],
    workloads: &[&Spanned<WorkloadEntry>],
    mesh: &Mesh,
) -> Option<Service> {
    let external = spec.location.is_none_or(|location| location.value == Location::MeshExternal);
    let identity = match external {
        // It proves nothing by it, and nobody asks.
        true => services::identity(context, document, mesh, document.name())?,
        false => identity(context, document, spec, workloads, mesh)?,
    };
    let found = found_by_name(spec, hosts, workloads);
    let ports = spec.ports.iter().filter_map(|port| self::port(port, external, found, mesh));
    let mut ports: Vec<Port> = ports.collect();
    ports.sort_by_key(|port| port.number);
    ports.dedup_by_key(|port| port.number);
    let mut endpoints: Vec<Endpoint> = workloads.iter().filter_map(|workload| endpoint(workload)).collect();
    endpoints.sort();
    let mut hosts = hosts.to_vec();
    hosts.sort();
    let mut addresses: Vec<_> = spec.addresses.iter().map(|network| network.value.0).collect();
    addresses.sort();
    addresses.dedup();
    Some(Service {
        discovery: match resolution(spec) {
            Resolution::None => Some(Discovery::OriginalDestination),
            // The number is each port's own.
            Resolution::Dns => found.map(|(host, _)| Discovery::Dns { host: host.to_owned(), port: 0 }),
            Resolution::Static | Resolution::DnsRoundRobin | Resolution::DynamicDns => None,
        },
        external,
        ports,
        endpoints,
        hosts,
        addresses,
        subject_alt_names: spec.subject_alt_names.iter().map(|name| name.value.clone()).collect(),
        visible_to: hosts::namespaces(document, &spec.export_to),
        ..Service::new(document.namespace(), name, context.at_document(document), identity)
    })
}

/// The name that is looked up, and the workload that has it, if one has.
fn found_by_name<'s>(
    spec: &ServiceEntry,
    hosts: &'s [String],
    workloads: &[&'s Spanned<WorkloadEntry>],
) -> Option<(&'s str, Option<&'s WorkloadEntry>)> {
    if resolution(spec) != Resolution::Dns {
        return None;
    }
    if workloads.is_empty() {
        return hosts.first().map(|host| (host.as_str(), None));
    }
    let name = |workload: &&'s Spanned<WorkloadEntry>| {
        let address = workload.address.as_ref().filter(|address| address.parse::<IpAddr>().is_err())?;
        Some((address.value.as_str(), Some(&workload.value)))
    };
    workloads.iter().find_map(name)
}

fn port(
    written: &Spanned<EntryPort>,
    external: bool,
    found: Option<(&str, Option<&WorkloadEntry>)>,
    mesh: &Mesh,
) -> Option<Port> {
    let number = written.number.value;
    let own = found.and_then(|(_, workload)| workload?.ports.get(&written.name.value).copied());
    let target = own.or(written.target_port).map_or(number, |target| target.value);
    Some(Port {
        name: written.name.value.clone(),
        number,
        protocol: written.spoken()?,
        target,
        application: format!("127.0.0.1:{target}"),
        peer_tls: if external { PeerTls::Off } else { mesh.default_peer_tls },
        server_tls: None,
        settings: None,
        span: written.span,
    })
}

fn endpoint(workload: &Spanned<WorkloadEntry>) -> Option<Endpoint> {
    Some(Endpoint {
        address: workload.address.as_ref()?.parse().ok()?,
        ports: workload.ports.iter().map(|(name, number)| (name.value.clone(), number.value)).collect(),
        labels: workload.labels.clone(),
        weight: workload.weight.map_or(1, |weight| weight.value),
        locality: workload.locality.as_ref().map(|locality| locality.value.clone()),
    })
}

/// The one identity of workloads that are part of the mesh: `subjectAltNames`, else their service account.
fn identity(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &ServiceEntry,
    workloads: &[&Spanned<WorkloadEntry>],
    mesh: &Mesh,
) -> Option<SpiffeId> {
    if let Some(name) = spec.subject_alt_names.first() {
        if let Some(other) = spec.subject_alt_names.get(1) {
            several(context, document, other.span, name.span);
        }
        let parsed = name.parse().ok();
        if parsed.is_none() {
            let finding = Diagnostic::error(INVALID_VALUE, format!("`{name}` is not a SPIFFE id"));
            context.report(finding.object(document.object()).at(name.span));
        }
        return parsed;
    }
    let accounts = || workloads.iter().filter_map(|workload| workload.service_account.as_ref());
    let first = accounts().next();
    if let (Some(first), Some(other)) =
        (first, accounts().find(|account| first.is_some_and(|first| first.value != account.value)))
    {
        several(context, document, other.span, first.span);
    }
    let account = first.map_or(document.name(), |account| account);
    services::identity(context, document, mesh, account)
}

fn several(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    other: crate::yaml::Span,
    first: crate::yaml::Span,
) {
    let finding = Diagnostic::error(NOT_SUPPORTED, "the workloads of one service have several identities")
        .object(document.object())
        .at(other)
        .related(first, "the first one")
        .with_note("a caller accepts one identity of a service")
        .help("declare a service for each of them");
    context.report(finding);
}
