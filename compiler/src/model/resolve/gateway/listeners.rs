//! Gateways and ListenerSets, as one list of listeners for each gateway; and which listeners a route may name.

use std::collections::BTreeMap;

use weft_bundle::body::{ClientCertificates, ListenerTls, Protocol, TerminatedTls};
use weft_bundle::engine::HostPattern;
use weft_bundle::spiffe::SpiffeId;

use super::super::Context;
use super::facts::Facts;
use super::grants::{self, Reference};
use crate::diagnostic::Diagnostic;
use crate::dialect::gateway::{
    self, From, FromNamespaces, ListenerProtocol, ListenerSet, ObjectRef, ParentKind, TlsMode,
};
use crate::dialect::kubernetes::secret::{CERTIFICATE_KEY, PRIVATE_KEY, TLS_TYPE};
use crate::dialect::{Kind, ParsedDocument};
use crate::model::{At, GATEWAY_NAME_LABEL, Gateway, GatewayIndex, GatewayListener, Mesh};
use crate::yaml::{INVALID_VALUE, Span, Spanned};

/// A listener that a route may be attached to.
pub(super) struct Door<'d> {
    /// The gateway.
    pub(super) gateway: GatewayIndex,
    /// Its place in the gateway's listeners.
    pub(super) place: usize,
    /// As it is written.
    pub(super) written: &'d Spanned<gateway::Listener>,
    /// The names that callers use.
    pub(super) hosts: Vec<HostPattern>,
    /// The namespace of the document that has it.
    pub(super) namespace: &'d str,
}

/// The listeners of each Gateway and ListenerSet, by kind, namespace and name.
pub(super) type Doors<'d> = BTreeMap<(ParentKind, &'d str, &'d str), Vec<Door<'d>>>;

/// The annotation of a Gateway that names the account its workloads run as; the Gateway's own name if not set.
const SERVICE_ACCOUNT: &str = "weft.dev/service-account";

/// A Gateway with those of its listeners that count.
struct Draft<'d> {
    document: &'d ParsedDocument,
    spec: &'d gateway::Gateway,
    /// With the documents that have them, the Gateway's own first.
    listeners: Vec<(&'d ParsedDocument, &'d Spanned<gateway::Listener>)>,
}

/// Adds all gateways to the mesh.
pub(super) fn resolve<'d>(
    context: &mut Context<'_>,
    documents: &[&'d ParsedDocument],
    facts: &Facts<'_>,
    mesh: &mut Mesh,
) -> Doors<'d> {
    let mut drafts: BTreeMap<(&str, &str), Draft<'d>> = BTreeMap::new();
    let mut doors: Doors<'d> = BTreeMap::new();
    for &document in documents {
        if let Kind::Gateway(spec) = &document.spec {
            let place = (document.namespace(), document.name());
            // The second of a pair that cannot be told apart was reported while reading.
            let clashes = |place: usize, listener: &gateway::Listener| {
                spec.listeners.iter().take(place).any(|other| other.clash(listener).is_some())
            };
            let listeners = spec.listeners.iter().enumerate();
            let listeners = listeners.filter(|(place, listener)| !clashes(*place, listener));
            let listeners = listeners.map(|(_, listener)| (document, listener)).collect();
            drafts.insert(place, Draft { document, spec, listeners });
            doors.insert((ParentKind::Gateway, place.0, place.1), Vec::new());
        }
    }
    let mut sets: Vec<_> = documents
        .iter()
        .filter_map(|document| match &document.spec {
            Kind::ListenerSet(set) => Some((*document, set)),
            _ => None,
        })
        .collect();
    sets.sort_by_key(|(document, _)| (document.namespace(), document.name()));
    for (document, set) in sets {
        doors.insert((ParentKind::ListenerSet, document.namespace(), document.name()), Vec::new());
        add_set(context, document, set, facts, &mut drafts);
    }
    let made = drafts.values().filter_map(|draft| gateway(context, facts, mesh, draft));
    let made: Vec<Gateway> = made.collect();
    // Istio's are there already.
    mesh.gateways.extend(made);
    mesh.gateways.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    for (place, gateway) in mesh.gateways.iter().enumerate().filter(|(_, of)| of.declared_by.is_empty()) {
        let draft = drafts.get(&(gateway.namespace.as_str(), gateway.name.as_str()));
        if let Some(draft) = draft {
            open(&mut doors, GatewayIndex(place), gateway, draft);
        }
    }
    doors
}

