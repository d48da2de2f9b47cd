//! Where requests end up: endpoints, and how to reach them.

use serde::{Deserialize, Serialize};

use super::Protocol;
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
    /// How long an unused connection is kept. Shorter than the peer's own limit.
    pub idle_timeout: DurationText,
    /// How many retries there may be at once.
    pub retry_budget: RetryBudget,
}

/// How an upstream proves who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamTls {
    /// Clear text.
    Off,
    /// Mutual TLS; the peer must present one of these identities. Never empty, sorted.
    Mutual(Vec<SpiffeId>),
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
