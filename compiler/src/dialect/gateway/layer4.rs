//! `TLSRoute`, `TCPRoute` and `UDPRoute`: where connections and datagrams go (gwapi:apis/v1/tlsroute_types.go,
//! tcproute_types.go, udproute_types.go).

use serde::Deserialize;

use super::route::{BackendRef, RouteSpec};
use crate::yaml::Spanned;

/// `TLSRoute.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct TlsRoute(pub RouteSpec<Layer4Rule>);

/// `TCPRoute.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct TcpRoute(pub RouteSpec<Layer4Rule>);

/// `UDPRoute.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct UdpRoute(pub RouteSpec<Layer4Rule>);

/// `TLSRouteRule`, `TCPRouteRule` and `UDPRouteRule`. A route has exactly one once checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer4Rule {
    /// The rule's name.
    pub name: Option<Spanned<String>>,
    /// Where connections go, by weight. Never empty once checked.
    #[serde(default)]
    pub backend_refs: Vec<Spanned<BackendRef>>,
}
