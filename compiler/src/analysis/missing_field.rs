//! # What it finds
//! A field that its kind needs and that is not there.
//!
//! # Why it matters
//! There is no value that could be assumed without guessing what was meant.
//!
//! # Example
//! ```yaml
//! kind: Service
//! spec: { ports: [ { name: http, port: 80 } ] }      # `protocol` is missing
//! ```
//!
//! # Fix
//! Add it. `weft schema KIND` shows what a kind needs.
//!
//! # References
//! The schemas of the kinds, in `schemas/`.
