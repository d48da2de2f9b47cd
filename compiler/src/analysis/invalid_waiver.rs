//! # What it finds
//! An annotation `weft.dev/waive` that cannot be honoured: an analysis that does not exist or cannot be waived, no reason,
//! a day that is none.
//!
//! # Why it matters
//! Such a waiver silences nothing, and whoever reads it thinks that it does. A reason is what the next reader needs to
//! judge whether it still holds; what nothing can be built from cannot be accepted at all.
//!
//! # Example
//! ```yaml
//! metadata:
//!   annotations:
//!     weft.dev/waive: "unreachable-route until=next-year"        # no reason, and no day
//! ```
//!
//! # Fix
//! Write `unreachable-route until=2027-03-01 reason=kept for the spring campaign`. Several are separated by `;` or line
//! breaks; `until` is the last day that it holds, and may be left out.
//!
//! # References
//! `weft explain` lists all names; those with `(always)` cannot be waived.
