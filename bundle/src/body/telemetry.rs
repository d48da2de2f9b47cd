//! What a proxy tells about the requests it handles.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Fraction, Predicate, is_false};

/// What a proxy tells about requests, beside its metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// The access log; on, with every field, if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// Traces; none are begun if not set, those of callers go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// More labels of request metrics, from a closed set, each with what it holds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metric_labels: BTreeMap<String, MetricLabel>,
}

impl Telemetry {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The access log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// Whether nothing is logged.
    #[serde(default, skip_serializing_if = "is_false")]
    pub off: bool,
    /// The fields, in order; all if empty. Of [`AccessLog::FIELDS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Which requests are logged; all if not set. Where it is an error, because it asks about something that is not
    /// there, the request is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Predicate>,
}

impl AccessLog {
    /// Every field there is.
    pub const FIELDS: [&'static str; 20] = [
        "direction",
        "service",
        "method",
        "authority",
        "path",
        "version",
        "status",
        "reason",
        "detail",
        "injected_delay_ms",
        "duration_ms",
        "bytes",
        "client",
        "peer",
        "rule",
        "cluster",
        "endpoint",
        "tries",
        "sequence",
        "trace_id",
    ];
}

/// Traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// The share of requests without a trace of their own that begin one.
    pub sampling: Fraction,
    /// The OTLP endpoint, a URL; spans are not exported if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Attributes of every span.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, SpanAttribute>,
}

/// Where the value of a span's attribute comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SpanAttribute {
    /// This text.
    Literal(String),
    /// A request header field, lower case.
    Header {
        /// Its name.
        name: String,
        /// The value without it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        default: String,
    },
    /// A variable in the environment of the proxy.
    Environment {
        /// Its name.
        name: String,
        /// The value without it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        default: String,
    },
}

/// What a label of a metric holds: never a text that a caller chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricLabel {
    /// The method, if it is a standard one, else `other`.
    Method,
    /// The deciding rule.
    Rule,
    /// The peer's namespace.
    PeerNamespace,
    /// The peer's service account.
    PeerServiceAccount,
}

impl MetricLabel {
    /// Names of labels that request metrics have anyway.
    pub const TAKEN: [&'static str; 5] = ["direction", "service", "code_class", "reason", "le"];

    /// Whether a label may be added under that name: one of Prometheus that is not its own, and not there anyway.
    pub fn is_name(name: &str) -> bool {
        let legal = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        !name.is_empty()
            && name.chars().all(legal)
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.starts_with("__")
            && !Self::TAKEN.contains(&name)
    }
}
