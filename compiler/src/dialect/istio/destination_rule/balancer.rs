//! `LoadBalancerSettings`.

use std::collections::BTreeMap;

use serde::Deserialize;
use weft_bundle::duration::DurationText;

use crate::yaml::{Map, Spanned, Unread};

/// `LoadBalancerSettings`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerSettings {
    /// One of the plain ways.
    pub simple: Option<Spanned<SimpleLb>>,
    /// By a hash.
    pub consistent_hash: Option<Spanned<ConsistentHash>>,
    /// Which endpoints are preferred for being near.
    pub locality_lb_setting: Option<Spanned<LocalityLbSetting>>,
    /// Deprecated name of `warmup`, with its defaults.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub warmup_duration_secs: Option<Spanned<DurationText>>,
    /// How new endpoints are eased in.
    pub warmup: Option<Spanned<Warmup>>,
}

/// `LoadBalancerSettings.SimpleLB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLb {
    /// As `LEAST_REQUEST`.
    Unspecified,
    /// Deprecated name of `LEAST_REQUEST`.
    LeastConn,
    /// At random.
    Random,
    /// To where the caller wanted.
    Passthrough,
    /// In turn.
    RoundRobin,
    /// The one with fewer open requests of two drawn at random.
    LeastRequest,
}

/// `LoadBalancerSettings.ConsistentHashLB`. Exactly one key, and at most one table, once checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsistentHash {
    /// A header field.
    pub http_header_name: Option<Spanned<String>>,
    /// A cookie.
    pub http_cookie: Option<Spanned<HttpCookie>>,
    /// The address of the connection; only `true` says something.
    pub use_source_ip: Option<Spanned<bool>>,
    /// A query parameter.
    pub http_query_parameter_name: Option<Spanned<String>>,
    /// A ring.
    pub ring_hash: Option<Spanned<RingHash>>,
    /// A Maglev table.
    pub maglev: Option<Spanned<Maglev>>,
    /// Deprecated: of `ringHash`.
    pub minimum_ring_size: Option<Spanned<u32>>,
}

/// `ConsistentHashLB.HTTPCookie`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpCookie {
    /// Its name.
    pub name: Spanned<String>,
    /// Its path.
    pub path: Option<Spanned<String>>,
    /// How long one that is made lives; none is made if not set.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub ttl: Option<Spanned<DurationText>>,
    /// Not honoured.
    pub attributes: Option<Unread>,
}

/// `ConsistentHashLB.RingHash`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RingHash {
    /// The fewest entries; 1024 if not set.
    pub minimum_ring_size: Option<Spanned<u32>>,
}

/// `ConsistentHashLB.MagLev`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Maglev {
    /// The size of the table, a prime; 65537 if not set.
    pub table_size: Option<Spanned<u32>>,
}

/// `LocalityLoadBalancerSetting`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalityLbSetting {
    /// Shares by place.
    #[serde(default)]
    pub distribute: Vec<Spanned<Distribute>>,
    /// Where requests go when a region has no healthy endpoint.
    #[serde(default)]
    pub failover: Vec<Spanned<Failover>>,
    /// Labels whose equality makes an endpoint nearer.
    #[serde(default)]
    pub failover_priority: Vec<Spanned<String>>,
    /// Whether any of this holds; it does if not set.
    pub enabled: Option<Spanned<bool>>,
}

/// `LocalityLoadBalancerSetting.Distribute`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribute {
    /// Callers from here: `region/zone/subzone`, a `*` for all below.
    pub from: Spanned<String>,
    /// Per cent by place; sums to 100 once checked.
    #[serde(default)]
    pub to: Map<Spanned<u32>>,
}

/// `LocalityLoadBalancerSetting.Failover`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// The region without healthy endpoints.
    pub from: Spanned<String>,
    /// The region that takes its requests.
    pub to: Spanned<String>,
}

/// `WarmupConfiguration`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warmup {
    /// Over how long. There once checked.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub duration: Option<Spanned<DurationText>>,
    /// From how many per cent of their share; 10 if not set.
    pub minimum_percent: Option<Spanned<f64>>,
    /// How fast; 1 if not set.
    pub aggression: Option<Spanned<f64>>,
}

impl LocalityLbSetting {
    /// Shares and failovers, as the bundle has them.
    pub fn failovers(&self) -> BTreeMap<String, String> {
        self.failover
            .iter()
            .map(|failover| (failover.from.value.clone(), failover.to.value.clone()))
            .collect()
    }
}
