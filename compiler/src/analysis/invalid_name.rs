//! # What it finds
//! A name or namespace that Kubernetes would not take: upper case, odd characters, longer than 63 or 253.
//!
//! # Why it matters
//! Names become parts of host names, identities and object names in a release, where these rules hold.
//!
//! # Example
//! ```yaml
//! metadata: { name: My_Service }
//! ```
//!
//! # Fix
//! Use lower-case letters, digits and `-`; for objects other than services also `.`.
//!
//! # References
//! Kubernetes, Object Names and IDs; RFC 1123.