/// Adds the listeners of a set to its gateway, if that takes them.
fn add_set<'d>(
    context: &mut Context<'_>,
    document: &'d ParsedDocument,
    set: &'d Spanned<ListenerSet>,
    facts: &Facts<'_>,
    drafts: &mut BTreeMap<(&'d str, &'d str), Draft<'d>>,
) {
    let parent = &set.parent_ref;
    let namespace = parent.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
    let name = parent.name.value.as_str();
    let Some(draft) = drafts.get_mut(&(namespace, name)) else {
        let known: Vec<&str> =
            drafts.keys().filter(|(of, _)| *of == namespace).map(|(_, name)| *name).collect();
        unknown_parent(context, document, ParentKind::Gateway, namespace, &parent.name, &known);
        return;
    };
    let allowed = draft.spec.allowed_listeners.as_ref();
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_deref());
    if let Err(why) = admits(facts, namespaces, From::None, namespace, document.namespace()) {
        let finding = Diagnostic::error(
            "not-admitted",
            format!("`{}` takes no listeners of this ListenerSet: {why}", draft.document.object()),
        )
        .object(document.object())
        .at(parent.span)
        .related(allowed.map_or(draft.document.metadata.name.span, |allowed| allowed.span), "it says so here")
        .help("let `allowedListeners` of the Gateway name this namespace");
        context.report(finding);
        return;
    }
    for listener in &set.listeners {
        let clash = draft.listeners.iter().find_map(|(of, other)| Some((of, other, other.clash(listener)?)));
        match clash {
            // Within one document it was reported while reading.
            Some((of, ..)) if of.span == document.span => {}
            Some((of, other, why)) => {
                let message =
                    format!("listeners `{}` of {of} and `{}` of {document} {why}", other.name, listener.name);
                let finding = Diagnostic::error(INVALID_VALUE, message)
                    .object(document.object())
                    .at(listener.span)
                    .related(other.span, "the other one is here");
                context.report(finding);
            }
            None => draft.listeners.push((document, listener)),
        }
    }
}

/// Reports a gateway or set that is not there.
pub(super) fn unknown_parent(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    kind: ParentKind,
    namespace: &str,
    name: &Spanned<String>,
    known: &[&str],
) {
    let kind = kind.as_str();
    if !context.is_unread(kind, namespace, name) {
        context.unknown(
            document,
            name.span,
            &format!("{kind} in namespace `{namespace}` called"),
            name,
            known,
        );
    }
}

/// Whether a document of one namespace may be attached in another; or why not, in words.
pub(super) fn admits(
    facts: &Facts<'_>,
    written: Option<&FromNamespaces>,
    otherwise: From,
    own: &str,
    other: &str,
) -> Result<(), String> {
    let from = written.and_then(|written| written.from.as_deref()).copied().unwrap_or(otherwise);
    let selector = written.and_then(|written| written.selector.as_deref());
    match from {
        From::All => Ok(()),
        From::Same if own == other => Ok(()),
        From::Same => Err(format!("only namespace `{own}` may be attached, and this is `{other}`")),
        From::None => Err("it takes none".to_owned()),
        From::Selector if selector.is_some_and(|selector| selector.selects(&facts.labels(other))) => Ok(()),
        From::Selector if !facts.knows(other) => Err(format!(
            "the labels of namespace `{other}` do not match, as there is no document of kind Namespace that gives it any"
        )),
        From::Selector => Err(format!("the labels of namespace `{other}` do not match its selector")),
    }
}

