//! `DestinationRule` (iapi:networking/v1alpha3/destination_rule.proto).

use std::collections::BTreeMap;

use serde::Deserialize;

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
    /// Not honoured.
    pub workload_selector: Option<Unread>,
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
    /// Not honoured.
    pub connection_pool: Option<Unread>,
    /// Not honoured.
    pub outlier_detection: Option<Unread>,
    /// Only `ISTIO_MUTUAL` once checked, which is what the mesh does anyway.
    pub tls: Option<Spanned<ClientTls>>,
    /// Not honoured.
    pub port_level_settings: Option<Unread>,
    /// Not honoured.
    pub tunnel: Option<Unread>,
    /// Not honoured.
    pub proxy_protocol: Option<Unread>,
    /// Not honoured.
    pub retry_budget: Option<Unread>,
}

/// `LoadBalancerSettings`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerSettings {
    /// One of the plain ways.
    pub simple: Option<Spanned<SimpleLb>>,
    /// Not honoured.
    pub consistent_hash: Option<Unread>,
    /// Not honoured.
    pub locality_lb_setting: Option<Unread>,
    /// Not honoured.
    pub warmup_duration_secs: Option<Unread>,
    /// Not honoured.
    pub warmup: Option<Unread>,
}

/// `LoadBalancerSettings.SimpleLB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLb {
    /// Whatever the mesh does.
    Unspecified,
    /// Deprecated name of `LEAST_REQUEST`.
    LeastConn,
    /// At random.
    Random,
    /// To where the caller wanted; not honoured.
    Passthrough,
    /// In turn.
    RoundRobin,
    /// The one with fewer open requests of two drawn at random.
    LeastRequest,
}

/// `ClientTLSSettings`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientTls {
    /// How the connection is protected.
    pub mode: Option<Spanned<TlsMode>>,
    /// Not honoured.
    pub client_certificate: Option<Unread>,
    /// Not honoured.
    pub private_key: Option<Unread>,
    /// Not honoured.
    pub ca_certificates: Option<Unread>,
    /// Not honoured.
    pub ca_crl: Option<Unread>,
    /// Not honoured.
    pub credential_name: Option<Unread>,
    /// Not honoured.
    pub subject_alt_names: Option<Unread>,
    /// Not honoured.
    pub sni: Option<Unread>,
    /// Not honoured.
    pub insecure_skip_verify: Option<Unread>,
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
