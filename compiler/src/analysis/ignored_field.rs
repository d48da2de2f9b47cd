//! # What it finds
//! Fields of a Gateway that ask some infrastructure for something: `addresses` and `infrastructure`.
//!
//! # Why it matters
//! Weft starts no load balancers and makes no objects in a cluster; where a gateway is reachable is decided where its proxy
//! is started. Nothing about traffic depends on these fields.
//!
//! # Example
//! ```yaml
//! kind: Gateway
//! spec: { addresses: [ { value: 192.0.2.1 } ], … }      # has no effect
//! ```
//!
//! # Fix
//! Remove the field, or leave it for whatever reads it in the cluster and set `analyses: { ignored-field: off }`.
//!
//! # References
//! Gateway API v1, GatewaySpec.addresses, GatewaySpec.infrastructure.