fn gateway(context: &mut Context<'_>, facts: &Facts<'_>, mesh: &Mesh, draft: &Draft<'_>) -> Option<Gateway> {
    let Draft { document, spec, .. } = draft;
    say_what_has_no_effect(context, document, spec);
    let service = mesh.find(document.namespace(), document.name());
    let identity = match service {
        Some(service) => mesh.service(service).identity.clone(),
        None => identity(context, document, mesh)?,
    };
    let tls = spec.tls.as_deref();
    let backend = tls.and_then(|tls| tls.backend.as_ref()?.client_certificate_ref.as_ref());
    let client_certificate = backend.map(|secret| certificate(context, facts, document, secret));
    let clients = Clients::of(context, facts, document, tls);
    let mut listeners: Vec<GatewayListener> = draft
        .listeners
        .iter()
        .filter_map(|(of, written)| listener(context, facts, draft, of, written, &clients))
        .collect();
    listeners.sort_by(|a, b| (a.port, &a.name).cmp(&(b.port, &b.name)));
    Some(Gateway {
        namespace: document.namespace().to_owned(),
        name: document.name().to_owned(),
        at: context.at_document(document),
        identity,
        service,
        declared_by: Vec::new(),
        labels: BTreeMap::from([(GATEWAY_NAME_LABEL.to_owned(), document.name().to_owned())]),
        listeners,
        client_certificate,
    })
}

/// The identity of a gateway that is no service: that of the account that an annotation names, or of its own name.
pub(in crate::model::resolve) fn identity(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    mesh: &Mesh,
) -> Option<SpiffeId> {
    let written = document.metadata.annotation(SERVICE_ACCOUNT);
    let account = written.map_or(document.name(), |account| account.value.as_str());
    match SpiffeId::for_service_account(&mesh.trust_domain, document.namespace(), account) {
        Ok(identity) => Some(identity),
        Err(error) => {
            let message = format!("`{account}` cannot be part of an identity: {error}");
            let span = written.map_or(document.metadata.name.span, |account| account.span);
            context.report(Diagnostic::error(INVALID_VALUE, message).object(document.object()).at(span));
            None
        }
    }
}

/// What is asked of infrastructure, which is none of ours.
fn say_what_has_no_effect(context: &mut Context<'_>, document: &ParsedDocument, spec: &gateway::Gateway) {
    let infrastructure = spec.infrastructure.map(|field| (field.span, "infrastructure"));
    let addresses = spec.addresses.first().map(|address| (address.span, "addresses"));
    for (span, field) in infrastructure.into_iter().chain(addresses) {
        let finding = Diagnostic::note("ignored-field", format!("`{field}` has no effect"))
            .object(document.object())
            .at(span)
            .with_note("where a gateway runs and how it is reached is decided where its proxy is started")
            .help("remove it, or leave it for whatever makes the load balancer");
        context.report(finding);
    }
}

/// What callers' certificates must be, by port.
struct Clients {
    default: Option<ClientCertificates>,
    ports: BTreeMap<u16, Option<ClientCertificates>>,
}

impl Clients {
    fn of(
        context: &mut Context<'_>,
        facts: &Facts<'_>,
        document: &ParsedDocument,
        tls: Option<&gateway::GatewayTls>,
    ) -> Self {
        let Some(frontend) = tls.and_then(|tls| tls.frontend.as_deref()) else {
            return Self { default: None, ports: BTreeMap::new() };
        };
        let mut asked = |config: &gateway::TlsConfig| {
            let references = &config.validation.as_ref()?.ca_certificate_refs;
            for reference in references {
                grant(context, facts, document, reference, reference.issuers().unwrap_or("ConfigMap"));
            }
            Some(ClientCertificates {
                optional: false,
                anchors: facts.certificates(context, document, references),
            })
        };
        let default = asked(&frontend.default);
        let ports = frontend.per_port.iter().map(|of| (of.port.value, asked(&of.tls))).collect();
        Self { default, ports }
    }

    fn on(&self, port: u16) -> Option<ClientCertificates> {
        self.ports.get(&port).unwrap_or(&self.default).clone()
    }
}

