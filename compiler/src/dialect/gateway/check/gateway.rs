//! What can be wrong with a Gateway, a ListenerSet or a GatewayClass by itself (gwapi:apis/v1/gateway_types.go,
//! listenerset_types.go).

use super::super::GROUP;
use super::super::listener::{
    FrontendTls, FrontendValidation, Gateway, GatewayAddress, GatewayClass, GatewayTls, ListenerSet,
    ValidationMode,
};
use super::listener::{check_issuers, check_listeners, check_secret};
use super::route::check_hostname;
use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::dialect::check::Checker;
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, Spanned};

impl GatewayClass {
    /// The API server has checked it.
    pub(in crate::dialect) fn check(_: &Spanned<Self>, _: &mut Checker<'_>) {}
}

impl Gateway {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        checker.not_yet(spec.default_scope.as_ref(), "defaultScope", "routes that name no gateway");
        checker.subdomain(&spec.gateway_class_name, "a GatewayClass");
        check_listeners(&spec.listeners, spec.span, checker);
        check_addresses(&spec.addresses, checker);
        let allowed = spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
        if let Some(namespaces) = allowed {
            namespaces.check(true, checker);
        }
        if let Some(tls) = &spec.tls {
            tls.check(checker);
        }
    }
}

impl ListenerSet {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        let parent = &spec.parent_ref;
        let kind = parent.kind.as_ref().map_or("Gateway", |kind| kind.value.as_str());
        if kind != "Gateway" || parent.group.as_ref().is_some_and(|group| group.value != GROUP) {
            let message = format!("listeners are added to a Gateway, not to a `{}`", Short(kind));
            checker.report(Diagnostic::error(NOT_SUPPORTED, message).at(parent.span));
        }
        checker.subdomain(&parent.name, "a Gateway");
        if let Some(namespace) = &parent.namespace {
            checker.label(namespace, "a namespace");
        }
        check_listeners(&spec.listeners, spec.span, checker);
    }
}

fn check_addresses(addresses: &[Spanned<GatewayAddress>], checker: &mut Checker<'_>) {
    checker.at_most(addresses, 16, "addresses");
    for address in addresses {
        let value = address.value.value.as_ref().filter(|value| !value.is_empty());
        match (address.kind(), value) {
            ("IPAddress", Some(value)) if value.parse::<std::net::IpAddr>().is_err() => {
                checker.invalid(value.span, format!("`{}` is not an address", Short(value)));
            }
            ("Hostname", Some(value)) => check_hostname(value, checker),
            (_, _) => {}
        }
    }
    let named = addresses.iter().filter_map(|address| Some((address.kind(), address.value.value.as_ref()?)));
    checker.unique(named.map(|(kind, value)| ((kind, &value.value), value.span)), |(_, value)| {
        format!("the address `{value}` is there twice")
    });
}

impl GatewayAddress {
    fn kind(&self) -> &str {
        self.kind.as_ref().map_or("IPAddress", |kind| kind.value.as_str())
    }
}

impl GatewayTls {
    fn check(&self, checker: &mut Checker<'_>) {
        let backend = self.backend.as_ref().and_then(|backend| backend.client_certificate_ref.as_ref());
        if let Some(certificate) = backend {
            check_secret(certificate, checker);
        }
        if let Some(frontend) = &self.frontend {
            frontend.check(checker);
        }
    }
}

impl FrontendTls {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.at_most(&self.per_port, 64, "ports");
        checker.unique(self.per_port.iter().map(|of| (of.port.value, of.port.span)), |port| {
            format!("port {port} is there twice")
        });
        for of in &self.per_port {
            checker.port(Some(&of.port));
        }
        let configs = self.per_port.iter().map(|of| &of.tls).chain([&self.default]);
        for validation in configs.filter_map(|config| config.validation.as_ref()) {
            validation.check(checker);
        }
    }
}

impl Spanned<FrontendValidation> {
    fn check(&self, checker: &mut Checker<'_>) {
        if self.ca_certificate_refs.is_empty() {
            checker.report(
                Diagnostic::error(
                    INVALID_VALUE,
                    "`caCertificateRefs` is empty, so no certificate is believed",
                )
                .at(self.span),
            );
        }
        checker.at_most(&self.ca_certificate_refs, 8, "issuers");
        for reference in &self.ca_certificate_refs {
            check_issuers(reference, checker);
        }
        if let Some(mode) =
            self.mode.as_ref().filter(|mode| mode.value == ValidationMode::AllowInsecureFallback)
        {
            checker.not_yet_at(
                mode.span,
                "AllowInsecureFallback",
                "gateways that take certificates which they do not believe",
            );
        }
    }
}
