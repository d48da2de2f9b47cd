//! Where requests end up: endpoints, and how to reach them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    ConnectionSettings, Discovery, HashPolicy, HealthCheck, Limits, Locality, Outliers, Protocol, ServerTls,
    Warmup, is_false,
};
use crate::duration::DurationText;
use crate::spiffe::SpiffeId;

/// The endpoints behind a backend, and how to reach them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The service, `namespace/name`.
    pub service: String,
    /// The service's port.
    pub port: u16,
    /// The subset, if it is not the whole service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// How peers are authenticated.
    pub tls: UpstreamTls,
    /// Sorted by address and port; may be empty, which answers 503.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// How one is chosen.
    pub load_balancer: LoadBalancer,
    /// How long a connection, TLS included, may take to open.
    pub connect_timeout: DurationText,
    /// How long an unused connection is kept. Shorter than the peer's own limit; zero: as long as it lasts.
    pub idle_timeout: DurationText,
    /// How many retries there may be at once.
    pub retry_budget: RetryBudget,
    /// Where endpoints that are not listed here come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// What a consistent hash is of; there for balancers that hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<HashPolicy>,
    /// Which endpoints are preferred for being near.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
    /// How new endpoints are eased in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// How much may be in flight.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// When an endpoint is left out for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outliers: Option<Outliers>,
    /// How endpoints are asked whether they are well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// How connections are kept.
    #[serde(default, skip_serializing_if = "ConnectionSettings::is_empty")]
    pub connection: ConnectionSettings,
    /// Whether it is outside the mesh: no identity is presented and no mesh header is added.
    #[serde(default, skip_serializing_if = "is_false")]
    pub external: bool,
}

/// How an upstream proves who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamTls {
    /// Clear text.
    Off,
    /// Mutual TLS; the peer must present one of these identities. Never empty, sorted.
    Mutual(Vec<SpiffeId>),
    /// TLS as on the web: the peer presents a certificate for a name.
    Server(ServerTls),
}

/// One address of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The IP address.
    pub address: std::net::IpAddr,
    /// The port.
    pub port: u16,
    /// Its share among its neighbours; at least 1.
    pub weight: u32,
    /// Where it is, as `region/zone/subzone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// Those of its labels that the cluster's [`Locality::priority`] compares.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalancer {
    /// The better of two drawn at random, by peak-sensitive moving average of latency times load.
    PeakEwma,
    /// The one with fewer open requests of two drawn at random.
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// At random.
    Random,
    /// By a ring of hashes.
    RingHash,
    /// By a Maglev table.
    Maglev,
}

impl LoadBalancer {
    /// Whether a request's hash says where it goes.
    pub fn hashes(self) -> bool {
        matches!(self, Self::RingHash | Self::Maglev)
    }
}

/// How many retries may be in flight at once: `percent` of the requests in flight, and never fewer than `min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryBudget {
    /// Per cent of requests in flight.
    pub percent: u32,
    /// The floor.
    pub min: u32,
}
