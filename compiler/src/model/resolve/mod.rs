//! Documents to a mesh: every name bound to what it means, or reported.
//!
//! In this order, because each step needs the names that those before it define: the Mesh document (`mesh`), services
//! with their ports, endpoints and subsets (`services`, `kubernetes`), routes (`gateway`, `istio`), peers
//! (`peer_tls`), issuers of tokens (`tokens`), access (`access`, `istio_access`), traffic (`traffic`), tests
//! (`policy_test`). Nothing is guessed: a name that is not there is an `unknown-reference`, and what it was for is left
//! out, so that the other documents are still checked.
//!
//! What documents say is dropped when it is bound: routes one by one, as they are most of it, the rest at the end.

mod access;
mod convert;
mod gateway;
mod istio;
mod istio_access;
mod gateway_access;
mod istio_condition;
mod mesh;
mod peer_tls;
mod policy_test;
mod services;
mod kubernetes;
mod lines;
mod pods;
mod external;
mod telemetry;
mod traffic;
mod traffic_settings;
mod tokens;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use weft_bundle::body::Origin;

use self::lines::Lines;
use super::{At, GatewayIndex, Mesh, Port, Service, ServiceIndex};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::dialect::kubernetes::workload;
use crate::dialect::{Kind, NOT_SUPPORTED, Parsed, ParsedDocument};
use crate::parallel;
use crate::source::Sources;
use crate::yaml::{INVALID_VALUE, Span, Spanned};

/// The mesh that documents describe, and what was wrong with them. Without a Mesh document, one that stands for it.
///
/// Of documents that nobody else holds only the heads are left: what they say is in the mesh then, and at ten thousand
/// services takes as much memory again.
pub fn resolve(sources: &Sources, parsed: &mut Parsed) -> (Mesh, Vec<Diagnostic>) {
    let routes = parsed.take_routes();
    let resolved = bind(sources, parsed, routes);
    parsed.forget_specs();
    resolved
}

/// `routes` are what the documents in these places say, if they do not say it any more.
fn bind(sources: &Sources, parsed: &Parsed, mut routes: Vec<Option<Kind>>) -> (Mesh, Vec<Diagnostic>) {
    let lines = Lines::of(sources);
    let mut context = Context {
        sources,
        unread: &parsed.unread,
        guessed: &parsed.guessed,
        lines: &lines,
        found: Vec::new(),
        guesses: GUESSES,
        by_name: None,
        issuers: Arc::default(),
    };
    let unique = unique(&mut context, &parsed.documents);
    let documents: Vec<&ParsedDocument> = unique.iter().map(|(_, document)| *document).collect();
    let routes =
        unique.iter().map(|(place, document)| (*document, routes.get_mut(*place).and_then(Option::take)));
    let routes = routes.collect();
    context.issuers = Arc::new(issuers(&documents));
    let mut mesh = mesh::resolve(&mut context, &documents);
    mesh.accounts = pods::accounts(&mut context, &documents, &mesh);
    mesh.services = services::resolve(&mut context, &documents, &mesh);
    services::bind_calls(&mut context, &documents, &mut mesh);
    istio::sidecar::bind(&mut context, &documents, &mut mesh);
    let gates = istio::gateway::add(&mut context, &documents, &mut mesh);
    gateway::resolve(&mut context, &documents, routes, &mut mesh);
    // What callers are told of TLS is judged by what the callees ask for.
    peer_tls::resolve(&mut context, &documents, &mut mesh);
    istio::destination_rule::bind(&mut context, &documents, &mut mesh);
    istio::resolve(&mut context, &documents, &gates, &mut mesh);
    tokens::resolve(&mut context, &documents, &mut mesh);
    access::resolve(&mut context, &documents, &mut mesh);
    istio_access::resolve(&mut context, &documents, &mut mesh);
    gateway_access::check(&mut context, &mesh);
    traffic::resolve(&mut context, &documents, &mut mesh);
    telemetry::resolve(&mut context, &documents, &mut mesh);
    policy_test::resolve(&mut context, &documents, &mut mesh);
    mesh.reindex();
    istio::callers::check(&mut context, &mesh);
    istio::destination_rule::check(&mut context, &mesh);
    (mesh, context.found)
}

/// What every step needs: the texts, for lines, and a place for findings.
struct Context<'s> {
    sources: &'s Sources,
    /// Objects that are there and could not be read.
    unread: &'s BTreeSet<String>,
    guessed: &'s BTreeSet<String>,
    lines: &'s Lines<'s>,
    found: Vec<Diagnostic>,
    /// How many more pairs of letters may be compared.
    guesses: usize,
    /// The first service of each name, made when first asked for.
    by_name: Option<BTreeMap<String, ServiceIndex>>,
    /// The certificates to believe of Secrets, by namespace and name.
    issuers: Arc<BTreeMap<(String, String), Issuers>>,
}

