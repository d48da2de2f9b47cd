//! Routes of connections, by server name, address and port.

use weft_bundle::body::RequestMatch;

use super::super::Context;
use super::backends::{Binder, layer4_backends};
use super::http::entry;
use crate::dialect::ParsedDocument;
use crate::dialect::istio::virtual_service::{
    L4Match, Network, RouteDestination, TcpRoute, TlsMatch, TlsRoute,
};
use crate::model::{RouteEntry, RouteRule, RuleAction, Settings};
use crate::yaml::{Span, Spanned};

/// Entries and rules, together as a route has them.
#[derive(Default)]
pub(super) struct Lists {
    pub(super) entries: Vec<RouteEntry>,
    pub(super) rules: Vec<RouteRule>,
}

/// Whether an entry holds for the mesh or one gateway, by its `gateways`.
pub(super) type Applies<'a> = &'a dyn Fn(&[Spanned<String>]) -> bool;

impl Lists {
    /// Adds routes of TLS connections.
    pub(super) fn add_tls(
        &mut self,
        context: &mut Context<'_>,
        document: &ParsedDocument,
        routes: &[Spanned<TlsRoute>],
        applies: Applies<'_>,
        binder: &Binder<'_>,
    ) {
        for (index, route) in routes.iter().enumerate() {
            let rule =
                self.add_rule(context, document, route.span, format!("tls[{index}]"), &route.route, binder);
            let matches = route.matches.iter().filter(|condition| applies(&condition.gateways));
            self.entries.extend(matches.map(|condition| tls_entry(condition, rule)));
        }
    }

    /// Adds routes of connections; of those limited to a port, only the ones that are `here`.
    pub(super) fn add_tcp(
        &mut self,
        context: &mut Context<'_>,
        document: &ParsedDocument,
        routes: &[Spanned<TcpRoute>],
        (applies, here): (Applies<'_>, &dyn Fn(Option<u16>) -> bool),
        binder: &Binder<'_>,
    ) {
        for (index, route) in routes.iter().enumerate() {
            let rule =
                self.add_rule(context, document, route.span, format!("tcp[{index}]"), &route.route, binder);
            if route.matches.is_empty() {
                self.entries.push(entry(RequestMatch::default(), rule, route.span));
            }
            let matches = route.matches.iter().filter(|condition| applies(&condition.gateways));
            let matches = matches.filter(|condition| here(condition.port.as_deref().copied()));
            self.entries.extend(matches.map(|condition| tcp_entry(condition, rule)));
        }
    }

    fn add_rule(
        &mut self,
        context: &mut Context<'_>,
        document: &ParsedDocument,
        span: Span,
        name: String,
        route: &[Spanned<RouteDestination>],
        binder: &Binder<'_>,
    ) -> usize {
        let backends = layer4_backends(context, document, route, binder);
        self.rules.push(RouteRule {
            at: context.at(document, span, Some(name)),
            action: RuleAction::Forward(backends),
            request_headers: Default::default(),
            response_headers: Default::default(),
            rewrite: None,
            mirrors: Vec::new(),
            cors: None,
            settings: Settings::default().shared(),
        });
        self.rules.len() - 1
    }
}

fn tls_entry(written: &Spanned<TlsMatch>, rule: usize) -> RouteEntry {
    let condition = RequestMatch {
        server_names: written.sni_hosts.iter().map(|name| name.value.clone()).collect(),
        destinations: networks(&written.destination_subnets),
        ..RequestMatch::default()
    };
    RouteEntry {
        port: written.port.as_deref().copied(),
        source_namespace: written.source_namespace.as_ref().map(|namespace| namespace.value.clone()),
        source_labels: written.source_labels.clone(),
        ..entry(condition, rule, written.span)
    }
}

fn tcp_entry(written: &Spanned<L4Match>, rule: usize) -> RouteEntry {
    let destinations = networks(&written.destination_subnets);
    let condition = RequestMatch { destinations, ..RequestMatch::default() };
    RouteEntry {
        port: written.port.as_deref().copied(),
        source_namespace: written.source_namespace.as_ref().map(|namespace| namespace.value.clone()),
        source_labels: written.source_labels.clone(),
        ..entry(condition, rule, written.span)
    }
}

fn networks(written: &[Spanned<Network>]) -> Vec<ipnet::IpNet> {
    written.iter().map(|network| network.value.0).collect()
}
