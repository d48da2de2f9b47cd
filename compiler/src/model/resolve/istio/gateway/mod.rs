//! Istio's Gateways, into gateways of the model.
//!
//! A Gateway of Istio names workloads by label, in any namespace, and gives them servers; several may name the same
//! workloads, which then have the servers of all. So it is the workloads that are a gateway here: those of each service that
//! is known to carry the labels. A Gateway whose workloads no document describes, or that names none, stands for itself: its
//! bundle has its own name, for whichever proxy asks for it.
//!
//! Gateways are made before any route is bound, as routes name them by place; their listeners depend on the hosts of
//! VirtualServices ([`listeners`]) and are made with those.

mod bind;
mod bound;
mod listeners;
mod servers;

use std::collections::BTreeMap;

pub(super) use self::bind::bind;
pub(super) use self::bound::{Asked, Bound};
pub(super) use self::listeners::Part;
use self::servers::Server;
use super::super::workloads::Workloads;
use super::super::{Context, gateway};
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::WorkloadSelector;
use crate::dialect::{Kind, NO_EFFECT, ParsedDocument, istio};
use crate::model::{Gateway, Mesh, ServiceIndex};
use crate::yaml::{Map, Spanned};

/// Namespace and name.
type Name<'d> = (&'d str, &'d str);

/// The servers of all Gateways.
#[derive(Default)]
pub(in crate::model::resolve) struct Gates<'d> {
    /// By the gateway that has them, then by document, then as listed.
    servers: Vec<Server<'d>>,
    /// Every Gateway of Istio, also one that nothing could be made of.
    documents: BTreeMap<Name<'d>, &'d ParsedDocument>,
    /// Gateways of the Gateway API, which VirtualServices cannot be bound to.
    others: BTreeMap<Name<'d>, &'d ParsedDocument>,
}

/// Adds the gateways that Istio's Gateways stand for, without listeners.
pub(in crate::model::resolve) fn add<'d>(
    context: &mut Context<'_>,
    documents: &[&'d ParsedDocument],
    mesh: &mut Mesh,
) -> Gates<'d> {
    let mut gates = Gates::default();
    for &document in documents {
        let name = (document.namespace(), document.name());
        match &document.spec {
            Kind::IstioGateway(_) => drop(gates.documents.insert(name, document)),
            Kind::Gateway(_) => drop(gates.others.insert(name, document)),
            _ => {}
        }
    }
    if gates.documents.is_empty() {
        return gates;
    }
    let workloads = Workloads::of(documents);
    let mut made: BTreeMap<(String, String), Gateway> = BTreeMap::new();
    for (&name, &document) in &gates.documents {
        let Kind::IstioGateway(spec) = &document.spec else { continue };
        for place in places(context, &workloads, document, spec, mesh) {
            let Some(new) = place.gateway(context, document, mesh) else { continue };
            let key = (new.namespace.clone(), new.name.clone());
            if let Some(other) = gates.others.get(&(key.0.as_str(), key.1.as_str())) {
                one_bundle(context, document, other, &new);
                continue;
            }
            let gateway = made.entry(key.clone()).or_insert(new);
            gateway.declared_by.push((name.0.to_owned(), name.1.to_owned()));
            let servers = spec.servers.iter().filter_map(|written| {
                let tls = servers::tls(context, document, written, &key.0)?;
                Some(Server { document, written, gateway: key.clone(), tls })
            });
            gates.servers.extend(servers);
        }
    }
    gates.servers.sort_by(|a, b| a.gateway.cmp(&b.gateway));
    gates.servers = servers::without_clashes(context, std::mem::take(&mut gates.servers));
    mesh.gateways.extend(made.into_values());
    gates
}

/// Which workloads a Gateway is for.
enum Place {
    /// Those of a service.
    Service(ServiceIndex),
    /// Those that ask for it, with these labels.
    Itself(Spanned<WorkloadSelector>),
}

