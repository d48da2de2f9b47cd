//! # What it finds
//! A field that its kind does not have. All of them are reported, each with the nearest name that exists. In documents that
//! belong to Kubernetes itself (Service, EndpointSlice) unknown fields are left alone: the API server owns those.
//!
//! # Why it matters
//! A misspelt field is policy that silently does not hold: `timeout:` for `timeouts:` compiles in most tools and does
//! nothing.
//!
//! # Example
//! ```yaml
//! kind: TrafficPolicy
//! spec:
//!   targetRefs: [ { kind: Service, name: reviews } ]
//!   retries: { attempts: 2 }                       # did you mean `retry`?
//! ```
//!
//! # Fix
//! Correct the name or remove the field. `weft schema KIND` prints what a kind has.
//!
//! # References
//! Kubernetes, strict field validation; rustc's E0560.
