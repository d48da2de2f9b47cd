//! Faults, copies, cross-origin answers and rewriting by expression.

use serde::Deserialize;
use weft_bundle::body::Fraction;
use weft_bundle::duration::DurationText;

use super::http::Destination;
use crate::dialect::istio::string_match::StringMatch;
use crate::yaml::{Spanned, Unread};

/// `Percent`: 0 to 100 once checked, with four decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct Percent {
    /// How many of a hundred; 0 if not set.
    pub value: Option<Spanned<f64>>,
}

impl Percent {
    /// The share, cut to millionths as in Istio (istio:pilot/pkg/networking/core/route/route.go,
    /// `translatePercentToFractionalPercent`).
    pub fn share(&self) -> Fraction {
        let percent = self.value.map_or(0.0, |value| value.value);
        Fraction::millionths((percent.clamp(0.0, 100.0) * 10_000.0) as u32)
    }
}

/// A share in whole per cent: 0 to 100 once checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct IntegerPercent(pub u32);

impl IntegerPercent {
    /// The share.
    pub fn share(self) -> Fraction {
        Fraction::millionths(self.0.min(100) * 10_000)
    }
}

/// `HTTPMirrorPolicy`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorPolicy {
    /// Where.
    pub destination: Spanned<Destination>,
    /// Which share; everything if not set.
    pub percentage: Option<Spanned<Percent>>,
}

/// `HTTPFaultInjection`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpFault {
    /// Requests that wait.
    pub delay: Option<Spanned<DelayFault>>,
    /// Requests that fail.
    pub abort: Option<Spanned<AbortFault>>,
}

/// `HTTPFaultInjection.Delay`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelayFault {
    /// How long.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub fixed_delay: Option<Spanned<DurationText>>,
    /// Not honoured, in Istio neither.
    pub exponential_delay: Option<Unread>,
    /// Which share; none if not set.
    pub percentage: Option<Spanned<Percent>>,
    /// Deprecated name of `percentage`, in whole per cent.
    pub percent: Option<Spanned<IntegerPercent>>,
}

/// `HTTPFaultInjection.Abort`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AbortFault {
    /// 200 to 599 once checked.
    pub http_status: Option<Spanned<u16>>,
    /// A name such as `UNAVAILABLE`, or a number.
    pub grpc_status: Option<Spanned<String>>,
    /// Not honoured, in Istio neither.
    pub http2_error: Option<Unread>,
    /// Which share; none if not set.
    pub percentage: Option<Spanned<Percent>>,
}

impl DelayFault {
    /// Which share of the requests waits, if that is said.
    pub fn share(&self) -> Option<Fraction> {
        let whole = self.percent.as_ref().map(|percent| percent.value.share());
        self.percentage.as_ref().map(|percent| percent.value.share()).or(whole)
    }
}

/// gRPC's statuses by name, in the order of their numbers (gRPC, `statuscodes`).
const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl AbortFault {
    /// The number of `grpcStatus`, if it is a status.
    pub fn grpc_code(&self) -> Option<u32> {
        let text = self.grpc_status.as_ref()?;
        (0u32..).zip(GRPC_STATUSES).find(|(_, name)| *name == text.value).map(|(code, _)| code)
    }

    /// Which share of the requests fails, if that is said.
    pub fn share(&self) -> Option<Fraction> {
        self.percentage.as_ref().map(|percent| percent.value.share())
    }

    /// What `grpcStatus` may be.
    pub fn grpc_names() -> &'static [&'static str] {
        &GRPC_STATUSES
    }
}

/// `CorsPolicy`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CorsPolicy {
    /// Origins that may ask.
    #[serde(default)]
    pub allow_origins: Vec<Spanned<StringMatch>>,
    /// Deprecated: the same, each exact.
    #[serde(default)]
    pub allow_origin: Vec<Spanned<String>>,
    /// Methods they may use.
    #[serde(default)]
    pub allow_methods: Vec<Spanned<String>>,
    /// Request header fields they may send.
    #[serde(default)]
    pub allow_headers: Vec<Spanned<String>>,
    /// Response header fields they may read.
    #[serde(default)]
    pub expose_headers: Vec<Spanned<String>>,
    /// How long the answer may be kept; whole seconds once checked.
    #[serde(default, deserialize_with = "crate::dialect::istio::duration::optional")]
    pub max_age: Option<Spanned<DurationText>>,
    /// Whether cookies and authorization may come along.
    pub allow_credentials: Option<Spanned<bool>>,
    /// What happens to a preflight of an origin that may not ask.
    pub unmatched_preflights: Option<Spanned<UnmatchedPreflights>>,
}

/// `CorsPolicy.UnmatchedPreflights`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnmatchedPreflights {
    /// As `FORWARD`.
    Unspecified,
    /// It goes to the service.
    Forward,
    /// It is answered here.
    Ignore,
}

/// `RegexRewrite`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegexRewrite {
    /// The expression, RE2.
    #[serde(rename = "match")]
    pub pattern: Spanned<String>,
    /// What each match becomes.
    pub rewrite: Spanned<String>,
}
