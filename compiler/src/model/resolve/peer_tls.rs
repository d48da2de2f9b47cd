//! PeerAuthentications of Istio, as what ports ask of their peers.
//!
//! The nearest that says something holds: `portLevelMtls`, a policy with a selector, one for the namespace, one for the
//! mesh (in its root namespace), `defaults.peerTLS` of the Mesh, which is `strict` unless it says otherwise; Istio's own
//! default is permissive. `UNSET` says nothing. What a port of a Weft Service says is as near as `portLevelMtls`. Two at
//! one level are an error that names both; in Istio the older would win.

use std::collections::BTreeMap;

use weft_bundle::body::{PeerTls, Protocol};

use super::Context;
use super::workloads::{Reach, Workloads};
use crate::diagnostic::Diagnostic;
use crate::dialect::istio::PeerAuthentication;
use crate::dialect::istio::peer_authentication::{Mode, MutualTls};
use crate::dialect::istio::port as port_number;
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{Mesh, ServiceIndex};
use crate::yaml::{Span, Spanned};

/// What a policy is for; the later ones are nearer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Mesh,
    Namespace(String),
    Service(ServiceIndex),
    Port(ServiceIndex, u16),
}

/// What is said at a level, and where.
struct Said {
    tls: PeerTls,
    object: String,
    span: Span,
}

/// Sets what the ports of all services ask of their peers.
pub(super) fn resolve(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &mut Mesh) {
    let mut said = BTreeMap::new();
    of_ports(documents, mesh, &mut said);
    let workloads = Workloads::of(documents);
    for document in documents {
        if let Kind::PeerAuthentication(spec) = &document.spec {
            policy(context, document, spec, mesh, &workloads, &mut said);
        }
    }
    // What is outside the mesh has no identities, and datagrams no TLS.
    let ours = mesh.services.iter_mut().enumerate().filter(|(_, service)| !service.external);
    for (place, service) in ours {
        let index = ServiceIndex(place);
        for port in service.ports.iter_mut().filter(|port| port.protocol != Protocol::Udp) {
            let levels = [
                Level::Port(index, port.target),
                Level::Service(index),
                Level::Namespace(service.namespace.clone()),
                Level::Mesh,
            ];
            if let Some(nearest) = levels.iter().find_map(|level| said.get(level)) {
                port.peer_tls = nearest.tls;
            }
        }
    }
}

/// What Weft Services say of their ports.
fn of_ports(documents: &[&ParsedDocument], mesh: &Mesh, said: &mut BTreeMap<Level, Said>) {
    for document in documents {
        let Kind::Service(spec) = &document.spec else { continue };
        let Some(index) = mesh.find(document.namespace(), document.name()) else { continue };
        for written in &spec.ports {
            let port = mesh.service(index).port(written.port.value);
            if let (Some(port), Some(tls)) = (port, &written.peer_tls) {
                let own = Said { tls: tls.value, object: document.object(), span: tls.span };
                said.entry(Level::Port(index, port.target)).or_insert(own);
            }
        }
    }
}

fn policy(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    spec: &PeerAuthentication,
    mesh: &Mesh,
    workloads: &Workloads<'_>,
    said: &mut BTreeMap<Level, Said>,
) {
    let reach = Reach::of(mesh, document);
    let selector = spec.selector.as_ref().filter(|selector| !selector.match_labels.is_empty());
    let Some(selector) = selector else {
        let level = match reach {
            Reach::Mesh => Level::Mesh,
            Reach::Namespace(namespace) => Level::Namespace(namespace.to_owned()),
        };
        return say(context, document, spec.mtls.as_ref(), level, said);
    };
    let selected = workloads.select(context, document, mesh, reach, Some(selector));
    for index in &selected.services {
        say(context, document, spec.mtls.as_ref(), Level::Service(*index), said);
    }
    for (number, tls) in spec.port_level_mtls.iter().flatten() {
        let Some(wanted) = port_number(number) else { continue };
        let leads =
            |index: &&ServiceIndex| mesh.service(**index).ports.iter().any(|port| port.target == wanted);
        let mut found = selected.services.iter().filter(leads).peekable();
        if found.peek().is_none() && !selected.services.is_empty() {
            context.no_such_port(document, mesh, &selected.services, number, wanted);
        }
        for index in found {
            say(context, document, Some(tls), Level::Port(*index, wanted), said);
        }
    }
}

fn say(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    tls: Option<&Spanned<MutualTls>>,
    level: Level,
    said: &mut BTreeMap<Level, Said>,
) {
    let Some(mode) = tls.and_then(|tls| tls.mode) else { return };
    let tls = match mode.value {
        Mode::Unset => return,
        Mode::Disable => PeerTls::Off,
        Mode::Permissive => PeerTls::Permissive,
        Mode::Strict => PeerTls::Strict,
    };
    let own = Said { tls, object: document.object(), span: mode.span };
    match said.get(&level) {
        None => drop(said.insert(level, own)),
        Some(other) => {
            let message = format!(
                "`{}` and `{}` both say how peers prove who they are, for one target",
                own.object, other.object
            );
            let finding = Diagnostic::error("conflicting-settings", message)
                .object(own.object)
                .at(own.span)
                .related(other.span, "the other one")
                .help("say it in one of them, or give them different targets");
            context.report(finding);
        }
    }
}
