//! What can be wrong with a Sidecar by itself.

use std::net::SocketAddr;

use super::host;
use crate::dialect::check::{Checker, is_label};
use crate::dialect::istio::destination_rule::ConnectionPoolSettings;
use crate::dialect::istio::sidecar::{EgressListener, IngressListener, OutboundMode, Sidecar};
use crate::yaml::scalar::Short;
use crate::yaml::{Span, Spanned};

impl Sidecar {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        let parts = [
            !spec.ingress.is_empty(),
            spec.egress.is_some(),
            spec.inbound_connection_pool.is_some(),
            spec.outbound_traffic_policy.is_some(),
        ];
        if !parts.contains(&true) {
            checker.invalid(spec.span, "the Sidecar says nothing");
        }
        if let Some(selector) = &spec.workload_selector {
            selector.check(selector.span, checker);
        }
        for listener in &spec.ingress {
            listener.check(checker);
        }
        let ports = spec.ingress.iter().map(|listener| &listener.port.number);
        checker.unique(ports.map(|number| (number.value, number.span)), |number| {
            format!("two listeners have the port {number}")
        });
        for listener in spec.egress.iter().flatten() {
            listener.check(listener.span, checker);
        }
        inbound_pool(spec.inbound_connection_pool.as_ref(), checker);
        let Some(policy) = &spec.outbound_traffic_policy else { return };
        let needs = "forwarding to hosts that no document declares; declare them by ServiceEntries";
        if let Some(mode) = policy.mode.filter(|mode| mode.value == OutboundMode::AllowAny) {
            checker.not_yet_at(mode.span, "ALLOW_ANY", needs);
        }
        checker.not_yet(policy.egress_proxy.as_ref(), "egressProxy", needs);
    }
}

impl IngressListener {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.port(Some(&self.port.number));
        let needs = "a listener apart from the service's own; its port is where the workload is reached";
        checker.not_yet(self.bind.as_ref(), "bind", needs);
        checker.not_yet(self.capture_mode.as_ref(), "captureMode", needs);
        checker.not_yet(self.tls.as_ref(), "tls", "TLS as on the web for callers of a sidecar");
        checker.not_yet(
            self.port.target_port.as_ref(),
            "targetPort",
            "a field that has no effect in Istio either",
        );
        inbound_pool(self.connection_pool.as_ref(), checker);
        let Some(endpoint) = &self.default_endpoint else { return };
        if endpoint.starts_with("unix://") {
            checker.not_yet_at(endpoint.span, "defaultEndpoint", "applications at Unix sockets");
        } else if self.application().is_none() {
            checker.invalid_because(
                endpoint.span,
                format!("`{}` is not where an application listens", Short(endpoint)),
                "write `127.0.0.1:8080` or `[::1]:8080`",
            );
        }
    }

    /// Where the application listens. Istio reaches one that listens everywhere by the workload's own address; here it is
    /// the loopback, where it listens too.
    pub fn application(&self) -> Option<SocketAddr> {
        let endpoint = self.default_endpoint.as_ref()?;
        let address = match endpoint.strip_prefix(':') {
            Some(port) => SocketAddr::new([127, 0, 0, 1].into(), port.parse().ok()?),
            None => endpoint.parse().ok()?,
        };
        let everywhere = address.ip().is_unspecified();
        let local =
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        let address = if everywhere { SocketAddr::new(local, address.port()) } else { address };
        (address.ip().is_loopback() && address.port() > 0).then_some(address)
    }
}

impl EgressListener {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        if let Some(port) = &self.port {
            checker.port(Some(&port.number));
            let needs = "a field that has no effect in Istio either";
            checker.not_yet(port.target_port.as_ref(), "targetPort", needs);
        }
        let needs = "listeners that callers choose by address; here the proxy is told where it listens";
        checker.not_yet(self.bind.as_ref(), "bind", needs);
        checker.not_yet(self.capture_mode.as_ref(), "captureMode", needs);
        if self.hosts.is_empty() {
            checker.invalid_because(span, "`hosts` is empty", "write `~/*` if they call nothing");
        }
        for written in &self.hosts {
            match written.split_once('/') {
                Some((namespace, name)) if matches!(namespace, "*" | "." | "~") || is_label(namespace) => {
                    host(&Spanned::new(name.to_owned(), written.span), checker);
                }
                Some(_) | None => checker.invalid_because(
                    written.span,
                    format!("`{}` is not a namespace and a host", Short(written)),
                    "write `namespace/host`, `./*`, `*/*` or `~/*`",
                ),
            }
        }
        checker
            .unique(self.hosts.iter().map(|h| (&h.value, h.span)), |name| format!("`{name}` is given twice"));
    }
}

/// Of what comes in, only how much there is at once can be bounded.
fn inbound_pool(pool: Option<&Spanned<ConnectionPoolSettings>>, checker: &mut Checker<'_>) {
    super::destination_rule::pool(pool, checker);
    let Some(pool) = pool else { return };
    let (tcp, http) = (pool.tcp.as_deref(), pool.http.as_deref());
    let others = [
        tcp.and_then(|tcp| tcp.connect_timeout).map(|field| ("connectTimeout", field.span)),
        tcp.and_then(|tcp| tcp.tcp_keepalive.as_ref()).map(|field| ("tcpKeepalive", field.span)),
        tcp.and_then(|tcp| tcp.max_connection_duration).map(|field| ("maxConnectionDuration", field.span)),
        tcp.and_then(|tcp| tcp.idle_timeout).map(|field| ("idleTimeout", field.span)),
        http.and_then(|http| http.max_requests_per_connection)
            .map(|field| ("maxRequestsPerConnection", field.span)),
        http.and_then(|http| http.max_retries).map(|field| ("maxRetries", field.span)),
        http.and_then(|http| http.idle_timeout).map(|field| ("idleTimeout", field.span)),
        http.and_then(|http| http.h2_upgrade_policy).map(|field| ("h2UpgradePolicy", field.span)),
        http.and_then(|http| http.max_concurrent_streams).map(|field| ("maxConcurrentStreams", field.span)),
    ];
    for (name, span) in others.into_iter().flatten() {
        checker.not_yet_at(span, name, "settings of connections from a proxy to its own application");
    }
}
