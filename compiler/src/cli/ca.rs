//! `weft ca`.
