//! `DestinationRule` (iapi:networking/v1alpha3/destination_rule.proto).

mod balancer;
mod pool;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use self::balancer::{
    ConsistentHash, Distribute, Failover, HttpCookie, LoadBalancerSettings, LocalityLbSetting, Maglev,
    RingHash, SimpleLb, Warmup,
};
pub use self::pool::{
    ConnectionPoolSettings, H2UpgradePolicy, HttpSettings, OutlierDetection, TcpKeepalive, TcpSettings,
};
use super::virtual_service::PortSelector;
use crate::yaml::{Spanned, Unread};

/// `DestinationRule.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRule {
    /// The service.
    pub host: Spanned<String>,
    /// Named parts of it.
    #[serde(default)]
    pub subsets: Vec<Spanned<Subset>>,
    /// How its endpoints are chosen.
    pub traffic_policy: Option<Spanned<TrafficPolicy>>,
    /// The namespaces whose callers see it: `*`, `.`, or names; every one if empty.
    #[serde(default)]
    pub export_to: Vec<Spanned<String>>,
    /// Callers of its own namespace, by the labels of their workloads.
    pub workload_selector: Option<Spanned<CallerSelector>>,
}

/// `WorkloadSelector` (iapi:type/v1beta1/selector.proto), for the callers that a rule is for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallerSelector {
    /// The labels that a workload must carry, all of them. Not empty once checked.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// `Subset`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subset {
    /// Its name, unique in the rule.
    pub name: Spanned<String>,
    /// The labels that a workload must carry, all of them; every workload if empty.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How its endpoints are chosen, where that differs.
    pub traffic_policy: Option<Spanned<TrafficPolicy>>,
}

/// `TrafficPolicy`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficPolicy {
    /// How an endpoint is chosen.
    pub load_balancer: Option<Spanned<LoadBalancerSettings>>,
    /// How much may be in flight, and how connections are kept.
    pub connection_pool: Option<Spanned<ConnectionPoolSettings>>,
    /// When an endpoint is left out.
    pub outlier_detection: Option<Spanned<OutlierDetection>>,
    /// How the connection is protected.
    pub tls: Option<Spanned<ClientTls>>,
    /// Policies of single ports, instead of this one.
    #[serde(default)]
    pub port_level_settings: Vec<Spanned<PortTrafficPolicy>>,
    /// Not honoured.
    pub tunnel: Option<Unread>,
    /// The header that says who the caller is.
    pub proxy_protocol: Option<Spanned<ProxyProtocol>>,
    /// How many retries there may be at once.
    pub retry_budget: Option<Spanned<RetryBudget>>,
}

/// `TrafficPolicy.PortTrafficPolicy`. What it does not set is as if nobody had set it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortTrafficPolicy {
    /// The port. There once checked.
    pub port: Option<Spanned<PortSelector>>,
    /// How an endpoint is chosen.
    pub load_balancer: Option<Spanned<LoadBalancerSettings>>,
    /// How much may be in flight, and how connections are kept.
    pub connection_pool: Option<Spanned<ConnectionPoolSettings>>,
    /// When an endpoint is left out.
    pub outlier_detection: Option<Spanned<OutlierDetection>>,
    /// How the connection is protected.
    pub tls: Option<Spanned<ClientTls>>,
}

/// `TrafficPolicy.ProxyProtocol`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyProtocol {
    /// `V1` if not set.
    pub version: Option<Spanned<ProxyProtocolVersion>>,
}

/// `TrafficPolicy.ProxyProtocol.VERSION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ProxyProtocolVersion {
    /// As text.
    V1,
    /// In bytes.
    V2,
}

/// `TrafficPolicy.RetryBudget`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// Per cent of the requests in flight; 20 if not set. A whole number once checked.
    pub percent: Option<Spanned<f64>>,
    /// The floor; 3 if not set.
    pub min_retry_concurrency: Option<Spanned<u32>>,
}

/// `ClientTLSSettings`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientTls {
    /// How the connection is protected; not at all if not set.
    pub mode: Option<Spanned<TlsMode>>,
    /// A path on the proxy's machine; not honoured.
    pub client_certificate: Option<Unread>,
    /// A path on the proxy's machine; not honoured.
    pub private_key: Option<Unread>,
    /// A file of the repository with the certificates to believe; those of the proxy's machine if not set.
    pub ca_certificates: Option<Spanned<String>>,
    /// Not honoured.
    pub ca_crl: Option<Unread>,
    /// The name of the certificate to present.
    pub credential_name: Option<Spanned<String>>,
    /// Names of which the server's certificate must have one.
    #[serde(default)]
    pub subject_alt_names: Vec<Spanned<String>>,
    /// The server name to ask for.
    pub sni: Option<Spanned<String>>,
    /// Whether any certificate is taken.
    pub insecure_skip_verify: Option<Spanned<bool>>,
}

/// `ClientTLSSettings.TLSmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// Clear text.
    Disable,
    /// TLS without a client certificate.
    Simple,
    /// TLS with certificates from files.
    Mutual,
    /// TLS with the mesh's own certificates.
    IstioMutual,
}
