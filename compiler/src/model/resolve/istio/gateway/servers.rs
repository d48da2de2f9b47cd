//! Servers, and what they do with TLS.

use std::collections::BTreeMap;

use weft_bundle::body::{ClientCertificates, ListenerTls, TerminatedTls};

use super::super::super::Context;
use super::super::tls::certificates_of;
use crate::diagnostic::Diagnostic;
use crate::dialect::ParsedDocument;
use crate::dialect::istio;
use crate::dialect::istio::gateway::{ServerTls, ServerTlsMode, Speaks};
use crate::yaml::{INVALID_VALUE, Spanned};

/// A server on the workloads of one gateway.
pub(super) struct Server<'d> {
    /// The document that has it.
    pub(super) document: &'d ParsedDocument,
    /// As it is written.
    pub(super) written: &'d Spanned<istio::gateway::Server>,
    /// Namespace and name of the gateway.
    pub(super) gateway: (String, String),
    /// What it does with TLS; clear text if none.
    pub(super) tls: Option<ListenerTls>,
}

/// What may share a port: requests in clear text with each other, and whatever begins with a server name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Requests,
    Connections,
    ServerNames,
}

impl Server<'_> {
    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.written.port.number.value
    }

    /// Whether it tells callers apart by the server name that they ask for.
    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    fn goes_with(&self, other: &Self) -> bool {
        self.sharing() == other.sharing() && self.sharing() != Sharing::Connections
    }

    fn sharing(&self) -> Sharing {
        match (self.is_tls(), self.written.speaks()) {
            (true, _) => Sharing::ServerNames,
            (false, Speaks::Http) => Sharing::Requests,
            (false, Speaks::Bytes | Speaks::ServerNames) => Sharing::Connections,
        }
    }
}

/// What a server does with TLS: nothing, or something; none if a certificate is not there. Names of certificates are those
/// of the namespace of the gateway's workloads.
pub(super) fn tls(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    written: &istio::gateway::Server,
    namespace: &str,
) -> Option<Option<ListenerTls>> {
    let Some(tls) = written.tls.as_ref().filter(|_| written.is_tls() == Some(true)) else {
        return Some(None);
    };
    let clients = |optional, anchors| Some(ClientCertificates { optional, anchors });
    let clients = match written.mode() {
        // The second was refused while reading.
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            return Some(Some(ListenerTls::Passthrough));
        }
        ServerTlsMode::Simple => None,
        // The mesh's own anchors.
        ServerTlsMode::IstioMutual => clients(false, Vec::new()),
        mode @ (ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual) => {
            let path = tls.ca_certificates.as_ref()?;
            let anchors =
                certificates_of(context, document, path, "put the certificates into the repository")?;
            clients(mode == ServerTlsMode::OptionalMutual, anchors)
        }
    };
    Some(Some(ListenerTls::Terminate(TerminatedTls {
        certificates: certificates(tls, namespace),
        clients,
        min_version: tls.min_protocol_version.and_then(|v| v.value.version()).map(str::to_owned),
        max_version: tls.max_protocol_version.and_then(|v| v.value.version()).map(str::to_owned),
    })))
}

fn certificates(tls: &ServerTls, namespace: &str) -> Vec<String> {
    let names = tls.credential_name.iter().chain(&tls.credential_names);
    names.map(|name| format!("{namespace}/{name}")).collect()
}

/// The servers without those that cannot share their port with one before them, which are reported.
pub(super) fn without_clashes<'d>(context: &mut Context<'_>, servers: Vec<Server<'d>>) -> Vec<Server<'d>> {
    let mut first: BTreeMap<(String, String, u16), usize> = BTreeMap::new();
    let mut kept: Vec<Server<'d>> = Vec::with_capacity(servers.len());
    for server in servers {
        let (namespace, name) = server.gateway.clone();
        let place = *first.entry((namespace, name, server.port())).or_insert(kept.len());
        match kept.get(place) {
            Some(other) if !other.goes_with(&server) => report_clash(context, other, &server),
            _ => kept.push(server),
        }
    }
    kept
}

fn report_clash(context: &mut Context<'_>, first: &Server<'_>, second: &Server<'_>) {
    let (port, document) = (&second.written.port, second.document);
    let message = format!(
        "servers `{}` of {} and `{}` of {document} have one port, {}, for {} and {}",
        first.written.name(),
        first.document,
        second.written.name(),
        port.number,
        first.written.port.protocol,
        port.protocol
    );
    let finding = Diagnostic::error(INVALID_VALUE, message)
        .object(document.object())
        .at(port.span)
        .related(first.written.port.span, "the other one is here")
        .with_note("a port takes requests in clear text, or TLS by server name, or connections of one server")
        .help("give one of them another port");
    context.report(finding);
}
