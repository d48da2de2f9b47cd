//! # What it finds
//! A part of a document that is legal and changes nothing: a fault without a `percentage`, a `statPrefix`, a VirtualService
//! without `hosts` that no other takes in.
//!
//! # Why it matters
//! Whoever wrote it expected something to happen. Istio accepts these too, and says nothing.
//!
//! # Example
//! ```yaml
//! kind: VirtualService
//! spec:
//!   hosts: [ reviews ]
//!   http:
//!   - fault: { delay: { fixedDelay: 5s } }        # no percentage: no request waits
//!     route: [ { destination: { host: reviews } } ]
//! ```
//!
//! # Fix
//! Say what is missing, or remove the part.
//!
//! # References
//! istio/api, networking/v1alpha3/virtual_service.proto: "If not specified, no request will be delayed".
