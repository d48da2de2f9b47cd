//! Istio's documents, as far as they can be honoured exactly: `networking.istio.io` (VirtualService, DestinationRule,
//! ServiceEntry, WorkloadEntry, Sidecar, Gateway), `security.istio.io` (AuthorizationPolicy, PeerAuthentication,
//! RequestAuthentication), `telemetry.istio.io` (Telemetry).
//!
//! Field names are those of Istio's documents (camelCase). A field that changes what happens to traffic and that we
//! cannot honour is kept as [`Unread`](crate::yaml::Unread) with its place, and reported there.

pub mod virtual_service;
pub mod destination_rule;
pub mod service_entry;
pub mod sidecar;
pub mod gateway;
pub mod string_match;
pub mod selector;
pub mod authorization_policy;
pub mod peer_authentication;
pub mod request_authentication;
pub mod telemetry;
pub mod pattern;
mod check;
mod check_access;
mod duration;

pub use authorization_policy::AuthorizationPolicy;
pub(crate) use check::is_authority_field;
pub use check_access::{network, port};
pub use destination_rule::{ClientTls, DestinationRule, Subset, TlsMode, TrafficPolicy};
pub use gateway::Gateway;
pub use peer_authentication::PeerAuthentication;
pub use request_authentication::RequestAuthentication;
pub use selector::{ReferredKind, TargetReference, WorkloadSelector};
pub use service_entry::{ServiceEntry, WorkloadEntry, WorkloadGroup};
pub use sidecar::Sidecar;
pub use string_match::{StringMatch, ValueMatch};
pub use telemetry::Telemetry;
pub use virtual_service::{
    Destination, DirectResponse, HeaderOperations, Headers, HttpMatchRequest, HttpRedirect, HttpRetry,
    HttpRewrite, HttpRoute, HttpRouteDestination, PortSelector, ResponseBody, VirtualService,
};

/// The group of the kinds about traffic.
pub const GROUP: &str = "networking.istio.io";
/// The group of the kinds about identities and access.
pub const SECURITY_GROUP: &str = "security.istio.io";
/// The group of the kind about logs, traces and metrics.
pub const TELEMETRY_GROUP: &str = "telemetry.istio.io";
