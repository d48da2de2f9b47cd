//! # What it finds
//! A part of a document that Weft knows and cannot honour exactly, such as a patch for another proxy, or an external authorizer.
//!
//! # Why it matters
//! Leaving it out would give a mesh that does something else than its documents say.
//!
//! # Example
//! ```yaml
//! kind: VirtualService
//! spec: { hosts: [ cart ], http: [ { match: [ { headers: { "@request.auth.claims.sub": … } } ], … } ] }   # no token is read yet
//! ```
//!
//! # Fix
//! Remove it, or express it another way; the message says what would be needed.
//!
//! # References
//! The changelog says what each version honours.
