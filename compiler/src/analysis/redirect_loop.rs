//! # What it finds
//! A redirect that leads back to where it came from: who follows is redirected again, without end. For a rule on a service,
//! a request that reaches the rule is sent through the functions that proxies decide with; its `Location` is followed, also to
//! other services, until the same request comes again or twenty redirects are over. For a rule on a gateway, a redirect
//! that leaves scheme, host, port and path as they are is found.
//!
//! It is exact for the request that it shows: that one does loop. It tries one request for each condition, with the headers
//! repeated as `curl -L` does; that other requests of the rule loop is not excluded.
//!
//! # Why it matters
//! Browsers give up after about twenty redirects and show an error; programs without a limit go on.
//!
//! # Example
//! ```yaml
//! http:
//! - match: [ { uri: { prefix: /shop } } ]
//!   redirect: { uri: /shop/home }                 # begins with /shop again
//! ```
//!
//! # Fix
//! Let the condition exclude the target, such as by an exact path, or redirect elsewhere. A redirect to `https` belongs on the
//! listener without TLS only.
//!
//! # References
//! RFC 9110, section 15.4 ("A client SHOULD detect and intervene in cyclical redirections"); Fetch standard (twenty redirects);
//! Gateway API v1, HTTPRequestRedirectFilter.

use std::collections::BTreeMap;
use std::fmt::Write;

use weft_bundle::body::{Action, ListenerTls, PathMatch, PathRewrite, Redirect, RequestMatch};
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{Engine, HostPattern, redirect_location, split_authority};

use super::scene::{self, HOST, Sent};
use super::unreachable_route::{entry_of, rule_name};
use crate::diagnostic::Diagnostic;
use crate::model::routing::{self, PlannedEntry};
use crate::model::{
    GatewayListener, ListenerAttachment, Mesh, Port, Route, RouteRule, RuleAction, ServiceIndex,
};
use crate::reach::{Limits, Reach, Reachability};
use crate::yaml::Span;

/// How many redirects a browser follows (Fetch standard, `redirect count`).
const MOST_REDIRECTS: usize = 20;

/// How many steps are shown.
const SHOWN: usize = 4;

/// One finding per condition or listener.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let mut found: BTreeMap<Span, Diagnostic> = BTreeMap::new();
    for (index, service) in mesh.indexed().filter(|(index, _)| redirects(mesh, *index)) {
        for port in service.ports.iter().filter(|port| port.protocol.is_http()) {
            for audience in routing::audiences(mesh, index, port) {
                for (span, finding) in of_frontend(mesh, index, port, &audience.namespace) {
                    found.entry(span).or_insert(finding);
                }
            }
        }
    }
    for route in mesh.routes.iter().filter(|route| !route.listeners.is_empty()) {
        for (span, finding) in of_gateways(mesh, route) {
            found.entry(span).or_insert(finding);
        }
    }
    found.into_values().collect()
}

fn redirects(mesh: &Mesh, service: ServiceIndex) -> bool {
    let routes = mesh.index.routes(service).iter().filter_map(|place| mesh.routes.get(*place));
    routes.flat_map(|route| &route.rules).any(|rule| matches!(rule.action, RuleAction::Redirect(_)))
}

/// What callers of a namespace see of a port.
struct Scene<'m> {
    entries: Vec<PlannedEntry<'m>>,
    engine: Engine,
}

fn scene<'m>(mesh: &'m Mesh, index: ServiceIndex, port: &Port, namespace: &str) -> Option<Scene<'m>> {
    let plan = routing::plan(mesh, index, port, namespace);
    // Whom such entries are for is not known of a request alone.
    if plan.entries.iter().any(|planned| !planned.entry.source_labels.is_empty()) {
        return None;
    }
    let action = |planned: &PlannedEntry<'_>| match &planned.rule().action {
        RuleAction::Redirect(redirect) => Action::Redirect(redirect.clone()),
        RuleAction::Forward(_) | RuleAction::Respond { .. } => scene::respond(),
    };
    let entries = plan.entries.iter().map(|planned| (planned.entry.condition.clone(), action(planned)));
    let engine = scene::engine(entries.collect())?;
    Some(Scene { entries: plan.entries, engine })
}

