//! Where releases come from.
//!
//! A source is only ever believed after [`weft_bundle::release`] has checked every byte. It hands out objects by name,
//! never more bytes than asked for, and wakes the control thread when something may have changed. Directories today;
//! object storage stands beside them as another [`weft_bundle::release::Store`].

pub mod directory;
pub mod watch;
