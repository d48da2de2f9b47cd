//! Conditions on requests, and on connections whose requests cannot be seen.
//!
//! Patterns of host names, here and in [`super::Listener`], are lower case: a name, `*.suffix` for names with one label or
//! more before the suffix, or `*` for all (Gateway API v1, `Hostname`).

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::is_false;

/// A condition on a request or a connection. Every field that is set must hold; an empty one matches everything.
///
/// On a connection only `server_names` and `destinations` can hold; any other condition does not.
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
    /// Patterns of the host, which is the authority without its port; any will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Patterns of the server name that a TLS client asks for (SNI); any will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub server_names: Vec<String>,
    /// Networks of the address that the caller connected to, before any redirection; any will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<IpNet>,
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
    /// Trailing bytes (Istio `AuthorizationPolicy`, `*suffix`).
    Suffix(String),
    /// The whole path, where `{*}` stands for one segment that is not empty and a final `{**}` for any rest, also an
    /// empty one (Istio and Envoy URI templates).
    Template(String),
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
