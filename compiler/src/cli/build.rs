//! `weft build`.
