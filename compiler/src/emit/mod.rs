//! Bodies to canonical bytes and a signed release.
