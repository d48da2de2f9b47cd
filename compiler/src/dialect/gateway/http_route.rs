//! `HTTPRoute`, as Gateway API v1 has it (gwapi:apis/v1/httproute_types.go).

use serde::Deserialize;
use weft_bundle::duration::DurationText;

use super::filter::Filter;
use crate::yaml::{Spanned, Unread};

/// `HTTPRoute.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRoute {
    /// What the route is attached to. Never empty once checked.
    #[serde(default)]
    pub parent_refs: Vec<Spanned<ParentRef>>,
    /// Host names; in a mesh the parent Service's names count, so they narrow nothing.
    #[serde(default)]
    pub hostnames: Vec<Spanned<String>>,
    /// The rules. `None`: one rule that matches every path and has no backend.
    pub rules: Option<Vec<Spanned<HttpRule>>>,
    /// Experimental.
    pub use_default_gateways: Option<Unread>,
}

/// `ParentReference`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// `""` is the core group; the Gateway API's if not set.
    pub group: Option<Spanned<String>>,
    /// `Gateway` if not set.
    pub kind: Option<Spanned<String>>,
    /// The object's name.
    pub name: Spanned<String>,
    /// The object's namespace; the route's own if not set.
    pub namespace: Option<Spanned<String>>,
    /// One port of the Service; all of them if not set.
    pub port: Option<Spanned<u16>>,
    /// For a Service, a port's name.
    pub section_name: Option<Spanned<String>>,
}

impl ParentRef {
    /// Whether it names a Service. Without a group it does too: Gateway API's own group, which that would mean, has no
    /// such kind, so nothing else can be meant.
    pub fn is_service(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| kind == "Service") && is_core(self.group.as_ref())
    }
}

/// Whether a group is Kubernetes' core, under either of its names.
fn is_core(group: Option<&Spanned<String>>) -> bool {
    group.is_none_or(|group| matches!(group.as_str(), "" | "core"))
}

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
    pub timeouts: Option<Spanned<RouteTimeouts>>,
    /// Experimental.
    pub retry: Option<Unread>,
    /// Experimental.
    pub session_persistence: Option<Unread>,
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

/// `HTTPBackendRef`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendRef {
    /// `""`, the core group, if not set.
    pub group: Option<Spanned<String>>,
    /// `Service` if not set.
    pub kind: Option<Spanned<String>>,
    /// The object's name.
    pub name: Spanned<String>,
    /// The object's namespace; the route's own if not set.
    pub namespace: Option<Spanned<String>>,
    /// The Service's port; always there once checked.
    pub port: Option<Spanned<u16>>,
    /// Its share, relative to its neighbours; 1 if not set.
    pub weight: Option<Spanned<u32>>,
    /// What happens to requests that go here.
    #[serde(default)]
    pub filters: Vec<Spanned<Filter>>,
}

impl BackendRef {
    /// Whether it names a Service.
    pub fn is_service(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == "Service") && is_core(self.group.as_ref())
    }

    /// Its share, relative to its neighbours.
    pub fn weight(&self) -> u32 {
        self.weight.as_ref().map_or(1, |weight| weight.value)
    }
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
