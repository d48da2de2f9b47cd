//! `TLSRoute` and `TCPRoute`: connections whose requests cannot be seen.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Deserialize;

use super::http::Destination;
use crate::yaml::{Spanned, Unread};

/// `TLSRoute`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsRoute {
    /// Any of these. Not empty once checked.
    #[serde(rename = "match", default)]
    pub matches: Vec<Spanned<TlsMatch>>,
    /// Where connections go, by weight.
    #[serde(default)]
    pub route: Vec<Spanned<RouteDestination>>,
}

/// `TCPRoute`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpRoute {
    /// Any of these; every connection if empty.
    #[serde(rename = "match", default)]
    pub matches: Vec<Spanned<L4Match>>,
    /// Where connections go, by weight.
    #[serde(default)]
    pub route: Vec<Spanned<RouteDestination>>,
}

/// `TLSMatchAttributes`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsMatch {
    /// The server names that clients ask for; any will do.
    pub sni_hosts: Vec<Spanned<String>>,
    /// Networks of the address that the caller connected to; any will do.
    #[serde(default)]
    pub destination_subnets: Vec<Spanned<Network>>,
    /// One port of the host.
    pub port: Option<Spanned<u16>>,
    /// Callers whose workloads carry these labels.
    #[serde(default)]
    pub source_labels: BTreeMap<String, String>,
    /// Callers of this namespace.
    pub source_namespace: Option<Spanned<String>>,
    /// Only there.
    #[serde(default)]
    pub gateways: Vec<Spanned<String>>,
}

/// `L4MatchAttributes`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L4Match {
    /// Networks of the address that the caller connected to; any will do.
    #[serde(default)]
    pub destination_subnets: Vec<Spanned<Network>>,
    /// One port of the host.
    pub port: Option<Spanned<u16>>,
    /// Deprecated, and without effect in Istio.
    pub source_subnet: Option<Unread>,
    /// Callers whose workloads carry these labels.
    #[serde(default)]
    pub source_labels: BTreeMap<String, String>,
    /// Callers of this namespace.
    pub source_namespace: Option<Spanned<String>>,
    /// Only there.
    #[serde(default)]
    pub gateways: Vec<Spanned<String>>,
}

/// An address or a network, as text in documents: `10.0.0.1` or `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(pub IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let network = text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
        network.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format_args!(
                "`{text}` is not an address or a network such as `10.0.0.0/8`"
            ))
        })
    }
}

/// `RouteDestination`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteDestination {
    /// Where.
    pub destination: Spanned<Destination>,
    /// Its share, relative to its neighbours; a single destination gets everything.
    pub weight: Option<Spanned<u32>>,
}
