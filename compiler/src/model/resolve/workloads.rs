//! Which services and gateways a policy of Istio is for: Istio names workloads by label, and a bundle is for all
//! workloads of a service.
//!
//! What is known of a workload's labels: those of the Deployment, Job, Pod or what else it is, those of its
//! endpoint, and those that its service names for all of them, which are the `selector` of a Kubernetes Service and the
//! `metadata.labels` of a Weft Service. A pod behind a Kubernetes Service may have more, so a label that its `selector`
//! does not name is *not known*, unless the documents have its workloads, or the endpoint says so.
//! A gateway has the label that Istio gives its pods, or those by which its Gateways select it, and those of the service
//! that it is.
//!
//! A selector that takes some workloads of a service and leaves others is an error: one bundle serves them all.

use std::collections::BTreeMap;

use super::Context;
use super::pods::{PodSet, Pods};
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::{ReferredKind, TargetReference, WorkloadSelector};
use crate::dialect::{Kind, NOT_SUPPORTED, ParsedDocument};
use crate::model::{Gateway, GatewayIndex, Mesh, Service, ServiceIndex, is_added_later};
use crate::yaml::{Span, Spanned};

type Labels = BTreeMap<String, String>;

/// The labels of workloads.
pub(super) struct Workloads<'d> {
    /// Those that a service names for all of its workloads, by namespace and name of the service, with whether a workload
    /// may have more.
    common: BTreeMap<(String, String), (Labels, bool)>,
    pods: Pods<'d>,
}

/// What a policy is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) services: Vec<ServiceIndex>,
    pub(super) gateways: Vec<GatewayIndex>,
}

/// The namespaces that a policy reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach<'n> {
    Mesh,
    Namespace(&'n str),
}

impl<'n> Reach<'n> {
    /// Those of a document: all of them if it lies in the root namespace.
    pub(super) fn of(mesh: &Mesh, document: &'n ParsedDocument) -> Self {
        match document.namespace() {
            root if root == mesh.root_namespace => Self::Mesh,
            namespace => Self::Namespace(namespace),
        }
    }

    fn includes(self, namespace: &str) -> bool {
        match self {
            Self::Mesh => true,
            Self::Namespace(own) => own == namespace,
        }
    }
}

/// Whether workloads have the labels of a selector.
enum Match {
    All,
    None,
    /// Some do and some do not: an address of each.
    Part(String, String),
    /// It depends on this label, of which nothing is known.
    Unknown(String),
}

