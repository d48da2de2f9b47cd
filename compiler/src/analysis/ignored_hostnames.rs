//! # What it finds
//! `hostnames` in an HTTPRoute that is attached to a Service; and a host name of a route of a Gateway that none of the
//! listeners that take the route is for. A route of which no listener takes anything is `not-admitted`.
//!
//! # Why it matters
//! Callers reach a Service by its own names. Gateway API says that a mesh ignores `hostnames` on such routes, so a route
//! that seems to be for one host is for all of them. A Gateway takes a route with the names that both are for, and leaves
//! the others out without a word.
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
//! Remove the field; or give the Gateway a listener for the name.
//!
//! # References
//! GEP-1294: "hostnames SHOULD be ignored" for mesh routes.
