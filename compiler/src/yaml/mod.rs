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
pub mod opaque;

pub use opaque::Opaque;
pub use span::{Map, Span, Spanned};
