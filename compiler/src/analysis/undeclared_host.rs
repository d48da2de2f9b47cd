//! # What it finds
//! A redirect that callers inside the mesh get, to a host that no document declares: no service and no service outside the
//! mesh answers to it. Redirects of gateways are for callers outside, who may go anywhere, and are no finding.
//!
//! # Why it matters
//! A service that follows the redirect asks its proxy for a host that it does not know, and gets 502: the only way out of the
//! mesh is a service that is declared.
//!
//! # Example
//! ```yaml
//! http:
//! - match: [ { uri: { prefix: /docs } } ]
//!   redirect: { authority: docs.example.com }      # and no ServiceEntry for it
//! ```
//!
//! # Fix
//! Declare the host with an ExternalService or a ServiceEntry, or correct its name.
//!
//! # References
//! Istio, `outboundTrafficPolicy: REGISTRY_ONLY`; OWASP, Server-side request forgery prevention (allow lists of hosts).

use std::collections::BTreeSet;

use weft_bundle::engine::HostPattern;

use crate::diagnostic::Diagnostic;
use crate::model::{Mesh, Route, RouteRule, RuleAction};

/// One finding per rule.
pub fn run(mesh: &Mesh) -> Vec<Diagnostic> {
    let inside = mesh.routes.iter().filter(|route| !route.attachments.is_empty());
    let redirects = inside.flat_map(|route| route.rules.iter().filter_map(move |rule| host_of(route, rule)));
    let redirects: Vec<_> = redirects.collect();
    if redirects.is_empty() {
        return Vec::new();
    }
    let known = Known::of(mesh);
    let missing = redirects.into_iter().filter(|(.., host)| !known.has(mesh, host));
    missing.map(|(route, rule, host)| report(route, rule, host)).collect()
}

fn host_of<'m>(route: &'m Route, rule: &'m RouteRule) -> Option<(&'m Route, &'m RouteRule, &'m str)> {
    match &rule.action {
        RuleAction::Redirect(redirect) => Some((route, rule, redirect.host.as_deref()?)),
        RuleAction::Forward(_) | RuleAction::Respond { .. } => None,
    }
}

/// Host names that something answers to.
struct Known<'m> {
    names: BTreeSet<&'m str>,
    patterns: Vec<HostPattern>,
}

impl<'m> Known<'m> {
    fn of(mesh: &'m Mesh) -> Self {
        let hosts = || mesh.services.iter().flat_map(|service| &service.hosts);
        let listeners = mesh.gateways.iter().flat_map(|gateway| &gateway.listeners);
        let patterns =
            hosts().filter(|host| host.contains('*')).filter_map(|host| HostPattern::parse(host).ok());
        Self {
            names: hosts().map(String::as_str).collect(),
            patterns: patterns.chain(listeners.flat_map(|listener| listener.hosts.iter().cloned())).collect(),
        }
    }

    /// Whether something answers to the host. A name without dots may be one of the caller's own namespace.
    fn has(&self, mesh: &Mesh, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name =
            host.strip_suffix(".svc.cluster.local").or_else(|| host.strip_suffix(".svc")).unwrap_or(&host);
        let of_mesh = match name.split_once('.') {
            Some((name, namespace)) => mesh.find(namespace, name).is_some(),
            None => mesh.services.iter().any(|service| service.name == name),
        };
        of_mesh
            || self.names.contains(host.as_str())
            || self.patterns.iter().any(|pattern| pattern.matches(&host))
    }
}

fn report(route: &Route, rule: &RouteRule, host: &str) -> Diagnostic {
    let name = rule.at.origin.rule.as_deref().unwrap_or_default();
    Diagnostic::note(
        "undeclared-host",
        format!("`{name}` redirects callers of the mesh to `{host}`, which no document declares"),
    )
    .object(route.at.origin.object.clone())
    .at(rule.at.span)
    .label("who follows gets 502")
    .help("declare the host with an ExternalService or a ServiceEntry, or correct its name")
}
