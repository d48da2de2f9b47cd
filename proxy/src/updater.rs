//! The control thread: watch, check, build, swap.
