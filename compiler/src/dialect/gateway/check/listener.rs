//! What can be wrong with listeners by themselves, in a Gateway or a ListenerSet (gwapi:apis/v1/gateway_types.go,
//! `GatewaySpec.listeners`).

use super::super::GROUP;
use super::super::listener::{
    AllowedRoutes, From, FromNamespaces, LabelOperator, LabelSelector, Listener, ListenerProtocol,
    ListenerTls, TlsMode,
};
use super::super::route::ObjectRef;
use super::route::check_hostname;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::dialect::NOT_SUPPORTED;
use crate::dialect::check::Checker;
use crate::yaml::de::listed;
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, MISSING_FIELD, Span, Spanned};

/// All listeners of one document.
pub(super) fn check_listeners(listeners: &[Spanned<Listener>], owner: Span, checker: &mut Checker<'_>) {
    if listeners.is_empty() {
        checker.invalid(owner, "there are no listeners, so nothing is accepted");
    }
    checker.at_most(listeners, 64, "listeners");
    for listener in listeners {
        listener.check(checker);
    }
    checker.unique(listeners.iter().map(|l| (&l.name.value, l.name.span)), |name| {
        format!("two listeners are called `{name}`")
    });
    for (place, listener) in listeners.iter().enumerate() {
        let earlier = listeners.iter().take(place);
        let clash = earlier.filter_map(|other| Some((other, other.clash(listener)?))).next();
        if let Some((other, why)) = clash {
            checker.report(
                Diagnostic::error(
                    INVALID_VALUE,
                    format!("listeners `{}` and `{}` {why}", other.name, listener.name),
                )
                .at(listener.span)
                .related(other.span, "the other one is here"),
            );
        }
    }
}

impl Listener {
    /// Why traffic could not be told to be for this listener or for another one; none if it can.
    pub(crate) fn clash(&self, other: &Self) -> Option<&'static str> {
        use ListenerProtocol::{Http, Https, Tcp, Tls, Udp};
        if self.port.value != other.port.value {
            return None;
        }
        let host = |listener: &Self| listener.hostname().map(|host| host.value.clone());
        match (self.protocol()?, other.protocol()?) {
            (Http, Http) | (Https | Tls, Https | Tls) if host(self) == host(other) => {
                Some("are for one port and host")
            }
            (Http, Http) | (Https | Tls, Https | Tls) => None,
            (Tcp, Tcp) | (Udp, Udp) => Some("are for one port"),
            (Udp, _) | (_, Udp) => {
                Some("share a port, of which one takes datagrams and the other connections")
            }
            (Http | Https | Tls | Tcp, _) => Some("share a port and speak what cannot be told apart"),
        }
    }

    fn check(&self, checker: &mut Checker<'_>) {
        checker.subdomain(&self.name, "a listener");
        checker.port(Some(&self.port));
        if let Some(hostname) = self.hostname() {
            check_hostname(hostname, checker);
        }
        let Some(protocol) = self.protocol() else {
            let known = ListenerProtocol::ALL.map(ListenerProtocol::as_str);
            let message = format!("`{}` is not one of {}", Short(&self.protocol), listed(&known));
            let finding = Diagnostic::error(NOT_SUPPORTED, message).at(self.protocol.span);
            checker.report(match did_you_mean(&self.protocol, known) {
                Some(near) => finding.label(format!("did you mean `{near}`?")),
                None => finding,
            });
            return;
        };
        let name = protocol.as_str();
        if let (ListenerProtocol::Tcp | ListenerProtocol::Udp, Some(hostname)) = (protocol, self.hostname()) {
            checker.invalid(hostname.span, format!("a listener of protocol {name} has no `hostname`"));
        }
        self.check_tls(protocol, checker);
        if let Some(allowed) = &self.allowed_routes {
            allowed.check(protocol, self.tls_mode(), checker);
        }
    }

    fn check_tls(&self, protocol: ListenerProtocol, checker: &mut Checker<'_>) {
        let name = protocol.as_str();
        match (protocol, &self.tls) {
            (ListenerProtocol::Http | ListenerProtocol::Tcp | ListenerProtocol::Udp, Some(tls)) => {
                checker.invalid_because(
                    tls.span,
                    format!("a listener of protocol {name} has no `tls`"),
                    "use protocol HTTPS or TLS if it is to speak TLS",
                );
            }
            (ListenerProtocol::Https | ListenerProtocol::Tls, None) => checker.report(
                Diagnostic::error(MISSING_FIELD, format!("a listener of protocol {name} has no `tls`"))
                    .at(self.protocol.span)
                    .help("say `mode: Terminate` with `certificateRefs`, or, for TLS, `mode: Passthrough`"),
            ),
            (ListenerProtocol::Https | ListenerProtocol::Tls, Some(tls)) => {
                tls.check(protocol, tls.span, checker);
            }
            (ListenerProtocol::Http | ListenerProtocol::Tcp | ListenerProtocol::Udp, None) => {}
        }
    }
}

