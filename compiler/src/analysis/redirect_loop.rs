//! # What it finds
//! A redirect that leads back to where it came from: who follows is redirected again, without end. A request that reaches the
//! rule is sent through the functions that proxies decide with; its `Location` is followed, for a rule on a service also to
//! other services, and for a rule on a gateway to the gateway's other listeners, until the same request comes again or
//! twenty redirects are over.
//!
//! It is exact for the request that it shows: that one does loop. It tries one request for each condition and for each kind of
//! caller that lists treat apart (by namespace or labels), with the headers repeated as `curl -L` does; that other requests
//! of the rule loop is not excluded.
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

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use weft_bundle::body::{Action, ListenerTls};
use weft_bundle::engine::path::CanonicalPath;
use weft_bundle::engine::{Engine, HostPattern, redirect_location, split_authority};

use super::scene::{self, HOST, Sent};
use super::unreachable_route::rule_name;
use crate::diagnostic::Diagnostic;
use crate::model::routing::{self, Audience, PlannedEntry};
use crate::model::{GatewayIndex, GatewayListener, Mesh, Port, Route, RuleAction, ServiceIndex};
use crate::reach::{self, Budget, HOST_FACT, Reach, Reachability, entry_of, ration};
use crate::yaml::Span;

/// How many redirects a browser follows (Fetch standard, `redirect count`).
const MOST_REDIRECTS: usize = 20;

/// How many steps are shown.
const SHOWN: usize = 4;

/// One finding per condition.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let services =
        ration::map(&mesh.services, |place, _, budget| of_service(mesh, ServiceIndex(place), budget));
    let gateways = ration::map(&mesh.gateways, |place, gateway, budget| {
        let listeners = 0..gateway.listeners.len();
        listeners.flat_map(|listener| of_listener(mesh, GatewayIndex(place), listener, budget)).collect()
    });
    let mut found: BTreeMap<Span, Diagnostic> = BTreeMap::new();
    for (span, finding) in services.into_iter().chain::<Vec<Vec<_>>>(gateways).flatten() {
        found.entry(span).or_insert(finding);
    }
    found.into_values().collect()
}

fn of_service(mesh: &Mesh, index: ServiceIndex, budget: &Budget) -> Vec<(Span, Diagnostic)> {
    let mut found = Vec::new();
    if redirects(mesh, index) {
        for port in mesh.service(index).ports.iter().filter(|port| port.protocol.is_http()) {
            for audience in routing::audiences(mesh, index, port) {
                found.extend(of_frontend(mesh, (index, port), audience, budget));
            }
        }
    }
    found
}

fn redirects(mesh: &Mesh, service: ServiceIndex) -> bool {
    let routes = mesh.index.routes(service).iter().filter_map(|place| mesh.routes.get(*place));
    routes.flat_map(|route| &route.rules).any(|rule| matches!(rule.action, RuleAction::Redirect(_)))
}

/// Who answers a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A port of a service.
    Port(ServiceIndex, u16),
    /// A listener of a gateway.
    Listener(GatewayIndex, usize),
}

/// What callers see there.
struct Scene<'m> {
    entries: Vec<PlannedEntry<'m>>,
    engine: Engine,
}

fn scene<'m>(mesh: &'m Mesh, place: Place, audience: &Audience) -> Option<Scene<'m>> {
    let plan = match place {
        Place::Port(index, number) => routing::plan(mesh, index, mesh.service(index).port(number)?, audience),
        Place::Listener(gateway, listener) => routing::listener_plan(mesh, gateway, listener),
    };
    let action = |planned: &PlannedEntry<'_>| match &planned.rule().action {
        RuleAction::Redirect(redirect) => Action::Redirect((**redirect).clone()),
        RuleAction::Forward(_) | RuleAction::Respond { .. } => scene::respond(),
    };
    let entries = plan.entries.iter().map(|planned| (planned.condition(), action(planned)));
    let engine = scene::engine(entries.collect())?;
    Some(Scene { entries: plan.entries, engine })
}

fn is_redirect(planned: &PlannedEntry<'_>) -> bool {
    matches!(planned.rule().action, RuleAction::Redirect(_))
}

