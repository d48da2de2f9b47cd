//! What can be wrong with a VirtualService or a DestinationRule by itself: Istio's own validation
//! (istio:pkg/config/validation), and everything that cannot be honoured exactly.

use super::destination_rule::{
    ClientTls, DestinationRule, LoadBalancerSettings, SimpleLb, TlsMode, TrafficPolicy,
};
use super::string_match::{StringMatch, ValueMatch};
use super::virtual_service::{
    Destination, HeaderOperations, Headers, HttpMatchRequest, HttpRedirect, HttpRetry, HttpRoute,
    VirtualService, condition,
};
use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::dialect::check::{Checker, is_label};
use crate::yaml::scalar::Short;
use crate::yaml::{Map, Span, Spanned};
use weft_bundle::engine::{is_authority, is_path_text};

// ------------------------------------------------------------------------------------------- VirtualService

impl VirtualService {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        checker.not_yet(spec.tls.as_ref(), "tls", "routing of TLS by SNI");
        checker.not_yet(spec.tcp.as_ref(), "tcp", "routing of plain connections");
        if spec.hosts.is_empty() {
            checker.invalid(spec.span, "`hosts` is empty, so it decides nothing");
        }
        if spec.http.is_empty() && spec.tls.is_none() && spec.tcp.is_none() {
            checker.invalid(spec.span, "there is no `http` route, so it decides nothing");
        }
        for name in &spec.hosts {
            host(name, checker);
        }
        checker
            .unique(spec.hosts.iter().map(|h| (&h.value, h.span)), |name| format!("`{name}` is given twice"));
        only_mesh(&spec.gateways, checker);
        export_to(&spec.export_to, checker);
        for route in &spec.http {
            route.check(route.span, checker);
        }
        let names = spec.http.iter().filter_map(|route| route.name.as_ref());
        checker.unique(names.map(|n| (&n.value, n.span)), |name| format!("two routes are called `{name}`"));
    }
}

/// What a rewrite or redirect puts into the request line or `Location`.
fn new_place(authority: Option<&Spanned<String>>, uri: Option<&Spanned<String>>, checker: &mut Checker<'_>) {
    if let Some(authority) = authority
        && !is_authority(authority)
    {
        let message = format!("`{}` is not a host, or a host and a port", Short(authority));
        checker.invalid(authority.span, message);
    }
    if let Some(uri) = uri
        && !is_path_text(uri)
    {
        checker.invalid_because(
            uri.span,
            format!("`{}` cannot stand in a path", Short(uri)),
            "write what is not plain as `%` and two digits; the query of the request always stays",
        );
    }
}

