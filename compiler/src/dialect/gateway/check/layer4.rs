//! What can be wrong with a TLSRoute, TCPRoute or UDPRoute by itself (gwapi:apis/v1/tlsroute_types.go,
//! tcproute_types.go, udproute_types.go).

use super::super::layer4::{Layer4Rule, TcpRoute, TlsRoute, UdpRoute};
use super::super::route::RouteSpec;
use super::filter::Allowed;
use super::route::{check_backends, check_hostnames, check_parents};
use crate::diagnostic::Diagnostic;
use crate::dialect::check::Checker;
use crate::yaml::{INVALID_VALUE, MISSING_FIELD, Spanned, UNKNOWN_FIELD};

impl TlsRoute {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        let route = Spanned { value: &spec.0, span: spec.span };
        check(route, checker);
        check_hostnames(&spec.0.hostnames, 1024, checker);
        if spec.0.hostnames.is_empty() {
            checker.report(
                Diagnostic::error(MISSING_FIELD, "the route has no `hostnames`, so no connection is its own")
                    .at(spec.span)
                    .help("list the server names that TLS clients ask for; a TCPRoute takes all connections"),
            );
        }
    }
}

impl TcpRoute {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        let route = Spanned { value: &spec.0, span: spec.span };
        check(route, checker);
        no_hostnames(route, "TCPRoute", checker);
    }
}

impl UdpRoute {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        let route = Spanned { value: &spec.0, span: spec.span };
        check(route, checker);
        no_hostnames(route, "UDPRoute", checker);
    }
}

fn check(spec: Spanned<&RouteSpec<Layer4Rule>>, checker: &mut Checker<'_>) {
    check_parents(spec, checker);
    let rules = spec.rules.as_deref().unwrap_or_default();
    match rules {
        [] => checker.report(Diagnostic::error(MISSING_FIELD, "the route has no rule").at(spec.span)),
        [_] => {}
        [first, second, ..] => checker.report(
            Diagnostic::error(INVALID_VALUE, "a route of connections has one rule, and this is another")
                .at(second.span)
                .related(first.span, "the first is here"),
        ),
    }
    for rule in rules {
        rule.check(checker);
    }
}

fn no_hostnames(spec: Spanned<&RouteSpec<Layer4Rule>>, kind: &str, checker: &mut Checker<'_>) {
    if let Some(host) = spec.hostnames.first() {
        checker.report(
            Diagnostic::error(UNKNOWN_FIELD, format!("`hostnames` is not a field of a {kind}")).at(host.span),
        );
    }
}

impl Spanned<Layer4Rule> {
    fn check(&self, checker: &mut Checker<'_>) {
        if let Some(name) = &self.name {
            checker.subdomain(name, "a rule");
        }
        if self.backend_refs.is_empty() {
            checker.report(Diagnostic::error(MISSING_FIELD, "the rule has no `backendRefs`").at(self.span));
        }
        check_backends(&self.backend_refs, Allowed::Layer4, checker);
    }
}
