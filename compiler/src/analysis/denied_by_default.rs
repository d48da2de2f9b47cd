//! # What it finds
//! An Istio AuthorizationPolicy with `action: DENY` for a service that no policy opens, in a mesh whose default is to deny.
//!
//! # Why it matters
//! In Istio, a workload without `ALLOW` policies lets in what no `DENY` policy matches. Here the default of the mesh holds
//! for it, which is `deny` unless the Mesh says otherwise: the service refuses everything, and the denial changes nothing.
//!
//! # Example
//! ```yaml
//! kind: Mesh
//! spec: { trustDomain: prod.example }               # defaults.access is deny
//! ---
//! kind: AuthorizationPolicy
//! spec:
//!   action: DENY
//!   rules: [ { to: [ { operation: { paths: [ /admin* ] } } ] } ]   # and nothing lets anybody in
//! ```
//!
//! # Fix
//! Add an `ALLOW` policy that says who may call the service, or set `defaults.access: allow` in the Mesh to have Istio's
//! default.
//!
//! # References
//! Istio, AuthorizationPolicy: "if there are no ALLOW policies for the workload, allow the request".
