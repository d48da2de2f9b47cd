//! Whether and when a request is tried again.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::duration::DurationText;

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
/// `gateway-error`, `5xx`, a status such as `503`, or a gRPC status such as `unavailable`.
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
    /// A gRPC response with this status.
    Grpc(GrpcStatus),
}

/// The gRPC statuses that may make a try count as failed, by their names in Envoy's `x-envoy-retry-grpc-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrpcStatus {
    /// 1
    Cancelled,
    /// 4
    DeadlineExceeded,
    /// 8
    ResourceExhausted,
    /// 13
    Internal,
    /// 14
    Unavailable,
}

impl GrpcStatus {
    const ALL: [Self; 5] =
        [Self::Cancelled, Self::DeadlineExceeded, Self::ResourceExhausted, Self::Internal, Self::Unavailable];

    /// The name in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::ResourceExhausted => "resource-exhausted",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    /// The code in `grpc-status`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Cancelled => "1",
            Self::DeadlineExceeded => "4",
            Self::ResourceExhausted => "8",
            Self::Internal => "13",
            Self::Unavailable => "14",
        }
    }
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
            Self::Grpc(status) => f.write_str(status.as_str()),
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
            "`{}` is not one of connect-failure, refused-stream, reset, gateway-error, 5xx, cancelled, \
             deadline-exceeded, resource-exhausted, internal, unavailable or a status",
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
            other => {
                let grpc = GrpcStatus::ALL.into_iter().find(|status| status.as_str() == other);
                match (grpc, other.parse()) {
                    (Some(status), _) => Ok(Self::Grpc(status)),
                    (None, Ok(status @ 400..=599)) => Ok(Self::Status(status)),
                    (None, _) => Err(RetryOnError(other.chars().take(40).collect())),
                }
            }
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
