//! # What it finds
//! An access rule with methods or paths on a port whose requests cannot be seen (`tcp`, `tls`).
//!
//! # Why it matters
//! Other meshes drop such a rule if it allows and ignore its conditions if it denies, so it means more or less than what
//! is written.
//!
//! # Example
//! ```yaml
//! kind: Service
//! metadata: { name: db }
//! spec: { ports: [ { name: sql, port: 5432, protocol: tcp } ] }
//! ---
//! kind: AccessPolicy
//! spec:
//!   targetRefs: [ { kind: Service, name: db } ]
//!   action: allow
//!   rules: [ { to: [ { methods: [ GET ] } ] } ]
//! ```
//!
//! # Fix
//! Remove the condition, limit the rule to the HTTP ports with `ports`, or declare the port's real protocol.
//!
//! # References
//! istio/istio#24845, #37920; Istio, AuthorizationPolicy on TCP ports.