fn of_frontend(mesh: &Mesh, index: ServiceIndex, port: &Port, namespace: &str) -> Vec<(Span, Diagnostic)> {
    let Some(scene) = scene(mesh, index, port, namespace) else { return Vec::new() };
    let conditions: Vec<_> = scene.entries.iter().map(|planned| entry_of(&planned.entry.condition)).collect();
    let mut list = Reachability::new(&conditions, &Limits::default());
    let service = mesh.service(index);
    let authority = match port.number {
        80 => format!("{}.{}", service.name, service.namespace),
        number => format!("{}.{}:{number}", service.name, service.namespace),
    };
    let mut walk = Walk { mesh, namespace, scenes: BTreeMap::new() };
    let mut found = Vec::new();
    let redirecting = |planned: &PlannedEntry<'_>| matches!(planned.rule().action, RuleAction::Redirect(_));
    for (place, planned) in scene.entries.iter().enumerate().filter(|(_, planned)| redirecting(planned)) {
        let Reach::Reachable { witness } = list.reach(place) else { continue };
        // A request that asks for a host of its own, or for a kind of connection, is not followed.
        if witness.authority.is_some() || !witness.facts.is_empty() {
            continue;
        }
        let Some(sent) = Sent::of(&witness, &authority) else { continue };
        if let Some(steps) = walk.follow(sent, (index, port.number)) {
            found.push((planned.entry.span, report(planned, &steps)));
        }
    }
    found
}

/// Follows redirects through a mesh.
struct Walk<'m> {
    mesh: &'m Mesh,
    namespace: &'m str,
    scenes: BTreeMap<(ServiceIndex, u16), Option<Scene<'m>>>,
}

impl<'m> Walk<'m> {
    /// The requests of a loop, the first one again at its end, or as many as are followed; none if it ends.
    fn follow(&mut self, first: Sent, start: (ServiceIndex, u16)) -> Option<Vec<String>> {
        let mut steps = vec![spoken(&first)];
        let (mut sent, mut at) = (first, start);
        for _ in 0..MOST_REDIRECTS {
            let location = self.location(&sent, at)?;
            let next = redirected(&sent, &location)?;
            at = self.resolve(&next, &sent.authority, at)?;
            let text = spoken(&next);
            let again = steps.contains(&text);
            steps.push(text);
            if again {
                break;
            }
            sent = next;
        }
        Some(steps)
    }

    fn location(&mut self, sent: &Sent, at: (ServiceIndex, u16)) -> Option<String> {
        let (mesh, namespace) = (self.mesh, self.namespace);
        let scene = self.scenes.entry(at).or_insert_with(|| {
            let port = mesh.service(at.0).port(at.1)?;
            scene(mesh, at.0, port, namespace)
        });
        let engine = &scene.as_ref()?.engine;
        let request = sent.as_request();
        let routed = engine.route(engine.frontend(HOST, 80)?, &request);
        match &routed.rule.action {
            Action::Redirect(redirect) => Some(redirect_location(redirect, routed.matched_path(), &request)),
            Action::Forward(_) | Action::Respond { .. } => None,
        }
    }

    /// Who answers the next request; none if nobody of the mesh does.
    fn resolve(&self, next: &Sent, before: &str, at: (ServiceIndex, u16)) -> Option<(ServiceIndex, u16)> {
        let (host, port) = split_authority(&next.authority);
        let port = port.unwrap_or(if next.scheme == "https" { 443 } else { 80 });
        let index = if host == split_authority(before).0 { at.0 } else { self.named(host)? };
        self.mesh.service(index).port(port).map(|port| (index, port.number))
    }

    fn named(&self, host: &str) -> Option<ServiceIndex> {
        let name =
            host.strip_suffix(".svc.cluster.local").or_else(|| host.strip_suffix(".svc")).unwrap_or(host);
        let own = match name.split_once('.') {
            Some((name, namespace)) => self.mesh.find(namespace, name),
            None => self.mesh.find(self.namespace, name),
        };
        let by_host = || self.mesh.services.iter().position(|s| s.hosts.iter().any(|own| own == host));
        own.or_else(|| by_host().map(ServiceIndex))
    }
}

