//! `weft inspect`.
