//! What a rule does beside routing: cross-origin answers, faults, and callers that stay with one endpoint.

use serde::{Deserialize, Serialize};

use super::{Fraction, StringMatch, is_false};
use crate::duration::DurationText;

/// What browsers of other origins may do (Gateway API v1, `HTTPCORSFilter`; Istio `CorsPolicy`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins that may ask; any will do.
    pub allow_origins: Vec<StringMatch>,
    /// Methods they may use; `*` for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Request header fields they may send, lower case; `*` for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Response header fields they may read, lower case; `*` for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// How long a browser may keep the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<DurationText>,
    /// Whether cookies and authorization may come along.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_credentials: bool,
    /// Whether a preflight of an origin that may not ask is forwarded instead of answered here.
    #[serde(default, skip_serializing_if = "is_false")]
    pub forward_unmatched: bool,
}

/// Faults to inject. A delay comes before an abort.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Requests that wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Requests that are answered with an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
}

/// Requests that wait before they are forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// How long.
    pub fixed: DurationText,
    /// Which share of them.
    pub share: Fraction,
}

/// Requests that are answered with an error and not forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    /// The HTTP status; 200 where only `grpc_status` is meant.
    pub status: u16,
    /// The gRPC status, in a trailers-only response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u32>,
    /// Which share of them.
    pub share: Fraction,
}

/// A caller stays with the endpoint that first answered it (Gateway API, `SessionPersistence`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionPersistence {
    /// The name of the cookie or header that carries the session.
    pub name: String,
    /// What carries it.
    pub carrier: SessionCarrier,
    /// When it ends at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<DurationText>,
    /// When it ends without use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<DurationText>,
}

/// What carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionCarrier {
    /// A cookie that ends with the browser.
    Cookie,
    /// A cookie that lives as long as the absolute timeout.
    PermanentCookie,
    /// A header field.
    Header,
}

/// How many requests a service takes, counted by each of its proxies on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many requests.
    pub requests: u32,
    /// In how much time.
    pub per: DurationText,
    /// How many may come at once; at least 1.
    pub burst: u32,
    /// What is counted apart.
    pub by: RateLimitKey,
}

/// What a rate limit counts apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateLimitKey {
    /// Nothing: all requests together.
    All,
    /// Each identity; peers without one together.
    Identity,
    /// Each value of a header field, whose name is lower case.
    Header(String),
}
