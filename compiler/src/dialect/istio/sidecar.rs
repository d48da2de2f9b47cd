//! `Sidecar` (iapi:networking/v1alpha3/sidecar.proto).

use serde::Deserialize;

use super::destination_rule::ConnectionPoolSettings;
use super::service_entry::LabelSelector;
use crate::yaml::{Spanned, Unread};

/// `Sidecar.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// The workloads it is for; all of the namespace if not set, and all of the mesh in the root namespace.
    pub workload_selector: Option<Spanned<LabelSelector>>,
    /// The ports that the workloads listen on.
    #[serde(default)]
    pub ingress: Vec<Spanned<IngressListener>>,
    /// What they call; what the mesh lets them call if not set.
    pub egress: Option<Vec<Spanned<EgressListener>>>,
    /// How much may be in flight to the application.
    pub inbound_connection_pool: Option<Spanned<ConnectionPoolSettings>>,
    /// What happens to calls of other hosts.
    pub outbound_traffic_policy: Option<Spanned<OutboundTrafficPolicy>>,
}

/// `IstioIngressListener`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressListener {
    /// The port.
    pub port: Spanned<SidecarPort>,
    /// Not honoured.
    pub bind: Option<Unread>,
    /// Not honoured.
    pub capture_mode: Option<Unread>,
    /// Where the application listens, `127.0.0.1:8080`.
    pub default_endpoint: Option<Spanned<String>>,
    /// Not honoured.
    pub tls: Option<Unread>,
    /// How much may be in flight to the application.
    pub connection_pool: Option<Spanned<ConnectionPoolSettings>>,
}

/// `SidecarPort`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SidecarPort {
    /// The number.
    pub number: Spanned<u16>,
    /// What is spoken on it.
    pub protocol: Option<Spanned<String>>,
    /// Its name, which says nothing here.
    pub name: Option<Spanned<String>>,
    /// Without effect in Istio.
    pub target_port: Option<Unread>,
}

/// `IstioEgressListener`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressListener {
    /// Only this port of the services; all of them if not set.
    pub port: Option<Spanned<SidecarPort>>,
    /// Not honoured.
    pub bind: Option<Unread>,
    /// Not honoured.
    pub capture_mode: Option<Unread>,
    /// `namespace/host`, either of them `*`, the namespace also `.` or `~`.
    #[serde(default)]
    pub hosts: Vec<Spanned<String>>,
}

/// `OutboundTrafficPolicy`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboundTrafficPolicy {
    /// `REGISTRY_ONLY` if not set.
    pub mode: Option<Spanned<OutboundMode>>,
    /// Not honoured.
    pub egress_proxy: Option<Unread>,
}

/// `OutboundTrafficPolicy.Mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundMode {
    /// Only what is known is called.
    RegistryOnly,
    /// Anything is called; not honoured.
    AllowAny,
}

impl EgressListener {
    /// The two halves of its hosts; those without a `/` were reported while reading.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str, &Spanned<String>)> {
        self.hosts.iter().filter_map(|host| {
            let (namespace, name) = host.value.split_once('/')?;
            Some((namespace, name, host))
        })
    }
}
