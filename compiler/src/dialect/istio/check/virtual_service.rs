//! What can be wrong with a VirtualService by itself, but for its routes.

use super::{export_to, gateways, host};
use crate::dialect::check::Checker;
use crate::dialect::istio::VirtualService;
use crate::yaml::{Span, Spanned};

impl VirtualService {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
            checker.invalid(spec.span, "there is no `http`, `tls` or `tcp` route, so it decides nothing");
        }
        if spec.is_delegate() {
            spec.check_delegate(checker);
        }
        spec.check_hosts(checker);
        gateways(&spec.gateways, checker);
        export_to(&spec.export_to, checker);
        for route in &spec.http {
            route.check(route.span, spec.is_delegate(), checker);
        }
        for route in &spec.tls {
            route.check(route.span, &spec.hosts, checker);
        }
        for route in &spec.tcp {
            route.check(route.span, checker);
        }
        let names = spec.http.iter().filter_map(|route| route.name.as_ref());
        checker.unique(names.map(|n| (&n.value, n.span)), |name| format!("two routes are called `{name}`"));
    }

    fn check_hosts(&self, checker: &mut Checker<'_>) {
        for name in &self.hosts {
            host(name, checker);
            if name.value == "*" && self.applies_to_mesh() {
                checker.invalid_because(
                    name.span,
                    "`*` would decide for every service of the mesh",
                    "name hosts, or name gateways and leave `mesh` out",
                );
            }
        }
        checker
            .unique(self.hosts.iter().map(|h| (&h.value, h.span)), |name| format!("`{name}` is given twice"));
    }

    /// Without hosts it lends its routes to others, and only those for requests.
    fn check_delegate(&self, checker: &mut Checker<'_>) {
        let tls = self.tls.first().map(|route| ("tls", route.span));
        let tcp = self.tcp.first().map(|route| ("tcp", route.span));
        let gateways = self.gateways.first().map(|gateway| ("gateways", gateway.span));
        let fields: [Option<(&str, Span)>; 3] = [tls, tcp, gateways];
        for (name, span) in fields.into_iter().flatten() {
            checker.invalid_because(
                span,
                format!("a VirtualService without `hosts` has no `{name}`"),
                "only its `http` routes can be taken in by another VirtualService",
            );
        }
    }
}