fn places(
    context: &mut Context<'_>,
    workloads: &Workloads<'_>,
    document: &ParsedDocument,
    spec: &Spanned<istio::Gateway>,
    mesh: &Mesh,
) -> Vec<Place> {
    let nothing = Spanned::new(Map::default(), document.metadata.name.span);
    let written = spec.selector.as_ref().unwrap_or(&nothing);
    let selector = Spanned::new(WorkloadSelector { match_labels: written.value.clone() }, written.span);
    let same_name = mesh.find(document.namespace(), document.name());
    if selector.match_labels.is_empty() {
        return vec![same_name.map_or(Place::Itself(selector), Place::Service)];
    }
    let known = workloads.known(context, document, mesh, &selector);
    if !known.is_empty() {
        return known.into_iter().map(Place::Service).collect();
    }
    match same_name {
        Some(index) => not_those(context, document, &selector, mesh, index),
        None => {
            nobody_known(context, document, &selector);
            return vec![Place::Itself(selector)];
        }
    }
    Vec::new()
}

impl Place {
    fn gateway(self, context: &mut Context<'_>, document: &ParsedDocument, mesh: &Mesh) -> Option<Gateway> {
        let at = context.at(document, document.metadata.name.span, None);
        let gateway = |namespace: &str, name: &str, identity| Gateway {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            at,
            identity,
            service: None,
            declared_by: Vec::new(),
            labels: BTreeMap::new(),
            listeners: Vec::new(),
            client_certificate: None,
        };
        Some(match self {
            Self::Service(index) => {
                let service = mesh.service(index);
                let made = gateway(&service.namespace, &service.name, service.identity.clone());
                Gateway { service: Some(index), ..made }
            }
            Self::Itself(selector) => {
                let identity = gateway::identity(context, document, mesh)?;
                let labels = selector.match_labels.iter();
                let labels = labels.map(|(key, value)| (key.value.clone(), value.value.clone())).collect();
                Gateway { labels, ..gateway(document.namespace(), document.name(), identity) }
            }
        })
    }
}

fn shown(selector: &WorkloadSelector) -> String {
    let labels = selector.match_labels.iter().map(|(key, value)| format!("`{key}: {value}`"));
    labels.collect::<Vec<_>>().join(", ")
}

/// Says that the selector finds nothing, so that the Gateway has a bundle of its own.
fn nobody_known(context: &mut Context<'_>, document: &ParsedDocument, selector: &Spanned<WorkloadSelector>) {
    if context.has_unread_workloads() {
        return;
    }
    let message = format!("no workload here is known to have the labels {}", shown(selector));
    let finding = Diagnostic::warning(NO_EFFECT, message)
        .object(document.object())
        .at(selector.span)
        .with_note(format!(
            "so the gateway has a bundle of its own, `{}/{}`, for whichever proxy is started with that name; policies for \
             workloads with other labels are not for it",
            document.namespace(),
            document.name()
        ))
        .help(
            "declare the service that its workloads are, with these labels on its endpoints; Gateways with one selector \
             then share its bundle",
        );
    context.report(finding);
}

fn not_those(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    selector: &Spanned<WorkloadSelector>,
    mesh: &Mesh,
    index: ServiceIndex,
) {
    let service = mesh.service(index);
    let message = format!(
        "no workload here is known to have the labels {}, and the Gateway's own name is that of a service",
        shown(selector)
    );
    let finding = Diagnostic::error("duplicate-object", message)
        .object(document.object())
        .at(selector.span)
        .related(service.at.span, "the service")
        .with_note(format!("there is one bundle called `{}`", service.id()))
        .help("rename the Gateway, or declare the service that its workloads are, with these labels");
    context.report(finding);
}

/// Reports a Gateway of Istio and one of the Gateway API for the same workloads.
fn one_bundle(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    other: &ParsedDocument,
    gateway: &Gateway,
) {
    let message = format!("`{other}` of {} is the gateway `{}` too", other.api_version.value, gateway.id());
    let finding = Diagnostic::error("duplicate-object", message)
        .object(document.object())
        .at(document.metadata.name.span)
        .label("again here")
        .related(other.metadata.name.span, "first here")
        .with_note("there is one bundle of that name, and the servers of one are not merged with the listeners of the other")
        .help("rename one of them");
    context.report(finding);
}
