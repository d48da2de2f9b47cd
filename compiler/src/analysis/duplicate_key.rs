//! # What it finds
//! A key that is there twice in one mapping.
//!
//! # Why it matters
//! Many readers silently keep the last one, so half of what is written does not hold.
//!
//! # Example
//! ```yaml
//! spec:
//!   timeouts: { request: 1s }
//!   timeouts: { connect: 1s }      # again
//! ```
//!
//! # Fix
//! Merge the two, or remove one.
//!
//! # References
//! YAML 1.2 section 3.2.1.1: the keys of a mapping are unique.
