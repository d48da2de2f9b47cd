//! `networking.istio.io`: networking kinds, as far as they can be honoured exactly.
//!
//! Field names are those of Istio's documents (camelCase). A field that changes what happens to traffic and that we
//! cannot honour is kept as [`Unread`](crate::yaml::Unread) with its place, and reported there.

pub mod virtual_service;
pub mod destination_rule;
pub mod service_entry;
pub mod sidecar;
pub mod string_match;
mod check;
mod duration;

pub(crate) use check::is_authority_field;
pub use destination_rule::{ClientTls, DestinationRule, Subset, TlsMode, TrafficPolicy};
pub use service_entry::{ServiceEntry, WorkloadEntry, WorkloadGroup};
pub use sidecar::Sidecar;
pub use string_match::{StringMatch, ValueMatch};
pub use virtual_service::{
    Destination, DirectResponse, HeaderOperations, Headers, HttpMatchRequest, HttpRedirect, HttpRetry,
    HttpRewrite, HttpRoute, HttpRouteDestination, PortSelector, ResponseBody, VirtualService,
};

/// The group of these kinds.
pub const GROUP: &str = "networking.istio.io";
