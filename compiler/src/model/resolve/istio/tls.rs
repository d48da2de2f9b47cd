//! How a DestinationRule protects connections: between workloads of the mesh always by the mesh's identities, and to the
//! outside as the document says.

use std::collections::BTreeMap;

use weft_bundle::body::{Anchors, PeerTls, ServerTls, StringMatch, SubjectName};

use super::super::{Context, convert::certificates};
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::{ClientTls, TlsMode, TrafficPolicy};
use crate::dialect::{NOT_SUPPORTED, ParsedDocument};
use crate::model::Service;
use crate::yaml::{INVALID_VALUE, Span, Spanned};

/// What rules said of the TLS of ports so far.
pub(super) type Said<'d> = BTreeMap<u16, (&'d ParsedDocument, Span, i64, Option<ServerTls>)>;

/// Binds `tls` of a policy and of its ports; the priority is that of its document.
pub(super) fn bind<'d>(
    context: &mut Context<'_>,
    (document, priority): (&'d ParsedDocument, i64),
    policy: &TrafficPolicy,
    service: &mut Service,
    said: &mut Said<'d>,
) {
    let numbers: Vec<u16> = service.ports.iter().map(|port| port.number).collect();
    for number in numbers {
        let of_port = policy
            .port_level_settings
            .iter()
            .find(|of_port| of_port.port.as_ref().is_some_and(|selector| selector.number.value == number));
        // A policy of a port replaces all of the service's.
        let tls = of_port.map_or(policy.tls.as_ref(), |of_port| of_port.tls.as_ref());
        if let Some(tls) = tls {
            bind_port(context, (document, priority), tls, (service, number), said);
        }
    }
}

fn bind_port<'d>(
    context: &mut Context<'_>,
    (document, priority): (&'d ParsedDocument, i64),
    tls: &Spanned<ClientTls>,
    (service, number): (&mut Service, u16),
    said: &mut Said<'d>,
) {
    if service.external {
        let made = match tls.mode.map(|mode| mode.value) {
            Some(TlsMode::Simple | TlsMode::Mutual) => {
                server_tls(context, document, tls, &service.subject_alt_names)
            }
            Some(TlsMode::Disable) | None => None,
            Some(TlsMode::IstioMutual) => {
                let message =
                    format!("`{}` is outside the mesh, and has none of its identities", service.id());
                let finding =
                    Diagnostic::error(NOT_SUPPORTED, message).object(document.object()).at(tls.span);
                context.report(finding.help("use `SIMPLE`, or `MUTUAL` with a certificate of your own"));
                None
            }
        };
        let id = service.id();
        let Some(port) = service.ports.iter_mut().find(|port| port.number == number) else { return };
        let message = format!("the TLS of port {number} of `{id}` is said in two places");
        let finding =
            Diagnostic::error("conflicting-settings", message).object(document.object()).at(tls.span);
        match said.get(&number) {
            // Another rule of higher priority, or one that says the same.
            Some((_, _, other, before)) if *other != priority || *before == made => {}
            Some((other, span, ..)) => {
                let finding = finding.related(*span, format!("`{other}` says it too"));
                context.report(
                    finding.help(
                        "say it once, or say which one decides with the annotation `weft.dev/priority`",
                    ),
                );
            }
            None if port.server_tls.is_some() && port.server_tls != made => {
                let finding = finding.related(port.span, "the port has TLS of its own");
                context.report(finding.help("say it once"));
            }
            None => {
                said.insert(number, (document, tls.span, priority, made.clone()));
                port.server_tls = made;
            }
        }
        return;
    }
    let Some(port) = service.port(number) else { return };
    let off = port.peer_tls == PeerTls::Off;
    let (message, help) = match tls.mode.map(|mode| mode.value) {
        Some(TlsMode::IstioMutual) if !off => return,
        Some(TlsMode::Disable) | None if off => return,
        Some(TlsMode::IstioMutual) => ("accepts clear text only", "set the port's `peerTLS` to `strict`"),
        Some(TlsMode::Disable) | None => {
            ("is called by mutual TLS", "set the port's `peerTLS` to `off` if callers are to use clear text")
        }
        Some(TlsMode::Simple | TlsMode::Mutual) => (
            "is called by mutual TLS with the mesh's identities",
            "use `ISTIO_MUTUAL`; other certificates are for services outside the mesh, which a ServiceEntry declares",
        ),
    };
    let message = format!("port {number} of `{}` {message}", service.id());
    let finding = Diagnostic::error(NOT_SUPPORTED, message)
        .object(document.object())
        .at(tls.mode.map_or(tls.span, |mode| mode.span))
        .related(port.span, "the port is declared here");
    context.report(finding.help(help));
}