impl HttpRoute {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        checker.not_yet(
            self.delegate.as_ref(),
            "delegate",
            "routes that are put together from several documents",
        );
        checker.not_yet(self.fault.as_ref(), "fault", "fault injection in proxies");
        checker.not_yet(self.mirror.as_ref(), "mirror", "proxies that copy requests");
        checker.not_yet(self.mirrors.as_ref(), "mirrors", "proxies that copy requests");
        checker.not_yet(self.mirror_percent.as_ref(), "mirrorPercent", "proxies that copy requests");
        checker.not_yet(self.mirror_percentage.as_ref(), "mirrorPercentage", "proxies that copy requests");
        checker.not_yet(self.cors_policy.as_ref(), "corsPolicy", "cross-origin answers in proxies");
        self.check_outcome(span, checker);
        for condition in &self.matches {
            condition.check(checker);
        }
        if let Some(redirect) = &self.redirect {
            checker.not_yet(redirect.derive_port.as_ref(), "derivePort", "redirects that compute a port");
            checker.not_yet(
                redirect.prefix_rewrite.as_ref(),
                "prefixRewrite",
                "redirects that keep a path's end",
            );
            checker.scheme(redirect.scheme.as_ref());
            checker.redirect_status(redirect.redirect_code.as_ref());
            checker.port(redirect.port.as_ref());
            redirect.check_port(checker);
            new_place(redirect.authority.as_ref(), redirect.uri.as_ref(), checker);
        }
        if let Some(rewrite) = &self.rewrite {
            if let Some(uri) = rewrite.uri.as_ref().filter(|uri| uri.starts_with('/') && is_path_text(uri)) {
                checker.path(uri);
            }
            checker.not_yet(rewrite.uri_regex_rewrite.as_ref(), "uriRegexRewrite", "rewriting by expression");
            new_place(rewrite.authority.as_ref(), rewrite.uri.as_ref(), checker);
        }
        if let Some(retries) = &self.retries {
            retries.check(checker);
        }
        headers(self.headers.as_ref(), checker);
    }

    /// Exactly one of a destination, a redirect and an answer (istio:pkg/config/validation/virtualservice.go).
    fn check_outcome(&self, span: Span, checker: &mut Checker<'_>) {
        let route = self.route.first().map(|destination| ("route", destination.span));
        let redirect = self.redirect.as_ref().map(|redirect| ("redirect", redirect.span));
        let response = self.direct_response.as_ref().map(|response| ("directResponse", response.span));
        let outcomes: Vec<(&str, Span)> = [route, redirect, response].into_iter().flatten().collect();
        match outcomes.as_slice() {
            [] if self.delegate.is_none() => {
                checker.invalid_because(
                    span,
                    "the route leads nowhere",
                    "give it `route`, `redirect` or `directResponse`",
                );
            }
            [(first, one), (second, other), ..] => checker.report(
                Diagnostic::error(
                    crate::yaml::INVALID_VALUE,
                    format!("`{first}` and `{second}` exclude each other"),
                )
                .at(*other)
                .related(*one, format!("`{first}` is here")),
            ),
            [] | [_] => {}
        }
        if let (Some(rewrite), Some(_)) = (&self.rewrite, &self.redirect) {
            checker.invalid(rewrite.span, "`rewrite` and `redirect` exclude each other");
        }
        if let Some(response) = &self.direct_response {
            if !(200..=599).contains(&response.status.value) {
                let message = format!("{} is not a status from 200 to 599", response.status);
                checker.invalid(response.status.span, message);
            }
            if matches!(response.status.value, 204 | 205 | 304)
                && let Some(body) = &response.body
            {
                checker.invalid(body.span, format!("an answer with status {} has no body", response.status));
            }
            let bytes = response.body.as_ref().and_then(|body| body.bytes.as_ref());
            checker.not_yet(bytes, "bytes", "answers that are not text");
        }
        self.check_destinations(checker);
    }

    fn check_destinations(&self, checker: &mut Checker<'_>) {
        for destination in &self.route {
            destination.destination.check(checker);
            headers(destination.headers.as_ref(), checker);
        }
        let weight =
            |index: usize| self.route.get(index).and_then(|d| d.weight.as_ref()).map_or(0, |w| w.value);
        if let [first, _, ..] = self.route.as_slice()
            && (0..self.route.len()).all(|index| weight(index) == 0)
        {
            checker.invalid_because(
                first.span,
                "the weights of all destinations are zero",
                "of several destinations each needs a `weight`; one without gets nothing",
            );
        }
    }
}

impl HttpRedirect {
    /// Where the port of the new place comes from must be plain.
    fn check_port(&self, checker: &mut Checker<'_>) {
        let of_authority =
            self.authority.as_ref().and_then(|text| weft_bundle::engine::split_authority(text).1);
        if let (Some(port), Some(_)) = (&self.port, of_authority) {
            checker.invalid(port.span, "`authority` names a port already");
        }
        if let (Some(scheme), None, None) = (&self.scheme, &self.authority, &self.port)
            && matches!(scheme.as_str(), "http" | "https")
        {
            checker.report(
                Diagnostic::error(NOT_SUPPORTED, "a new `scheme` alone is not supported")
                    .at(scheme.span)
                    .with_note("Envoy would keep the request's port, whatever the scheme")
                    .help("add the `port` that is meant"),
            );
        }
    }
}

impl Destination {
    fn check(&self, checker: &mut Checker<'_>) {
        host(&self.host, checker);
        if let Some(subset) = &self.subset {
            checker.label(subset, "a subset");
        }
        checker.port(self.port.as_ref().map(|port| &port.number));
    }
}

