//! `gateway.networking.k8s.io`: the standard route language.

pub mod http_route;
pub mod filter;
mod check;

pub use filter::{
    Filter, FilterAction, FilterType, Header, HeaderModifier, PathModifier, PathModifierType,
    RequestRedirect, UrlRewrite,
};
pub use http_route::{
    BackendRef, HeaderMatch, HttpMatch, HttpRoute, HttpRule, ParentRef, PathMatch, PathMatchType,
    QueryParamMatch, RouteTimeouts, ValueMatchType,
};

/// The group of these kinds.
pub const GROUP: &str = "gateway.networking.k8s.io";
