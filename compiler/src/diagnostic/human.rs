//! Diagnostics for people, in rustc's layout.