impl ListenerTls {
    fn check(&self, protocol: ListenerProtocol, span: Span, checker: &mut Checker<'_>) {
        match (protocol, self.mode.as_ref()) {
            (ListenerProtocol::Https, Some(mode)) if mode.value == TlsMode::Passthrough => {
                checker.invalid_because(
                    mode.span,
                    "a listener of protocol HTTPS ends TLS",
                    "use protocol TLS to let it through",
                );
            }
            (ListenerProtocol::Tls, None) => checker.report(
                Diagnostic::error(MISSING_FIELD, "a listener of protocol TLS has no `mode` of `tls`")
                    .at(span)
                    .help("say `Terminate` or `Passthrough`"),
            ),
            (_, _) => {}
        }
        let terminates = self.mode.as_deref().is_none_or(|mode| *mode == TlsMode::Terminate);
        if terminates && self.certificate_refs.is_empty() && self.options.is_empty() {
            checker
                .report(Diagnostic::error(MISSING_FIELD, "TLS ends here without `certificateRefs`").at(span));
        }
        checker.at_most(&self.certificate_refs, 64, "certificates");
        for certificate in &self.certificate_refs {
            check_secret(certificate, checker);
        }
        if let Some((key, _)) = self.options.iter().next() {
            checker.not_yet_at(key.span, "options", "options of TLS of our own, of which there are none");
        }
    }
}

/// A reference to a Secret, by name only: keys are in the proxy's own configuration.
pub(super) fn check_secret(certificate: &ObjectRef, checker: &mut Checker<'_>) {
    check_object(certificate, "Secret", "Secret", "certificates are Secrets", checker);
}

/// A reference to a ConfigMap, or a Secret, with certificates to believe.
pub(super) fn check_issuers(reference: &ObjectRef, checker: &mut Checker<'_>) {
    let kind = if reference.is_core("Secret", "") { "Secret" } else { "ConfigMap" };
    check_object(reference, kind, "", "issuers are ConfigMaps or Secrets with a `ca.crt`", checker);
    if reference.group.is_none() {
        let finding =
            Diagnostic::error(MISSING_FIELD, "the reference has no `group`").at(reference.name.span);
        checker.report(finding.help("Kubernetes' core, of which ConfigMaps are, is `group: \"\"`"));
    }
}

fn check_object(reference: &ObjectRef, kind: &str, otherwise: &str, help: &str, checker: &mut Checker<'_>) {
    if !reference.is_core(kind, otherwise) {
        let written = reference.kind.as_ref().map_or(otherwise, |kind| kind.value.as_str());
        let group = reference.group.as_ref().map_or("", |group| group.value.as_str());
        let what = if group.is_empty() { written.to_owned() } else { format!("{group}/{written}") };
        let span = reference.kind.as_ref().map_or(reference.name.span, |kind| kind.span);
        let message = format!("a reference to `{}` is not supported here", Short(&what));
        checker.report(Diagnostic::error(NOT_SUPPORTED, message).at(span).help(help));
    }
    checker.subdomain(&reference.name, "an object");
    if let Some(namespace) = &reference.namespace {
        checker.label(namespace, "a namespace");
    }
}

impl ListenerProtocol {
    /// The kinds of route that go with it.
    pub(crate) fn route_kinds(self, mode: TlsMode) -> &'static [&'static str] {
        match (self, mode) {
            (Self::Http | Self::Https, _) => &["HTTPRoute", "GRPCRoute"],
            (Self::Tls, TlsMode::Passthrough) => &["TLSRoute"],
            (Self::Tls, TlsMode::Terminate) => &["TLSRoute", "TCPRoute"],
            (Self::Tcp, _) => &["TCPRoute"],
            (Self::Udp, _) => &["UDPRoute"],
        }
    }
}

impl AllowedRoutes {
    fn check(&self, protocol: ListenerProtocol, mode: TlsMode, checker: &mut Checker<'_>) {
        if let Some(namespaces) = &self.namespaces {
            namespaces.check(false, checker);
        }
        checker.at_most(&self.kinds, 8, "kinds");
        let known = protocol.route_kinds(mode);
        for kind in &self.kinds {
            let own = kind.group.as_ref().is_none_or(|group| group.value == GROUP);
            if !own || !known.contains(&kind.kind.as_str()) {
                let message = format!(
                    "`{}` does not go with protocol {}; that takes {}",
                    Short(&kind.kind),
                    protocol.as_str(),
                    listed(known).replace(" or ", " and ")
                );
                checker.invalid(kind.kind.span, message);
            }
        }
    }
}

impl FromNamespaces {
    /// `None` is only a value where ListenerSets are meant.
    pub(super) fn check(&self, listener_sets: bool, checker: &mut Checker<'_>) {
        if let Some(from) = self.from.as_ref().filter(|from| from.value == From::None && !listener_sets) {
            checker.invalid(from.span, "`None` is not one of All, Selector or Same");
        }
        match (self.from.as_ref(), &self.selector) {
            (Some(from), None) if from.value == From::Selector => checker
                .report(Diagnostic::error(MISSING_FIELD, "`from: Selector` has no `selector`").at(from.span)),
            (from, Some(selector)) if from.is_none_or(|from| from.value != From::Selector) => {
                checker.invalid_because(
                    selector.span,
                    "`selector` has no effect without `from: Selector`",
                    "remove it, or say `from: Selector`",
                );
            }
            (_, _) => {}
        }
        if let Some(selector) = &self.selector {
            selector.check(checker);
        }
    }
}

impl LabelSelector {
    fn check(&self, checker: &mut Checker<'_>) {
        for wanted in &self.match_expressions {
            let compares = matches!(wanted.operator.value, LabelOperator::In | LabelOperator::NotIn);
            match (compares, wanted.values.first()) {
                (true, None) => checker.report(
                    Diagnostic::error(MISSING_FIELD, "an operator that compares has no `values`")
                        .at(wanted.operator.span),
                ),
                (false, Some(value)) => {
                    checker.invalid(value.span, "this operator compares with no `values`");
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
    }
}