fn of_frontend(
    mesh: &Mesh,
    (index, port): (ServiceIndex, &Port),
    audience: &Audience,
    budget: &Budget,
) -> Vec<(Span, Diagnostic)> {
    let service = mesh.service(index);
    let name = format!("{}.{}", service.name, service.namespace);
    let found = loops(mesh, Place::Port(index, port.number), audience, budget, |witness| {
        // A request that asks for a kind of connection is not followed.
        let plain = witness.facts.is_empty();
        plain.then(|| (witness.scheme.clone(), authority(&name, &witness.scheme, port.number)))
    });
    let help = "let the condition exclude the target, or redirect elsewhere";
    let about = |(planned, steps): (PlannedEntry<'_>, Vec<String>)| {
        let finding = report(&planned, &steps).help(help);
        (planned.entry.span, callers(audience).into_iter().fold(finding, Diagnostic::with_note))
    };
    found.into_iter().map(about).collect()
}

/// Which callers these are; none if they are all that nothing is said of.
fn callers(Audience { namespace, labels }: &Audience) -> Option<String> {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("`{key}: {value}`")).collect();
    let parts = [
        (!namespace.is_empty()).then(|| format!("in namespace `{namespace}`")),
        (!labels.is_empty()).then(|| format!("with {}", labels.join(", "))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("that is so for callers {}", parts.join(" ")))
}

fn of_listener(mesh: &Mesh, index: GatewayIndex, place: usize, budget: &Budget) -> Vec<(Span, Diagnostic)> {
    let Some(listener) = mesh.gateway(index).listeners.get(place) else { return Vec::new() };
    let Some(scheme) = scheme_of(listener) else { return Vec::new() };
    let redirecting =
        |route: &Route| route.rules.iter().any(|rule| matches!(rule.action, RuleAction::Redirect(_)));
    let mut routes = mesh.index.listener(index, place).iter().filter_map(|route| mesh.routes.get(*route));
    if !routes.any(redirecting) {
        return Vec::new();
    }
    // Which callers' entries hold on a gateway was decided where they were bound to it.
    let anybody = Audience::default();
    let found = loops(mesh, Place::Listener(index, place), &anybody, budget, |witness| {
        let host = match witness.facts.as_slice() {
            [] => some_host(listener),
            [(name, host)] if name == HOST_FACT => String::from_utf8(host.clone()).ok()?,
            _ => return None,
        };
        Some((scheme.to_owned(), authority(&host, scheme, listener.port)))
    });
    let about = |(planned, steps): (PlannedEntry<'_>, Vec<String>)| {
        let attached = planned.route.listeners.iter().find(|a| (a.gateway, a.listener) == (index, place));
        let help = "attach the route to another listener only, such as with `sectionName`, let the condition exclude the \
                    target, or redirect elsewhere";
        let finding = report(&planned, &steps).help(help);
        let text = format!("for listener `{}`, port {}", listener.name, listener.port);
        let finding = match attached {
            Some(attached) => finding.related(attached.span, text),
            None => finding,
        };
        (planned.entry.span, finding)
    };
    found.into_iter().map(about).collect()
}

/// What callers of a listener speak; none if there are no requests that it could see.
fn scheme_of(listener: &GatewayListener) -> Option<&'static str> {
    match &listener.tls {
        _ if !listener.protocol.is_http() => None,
        Some(ListenerTls::Terminate { .. }) => Some("https"),
        None => Some("http"),
        Some(_) => None,
    }
}

/// A name that a listener is for.
fn some_host(listener: &GatewayListener) -> String {
    match listener.hosts.first().map(HostPattern::to_string) {
        Some(host) if host == "*" => "gateway.example".to_owned(),
        Some(host) => host.replacen('*', "www", 1),
        None => "gateway.example".to_owned(),
    }
}

/// As a client writes it: without the port that the scheme implies.
fn authority(host: &str, scheme: &str, port: u16) -> String {
    if port == well_known(scheme) { host.to_owned() } else { format!("{host}:{port}") }
}

