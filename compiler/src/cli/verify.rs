//! `weft verify`.