impl HttpMatchRequest {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.not_yet(self.source_labels.as_ref(), "sourceLabels", "bundles that differ within a service");
        checker.not_yet(self.stat_prefix.as_ref(), "statPrefix", "metrics named by routes");
        only_mesh(&self.gateways, checker);
        if let Some(uri) = &self.uri {
            uri.check(checker);
            if let StringMatch::Exact(path) | StringMatch::Prefix(path) = &uri.value
                && !path.is_empty()
                && self.ignore_uri_case.as_ref().is_none_or(|ignored| !ignored.value)
            {
                checker.path(path);
            }
        }
        for text in [&self.scheme, &self.method, &self.authority].into_iter().flatten() {
            text.check(checker);
        }
        if let Some(method) = &self.method
            && let StringMatch::Exact(method) = &method.value
        {
            checker.method(method);
        }
        fields(&self.headers, checker);
        fields(&self.without_headers, checker);
        for (_, condition) in &self.query_params {
            if let ValueMatch::Like(condition) = &condition.value {
                condition.check(checker);
            }
        }
        checker.port(self.port.as_ref());
        if let Some(namespace) = &self.source_namespace {
            checker.label(namespace, "a namespace");
        }
    }
}

impl HttpRetry {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.not_yet(
            self.retry_remote_localities.as_ref(),
            "retryRemoteLocalities",
            "locality-aware retries",
        );
        checker.not_yet(
            self.retry_ignore_previous_hosts.as_ref(),
            "retryIgnorePreviousHosts",
            "retries that choose whether to avoid the endpoint that failed",
        );
        if self.attempts.as_ref().is_none_or(|attempts| attempts.value == 0)
            && let Some(span) = (self.per_try_timeout.as_ref().map(|limit| limit.span))
                .or(self.retry_on.as_ref().map(|words| words.span))
        {
            checker.invalid_because(
                span,
                "there are no retries, so this has no effect",
                "add `attempts`: without a number above 0 there are none",
            );
        }
        let Some(words) = &self.retry_on else { return };
        let unknown = |word: &&str| !word.trim().is_empty() && condition(word).is_none();
        for word in words.split(',').filter(unknown) {
            let known = "connect-failure, refused-stream, reset, gateway-error, 5xx, retriable-status-codes and codes";
            checker.report(
                Diagnostic::error(
                    NOT_SUPPORTED,
                    format!("retries on `{}` are not supported", Short(word.trim())),
                )
                .at(words.span)
                .help(format!("supported are {known} such as 503")),
            );
        }
    }
}

fn fields(conditions: &Map<Spanned<ValueMatch>>, checker: &mut Checker<'_>) {
    for (name, condition) in conditions {
        checker.header_name(name);
        if let ValueMatch::Like(condition) = &condition.value {
            condition.check(checker);
        }
    }
}

fn headers(headers: Option<&Spanned<Headers>>, checker: &mut Checker<'_>) {
    let Some(headers) = headers else { return };
    for operations in [&headers.request, &headers.response].into_iter().flatten() {
        operations.check(checker);
    }
}

impl HeaderOperations {
    fn check(&self, checker: &mut Checker<'_>) {
        for (name, value) in self.set.iter().chain(&self.add) {
            self.check_name(name, checker);
            checker.header_value(value);
            if value.contains('%') {
                checker.report(
                    Diagnostic::error(NOT_SUPPORTED, "`%` in a header value is not supported")
                        .at(value.span)
                        .with_note("Envoy replaces commands such as `%REQ(...)%` there; proxies here do not"),
                );
            }
        }
        for name in &self.remove {
            self.check_name(name, checker);
        }
    }

    /// Istio takes `host` for the authority.
    fn check_name(&self, name: &Spanned<String>, checker: &mut Checker<'_>) {
        if name.eq_ignore_ascii_case("host") {
            checker.report(
                Diagnostic::error(NOT_SUPPORTED, "changing `host` as a header is not supported")
                    .at(name.span)
                    .help("use `rewrite.authority`"),
            );
        } else {
            checker.header_name(name);
        }
    }
}

// ------------------------------------------------------------------------------------------ DestinationRule

impl DestinationRule {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        host(&spec.host, checker);
        checker.not_yet(
            spec.workload_selector.as_ref(),
            "workloadSelector",
            "bundles that differ within a service",
        );
        export_to(&spec.export_to, checker);
        for scope in spec.export_to.iter().filter(|scope| scope.value != "*") {
            checker.not_yet_at(scope.span, "exportTo", "subsets and balancing that differ between callers");
        }
        if let Some(policy) = &spec.traffic_policy {
            policy.check(checker);
        }
        for subset in &spec.subsets {
            checker.label(&subset.name, "a subset");
            if let Some(policy) = &subset.traffic_policy {
                policy.check(checker);
            }
        }
        checker.unique(spec.subsets.iter().map(|s| (&s.name.value, s.name.span)), |name| {
            format!("two subsets are called `{name}`")
        });
    }
}

