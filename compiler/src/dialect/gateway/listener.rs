//! `Gateway`, `ListenerSet` and `GatewayClass`, as Gateway API v1 has them (gwapi:apis/v1/gateway_types.go,
//! listenerset_types.go).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::route::ObjectRef;
use crate::yaml::{Map, Opaque, Spanned, Unread};

/// `GatewayClass.spec`: a fact about a cluster, of which nothing is needed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "fields are listed so that they are known, and never read")]
pub struct GatewayClass {
    controller_name: Spanned<String>,
    #[serde(default)]
    parameters_ref: Opaque,
    #[serde(default)]
    description: Opaque,
}

/// `Gateway.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// The class; every class is compiled alike.
    pub gateway_class_name: Spanned<String>,
    /// Where it accepts.
    pub listeners: Vec<Spanned<Listener>>,
    /// The addresses that some infrastructure is asked for. Each has a type and a value.
    #[serde(default)]
    pub addresses: Vec<Spanned<GatewayAddress>>,
    /// What is said to some infrastructure.
    pub infrastructure: Option<Unread>,
    /// Which ListenerSets may add listeners; none if not set.
    pub allowed_listeners: Option<Spanned<AllowedListeners>>,
    /// TLS of the whole gateway.
    pub tls: Option<Spanned<GatewayTls>>,
    /// Experimental.
    pub default_scope: Option<Unread>,
}

/// `GatewaySpecAddress`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayAddress {
    /// `IPAddress` if not set.
    #[serde(rename = "type")]
    pub kind: Option<Spanned<String>>,
    /// The address; any if not set.
    pub value: Option<Spanned<String>>,
}

/// `ListenerSet.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSet {
    /// The gateway that gets the listeners.
    pub parent_ref: Spanned<ObjectRef>,
    /// The listeners.
    pub listeners: Vec<Spanned<Listener>>,
}

/// `Listener` and `ListenerEntry`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Its name, unique in the document once checked.
    pub name: Spanned<String>,
    /// The host, perhaps with a wildcard; every one if not set or empty.
    pub hostname: Option<Spanned<String>>,
    /// The port.
    pub port: Spanned<u16>,
    /// `HTTP`, `HTTPS`, `TLS`, `TCP` or `UDP`, in any case.
    pub protocol: Spanned<String>,
    /// What happens to TLS.
    pub tls: Option<Spanned<ListenerTls>>,
    /// Which routes may be attached.
    pub allowed_routes: Option<Spanned<AllowedRoutes>>,
}

/// `ProtocolType`, as far as it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenerProtocol {
    /// Requests in clear text.
    Http,
    /// Requests over TLS.
    Https,
    /// Connections by server name.
    Tls,
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl ListenerProtocol {
    /// All, in the order of documents.
    pub const ALL: [Self; 5] = [Self::Http, Self::Https, Self::Tls, Self::Tcp, Self::Udp];

    /// As documents write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

impl Listener {
    /// What it speaks; none for a protocol that is not served, which was reported.
    pub fn protocol(&self) -> Option<ListenerProtocol> {
        ListenerProtocol::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(&self.protocol))
    }

    /// The host it is for, if not for all.
    pub fn hostname(&self) -> Option<&Spanned<String>> {
        self.hostname.as_ref().filter(|hostname| !hostname.is_empty())
    }

    /// What happens to TLS, if anything is said of it.
    pub fn tls_mode(&self) -> TlsMode {
        let written = self.tls.as_ref().and_then(|tls| tls.mode.as_deref());
        written.copied().unwrap_or(TlsMode::Terminate)
    }
}

/// `ListenerTLSConfig`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// `Terminate` if not set.
    pub mode: Option<Spanned<TlsMode>>,
    /// The Secrets with certificates.
    #[serde(default)]
    pub certificate_refs: Vec<Spanned<ObjectRef>>,
    /// Not honoured.
    #[serde(default)]
    pub options: Map<Spanned<String>>,
}

