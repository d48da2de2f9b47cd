//! What can be wrong with a Gateway by itself (istio:pkg/config/validation, `ValidateGateway`).

use super::host;
use crate::dialect::check::{Checker, is_label};
use crate::dialect::istio::gateway::{Gateway, Server, ServerTls, ServerTlsMode, Speaks, TlsProtocol};
use crate::yaml::scalar::Short;
use crate::yaml::{Span, Spanned};

impl Gateway {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.servers.is_empty() {
            checker.invalid(spec.span, "`servers` is empty, so nobody gets in");
        }
        for server in &spec.servers {
            server.check(server.span, checker);
        }
        let names = spec.servers.iter().map(|server| server.name());
        checker.unique(names.map(|n| (&n.value, n.span)), |name| format!("two servers are called `{name}`"));
        for (key, value) in spec.selector.iter().flat_map(|selector| selector.iter()) {
            if key.is_empty() || key.contains('*') || value.contains('*') {
                checker.invalid_because(
                    key.span,
                    format!("`{}: {}` is not a label", Short(key), Short(value)),
                    "labels are compared as they are; there are no patterns",
                );
            }
        }
    }
}

impl Server {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        checker.port(Some(&self.port.number));
        if self.port.name.is_empty() {
            checker.invalid(self.port.name.span, "a port has a name");
        }
        checker.not_yet(
            self.port.target_port.as_ref(),
            "targetPort",
            "a field that has no effect in Istio either",
        );
        let needs = "connections that no VirtualService decides for; write one with `tcp` or `http`";
        checker.not_yet(self.default_endpoint.as_ref(), "defaultEndpoint", needs);
        if let Some(bind) = self.bind.as_ref().filter(|bind| !matches!(bind.as_str(), "" | "0.0.0.0" | "::"))
        {
            let needs = "listening on one address of a machine; the proxy is told where it is started";
            checker.not_yet_at(bind.span, "bind", needs);
        }
        self.check_hosts(span, checker);
        self.check_protocol(checker);
    }

    fn check_hosts(&self, span: Span, checker: &mut Checker<'_>) {
        if self.hosts.is_empty() {
            checker.invalid_because(span, "`hosts` is empty, so it takes nobody", "write `*` for every name");
        }
        for written in &self.hosts {
            let (namespace, name) = written.split_once('/').unwrap_or(("*", written));
            if !matches!(namespace, "*" | ".") && !is_label(namespace) {
                checker.invalid_because(
                    written.span,
                    format!("`{}` is not a namespace and a host", Short(written)),
                    "write `host`, `namespace/host`, `./host` or `*/host`",
                );
                continue;
            }
            host(&Spanned::new(name.to_owned(), written.span), checker);
        }
        checker
            .unique(self.hosts.iter().map(|h| (&h.value, h.span)), |name| format!("`{name}` is given twice"));
    }

    fn check_protocol(&self, checker: &mut Checker<'_>) {
        let protocol = &self.port.protocol;
        let Some(is_tls) = self.is_tls() else {
            checker.invalid_because(
                protocol.span,
                format!("`{}` is not what a server speaks", Short(protocol)),
                "protocols are HTTP, HTTPS, HTTP2, GRPC, TLS and TCP",
            );
            return;
        };
        if protocol.eq_ignore_ascii_case("grpc-web") {
            let needs = "turning calls of browsers into those of gRPC";
            checker.not_yet_at(protocol.span, "GRPC-WEB", needs);
        }
        match (&self.tls, is_tls) {
            (None, true) => checker.invalid_because(
                protocol.span,
                format!("a server for {} says what happens to TLS", Short(protocol)),
                "add `tls: { mode: SIMPLE, credentialName: … }`, or `mode: PASSTHROUGH`",
            ),
            (None, false) => {}
            (Some(tls), true) => tls.check(tls.span, checker),
            (Some(tls), false) => self.check_clear_text(tls, checker),
        }
    }

    /// In clear text, all that may be said is that it is not wanted.
    fn check_clear_text(&self, tls: &Spanned<ServerTls>, checker: &mut Checker<'_>) {
        let fields = tls.certificate_fields().next().map(|(_, span)| span);
        let other = tls.mode.filter(|mode| mode.value != ServerTlsMode::Passthrough).map(|mode| mode.span);
        if let Some(span) = fields.or(other) {
            checker.invalid_because(
                span,
                format!("a port for {} has no TLS", Short(&self.port.protocol)),
                "declare the protocol as HTTPS or TLS, or keep nothing but `httpsRedirect`",
            );
        } else if self.speaks() != Speaks::Http {
            let message = format!("a port for {} has no requests to redirect", Short(&self.port.protocol));
            checker.invalid(tls.span, message);
        }
    }
}

