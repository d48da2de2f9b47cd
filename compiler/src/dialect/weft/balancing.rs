//! `loadBalancer` and `connection` of a TrafficPolicy: which endpoint, and over what.

use schemars::JsonSchema;
use serde::Deserialize;
use weft_bundle::body;
use weft_bundle::duration::DurationText;

use super::super::check::Checker;
use super::shapes;
use crate::yaml::{Map, Spanned};

/// How an endpoint is chosen.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    /// The way.
    #[schemars(with = "Option<shapes::LoadBalancerPolicy>")]
    pub policy: Option<Spanned<body::LoadBalancer>>,
    /// What `ring-hash` and `maglev` are of.
    pub hash: Option<Spanned<Hash>>,
    /// Which endpoints are preferred for being near.
    pub locality: Option<Spanned<Locality>>,
    /// How new endpoints are eased in.
    pub warmup: Option<Spanned<Warmup>>,
}

/// What is hashed: the first of these that a request has.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hash {
    /// In order of preference.
    pub on: Vec<Spanned<HashKey>>,
    /// The fewest entries of a ring, or the size of a Maglev table, a prime number.
    #[schemars(range(min = 1, max = 5_000_011))]
    pub size: Option<Spanned<u32>>,
}

/// What may be hashed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum HashKey {
    /// A header field.
    Header(Spanned<String>),
    /// A query parameter.
    Query(Spanned<String>),
    /// A cookie.
    Cookie(Spanned<HashCookie>),
    /// Something about the connection.
    Source(Spanned<HashSource>),
}

/// A cookie to hash.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HashCookie {
    /// Its name.
    pub name: Spanned<String>,
    /// How long one that is made lives, `0s` until the browser ends; none is made if not set.
    #[schemars(with = "Option<shapes::Duration>")]
    pub ttl: Option<Spanned<DurationText>>,
    /// Its path.
    pub path: Option<Spanned<String>>,
}

/// What of a connection may be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum HashSource {
    /// The caller's address.
    Address,
}

/// Which endpoints are preferred for being near. Places are `region/zone/subzone`, with `*` for all below.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Locality {
    /// Shares by place, for callers from a place; the first that fits.
    #[serde(default)]
    pub distribute: Vec<Spanned<Distribution>>,
    /// Where requests of a region go when it has no healthy endpoint.
    #[serde(default)]
    pub failover: Vec<Spanned<Failover>>,
    /// Labels whose equality makes an endpoint nearer, the most important first.
    #[serde(default)]
    pub priority: Vec<Spanned<String>>,
}

/// Shares by place.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Distribution {
    /// Callers from here.
    pub from: Spanned<String>,
    /// Per cent by place; together 100.
    pub to: Map<Spanned<u32>>,
}

/// A region, and the one that stands in for it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failover {
    /// The region without healthy endpoints.
    pub from: Spanned<String>,
    /// The region that stands in.
    pub to: Spanned<String>,
}

/// How new endpoints are eased in: their share grows evenly over a time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Warmup {
    /// Over how long.
    #[schemars(with = "shapes::Duration")]
    pub duration: Spanned<DurationText>,
    /// From how many per cent of their share; 10 if not set.
    #[schemars(range(max = 100))]
    pub minimum_percent: Option<Spanned<u32>>,
}

/// How connections are kept.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// Requests after which a connection is not used again.
    #[schemars(range(min = 1))]
    pub max_requests: Option<Spanned<u32>>,
    /// The age after which a connection is not used again.
    #[schemars(with = "Option<shapes::Duration>")]
    pub max_age: Option<Spanned<DurationText>>,
    /// Streams at once on one HTTP/2 connection.
    #[schemars(range(min = 1))]
    pub max_streams: Option<Spanned<u32>>,
    /// TCP keep-alive probes.
    pub keepalive: Option<Spanned<Keepalive>>,
    /// Whether HTTP/1.1 requests travel over HTTP/2.
    pub upgrade_to_http2: Option<Spanned<bool>>,
    /// The version of the PROXY protocol that opens a connection: 1 or 2.
    #[schemars(range(min = 1, max = 2))]
    pub proxy_protocol: Option<Spanned<u8>>,
}

