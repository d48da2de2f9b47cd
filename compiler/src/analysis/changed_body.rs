//! # What it finds
//! A readable body that is not the one kept below `snapshots`: changed, new, or of a service that is gone. Found by
//! `weft test` only, and only where that directory is.
//!
//! # Why it matters
//! The body is everything that a proxy is told. A change of policy that should touch one service and touches twenty shows
//! here, before anything is signed.
//!
//! # Example
//! ```text
//! error[changed-body]: the body of `shop/cart` is not the one in `snapshots/shop/cart.yaml.snap`
//!   = note: from what is kept (-) to what is compiled now (+)
//!           -     weight: 90
//!           +     weight: 80
//! ```
//!
//! # Fix
//! Read the difference. If it is meant, run `weft test --update` and commit the files with the policy.
//!
//! # References
//! `weft build --render` writes the same text.
