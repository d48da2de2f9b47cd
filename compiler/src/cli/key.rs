//! `weft key`.
