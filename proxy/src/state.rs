//! The state directory: raw bytes of what was verified.