/// TCP keep-alive probes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keepalive {
    /// After how long without traffic.
    #[schemars(with = "Option<shapes::Duration>")]
    pub time: Option<Spanned<DurationText>>,
    /// How often.
    #[schemars(with = "Option<shapes::Duration>")]
    pub interval: Option<Spanned<DurationText>>,
    /// So many without an answer end a connection.
    #[schemars(range(min = 1))]
    pub probes: Option<Spanned<u32>>,
}

impl LoadBalancer {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        let hashes = |policy: &Spanned<body::LoadBalancer>| {
            matches!(policy.value, body::LoadBalancer::RingHash | body::LoadBalancer::Maglev)
        };
        match (&self.policy, &self.hash) {
            (Some(policy), None) if hashes(policy) => {
                checker.invalid_because(policy.span, "there is nothing to hash", "add `hash: { on: … }`");
            }
            (policy, Some(hash)) if !policy.as_ref().is_some_and(hashes) => {
                checker.invalid_because(
                    hash.span,
                    "`hash` has no effect without a policy that hashes",
                    "add `policy: ring-hash` or `policy: maglev`",
                );
            }
            (_, _) => {}
        }
        if let Some(hash) = &self.hash {
            hash.check(hash.span, checker);
        }
        if let Some(locality) = &self.locality {
            locality.check(checker);
        }
        if let Some(percent) = self.warmup.as_ref().and_then(|warmup| warmup.minimum_percent.as_ref()) {
            checker.percent(percent);
        }
        if let Some(duration) = self.warmup.as_ref().map(|warmup| &warmup.duration) {
            checker.some_time(duration);
        }
    }
}

impl Hash {
    fn check(&self, span: crate::yaml::Span, checker: &mut Checker<'_>) {
        checker.not_idle(Some(&self.on), span, "on");
        for key in &self.on {
            match &key.value {
                HashKey::Header(name) => checker.header_name(name),
                HashKey::Query(name) if name.is_empty() => {
                    checker.invalid(name.span, "a query parameter has a name");
                }
                HashKey::Cookie(cookie) => checker.cookie_name(&cookie.name),
                HashKey::Query(_) | HashKey::Source(_) => {}
            }
        }
        if let Some(size) = &self.size
            && !(1..=5_000_011).contains(&size.value)
        {
            checker.invalid(size.span, format!("{size} is not a number from 1 to 5000011"));
        }
    }
}

impl Locality {
    fn check(&self, checker: &mut Checker<'_>) {
        for distribution in &self.distribute {
            let sum: u64 = distribution.to.iter().map(|(_, share)| u64::from(share.value)).sum();
            if sum != 100 {
                checker.invalid(distribution.span, format!("the shares come to {sum} per cent, not 100"));
            }
        }
        checker.unique(self.distribute.iter().map(|d| (&d.from.value, d.from.span)), |from| {
            format!("callers from `{from}` are distributed twice")
        });
        for failover in &self.failover {
            if failover.from.value == failover.to.value {
                checker.invalid(failover.to.span, "a region cannot stand in for itself");
            }
        }
        checker.unique(self.failover.iter().map(|f| (&f.from.value, f.from.span)), |from| {
            format!("`{from}` has two regions that stand in for it")
        });
    }
}

impl Connection {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        let probes = self.keepalive.as_ref().and_then(|keepalive| keepalive.probes.as_ref());
        for count in [self.max_requests.as_ref(), self.max_streams.as_ref(), probes].into_iter().flatten() {
            checker.at_least_one(count);
        }
        if let Some(version) = &self.proxy_protocol
            && !matches!(version.value, 1 | 2)
        {
            checker.invalid(version.span, format!("there is no version {version} of the PROXY protocol"));
        }
    }
}
