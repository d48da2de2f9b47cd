//! The `weft-proxy` command line.
