//! # What it finds
//! Two services that answer to one host name, or one pattern of names, on one port, for the same callers; and two servers of
//! Istio's Gateways for one workload that end TLS for one name on one port. A name of the mesh, such as `cart.shop.svc`,
//! counts too.
//! A pattern that contains the name of another service is `host-overlap`: there the more specific one decides. Listeners of
//! the Gateway API that cannot be told apart are `invalid-value`.
//!
//! # Why it matters
//! Only one of them can have the requests, and nothing in the documents says which.
//!
//! # Example
//! ```yaml
//! kind: ServiceEntry
//! metadata: { name: payments, namespace: shop }
//! spec: { hosts: [ api.pay.example ], ports: [ { number: 443, … } ] }
//! ---
//! kind: ServiceEntry
//! metadata: { name: pay, namespace: billing }
//! spec: { hosts: [ api.pay.example ], ports: [ { number: 443, … } ] }
//! ```
//!
//! # Fix
//! Keep one of them, or limit each to the namespaces that it is for.
//!
//! # References
//! istioctl IST0145 (conflicting gateways); Istio, ServiceEntry.exportTo.

use std::collections::BTreeMap;

use weft_bundle::engine::HostPattern;

use crate::diagnostic::Diagnostic;
use crate::model::{At, Gateway, GatewayListener, Mesh, Service};

/// One finding per pair of services or listeners.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut found = services(mesh);
    found.extend(mesh.gateways.iter().flat_map(listeners));
    found
}

/// Cost: one look-up per name that a document gives a service, and one per service that has such a name.
fn services(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut owners: BTreeMap<&str, Vec<&Service>> = BTreeMap::new();
    let mut found = Vec::new();
    for service in &mesh.services {
        for host in &service.hosts {
            let others = owners.entry(host).or_default();
            let mesh_name = named(mesh, host).filter(|named| named.id() != service.id());
            let rival = others
                .iter()
                .copied()
                .chain(mesh_name)
                .find_map(|other| Some((other, rivals(other, service)?)));
            if let Some((other, port)) = rival {
                found.push(report(other, service, host, port));
            }
            others.push(service);
        }
    }
    found
}

/// The service of the mesh that has that name without any document's doing.
fn named<'m>(mesh: &'m Mesh, host: &str) -> Option<&'m Service> {
    let name = host.strip_suffix(".svc.cluster.local").or_else(|| host.strip_suffix(".svc")).unwrap_or(host);
    let (name, namespace) = name.split_once('.')?;
    let service = mesh.find(namespace, name).map(|index| mesh.service(index))?;
    (!service.external).then_some(service)
}

/// A port that both have, for callers who see both.
fn rivals(a: &Service, b: &Service) -> Option<u16> {
    let together = match (&a.visible_to, &b.visible_to) {
        (Some(a), Some(b)) => a.iter().any(|namespace| b.contains(namespace)),
        _ => true,
    };
    let shared = a.ports.iter().find(|port| b.port(port.number).is_some());
    shared.filter(|_| together).map(|port| port.number)
}

fn report(first: &Service, second: &Service, host: &str, port: u16) -> Diagnostic {
    let (a, b) = (first.id(), second.id());
    let message =
        format!("`{b}` and `{a}` both answer to `{host}` on port {port}, and nothing says which one does");
    Diagnostic::error("conflicting-hosts", message)
        .object(second.at.origin.object.clone())
        .at(second.at.span)
        .label(format!("`{host}` is claimed here"))
        .related(first.at.span, "and here")
        .help("keep one of them, or limit each to the namespaces that it is for")
}

/// Only servers that end TLS have listeners each to themselves; whatever else shares a port is made one before, or refused.
fn listeners(gateway: &Gateway) -> Vec<Diagnostic> {
    let mut owners: BTreeMap<(u16, String), &GatewayListener> = BTreeMap::new();
    let mut found = Vec::new();
    for listener in &gateway.listeners {
        for host in &listener.hosts {
            match owners.entry((listener.port, host.to_string())) {
                std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(listener)),
                std::collections::btree_map::Entry::Occupied(entry) if entry.get().name != listener.name => {
                    found.push(listener_report(gateway, entry.get(), listener, host));
                }
                std::collections::btree_map::Entry::Occupied(_) => {}
            }
        }
    }
    found
}

fn listener_report(
    gateway: &Gateway,
    first: &GatewayListener,
    second: &GatewayListener,
    host: &HostPattern,
) -> Diagnostic {
    let At { origin, .. } = &second.at;
    let names = match host {
        HostPattern::Any => "every name".to_owned(),
        host => format!("`{host}`"),
    };
    let message = format!(
        "listeners `{}` and `{}` of `{}` both take {names} on port {}",
        second.name,
        first.name,
        gateway.id(),
        second.port
    );
    Diagnostic::error("conflicting-hosts", message)
        .object(origin.object.clone())
        .at(second.span)
        .label("claimed here")
        .related(first.span, "and here")
        .help("give them different host names or ports, or make them one listener")
}
