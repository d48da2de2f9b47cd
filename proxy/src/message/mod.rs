//! HTTP messages on their way through: what a head must be, which fields go on, and bodies that stream.
//!
//! [`head`] reads where a request wants to go and refuses what is not plain; [`fields`] drops what belongs to one hop;
//! [`body`] holds the bodies in both directions, and [`tap`] remembers small ones for copies.

pub(crate) mod head;
pub(crate) mod fields;
pub(crate) mod body;
pub(crate) mod tap;
