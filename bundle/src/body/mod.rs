//! The compiled policy of one service: everything its proxy needs, every default written out, nothing left to guess.
//!
//! ```text
//! Body ── inbound: one InboundPort per port ── access: ordered AccessRules, then `otherwise`
//!      ── listeners: of a gateway; each a Frontend for callers outside the mesh, and its access
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

mod inbound;
mod token;
mod frontend;
mod listener;
mod condition;
mod predicate;
mod rule;
mod policy;
mod fraction;
mod retry;
mod cluster;
mod upstream;
mod telemetry;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::cluster::{Cluster, Endpoint, LoadBalancer, RetryBudget, UpstreamTls};
pub use self::condition::{FieldMatch, PathMatch, RequestMatch, StringMatch};
pub use self::fraction::Fraction;
pub use self::frontend::{Entry, Frontend};
pub use self::inbound::{
    Access, AccessDefault, AccessRule, Effect, IdentityMatch, InboundPort, OperationMatch, PeerMatch, Verdict,
};
pub use self::listener::{ClientCertificates, Listener, ListenerTls, TerminatedTls};
pub use self::policy::{
    Abort, Cors, Delay, Fault, RateLimit, RateLimitKey, SessionCarrier, SessionPersistence,
};
pub use self::predicate::{
    AddressAttribute, Attribute, ClaimPath, Comparison, FlagAttribute, ListAttribute, NumberAttribute,
    Predicate,
};
pub use self::retry::{GrpcStatus, Retry, RetryOn, RetryOnError};
pub use self::rule::{
    Action, Backend, HeaderEdits, Mirror, PathRewrite, Redirect, Rewrite, Rule, Target, Timeouts,
};
pub use self::telemetry::{AccessLog, MetricLabel, SpanAttribute, Telemetry, Tracing};
pub use self::token::{TokenLocation, TokenProvider};
pub use self::upstream::{
    Anchors, ConnectionSettings, Discovery, Distribution, HashKey, HashPolicy, HealthCheck, Keepalive,
    Limits, Locality, Outliers, Probe, ServerTls, SubjectName, Warmup,
};
use crate::spiffe::{SpiffeId, TrustDomain};

/// The version of the body's format that this crate reads and writes.
pub const SCHEMA: u32 = 1;

/// The compiled policy of one service.
///
/// Its frontends and clusters are the same in the bodies of many services, so a writer of many bodies may put others in
/// their place, such as [`crate::json::Canonical`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "F: Deserialize<'de>, C: Deserialize<'de>"))]
pub struct Body<F = Frontend, C = Cluster> {
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
    /// What a gateway accepts from outside, sorted by port, then name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// The issuers of tokens that inbound ports name, by id: `namespace/name`, and a number where one document has
    /// several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub token_providers: BTreeMap<String, TokenProvider>,
    /// The services this one may call, sorted by service, then port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<F>,
    /// The clusters that backends name, by cluster id: `namespace/name:port` or `namespace/name:port/subset`; with
    /// `@gateway` behind it where listeners reach a cluster in another way than the workloads' own calls do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clusters: BTreeMap<String, C>,
    /// What the proxy tells about requests.
    #[serde(default, skip_serializing_if = "Telemetry::is_empty")]
    pub telemetry: Telemetry,
}

impl Body {
    /// The body of a service that accepts nothing, trusts nobody and calls nobody.
    pub fn new(mesh: &str, service: String, identity: SpiffeId) -> Self {
        Self {
            mesh: mesh.to_owned(),
            service,
            identity,
            trust_anchors: BTreeMap::new(),
            inbound: Vec::new(),
            listeners: Vec::new(),
            token_providers: BTreeMap::new(),
            outbound: Vec::new(),
            clusters: BTreeMap::new(),
            telemetry: Telemetry::default(),
        }
    }
}

impl<F, C> Body<F, C> {
    /// The same body with other frontends and clusters.
    pub fn with<G, D>(self, outbound: Vec<G>, clusters: BTreeMap<String, D>) -> Body<G, D> {
        Body {
            mesh: self.mesh,
            service: self.service,
            identity: self.identity,
            trust_anchors: self.trust_anchors,
            inbound: self.inbound,
            listeners: self.listeners,
            token_providers: self.token_providers,
            outbound,
            clusters,
            telemetry: self.telemetry,
        }
    }
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
    /// Datagrams.
    Udp,
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
            Self::Udp => "udp",
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

fn is_false(value: &bool) -> bool {
    !value
}
