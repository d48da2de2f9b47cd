//! # What it finds
//! An entry of the file given with `--baseline` that is found less often than it says.
//!
//! # Why it matters
//! A baseline hides what it lists. An entry for a fault that was mended hides it when it comes back.
//!
//! # Example
//! ```json
//! { "analysis": "dead-backend", "object": "HTTPRoute shop/cart", "message": "…", "count": 2 }
//! ```
//! while only one is left.
//!
//! # Fix
//! Write the file again: `weft check --write-baseline FILE`. A baseline only ever gets shorter.
//!
//! # References
//! Findings are known by analysis, object and message, so lines may move. Nothing is said while documents have errors
//! that nothing can be built from: then not everything was looked for.
