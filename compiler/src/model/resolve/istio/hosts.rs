//! What Istio's hosts name: services of the mesh, by short or full name, and hosts of ServiceEntries.

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::engine::HostPattern;

use super::super::Context;
use crate::diagnostic::Diagnostic;
use crate::dialect::ParsedDocument;
use crate::model::{Mesh, Scope, Service, ServiceIndex};
use crate::yaml::{Span, Spanned};

/// Services by the hosts that their documents give them.
#[derive(Debug, Default)]
pub(super) struct Hosts(BTreeMap<String, Vec<ServiceIndex>>);

impl Hosts {
    /// Those of a mesh whose services are all there.
    pub(super) fn of(mesh: &Mesh) -> Self {
        let mut hosts: BTreeMap<String, Vec<ServiceIndex>> = BTreeMap::new();
        for (index, service) in mesh.indexed() {
            for host in &service.hosts {
                hosts.entry(host.clone()).or_default().push(index);
            }
        }
        Self(hosts)
    }

    /// The service that a host names for documents of a namespace: one of that namespace before others that it sees.
    fn find(&self, mesh: &Mesh, namespace: &str, host: &str) -> Option<ServiceIndex> {
        let found = self.0.get(host)?;
        let own = |index: &&ServiceIndex| mesh.service(**index).namespace == namespace;
        let seen = |index: &&ServiceIndex| mesh.service(**index).is_visible_to(namespace);
        found.iter().find(own).or_else(|| found.iter().find(seen)).copied()
    }

    /// The service that a host names: a host of a ServiceEntry, `name`, `name.namespace`, `name.namespace.svc` or the
    /// cluster's full name. A short name means the document's own namespace. A finding if there is none.
    pub(super) fn service(
        &self,
        context: &mut Context<'_>,
        mesh: &Mesh,
        document: &ParsedDocument,
        host: &Spanned<String>,
    ) -> Option<ServiceIndex> {
        if let Some(index) = self.find(mesh, document.namespace(), &host.value) {
            return Some(index);
        }
        match parts(&host.value) {
            Some((name, namespace)) => {
                let namespace = namespace.unwrap_or_else(|| document.namespace());
                context.service(mesh, document, namespace, &Spanned::new(name.to_owned(), host.span))
            }
            None => {
                self.unknown(context, document, host);
                None
            }
        }
    }

    /// Whether a host names something, without a finding if it does not.
    pub(super) fn knows(&self, mesh: &Mesh, document: &ParsedDocument, host: &str) -> bool {
        let of_mesh = |(name, namespace): (&str, Option<&str>)| {
            mesh.find(namespace.unwrap_or_else(|| document.namespace()), name)
        };
        self.find(mesh, document.namespace(), host).or_else(|| parts(host).and_then(of_mesh)).is_some()
    }

    fn unknown(&self, context: &mut Context<'_>, document: &ParsedDocument, host: &Spanned<String>) {
        if context.has_unread("ServiceEntry") {
            return;
        }
        let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
        let near = context.near(&host.value, &known);
        let message = format!("no service of the mesh and no ServiceEntry has the host `{host}`");
        let finding = Diagnostic::error("unknown-reference", message)
            .object(document.object())
            .at(host.span)
            .label("not found")
            .maybe_help(near.map(|near| format!("did you mean `{near}`?")))
            .help("write `name`, `name.namespace` or `name.namespace.svc.cluster.local` for one of the mesh, or add a ServiceEntry");
        context.report(finding);
    }

    /// The services all of whose names fit a pattern such as `*.shop.svc.cluster.local`, as documents of a namespace see
    /// them.
    pub(super) fn matching(mesh: &Mesh, namespace: &str, pattern: &HostPattern) -> Vec<ServiceIndex> {
        let fits = |service: &Service| {
            let inside = |host: &String| {
                let host = HostPattern::parse(host).ok();
                host.is_some_and(|host| pattern.intersection(&host).as_ref() == Some(&host))
            };
            let full =
                || pattern.matches(&format!("{}.{}.svc.cluster.local", service.name, service.namespace));
            match service.hosts.is_empty() {
                true => full(),
                false => service.hosts.iter().all(inside),
            }
        };
        let seen = mesh.indexed().filter(|(_, service)| service.is_visible_to(namespace));
        seen.filter(|(_, service)| fits(service)).map(|(index, _)| index).collect()
    }
}

