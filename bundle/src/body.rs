//! The compiled policy of one service: everything its proxy needs, every default written out, nothing left to guess.
//!
//! ```text
//! Body ── inbound: one InboundPort per port ── access: ordered AccessRules, then `otherwise`
//!      ── outbound: one Frontend per (service, port) we may call
//!      │        entries: ordered (match → rule number); first match wins, else `otherwise`
//!      │        rules:   what to do: forward to weighted backends, redirect, or respond
//!      ── clusters: where backends point; endpoints, balancing, peer TLS
//! ```
//!
//! A body is canonical JSON ([`crate::json`]), read strictly: an unknown field is an error, because a proxy that skips
//! what it does not know would skip policy. [`SCHEMA`] travels in the leaf, not here. A new optional field raises the
//! release's `min_proxy`; a change of meaning raises [`SCHEMA`].
//!
//! It never holds: private keys, clocks, host names of the build machine, names of services this one may not call.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::duration::DurationText;
use crate::spiffe::{SpiffeId, TrustDomain};

/// The version of the body's format that this crate reads and writes.
pub const SCHEMA: u32 = 1;

/// The compiled policy of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// The mesh, as in the release that carries this body.
    pub mesh: String,
    /// The service this body is for, `namespace/name`.
    pub service: String,
    /// The identity its workloads present.
    pub identity: SpiffeId,
    /// The anchors of each trust domain whose peers may connect: base64 of one DER certificate each, sorted.
    pub trust_anchors: BTreeMap<TrustDomain, Vec<String>>,
    /// The ports peers call, sorted by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inbound: Vec<InboundPort>,
    /// The services this one may call, sorted by service, then port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<Frontend>,
    /// The clusters that backends name, by cluster id: `namespace/name:port` or `namespace/name:port/subset`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clusters: BTreeMap<String, Cluster>,
}

/// The document, and the line in it, that something was compiled from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Kind and name, such as `HTTPRoute bookinfo/reviews`.
    pub object: String,
    /// The rule inside the object: its name, or its place, such as `rules[2]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The file, relative to the root of the policy repository, with forward slashes.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if let Some(rule) = &self.rule {
            write!(f, " {rule}")?;
        }
        write!(f, " ({}:{})", self.file, self.line)
    }
}

/// What a port speaks. Declared, never guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1; HTTP/2 with prior knowledge is accepted too.
    Http,
    /// HTTP/2.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// Opaque bytes.
    Tcp,
    /// TLS that the proxy does not end.
    Tls,
}

impl Protocol {
    /// Whether requests, with methods, paths and headers, can be seen on it.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc)
    }

    /// The name used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// Whether peers must prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerTls {
    /// Only mutual TLS.
    Strict,
    /// Mutual TLS or clear text; clear text carries no identity.
    Permissive,
    /// Clear text only.
    Off,
}

// ---------------------------------------------------------------------------------------------------- inbound

/// A port that peers call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundPort {
    /// The port's name in the service.
    pub name: String,
    /// The number that peers connect to.
    pub port: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Where the application listens, `ip:port`.
    pub application: String,
    /// Whether peers must prove who they are.
    pub tls: PeerTls,
    /// Who may call.
    pub access: Access,
}

/// Who may call a port. Audit rules only record; the first deny or allow that matches decides; else `otherwise`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Ordered: audits, then denials, then allowances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<AccessRule>,
    /// What happens when no rule decides.
    pub otherwise: AccessDefault,
}

/// What happens when no access rule decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessDefault {
    /// Allow or deny.
    pub effect: Verdict,
    /// The document that says so: the mesh's default, or a policy whose presence turned the rest into a refusal.
    pub origin: Origin,
}

/// A final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Let it pass.
    Allow,
    /// Refuse it.
    Deny,
}

/// What an access rule does when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Record the request, decide nothing.
    Audit,
    /// Refuse it.
    Deny,
    /// Let it pass.
    Allow,
}