impl ServerTls {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        if let Some(redirect) = self.https_redirect.filter(|redirect| redirect.value) {
            checker.invalid_because(
                redirect.span,
                "requests that come over TLS are there already",
                "`httpsRedirect` belongs to a server for HTTP",
            );
        }
        let needs = "certificates and keys at paths of the proxy's machine; name them by `credentialName`";
        checker.not_yet(self.server_certificate.as_ref(), "serverCertificate", needs);
        checker.not_yet(self.private_key.as_ref(), "privateKey", needs);
        checker.not_yet(self.tls_certificates.as_ref(), "tlsCertificates", needs);
        checker.not_yet(self.ca_crl.as_ref(), "caCrl", "lists of revoked certificates");
        let needs = "certificates to believe from a Secret; put them into a file of the repository, and name it by \
                     `caCertificates`";
        checker.not_yet(self.ca_cert_credential_name.as_ref(), "caCertCredentialName", needs);
        let needs = "listeners that look at the names in callers' certificates; an AccessPolicy can ask for identities";
        checker.not_yet(self.subject_alt_names.as_ref(), "subjectAltNames", needs);
        let needs = "listeners that take single certificates of callers; those of an issuer are named by `caCertificates`";
        checker.not_yet(self.verify_certificate_spki.as_ref(), "verifyCertificateSpki", needs);
        checker.not_yet(self.verify_certificate_hash.as_ref(), "verifyCertificateHash", needs);
        let needs = "a choice of cipher suites; proxies here have a short list of sound ones";
        checker.not_yet(self.cipher_suites.as_ref(), "cipherSuites", needs);
        self.check_versions(checker);
        self.check_mode(span, checker);
    }

    fn check_versions(&self, checker: &mut Checker<'_>) {
        let versions = [self.min_protocol_version, self.max_protocol_version].into_iter().flatten();
        for version in versions.filter(|v| matches!(v.value, TlsProtocol::V1_0 | TlsProtocol::V1_1)) {
            let needs = "TLS before 1.2, which proxies here do not speak";
            let name = if version.value == TlsProtocol::V1_0 { "TLSV1_0" } else { "TLSV1_1" };
            checker.not_yet_at(version.span, name, needs);
        }
        if let (Some(min), Some(max)) = (self.min_protocol_version, self.max_protocol_version)
            && min.version() > max.version()
            && max.version().is_some()
        {
            checker.invalid(max.span, "the highest version is below the lowest one");
        }
    }

    fn check_mode(&self, span: Span, checker: &mut Checker<'_>) {
        let mode = self.mode.map_or(ServerTlsMode::Passthrough, |mode| mode.value);
        let named = || self.credential_name.iter().chain(&self.credential_names);
        match mode {
            ServerTlsMode::AutoPassthrough => {
                let place = self.mode.map_or(span, |mode| mode.span);
                let needs =
                    "server names that spell services, as Istio's meshes of several networks use them";
                checker.not_yet_at(place, "AUTO_PASSTHROUGH", needs);
            }
            ServerTlsMode::Passthrough | ServerTlsMode::IstioMutual => {
                for (name, span) in self.certificate_fields() {
                    let what = match mode {
                        ServerTlsMode::IstioMutual => "the mesh's own certificates are used",
                        _ => "TLS does not end here",
                    };
                    checker.invalid_because(
                        span,
                        format!("`{name}` has no meaning in this mode: {what}"),
                        "it belongs to `SIMPLE`, `MUTUAL` and `OPTIONAL_MUTUAL`",
                    );
                }
            }
            ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
                let files = self.server_certificate.is_some() || self.tls_certificates.is_some();
                if named().next().is_none() && !files {
                    checker.invalid_because(
                        span,
                        "no certificate is named that the server presents",
                        "add `credentialName`; the proxy has the files under that name",
                    );
                }
                if let (Some(one), Some(more)) = (&self.credential_name, self.credential_names.first()) {
                    super::exclusive(("credentialName", one.span), ("credentialNames", more.span), checker);
                }
                if let Some(file) = self.ca_certificates.as_ref().filter(|_| mode == ServerTlsMode::Simple) {
                    checker.invalid_because(
                        file.span,
                        "`caCertificates` has no meaning in this mode: callers present no certificate",
                        "it belongs to `MUTUAL` and `OPTIONAL_MUTUAL`",
                    );
                }
                self.check_issuers(mode, checker);
            }
        }
        for name in named() {
            checker.subdomain(name, "a Secret");
        }
        checker.unique(self.credential_names.iter().map(|n| (&n.value, n.span)), |name| {
            format!("`{name}` is given twice")
        });
    }

    /// In Istio the certificates to believe come from the same Secret as the one to present.
    fn check_issuers(&self, mode: ServerTlsMode, checker: &mut Checker<'_>) {
        let name = match mode {
            ServerTlsMode::Mutual => "MUTUAL",
            ServerTlsMode::OptionalMutual => "OPTIONAL_MUTUAL",
            _ => return,
        };
        if let (Some(mode), None, None) = (self.mode, &self.ca_certificates, self.ca_cert_credential_name) {
            let needs = "certificates to believe; in Istio they come from the Secret, and a bundle has them from the \
                         repository: name a file of it by `caCertificates`";
            checker.not_yet_at(mode.span, name, needs);
        }
    }

    /// The fields about certificates that are there, with their places.
    fn certificate_fields(&self) -> impl Iterator<Item = (&'static str, Span)> {
        let fields = [
            self.server_certificate.map(|field| ("serverCertificate", field.span)),
            self.private_key.map(|field| ("privateKey", field.span)),
            self.ca_certificates.as_ref().map(|field| ("caCertificates", field.span)),
            self.credential_name.as_ref().map(|field| ("credentialName", field.span)),
            self.credential_names.first().map(|field| ("credentialNames", field.span)),
        ];
        fields.into_iter().flatten()
    }
}