/// Name and namespace of a service of the mesh, from a host that could name one.
fn parts(host: &str) -> Option<(&str, Option<&str>)> {
    let text = host.strip_suffix(".svc.cluster.local").or_else(|| host.strip_suffix(".svc"));
    match text.unwrap_or(host).split('.').collect::<Vec<_>>().as_slice() {
        [name] if *name != "*" && text.is_none() => Some((name, None)),
        [name, namespace] if *name != "*" => Some((name, Some(namespace))),
        _ => None,
    }
}

/// A document's claim to decide for a service.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// The service.
    pub(super) service: ServiceIndex,
    /// How much the host says that claims it.
    pub(super) specificity: (u8, usize),
    /// For whom.
    pub(super) scope: Scope,
    /// The host.
    pub(super) span: Span,
}

/// The claims of a document's hosts; findings for those that name nothing. A host of a gateway need not be one of the mesh.
pub(super) fn claims(
    context: &mut Context<'_>,
    mesh: &Mesh,
    hosts: &Hosts,
    document: &ParsedDocument,
    spec: &crate::dialect::istio::VirtualService,
) -> Vec<Claim> {
    let scope = scope(document, &spec.export_to);
    let elsewhere = spec.gateways.iter().any(|gateway| gateway.value != "mesh");
    let mut claims = Vec::new();
    for host in &spec.hosts {
        let claim =
            |service, specificity| Claim { service, specificity, scope: scope.clone(), span: host.span };
        match HostPattern::parse(&host.value) {
            Ok(pattern @ (HostPattern::Suffix(_) | HostPattern::Any)) => {
                let found = Hosts::matching(mesh, document.namespace(), &pattern);
                if found.is_empty() && !elsewhere {
                    hosts.unknown(context, document, host);
                }
                claims.extend(found.into_iter().map(|service| claim(service, pattern.specificity())));
            }
            Ok(HostPattern::Exact(name)) => {
                if !elsewhere || hosts.knows(mesh, document, &host.value) {
                    let found = hosts.service(context, mesh, document, host);
                    claims.extend(found.map(|service| claim(service, (2, name.len()))));
                }
            }
            // Reported while reading.
            Err(_) => {}
        }
    }
    claims
}

/// How much a claim says, and for whom it is.
type Interest = ((u8, usize), Scope);

/// Leaves to more exact hosts what they claim: of several documents that a caller sees, the one with the most specific host
/// decides (istio:pilot/pkg/model/push_context.go, `MostSpecificHostMatch`).
pub(super) fn most_specific_wins(mesh: &Mesh, claims: &mut [Vec<Claim>]) {
    let mut exact: BTreeMap<ServiceIndex, Vec<Interest>> = BTreeMap::new();
    for claim in claims.iter().flatten() {
        exact.entry(claim.service).or_default().push((claim.specificity, claim.scope.clone()));
    }
    let namespaces: BTreeSet<&str> = mesh.services.iter().map(|service| service.namespace.as_str()).collect();
    for claims in claims.iter_mut() {
        for claim in claims.iter_mut().filter(|claim| claim.specificity.0 < 2) {
            let better: Vec<&Scope> = exact
                .get(&claim.service)
                .into_iter()
                .flatten()
                .filter(|(specificity, _)| *specificity > claim.specificity)
                .map(|(_, scope)| scope)
                .collect();
            if !better.is_empty() {
                let left = namespaces.iter().filter(|namespace| {
                    claim.scope.includes(namespace) && better.iter().all(|scope| !scope.includes(namespace))
                });
                claim.scope = Scope::Namespaces(left.map(|namespace| (*namespace).to_owned()).collect());
            }
        }
        claims.retain(|claim| !matches!(&claim.scope, Scope::Namespaces(list) if list.is_empty()));
    }
}

/// Whom `exportTo` shows a document to.
pub(super) fn scope(document: &ParsedDocument, export_to: &[Spanned<String>]) -> Scope {
    match namespaces(document, export_to) {
        None => Scope::Everyone,
        Some(namespaces) => Scope::Namespaces(namespaces),
    }
}

/// The namespaces of `exportTo`; none if it is for all.
pub(super) fn namespaces(document: &ParsedDocument, export_to: &[Spanned<String>]) -> Option<Vec<String>> {
    if export_to.is_empty() || export_to.iter().any(|namespace| namespace.value == "*") {
        return None;
    }
    let own = |namespace: &Spanned<String>| match namespace.as_str() {
        "." => document.namespace().to_owned(),
        other => other.to_owned(),
    };
    // `~` is nobody, and no namespace is called that.
    Some(export_to.iter().map(own).filter(|namespace| namespace != "~").collect())
}
