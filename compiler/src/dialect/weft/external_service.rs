//! `ExternalService`: something outside the mesh that its services may call.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use weft_bundle::body::Protocol;
use weft_bundle::engine::HostPattern;

use super::super::check::Checker;
use super::endpoints::Endpoints;
use super::mesh::TrustAnchor;
use super::shapes;
use crate::diagnostic::Diagnostic;
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, Spanned};

/// Something outside the mesh that its services may call. In a closed mesh it is the only way out.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalService {
    /// The names that callers use: `api.example.com`, or `*.example.com` for every name below.
    pub hosts: Vec<Spanned<String>>,
    /// The ports that callers name.
    pub ports: Vec<Spanned<ExternalPort>>,
    /// Where it is; the addresses of its first host if not set, or for a `*` the address that the caller has.
    pub endpoints: Option<Spanned<Endpoints>>,
    /// Networks of its addresses, for callers that connect to an address.
    #[serde(default, deserialize_with = "networks")]
    #[schemars(with = "Vec<shapes::Network>")]
    pub addresses: Vec<Spanned<ipnet::IpNet>>,
    /// The namespaces whose services may call it; every one if not set.
    pub visible_to: Option<Vec<Spanned<String>>>,
}

/// A port of an external service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalPort {
    /// The port's name, unique in the service.
    pub name: Spanned<String>,
    /// The number that callers name, unique in the service.
    #[schemars(with = "shapes::PortNumber")]
    pub port: Spanned<u16>,
    /// What callers speak on it. With `tls` the proxy adds TLS on the way out.
    #[schemars(with = "shapes::Protocol")]
    pub protocol: Spanned<Protocol>,
    /// The port it listens on, where that differs, such as 443.
    #[schemars(with = "Option<shapes::PortNumber>")]
    pub target: Option<Spanned<u16>>,
    /// TLS that the proxy begins, so that callers speak clear text to it and policy sees their requests.
    pub tls: Option<Spanned<TlsOrigination>>,
}

/// TLS that the proxy begins.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsOrigination {
    /// The server name to ask for; the host of the request if not set.
    pub server_name: Option<Spanned<String>>,
    /// DNS names of which the certificate must have one; the server name if not set.
    #[serde(default)]
    pub names: Vec<Spanned<String>>,
    /// Who may have issued the certificate; the authorities of the proxy's machine if not set.
    #[serde(default)]
    pub trust_anchors: Vec<Spanned<TrustAnchor>>,
    /// The client certificate to present, `namespace/name` in the proxies' own configuration.
    pub certificate: Option<Spanned<String>>,
}

impl ExternalService {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        checker.not_idle(Some(&spec.hosts), spec.span, "hosts");
        for host in &spec.hosts {
            if HostPattern::parse(host).is_err()
                || host.value == "*"
                || host.parse::<std::net::IpAddr>().is_ok()
            {
                checker.invalid_because(
                    host.span,
                    format!("`{}` is not a host name or `*.` and one, in lower case", Short(host)),
                    "addresses stand in `addresses`",
                );
            }
        }
        checker.unique(spec.hosts.iter().map(|h| (&h.value, h.span)), |host| {
            format!("the host `{host}` is there twice")
        });
        if spec.ports.is_empty() {
            checker.invalid(spec.span, "a service has at least one port");
        }
        for port in &spec.ports {
            port.check(checker);
        }
        checker.unique(spec.ports.iter().map(|p| (&p.name.value, p.name.span)), |name| {
            format!("two ports are called `{name}`")
        });
        checker.unique(spec.ports.iter().map(|p| (p.port.value, p.port.span)), |number| {
            format!("two ports have the number {number}")
        });
        if let Some(endpoints) = &spec.endpoints {
            let names: Vec<&str> = spec.ports.iter().map(|port| port.name.as_str()).collect();
            endpoints.check(&names, checker);
        }
        checker.not_empty(spec.visible_to.as_ref(), spec.span, "visibleTo");
        for namespace in spec.visible_to.iter().flatten() {
            checker.label(namespace, "a namespace");
        }
    }

    /// The first host that is one name.
    pub fn first_name(&self) -> Option<&str> {
        self.hosts.iter().map(|host| host.as_str()).find(|host| !host.starts_with('*'))
    }
}

impl ExternalPort {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.label(&self.name, "a port");
        checker.port(Some(&self.port));
        checker.port(self.target.as_ref());
        let Some(tls) = &self.tls else { return };
        if matches!(self.protocol.value, Protocol::Tls | Protocol::Udp) {
            checker.report(
                Diagnostic::error(
                    INVALID_VALUE,
                    format!("TLS cannot be added to a port that speaks {}", self.protocol.as_str()),
                )
                .at(tls.span)
                .related(self.protocol.span, "callers speak this")
                .help("with `tls`, `protocol` is what callers speak before it: `http`, `http2`, `grpc` or `tcp`"),
            );
        }
        for name in tls.server_name.iter().chain(&tls.names) {
            checker.dns_name(name);
        }
        for anchor in &tls.trust_anchors {
            anchor.check(checker);
        }
    }
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Spanned<ipnet::IpNet>>, D::Error> {
    let texts = Vec::<Spanned<String>>::deserialize(deserializer)?;
    let parse = |text: &Spanned<String>| {
        let address = || text.parse::<std::net::IpAddr>().ok().map(ipnet::IpNet::from);
        let network = text.parse::<ipnet::IpNet>().ok().or_else(address);
        network.map(|network| Spanned::new(network, text.span)).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{}` is not an address or a network, such as `10.0.0.0/8`",
                Short(text)
            ))
        })
    };
    texts.iter().map(parse).collect()
}
