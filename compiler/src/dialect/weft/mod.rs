//! `weft.dev/v1alpha1`: what Gateway API has no kind for.
//!
//! Doc comments in these modules become the descriptions in `schemas/`, so they speak to the author of a document.

pub mod mesh;
pub mod service;
pub mod endpoints;
pub mod external_service;
pub mod access_policy;
pub mod traffic_policy;
pub mod timing;
pub mod balancing;
pub mod protection;
pub mod policy_test;
pub mod reference;
pub mod shapes;

pub use access_policy::{AccessAction, AccessPolicy, AccessRule, Operation, PathMatch, Source};
pub use balancing::{Connection, HashKey, HashSource, LoadBalancer};
pub use endpoints::{DnsRecord, EndpointPort, Endpoints, StaticEndpoint};
pub use external_service::{ExternalPort, ExternalService, TlsOrigination};
pub use mesh::{AccessDefault, AnalysisLevel, Mesh, MeshDefaults, TrustAnchor};
pub use policy_test::{
    Callers, Case, Expect, ExpectedShare, Invariant, Outcome, PolicyTest, Reach, Selector, SelectorBy,
    TestRequest, Values,
};
pub use protection::{Affinity, Fault, HealthCheck, Limits, Outliers, RateLimit};
pub use reference::{PortRef, ServiceRef, TargetKind, TargetRef};
pub use service::{Port, Service, Subset};
pub use timing::{Backoff, Budget, Retry, Timeouts};
pub use traffic_policy::TrafficPolicy;

/// The `apiVersion` of these kinds.
pub const API_VERSION: &str = "weft.dev/v1alpha1";
