//! `HTTPRoute`, as Gateway API v1 has it (gwapi:apis/v1/httproute_types.go).

use serde::Deserialize;
use weft_bundle::duration::DurationText;

use super::filter::Filter;
use super::route::{BackendRef, RouteSpec};
use super::session::{RouteRetry, SessionPersistence};
use crate::yaml::Spanned;

/// `HTTPRoute.spec`.
pub type HttpRoute = RouteSpec<HttpRule>;

/// `HTTPRouteRule`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRule {
    /// The rule's name.
    pub name: Option<Spanned<String>>,
    /// Any of these; every request if empty.
    #[serde(default)]
    pub matches: Vec<Spanned<HttpMatch>>,
    /// What happens on the way.
    #[serde(default)]
    pub filters: Vec<Spanned<Filter>>,
    /// Where requests go, by weight.
    #[serde(default)]
    pub backend_refs: Vec<Spanned<BackendRef>>,
    /// How long a request may take.
    pub timeouts: Option<Box<Spanned<RouteTimeouts>>>,
    /// Whether and when a request is tried again.
    pub retry: Option<Box<Spanned<RouteRetry>>>,
    /// Whether a caller stays with one endpoint.
    pub session_persistence: Option<Box<Spanned<SessionPersistence>>>,
}

/// `HTTPRouteMatch`: every field that is set must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatch {
    /// A condition on the path.
    pub path: Option<Spanned<PathMatch>>,
    /// Conditions on header fields; all must hold.
    #[serde(default)]
    pub headers: Vec<Spanned<HeaderMatch>>,
    /// Conditions on query parameters; all must hold.
    #[serde(default)]
    pub query_params: Vec<Spanned<QueryParamMatch>>,
    /// The method; one of the CRD's list once checked.
    pub method: Option<Spanned<String>>,
}

/// `HTTPPathMatch`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathMatch {
    /// How the path is compared.
    #[serde(rename = "type")]
    pub kind: Option<Spanned<PathMatchType>>,
    /// With what.
    pub value: Option<Spanned<String>>,
}

impl PathMatch {
    /// How the path is compared; `PathPrefix` if not set.
    pub fn kind(&self) -> PathMatchType {
        self.kind.as_ref().map_or(PathMatchType::PathPrefix, |kind| kind.value)
    }

    /// With what; `/` if not set.
    pub fn value(&self) -> &str {
        self.value.as_ref().map_or("/", |value| value.value.as_str())
    }
}

/// `PathMatchType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum PathMatchType {
    /// The whole path.
    Exact,
    /// Whole segments.
    PathPrefix,
    /// The whole path, as a regular expression.
    RegularExpression,
}

/// `HTTPHeaderMatch`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderMatch {
    /// How the value is compared; `Exact` if not set.
    #[serde(rename = "type")]
    pub kind: Option<Spanned<ValueMatchType>>,
    /// The field's name, in any case.
    pub name: Spanned<String>,
    /// With what.
    pub value: Spanned<String>,
}

impl HeaderMatch {
    /// How the value is compared.
    pub fn kind(&self) -> ValueMatchType {
        self.kind.as_ref().map_or(ValueMatchType::Exact, |kind| kind.value)
    }
}

/// `HTTPQueryParamMatch`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryParamMatch {
    /// How the value is compared; `Exact` if not set.
    #[serde(rename = "type")]
    pub kind: Option<Spanned<ValueMatchType>>,
    /// The parameter's name, exactly.
    pub name: Spanned<String>,
    /// With what.
    pub value: Spanned<String>,
}

impl QueryParamMatch {
    /// How the value is compared.
    pub fn kind(&self) -> ValueMatchType {
        self.kind.as_ref().map_or(ValueMatchType::Exact, |kind| kind.value)
    }
}

/// `HeaderMatchType` and `QueryParamMatchType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum ValueMatchType {
    /// The whole value.
    Exact,
    /// The whole value, as a regular expression.
    RegularExpression,
}

/// `HTTPRouteTimeouts`. Zero: without limit.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteTimeouts {
    /// The whole request.
    pub request: Option<Spanned<DurationText>>,
    /// One try; never longer than the request once checked.
    pub backend_request: Option<Spanned<DurationText>>,
}