/// TLS of a subset's own would need endpoints that are reached in different ways.
pub(super) fn refuse_of_subset(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    tls: &Spanned<ClientTls>,
) {
    if tls.mode.map(|mode| mode.value) == Some(TlsMode::IstioMutual) {
        return;
    }
    let finding = Diagnostic::error(NOT_SUPPORTED, "`tls` of a subset is not supported")
        .object(document.object())
        .at(tls.span)
        .with_note("it needs subsets that are protected differently from their service")
        .help("set it for the whole service, or make a ServiceEntry of its own for these endpoints");
    context.report(finding);
}

fn server_tls(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    tls: &ClientTls,
    otherwise: &[String],
) -> Option<ServerTls> {
    let own: Vec<String> = tls.subject_alt_names.iter().map(|name| name.value.clone()).collect();
    let names = if own.is_empty() { otherwise } else { own.as_slice() };
    let mut names: Vec<SubjectName> =
        names.iter().map(|name| SubjectName::Any(StringMatch::Exact(name.clone()))).collect();
    names.sort();
    names.dedup();
    Some(ServerTls {
        server_name: tls.sni.as_ref().map(|name| name.value.clone()),
        names,
        anchors: anchors(context, document, tls)?,
        certificate: tls.credential_name.as_ref().map(|name| format!("{}/{name}", document.namespace())),
        insecure: tls.insecure_skip_verify.is_some_and(|skip| skip.value),
    })
}

/// The certificates of a file in the repository; those of the proxy's machine if none is named.
fn anchors(context: &mut Context<'_>, document: &ParsedDocument, tls: &ClientTls) -> Option<Anchors> {
    let Some(path) = tls.ca_certificates.as_ref() else {
        let verified = tls.insecure_skip_verify.is_none_or(|skip| !skip.value);
        return match (&tls.credential_name, verified) {
            (Some(name), true) => of_secret(context, document, name),
            (_, _) => Some(Anchors::System),
        };
    };
    if path.value == "system" {
        return Some(Anchors::System);
    }
    let help = "put the certificates into the repository, or write `system` for those of the proxy's machine";
    certificates_of(context, document, path, help).map(Anchors::Certificates)
}

/// The certificates in a file of the repository: base64 of one DER certificate each, sorted. That there are none is
/// reported.
pub(super) fn certificates_of(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    path: &Spanned<String>,
    help: &str,
) -> Option<Vec<String>> {
    let Some(file) = context.sources.attachment(document.file, path) else {
        let message = format!("there is no file `{path}` beside this document");
        let finding = Diagnostic::error("unknown-reference", message)
            .object(document.object())
            .at(path.span)
            .with_note("a bundle carries the certificates themselves; a path on the proxy's machine says nothing here")
            .help(help);
        context.report(finding);
        return None;
    };
    let found = certificates(&file.bytes);
    if found.is_none() {
        let finding = Diagnostic::error(INVALID_VALUE, "this holds no PEM certificate")
            .object(document.object())
            .at(path.span);
        context.report(finding);
    }
    found
}

/// In Istio the certificates to believe come from the same Secret as the one to present, or from one beside it.
fn of_secret(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    name: &Spanned<String>,
) -> Option<Anchors> {
    let named = |name: String| (document.namespace().to_owned(), name);
    let found = context.issuers.get(&named(format!("{name}-cacert")));
    let Some(issuers) = found.or_else(|| context.issuers.get(&named(name.value.clone()))).cloned() else {
        secret(context, document, name.span);
        return Some(Anchors::System);
    };
    match certificates(issuers.pem.as_bytes()) {
        Some(certificates) => Some(Anchors::Certificates(certificates)),
        None => {
            let message = "this holds no PEM certificate";
            let finding = Diagnostic::error(INVALID_VALUE, message).object(issuers.object);
            context.report(finding.at(issuers.pem.span));
            None
        }
    }
}

fn secret(context: &mut Context<'_>, document: &ParsedDocument, span: Span) {
    let finding = Diagnostic::error(NOT_SUPPORTED, "nothing says which certificates to believe")
        .object(document.object())
        .at(span)
        .with_note("in Istio they are in the Secret; a bundle has its certificates from the repository")
        .help(
            "add the Secret with its `ca.crt` and without its key, or name a file of the repository, or `system`, by \
             `caCertificates` beside `credentialName`",
        );
    context.report(finding);
}
