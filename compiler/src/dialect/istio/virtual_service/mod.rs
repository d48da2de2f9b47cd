//! `VirtualService` (iapi:networking/v1alpha3/virtual_service.proto).

mod http;
mod extras;
mod layer4;

use serde::Deserialize;

pub use self::extras::{
    AbortFault, CorsPolicy, DelayFault, HttpFault, IntegerPercent, MirrorPolicy, Percent, RegexRewrite,
    UnmatchedPreflights,
};
pub(super) use self::http::condition;
pub use self::http::{
    Delegate, DerivePort, Destination, DirectResponse, HeaderOperations, Headers, HttpMatchRequest,
    HttpRedirect, HttpRetry, HttpRewrite, HttpRoute, HttpRouteDestination, PortSelector, ResponseBody,
};
pub use self::layer4::{L4Match, Network, RouteDestination, TcpRoute, TlsMatch, TlsRoute};
use crate::yaml::Spanned;

/// `VirtualService.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualService {
    /// The hosts whose traffic it decides; none for a delegate, whose routes another VirtualService takes in.
    #[serde(default)]
    pub hosts: Vec<Spanned<String>>,
    /// Where it applies: `mesh`, and gateways as `namespace/name` or `name`; only `mesh` if empty.
    #[serde(default)]
    pub gateways: Vec<Spanned<String>>,
    /// The namespaces whose callers see it: `*`, `.`, or names; every one if empty.
    #[serde(default)]
    pub export_to: Vec<Spanned<String>>,
    /// Requests. Ordered; the first that matches decides.
    #[serde(default)]
    pub http: Vec<Spanned<HttpRoute>>,
    /// TLS connections, by server name. Ordered.
    #[serde(default)]
    pub tls: Vec<Spanned<TlsRoute>>,
    /// Connections. Ordered.
    #[serde(default)]
    pub tcp: Vec<Spanned<TcpRoute>>,
}

impl VirtualService {
    /// Whether it only lends its routes to others.
    pub fn is_delegate(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether callers inside the mesh see it.
    pub fn applies_to_mesh(&self) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|gateway| gateway.value == "mesh")
    }
}
