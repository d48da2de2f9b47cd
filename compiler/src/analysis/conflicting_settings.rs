//! # What it finds
//! Two policies of one kind that set the same field for the same target, such as a timeout of one service: TrafficPolicies,
//! DestinationRules for the same callers, PeerAuthentications, and Telemetry of Weft or Istio.
//!
//! # Why it matters
//! The nearest level wins, field by field: rule, route, subset, service, mesh. Two policies at one level are equally near,
//! so nothing says which holds.
//!
//! # Example
//! ```yaml
//! kind: TrafficPolicy
//! metadata: { name: a }
//! spec: { targetRefs: [ { kind: Service, name: reviews } ], timeouts: { request: 2s } }
//! ---
//! kind: TrafficPolicy
//! metadata: { name: b }
//! spec: { targetRefs: [ { kind: Service, name: reviews } ], timeouts: { request: 5s } }
//! ```
//!
//! # Fix
//! Set the field in one of them, or give one a nearer target, such as a subset or a rule. Policies that set different
//! fields of one target do not conflict. Of two DestinationRules, the one with the higher `weft.dev/priority` decides.
//!
//! # References
//! GEP-713, merge strategies (the oldest policy wins there; Git has no such age).
