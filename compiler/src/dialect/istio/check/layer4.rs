//! What can be wrong with routes of connections.

use std::collections::BTreeMap;

use weft_bundle::engine::HostPattern;

use super::{gateways, host, labels};
use crate::dialect::check::Checker;
use crate::dialect::istio::virtual_service::{L4Match, RouteDestination, TcpRoute, TlsMatch, TlsRoute};
use crate::yaml::scalar::Short;
use crate::yaml::{Span, Spanned};

impl TlsRoute {
    pub(super) fn check(&self, span: Span, hosts: &[Spanned<String>], checker: &mut Checker<'_>) {
        if self.matches.is_empty() {
            checker.invalid_because(
                span,
                "a `tls` route without `match` has no server name to go by",
                "add `match: [ { sniHosts: [ … ] } ]`",
            );
        }
        for condition in &self.matches {
            condition.check(condition.span, hosts, checker);
        }
        destinations(&self.route, span, checker);
    }
}

impl TcpRoute {
    pub(super) fn check(&self, span: Span, checker: &mut Checker<'_>) {
        for condition in &self.matches {
            condition.check(condition.span, checker);
        }
        destinations(&self.route, span, checker);
    }
}

impl TlsMatch {
    fn check(&self, span: Span, hosts: &[Spanned<String>], checker: &mut Checker<'_>) {
        if self.sni_hosts.is_empty() {
            checker.invalid(span, "`sniHosts` is empty, so it matches nothing");
        }
        for name in &self.sni_hosts {
            host(name, checker);
            let inside = |host: &Spanned<String>| {
                let patterns = HostPattern::parse(host).ok().zip(HostPattern::parse(name).ok());
                // A short name stands for the full one, which is compared when it is known.
                !host.contains('.')
                    || patterns.is_none_or(|(host, name)| host.intersection(&name) == Some(name))
            };
            if !hosts.iter().any(inside) {
                checker.invalid_because(
                    name.span,
                    format!("`{}` is not within any of the `hosts`", Short(name)),
                    "add it to `hosts`, or a pattern that holds it",
                );
            }
        }
        common(self.port.as_ref(), &self.source_labels, self.source_namespace.as_ref(), span, checker);
        gateways(&self.gateways, checker);
    }
}

impl L4Match {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        checker.not_yet(
            self.source_subnet.as_ref(),
            "sourceSubnet",
            "the caller's address in routing; Istio has the field and ignores it",
        );
        common(self.port.as_ref(), &self.source_labels, self.source_namespace.as_ref(), span, checker);
        gateways(&self.gateways, checker);
    }
}

fn common(
    port: Option<&Spanned<u16>>,
    source_labels: &BTreeMap<String, String>,
    source_namespace: Option<&Spanned<String>>,
    span: Span,
    checker: &mut Checker<'_>,
) {
    checker.port(port);
    labels(source_labels, span, checker);
    if let Some(namespace) = source_namespace {
        checker.label(namespace, "a namespace");
    }
}

fn destinations(destinations: &[Spanned<RouteDestination>], span: Span, checker: &mut Checker<'_>) {
    if destinations.is_empty() {
        checker.invalid_because(span, "the route leads nowhere", "give it `route`");
    }
    for destination in destinations {
        destination.destination.check(checker);
    }
    let nothing = |destination: &Spanned<RouteDestination>| destination.weight.is_none_or(|w| w.value == 0);
    if let [first, _, ..] = destinations
        && destinations.iter().all(nothing)
    {
        super::http::all_zero(first.span, checker);
    }
}