/// Certificates in a Secret.
#[derive(Clone)]
struct Issuers {
    /// The Secret.
    object: String,
    /// In PEM.
    pem: Spanned<String>,
}

fn issuers(documents: &[&ParsedDocument]) -> BTreeMap<(String, String), Issuers> {
    let found = documents.iter().filter_map(|document| {
        let Kind::Secret(secret) = &document.spec else { return None };
        let issuers = Issuers { object: document.object(), pem: secret.anchors()?.clone() };
        Some(((document.namespace().to_owned(), document.name().to_owned()), issuers))
    });
    found.collect()
}

/// How many pairs of letters are compared to guess what was meant by names that nothing has, all together: about a second's
/// work. A repository that lacks half of its files has a great many such names, and the first few suggestions say as much
/// as all.
const GUESSES: usize = 200_000_000;

/// So many things are bound by one thread in a row. The number of threads must not matter for what is found.
const PART: usize = 256;

impl Context<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// Binds things, each by itself, with several threads, and drops each when it is bound. Results and findings come in the
    /// order of the things.
    fn each<T: Send, R: Send>(
        &mut self,
        things: Vec<T>,
        bind: impl Fn(&mut Context<'_>, T) -> Option<R> + Sync,
    ) -> Vec<R> {
        let mut things = things.into_iter();
        let next = || Some(things.by_ref().take(PART).collect()).filter(|part: &Vec<T>| !part.is_empty());
        let parts: Vec<Mutex<Vec<T>>> = std::iter::from_fn(next).map(Mutex::new).collect();
        let guesses = self.guesses / parts.len().max(1);
        let bound = parallel::map(&parts, |_, part| {
            let mut own = Context {
                sources: self.sources,
                unread: self.unread,
                guessed: self.guessed,
                lines: self.lines,
                found: Vec::new(),
                guesses,
                by_name: None,
                issuers: Arc::clone(&self.issuers),
            };
            let part = std::mem::take(&mut *part.lock().unwrap_or_else(PoisonError::into_inner));
            let made: Vec<R> = part.into_iter().filter_map(|thing| bind(&mut own, thing)).collect();
            (made, own.found, guesses - own.guesses)
        });
        let mut made = Vec::with_capacity(bound.iter().map(|(part, ..)| part.len()).sum());
        for (part, found, guessed) in bound {
            made.extend(part);
            self.found.extend(found);
            self.guesses -= guessed;
        }
        made
    }

    /// The place of a part of a document.
    fn at(&self, document: &ParsedDocument, span: Span, rule: Option<String>) -> At {
        let line = self.lines.line(span);
        let file = self.sources.path(span.file).to_owned();
        At { origin: Origin { object: document.object(), rule, file, line }, span }
    }

    /// The place of a whole document: its name.
    fn at_document(&self, document: &ParsedDocument) -> At {
        self.at(document, document.metadata.name.span, None)
    }

    /// Reports a name that nothing has.
    fn unknown(&mut self, document: &ParsedDocument, span: Span, what: &str, name: &str, known: &[&str]) {
        let near = self.near(name, known);
        let finding = Diagnostic::error("unknown-reference", format!("there is no {what} `{name}`"))
            .object(document.object())
            .at(span)
            .label("not found")
            .maybe_help(near.map(|near| format!("did you mean `{near}`?")));
        self.report(finding);
    }

    /// Reports two policies that set the same fields of one target: neither is nearer, so neither wins.
    fn clash<F: AsRef<str>>(&mut self, fields: &[F], one: (&Origin, Span), other: (&Origin, Span)) {
        let (a, b) = (&one.0.object, &other.0.object);
        let fields: Vec<&str> = fields.iter().map(AsRef::as_ref).collect();
        let message = format!("`{b}` and `{a}` both set `{}` for one target", fields.join("`, `"));
        let finding = Diagnostic::error("conflicting-settings", message)
            .object(b.clone())
            .at(other.1)
            .related(one.1, "the other one")
            .help("set it in one of them, or give them different targets");
        self.report(finding);
    }

    /// The known name that was probably meant, while there are guesses left.
    fn near<'k>(&mut self, name: &str, known: &[&'k str]) -> Option<&'k str> {
        let letters: usize = known.iter().map(|known| known.len()).sum();
        self.guesses = self.guesses.checked_sub(letters.saturating_mul(name.len()))?;
        did_you_mean(name, known.iter().copied())
    }

    /// Whether some object of a kind could not be read, so that what is missing may be there.
    fn has_unread(&self, kind: &str) -> bool {
        let mut all = self.unread.iter().chain(self.guessed);
        all.any(|object| object.split(' ').next() == Some(kind))
    }

    /// Whether an object of a kind is there and could not be read, as far as one sees.
    fn is_unread(&self, kind: &str, namespace: &str, name: &str) -> bool {
        self.unread.contains(&format!("{kind} {namespace}/{name}"))
            || self.guessed.contains(&format!("{kind} {name}"))
    }

    /// Whether some workloads, or what says which labels they have, could not be read.
    fn has_unread_workloads(&self) -> bool {
        let makers = workload::KINDS.iter().map(|(kind, _)| *kind);
        makers.chain(["Service", "Pod", "EndpointSlice", "WorkloadEntry"]).any(|kind| self.has_unread(kind))
    }

    /// Whether the service has that subset; a finding if not.
    fn subset(&mut self, document: &ParsedDocument, service: &Service, name: &Spanned<String>) -> bool {
        let told = service.views.iter().flat_map(|view| view.subsets.keys());
        let mut all = service.subsets.keys().chain(told);
        let found = all.any(|known| *known == name.value);
        if !found && !self.has_unread("DestinationRule") {
            let known: Vec<&str> = service.subsets.keys().map(String::as_str).collect();
            self.unknown(document, name.span, &format!("subset of `{}` called", service.id()), name, &known);
        }
        found
    }

    /// The service that a reference names, or a finding.
    fn service(
        &mut self,
        mesh: &Mesh,
        document: &ParsedDocument,
        namespace: &str,
        name: &Spanned<String>,
    ) -> Option<ServiceIndex> {
        let found = mesh.find(namespace, name);
        let kinds = ["Service", "ExternalService", "ServiceEntry"];
        if found.is_none() && !kinds.iter().any(|kind| self.is_unread(kind, namespace, name)) {
            match self.elsewhere(mesh, name) {
                Some(service) => {
                    let finding = Diagnostic::error(
                        "unknown-reference",
                        format!("there is no service `{namespace}/{name}`"),
                    )
                    .object(document.object())
                    .at(name.span)
                    .label("not found")
                    .related(service.at.span, format!("but there is `{}`", service.id()))
                    .help(format!("add `namespace: {}` if that is the one", service.namespace));
                    self.report(finding);
                }
                None => {
                    let own: Vec<&str> = mesh.in_namespace(namespace).map(|s| s.name.as_str()).collect();
                    let what = format!("service in namespace `{namespace}` called");
                    self.unknown(document, name.span, &what, name, &own);
                }
            }
        }
        found
    }

    /// The gateway that a reference names, or a finding.
    fn gateway(
        &mut self,
        mesh: &Mesh,
        document: &ParsedDocument,
        namespace: &str,
        name: &Spanned<String>,
    ) -> Option<GatewayIndex> {
        let several = match mesh.gateway_named(namespace, name) {
            Ok(found) => return Some(found),
            Err(several) => several,
        };
        if let Some(first) = several.first() {
            let message = format!("the workloads of several services are the gateway `{namespace}/{name}`");
            let all = several.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
            let finding = Diagnostic::error("unknown-reference", message)
                .object(document.object())
                .at(name.span)
                .help(format!("name one of {all}, such as `{first}`"));
            self.report(finding);
        } else if !self.is_unread("Gateway", namespace, name) {
            let own = mesh.gateways.iter().filter(|gateway| gateway.namespace == namespace);
            let declared = mesh.gateways.iter().flat_map(|gateway| &gateway.declared_by);
            let declared = declared.filter(|(of, _)| of == namespace).map(|(_, name)| name.as_str());
            let known: Vec<&str> = own.map(|gateway| gateway.name.as_str()).chain(declared).collect();
            let what = format!("gateway in namespace `{namespace}` called");
            self.unknown(document, name.span, &what, name, &known);
        }
        None
    }

    /// The gateway that a policy is for, or a finding: a policy is for all listeners of a gateway, so one of several Gateways
    /// that share it cannot have its own.
    fn whole_gateway(
        &mut self,
        mesh: &Mesh,
        document: &ParsedDocument,
        namespace: &str,
        name: &Spanned<String>,
    ) -> Option<GatewayIndex> {
        let index = self.gateway(mesh, document, namespace, name)?;
        let gateway = mesh.gateway(index);
        let part = gateway.declared_by.len() > 1
            && (gateway.namespace.as_str(), gateway.name.as_str()) != (namespace, name.as_str());
        if part {
            let message = format!(
                "`{namespace}/{name}` is one of several Gateways on the workloads of `{}`",
                gateway.id()
            );
            let finding = Diagnostic::error(NOT_SUPPORTED, message)
                .object(document.object())
                .at(name.span)
                .related(gateway.at.span, "another one is here")
                .with_note("a policy is for all that comes to these workloads, whichever Gateway lets it in")
                .help(format!("name `{}`, or give the Gateway workloads of its own", gateway.id()));
            self.report(finding);
            return None;
        }
        Some(index)
    }

    /// That documents of a namespace may send to a service; a finding if not.
    fn visible(&mut self, document: &ParsedDocument, service: &Service, span: Span) -> Option<()> {
        if service.is_visible_to(document.namespace()) {
            return Some(());
        }
        let message =
            format!("`{}` is not for callers of the namespace `{}`", service.id(), document.namespace());
        let finding = Diagnostic::error("unknown-reference", message)
            .object(document.object())
            .at(span)
            .related(service.at.span, "it says whom it is for")
            .help("add the namespace to its `visibleTo` or `exportTo`");
        self.report(finding);
        None
    }

    /// The first service of that name in any namespace.
    fn elsewhere<'m>(&mut self, mesh: &'m Mesh, name: &str) -> Option<&'m Service> {
        let by_name = self.by_name.get_or_insert_with(|| {
            let mut by_name = BTreeMap::new();
            for (index, service) in mesh.indexed() {
                by_name.entry(service.name.clone()).or_insert(index);
            }
            by_name
        });
        by_name.get(name).map(|index| mesh.service(*index))
    }

    /// Whether the service has a port of that number; a finding if not.
    fn port<'m>(
        &mut self,
        document: &ParsedDocument,
        service: &'m Service,
        number: u16,
        span: Span,
    ) -> Option<&'m Port> {
        let found = service.port(number);
        if found.is_none() {
            let known =
                service.ports.iter().map(|port| format!("`{}`", port.number)).collect::<Vec<_>>().join(", ");
            let finding =
                Diagnostic::error("unknown-reference", format!("`{}` has no port `{number}`", service.id()))
                    .object(document.object())
                    .at(span)
                    .label("not found")
                    .related(
                        service.at.span,
                        format!("it has {}", if known.is_empty() { "none" } else { &known }),
                    );
            self.report(finding);
        }
        found
    }

    /// Reports a text that should hold certificates.
    fn no_certificate(&mut self, document: &ParsedDocument, span: Span) {
        let finding = Diagnostic::error(INVALID_VALUE, "this holds no PEM certificate")
            .object(document.object())
            .at(span)
            .help("a certificate begins with `-----BEGIN CERTIFICATE-----`");
        self.report(finding);
    }

    /// Reports requests routed or judged on a port whose requests cannot be seen.
    fn not_http(
        &mut self,
        analysis: &'static str,
        document: &ParsedDocument,
        span: Span,
        service: &Service,
        port: &Port,
        what: &str,
    ) {
        let message = format!(
            "{what}, but port {} of `{}` speaks {}",
            port.number,
            service.id(),
            port.protocol.as_str()
        );
        let finding = Diagnostic::error(analysis, message)
            .object(document.object())
            .at(span)
            .related(port.span, "the port is declared here")
            .help("declare the port's protocol as `http`, `http2` or `grpc` if that is what it speaks");
        self.report(finding);
    }
}

/// The documents without those whose kind, namespace and name an earlier one has, each with its place.
fn unique<'d>(
    context: &mut Context<'_>,
    documents: &'d [Arc<ParsedDocument>],
) -> Vec<(usize, &'d ParsedDocument)> {
    let mut seen: BTreeMap<(String, String), &ParsedDocument> = BTreeMap::new();
    let mut kept: Vec<(usize, &ParsedDocument)> = Vec::with_capacity(documents.len());
    for (place, document) in documents.iter().enumerate() {
        let group = document.api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
        match seen.entry((group, document.object())) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(document);
                kept.push((place, document));
            }
            std::collections::btree_map::Entry::Occupied(entry) => {
                let finding = Diagnostic::error("duplicate-object", format!("`{document}` is there twice"))
                    .object(document.object())
                    .at(document.metadata.name.span)
                    .label("again here")
                    .related(entry.get().metadata.name.span, "first here")
                    .help("rename one, or merge them");
                context.report(finding);
            }
        }
    }
    kept
}
