//! # What it finds
//! `hostnames` in an HTTPRoute that is attached to a Service.
//!
//! # Why it matters
//! Callers reach a Service by its own names. Gateway API says that a mesh ignores `hostnames` on such routes, so a route
//! that seems to be for one host is for all of them.
//!
//! # Example
//! ```yaml
//! kind: HTTPRoute
//! spec:
//!   parentRefs: [ { group: "", kind: Service, name: reviews } ]
//!   hostnames: [ beta.example.com ]            # has no effect
//! ```
//!
//! # Fix
//! Remove the field.
//!
//! # References
//! GEP-1294: "hostnames SHOULD be ignored" for mesh routes.