/// What a client asks for next; none if it cannot be sent.
fn redirected(sent: &Sent, location: &str) -> Option<Sent> {
    let (scheme, rest) = location.split_once("://")?;
    let (authority, target) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    Some(Sent {
        method: sent.method.clone(),
        scheme: scheme.to_owned(),
        authority: authority.to_ascii_lowercase(),
        path: CanonicalPath::parse(if path.is_empty() { "/" } else { path }).ok()?,
        query,
        headers: sent.headers.clone(),
    })
}

fn spoken(sent: &Sent) -> String {
    let query = sent.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}://{}{}{query}", sent.scheme, sent.authority, sent.path)
}

fn report(planned: &PlannedEntry<'_>, steps: &[String]) -> Diagnostic {
    let name = rule_name(planned);
    let mut way = String::new();
    for (place, step) in steps.iter().take(SHOWN).enumerate() {
        // Writing to a string does not fail.
        let _ = write!(way, "{}{step}", if place == 0 { "" } else { " → " });
    }
    if steps.len() > SHOWN {
        way.push_str(" → …");
    }
    Diagnostic::warning(
        "redirect-loop",
        format!("who follows the redirect of `{name}` is redirected without end"),
    )
    .object(planned.route.at.origin.object.clone())
    .at(planned.entry.span)
    .label("comes back here")
    .with_note(format!("for example, {way}"))
    .help("let the condition exclude the target, or redirect elsewhere")
}

fn of_gateways(mesh: &Mesh, route: &Route) -> Vec<(Span, Diagnostic)> {
    let mut found = Vec::new();
    for entry in &route.entries {
        let Some(rule) = route.rules.get(entry.rule) else { continue };
        let RuleAction::Redirect(redirect) = &rule.action else { continue };
        let here =
            |attached: &&ListenerAttachment| entry.is_for_listener(attached.gateway, attached.listener);
        for attached in route.listeners.iter().filter(here) {
            let listener =
                mesh.gateways.get(attached.gateway.0).and_then(|g| g.listeners.get(attached.listener));
            if let Some(listener) = listener.filter(|l| stays(redirect, l, attached, &entry.condition)) {
                found.push((entry.span, gateway_report(route, rule, entry.span, listener, attached)));
            }
        }
    }
    found
}

/// Whether a redirect on a listener leaves everything as it is.
fn stays(
    redirect: &Redirect,
    listener: &GatewayListener,
    attached: &ListenerAttachment,
    condition: &RequestMatch,
) -> bool {
    let scheme = match &listener.tls {
        Some(ListenerTls::Terminate { .. }) => "https",
        None => "http",
        Some(_) => return false,
    };
    let well_known = if scheme == "https" { 443 } else { 80 };
    let host = redirect.host.as_ref().is_none_or(|host| attached.hosts == [HostPattern::Exact(host.clone())]);
    let port = match (redirect.port, &redirect.scheme) {
        (Some(port), _) => port == listener.port,
        (None, Some(_)) => listener.port == well_known,
        (None, None) => true,
    };
    let path = match (&redirect.path, &condition.path) {
        (None, _) => true,
        (Some(PathRewrite::Full(to)), Some(PathMatch::Exact(from))) => to == from,
        (
            Some(PathRewrite::Matched(to)),
            Some(PathMatch::Exact(from) | PathMatch::Prefix(from) | PathMatch::SegmentPrefix(from)),
        ) => to == from,
        (Some(_), _) => false,
    };
    redirect.scheme.as_ref().is_none_or(|wanted| wanted == scheme) && host && port && path
}

fn gateway_report(
    route: &Route,
    rule: &RouteRule,
    span: Span,
    listener: &GatewayListener,
    attached: &ListenerAttachment,
) -> Diagnostic {
    let name = rule.at.origin.rule.as_deref().unwrap_or_default();
    let message = format!(
        "on listener `{}`, the redirect of `{name}` leads to the very request that it answers",
        listener.name
    );
    Diagnostic::warning("redirect-loop", message)
        .object(route.at.origin.object.clone())
        .at(span)
        .label("comes back here")
        .related(attached.span, format!("for listener `{}`, port {}", listener.name, listener.port))
        .help(
            "attach the route to the other listener only, such as with `sectionName`, or redirect elsewhere",
        )
}
