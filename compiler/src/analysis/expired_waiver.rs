//! # What it finds
//! An annotation `weft.dev/waive` whose last day, `until`, is over.
//!
//! # Why it matters
//! A waiver is a promise to look again. From the day after, it silences nothing, so what it was for is reported too.
//!
//! # Example
//! ```yaml
//! metadata:
//!   annotations:
//!     weft.dev/waive: "dead-backend until=2026-06-30 reason=v3 is deployed in June"
//! ```
//!
//! # Fix
//! Mend what it was for and remove the waiver, or give it a later day and a reason that still holds.
//!
//! # References
//! Days are judged in UTC; the day of `until` still counts.
