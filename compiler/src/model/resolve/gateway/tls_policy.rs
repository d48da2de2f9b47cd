//! BackendTLSPolicies: services that prove who they are as servers on the web do.
//!
//! A policy is about a service, so it holds for all of its callers, gateways and workloads of the mesh alike; no identity
//! is presented then. One for a port is nearer than one for the whole service; two at one level are an error.

use std::collections::BTreeMap;

use weft_bundle::body::{Anchors, Protocol, ServerTls, StringMatch, SubjectName};

use super::super::Context;
use super::facts::Facts;
use crate::diagnostic::Diagnostic;
use crate::dialect::gateway::{BackendTlsPolicy, BackendValidation, SubjectAltName, SubjectAltNameType};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{Mesh, ServiceIndex};
use crate::yaml::Span;

/// What was said of a service, or of a port of it, and where.
type Said<'d> = BTreeMap<(ServiceIndex, Option<u16>), (&'d ParsedDocument, Span, ServerTls)>;

/// Sets the TLS of the ports that policies are for.
pub(super) fn resolve(
    context: &mut Context<'_>,
    documents: &[&ParsedDocument],
    facts: &Facts<'_>,
    mesh: &mut Mesh,
) {
    let mut said: Said<'_> = BTreeMap::new();
    for document in documents {
        if let Kind::BackendTlsPolicy(spec) = &document.spec {
            let tls = server_tls(context, document, facts, &spec.validation);
            targets(context, document, spec, tls.as_ref(), mesh, &mut said);
        }
    }
    // Whole services come first, so that ports override them.
    for ((service, port), (document, span, tls)) in said {
        set(context, mesh, (service, port), document, span, &tls);
    }
}

fn targets<'d>(
    context: &mut Context<'_>,
    document: &'d ParsedDocument,
    spec: &BackendTlsPolicy,
    tls: Option<&ServerTls>,
    mesh: &Mesh,
    said: &mut Said<'d>,
) {
    for target in spec.target_refs.iter().filter(|target| target.kind.value == "Service") {
        let Some(index) = context.service(mesh, document, document.namespace(), &target.name) else {
            continue;
        };
        let port = match target.section_name.as_ref().filter(|name| !name.is_empty()) {
            None => None,
            Some(name) => {
                let service = mesh.service(index);
                let Some(port) = service.ports.iter().find(|port| port.name == name.value) else {
                    let known: Vec<&str> = service.ports.iter().map(|port| port.name.as_str()).collect();
                    let what = format!("port of `{}` called", service.id());
                    context.unknown(document, name.span, &what, name, &known);
                    continue;
                };
                Some(port.number)
            }
        };
        if let Some((other, span, _)) = said.get(&(index, port)) {
            let message = format!("`{document}` and `{other}` both say how one service proves who it is");
            let finding = Diagnostic::error("conflicting-settings", message)
                .object(document.object())
                .at(target.span)
                .related(*span, "the other one")
                .help("keep one of them, or give each a port of its own by `sectionName`");
            context.report(finding);
            continue;
        }
        if let Some(tls) = tls {
            said.insert((index, port), (document, target.span, tls.clone()));
        }
    }
}

fn set(
    context: &mut Context<'_>,
    mesh: &mut Mesh,
    (service, number): (ServiceIndex, Option<u16>),
    document: &ParsedDocument,
    span: Span,
    tls: &ServerTls,
) {
    let Some(service) = mesh.services.get_mut(service.0) else { return };
    let id = service.id();
    let meant = |port: u16| number.is_none_or(|number| number == port);
    for port in service.ports.iter_mut().filter(|port| meant(port.number)) {
        if matches!(port.protocol, Protocol::Tls | Protocol::Udp) {
            let speaks = port.protocol.as_str();
            let message = format!(
                "the policy opens TLS to port {} of `{id}`, whose protocol `{speaks}` says that callers do so or cannot",
                port.number
            );
            let finding = Diagnostic::error("protocol-mismatch", message)
                .object(document.object())
                .at(span)
                .related(port.span, "the port is declared here")
                .help("declare what is spoken inside TLS, such as `appProtocol: http`");
            context.report(finding);
        } else {
            port.server_tls = Some(tls.clone());
        }
    }
}

/// None if nobody could be found who may issue the certificate, which was reported.
fn server_tls(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    facts: &Facts<'_>,
    validation: &BackendValidation,
) -> Option<ServerTls> {
    let anchors = match validation.ca_certificate_refs.as_slice() {
        [] => Anchors::System,
        references => match facts.certificates(context, document, references) {
            found if found.is_empty() => return None,
            found => Anchors::Certificates(found),
        },
    };
    let mut names: Vec<SubjectName> =
        validation.subject_alt_names.iter().filter_map(|name| subject_name(name)).collect();
    names.sort();
    names.dedup();
    let server_name = Some(validation.hostname.value.clone());
    Some(ServerTls { server_name, names, anchors, certificate: None, insecure: false })
}

fn subject_name(name: &SubjectAltName) -> Option<SubjectName> {
    Some(match name.kind.value {
        SubjectAltNameType::Uri => SubjectName::Uri(StringMatch::Exact(name.uri.as_ref()?.value.clone())),
        SubjectAltNameType::Hostname => {
            let host = &name.hostname.as_ref()?.value;
            SubjectName::Dns(match host.strip_prefix('*') {
                Some(suffix) => StringMatch::Suffix(suffix.to_owned()),
                None => StringMatch::Exact(host.clone()),
            })
        }
    })
}
