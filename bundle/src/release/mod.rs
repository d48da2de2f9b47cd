//! Signed releases: envelopes, keys, proofs, and the order in which a proxy checks them.
pub mod digest;
pub mod clock;
pub mod names;
pub mod key;
pub mod envelope;
pub mod merkle;
