//! # What it finds
//! A value that its field does not take: a number out of range, an unknown word, a duration or path that is none, a regular
//! expression that proxies would refuse (wrong syntax, over 4096 bytes, over 1 MiB compiled).
//!
//! # Why it matters
//! What a proxy would refuse at run time is refused before it is signed, by the same code.
//!
//! # Example
//! ```yaml
//! timeouts: { request: 15 }                                     # a duration has a unit: 15s
//! path: { type: RegularExpression, value: "/v[12" }             # an unclosed character class
//! path: { type: PathPrefix, value: /a/../b }                    # no request has such a path
//! ```
//!
//! # Fix
//! The message says what the field takes.
//!
//! # References
//! Gateway API v1 field validation; GEP-2257 (durations); RE2 (regular expressions); RFC 3986 (paths).
