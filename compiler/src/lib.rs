//! Compiles mesh policy documents into signed bundles, one per service.
//!
//! Invariants:
//! * The output type of a step is the only input of the next: [`source`] → [`dialect`] (parse) → [`model`] (resolve)
//!   → [`analysis`] → [`lower`] → [`emit`].
//! * A step yields what it could make *and* what was wrong; a broken document does not silence the others.
//! * The library reads no clock and no environment; files, keys and time are passed in by [`cli`].
//! * Same commit, same bytes: nothing here depends on the order of a hash map, a thread or a directory listing.

pub mod source;
pub mod yaml;
pub mod diagnostic;
pub mod dialect;
pub mod model;
pub mod reach;
pub mod analysis;
pub mod lower;
pub mod emit;
pub mod publish;
pub mod schema;
pub mod cli;
