//! `GRPCRoute`, as Gateway API v1 has it (gwapi:apis/v1/grpcroute_types.go).

use serde::Deserialize;

use super::filter::Filter;
use super::http_route::{HeaderMatch, ValueMatchType};
use super::route::{BackendRef, RouteSpec};
use super::session::SessionPersistence;
use crate::yaml::Spanned;

/// `GRPCRoute.spec`.
pub type GrpcRoute = RouteSpec<GrpcRule>;

/// `GRPCRouteRule`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRule {
    /// The rule's name.
    pub name: Option<Spanned<String>>,
    /// Any of these; every call if empty.
    #[serde(default)]
    pub matches: Vec<Spanned<GrpcMatch>>,
    /// What happens on the way.
    #[serde(default)]
    pub filters: Vec<Spanned<Filter>>,
    /// Where calls go, by weight.
    #[serde(default)]
    pub backend_refs: Vec<Spanned<BackendRef>>,
    /// Whether a caller stays with one endpoint.
    pub session_persistence: Option<Spanned<SessionPersistence>>,
}

/// `GRPCRouteMatch`: every field that is set must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcMatch {
    /// A condition on service and method.
    pub method: Option<Spanned<GrpcMethodMatch>>,
    /// Conditions on header fields; all must hold.
    #[serde(default)]
    pub headers: Vec<Spanned<HeaderMatch>>,
}

/// `GRPCMethodMatch`. At least one of service and method is there once checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcMethodMatch {
    /// How both are compared; `Exact` if not set.
    #[serde(rename = "type")]
    pub kind: Option<Spanned<ValueMatchType>>,
    /// The service, with its package; every one if not set or empty.
    pub service: Option<Spanned<String>>,
    /// The method; every one if not set or empty.
    pub method: Option<Spanned<String>>,
}

impl GrpcMethodMatch {
    /// How service and method are compared.
    pub fn kind(&self) -> ValueMatchType {
        self.kind.as_ref().map_or(ValueMatchType::Exact, |kind| kind.value)
    }

    /// The service that is asked for, if one is.
    pub fn service(&self) -> Option<&Spanned<String>> {
        self.service.as_ref().filter(|service| !service.is_empty())
    }

    /// The method that is asked for, if one is.
    pub fn method(&self) -> Option<&Spanned<String>> {
        self.method.as_ref().filter(|method| !method.is_empty())
    }
}