/// `TLSModeType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum TlsMode {
    /// TLS ends at the gateway.
    Terminate,
    /// TLS goes through.
    Passthrough,
}

/// `AllowedListeners`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedListeners {
    /// Of which namespaces; none if not set.
    pub namespaces: Option<Spanned<FromNamespaces>>,
}

/// `AllowedRoutes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// Of which namespaces; the listener's own if not set.
    pub namespaces: Option<Spanned<FromNamespaces>>,
    /// Of which kinds; those that go with the protocol if empty.
    #[serde(default)]
    pub kinds: Vec<Spanned<RouteGroupKind>>,
}

/// `RouteNamespaces` and `ListenerNamespaces`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FromNamespaces {
    /// Which; what it is if not set depends on the place.
    pub from: Option<Spanned<From>>,
    /// Which, for [`From::Selector`].
    pub selector: Option<Spanned<LabelSelector>>,
}

/// `FromNamespaces`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum From {
    /// Every namespace.
    All,
    /// Those with some labels.
    Selector,
    /// The same namespace.
    Same,
    /// No namespace; only for ListenerSets.
    None,
}

/// Kubernetes' `LabelSelector`: everything must hold; an empty one holds for all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels and their values.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// More conditions.
    #[serde(default)]
    pub match_expressions: Vec<Spanned<LabelRequirement>>,
}

/// Kubernetes' `LabelSelectorRequirement`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelRequirement {
    /// The label.
    pub key: Spanned<String>,
    /// What must hold of it.
    pub operator: Spanned<LabelOperator>,
    /// Values, for the operators that compare.
    #[serde(default)]
    pub values: Vec<Spanned<String>>,
}

/// What must hold of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum LabelOperator {
    /// It has one of some values.
    In,
    /// It has none of some values, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether it holds for an object with these labels.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let expression = |wanted: &Spanned<LabelRequirement>| {
            let value = labels.get(&wanted.key.value);
            let listed =
                || value.is_some_and(|value| wanted.values.iter().any(|other| other.value == *value));
            match wanted.operator.value {
                LabelOperator::In => listed(),
                LabelOperator::NotIn => !listed(),
                LabelOperator::Exists => value.is_some(),
                LabelOperator::DoesNotExist => value.is_none(),
            }
        };
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(expression)
    }
}

/// `RouteGroupKind`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteGroupKind {
    /// Gateway API's own if not set.
    pub group: Option<Spanned<String>>,
    /// The kind.
    pub kind: Spanned<String>,
}

/// `GatewayTLSConfig`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayTls {
    /// The gateway as a client of its backends.
    pub backend: Option<Spanned<GatewayBackendTls>>,
    /// What is asked of the gateway's callers.
    pub frontend: Option<Spanned<FrontendTls>>,
}

/// `GatewayBackendTLS`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayBackendTls {
    /// The Secret with the certificate to present.
    pub client_certificate_ref: Option<Spanned<ObjectRef>>,
}

/// `FrontendTLSConfig`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTls {
    /// For every port that is not listed.
    pub default: Spanned<TlsConfig>,
    /// For single ports.
    #[serde(default)]
    pub per_port: Vec<Spanned<TlsPortConfig>>,
}

/// `TLSConfig`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsConfig {
    /// What callers' certificates must be; none is asked for if not set.
    pub validation: Option<Spanned<FrontendValidation>>,
}

/// `TLSPortConfig`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsPortConfig {
    /// The port.
    pub port: Spanned<u16>,
    /// What holds there.
    pub tls: Spanned<TlsConfig>,
}

/// `FrontendTLSValidation`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendValidation {
    /// The ConfigMaps or Secrets with the certificates of issuers.
    pub ca_certificate_refs: Vec<Spanned<ObjectRef>>,
    /// `AllowValidOnly` if not set.
    pub mode: Option<Spanned<ValidationMode>>,
}

/// `FrontendValidationModeType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum ValidationMode {
    /// Callers must have a certificate that is believed.
    AllowValidOnly,
    /// Also without. Not honoured.
    AllowInsecureFallback,
}
