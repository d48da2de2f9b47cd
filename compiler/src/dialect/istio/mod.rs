//! Istio's documents, as far as they can be honoured exactly: `networking.istio.io` (VirtualService, DestinationRule),
//! `security.istio.io` (AuthorizationPolicy).
//!
//! Field names are those of Istio's documents (camelCase). A field that changes what happens to traffic and that we
//! cannot honour is kept as [`Unread`](crate::yaml::Unread) with its place, and reported there.

pub mod virtual_service;
pub mod destination_rule;
pub mod string_match;
pub mod selector;
pub mod authorization_policy;
pub mod pattern;
mod check;
mod check_access;
mod duration;

pub use authorization_policy::AuthorizationPolicy;
pub use check_access::{network, port};
pub use destination_rule::{
    ClientTls, DestinationRule, LoadBalancerSettings, SimpleLb, Subset, TlsMode, TrafficPolicy,
};
pub use selector::{ReferredKind, TargetReference, WorkloadSelector};
pub use string_match::{StringMatch, ValueMatch};
pub use virtual_service::{
    Destination, DirectResponse, HeaderOperations, Headers, HttpMatchRequest, HttpRedirect, HttpRetry,
    HttpRewrite, HttpRoute, HttpRouteDestination, PortSelector, ResponseBody, VirtualService,
};

/// The group of the kinds about traffic.
pub const GROUP: &str = "networking.istio.io";
/// The group of the kinds about identities and access.
pub const SECURITY_GROUP: &str = "security.istio.io";
