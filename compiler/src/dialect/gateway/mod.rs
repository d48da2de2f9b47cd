//! `gateway.networking.k8s.io`: the standard route language.
//!
//! | file | kinds |
//! |---|---|
//! | [`http_route`], [`grpc_route`], [`layer4`] | routes; what they share is in [`route`], [`filter`] and [`session`] |
//! | [`listener`] | Gateway, ListenerSet, GatewayClass |
//! | [`policy`] | ReferenceGrant, BackendTLSPolicy |

pub mod route;
pub mod http_route;
pub mod grpc_route;
pub mod layer4;
pub mod filter;
pub mod session;
pub mod listener;
pub mod policy;
mod check;

pub use filter::{
    Cors, Filter, FilterAction, FilterType, Fraction, Header, HeaderModifier, Origin, PathModifier,
    PathModifierType, RequestMirror, RequestRedirect, UrlRewrite,
};
pub use grpc_route::{GrpcMatch, GrpcMethodMatch, GrpcRoute, GrpcRule};
pub use http_route::{
    HeaderMatch, HttpMatch, HttpRoute, HttpRule, PathMatch, PathMatchType, QueryParamMatch, RouteTimeouts,
    ValueMatchType,
};
pub use layer4::{Layer4Rule, TcpRoute, TlsRoute, UdpRoute};
pub use listener::{
    AllowedRoutes, From, FromNamespaces, FrontendValidation, Gateway, GatewayClass, GatewayTls,
    LabelOperator, LabelRequirement, LabelSelector, Listener, ListenerProtocol, ListenerSet, TlsConfig,
    TlsMode, ValidationMode,
};
pub use policy::{
    BackendTlsPolicy, BackendValidation, GrantFrom, GrantTo, PolicyTarget, ReferenceGrant, SubjectAltName,
    SubjectAltNameType,
};
pub use route::{BackendRef, ObjectRef, ParentKind, ParentRef, RouteSpec};
pub use session::{CookieLifetime, RouteRetry, SessionPersistence, SessionType};

/// The group of these kinds.
pub const GROUP: &str = "gateway.networking.k8s.io";
