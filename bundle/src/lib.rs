//! What Weft's compiler and proxy agree on: the shape of a bundle, how a release is signed and checked, and the
//! decision engine that turns a request into a route, a split and a verdict.
//!
//! Invariants:
//! * No IO, no clock, no async, no randomness. Whatever a function needs is an argument or a trait the caller implements.
//! * Everything read from outside is bounded and strict; nothing inside an envelope is acted on before it verifies.
//! * The engine is the only place where a decision is made. `weft trace` and the proxy call the same functions.
//!
//! Read in this order: [`body`] is the compiled policy of one service; [`engine`] decides with it; [`release`] signs
//! it, proves it and checks it. Beneath them: [`spiffe`] identities, [`duration`] texts, and [`json`], the strict
//! reader and canonical writer.

pub mod body;
pub mod engine;
pub mod feature;
pub mod release;
pub mod spiffe;
pub mod duration;
pub mod json;
