//! VirtualServices, bound to the servers of the Gateways that they name.

use std::collections::{BTreeMap, BTreeSet};

use weft_bundle::body::{Redirect, RequestMatch};
use weft_bundle::engine::HostPattern;

use super::super::super::Context;
use super::super::hosts::{Hosts, scope};
use super::super::http::entry;
use super::bound::{Bound, Place};
use super::listeners::{self, Claim, Made, Part, wider};
use super::servers::Server;
use super::{Gates, Name};
use crate::diagnostic::Diagnostic;
use crate::dialect::ParsedDocument;
use crate::dialect::istio::VirtualService;
use crate::dialect::istio::gateway::Speaks;
use crate::model::{ListenerAttachment, Mesh, Order, Route, RouteKind, RouteRule, RuleAction, Settings};
use crate::yaml::{INVALID_VALUE, Span, Spanned};

/// A VirtualService that has hosts.
pub(in crate::model::resolve::istio) type Root<'d> = (&'d ParsedDocument, &'d Spanned<VirtualService>);

/// Makes the listeners of all gateways, and says of each VirtualService for which it decides. Adds the routes that send
/// requests to `https`.
pub(in crate::model::resolve::istio) fn bind<'d>(
    context: &mut Context<'_>,
    mesh: &mut Mesh,
    hosts: &Hosts,
    gates: &Gates<'d>,
    roots: &[Root<'d>],
) -> Vec<Bound<'d>> {
    let mut bound: Vec<Bound<'d>> = roots.iter().map(|_| Bound::default()).collect();
    let index = index(gates);
    let mut claims = Vec::new();
    for (by, root) in roots.iter().enumerate() {
        let found = Binding { mesh, hosts, gates, index: &index, root: *root, by }.claims(context);
        claims.extend(found);
    }
    for ((namespace, name), made) in listeners::make(context, mesh, gates, claims) {
        let Some(gateway) = mesh.find_gateway(&namespace, &name) else { continue };
        let mut redirects: BTreeMap<usize, Vec<ListenerAttachment>> = BTreeMap::new();
        let mut kept = Vec::new();
        for (listener, Made { listener: own, takers, redirect }) in made.into_iter().enumerate() {
            let attachment = |span| ListenerAttachment { gateway, listener, hosts: own.hosts.clone(), span };
            for ((by, part), (through, span)) in takers {
                let Some(bound) = bound.get_mut(by) else { continue };
                let (port, over_tls) = (own.port, own.tls.is_some());
                let place = Place { attachment: attachment(span), through, port, over_tls };
                bound.listeners.entry(part).or_default().push(place);
            }
            if let Some(server) = redirect {
                redirects.entry(server).or_default().push(attachment(own.span));
            }
            kept.push(own);
        }
        for (server, listeners) in redirects {
            let Some(server) = gates.servers.get(server) else { continue };
            mesh.routes.push(to_https(context, server, listeners));
        }
        if let Some(gateway) = mesh.gateways.get_mut(gateway.0) {
            gateway.listeners = kept;
        }
    }
    bound
}

