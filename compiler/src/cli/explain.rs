//! `weft explain`.
