//! What all routes share: parents, host names, rules, and backends (gwapi:apis/v1/shared_types.go).

use serde::Deserialize;

use super::GROUP;
use super::filter::Filter;
use crate::yaml::{Spanned, Unread};

/// The `spec` of a route with rules of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteSpec<R> {
    /// What the route is attached to. Never empty once checked.
    #[serde(default)]
    pub parent_refs: Vec<Spanned<ParentRef>>,
    /// Host names, or server names of TLS; only some kinds have them. On a Service, those of requests narrow nothing.
    #[serde(default)]
    pub hostnames: Vec<Spanned<String>>,
    /// The rules. `None`: one rule that matches everything and has no backend.
    pub rules: Option<Vec<Spanned<R>>>,
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
    /// One port of the Service or gateway; all of them if not set.
    pub port: Option<Spanned<u16>>,
    /// For a Service, a port's name; otherwise a listener's.
    pub section_name: Option<Spanned<String>>,
}

/// What a parent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParentKind {
    /// A Service: the route is for its callers.
    Service,
    /// A Gateway.
    Gateway,
    /// A ListenerSet.
    ListenerSet,
}

impl ParentKind {
    /// The kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
        }
    }
}

impl ParentRef {
    /// What it names; none for a kind that routes cannot be attached to. A Service without a group is one too: Gateway
    /// API's own group, which that would mean, has no such kind, so nothing else can be meant.
    pub fn parent_kind(&self) -> Option<ParentKind> {
        let own = self.group.as_ref().is_none_or(|group| group.value == GROUP);
        match self.kind.as_ref().map_or("Gateway", |kind| kind.value.as_str()) {
            "Service" if is_core(self.group.as_ref()) => Some(ParentKind::Service),
            "Gateway" if own => Some(ParentKind::Gateway),
            "ListenerSet" if own => Some(ParentKind::ListenerSet),
            _ => None,
        }
    }
}

/// Whether a group is Kubernetes' core, under either of its names.
pub(super) fn is_core(group: Option<&Spanned<String>>) -> bool {
    group.is_none_or(|group| matches!(group.as_str(), "" | "core"))
}

/// `BackendRef`, `HTTPBackendRef` and `GRPCBackendRef`. Only the latter two have filters.
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

/// A reference to a Secret or a ConfigMap: `SecretObjectReference`, `ObjectReference`, `LocalObjectReference`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// `""` is the core group.
    pub group: Option<Spanned<String>>,
    /// The kind.
    pub kind: Option<Spanned<String>>,
    /// The object's name.
    pub name: Spanned<String>,
    /// The object's namespace; the document's own if not set.
    pub namespace: Option<Spanned<String>>,
}

impl ObjectRef {
    /// Whether it is of a kind of Kubernetes' core; `otherwise` is the kind where none is written.
    pub fn is_core(&self, kind: &str, otherwise: &str) -> bool {
        self.kind.as_ref().map_or(otherwise, |kind| kind.value.as_str()) == kind
            && is_core(self.group.as_ref())
    }

    /// Its kind, if that is one that holds certificates to believe.
    pub fn issuers(&self) -> Option<&'static str> {
        ["ConfigMap", "Secret"].into_iter().find(|kind| self.is_core(kind, ""))
    }
}
