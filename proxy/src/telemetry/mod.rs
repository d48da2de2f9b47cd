//! What operators see: metrics, the access log, and one closed list of reasons behind both.
//!
//! [`reason`] is the list. [`metrics`] counts, with handles that were resolved when policy was applied; what is counted
//! about clusters is in [`cluster`] and [`discovery`], and about bundles in [`control`]. [`record`] is one
//! request's story, [`stream`] that of one opaque connection; the end is written once, when it is dropped, as [`access`] has
//! it and [`settings`] asks for; [`trace`] carries a trace on. [`log`] sets up where lines go.

pub mod reason;
pub mod metrics;
mod labels;
pub(crate) mod cluster;
mod control;
pub(crate) mod settings;
mod discovery;
pub(crate) mod record;
mod access;
mod trace;
pub(crate) mod stream;
pub mod log;
#[cfg(test)]
mod documented;
pub(crate) mod clear;

pub use self::control::ControlMetrics;
pub use self::metrics::{Direction, Metrics};
pub use self::reason::Reason;