/// One rule of an access list: matches when a peer and an operation match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    /// What it does.
    pub effect: Effect,
    /// Where it is written.
    pub origin: Origin,
    /// Any of these peers; empty: every caller, known or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<PeerMatch>,
    /// Any of these operations; empty: every operation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<OperationMatch>,
}

/// A condition on the peer. Every field that is set must hold; within a field any value will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerMatch {
    /// The verified identity. A peer without one matches none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<IdentityMatch>,
    /// The address of the connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
}

/// A condition on an identity, compared as parsed structure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum IdentityMatch {
    /// This one.
    Exact(SpiffeId),
    /// Any `/ns/<namespace>/sa/…` of the trust domain.
    Namespace {
        /// The trust domain.
        trust_domain: TrustDomain,
        /// The namespace.
        namespace: String,
    },
    /// Any of the trust domain.
    TrustDomain(TrustDomain),
}

/// A condition on what is asked for. Every field that is set must hold; within a field any value will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationMatch {
    /// Methods, compared as received.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Canonical paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathMatch>,
}

// --------------------------------------------------------------------------------------------------- outbound

/// What callers see of a service on one port: an ordered list of decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frontend {
    /// The service, `namespace/name`.
    pub service: String,
    /// The port that the caller names.
    pub port: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// The host names it answers to, lower case, without port, sorted.
    pub hosts: Vec<String>,
    /// Ordered; the first that matches decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<Entry>,
    /// What entries point at, by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What happens to a request that no entry matches.
    pub otherwise: Rule,
}

/// One step of an ordered list: a condition, and the rule it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The condition.
    #[serde(rename = "match", default, skip_serializing_if = "RequestMatch::is_empty")]
    pub condition: RequestMatch,
    /// The index into [`Frontend::rules`].
    pub rule: usize,
}

/// A condition on a request. Every field that is set must hold; an empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestMatch {
    /// The canonical path, without query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// Whether the letters of the path are compared without case.
    #[serde(default, skip_serializing_if = "is_false")]
    pub path_ignore_case: bool,
    /// The method, as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<StringMatch>,
    /// The scheme, `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<StringMatch>,
    /// The authority as received, lower case, with its port if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<StringMatch>,
    /// Header fields; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<FieldMatch>,
    /// Query parameters; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<FieldMatch>,
}

impl RequestMatch {
    /// Whether it matches every request.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A condition on a canonical path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole segments: `/a` matches `/a` and `/a/b`, not `/ab` (Gateway API `PathPrefix`).
    SegmentPrefix(String),
    /// Leading bytes: `/a` matches `/ab` (Istio, Envoy `prefix`).
    Prefix(String),
    /// The whole path, as a regular expression over bytes (RE2's language, ASCII classes).
    Regex(String),
}

/// A condition on a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StringMatch {
    /// The whole text.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// The whole text, as a regular expression over bytes.
    Regex(String),
    /// Any text, also an empty one, as long as the field is there.
    Present,
}

/// A condition on a header field or a query parameter.
///
/// It holds if *any* value of that name matches; inverted, if none does, so an absent field satisfies an inverted one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldMatch {
    /// The name: lower case for headers, as written for query parameters.
    pub name: String,
    /// The condition on a value.
    pub value: StringMatch,
    /// Whether the condition is turned round.
    #[serde(default, skip_serializing_if = "is_false")]
    pub invert: bool,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Where it is written.
    pub origin: Origin,
    /// What to do.
    pub action: Action,
    /// Changes to the request's headers.
    #[serde(default, skip_serializing_if = "HeaderEdits::is_empty")]
    pub request_headers: HeaderEdits,
    /// Changes to the response's headers.
    #[serde(default, skip_serializing_if = "HeaderEdits::is_empty")]
    pub response_headers: HeaderEdits,
    /// Changes to where the request says it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "Timeouts::is_empty")]
    pub timeouts: Timeouts,
    /// Whether and when it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Send to one of these backends, by weight. Never empty; weights may all be zero, which answers 503.
    Forward(Vec<Backend>),
    /// Answer with another place to go.
    Redirect(Redirect),
    /// Answer directly.
    Respond {
        /// The status code.
        status: u16,
        /// The body, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
}

