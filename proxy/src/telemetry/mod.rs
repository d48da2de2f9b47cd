//! What operators see: metrics, the access log, and one closed list of reasons behind both.
//!
//! [`reason`] is the list. [`metrics`] counts, with handles that were resolved when policy was applied; what is counted
//! about clusters is in [`cluster`], and about bundles in [`control`]. [`record`] is one
//! request's story, [`stream`] that of one opaque connection; the end is written once, when it is dropped. [`log`] sets up where lines go.

pub mod reason;
pub mod metrics;
pub(crate) mod cluster;
mod control;
pub(crate) mod record;
pub(crate) mod stream;
pub mod log;

pub use self::control::ControlMetrics;
pub use self::metrics::{Direction, Metrics};
pub use self::reason::Reason;
