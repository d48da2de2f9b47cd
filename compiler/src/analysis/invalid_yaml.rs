//! # What it finds
//! Text that is not YAML: a tab as indentation, an unclosed bracket, bytes that are not UTF-8, nesting deeper than 64,
//! aliases that expand without end. The other documents are still checked.
//!
//! # Why it matters
//! What cannot be read cannot be policy. Everything that makes a reader hang or run out of memory is refused here.
//!
//! # Example
//! ```yaml
//! spec: { ports: [ { name: http }        # the brackets are never closed
//! ```
//!
//! # Fix
//! Correct the text at the place shown; the true cause is often a line earlier.
//!
//! # References
//! YAML 1.2, core schema: `yes` and `no` are texts, not truth values.
