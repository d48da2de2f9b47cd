//! `weft check`.
