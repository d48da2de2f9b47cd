//! How a cluster finds its endpoints, chooses among them, and protects them and itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{StringMatch, is_false};
use crate::duration::DurationText;

/// Where endpoints that are not listed in the body come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Discovery {
    /// The A and AAAA records of a name, all of them, asked again when their time is over.
    Dns {
        /// The name.
        host: String,
        /// The port of each address.
        port: u16,
    },
    /// The SRV records of a name.
    DnsService {
        /// The name, such as `_http._tcp.example.com`.
        name: String,
    },
    /// A file on the proxy's machine, read again when it changes: a JSON list of objects with an `address` and perhaps a
    /// `port`, a `weight`, a `locality` and `labels`.
    File {
        /// Its path there.
        path: String,
        /// What an endpoint must carry to be of the subset.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
    },
    /// The address that the caller connected to.
    OriginalDestination,
}

/// How a peer that is no workload of the mesh proves who it is, and how we prove to it who we are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// The server name to ask for (SNI); the host of the request if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Names of which the certificate must have one; the server name if empty. Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<SubjectName>,
    /// Who may have issued its certificate.
    pub anchors: Anchors,
    /// The certificate to present, by the name of its files in the proxy's own configuration: `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Whether any certificate is taken. Only where a document asks for it in so many words.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,
}

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectName {
    /// A DNS name.
    Dns(StringMatch),
    /// A URI.
    Uri(StringMatch),
    /// Either.
    Any(StringMatch),
}

/// Certificates to believe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchors {
    /// Those of the proxy's machine.
    System,
    /// These: base64 of one DER certificate each, sorted. Never empty.
    Certificates(Vec<String>),
}

/// What a consistent hash is of: the first key that a request has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashPolicy {
    /// In order of preference. A request with none of them goes anywhere.
    pub keys: Vec<HashKey>,
    /// The fewest entries of a ring, or the size of a Maglev table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
}

/// What may be hashed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HashKey {
    /// A header field, lower case.
    Header(String),
    /// A query parameter.
    Query(String),
    /// The address of the connection.
    SourceAddress,
    /// A cookie, made if it is not there and has a lifetime.
    Cookie {
        /// Its name.
        name: String,
        /// How long one that we make lives; zero: until the browser ends. Without, none is made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl: Option<DurationText>,
        /// Its path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
}

/// Which endpoints are preferred for being near. Patterns are `region/zone/subzone`, a `*` for all below.
///
/// Endpoints stand in tiers, the nearest first. A tier takes all requests while 1.4 times its share of well endpoints is all
/// or more; below, the next ones take what it cannot. Without any of the fields, our own place comes first, then our zone,
/// our region, and the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locality {
    /// Shares by place, for callers from a place; the first that fits. Endpoints that none of its shares is for get nothing;
    /// callers that none fits have no preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distribute: Vec<Distribution>,
    /// Where requests of a region go when it has no healthy endpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failover: BTreeMap<String, String>,
    /// Labels whose equality makes an endpoint nearer, the most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priority: Vec<String>,
}

/// Shares by place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// Callers from here.
    pub from: String,
    /// Per cent by place; sums to 100.
    pub to: BTreeMap<String, u32>,
}

/// How new endpoints are eased in: their share grows over a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Over how long.
    pub duration: DurationText,
    /// From how many per cent of their share.
    pub minimum_percent: u32,
    /// How fast, in thousandths: 1000 is evenly, more is fast at first.
    pub aggression_thousandths: u32,
}

/// How much may be in flight from one proxy to a cluster. Absent: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Requests that wait for a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<u32>,
    /// Requests in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// Retries in flight, beside the budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// When an endpoint is left out for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outliers {
    /// After this many failures in a row: no connection, no response, or a status from 500. Zero: never for these.
    pub consecutive_errors: u32,
    /// After this many 502, 503, 504 or failures to connect in a row. Zero: never for these.
    pub consecutive_gateway_errors: u32,
    /// After this many failures in a row that are not answers; then those do not count as errors. Zero: they do.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub consecutive_local_failures: u32,
    /// How often endpoints are looked at again.
    pub interval: DurationText,
    /// How long the first time; the n-th time n times as long.
    pub base_ejection: DurationText,
    /// Never more than this share of the endpoints at once, and always at least one.
    pub max_ejected_percent: u32,
    /// With fewer well endpoints than this share, all are used.
    pub min_healthy_percent: u32,
}

/// How endpoints are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// How often.
    pub interval: DurationText,
    /// How long an answer may take.
    pub timeout: DurationText,
    /// So many good answers make an endpoint well.
    pub healthy_after: u32,
    /// So many bad ones make it unwell.
    pub unhealthy_after: u32,
}

/// What an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    /// Whether it takes a connection.
    Tcp,
    /// Whether it answers a GET with a status from 200 to 299.
    Http {
        /// The path.
        path: String,
        /// The host; the service's first name if not set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// Whether `grpc.health.v1.Health` says that it serves.
    Grpc {
        /// The service asked about; the whole server if empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        service: String,
    },
}

/// How connections are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSettings {
    /// Requests after which a connection is not used again. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// The age after which a connection is not used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<DurationText>,
    /// Streams at once on one HTTP/2 connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
    /// TCP keep-alive probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Keepalive>,
    /// Whether HTTP/1.1 requests travel over HTTP/2.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upgrade_to_http2: bool,
    /// The version of the PROXY protocol that opens a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<u8>,
}

impl ConnectionSettings {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// TCP keep-alive probes. Absent: as the operating system has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keepalive {
    /// After how long without traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<DurationText>,
    /// How often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationText>,
    /// So many without an answer end a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<u32>,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}
