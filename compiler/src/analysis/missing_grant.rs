//! # What it finds
//! A reference into another namespace that no ReferenceGrant there allows: a backend of a route that is attached to a
//! Gateway, or a certificate of one. Routes of Services need no grant.
//!
//! # Why it matters
//! Whoever may write routes in one namespace could otherwise open the services of every other one to the outside, or serve
//! their certificates. The owners of what is referred to say so in a document of their own.
//!
//! # Example
//! ```yaml
//! kind: HTTPRoute
//! metadata: { name: shop, namespace: web }
//! spec:
//!   parentRefs: [ { name: edge } ]                                              # a Gateway
//!   rules: [ { backendRefs: [ { name: pay, namespace: bank, port: 80 } ] } ]    # `bank` says nothing of it
//! ```
//!
//! # Fix
//! Add the ReferenceGrant that the finding shows, in the other namespace, if its owners agree; or move the route there.
//!
//! # References
//! Gateway API v1, ReferenceGrant; GEP-709. GEP-1294: mesh routes need none.
