//! `weft init`.
