//! Writes a release into a directory in the order that makes it atomic.