/// Where a rule sends a share of its requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// A cluster, or the status that answers the share of a backend that does not exist.
    pub target: Target,
    /// Its share, relative to its neighbours.
    pub weight: u32,
    /// Changes to the headers of requests that go here, after the rule's.
    #[serde(default, skip_serializing_if = "HeaderEdits::is_empty")]
    pub request_headers: HeaderEdits,
    /// Changes to the headers of responses that come from here, before the rule's.
    #[serde(default, skip_serializing_if = "HeaderEdits::is_empty")]
    pub response_headers: HeaderEdits,
}

/// What a backend points at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A key of [`Body::clusters`].
    Cluster(String),
    /// A status code.
    Status(u16),
}

/// Changes to header fields, in this order: remove, set, add. Names are lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderEdits {
    /// Fields to drop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Fields that replace any of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(String, String)>,
    /// Fields that join any of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<(String, String)>,
}

impl HeaderEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// Changes to where a request says it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// The new authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The new path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
}

/// How a path changes. The query always stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathRewrite {
    /// The whole path becomes this.
    Full(String),
    /// The part that the entry's path condition matched becomes this: a prefix for prefixes, all of it otherwise.
    Matched(String),
}

/// An answer that sends the caller elsewhere. What is not set stays as in the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The host, without port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// How long a request may take. Absent: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// From the whole request received to the response's headers sent, all tries together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<DurationText>,
    /// The same for one try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_try: Option<DurationText>,
    /// Between two frames of a body, either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<DurationText>,
}

impl Timeouts {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether and when a request is tried again. Each retry takes from its cluster's budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Tries after the first; at least 1.
    pub attempts: u32,
    /// What makes a try count as failed; sorted.
    pub on: Vec<RetryOn>,
    /// Methods that may be tried again after bytes were sent; sorted. A request that certainly was not processed
    /// (no connection, refused stream) may be tried again whatever its method.
    pub methods: Vec<String>,
    /// The first pause's upper bound; it doubles, and each pause is drawn evenly from zero to the bound.
    pub backoff_base: DurationText,
    /// The longest pause.
    pub backoff_max: DurationText,
}

/// What makes a try count as failed. Written as in documents: `connect-failure`, `reset`, `refused-stream`,
/// `gateway-error`, `5xx`, or a status such as `503`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetryOn {
    /// No connection could be made, TLS included.
    ConnectFailure,
    /// The peer refused the stream before processing it.
    RefusedStream,
    /// The connection ended before response headers came.
    Reset,
    /// 502, 503 or 504.
    GatewayError,
    /// Any status from 500.
    ServerError,
    /// This status.
    Status(u16),
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectFailure => f.write_str("connect-failure"),
            Self::RefusedStream => f.write_str("refused-stream"),
            Self::Reset => f.write_str("reset"),
            Self::GatewayError => f.write_str("gateway-error"),
            Self::ServerError => f.write_str("5xx"),
            Self::Status(status) => write!(f, "{status}"),
        }
    }
}

/// Why a text is not a retry condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOnError(String);

impl fmt::Display for RetryOnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not one of connect-failure, refused-stream, reset, gateway-error, 5xx or a status",
            self.0
        )
    }
}

impl std::error::Error for RetryOnError {}

impl std::str::FromStr for RetryOn {
    type Err = RetryOnError;

    fn from_str(text: &str) -> Result<Self, RetryOnError> {
        match text {
            "connect-failure" => Ok(Self::ConnectFailure),
            "refused-stream" => Ok(Self::RefusedStream),
            "reset" => Ok(Self::Reset),
            "gateway-error" => Ok(Self::GatewayError),
            "5xx" => Ok(Self::ServerError),
            digits => match digits.parse() {
                Ok(status @ 400..=599) => Ok(Self::Status(status)),
                _ => Err(RetryOnError(digits.chars().take(40).collect())),
            },
        }
    }
}

impl Serialize for RetryOn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RetryOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

// --------------------------------------------------------------------------------------------------- clusters

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

fn is_false(value: &bool) -> bool {
    !value
}