/// The servers of each document by their hosts.
type Index<'g> = BTreeMap<Name<'g>, BTreeMap<String, Vec<(usize, Option<&'g str>)>>>;

fn index<'g>(gates: &'g Gates<'_>) -> Index<'g> {
    let mut index = Index::new();
    for (place, server) in gates.servers.iter().enumerate() {
        let document = server.document;
        let here = index.entry((document.namespace(), document.name())).or_default();
        for (namespace, host) in server.written.names(document.namespace()) {
            here.entry(host.to_string()).or_default().push((place, namespace));
        }
    }
    index
}

/// A route that sends everything to `https`. The request's port is left out: who came by it in clear text cannot go there
/// with TLS.
fn to_https(context: &mut Context<'_>, server: &Server<'_>, listeners: Vec<ListenerAttachment>) -> Route {
    let span = server.written.redirects().map_or(server.written.span, |redirects| redirects.span);
    let name = Some(server.written.name().value.clone());
    let redirect =
        Redirect { scheme: Some("https".to_owned()), host: None, port: None, path: None, status: 301 };
    let rule =
        RouteRule::new(context.at(server.document, span, name), RuleAction::Redirect(Box::new(redirect)));
    Route {
        at: context.at_document(server.document),
        namespace: server.document.namespace().to_owned(),
        kind: RouteKind::Http,
        attachments: Vec::new(),
        listeners,
        order: Order::Listed,
        priority: None,
        entries: vec![entry(RequestMatch::default(), 0, span)],
        rules: vec![rule],
        dialect_defaults: Settings::default().shared(),
    }
}

/// One VirtualService on its way to its servers.
struct Binding<'b, 'd> {
    mesh: &'b Mesh,
    hosts: &'b Hosts,
    gates: &'b Gates<'d>,
    index: &'b Index<'b>,
    root: Root<'d>,
    by: usize,
}

/// A server that takes a host of the VirtualService.
struct Taken {
    server: usize,
    own: HostPattern,
    names: HostPattern,
}

impl<'d> Binding<'_, 'd> {
    fn claims(&self, context: &mut Context<'_>) -> Vec<Claim<'d>> {
        let (document, spec) = self.root;
        let mut claims = Vec::new();
        let mut named: BTreeMap<Name<'d>, Span> = BTreeMap::new();
        for written in spec.gateways.iter().filter(|gateway| gateway.value != "mesh") {
            if let Some(gateway) = self.gateway(context, written) {
                named.entry(gateway).or_insert(written.span);
            }
        }
        self.check_conditions(context, &named);
        let visible = scope(document, &spec.export_to);
        let mut heard = BTreeSet::new();
        let (mut servers, mut hidden) = (BTreeSet::new(), None);
        for (&through, &span) in &named {
            for taken in self.taken(through, &mut heard) {
                let Some(server) = self.gates.servers.get(taken.server) else { continue };
                if !visible.includes(&server.gateway.0) {
                    hidden = Some(server.gateway.clone());
                    continue;
                }
                servers.insert(taken.server);
                self.claim(&taken, server, through, span, &mut claims);
            }
        }
        if let (true, Some((namespace, name))) = (servers.is_empty(), hidden) {
            self.not_exported(context, &namespace, &name);
        } else if self.has_servers(&named) {
            self.check_hosts(context, &named, &heard);
            self.check_parts(context, &servers, &claims);
        }
        claims
    }

    /// The servers of a Gateway that take a host of the VirtualService. Notes which hosts are taken.
    fn taken(&self, gateway: Name<'d>, heard: &mut BTreeSet<usize>) -> Vec<Taken> {
        let (document, spec) = self.root;
        let Some(servers) = self.index.get(&gateway) else { return Vec::new() };
        let mut taken = Vec::new();
        for (place, host) in spec.hosts.iter().enumerate() {
            let Ok(host) = HostPattern::parse(&full(document, host)) else { continue };
            let wide = wider(&host).into_iter();
            let mut pairs: Vec<(HostPattern, HostPattern)> = wide
                .map(|own| (own, host.clone()))
                .filter(|(own, _)| servers.contains_key(&own.to_string()))
                .collect();
            if !matches!(host, HostPattern::Exact(_)) {
                let own = servers.keys().filter_map(|own| HostPattern::parse(own).ok());
                let narrow = own.filter(|own| *own != host && host.intersection(own).as_ref() == Some(own));
                pairs.extend(narrow.map(|own| (own.clone(), own)));
            }
            for (own, names) in pairs {
                let here = servers.get(&own.to_string()).into_iter().flatten();
                for (server, _) in here.filter(|(_, of)| of.is_none_or(|of| of == document.namespace())) {
                    heard.insert(place);
                    taken.push(Taken { server: *server, own: own.clone(), names: names.clone() });
                }
            }
        }
        taken
    }

    /// What the VirtualService decides on a server, by what that looks at.
    fn claim(
        &self,
        taken: &Taken,
        server: &Server<'_>,
        through: Name<'d>,
        span: Span,
        claims: &mut Vec<Claim<'d>>,
    ) {
        let (_, spec) = self.root;
        let mut add = |names: HostPattern, part| {
            let (server, own, by) = (taken.server, taken.own.clone(), self.by);
            claims.push(Claim { server, own, names, by, part, through, span });
        };
        match server.written.speaks() {
            Speaks::Http if !spec.http.is_empty() => add(taken.names.clone(), Part::Requests),
            Speaks::Bytes if !spec.tcp.is_empty() => add(taken.names.clone(), Part::Connections),
            Speaks::ServerNames => {
                for (route, written) in spec.tls.iter().enumerate() {
                    for (place, condition) in written.matches.iter().enumerate() {
                        let port = condition.port.is_none_or(|port| port.value == server.port());
                        if !port || !self.is_through(&condition.gateways, through) {
                            continue;
                        }
                        let asked = condition.sni_hosts.iter();
                        let asked = asked.filter_map(|n| HostPattern::parse(&n.to_ascii_lowercase()).ok());
                        for names in asked.filter_map(|names| names.intersection(&taken.names)) {
                            add(names, Part::ServerName(route, place));
                        }
                    }
                }
            }
            Speaks::Http | Speaks::Bytes => {}
        }
    }

    fn is_through(&self, gateways: &[Spanned<String>], through: Name<'_>) -> bool {
        gateways.is_empty() || gateways.iter().any(|gateway| name_of(self.root.0, gateway) == through)
    }

    fn has_servers(&self, named: &BTreeMap<Name<'d>, Span>) -> bool {
        named.keys().any(|name| self.index.contains_key(name))
    }

    /// The Gateway that a name stands for, or a finding.
    fn gateway(&self, context: &mut Context<'_>, written: &'d Spanned<String>) -> Option<Name<'d>> {
        let (document, _) = self.root;
        let (namespace, name) = name_of(document, written);
        if let Some((found, _)) = self.gates.documents.get_key_value(&(namespace, name)) {
            return Some(*found);
        }
        if context.is_unread("Gateway", namespace, name) {
            return None;
        }
        let message = format!("there is no Gateway of networking.istio.io called `{namespace}/{name}`");
        let finding = Diagnostic::error("unknown-reference", message)
            .object(document.object())
            .at(written.span)
            .label("not found");
        let elsewhere = self.gates.documents.iter().find(|((_, other), _)| *other == name);
        let finding = if let Some(other) = self.gates.others.get(&(namespace, name)) {
            finding
                .related(other.metadata.name.span, "this one is of the Gateway API, which takes its own routes")
                .help("write the routes as an HTTPRoute with this `parentRefs`, or the Gateway as one of Istio's")
        } else if let Some((_, other)) = elsewhere {
            finding
                .related(other.metadata.name.span, format!("but there is `{}/{name}`", other.namespace()))
                .help(format!("write `{}/{name}` if that is the one", other.namespace()))
        } else {
            let known = self.gates.documents.keys().map(|(of, name)| format!("{of}/{name}"));
            let known: Vec<String> = known.collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let near = context.near(&format!("{namespace}/{name}"), &known);
            let help = match near.map(|near| near.strip_prefix(&format!("{}/", document.namespace())).unwrap_or(near)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "a name without `/` is one of the VirtualService's own namespace; write `namespace/name`, or add the Gateway".to_owned(),
            };
            finding.help(help)
        };
        context.report(finding);
        None
    }

    // ------------------------------------------------------------------------------------- what comes to nothing

    /// Reports Gateways that a condition names and the VirtualService does not.
    fn check_conditions(&self, context: &mut Context<'_>, named: &BTreeMap<Name<'d>, Span>) {
        let (document, spec) = self.root;
        let of_http = spec.http.iter().flat_map(|route| &route.matches).flat_map(|m| &m.gateways);
        let of_tls = spec.tls.iter().flat_map(|route| &route.matches).flat_map(|m| &m.gateways);
        let of_tcp = spec.tcp.iter().flat_map(|route| &route.matches).flat_map(|m| &m.gateways);
        for gateway in of_http.chain(of_tls).chain(of_tcp) {
            let known = match gateway.as_str() {
                "mesh" => spec.applies_to_mesh(),
                _ => {
                    let wanted = name_of(document, gateway);
                    let written =
                        |own: &Spanned<String>| own.value != "mesh" && name_of(document, own) == wanted;
                    named.contains_key(&wanted) || spec.gateways.iter().any(written)
                }
            };
            if !known {
                let message = format!("`{gateway}` is not one of the `gateways` of the VirtualService");
                let finding = Diagnostic::error(INVALID_VALUE, message)
                    .object(document.object())
                    .at(gateway.span)
                    .label("nothing comes from there")
                    .help("add it to `spec.gateways`, or remove it here");
                context.report(finding);
            }
        }
    }

    /// Reports that the VirtualService is hidden from the only gateways that it is for.
    fn not_exported(&self, context: &mut Context<'_>, namespace: &str, name: &str) {
        let (document, spec) = self.root;
        let message = format!(
            "`exportTo` leaves out the namespace `{namespace}`, where the workloads of its gateway `{name}` are"
        );
        let place = spec.export_to.first().map_or(document.metadata.name.span, |scope| scope.span);
        let finding = Diagnostic::error("not-admitted", message).object(document.object()).at(place);
        context.report(finding.help(format!("add `{namespace}`")));
    }

    /// Reports hosts that are nobody's: no server takes them, and no service of the mesh has them.
    fn check_hosts(
        &self,
        context: &mut Context<'_>,
        named: &BTreeMap<Name<'d>, Span>,
        heard: &BTreeSet<usize>,
    ) {
        let (document, spec) = self.root;
        for (_, host) in spec.hosts.iter().enumerate().filter(|(place, _)| !heard.contains(place)) {
            // What is no host was reported while reading.
            if HostPattern::parse(&host.to_ascii_lowercase()).is_err()
                || (spec.applies_to_mesh() && self.is_of_mesh(host))
            {
                continue;
            }
            let message = format!("no server of its gateways takes `{host}`");
            let finding = Diagnostic::error("not-admitted", message).object(document.object()).at(host.span);
            let servers = self.gates.servers.iter();
            let servers =
                servers.filter(|s| named.contains_key(&(s.document.namespace(), s.document.name())));
            let mut seen = BTreeSet::new();
            let servers = servers.filter(|server| seen.insert(server.written.span));
            let finding = servers.take(4).fold(finding, |finding, server| {
                let hosts = server.written.hosts.iter().map(|host| format!("`{host}`")).collect::<Vec<_>>();
                let text = format!("server `{}` takes {}", server.written.name(), hosts.join(", "));
                finding.related(server.written.span, text)
            });
            context.report(finding.help("add the host to a server, or correct it"));
        }
    }

    fn is_of_mesh(&self, host: &str) -> bool {
        let (document, _) = self.root;
        match HostPattern::parse(host) {
            Ok(HostPattern::Exact(_)) => self.hosts.knows(self.mesh, document, host),
            Ok(pattern) => !Hosts::matching(self.mesh, document.namespace(), &pattern).is_empty(),
            Err(_) => true,
        }
    }

    /// Reports routes of a kind that none of the servers looks at.
    fn check_parts(&self, context: &mut Context<'_>, servers: &BTreeSet<usize>, claims: &[Claim<'d>]) {
        let (document, spec) = self.root;
        if servers.is_empty() || spec.applies_to_mesh() {
            return;
        }
        let speaks = |wanted: Speaks| {
            servers
                .iter()
                .filter_map(|place| self.gates.servers.get(*place))
                .any(|s| s.written.speaks() == wanted)
        };
        let parts = [
            (
                spec.http.first().map(|route| route.span),
                Speaks::Http,
                "`http` routes requests",
                "HTTP, or HTTPS with TLS that ends there",
            ),
            (
                spec.tls.first().map(|route| route.span),
                Speaks::ServerNames,
                "`tls` routes by server name",
                "TLS or HTTPS with `mode: PASSTHROUGH`",
            ),
            (
                spec.tcp.first().map(|route| route.span),
                Speaks::Bytes,
                "`tcp` routes connections",
                "TCP, or TLS that ends there",
            ),
        ];
        for (span, wanted, what, need) in parts {
            let Some(span) = span.filter(|_| !speaks(wanted)) else { continue };
            let message = format!("{what}, but no server that takes the hosts is for {need}");
            let finding = Diagnostic::error("protocol-mismatch", message).object(document.object()).at(span);
            let servers = servers.iter().filter_map(|place| self.gates.servers.get(*place)).take(4);
            let finding = servers.fold(finding, |finding, server| {
                let text = format!("server `{}`", server.written.name());
                finding.related(server.written.port.span, text)
            });
            context.report(finding.help("route what the server looks at, or change the server"));
        }
        for (route, written) in spec.tls.iter().enumerate().filter(|_| speaks(Speaks::ServerNames)) {
            for (place, condition) in written.matches.iter().enumerate() {
                if claims.iter().any(|claim| claim.part == Part::ServerName(route, place)) {
                    continue;
                }
                let message = "no server of its gateways takes these server names on such a port";
                let span = condition.sni_hosts.first().map_or(condition.span, |name| name.span);
                let finding = Diagnostic::error("not-admitted", message).object(document.object()).at(span);
                context.report(finding.help("add them to the `hosts` of the server, or correct them"));
            }
        }
    }
}

/// A host of a VirtualService as it is compared: a short name stands for that of a service of its namespace, also here
/// (istio:pilot/pkg/model/virtualservice.go, `resolveVirtualServiceShortnames`).
fn full(document: &ParsedDocument, host: &str) -> String {
    match host.contains(['.', '*']) {
        true => host.to_ascii_lowercase(),
        false => format!("{host}.{}.svc.cluster.local", document.namespace()),
    }
}

/// Namespace and name of a Gateway, as a document names it.
pub(super) fn name_of<'n>(document: &'n ParsedDocument, written: &'n str) -> Name<'n> {
    match written.split_once('/') {
        Some((".", name)) => (document.namespace(), name),
        Some((namespace, name)) => (namespace, name),
        None => (document.namespace(), written),
    }
}
