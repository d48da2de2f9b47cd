//! YAML with byte spans.
//!
//! ```text
//! bytes ── parse ──> Document: an arena of nodes, each with its byte range ── de ──> any `Deserialize` type
//!            └─ syntax errors, one per broken document       └─ unknown fields, duplicate keys, type errors
//! ```
//!
//! The scanner is a crate (`granit-parser`), hidden in [`mod@parse`]; the tree and the deserializer are ours, so that every
//! field has a place to point at, and so that one mistake does not hide the next. Scalars follow the YAML 1.2 core
//! schema: `yes`, `on` and `no` are strings.
//!
//! It never panics on any input, never expands aliases beyond a budget, and knows nothing about meshes.

pub mod span;
pub mod tree;
pub mod scalar;
pub mod parse;
mod plain;
pub mod de;
pub mod opaque;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod plain_tests;

pub use de::{Fields, Outcome, deserialize};
pub use opaque::{Opaque, Unread};
pub use parse::{Stream, parse};
pub use span::{Map, Span, Spanned};
pub use tree::{Document, NodeId};

/// Not YAML, or YAML beyond our limits.
pub const INVALID_YAML: &str = "invalid-yaml";
/// A template that was not rendered.
pub const TEMPLATE: &str = "template";
/// A key twice in one mapping.
pub const DUPLICATE_KEY: &str = "duplicate-key";
/// A field that the kind does not have.
pub const UNKNOWN_FIELD: &str = "unknown-field";
/// A field that the kind must have.
pub const MISSING_FIELD: &str = "missing-field";
/// A value of another type, or one that the field cannot have.
pub const INVALID_VALUE: &str = "invalid-value";