impl<'d> Workloads<'d> {
    pub(super) fn of(documents: &[&'d ParsedDocument]) -> Self {
        let mut common = BTreeMap::new();
        for document in documents {
            let key = (document.namespace().to_owned(), document.name().to_owned());
            match &document.spec {
                // Both may describe one service, and what each says of its workloads holds.
                Kind::KubeService(spec) => {
                    let (labels, open) = common.entry(key).or_insert_with(|| (Labels::new(), false));
                    labels.extend(spec.selector.clone());
                    *open = true;
                }
                Kind::Service(_) => {
                    let (labels, _) = common.entry(key).or_insert_with(|| (Labels::new(), false));
                    for (key, value) in &document.metadata.labels {
                        labels.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
                _ => {}
            }
        }
        Self { common, pods: Pods::of(documents) }
    }

    /// The workloads with the labels of a selector, in the namespaces that a policy reaches; all of them without one.
    /// That there are none is a finding.
    pub(super) fn select(
        &self,
        context: &mut Context<'_>,
        document: &ParsedDocument,
        mesh: &Mesh,
        reach: Reach<'_>,
        selector: Option<&Spanned<WorkloadSelector>>,
    ) -> Selected {
        let wanted: Vec<(&str, &str)> = selector.map(|s| labels(s)).unwrap_or_default();
        let mut selected = Selected::default();
        let (mut unsure, mut parted, mut gateway_unsure) = (Vec::new(), false, None);
        for (index, service) in mesh.indexed().filter(|(_, s)| !s.external && reach.includes(&s.namespace)) {
            match self.matches(service, &wanted) {
                Match::All => selected.services.push(index),
                Match::None => {}
                Match::Part(inside, outside) => {
                    parted = true;
                    if let Some(selector) = selector {
                        context.part(document, selector, service, &inside, &outside);
                    }
                }
                Match::Unknown(label) => unsure.push((service, label)),
            }
        }
        for (place, gateway) in mesh.gateways.iter().enumerate() {
            if !reach.includes(&gateway.namespace) {
                continue;
            }
            match (self.is_of_gateway(mesh, gateway, &wanted), selector) {
                (Some(true), _) => selected.gateways.push(GatewayIndex(place)),
                (None, Some(selector)) => match self.perhaps_its(mesh, reach, gateway, &wanted) {
                    Some(service) => context.unsure_of_gateway(document, selector, gateway, service),
                    None => drop(gateway_unsure.get_or_insert(gateway)),
                },
                (Some(false), _) | (None, None) => {}
            }
        }
        let Some(selector) = selector else { return selected };
        if let Some((service, label)) = unsure.first() {
            context.unsure(document, selector, service, label, unsure.len());
        } else if selected == Selected::default()
            && !wanted.is_empty()
            && !parted
            && !context.has_unread_workloads()
        {
            let found = self.pods.all().filter(|pods| reach.includes(pods.document.namespace()));
            let carries = |pods: &&PodSet<'_>| {
                wanted.iter().all(|(key, value)| pods.labels.get(*key).is_some_and(|own| own == value))
            };
            match found.into_iter().find(carries) {
                Some(pods) => context.without_service(document, selector, pods),
                None => context.selects_nothing(document, selector, reach, gateway_unsure),
            }
        }
        selected
    }

    /// The services whose workloads are known to have the labels of a selector, in any namespace: those of a gateway. Of a
    /// workload about which nothing is known nobody says that it is one.
    pub(super) fn known(
        &self,
        context: &mut Context<'_>,
        document: &ParsedDocument,
        mesh: &Mesh,
        selector: &Spanned<WorkloadSelector>,
    ) -> Vec<ServiceIndex> {
        let wanted = labels(selector);
        let mut known = Vec::new();
        for (index, service) in mesh.indexed().filter(|(_, service)| !service.external) {
            match self.matches(service, &wanted) {
                Match::All => known.push(index),
                Match::None | Match::Unknown(_) => {}
                Match::Part(inside, outside) => context.part(document, selector, service, &inside, &outside),
            }
        }
        known
    }

    fn matches(&self, service: &Service, wanted: &[(&str, &str)]) -> Match {
        let none = (Labels::new(), false);
        let key = (service.namespace.clone(), service.name.clone());
        let (common, open) = self.common.get(&key).unwrap_or(&none);
        // Nothing is known of workloads that are only found later.
        let open = *open || (service.discovery.is_some() && service.endpoints.is_empty());
        if wanted.is_empty() {
            return Match::All;
        }
        let (mut inside, mut outside, mut unknown) = (None, None, None);
        // A service of which nobody is known still has workloads.
        let nobody = Labels::new();
        // Endpoints without labels are those of workloads that are described.
        let described = !service.workloads.is_empty();
        let listed = service.endpoints.iter().filter(|endpoint| !described || !endpoint.labels.is_empty());
        let listed = listed.map(|endpoint| (endpoint.address.to_string(), &endpoint.labels, false));
        let workloads =
            service.workloads.iter().map(|workload| (format!("`{}`", workload.name), &workload.labels, true));
        let mut all: Vec<(String, &Labels, bool)> = workloads.chain(listed).collect();
        if all.is_empty() {
            all.push((String::new(), &nobody, false));
        }
        for (address, own, described) in all {
            let value = |key: &str| own.get(key).or_else(|| common.get(key));
            let differs = wanted.iter().any(|(key, wanted)| value(key).is_some_and(|value| value != wanted));
            let missing = wanted.iter().find(|(key, _)| value(key).is_none());
            match missing {
                _ if differs => outside = Some(address),
                None => inside = Some(address),
                Some((key, _)) if (open && own.is_empty()) || (described && is_added_later(key)) => {
                    unknown = Some((*key).to_owned());
                }
                Some(_) => outside = Some(address),
            }
        }
        match (inside, outside, unknown) {
            (_, _, Some(label)) => Match::Unknown(label),
            (Some(inside), Some(outside), None) => Match::Part(inside, outside),
            (Some(_), None, None) => Match::All,
            (None, _, None) => Match::None,
        }
    }

    /// Whether the workloads of a gateway have these labels; no answer if nothing says. Of workloads that no document describes
    /// those labels are known by which their Gateways select them.
    fn is_of_gateway(&self, mesh: &Mesh, gateway: &Gateway, wanted: &[(&str, &str)]) -> Option<bool> {
        let own = gateway.own_labels_carry(wanted.iter().copied());
        match gateway.service {
            Some(index) if own != Some(true) => {
                Some(matches!(self.matches(mesh.service(index), wanted), Match::All))
            }
            Some(_) | None => own,
        }
    }

    /// A service with the labels of a selector whose workloads may be those of a gateway, which no document describes. Where
    /// there is none, the labels are taken to be those of others, and the Gateway's own finding says that.
    fn perhaps_its<'m>(
        &self,
        mesh: &'m Mesh,
        reach: Reach<'_>,
        gateway: &Gateway,
        wanted: &[(&str, &str)],
    ) -> Option<&'m Service> {
        let own: Vec<(&str, &str)> =
            gateway.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let may = |service: &Service, labels: &[(&str, &str)]| {
            !labels.is_empty() && !matches!(self.matches(service, labels), Match::None)
        };
        let here = |service: &&Service| !service.external && reach.includes(&service.namespace);
        mesh.services.iter().filter(here).find(|service| may(service, wanted) && may(service, &own))
    }

