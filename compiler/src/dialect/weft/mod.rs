//! `weft.dev/v1alpha1`: what Gateway API has no kind for.
//!
//! Doc comments in these modules become the descriptions in `schemas/`, so they speak to the author of a document.

pub mod mesh;
pub mod service;
pub mod access_policy;
pub mod traffic_policy;
pub mod policy_test;
pub mod reference;
pub mod shapes;

pub use access_policy::{AccessAction, AccessPolicy, AccessRule, Operation, PathMatch, Source};
pub use mesh::{AccessDefault, AnalysisLevel, Mesh, MeshDefaults, TrustAnchor};
pub use policy_test::{
    Callers, Case, Expect, ExpectedShare, Invariant, Outcome, PolicyTest, Reach, Selector, SelectorBy,
    TestRequest, Values,
};
pub use reference::{PortRef, ServiceRef, TargetKind, TargetRef};
pub use service::{EndpointPort, Endpoints, Port, Service, StaticEndpoint, Subset};
pub use traffic_policy::{Backoff, Budget, Limits, LoadBalancer, Outliers, Retry, Timeouts, TrafficPolicy};

/// The `apiVersion` of these kinds.
pub const API_VERSION: &str = "weft.dev/v1alpha1";
