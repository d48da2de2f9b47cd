//! What a caller sees of a service on one port: conditions in order, each leading to a rule.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Protocol, RequestMatch, Rule};

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
    /// The host names it answers to, lower case, without port, sorted. An external service may have patterns.
    pub hosts: Vec<String>,
    /// The addresses it answers to where callers connect to an address. Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpNet>,
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
