//! # What it finds
//! An invariant of a PolicyTest that some request breaks, or that cannot be decided. Found by `weft test` only. Each
//! finding names a caller and a request, and shows the line that lets it in or refuses it. Callers are every service of
//! the mesh and, for `denied` and `allowed`, also identities that no service has and clients without a certificate.
//! It is exact: access rules and the paths of the invariant are compared as languages, not by samples, and the request
//! was sent through the engine that proxies run.
//!
//! # Why it matters
//! A case shows one request; an invariant speaks of all of them, also of those that nobody thought of.
//!
//! # Example
//! ```yaml
//! kind: PolicyTest
//! spec:
//!   invariants:
//!   - name: only checkout may call payments
//!     callers: { of: payments, exactly: [ checkout ] }
//!   - name: nobody outside ops reaches /admin
//!     denied: { of: payments, paths: [ { prefix: /admin } ], from: [ { notNamespace: ops } ] }
//! ```
//!
//! # Fix
//! Narrow the policy at the shown line, or change the invariant if the access is meant. One that cannot be decided names
//! an expression that is too large: write it simpler, or ask about fewer paths.
//!
//! # References
//! The method is SAT modulo automata, see `compiler/src/reach`.