fn listener(
    context: &mut Context<'_>,
    facts: &Facts<'_>,
    draft: &Draft<'_>,
    document: &ParsedDocument,
    written: &Spanned<gateway::Listener>,
    clients: &Clients,
) -> Option<GatewayListener> {
    let protocol = written.protocol()?;
    let tls = match (protocol, written.tls_mode()) {
        (ListenerProtocol::Http | ListenerProtocol::Tcp | ListenerProtocol::Udp, _) => None,
        (ListenerProtocol::Tls, TlsMode::Passthrough) => Some(ListenerTls::Passthrough),
        (ListenerProtocol::Https | ListenerProtocol::Tls, _) => {
            let references =
                written.tls.as_ref().map(|tls| tls.certificate_refs.as_slice()).unwrap_or_default();
            let certificates =
                references.iter().map(|secret| certificate(context, facts, document, secret)).collect();
            let https = protocol == ListenerProtocol::Https;
            let clients = clients.on(written.port.value).filter(|_| https);
            Some(ListenerTls::Terminate(TerminatedTls { certificates, clients, ..TerminatedTls::default() }))
        }
    };
    Some(GatewayListener {
        name: name_in(draft, document, written),
        port: written.port.value,
        protocol: match protocol {
            ListenerProtocol::Http | ListenerProtocol::Https => Protocol::Http,
            ListenerProtocol::Tls => Protocol::Tls,
            ListenerProtocol::Tcp => Protocol::Tcp,
            ListenerProtocol::Udp => Protocol::Udp,
        },
        hosts: hosts(written),
        tls,
        at: At { ..context.at(document, written.span, Some(written.name.value.clone())) },
        span: written.span,
    })
}

/// The name of a listener in its gateway. Two sets may each have a listener of one name.
fn name_in(draft: &Draft<'_>, document: &ParsedDocument, written: &gateway::Listener) -> String {
    match document.span == draft.document.span {
        true => written.name.value.clone(),
        false => format!("{}/{}/{}", document.namespace(), document.name(), written.name),
    }
}

fn hosts(written: &gateway::Listener) -> Vec<HostPattern> {
    let named = written.hostname().and_then(|hostname| HostPattern::parse(hostname).ok());
    vec![named.unwrap_or(HostPattern::Any)]
}

/// The name of a certificate; its files are in the proxy's own configuration.
fn certificate(
    context: &mut Context<'_>,
    facts: &Facts<'_>,
    document: &ParsedDocument,
    secret: &Spanned<ObjectRef>,
) -> String {
    let namespace = grant(context, facts, document, secret, "Secret");
    if let Some((of, found)) = facts.secret(namespace, &secret.name)
        && !found.is_server()
    {
        let message = format!("`{of}` has no `{CERTIFICATE_KEY}` with a `{PRIVATE_KEY}`");
        let finding = Diagnostic::error(INVALID_VALUE, message)
            .object(document.object())
            .at(secret.name.span)
            .related(of.metadata.name.span, "the Secret is here")
            .help(format!("name a Secret of type `{TLS_TYPE}`"));
        context.report(finding);
    }
    format!("{namespace}/{}", secret.name)
}

/// Checks that a reference is granted, and gives its namespace.
fn grant<'r>(
    context: &mut Context<'_>,
    facts: &Facts<'_>,
    document: &'r ParsedDocument,
    reference: &'r ObjectRef,
    kind: &str,
) -> &'r str {
    let namespace = reference.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
    grants::check(context, facts, document, &Reference { namespace, kind, name: &reference.name });
    namespace
}

/// Lets routes find the listeners of a gateway.
fn open<'d>(doors: &mut Doors<'d>, index: GatewayIndex, gateway: &Gateway, draft: &Draft<'d>) {
    for (document, written) in &draft.listeners {
        let place = |span: Span| gateway.listeners.iter().position(|listener| listener.span == span);
        let Some(place) = place(written.span) else { continue };
        let kind = match document.span == draft.document.span {
            true => ParentKind::Gateway,
            false => ParentKind::ListenerSet,
        };
        let key = (kind, document.namespace(), document.name());
        let door = Door { gateway: index, place, written, hosts: hosts(written), namespace: key.1 };
        doors.entry(key).or_default().push(door);
    }
}
