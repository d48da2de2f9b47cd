//! # What it finds
//! A case of a PolicyTest whose request does not become what the case expects. Found by `weft test` only. The finding
//! stands at the expectation, says what happened instead, and shows the line that decided.
//!
//! # Why it matters
//! The engine that decides here is the one that proxies run: what the case shows is what the mesh will do.
//!
//! # Example
//! ```yaml
//! kind: PolicyTest
//! spec:
//!   cases:
//!   - name: jason sees version two
//!     from: productpage
//!     request: { url: "http://reviews:9080/reviews/1", headers: { end-user: jason } }
//!     expect: { backend: reviews/v2 }        # fails if another rule takes it
//! ```
//!
//! # Fix
//! Change the policy, or the case if the new behaviour is meant. `weft trace`, with the request from the help text, shows
//! every step.
//!
//! # References
//! `weft help test`; the fields are described in `schemas/policy-test.json`.