impl TrafficPolicy {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.not_yet(
            self.connection_pool.as_ref(),
            "connectionPool",
            "proxies that bound what is in flight",
        );
        checker.not_yet(
            self.outlier_detection.as_ref(),
            "outlierDetection",
            "proxies that leave endpoints out",
        );
        checker.not_yet(
            self.port_level_settings.as_ref(),
            "portLevelSettings",
            "traffic policies of single ports",
        );
        checker.not_yet(self.tunnel.as_ref(), "tunnel", "tunnels through other proxies");
        checker.not_yet(self.proxy_protocol.as_ref(), "proxyProtocol", "the PROXY protocol");
        checker.not_yet(self.retry_budget.as_ref(), "retryBudget", "Istio's own reckoning of retry budgets");
        if let Some(balancer) = &self.load_balancer {
            balancer.check(balancer.span, checker);
        }
        if let Some(tls) = &self.tls {
            tls.check(tls.span, checker);
        }
    }
}

impl LoadBalancerSettings {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        checker.not_yet(
            self.consistent_hash.as_ref(),
            "consistentHash",
            "proxies that keep callers together",
        );
        checker.not_yet(self.locality_lb_setting.as_ref(), "localityLbSetting", "balancing by locality");
        checker.not_yet(self.warmup_duration_secs.as_ref(), "warmupDurationSecs", "slow start");
        checker.not_yet(self.warmup.as_ref(), "warmup", "slow start");
        match &self.simple {
            Some(simple) if simple.value == SimpleLb::Passthrough => {
                checker.not_yet_at(
                    simple.span,
                    "PASSTHROUGH",
                    "forwarding to addresses that the caller chose",
                );
            }
            Some(_) => {}
            None if self.consistent_hash.is_none() => {
                checker.invalid(span, "it does not say how endpoints are chosen");
            }
            None => {}
        }
    }
}

impl ClientTls {
    /// Between sidecars there is always mutual TLS with the mesh's identities, as the Mesh says; nothing else can be
    /// asked for here.
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let needs = "TLS settings per destination; between sidecars the Mesh's `peerTLS` decides";
        match &self.mode {
            Some(mode) if mode.value == TlsMode::IstioMutual => {}
            Some(mode) => checker.not_yet_at(mode.span, "tls.mode", needs),
            None => checker.not_yet_at(span, "tls", needs),
        }
        let fields = [
            (&self.client_certificate, "clientCertificate"),
            (&self.private_key, "privateKey"),
            (&self.ca_certificates, "caCertificates"),
            (&self.ca_crl, "caCrl"),
            (&self.credential_name, "credentialName"),
            (&self.subject_alt_names, "subjectAltNames"),
            (&self.sni, "sni"),
            (&self.insecure_skip_verify, "insecureSkipVerify"),
        ];
        for (field, name) in fields {
            checker.not_yet(field.as_ref(), name, needs);
        }
    }
}

// --------------------------------------------------------------------------------------------------- shared

fn host(name: &Spanned<String>, checker: &mut Checker<'_>) {
    if name.contains('*') {
        checker.not_yet_at(name.span, name, "hosts that stand for many services");
    } else {
        checker.subdomain(name, "a host");
    }
}

fn only_mesh(gateways: &[Spanned<String>], checker: &mut Checker<'_>) {
    for gateway in gateways.iter().filter(|gateway| gateway.value != "mesh") {
        checker.not_yet_at(
            gateway.span,
            &format!("gateways: {}", Short(gateway)),
            "gateways at the edge of the mesh",
        );
    }
}

fn export_to(scopes: &[Spanned<String>], checker: &mut Checker<'_>) {
    for scope in scopes {
        if !matches!(scope.as_str(), "*" | ".") && !is_label(scope) {
            checker.invalid(scope.span, format!("`{}` is not `*`, `.` or a namespace", Short(scope)));
        }
    }
}