    /// What `targetRefs` name. What is not there is a finding.
    pub(super) fn referred<'t>(
        context: &mut Context<'_>,
        document: &ParsedDocument,
        mesh: &Mesh,
        targets: impl Iterator<Item = &'t Spanned<TargetReference>>,
    ) -> Selected {
        let mut selected = Selected::default();
        for target in targets {
            match target.referred() {
                Some(ReferredKind::Service | ReferredKind::ServiceEntry) => {
                    let found = context.service(mesh, document, document.namespace(), &target.name);
                    match found {
                        Some(index) if mesh.service(index).external => {
                            context.outside(document, target.name.span, mesh.service(index));
                        }
                        found => selected.services.extend(found),
                    }
                }
                Some(ReferredKind::Gateway) => {
                    let found = context.whole_gateway(mesh, document, document.namespace(), &target.name);
                    let of_istio = |index: &GatewayIndex| !mesh.gateway(*index).declared_by.is_empty();
                    if found.as_ref().is_some_and(of_istio) {
                        context.not_by_reference(document, &target.name);
                    } else {
                        selected.gateways.extend(found);
                    }
                }
                // Reported while reading.
                Some(ReferredKind::GatewayClass) | None => {}
            }
        }
        selected
    }
}

fn labels(selector: &WorkloadSelector) -> Vec<(&str, &str)> {
    selector.match_labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

fn shown(selector: &WorkloadSelector) -> String {
    labels(selector).iter().map(|(key, value)| format!("`{key}: {value}`")).collect::<Vec<_>>().join(", ")
}

impl Context<'_> {
    /// Reports a port on which no workload of some services listens.
    pub(super) fn no_such_port(
        &mut self,
        document: &ParsedDocument,
        mesh: &Mesh,
        services: &[ServiceIndex],
        number: &Spanned<String>,
        wanted: u16,
    ) {
        let services = services.iter().map(|index| mesh.service(*index));
        let ports = services.flat_map(|service| service.ports.iter().map(move |port| (service, port)));
        let message = format!("no workload that the policy is for listens on port {wanted}");
        let finding = Diagnostic::error("unknown-reference", message)
            .object(document.object())
            .at(number.span)
            .label("not found")
            .with_note("its ports are those of workloads, not those of Services");
        let near = ports.into_iter().find(|(_, port)| port.number == wanted);
        self.report(match near {
            Some((service, port)) => finding
                .related(
                    port.span,
                    format!("port {wanted} of `{}` leads to their port {}", service.id(), port.target),
                )
                .help(format!("write `{}`", port.target)),
            None => finding,
        });
    }

    /// Reports a name that is not that of the mesh. Without a Mesh document that is the finding.
    pub(super) fn mesh_name(&mut self, document: &ParsedDocument, mesh: &Mesh, name: &Spanned<String>) {
        if name.value != mesh.name && !mesh.name.is_empty() {
            self.unknown(document, name.span, "mesh called", name, &[&mesh.name]);
        }
    }

    fn part(
        &mut self,
        document: &ParsedDocument,
        selector: &Spanned<WorkloadSelector>,
        service: &Service,
        inside: &str,
        outside: &str,
    ) {
        let id = service.id();
        let message = format!("the selector takes some workloads of `{id}` and leaves others");
        let finding = Diagnostic::error(NOT_SUPPORTED, message)
            .object(document.object())
            .at(selector.span)
            .related(service.at.span, format!("{inside} is taken, and {outside} is left"))
            .with_note(format!("one bundle serves all workloads of `{id}`, so a policy holds for all of them or for none"))
            .help("give the workloads that differ a Service of their own, or select by a label that all of them have");
        self.report(finding);
    }

    /// Reports that nothing says whether a policy for a service is for a gateway too.
    fn unsure_of_gateway(
        &mut self,
        document: &ParsedDocument,
        selector: &Spanned<WorkloadSelector>,
        gateway: &Gateway,
        service: &Service,
    ) {
        let message = format!(
            "nothing says whether this is also for the gateway `{}`, whose workloads may be those of `{}`",
            gateway.id(),
            service.id()
        );
        let finding = Diagnostic::error(NOT_SUPPORTED, message)
            .object(document.object())
            .at(selector.span)
            .label("no document describes the gateway's workloads")
            .related(gateway.at.span, "of which only the labels here are known")
            .related(service.at.span, "of these nobody knows whether they have them")
            .help(format!(
                "add the Deployment of `{}` to the documents, or select by the labels of the Gateway",
                service.id()
            ));
        self.report(finding);
    }

    fn unsure(
        &mut self,
        document: &ParsedDocument,
        selector: &Spanned<WorkloadSelector>,
        service: &Service,
        label: &str,
        count: usize,
    ) {
        let id = service.id();
        let others = match count {
            1 => String::new(),
            2 => ", nor those of one more service".to_owned(),
            count => format!(", nor those of {} more services", count - 1),
        };
        let message =
            format!("nobody knows whether the workloads of `{id}` have the label `{label}`{others}");
        let finding = Diagnostic::error(NOT_SUPPORTED, message)
            .object(document.object())
            .at(selector.span)
            .related(service.at.span, format!("its `selector` does not name `{label}`"))
            .help(
                "name labels that the Service's `selector` has, add its Deployment to the documents, or name the Service in \
                 `targetRefs`",
            );
        self.report(finding);
    }

    fn selects_nothing(
        &mut self,
        document: &ParsedDocument,
        selector: &Spanned<WorkloadSelector>,
        reach: Reach<'_>,
        gateway: Option<&Gateway>,
    ) {
        let place = match reach {
            Reach::Mesh => "the mesh".to_owned(),
            Reach::Namespace(namespace) => format!("namespace `{namespace}`"),
        };
        let message = format!("no workload in {place} is known to have the labels {}", shown(selector));
        let finding = Diagnostic::error("unknown-reference", message)
            .object(document.object())
            .at(selector.span)
            .label("selects nothing")
            .with_note(
                "the labels of workloads are those of Deployments and other workloads, of endpoints, of a Kubernetes \
                 Service's `selector`, and of a Weft Service's `metadata.labels`",
            );
        self.report(match gateway {
            None => finding,
            Some(gateway) => finding
                .related(
                    gateway.at.span,
                    format!("nothing says whether the workloads of the gateway `{}` have them", gateway.id()),
                )
                .help("add the gateway's Deployment to the documents, or select it by the labels of its Gateway"),
        });
    }

    /// Reports a policy for workloads that no service leads to.
    fn without_service(
        &mut self,
        document: &ParsedDocument,
        selector: &Spanned<WorkloadSelector>,
        pods: &PodSet<'_>,
    ) {
        let message = format!("`{}` has these labels, and is behind no Service", pods.document);
        let finding = Diagnostic::error("unknown-reference", message)
            .object(document.object())
            .at(selector.span)
            .label("selects no service")
            .related(pods.document.metadata.name.span, "no `selector` of a Service selects it")
            .with_note("a bundle is for a service; nobody would decide for a workload without one")
            .help("add a Service for it");
        self.report(finding);
    }

    /// Reports a reference to a Gateway of Istio, where only one of the Gateway API may be named.
    fn not_by_reference(&mut self, document: &ParsedDocument, name: &Spanned<String>) {
        let message =
            format!("`{name}` is a Gateway of Istio, and `targetRefs` name those of the Gateway API");
        let finding = Diagnostic::error("unknown-reference", message).object(document.object());
        self.report(
            finding.at(name.span).help("use a `selector` with the labels of the gateway's workloads"),
        );
    }

    /// Reports a policy about what is outside the mesh, where nobody would enforce it.
    pub(super) fn outside(&mut self, document: &ParsedDocument, span: Span, service: &Service) {
        let message = format!("`{}` is outside the mesh, where no proxy of ours could decide", service.id());
        let finding = Diagnostic::error(NOT_SUPPORTED, message)
            .object(document.object())
            .at(span)
            .related(service.at.span, "it is declared here")
            .help("limit who calls it with the `calls` of its callers");
        self.report(finding);
    }
}