fn well_known(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// The entries with a redirect that loops, each with the requests of a loop. `address` says with which scheme and authority a
/// request is sent there; none for one that is not followed.
fn loops<'m>(
    mesh: &'m Mesh,
    place: Place,
    audience: &Audience,
    budget: &Budget,
    address: impl Fn(&reach::Request) -> Option<(String, String)>,
) -> Vec<(PlannedEntry<'m>, Vec<String>)> {
    let Some(scene) = scene(mesh, place, audience) else { return Vec::new() };
    let conditions: Vec<_> = scene.entries.iter().map(|planned| entry_of(&planned.condition())).collect();
    let mut list = Reachability::new(&conditions, budget);
    let mut walk = Walk { mesh, audience, scenes: BTreeMap::new() };
    let mut found = Vec::new();
    for (entry, planned) in scene.entries.iter().enumerate().filter(|(_, planned)| is_redirect(planned)) {
        let Reach::Reachable { witness } = list.reach(entry) else { continue };
        // One that asks for a host of its own is not followed.
        if witness.authority.is_some() {
            continue;
        }
        let Some((scheme, authority)) = address(&witness) else { continue };
        let Some(sent) = Sent::of(&witness, &authority) else { continue };
        if let Some(steps) = walk.follow(Sent { scheme, ..sent }, place) {
            found.push((*planned, steps));
        }
    }
    found
}

/// Follows redirects through a mesh.
struct Walk<'m, 'a> {
    mesh: &'m Mesh,
    audience: &'a Audience,
    scenes: BTreeMap<Place, Option<Scene<'m>>>,
}

impl Walk<'_, '_> {
    /// The requests of a loop, the first one again at its end, or as many as are followed; none if it ends.
    fn follow(&mut self, first: Sent, start: Place) -> Option<Vec<String>> {
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

    fn location(&mut self, sent: &Sent, at: Place) -> Option<String> {
        let (mesh, audience) = (self.mesh, self.audience);
        let scene = self.scenes.entry(at).or_insert_with(|| scene(mesh, at, audience));
        let engine = &scene.as_ref()?.engine;
        let request = sent.as_request();
        let routed = engine.route(engine.frontend(HOST, 80)?, &request);
        match &routed.rule.action {
            Action::Redirect(redirect) => Some(redirect_location(redirect, routed.matched_path(), &request)),
            Action::Forward(_) | Action::Respond { .. } => None,
        }
    }

    /// Who answers the next request; none if nobody of the mesh, or of the gateway, does.
    fn resolve(&self, next: &Sent, before: &str, at: Place) -> Option<Place> {
        let (host, port) = split_authority(&next.authority);
        let number = port.unwrap_or_else(|| well_known(&next.scheme));
        match at {
            Place::Port(index, _) => {
                let same = host == split_authority(before).0;
                let index = if same { index } else { self.named(host)? };
                self.mesh.service(index).port(number).map(|port| Place::Port(index, port.number))
            }
            Place::Listener(gateway, _) => {
                let listeners = self.mesh.gateway(gateway).listeners.iter().enumerate();
                let hears = |listener: &GatewayListener| {
                    let best = listener.hosts.iter().filter(|pattern| pattern.matches(host));
                    best.map(HostPattern::specificity).max()
                };
                let open = listeners.filter(|(_, listener)| listener.port == number);
                let best = open.filter_map(|(place, listener)| Some((hears(listener)?, place, listener)));
                // The name decides which listener takes a connection, whatever is spoken on it.
                let (_, place, listener) = best.max_by_key(|(rank, place, _)| (*rank, Reverse(*place)))?;
                (scheme_of(listener) == Some(next.scheme.as_str())).then_some(Place::Listener(gateway, place))
            }
        }
    }

    fn named(&self, host: &str) -> Option<ServiceIndex> {
        let name =
            host.strip_suffix(".svc.cluster.local").or_else(|| host.strip_suffix(".svc")).unwrap_or(host);
        let own = match name.split_once('.') {
            Some((name, namespace)) => self.mesh.find(namespace, name),
            None => self.mesh.find(&self.audience.namespace, name),
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
}
