//! Routes of connections, by server name, address and port.

use weft_bundle::body::RequestMatch;

use super::super::Context;
use super::backends::{Binder, layer4_backends};
use super::gateway::{Asked, Part};
use super::http::entry;
use super::{Stage, for_mesh};
use crate::dialect::ParsedDocument;
use crate::dialect::istio::virtual_service::{L4Match, Network, RouteDestination, TlsMatch};
use crate::model::{Places, RouteEntry, RouteRule, RuleAction};
use crate::yaml::{Span, Spanned};

/// Entries and rules, together as a route has them.
#[derive(Default)]
pub(super) struct Lists {
    pub(super) entries: Vec<RouteEntry>,
    pub(super) rules: Vec<RouteRule>,
}

/// For which of a VirtualService's connections a list is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// Those that no server name decides, on ports of services that have both.
    WithServerNames,
    /// All others.
    Alone,
}

impl Lists {
    /// Adds routes of TLS connections.
    pub(super) fn add_tls(&mut self, context: &mut Context<'_>, stage: &Stage<'_, '_>, binder: &Binder<'_>) {
        for (index, route) in stage.spec.tls.iter().enumerate() {
            let name = format!("tls[{index}]");
            let rule = self.add_rule(context, stage.document, route.span, name, &route.route, binder);
            for (place, condition) in route.matches.iter().enumerate() {
                let asked = Asked {
                    gateways: &condition.gateways,
                    namespace: condition.source_namespace.as_ref().map(|namespace| namespace.as_str()),
                    labels: &condition.source_labels,
                    span: condition.span,
                };
                let only = stage.only(context, binder.mesh, Part::ServerName(index, place), &asked);
                self.entries.push(RouteEntry { only, ..tls_entry(condition, rule) });
            }
        }
    }

    /// Adds routes of connections; inside the mesh, of those limited to a port, only the ones that are `here`.
    pub(super) fn add_tcp(
        &mut self,
        context: &mut Context<'_>,
        stage: &Stage<'_, '_>,
        (share, here): (Share, &dyn Fn(Option<u16>) -> bool),
        binder: &Binder<'_>,
    ) {
        for (index, route) in stage.spec.tcp.iter().enumerate() {
            let name = format!("tcp[{index}]");
            let rule = self.add_rule(context, stage.document, route.span, name, &route.route, binder);
            let anything = [Spanned::new(L4Match::default(), route.span)];
            let matches = if route.matches.is_empty() { &anything } else { route.matches.as_slice() };
            for condition in matches {
                let asked = Asked {
                    gateways: &condition.gateways,
                    namespace: condition.source_namespace.as_ref().map(|namespace| namespace.as_str()),
                    labels: &condition.source_labels,
                    span: condition.span,
                };
                let mut only = stage.only(context, binder.mesh, Part::Connections, &asked);
                let services =
                    for_mesh(stage.spec, &condition.gateways) && here(condition.port.as_deref().copied());
                match (share, &mut only) {
                    (Share::WithServerNames, _) if !services => continue,
                    (Share::WithServerNames, _) => {
                        only = Some(Places { services, ..Places::default() });
                    }
                    (Share::Alone, Some(places)) => places.services &= services,
                    (Share::Alone, None) if !services => {
                        let listeners = stage.bound.attachments(|part| part == Part::Connections);
                        let listeners = listeners.iter().map(|at| (at.gateway, at.listener)).collect();
                        only = Some(Places { services, listeners });
                    }
                    (Share::Alone, None) => {}
                }
                // It is among those that no server name decides.
                let elsewhere = !here(condition.port.as_deref().copied()) && only == Some(Places::default());
                if !elsewhere {
                    self.entries.push(RouteEntry { only, ..tcp_entry(condition, rule) });
                }
            }
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
        let at = context.at(document, span, Some(name));
        self.rules.push(RouteRule::new(at, RuleAction::Forward(backends)));
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
