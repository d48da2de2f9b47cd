//! # What it finds
//! A name that nothing has: a service, port, subset, route, rule or certificate file that a document refers to and that is
//! not in the repository. A near name is offered if there is one. What a file that is no YAML seems to define, by the kinds
//! and names in its text, is not also unknown.
//!
//! # Why it matters
//! Live meshes answer such a reference with errors at run time, or ignore it. Here nothing is built until it is mended,
//! because a rule with a hole in it is not the rule that was written.
//!
//! # Example
//! ```yaml
//! kind: HTTPRoute
//! spec:
//!   parentRefs: [ { group: "", kind: Service, name: reviews } ]
//!   rules: [ { backendRefs: [ { name: reviws, port: 9080 } ] } ]     # did you mean `reviews`?
//! ```
//!
//! # Fix
//! Correct the name, add the namespace if the object is in another one, or add the missing document.
//!
//! # References
//! istioctl IST0101 (referenced resource not found); Gateway API condition `ResolvedRefs=False/BackendNotFound`.
