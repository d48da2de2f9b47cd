//! # What it finds
//! A part of a document that Weft knows and cannot honour exactly, such as a mirror, a fault or a CEL condition.
//!
//! # Why it matters
//! Leaving it out would give a mesh that does something else than its documents say.
//!
//! # Example
//! ```yaml
//! kind: VirtualService
//! spec: { hosts: [ cart ], http: [ { mirror: { host: cart-next }, route: [ … ] } ] }
//! ```
//!
//! # Fix
//! Remove it, or express it another way; the message says what would be needed.
//!
//! # References
//! The changelog says what each version honours.
