//! # What it finds
//! An annotation `weft.dev/waive` for an analysis that finds nothing about the object.
//!
//! # Why it matters
//! It was mended, or the annotation is on the wrong object. A waiver that is left behind silences the next such fault,
//! which nobody has accepted.
//!
//! # Example
//! ```yaml
//! kind: Service
//! metadata:
//!   annotations:
//!     weft.dev/waive: "unreachable-route reason=…"    # the findings are about an HTTPRoute
//! ```
//!
//! # Fix
//! Remove it, or move it to the object that the finding names.
//!
//! # References
//! Nothing is said while documents have errors that nothing can be built from, nor of analyses whose level is `off`:
//! then it was not looked for.
